"""Pictures to PNG files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.palette import Palette


def label_picture(labels: NDArray[np.uint8], palette: Palette) -> Image.Image:
    """The label image as an 8-bit palette picture: index i is colour i, index n is transparent."""
    image = Image.fromarray(labels)
    image.putpalette([*palette.rgb.ravel().tolist(), 255, 255, 255])
    image.info["transparency"] = len(palette)
    return image


def png(picture: Image.Image | NDArray[np.uint8]) -> bytes:
    """A picture, or (H, W) grey or (H, W, 3) sRGB uint8, as PNG."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1 if image.mode == "P" else 4)
    return buffer.getvalue()

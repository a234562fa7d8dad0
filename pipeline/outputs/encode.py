"""Pictures to PNG files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.palette import Palette


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W) grey or (H, W, 3) sRGB uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def label_png(labels: NDArray[np.uint8], palette: Palette) -> bytes:
    """The label image as an 8-bit palette PNG: index i is colour i, index n is transparent."""
    image = Image.fromarray(labels)
    image.putpalette([*palette.rgb.ravel().tolist(), 255, 255, 255])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, transparency=len(palette))
    return buffer.getvalue()

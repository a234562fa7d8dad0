"""A label image drawn by hand, and its SVG by each tracer: for tests with programs that read such files."""

import io

import numpy as np
import resvg_py
from PIL import Image

from pipeline.palette import parse
from pipeline.phase4_vectorize.vectorize import VectorSettings, vectorize
from pipeline.progress import Progress
from pipeline.run import TRACERS
from pipeline.values import Frame, LabelImage

PALETTE = parse("FFFFFF,000000,FF0000,0000FF")
SIDE = 512
NOTHING = 4  # the label of what is not painted: one more than the palette's last


def car(background: int = NOTHING) -> LabelImage:
    """A red body with a white window, two black wheels, and a hole through which nothing is seen."""
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = np.full((SIDE, SIDE), background, np.uint8)
    inside = np.zeros((SIDE, SIDE), bool)
    inside[200:360, 60:460] = True
    for cx in (140, 380):
        inside |= (x - cx) ** 2 + (y - 360) ** 2 < 45**2
    labels[inside] = 2
    labels[220:280, 160:300] = 0
    for cx in (140, 380):
        labels[(x - cx) ** 2 + (y - 360) ** 2 < 40**2] = 1
    hole = (x - 260) ** 2 + (y - 330) ** 2 < 15**2
    labels[hole], inside[hole] = background, False
    ink = np.zeros((128, 128), bool)
    ink[76, 50:110] = True  # a panel line through the door
    key = np.where(inside | (labels == NOTHING), labels, labels + np.uint8(NOTHING + 1))
    return LabelImage(key, NOTHING, ink, np.zeros((1, 1), np.uint8), Frame.fit(640, 400, SIDE), 4, 0.0)


def drawn(tracer: str, metadata: dict[str, object], **settings) -> bytes:
    """The car's SVG by the tracer of that name; `settings` are those of `VectorSettings`."""
    return vectorize(car(), PALETTE, TRACERS[tracer], VectorSettings(**settings), metadata, False, Progress()).svg


def rendered(svg: bytes, width: int | None = None) -> np.ndarray:
    """(H, W, 3) int: the SVG drawn on white by resvg, `width` pixels wide or at its own size."""
    return on_white(bytes(resvg_py.svg_to_bytes(svg_string=svg.decode(), width=width)))


def on_white(png: bytes) -> np.ndarray:
    """(H, W, 3) int: a PNG file laid on white."""
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return np.asarray(white.convert("RGB")).astype(int)

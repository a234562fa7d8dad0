"""What a tracer is: a function from a label image to fills in painter's order and boundaries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.palette import Palette
from pipeline.raster import window
from pipeline.values import LabelImage


@dataclass(frozen=True, slots=True)
class Face:
    """One filled shape: `color` is the palette index, `path` SVG path data in the working raster's units.

    `part`: the part of the vehicle that holds most of it; empty where that is not known, as in the background.
    """

    color: int
    path: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Traced:
    """`faces` in painter's order, the first one painted first; `boundaries`: path data of every boundary, each once.

    `cracks` (n, 2) int64: the corners of pixels, x, y, along which the boundaries run.
    """

    faces: list[Face]
    boundaries: list[str]
    cracks: NDArray[np.int64]


#: (label image, palette, tolerance in pixels) → fills and boundaries.
Tracer: TypeAlias = Callable[[LabelImage, Palette, float], Traced]


def drawn_window(image: LabelImage) -> tuple[slice, slice]:
    """Rows and columns that hold everything drawn, with two pixels of nothing around it where the square has them."""
    return window(image.key != image.nothing, 2)

"""What a tracer is: a function from a label image to faces in painter's order. `vtracer` is the first of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import vtracer

from pipeline.encode import label_png
from pipeline.palette import Palette
from pipeline.values import LabelImage


@dataclass(frozen=True, slots=True)
class Face:
    """One filled shape: `color` is the palette index, `path` SVG path data in the working raster's units."""

    color: int
    path: str


#: (label image, palette) → faces, the first one painted first.
Tracer: TypeAlias = Callable[[LabelImage, Palette], list[Face]]


_PATH = re.compile(r'<path d="([^"]*)" fill="(#[0-9A-Fa-f]{6})" transform="translate\((-?[\d.]+),(-?[\d.]+)\)"/>')
_TOKEN = re.compile(r"[A-Za-z]|-?[\d.]+")


def decimal(v: float) -> str:
    """A coordinate with one decimal, or none where it is whole: as fine as the tolerance deserves."""
    return f"{v:.1f}".removesuffix(".0")


def _moved(data: str, dx: float, dy: float) -> str:
    """VTracer's absolute path data with its translation applied, one decimal."""
    out, axis = [], 0
    for token in _TOKEN.findall(data):
        if token.isalpha():
            if token not in "MLCZ":
                raise ValueError(f"path command {token!r} is not one that VTracer is known to write")
            out.append(token)
            axis = 0
        else:
            out.append(decimal(float(token) + (dy if axis else dx)))
            axis ^= 1
    return " ".join(out)


def drawn_window(image: LabelImage) -> tuple[slice, slice]:
    """Rows and columns that hold everything drawn, with two pixels of nothing around it where the square has them."""
    drawn = image.labels != image.nothing
    if not drawn.any():
        return np.s_[0:1], np.s_[0:1]
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    return np.s_[max(0, rows[0] - 2) : rows[-1] + 3], np.s_[max(0, columns[0] - 2) : columns[-1] + 3]


def trace_with_vtracer(image: LabelImage, palette: Palette) -> list[Face]:
    """VTracer, stacked: every shape lies over those before it, so that neighbours leave no gap.

    `color_precision=8, layer_difference=0` keep the palette's colours as they are; small regions were merged
    before, so that nothing is filtered here (`filter_speckle=0`).
    """
    rows, columns = drawn_window(image)
    svg = vtracer.convert_raw_image_to_svg(
        label_png(np.ascontiguousarray(image.labels[rows, columns]), palette),
        img_format="png",
        colormode="color",
        hierarchical="stacked",
        mode="spline",
        filter_speckle=0,
        color_precision=8,
        layer_difference=0,
        corner_threshold=60,
        length_threshold=4.0,
        max_iterations=10,
        splice_threshold=45,
        path_precision=1,
    )
    index = {color: i for i, color in enumerate(palette.colors)}
    found = _PATH.findall(svg)
    if len(found) != svg.count("<path"):
        raise ValueError("VTracer wrote a path in a form that is not known here")
    return [Face(index[fill.upper()], _moved(data, float(x) + columns.start, float(y) + rows.start)) for data, fill, x, y in found]

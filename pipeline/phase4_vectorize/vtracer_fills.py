"""The second tracer: VTracer's fills, for comparison and for those who want its look."""

import re

import numpy as np
import vtracer

from pipeline.outputs.encode import label_picture, png
from pipeline.palette import Palette
from pipeline.phase4_vectorize.planar import trace_planar
from pipeline.phase4_vectorize.tracer import Face, Traced, drawn_window
from pipeline.values import LabelImage

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


def trace_with_vtracer(image: LabelImage, palette: Palette, tolerance: float) -> Traced:
    """VTracer, stacked: every shape lies over those before it, so that neighbours leave no gap. The boundaries are the planar map's.

    `color_precision=8, layer_difference=0` keep the palette's colours as they are; small regions were merged
    before, so that nothing is filtered here (`filter_speckle=0`).
    """
    rows, columns = drawn_window(image)
    svg = vtracer.convert_raw_image_to_svg(
        png(label_picture(np.ascontiguousarray(image.labels[rows, columns]), palette)),
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
    faces = [Face(index[fill.upper()], _moved(data, float(x) + columns.start, float(y) + rows.start)) for data, fill, x, y in found]
    planar = trace_planar(image, palette, tolerance)
    return Traced(faces, planar.boundaries, planar.cracks)

"""Enlarging a picture of few flat colours: its outlines are traced, made fair and filled at the new size."""

import numpy as np
from numpy.typing import NDArray

from pipeline.palette import Palette
from pipeline.phase3_enforce import ciede2000
from pipeline.phase3_enforce.fair_arcs import fair_arcs
from pipeline.phase3_enforce.fill import fill
from pipeline.phase3_enforce.outlines import arcs_of
from pipeline.steps import Tell
from pipeline.values import Mask, Rgb


def upscale_labels(labels: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """(h, w) uint8 labels → (h · factor, w · factor): the same labels, their outlines without stairs and wobble, corners sharp."""
    height, width = round(labels.shape[0] * factor), round(labels.shape[1] * factor)
    arcs = arcs_of(labels)
    points, ends = fair_arcs(arcs, labels.shape[1])
    return fill(arcs, points, ends, factor, width, height)


def upscale(rgb: Rgb, factor: float, palette: Palette, tell: Tell) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 sRGB → (h · factor, w · factor) uint8: every pixel's nearest palette colour, then the labels enlarged."""
    tell(0.0)
    return upscale_labels(ciede2000.label(np.ascontiguousarray(rgb), palette), factor)


def upscale_mask(inside: Mask, factor: float) -> Mask:
    """(h, w) mask → `factor` times larger, its outline made fair in the same way."""
    return upscale_labels(inside.astype(np.uint8), factor).view(np.bool_)

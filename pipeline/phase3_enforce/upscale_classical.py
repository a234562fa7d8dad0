"""Enlarging a picture of few flat colours: its outlines are traced, made fair and filled at the new size."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from pipeline.phase3_enforce.fairing import fair_arcs
from pipeline.phase3_enforce.fill import fill
from pipeline.phase3_enforce.outlines import arcs_of
from pipeline.values import Mask, Rgb


def upscale_labels(labels: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """(h, w) uint8 labels → (h · factor, w · factor): the same labels, their outlines without stairs and wobble, corners sharp."""
    height, width = round(labels.shape[0] * factor), round(labels.shape[1] * factor)
    arcs = arcs_of(labels)
    points, ends = fair_arcs(arcs, labels.shape[1])
    return fill(arcs, points, ends, factor, width, height)


@njit(cache=True)
def _flat(rgb: Rgb, label: NDArray[np.int16]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int]:
    """Labels (h, w) of a picture's distinct colours in the order in which they occur, the colours (256, 3), and how many there are.

    `label` (2^24,) holds -1 for every colour. Stops at a 257th colour.
    """
    out, colors, count = np.empty(rgb.shape[:2], np.uint8), np.zeros((256, 3), np.uint8), 0
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            code = (np.int64(rgb[y, x, 0]) << 16) | (np.int64(rgb[y, x, 1]) << 8) | rgb[y, x, 2]
            if label[code] < 0:
                if count == 256:
                    return out, colors, 257
                label[code] = count
                colors[count] = rgb[y, x]
                count += 1
            out[y, x] = label[code]
    return out, colors, count


@njit(cache=True, parallel=True)
def _coloured(labels: NDArray[np.uint8], colors: NDArray[np.uint8]) -> Rgb:
    out = np.empty((*labels.shape, 3), np.uint8)
    for y in prange(labels.shape[0]):
        for x in range(labels.shape[1]):
            for c in range(3):
                out[y, x, c] = colors[labels[y, x], c]
    return out


def upscale_flat(rgb: Rgb, factor: float) -> Rgb:
    """(h, w, 3) uint8 of at most 256 distinct colours → `factor` times larger, the same colours, boundaries made fair."""
    labels, colors, count = _flat(rgb, np.full(1 << 24, -1, np.int16))
    if count > 256:
        raise ValueError("a flat picture has at most 256 colours")
    return np.asarray(_coloured(upscale_labels(labels, factor), colors))


def upscale_mask(inside: Mask, factor: float) -> Mask:
    """(h, w) mask → `factor` times larger, its outline made fair in the same way."""
    return upscale_labels(inside.astype(np.uint8), factor).view(np.bool_)

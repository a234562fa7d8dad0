"""The drawing's inner lines: the skeleton of its ink, traced and fitted like the boundaries."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase4_vectorize.chains import Chains, skeleton_graph, trace
from pipeline.phase4_vectorize.curves import fit
from pipeline.phase4_vectorize.path import move, stretch
from pipeline.values import LabelImage, Mask

#: Pixels of the drawing: how near a boundary an inner line is the same line, and how long it must be to count.
NEAR, SHORTEST = 3.5, 14


def _apart(ink: Mask, cracks: NDArray[np.int64], side: int) -> Mask:
    """The ink that keeps clear of the boundaries, given as corners of pixels in a raster of `side`."""
    small = ink.shape[0]
    boundary = np.ones((small, small), np.uint8)
    at = np.minimum(cracks * small // side, small - 1)
    boundary[at[:, 1], at[:, 0]] = 0
    clear = ink & (cv2.distanceTransform(boundary, cv2.DIST_L2, 3) > NEAR)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(clear.astype(np.uint8), connectivity=8)
    long = np.maximum(stats[:count, cv2.CC_STAT_WIDTH], stats[:count, cv2.CC_STAT_HEIGHT]) >= SHORTEST
    long[0] = False
    kept: Mask = long[parts]
    return kept


def centerlines(image: LabelImage, tolerance: float, clear_of: NDArray[np.int64] | None) -> list[str]:
    """Path data of the inner lines, those alone that keep clear of the boundaries `clear_of` (n, 2), if given."""
    ink = image.ink if clear_of is None else _apart(image.ink, clear_of, image.key.shape[0])
    scale = image.key.shape[0] / ink.shape[0]
    chains = trace(skeleton_graph(ink))
    chains = Chains((chains.points + 0.5) * scale, chains.starts)
    closed = (chains.points[chains.starts[:-1]] == chains.points[chains.starts[1:] - 1]).all(1)
    # A skeleton strays by up to half a pixel of the drawing, whatever its size in the raster.
    curves = [stretch(c) for c in fit(chains, max(tolerance, 0.6 * scale), closed)]
    return [move("M", *s.start) + s.data + ("z" if loop else "") for s, loop in zip(curves, closed.tolist(), strict=True)]

"""Window panes: where a vehicle's glass is, by the look of a pane alone, so that its reflections can be calmed.

A pane is a compact area in the upper part of the vehicle that differs from the paint around it; the paint is the vehicle's most
frequent colour that is no black. Glass as bright as the paint around it is not found, and keeps its reflections.
"""

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.raster import ellipse
from pipeline.values import Mask

Float = NDArray[np.float32]

LOWEST, MIDDLE = 0.62, 0.45  # share of the vehicle's height, from the top, in which a pane ends, and has its middle
SMALLEST, LARGEST = 0.004, 0.30  # share of the vehicle's pixels
SOLID = 0.6  # share of its convex hull that a pane fills


def _paint(lab: Float, inside: Mask) -> Mask:
    """Pixels of the vehicle's paint: within reach of the most frequent colour that is no black."""
    ink = inside & (lab[..., 0] > 22)
    if not ink.any():
        return np.zeros(inside.shape, bool)
    colours = lab[ink]
    bins = np.floor(colours / np.array([8, 8, 8], np.float32)).astype(np.int32)
    values, where, count = np.unique(bins, axis=0, return_inverse=True, return_counts=True)
    # A shaded panel spreads over many bins: those beside a bin count for it too.
    near = np.abs(values[:, None] - values[None]).max(-1) <= 1
    peak = int((near * count[None]).sum(1).argmax())
    mean = colours[near[peak][where.ravel()]].mean(0)
    chroma = float(np.hypot(mean[1], mean[2]))
    if chroma > 20:
        turn = np.cos(np.arctan2(lab[..., 2], lab[..., 1]) - np.arctan2(mean[2], mean[1]))
        return np.asarray(inside & (np.hypot(lab[..., 1], lab[..., 2]) > 14) & (turn > 0.8))
    return np.asarray(inside & (np.abs(lab[..., 0] - mean[0]) < 20) & (np.hypot(lab[..., 1] - mean[1], lab[..., 2] - mean[2]) < 14))


def panes(lab: Float, inside: Mask) -> NDArray[np.uint32]:
    """(H, W) number of the pane at every pixel, 0 where there is none; `lab` (H, W, 3) smoothed CIELAB, `inside` the vehicle."""
    rows = np.flatnonzero(inside.any(1))
    answer = np.zeros(inside.shape, np.uint32)
    if not rows.size:
        return answer
    unit, area = len(lab) / 1024, int(inside.sum())
    lowest, middle = (rows[0] + share * (np.ptp(rows) + 1) for share in (LOWEST, MIDDLE))
    other = cv2.morphologyEx((inside & ~_paint(lab, inside)).astype(np.uint8), cv2.MORPH_OPEN, ellipse(3 * unit))
    component = cc3d.connected_components(other, connectivity=4, out_dtype=np.uint32)
    found = cc3d.statistics(component)
    for k in range(1, len(found["voxel_counts"])):
        if not SMALLEST * area <= found["voxel_counts"][k] <= LARGEST * area:
            continue
        if found["bounding_boxes"][k][0].stop > lowest or found["centroids"][k][0] > middle:
            continue
        part = component == k
        warm = lab[part].mean(0)
        if warm[1] > 15:  # a lamp
            continue
        points = cv2.findNonZero(part.astype(np.uint8))
        if part.sum() < SOLID * cv2.contourArea(cv2.convexHull(points)):
            continue
        # Glass has a sill below it; what stands on the vehicle's lower outline is a wheel.
        below = np.roll(part, round(8 * unit), axis=0) & ~inside
        if below.any(0).sum() > 0.2 * part.any(0).sum():
            continue
        answer[(cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_CLOSE, ellipse(6 * unit)) > 0) & inside] = k
    return answer

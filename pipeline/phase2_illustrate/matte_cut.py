"""The smooth outline that fits per-pixel evidence and the picture's edges best."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase2_illustrate.matte_features import Plane


def smooth_cut(odds: Plane, lab: NDArray[np.float32], smoothness: float = 8.0, rounds: int = 150) -> Plane:
    """(h, w) membership 0..1 that minimises smoothness · Σ g |∇m| - Σ odds · m over 0 ≤ m ≤ 1.

    The convex relaxation of the two-label energy that graph cuts solve: any level set of its minimiser is a global
    optimum (Chan, Esedoglu, Nikolova, 2006), found by the primal-dual method of Chambolle and Pock (2011).
    `odds` (h, w) log-odds, clipped to ±4; `lab` (h, w, 3) CIELAB: the outline is cheaper (g < 1) along colour edges.
    """
    data = np.clip(odds, -4, 4).astype(np.float32)
    weight = smoothness * _edge_weight(lab)
    m = (data > 0).astype(np.float32)
    lead = m.copy()
    px, py = np.zeros_like(m), np.zeros_like(m)
    step = np.float32(1 / np.sqrt(8))
    for _ in range(rounds):
        px[:, :-1] += step * (lead[:, 1:] - lead[:, :-1])
        py[:-1] += step * (lead[1:] - lead[:-1])
        shrink = np.maximum(1, np.hypot(px, py) / weight)
        px /= shrink
        py /= shrink
        spread = px + py
        spread[:, 1:] -= px[:, :-1]
        spread[1:] -= py[:-1]
        new = np.clip(m + step * (spread + data), 0, 1)
        lead = 2 * new - m
        m = new
    return _main_piece(m)


def closed_above(m: Plane, v: Plane, dip: int) -> Plane:
    """The membership (h, w) with what a vehicle encloses from above filled in; `v` (h, w) is the height in the box, 0..1.

    In the upper half, whatever lies between two parts of one column is glass or reflection; and a roof has no dips
    narrower than `dip` pixels.
    """
    h = len(m)
    solid = m > 0.5
    covered, carried = np.maximum.accumulate(solid, 0), np.maximum.accumulate(solid[::-1], 0)[::-1]
    solid |= covered & carried & (v < 0.55)
    used = solid.any(0)
    heights = np.where(used, h - solid.argmax(0), 0).astype(np.float32)
    padded = np.pad(heights, dip)
    roof = cv2.morphologyEx(padded[None], cv2.MORPH_CLOSE, np.ones((1, dip | 1), np.uint8))[0][dip:-dip]
    ys = np.arange(h)[:, None]
    solid |= (ys >= h - roof) & (ys < h - heights) & used & (v < 0.6)
    return np.where(solid & (m <= 0.5), 1, m).astype(np.float32)


def _edge_weight(lab: NDArray[np.float32]) -> Plane:
    """1 where the picture is flat, down to 0.1 on strong colour edges."""
    soft = cv2.GaussianBlur(lab, (0, 0), 0.8)
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125)
    strength = np.sqrt((gx**2 + gy**2).sum(-1))
    weight: Plane = (0.1 + 0.9 * np.exp(-strength / 4.0)).astype(np.float32)
    return weight


def _main_piece(m: Plane) -> Plane:
    """The largest connected piece, its small holes filled; other pieces only where they are a tenth of it or more."""
    solid = m > 0.5
    if not solid.any():
        return m
    sizes, labels = _pieces(solid)
    keep = (sizes >= 0.1 * sizes.max())[labels] & solid
    areas, holes = _pieces(~keep)
    filled = keep | ((areas < 0.03 * keep.sum())[holes] & ~keep)
    return np.where(filled & ~solid, 1, np.where(solid & ~keep, 0, m)).astype(np.float32)


def _pieces(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sizes of the mask's 4-connected pieces (piece 0, the rest, counts 0), and which piece each pixel belongs to."""
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1].astype(np.int32)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return sizes, labels

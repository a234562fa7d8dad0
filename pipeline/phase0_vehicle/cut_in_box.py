"""The vehicle in a box by colours alone, for a machine without the networks: a graph cut, and always in doubt."""

import cv2
import numpy as np

from pipeline.phase0_vehicle import doubt
from pipeline.phase0_vehicle.looks import Grid, around, within
from pipeline.phase0_vehicle.outline import Outline
from pipeline.values import Box, Rgb

#: The cut is made with this many pixels along the window's longer side, and its outline smoothed by so many.
LONGEST, SMOOTH = 384, 3.0
#: The band round the box, share of its longer side: its pixels are surely not the vehicle.
SURELY_OUTSIDE = 0.12
ROUNDS = 5
#: A cut that leaves less than this share of the box has failed.
LEAST = 0.1


def cut_in_box(rgb: Rgb, box: Box) -> Outline:
    """GrabCut (Rother, Kolmogorov and Blake, 2004) begun with the box's rounded form; the photo (H, W, 3), the box in its pixels.

    Median IoU on thirteen photographs 0.85 (`python -m bench.vehicle --without-networks`). Where no colours can be told apart, the box's
    rounded form is the answer.
    """
    grid = Grid.over(within(around(box, SURELY_OUTSIDE), rgb), LONGEST)
    x0, y0, x1, y1 = (round(v) for v in grid.window)
    small = cv2.resize(rgb[y0:y1, x0:x1], (grid.width, grid.height), interpolation=cv2.INTER_AREA)
    bx0, by0, bx1, by1 = grid.box(box)
    u = (np.arange(grid.width) + 0.5 - (bx0 + bx1) / 2) / max(1.0, bx1 - bx0)
    v = ((np.arange(grid.height) + 0.5 - (by0 + by1) / 2) / max(1.0, by1 - by0))[:, None]
    inside = (np.abs(u) <= 0.5) & (np.abs(v) <= 0.5)
    rounded = inside & ((np.abs(u) / 0.52) ** 4 + (np.abs(v) / 0.52) ** 4 <= 1.05)
    core = (np.abs(u) < 0.36) & (np.abs(v - 0.07) < 0.22)
    labels = np.full(inside.shape, cv2.GC_BGD, np.uint8)
    labels[inside], labels[rounded], labels[core & inside] = cv2.GC_PR_BGD, cv2.GC_PR_FGD, cv2.GC_FGD
    if (labels == cv2.GC_BGD).any() and (labels == cv2.GC_FGD).any():
        cv2.setRNGSeed(1)  # the mixtures' first guess
        cv2.grabCut(small, labels, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = _one_piece(((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8))
    if found.sum() < LEAST * inside.sum() or not found.any():
        found = (rounded if rounded.any() else np.ones_like(inside)).astype(np.uint8)
    sigma = min(SMOOTH, 0.05 * np.sqrt(float(found.sum())))
    soft = cv2.GaussianBlur(found * np.float32(255), (0, 0), sigma) if sigma > 0.3 else found * np.float32(255)
    return Outline(np.rint(soft).astype(np.uint8), grid, doubt.COLOURS)


def _one_piece(mask: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The largest connected piece, its holes filled: glass lets the background through."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    out = np.zeros_like(mask)
    if outlines:
        cv2.drawContours(out, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return out

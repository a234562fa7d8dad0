"""Where lettering was, the area around it goes on in the drawing.

What is painted over it in the photograph keeps a haze of the letters. Graded, the haze becomes islands and strokes in their shape.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase2_illustrate.blank_plates import areas
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.raster import ellipse, window
from pipeline.values import Mask

#: How far a letter's haze reaches, the widest gap between letters of one line, and the breadth of what lies around them, pixels at 1024.
HAZE, GAP, RIM = 3.0, 8.0, 4.0
#: Share of the rim from which one colour takes the whole place; with less, every pixel takes the nearest colour outside.
ONE = 0.8


def places(removed: Mask, lines: Sequence[NDArray[np.float32]], inside: Mask) -> list[Mask]:
    """The places (S, S) on the vehicle `inside` where lettering was, its lines each in one piece.

    `removed` (N, N) are the pixels of all that went, `lines` the corners (K, 2) of the lettering, pixels of that.
    """
    side, unit = len(inside), len(inside) / 1024
    went = cv2.resize(removed.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0
    out = []
    for area in areas(lines, side / len(removed), inside):
        letters = (went & (cv2.dilate(area.astype(np.uint8), ellipse(HAZE * unit)) > 0)).astype(np.uint8)
        joined = cv2.morphologyEx(letters, cv2.MORPH_CLOSE, ellipse(GAP * unit))
        out.append((cv2.dilate(joined, ellipse(HAZE * unit)) > 0) & inside)
    return [place for place in out if place.any()]


def filled(labels: Labels, lettering: Sequence[Mask], nothing: int) -> Labels:
    """`labels` (S, S) with each place in the colour around it, or in those from around it that are nearest; `nothing` is no colour."""
    out = labels.copy() if lettering else labels
    for place in lettering:
        part = window(place, round(2 * RIM * len(labels) / 1024) + 2)
        here, now = place[part], out[part]
        rim = (cv2.dilate(here.astype(np.uint8), ellipse(RIM * len(labels) / 1024)) > 0) & ~here & (now != nothing)
        if not rim.any():
            continue
        counts = np.bincount(now[rim])
        if counts.max() >= ONE * counts.sum():
            now[here] = counts.argmax()
            continue
        _, nearest = cv2.distanceTransformWithLabels((~rim).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        colour = np.zeros(int(nearest.max()) + 1, labels.dtype)
        colour[nearest[rim]] = now[rim]
        now[here] = colour[nearest[here]]
    return out


def without_strokes(ink: Mask, lettering: Sequence[Mask]) -> Mask:
    """`ink` (S, S) without the lines in the places of lettering, but for those that go on beyond at two ends."""
    out = ink.copy() if lettering else ink
    for place in lettering:
        part = window(place, 3)
        _, strokes = cv2.connectedComponents((ink & place)[part].astype(np.uint8), connectivity=8)
        _, beyond = cv2.connectedComponents((ink & ~place)[part].astype(np.uint8), connectivity=8)
        for k in range(1, int(strokes.max()) + 1):
            near = cv2.dilate((strokes == k).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            if len(np.unique(beyond[near & (beyond > 0)])) < 2:
                out[part][strokes == k] = False
    return out

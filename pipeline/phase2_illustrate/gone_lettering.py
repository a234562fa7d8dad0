"""Where lettering was, the area around it goes on in the drawing.

What is painted over it in the photograph keeps a haze of the letters. Graded, the haze becomes islands and strokes in their shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase2_illustrate.blank_plates import areas
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.raster import ellipse, widened, window
from pipeline.values import Mask

#: How far a letter's haze reaches and the widest gap between letters, pixels at 1024; how far the ground is looked at beyond the ends of a
#: line, in its heights, and at most in its lengths: a number stands on a roundel that ends close by.
HAZE, GAP, BEYOND, CLOSE_BY = 3.0, 8.0, 1.0, 0.15
#: Share of the ground between and beside the letters from which one colour takes the whole place; with less, every pixel takes the nearest.
ONE = 0.6


@dataclass(frozen=True, slots=True)
class Place:
    """Where one line of letters was: `letters` (S, S) with their haze, and its `ground` (S, S) between them and beyond the line's ends.

    What runs above and below a line may be another part: letters on a dark strip stand between a lamp and the paint.
    """

    letters: Mask
    ground: Mask


def places(removed: Mask, lines: Sequence[NDArray[np.float32]], inside: Mask) -> list[Place]:
    """The places on the vehicle `inside` (S, S) where lettering was.

    `removed` (N, N) are the pixels of all that went, `lines` the corners (K, 2) of the lettering, pixels of that.
    """
    side, unit = len(inside), len(inside) / 1024
    went = cv2.resize(removed.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0
    out = []
    for line in lines:
        for area in areas([line], side / len(removed), inside):
            letters = widened(went & area, HAZE * unit) & widened(area, HAZE * unit / 2) & inside
            (ground,) = areas([_longer(line)], side / len(removed), inside)
            out.append(Place(letters, ground & ~letters))
    return [place for place in out if place.letters.any()]


def _longer(line: NDArray[np.float32]) -> NDArray[np.float32]:
    """A line's corners (4, 2), clockwise from its top left, drawn out at its ends."""
    a, b, c, d = line.astype(np.float64)
    length, height = float(np.linalg.norm(b + c - a - d)) / 2, float(np.linalg.norm(d + c - a - b)) / 2
    more = (b + c - a - d) / max(1e-6, 2 * length) * min(BEYOND * height, CLOSE_BY * length)
    return np.array([a - more, b + more, c + more, d - more], np.float32)


def filled(labels: Labels, lettering: Sequence[Place], nothing: int) -> Labels:
    """`labels` (S, S) with the letters of each place in the colour of their ground, or in the nearest where it has several.

    `nothing` is no colour.
    """
    out = labels.copy() if lettering else labels
    for place in lettering:
        part = window(place.letters | place.ground)
        here, now = place.letters[part], out[part]
        ground = place.ground[part] & (now != nothing)
        if not ground.any():
            continue
        counts = np.bincount(now[ground])
        if counts.max() >= ONE * counts.sum():
            now[here] = counts.argmax()
            continue
        _, nearest = cv2.distanceTransformWithLabels((~ground).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        colour = np.zeros(int(nearest.max()) + 1, labels.dtype)
        colour[nearest[ground]] = now[ground]
        now[here] = colour[nearest[here]]
    return out


def without_strokes(ink: Mask, lettering: Sequence[Place]) -> Mask:
    """`ink` (S, S) without the lines in the places of lettering, but for those that go on beyond at two ends."""
    out = ink.copy() if lettering else ink
    for place in lettering:
        whole = cv2.morphologyEx(place.letters.astype(np.uint8), cv2.MORPH_CLOSE, ellipse(GAP * len(ink) / 1024)) > 0
        part = window(whole, 3)
        _, strokes = cv2.connectedComponents((ink & whole)[part].astype(np.uint8), connectivity=8)
        _, beyond = cv2.connectedComponents((ink & ~whole)[part].astype(np.uint8), connectivity=8)
        for k in range(1, int(strokes.max()) + 1):
            near = cv2.dilate((strokes == k).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            if len(np.unique(beyond[near & (beyond > 0)])) < 2:
                out[part][strokes == k] = False
    return out

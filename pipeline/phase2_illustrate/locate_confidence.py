"""What tells a good matte from a bad one when nobody has said where the vehicle is."""

import cv2
import numpy as np

from pipeline.color import srgb_to_lab
from pipeline.phase2_illustrate.locate_regions import Floats, Plane
from pipeline.values import Mask, Rgb

#: What each of the cues of `confidence_cues` can speak for: 1 for a good matte, -1 against it.
SIGNS = (1, 1, 1, 1, 1, 1, 1, -1)
_SIDE = 256  # of the square in which outlines are looked at
_MOST_EDGE = 12.0  # CIELAB units a pixel: clearer than this an outline need not be
_MOST_SCORE = 10.0


def confidence_cues(rgb: Rgb, shown: Mask, mattes: list[Mask], others: list[Mask], chance: Plane, score: float, sure: float) -> Floats:
    """(8) cues of the matte `mattes[-1]`.

    `rgb` (S, S, 3); `shown` (S, S) where the photo lies; `mattes` what each round of the best box found, `others` what
    other boxes found; `chance` (S, S) of vehicle 0..1 before any box; `score` the last box's; `sure` 0..1 the segmentation's.
    """
    found = mattes[-1]
    agreements = [agreement(found, other) for other in others]
    soft = np.minimum(chance, found).sum() / max(1.0, float(np.maximum(chance, found).sum()))
    return np.array(
        [
            np.mean(agreements) if agreements else 0.0,
            np.clip(score, 0, _MOST_SCORE),
            soft,
            _outline_edge(rgb, shown, found),
            sure,
            agreement(mattes[0], found),
            _solidity(found),
            _sides_touched(shown, found),
        ]
    )


def agreement(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks."""
    return float((a & b).sum() / max(1, int((a | b).sum())))


def _small(mask: Mask) -> Rgb:
    """The mask at `_SIDE`, 0 or 1."""
    return np.asarray(cv2.resize(mask.astype(np.uint8), (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST), np.uint8)


def _outline_edge(rgb: Rgb, shown: Mask, found: Mask) -> float:
    """Median strength of the picture's colour edges along the outline, clipped."""
    lab = srgb_to_lab(np.asarray(cv2.resize(rgb, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)).astype(np.float32)
    slopes = (cv2.Sobel(lab, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(lab, cv2.CV_32F, 0, 1, scale=0.125))
    strength = np.sqrt(sum((s**2).sum(-1) for s in slopes))
    mask, near = _small(found), np.ones((3, 3), np.uint8)
    rim = (cv2.dilate(mask, near) > 0) & (cv2.erode(mask, near) == 0) & (_small(shown) > 0)
    return float(np.median(np.minimum(strength[rim], _MOST_EDGE))) if rim.any() else 0.0


def _solidity(found: Mask) -> float:
    """The area's share of its pieces' convex hulls: a vehicle bulges, a patch of background is ragged."""
    mask = _small(found)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = sum(cv2.contourArea(cv2.convexHull(outline)) for outline in outlines)
    return min(1.0, float(mask.sum()) / max(1.0, hull))


def _sides_touched(shown: Mask, found: Mask) -> float:
    """How many of the photo's sides the matte reaches, within half a per cent."""
    slack = max(1, round(0.005 * found.shape[0]))
    ends = [(np.flatnonzero(mask.any(axis))[[0, -1]]) for mask in (shown, found) for axis in (0, 1)]
    photo, vehicle = np.concatenate(ends[:2]), np.concatenate(ends[2:])
    return float((np.abs(photo - vehicle) <= slack).sum())

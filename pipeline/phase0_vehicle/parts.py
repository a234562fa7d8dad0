"""The connected parts of what stands out in a picture, and which of them are one thing."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.raster import ellipse
from pipeline.values import Box, Gray, Mask, Plane

#: Smaller parts than these are specks: shares of the picture and of the largest part.
SPECK, SMALL = 0.0003, 0.02
#: A part this near to a larger one (share of the larger one's longer side) may be a piece of it: an aerial, a mirror, a hitch.
NEAR = 0.02
#: A piece of the vehicle is at most this large, compared with it.
PIECE = 0.12


@dataclass(frozen=True, slots=True)
class Part:
    """A connected area: its number in the labelling, its bounds in pixels, its area in pixels."""

    number: int
    box: Box
    area: int

    @property
    def longer(self) -> float:
        """The longer side of its bounds."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


def label(p: Plane) -> tuple[NDArray[np.int32], list[Part]]:
    """The parts where `p` (h, w) exceeds one half, numbered in a picture of the same size (0: none); largest first, without specks."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((p > 0.5).astype(np.uint8), connectivity=8)
    found = [Part(n, (float(x), float(y), float(x + w), float(y + h)), int(a)) for n, (x, y, w, h, a) in enumerate(stats) if n]
    least = max(SPECK * p.size, SMALL * max((part.area for part in found), default=0))
    return np.asarray(labels, np.int32), sorted((part for part in found if part.area >= least), key=lambda part: (-part.area, part.number))


def with_pieces(chosen: Part, labels: NDArray[np.int32]) -> frozenset[int]:
    """The number of the chosen part and those of the small ones close to it within its bounds."""
    mask = (labels == chosen.number).astype(np.uint8)
    disc = ellipse(NEAR * chosen.longer)
    near, room = cv2.dilate(mask, disc), len(disc) // 2
    x0, y0, x1, y1 = (int(v) for v in chosen.box)
    window = np.s_[max(0, y0 - room) : y1 + room, max(0, x0 - room) : x1 + room]
    touched = np.unique(labels[window][near[window] > 0])
    areas = np.bincount(labels.ravel())
    return frozenset({chosen.number} | {int(n) for n in touched if n and areas[n] <= PIECE * chosen.area})


def only(p: Plane, labels: NDArray[np.int32], kept: frozenset[int]) -> Gray:
    """`p` as alpha 0..255 where it belongs to the kept parts, soft pixels going with the part they are nearest to; 0 elsewhere."""
    hard = labels > 0
    if not hard.any():
        return np.zeros(p.shape, np.uint8)
    _, nearest = cv2.distanceTransformWithLabels((~hard).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP)
    mine = np.zeros(int(nearest.max()) + 1, bool)
    mine[np.unique(nearest[np.isin(labels, list(kept))])] = True
    return np.where(mine[nearest], np.rint(255 * p), 0).astype(np.uint8)


def second_half(mask: Mask) -> float:
    """The second largest piece that a part falls into when its narrow places are worn away, as a share of the part; 0 for one piece.

    Two vehicles that touch hang together by little; one vehicle keeps its mass in one piece.
    """
    area, best = float(mask.sum()), 0
    for wear in WEARS:
        worn = cv2.erode(np.pad(mask, 1).astype(np.uint8), ellipse(wear * float(np.sqrt(area))))
        _, _, stats, _ = cv2.connectedComponentsWithStats(worn)
        best = max(best, int(np.sort(stats[1:, cv2.CC_STAT_AREA])[-2]) if len(stats) > 2 else 0)
    return best / area


#: How far a part is worn away from its rim, shares of the square root of its area.
WEARS = (0.05, 0.07, 0.09)


def solidity(mask: Mask) -> float:
    """The area's share of its convex hull, 0..1."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    return 0.0 if points is None else min(1.0, float(mask.sum()) / max(1.0, float(cv2.contourArea(cv2.convexHull(points)))))


def sides_touched(mask: Mask, least: float) -> tuple[bool, bool, bool, bool]:
    """Left, top, right, bottom: whether the mask takes at least the share `least` of that side of the picture."""

    def touches(strip: Mask, axis: int) -> bool:
        return float(np.mean(strip.any(axis))) >= least

    return touches(mask[:, :2], 1), touches(mask[:2], 0), touches(mask[:, -2:], 1), touches(mask[-2:], 0)

"""Which box of a photograph holds the vehicle: many boxes, each judged by what lies in it, around it and across its sides."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase2_illustrate.locate_regions import Floats, Plane, Regions, gradients, larger_areas
from pipeline.phase2_illustrate.locate_wheels import Wheel

Boxes = Floats  # (N, 4) x0, y0, x1, y1 in pixels
_COLORS = 20
# A vehicle's silhouette as two stacked rectangles of its box, cabin and body: what lies there is hardly ever background.
_PARTS = ((0.2, 0.03, 0.8, 0.4), (0.02, 0.4, 0.98, 0.8))
_RING = (-0.14, -0.14, 1.14, 1.1)
#: What each of the cues of `box_cues` can speak for: 1 for a vehicle, -1 against it, 0 either.
SIGNS = (1, 1, 1, 1, 1, 1, 0, 1, 0, -1, -1, -1, 0, 0, -1, 0, -1, -1, 1, -1)
_OUTSIDE = -1.5  # log-odds of what lies beyond the photo's border


def grid(height: int, width: int) -> Boxes:
    """Boxes of a vehicle's aspects (0.75 to 3.6) and of 0.3 to all of the photo's room, centred in its middle half."""
    rows: list[tuple[float, float, float, float]] = []
    for aspect in np.geomspace(0.75, 3.6, 11):
        most = min(width, height * aspect)
        for size in np.geomspace(0.3, 0.99, 12):
            w, h = size * most, size * most / aspect
            for cx in _centres(w / width, 0.25, 0.75):
                for cy in _centres(h / height, 0.3, 0.8):
                    rows.append((cx * width - w / 2, cy * height - h / 2, cx * width + w / 2, cy * height + h / 2))
    return np.array(rows)


def _centres(extent: float, least: float, most: float) -> Floats:
    """Centres (fractions) between `least` and `most` that keep an `extent` inside the photo."""
    low, high = max(extent / 2, least), min(1 - extent / 2, most)
    if low >= high:
        return np.array([min(1 - extent / 2, max(extent / 2, (least + most) / 2))])
    return np.linspace(low, high, 1 + int(np.ceil((high - low) / 0.04)))


def overlap(boxes: Boxes, box: Floats) -> Floats:
    """(N) intersection over union of boxes (N, 4) with one (4)."""
    w = np.minimum(boxes[:, 2], box[2]) - np.maximum(boxes[:, 0], box[0])
    h = np.minimum(boxes[:, 3], box[3]) - np.maximum(boxes[:, 1], box[1])
    both = np.maximum(w, 0) * np.maximum(h, 0)
    iou: Floats = both / (_area(boxes) + _area(box[None]) - both)
    return iou


def _area(boxes: Boxes) -> Floats:
    area: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def _part(boxes: Boxes, part: tuple[float, float, float, float]) -> Boxes:
    """The part (fractions of the box) of each box."""
    size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    parts: Boxes = np.tile(boxes[:, :2], 2) + size * np.array(part)
    return parts


class _Sums:
    """Sums of an (h, w, C) plane over any boxes, from its integral image."""

    def __init__(self, plane: NDArray[np.floating]) -> None:
        stacked = plane.astype(np.float64).reshape(*plane.shape[:2], -1)
        self._table = np.pad(stacked.cumsum(0).cumsum(1), ((1, 0), (1, 0), (0, 0)))

    def over(self, boxes: Boxes) -> Floats:
        """(N, C), the boxes rounded to whole pixels and clipped to the plane."""
        h, w = self._table.shape[0] - 1, self._table.shape[1] - 1
        b = np.rint(boxes).astype(int)
        x0, x1, y0, y1 = b[:, 0].clip(0, w), b[:, 2].clip(0, w), b[:, 1].clip(0, h), b[:, 3].clip(0, h)
        total: Floats = self._table[y1, x1] - self._table[y0, x1] - self._table[y1, x0] + self._table[y0, x0]
        return total

    def one(self, boxes: Boxes) -> Floats:
        """(N), for a plane of one channel."""
        return self.over(boxes)[:, 0]


def box_cues(regions: Regions, odds: Plane, wheels: list[Wheel], boxes: Boxes) -> Floats:
    """(N, 20) cues of each box, whose directions `SIGNS` tells; `odds` (h, w) is the log-odds of vehicle at each pixel."""
    room = _Sums(np.ones(odds.shape))
    planes = [
        *_odds_cues(odds, room, boxes),
        *_color_cues(regions, boxes),
        *_edge_cues(regions, room, boxes),
        _straddling(regions, room, boxes),
        *_place_cues(odds.shape[0], odds.shape[1], boxes),
        *_wheel_cues(wheels, max(odds.shape), boxes),
    ]
    return np.stack(planes, 1)


def _odds_cues(odds: Plane, room: _Sums, boxes: Boxes) -> list[Floats]:
    """How well the likely pixels agree with a vehicle in the box: inside its silhouette, not in the ring around the box."""
    clipped = np.clip(odds, -4, 4)
    sums, chance = _Sums(clipped), _Sums(1 / (1 + np.exp(-odds)))
    parts = [_part(boxes, p) for p in _PARTS]
    inside = sum((sums.one(p) for p in parts), np.zeros(len(boxes)))
    area = sum((room.one(p) for p in parts), np.zeros(len(boxes)))
    hits = sum((chance.one(p) for p in parts), np.zeros(len(boxes)))
    every = np.array([[0, 0, odds.shape[1], odds.shape[0]]], np.float64)
    ring = _part(boxes, _RING)
    ring_area = np.maximum(_area(ring) - _area(boxes), 1)
    beyond = np.maximum(ring_area - (room.one(ring) - room.one(boxes)), 0)
    outside = (sums.one(ring) - sums.one(boxes) + _OUTSIDE * beyond) / ring_area
    likely = np.maximum(clipped, 0)
    return [hits / (chance.one(every) + area - hits), inside / np.maximum(area, 1) - outside, _Sums(likely).one(boxes) / (likely.sum() + 1)]


def _color_cues(regions: Regions, boxes: Boxes) -> list[Floats]:
    """Chi-squared distance of the colours inside to those in the ring around and above the box."""
    h, w = regions.label.shape
    cv2.setRNGSeed(0)
    pixels = np.ascontiguousarray(regions.lab.reshape(-1, 3))
    _, nearest, _ = cv2.kmeans(pixels, _COLORS, np.zeros((0, 0), np.int32), (3, 10, 1.0), 1, cv2.KMEANS_PP_CENTERS)
    counts = _Sums(np.eye(_COLORS)[nearest.ravel()].reshape(h, w, _COLORS))
    inside = sum((counts.over(_part(boxes, p)) for p in _PARTS), np.zeros((len(boxes), _COLORS)))
    whole = counts.over(boxes)
    ring = np.maximum(counts.over(_part(boxes, _RING)) - whole, 0)
    enough = ring.sum(1) > 0.05 * whole.sum(1)
    above = counts.over(_part(boxes, (0, -0.15, 1, 0)))
    return [
        np.where(enough, _chi_squared(inside, ring), 0.35),
        np.where(above.sum(1) > 5, _chi_squared(inside, above), 0.5),
    ]


def _chi_squared(a: Floats, b: Floats) -> Floats:
    """(N) distance 0..1 between histograms (N, C)."""
    a, b = a / (a.sum(1, keepdims=True) + 1), b / (b.sum(1, keepdims=True) + 1)
    distance: Floats = ((a - b) ** 2 / (a + b + 1e-6)).sum(1) / 2
    return distance


def _edge_cues(regions: Regions, room: _Sums, boxes: Boxes) -> list[Floats]:
    """Edges just inside each side less those just outside it: top, bottom, the weaker flank; and in the body."""
    strength = np.minimum(np.hypot(*gradients(regions.lab[..., 0])), 6)
    edges = _Sums(strength / (strength.mean() + 0.3))

    def density(part: tuple[float, float, float, float]) -> Floats:
        where = _part(boxes, part)
        mean: Floats = edges.one(where) / np.maximum(room.one(where), 1)
        return mean

    left = density((0, 0.4, 0.1, 0.9)) - density((-0.1, 0.4, 0, 0.9))
    right = density((0.9, 0.4, 1, 0.9)) - density((1, 0.4, 1.1, 0.9))
    return [
        density((0.3, 0, 0.7, 0.14)) - density((0.3, -0.14, 0.7, 0)),
        density((0.1, 0.84, 0.9, 1)) - density((0.1, 1, 0.9, 1.14)),
        np.minimum(left, right),
        density((0.05, 0.5, 0.95, 0.95)),
    ]


def _straddling(regions: Regions, room: _Sums, boxes: Boxes) -> Floats:
    """How much of the areas that a box cuts lies on the lesser side of the cut (Alexe, Deselaers, Ferrari, 2012)."""
    label = larger_areas(regions)
    count = int(label.max()) + 1
    within = _Sums(np.eye(count, dtype=np.float32)[label.ravel()].reshape(*label.shape, count)).over(boxes)
    whole = np.bincount(label.ravel(), minlength=count)
    cut: Floats = np.minimum(within, whole - within).sum(1) / np.maximum(room.one(boxes), 1)
    return cut


def _place_cues(height: int, width: int, boxes: Boxes) -> list[Floats]:
    """Where the box lies and how large it is, as photographers place vehicles: broad, quadratic."""
    w, h = (boxes[:, 2] - boxes[:, 0]) / width, (boxes[:, 3] - boxes[:, 1]) / height
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2 / width, (boxes[:, 1] + boxes[:, 3]) / 2 / height
    lw, lh, aspect = np.log(w), np.log(h), np.log(w * width / (h * height))
    touched = sum((np.clip(1 - gap / 0.03, 0, 1) for gap in (x - w / 2, y - h / 2, 1 - x - w / 2, 1 - y - h / 2)), np.zeros(len(boxes)))
    return [(x - 0.5) ** 2, (y - 0.57) ** 2, lw, lh, lh**2, aspect, aspect**2, touched]


def _wheel_cues(wheels: list[Wheel], longest: int, boxes: Boxes) -> list[Floats]:
    """The best wheel that would stand at the box's foot, and what strong wheels lie outside the box."""
    best, missed = np.zeros(len(boxes)), np.zeros(len(boxes))
    x0, y0, x1, y1 = boxes.T / longest
    for n, p in enumerate(wheels):
        across, foot = (p.x - x0) / (x1 - x0), (p.y + p.r - y0) / (y1 - y0)
        size = np.log(p.r / (y1 - y0) / 0.21)
        fit = np.exp(-0.5 * (size / 0.45) ** 2 - 0.5 * ((foot - 0.94) / 0.1) ** 2)
        best = np.maximum(best, fit * ((across > 0.02) & (across < 0.98)) * min(p.score, 2))
        if n < 4:
            missed += min(p.score, 2) * ((p.x < x0) | (p.x > x1) | (p.y < y0) | (p.y > y1))
    return [best, missed]

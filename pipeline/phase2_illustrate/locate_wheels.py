"""Wheels seen at any angle: dark upright ellipses whose rings of edges point to one centre."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase2_illustrate.locate_regions import Plane, gradients

SIDE = 384  # the photo's longest side while wheels are sought
_ASPECTS = (1.0, 0.8, 0.6, 0.45)
_RADII = np.geomspace(0.022, 0.1, 9)  # fractions of the longest side
_TOP = 8


@dataclass(frozen=True, slots=True)
class Wheel:
    """Centre (`x`, `y`) and half axes (`a` along x, `r` along y), fractions of the photo's longest side; `score` 0..about 3."""

    score: float
    x: float
    y: float
    a: float
    r: float


def wheels_in(light: Plane) -> list[Wheel]:
    """The likeliest wheels of a photo's (h, w) lightness 0..100, best first, at most eight, none overlapping a better one.

    A Hough vote of every edge pixel along its gradient for upright ellipses of several sizes and aspects, weighed by how
    dark the ring that a tyre would fill is against the whole photo.
    """
    h, w = light.shape
    longest = max(h, w)
    middle = float(np.median(light))
    found: list[Wheel] = []
    edges = _edge_points(light)
    for aspect in _ASPECTS:
        for radius in _RADII * longest:
            score = _ring_votes(edges, (h, w), aspect * radius, radius)
            ring = cv2.filter2D(light, -1, _ring(aspect * radius, radius))
            score *= 0.3 + 1 / (1 + np.exp((ring - 0.6 * middle) / 6))
            found += _peaks(score, aspect * radius, radius)
    found.sort(key=lambda p: (-p.score, p.x, p.y))
    kept: list[Wheel] = []
    for p in found:
        if len(kept) < _TOP and all(abs(p.x - q.x) > 0.6 * max(p.a, q.a) or abs(p.y - q.y) > 0.6 * max(p.r, q.r) for q in kept):
            kept.append(p)
    return [Wheel(p.score, p.x / longest, p.y / longest, p.a / longest, p.r / longest) for p in kept]


def _edge_points(light: Plane) -> tuple[NDArray[np.int64], NDArray[np.int64], Plane, Plane, Plane]:
    """The strongest quarter of the pixels: x, y, the lightness gradient (2) there and its weight 0..1."""
    gx, gy = gradients(np.asarray(cv2.GaussianBlur(light, (0, 0), 1.0), np.float32))
    strength = np.hypot(gx, gy)
    ys, xs = np.nonzero(strength > max(1.2, float(np.percentile(strength, 75))))
    return xs, ys, gx[ys, xs], gy[ys, xs], np.sqrt(np.minimum(strength[ys, xs] / 8, 1))


def _ring_votes(
    edges: tuple[NDArray[np.int64], NDArray[np.int64], Plane, Plane, Plane], shape: tuple[int, int], a: float, r: float
) -> Plane:
    """(h, w) share of an ellipse's outline (half axes a, r pixels) that edges vote for, were it centred there."""
    h, w = shape
    xs, ys, ux, uy, weight = edges
    # the point of an ellipse whose outward normal is n lies at (a² n_x, r² n_y) / sqrt(a² n_x² + r² n_y²) from its centre
    length = np.sqrt((a * ux) ** 2 + (r * uy) ** 2) + 1e-6
    dx, dy = a * a * ux / length, r * r * uy / length
    blur = max(0.8, 0.12 * r)
    outline = np.pi * (3 * (a + r) - np.sqrt((3 * a + r) * (a + 3 * r)))  # Ramanujan's circumference
    total = np.zeros((h, w), np.float32)
    for sign, share in ((-1, 1.0), (1, 0.5)):  # bright outside (a tyre's edge) counts fully, dark outside (a rim's) half
        cx, cy = np.rint(xs + sign * dx).astype(int), np.rint(ys + sign * dy).astype(int)
        ok = (cx >= 0) & (cx < w) & (cy >= 0) & (cy < h)
        votes = np.bincount(cy[ok] * w + cx[ok], weight[ok], h * w).reshape(h, w).astype(np.float32)
        total += share * 2 * np.pi * blur**2 / outline * cv2.GaussianBlur(votes, (0, 0), blur)
    return total


def _ring(a: float, r: float) -> NDArray[np.float32]:
    """A kernel that takes the mean over the elliptic ring from 0.8 to 1.2 of the half axes."""
    ys, xs = np.mgrid[-int(1.2 * r) - 1 : int(1.2 * r) + 2, -int(1.2 * a) - 1 : int(1.2 * a) + 2]
    distance = np.hypot(xs / a, ys / r)
    ring = (distance <= 1.2) & (distance > 0.8)
    kernel: NDArray[np.float32] = (ring / max(1, ring.sum())).astype(np.float32)
    return kernel


def _peaks(score: Plane, a: float, r: float) -> list[Wheel]:
    """Local maxima of the (h, w) score below the photo's upper third, in pixels."""
    h, w = score.shape
    reach = 2 * int(0.7 * r) + 1
    ys, xs = np.nonzero((score == cv2.dilate(score, np.ones((reach, reach), np.uint8))) & (score > 0.2))
    ok = (ys + 0.6 * r < h) & (ys > 0.3 * h) & (xs > 0.5 * a) & (xs + 0.5 * a < w)
    return [Wheel(float(score[y, x]), float(x), float(y), a, r) for y, x in zip(ys[ok], xs[ok], strict=True)]

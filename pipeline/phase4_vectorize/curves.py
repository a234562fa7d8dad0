"""Cubic Bézier curves fitted to chains of points.

Source of the fit: P. J. Schneider, "An Algorithm for Automatically Fitting Digitized Curves", Graphics Gems (1990):
least squares for the two inner control points along given end tangents, Newton steps for the parameters, a split at
the worst point. Corners are found first and kept; tangents are taken over a window, because the chains are pixel stairs.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.phase4_vectorize.chains import Chains

Points = NDArray[np.float64]


@njit(cache=True)
def _turn(p: Points, i: int, before: int, after: int) -> float:
    """The angle, radians, by which the polyline turns at i, seen over `before` and `after`."""
    ax, ay = p[i, 0] - p[before, 0], p[i, 1] - p[before, 1]
    bx, by = p[after, 0] - p[i, 0], p[after, 1] - p[i, 1]
    return abs(math.atan2(ax * by - ay * bx, ax * bx + ay * by))


@njit(cache=True)
def find_corners(p: Points, closed: bool, window: int, least: float) -> NDArray[np.bool_]:
    """(n, 2) points → (n,) mask: where the turn over `window` points to each side is locally largest and above `least`."""
    n = len(p)
    period = n - 1  # a closed chain repeats its first point
    turn = np.zeros(n)
    for i in range(n):
        if closed:
            turn[i] = _turn(p, i, (i - window) % period, (i + window) % period)
        elif 0 < i < n - 1:
            w = min(window, i, n - 1 - i)
            turn[i] = _turn(p, i, i - w, i + w) if w >= window // 2 else 0.0
    out = np.zeros(n, np.bool_)
    for i in range(n):
        if turn[i] <= least:
            continue
        best = True
        for k in range(-window, window + 1):
            j = (i + k) % period if closed else i + k
            if 0 <= j < n and (turn[j] > turn[i] or (turn[j] == turn[i] and j < i % max(1, period))):
                best = False
                break
        out[i] = best
    return out


@njit(cache=True)
def _tangent(p: Points, i: int, j: int) -> tuple[float, float]:
    x, y = p[j, 0] - p[i, 0], p[j, 1] - p[i, 1]
    length = math.hypot(x, y)
    return (x / length, y / length) if length > 0 else (0.0, 0.0)


@njit(cache=True)
def _solve(p: Points, a: int, b: int, u: Points, t0: tuple[float, float], t1: tuple[float, float], c: Points) -> None:
    """Least squares for the control points c (4, 2) of p[a..b] at parameters u[a..b], end tangents t0 and t1."""
    c00 = c01 = c11 = x0 = x1 = 0.0
    for i in range(a, b + 1):
        t, s = u[i], 1 - u[i]
        b1, b2 = 3 * s * s * t, 3 * s * t * t
        first, last = s * s * s + b1, b2 + t * t * t
        rx = p[i, 0] - p[a, 0] * first - p[b, 0] * last
        ry = p[i, 1] - p[a, 1] * first - p[b, 1] * last
        c00 += b1 * b1
        c11 += b2 * b2
        c01 += b1 * b2 * (t0[0] * t1[0] + t0[1] * t1[1])
        x0 += b1 * (t0[0] * rx + t0[1] * ry)
        x1 += b2 * (t1[0] * rx + t1[1] * ry)
    chord = math.hypot(p[b, 0] - p[a, 0], p[b, 1] - p[a, 1])
    det = c00 * c11 - c01 * c01
    alpha, beta = 0.0, 0.0
    if abs(det) > 1e-9 * max(1.0, c00 * c11):
        alpha, beta = (x0 * c11 - x1 * c01) / det, (c00 * x1 - c01 * x0) / det
    if not (0.05 * chord < alpha < 2 * chord and 0.05 * chord < beta < 2 * chord):
        alpha = beta = chord / 3  # Wu and Barsky's heuristic, as in Schneider's paper
    c[0], c[3] = p[a], p[b]
    c[1, 0], c[1, 1] = p[a, 0] + alpha * t0[0], p[a, 1] + alpha * t0[1]
    c[2, 0], c[2, 1] = p[b, 0] + beta * t1[0], p[b, 1] + beta * t1[1]


@njit(cache=True)
def _improve(p: Points, a: int, b: int, u: Points, c: Points) -> tuple[float, int]:
    """One Newton step for every parameter; returns the largest squared distance before it, and where."""
    worst, where = 0.0, (a + b) // 2
    for i in range(a + 1, b):
        t, s = u[i], 1 - u[i]
        x = s * s * s * c[0, 0] + 3 * s * s * t * c[1, 0] + 3 * s * t * t * c[2, 0] + t * t * t * c[3, 0] - p[i, 0]
        y = s * s * s * c[0, 1] + 3 * s * s * t * c[1, 1] + 3 * s * t * t * c[2, 1] + t * t * t * c[3, 1] - p[i, 1]
        if x * x + y * y > worst:
            worst, where = x * x + y * y, i
        dx = 3 * (s * s * (c[1, 0] - c[0, 0]) + 2 * s * t * (c[2, 0] - c[1, 0]) + t * t * (c[3, 0] - c[2, 0]))
        dy = 3 * (s * s * (c[1, 1] - c[0, 1]) + 2 * s * t * (c[2, 1] - c[1, 1]) + t * t * (c[3, 1] - c[2, 1]))
        ddx = 6 * (s * (c[2, 0] - 2 * c[1, 0] + c[0, 0]) + t * (c[3, 0] - 2 * c[2, 0] + c[1, 0]))
        ddy = 6 * (s * (c[2, 1] - 2 * c[1, 1] + c[0, 1]) + t * (c[3, 1] - 2 * c[2, 1] + c[1, 1]))
        slope = dx * dx + dy * dy + x * ddx + y * ddy
        if abs(slope) > 1e-9:
            u[i] = min(1.0, max(0.0, t - (x * dx + y * dy) / slope))
    return worst, where


@njit(cache=True)
def _fit(p: Points, corner: NDArray[np.bool_], closed: bool, tolerance: float, window: int, out: Points) -> int:
    """Fill `out` (m, 8) with curves x0 y0 … x3 y3 along the whole chain; returns their number."""
    n, limit = len(p), tolerance * tolerance
    u, c = np.zeros(n), np.empty((4, 2))
    stack = np.empty((n + 1, 2), np.int64)
    depth, count, end = 0, 0, n - 1
    for i in range(n - 2, -1, -1):
        if i == 0 or corner[i]:
            stack[depth] = (i, end)
            depth += 1
            end = i
    seam = closed and not corner[0]
    while depth > 0:
        depth -= 1
        a, b = stack[depth]
        w = max(1, min(window, (b - a) // 2))
        before, after = max(0, a - w), min(n - 1, b + w)
        if a == 0 and seam:
            before = n - 1 - w
        if b == n - 1 and seam:
            after = w
        t0 = _tangent(p, a, a + w) if (a == 0 and not seam) or corner[a] else _tangent(p, before, a + w)
        t1 = _tangent(p, b, b - w) if (b == n - 1 and not seam) or corner[b] else _tangent(p, after, b - w)
        length = 0.0
        u[a] = 0.0
        for i in range(a + 1, b + 1):
            length += math.hypot(p[i, 0] - p[i - 1, 0], p[i, 1] - p[i - 1, 1])
            u[i] = length
        for i in range(a, b + 1):
            u[i] /= length
        worst, where = np.inf, (a + b) // 2
        for _ in range(6):
            _solve(p, a, b, u, t0, t1, c)
            worst, where = _improve(p, a, b, u, c)
            if worst <= limit or worst > 64 * limit:
                break
        if worst <= limit or b - a < 3:
            out[count] = c.ravel()
            count += 1
        else:
            where = min(b - 1, max(a + 1, where))
            stack[depth] = (where, b)
            stack[depth + 1] = (a, where)
            depth += 2
    return count


@njit(cache=True)
def _rotated(p: Points, first: int) -> Points:
    """A closed chain begun at another of its points."""
    n = len(p) - 1
    out = np.empty_like(p)
    for i in range(n + 1):
        out[i] = p[(i + first) % n]
    return out


@njit(cache=True)
def _fit_all(points: Points, starts: NDArray[np.int64], tolerance: float, window: int, sharp: float) -> tuple[Points, NDArray[np.int64]]:
    out = np.empty((len(points), 8))
    ends = np.zeros(len(starts), np.int64)
    total = 0
    for k in range(len(starts) - 1):
        p = points[starts[k] : starts[k + 1]]
        closed = len(p) > 3 and p[0, 0] == p[-1, 0] and p[0, 1] == p[-1, 1]
        w = max(1, min(window, len(p) // 4))
        corner = find_corners(p, closed, w, sharp)
        if closed and corner.any() and not corner[0]:
            p = _rotated(p, int(np.argmax(corner)))
            corner = find_corners(p, closed, w, sharp)
        total += _fit(p, corner, closed, tolerance, w, out[total:])
        ends[k + 1] = total
    return out[:total], ends


#: Points to each side over which tangents and turns are measured, and the turn (radians) that makes a corner.
WINDOW, SHARP = 8, math.radians(48)


def fit(chains: Chains, tolerance: float) -> list[Points]:
    """Each chain as an (m, 8) array of curves x0 y0 x1 y1 x2 y2 x3 y3 that stay within about `tolerance` of its points."""
    if not len(chains):
        return []
    curves, ends = _fit_all(chains.points, chains.starts, tolerance, WINDOW, SHARP)
    return [curves[ends[i] : ends[i + 1]] for i in range(len(chains))]

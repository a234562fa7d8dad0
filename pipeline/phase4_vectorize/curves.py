"""The fewest cubic Bézier curves along a fair chain of samples: dynamic programming over break points.

Between two break points one cubic is fitted with the chain's own tangents at both ends (least squares for the lengths of
the handles, Newton steps for the parameters: P. J. Schneider, "An Algorithm for Automatically Fitting Digitized Curves",
Graphics Gems, 1990). A span is possible while the curve stays within the tolerance of the samples; of all ways from one
end to the other the cheapest wins, a curve costing PRICE and every sample its squared distance.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from pipeline.phase4_vectorize.chains import Chains
from pipeline.phase4_vectorize.fair_curves import SHARP, STEP, SUDDEN, WAVELENGTH, WINDOW, fair, find_corners, resampled

Points = NDArray[np.float64]
Ints = NDArray[np.int64]

#: What one more curve costs, in squared pixels of distance summed over samples.
PRICE = 4.0
#: What one more change of the direction of bending costs, and the turn of a curve's end below which it bends nowhere.
WAVER, FLAT = 10.0, math.radians(0.5)
#: How often joints are relaxed and dropped.
SWEEPS = 3
#: Handles, as shares of the length of the way: the shortest of one, the longest of both together.
LEAST, MOST = 0.05, 0.9
#: Samples between candidate break points, and samples of a span that its fit looks at.
STRIDE, SEEN = 4, 9
#: Shares of the longest possible span that are tried besides it.
SHORTER = (0.9, 0.8, 0.7, 0.6, 0.5, 0.35, 0.2)


@njit(cache=True)
def _fit(
    z: Points, a: int, b: int, head: Points, tail: Points, limit: float, c: Points, u: NDArray[np.float64], at: NDArray[np.int64]
) -> float:
    """The control points c (4, 2) of one cubic along z[a..b]; its summed squared distance, or inf if it strays too far.

    `head` and `tail` (4,) are the ends: x, y and the unit tangent. `u` and `at` are room for SEEN parameters and samples.
    """
    m = min(SEEN, b - a - 1)
    for k in range(m):
        at[k] = a + ((k + 1) * (b - a) + (m + 1) // 2) // (m + 1)
        u[k] = (at[k] - a) / (b - a)
    x0, y0, x3, y3 = head[0], head[1], tail[0], tail[1]
    chord = math.hypot(x3 - x0, y3 - y0)
    arc = max(chord, STEP * (b - a))
    tx, ty, sx, sy = head[2], head[3], -tail[2], -tail[3]
    alpha = beta = chord / 3
    cross = tx * sx + ty * sy
    worst = 0.0
    total = 0.0
    for turn in range(4):
        if m > 0:
            c00 = c01 = c11 = r0 = r1 = 0.0
            for k in range(m):
                v = u[k]
                s = 1 - v
                b1, b2 = 3 * s * s * v, 3 * s * v * v
                first, last = s * s * s + b1, b2 + v * v * v
                rx = z[at[k], 0] - x0 * first - x3 * last
                ry = z[at[k], 1] - y0 * first - y3 * last
                c00 += b1 * b1
                c11 += b2 * b2
                c01 += b1 * b2 * cross
                r0 += b1 * (tx * rx + ty * ry)
                r1 += b2 * (sx * rx + sy * ry)
            det = c00 * c11 - c01 * c01
            if det > 1e-9 * c00 * c11:
                alpha, beta = (r0 * c11 - r1 * c01) / det, (c00 * r1 - c01 * r0) / det
            alpha, beta = min(max(alpha, LEAST * arc), arc), min(max(beta, LEAST * arc), arc)
            if alpha + beta > MOST * arc:  # handles that pass each other make the curve bend back in its middle
                shrink = MOST * arc / (alpha + beta)
                alpha, beta = alpha * shrink, beta * shrink
        x1, y1, x2, y2 = x0 + alpha * tx, y0 + alpha * ty, x3 + beta * sx, y3 + beta * sy
        worst = total = 0.0
        for k in range(m):
            v = u[k]
            s = 1 - v
            w0, w1, w2, w3 = s * s * s, 3 * s * s * v, 3 * s * v * v, v * v * v
            ex = w0 * x0 + w1 * x1 + w2 * x2 + w3 * x3 - z[at[k], 0]
            ey = w0 * y0 + w1 * y1 + w2 * y2 + w3 * y3 - z[at[k], 1]
            dx = 3 * (s * s * (x1 - x0) + 2 * s * v * (x2 - x1) + v * v * (x3 - x2))
            dy = 3 * (s * s * (y1 - y0) + 2 * s * v * (y2 - y1) + v * v * (y3 - y2))
            speed = dx * dx + dy * dy
            along = ex * dx + ey * dy
            off = ex * ex + ey * ey - (along * along / speed if speed > 1e-12 else 0.0)
            worst = max(worst, off)
            total += off
            if speed > 1e-12:
                ddx = 6 * (s * (x2 - 2 * x1 + x0) + v * (x3 - 2 * x2 + x1))
                ddy = 6 * (s * (y2 - 2 * y1 + y0) + v * (y3 - 2 * y2 + y1))
                slope = speed + ex * ddx + ey * ddy
                u[k] = min(1.0, max(0.0, v - along / (slope if slope > 0.3 * speed else speed)))
        if worst > 25 * limit * limit or (turn >= 1 and worst < 0.02 * limit * limit):
            break
    c[0, 0], c[0, 1], c[3, 0], c[3, 1] = x0, y0, x3, y3
    c[1, 0], c[1, 1], c[2, 0], c[2, 1] = x0 + alpha * tx, y0 + alpha * ty, x3 + beta * sx, y3 + beta * sy
    return total * (b - a) / (m + 1) if worst <= limit * limit else np.inf


@njit(cache=True)
def _tangents(z: Points, looped: bool) -> Points:
    """(n, 2) unit tangents by central differences; at open ends of the parabola through three samples."""
    n = len(z)
    t = np.empty((n, 2))
    for i in range(n):
        if 0 < i < n - 1:
            x, y = z[i + 1, 0] - z[i - 1, 0], z[i + 1, 1] - z[i - 1, 1]
        elif looped:
            x, y = z[1, 0] - z[n - 2, 0], z[1, 1] - z[n - 2, 1]
        elif n < 3:
            x, y = z[n - 1, 0] - z[0, 0], z[n - 1, 1] - z[0, 1]
        elif i == 0:
            x, y = 4 * z[1, 0] - 3 * z[0, 0] - z[2, 0], 4 * z[1, 1] - 3 * z[0, 1] - z[2, 1]
        else:
            x, y = 3 * z[i, 0] - 4 * z[i - 1, 0] + z[i - 2, 0], 3 * z[i, 1] - 4 * z[i - 1, 1] + z[i - 2, 1]
        length = math.hypot(x, y)
        if length > 0:
            t[i, 0], t[i, 1] = x / length, y / length
        else:
            t[i, 0], t[i, 1] = 1.0, 0.0
    return t


@njit(cache=True)
def _cut(z: Points, e: Points, limit: NDArray[np.float64], stops_at: NDArray[np.int64]) -> int:
    """The samples at which the cheapest curves along z end, into `stops_at`; returns how many curves there are.

    `e` (n, 4): x, y and unit tangent of a curve that ends at each sample.
    """
    n = len(z)
    stride = STRIDE if n > 6 * STRIDE else max(1, n // 8)
    stops = (n - 2) // stride + 1  # candidates 0, stride, … and the last sample
    cand = np.empty(stops + 1, np.int64)
    for k in range(stops):
        cand[k] = k * stride
    cand[stops] = n - 1
    if stops > 1 and cand[stops] - cand[stops - 1] < (stride + 1) // 2:
        cand[stops - 1] = cand[stops]
        stops -= 1
    cost = np.full(stops + 1, np.inf)
    via = np.zeros(stops + 1, np.int64)
    cost[0] = 0.0
    c, u, at = np.empty((4, 2)), np.empty(SEEN), np.empty(SEEN, np.int64)
    for i in range(stops):
        if cost[i] == np.inf:
            continue
        # the farthest candidate in reach, by doubling and halving
        low, step, high = i + 1, 1, stops + 1
        tightest = limit[cand[i] : cand[i + 1] + 1].min()
        first = _fit(z, cand[i], cand[i + 1], e[cand[i]], e[cand[i + 1]], tightest, c, u, at)
        if first == np.inf:
            first = 0.0  # one step is always possible
        if cost[i] + PRICE + first < cost[i + 1]:
            cost[i + 1], via[i + 1] = cost[i] + PRICE + first, i
        while low < stops:
            j = min(stops, low + step, high - 1)
            if j <= low:
                break
            found = _fit(z, cand[i], cand[j], e[cand[i]], e[cand[j]], limit[cand[i] : cand[j] + 1].min(), c, u, at)
            if found < np.inf:
                if cost[i] + PRICE + found < cost[j]:
                    cost[j], via[j] = cost[i] + PRICE + found, i
                low = j
                step = step * 2 if high > stops else max(1, step // 2)
            else:
                high = j
                step = max(1, (high - low) // 2)
        for share in SHORTER:
            j = i + int((low - i) * share)
            if j <= i + 1 or j == low:
                continue
            found = _fit(z, cand[i], cand[j], e[cand[i]], e[cand[j]], limit[cand[i] : cand[j] + 1].min(), c, u, at)
            if cost[i] + PRICE + found < cost[j]:
                cost[j], via[j] = cost[i] + PRICE + found, i
    count, k = 0, stops
    while k > 0:
        k = via[k]
        count += 1
    stops_at[count] = cand[stops]
    k = stops
    for m in range(count - 1, -1, -1):
        k = via[k]
        stops_at[m] = cand[k]
    return count


class _Joined(NamedTuple):
    """Curves under way along samples z (n, 2): they meet at the samples `at` (m + 1), in `ends` (m + 1, 4) of x, y and unit
    tangent, and bend to `sides` (m, 2). `c`, `u` and `seen` are room for one fit."""

    z: Points
    limit: NDArray[np.float64]
    at: Ints
    ends: Points
    sides: Ints
    c: Points
    u: NDArray[np.float64]
    seen: Ints


@njit(cache=True)
def _side(c: Points, i: int) -> int:
    """Which way the control polygon c (4, 2) turns at its inner corner i: -1, 1, or 0 where it hardly does."""
    ax, ay, bx, by = c[i, 0] - c[i - 1, 0], c[i, 1] - c[i - 1, 1], c[i + 1, 0] - c[i, 0], c[i + 1, 1] - c[i, 1]
    turn = math.atan2(ax * by - ay * bx, ax * bx + ay * by)
    return 0 if abs(turn) < FLAT else (1 if turn > 0 else -1)


@njit(cache=True)
def _span(w: _Joined, k: int, bound: bool) -> float:
    """Fit curve k between its joints and note to which sides it bends; its summed squared distance, inf if `bound` and too far."""
    limit = w.limit[w.at[k] : w.at[k + 1] + 1].min() if bound else 1e9
    found = _fit(w.z, w.at[k], w.at[k + 1], w.ends[k], w.ends[k + 1], limit, w.c, w.u, w.seen)
    w.sides[k, 0], w.sides[k, 1] = _side(w.c, 1), _side(w.c, 2)
    return found


@njit(cache=True)
def _wavering(w: _Joined, first: int, last: int) -> float:
    """What the changes of the direction of bending along the curves first..last - 1 cost."""
    count, now = 0, 0
    for k in range(first, last):
        for i in range(2):
            if w.sides[k, i] != 0:
                if now == -w.sides[k, i]:
                    count += 1
                now = w.sides[k, i]
    return WAVER * count


@njit(cache=True)
def _around(w: _Joined, j: int, m: int, bound: bool) -> float:
    """What the curves beside joint j cost, and their wavering with their neighbours."""
    total = 0.0
    for k in range(max(0, j - 1), min(m, j + 1)):
        total += _span(w, k, bound)
    return total + _wavering(w, max(0, j - 2), min(m, j + 2))


@njit(cache=True)
def _relax(w: _Joined, m: int, looped: bool) -> None:
    """Turn and shift the joints until the curves between them cost least; ends only turn, a loop's seam stays."""
    old = np.empty(4)
    for j in range(m + 1):
        inner = 0 < j < m
        if looped and not inner:
            continue
        end = w.ends[j]
        best = _around(w, j, m, True)
        shift, turn = 0.6, math.radians(4)
        for attempt in range(14 if inner else 8):
            old[:] = end
            if attempt < 2:  # straight on along one of the chords: no bending there
                k = j - 1 + attempt
                if not 0 <= k < m:
                    continue
                x, y = w.ends[k + 1, 0] - w.ends[k, 0], w.ends[k + 1, 1] - w.ends[k, 1]
                length = max(1e-9, math.hypot(x, y))
                end[2], end[3] = x / length, y / length
            elif attempt % 4 < 2 if inner else True:
                by = (turn if attempt % 2 else -turn) / (1 << ((attempt - 2) // (4 if inner else 2)))
                sine, cosine = math.sin(by), math.cos(by)
                end[2], end[3] = old[2] * cosine - old[3] * sine, old[2] * sine + old[3] * cosine
            else:
                by = (shift if attempt % 2 else -shift) / (1 << ((attempt - 2) // 4))
                end[0], end[1] = old[0] - by * old[3], old[1] + by * old[2]
            found = _around(w, j, m, True)
            if found < best:
                best = found
            else:
                end[:] = old
        _around(w, j, m, True)


@njit(cache=True)
def _drop(w: _Joined, m: int) -> int:
    """Take out the joints that are not worth their PRICE; returns the number of curves left."""
    old = np.empty(4)
    j = 1
    while j < m:
        dear = _around(w, j, m, False) + PRICE
        place = w.at[j]
        old[:] = w.ends[j]
        before, after = w.sides[j - 1].copy(), w.sides[j].copy()
        for k in range(j, m):
            w.ends[k], w.at[k] = w.ends[k + 1], w.at[k + 1]
            w.sides[k - 1] = w.sides[k]
        found = _span(w, j - 1, True)
        if found + _wavering(w, max(0, j - 2), min(m - 1, j + 1)) < dear:
            m -= 1
            continue
        for k in range(m, j, -1):
            w.ends[k], w.at[k] = w.ends[k - 1], w.at[k - 1]
            w.sides[k - 1] = w.sides[k - 2]
        w.ends[j], w.at[j] = old, place
        w.sides[j - 1], w.sides[j] = before, after
        j += 1
    return m


@njit(cache=True)
def _curves(z: Points, t: Points, looped: bool, limit: NDArray[np.float64], out: Points) -> int:
    """Fill `out` (m, 8) with the cheapest curves along z with unit tangents t; returns their number."""
    n = len(z)
    every = np.empty((n, 4))
    every[:, :2], every[:, 2:] = z, t
    at = np.empty(n + 1, np.int64)
    m = _cut(z, every, limit, at)
    ends = np.empty((m + 1, 4))
    for k in range(m + 1):
        ends[k] = every[at[k]]
    w = _Joined(z, limit, at, ends, np.zeros((m + 1, 2), np.int64), np.empty((4, 2)), np.empty(SEEN), np.empty(SEEN, np.int64))
    for k in range(m):
        _span(w, k, False)
    for _ in range(SWEEPS):
        _relax(w, m, looped)
        m = _drop(w, m)
    for k in range(m):
        _span(w, k, False)
        out[k] = w.c.ravel()
    return m


#: Shares of the tolerance: what fairing may take, and what the fit of the fair curve may.
FAIR, FIT = 0.6, 0.4
#: How far a corner may lie from the sample at which it was found, pixels.
TIP = 2.5
#: The share of a face's width that its boundary may stray, where the face is thin.
SHARE = 0.3


@njit(cache=True)
def _width(x: Points, i: int, most: float, rank: int, ranks: NDArray[np.int32]) -> float:
    """How wide the face on the right of the chain is at sample i, up to `most` pixels."""
    a, b = max(0, i - 2), min(len(x) - 1, i + 2)
    dx, dy = x[b, 0] - x[a, 0], x[b, 1] - x[a, 1]
    length = math.hypot(dx, dy)
    if length == 0:
        return most
    nx, ny = -dy / length, dx / length
    wide = 1.0
    while wide < most:
        u, v = math.floor(x[i, 0] + wide * nx), math.floor(x[i, 1] + wide * ny)
        if not (0 <= v < ranks.shape[0] and 0 <= u < ranks.shape[1] and ranks[v, u] == rank):
            break
        wide += 1.0
    return wide


@njit(cache=True)
def _wrapped(x: Points, by: int) -> Points:
    """A closed chain with `by` of its samples repeated at both ends."""
    n = len(x) - 1
    out = np.empty((n + 1 + 2 * by, 2))
    for i in range(len(out)):
        out[i] = x[(i - by) % n]
    return out


@njit(cache=True)
def _meeting(p: Points, t: Points, q: Points, s: Points, near: Points) -> tuple[float, float]:
    """Where the line through p's last sample along its tangent meets the one through q's first: the corner's tip, if `near` the
    sample at which it was found; else that sample."""
    i, j = len(p) - 1, 0
    det = t[i, 0] * s[j, 1] - t[i, 1] * s[j, 0]
    if abs(det) < 0.2:
        return near[0], near[1]
    dx, dy = q[j, 0] - p[i, 0], q[j, 1] - p[i, 1]
    k = (dx * s[j, 1] - dy * s[j, 0]) / det
    x, y = p[i, 0] + k * t[i, 0], p[i, 1] + k * t[i, 1]
    if math.hypot(x - near[0], y - near[1]) > TIP:
        return near[0], near[1]
    return x, y


@njit(cache=True)
def _chain(p: Points, closed: bool, fixed: bool, rank: int, ranks: NDArray[np.int32], tolerance: float, out: Points) -> int:
    """Fill `out` with the curves along the chain p; `fixed` holds its open ends where they are. Returns their number."""
    x = resampled(p, STEP)
    n = len(x)
    window = max(1, min(WINDOW, n // 5))
    corner = find_corners(x, closed, window, SHARP, SUDDEN)
    looped = closed and not corner.any()
    if closed and not looped:
        first = int(np.argmax(corner[: n - 1]))
        y = np.empty_like(x)
        turned = np.zeros(n, np.bool_)
        for i in range(n):
            y[i] = x[(i + first) % (n - 1)]
            turned[i] = corner[(i + first) % (n - 1)]
        x, corner = y, turned
    limit = np.full(n, tolerance)
    if ranks.size > 0:
        for i in range(n):
            limit[i] = min(tolerance, SHARE * _width(x, i, tolerance / SHARE, rank, ranks))
    if looped:
        by = min(n - 1, int(WAVELENGTH))
        z = fair(_wrapped(x, by), FAIR * _wrapped(np.stack((limit, limit), 1), by)[:, 0], WAVELENGTH)[by : by + n].copy()
        z[n - 1] = z[0]
        return _curves(z, _tangents(z, True), True, FIT * limit, out)
    corner[0] = corner[n - 1] = True
    z, t = np.empty_like(x), np.empty_like(x)
    stops = np.flatnonzero(corner)
    # Each piece is faired by itself; a corner has a place in two pieces, so its samples are kept apart.
    heads, tails, ahead, behind = np.empty((len(stops), 2)), np.empty((len(stops), 2)), np.empty((len(stops), 2)), np.empty((len(stops), 2))
    for k in range(len(stops) - 1):
        a, b = stops[k], stops[k + 1]
        piece = fair(x[a : b + 1], FAIR * limit[a : b + 1], WAVELENGTH)
        slope = _tangents(piece, False)
        z[a + 1 : b] = piece[1:-1]
        t[a + 1 : b] = slope[1:-1]
        heads[k], ahead[k] = piece[0], slope[0]
        tails[k + 1], behind[k + 1] = piece[-1], slope[-1]
    tips = np.empty((len(stops), 2))
    for k in range(len(stops)):
        i = stops[k]
        if 0 < k < len(stops) - 1 or closed:
            before = k if k > 0 else len(stops) - 1
            after = k if k < len(stops) - 1 else 0
            u, v = _meeting(
                tails[before : before + 1], behind[before : before + 1], heads[after : after + 1], ahead[after : after + 1], x[i]
            )
            tips[k, 0], tips[k, 1] = u, v
        elif fixed:
            tips[k] = x[i]
        else:
            tips[k] = heads[k] if k == 0 else tails[k]
    count = 0
    for k in range(len(stops) - 1):
        a, b = stops[k], stops[k + 1]
        z[a], z[b] = tips[k], tips[k + 1]
        t[a], t[b] = ahead[k], behind[k + 1]
        count += _curves(z[a : b + 1], t[a : b + 1], False, FIT * limit[a : b + 1], out[count:])
    return count


@njit(cache=True, parallel=True)
def _fit_all(
    points: Points,
    starts: NDArray[np.int64],
    closed: NDArray[np.bool_],
    fixed: bool,
    rank: NDArray[np.int32],
    ranks: NDArray[np.int32],
    tolerance: float,
) -> tuple[Points, NDArray[np.int64]]:
    out = np.empty((len(points) + 2 * len(starts), 8))
    counts = np.zeros(len(starts) - 1, np.int64)
    for k in prange(len(starts) - 1):
        room = out[starts[k] + 2 * k : starts[k + 1] + 2 * k + 2]
        counts[k] = _chain(points[starts[k] : starts[k + 1]], closed[k], fixed, rank[k], ranks, tolerance, room)
    return out, counts


def fit(
    chains: Chains,
    tolerance: float,
    closed: NDArray[np.bool_],
    fixed: bool = True,
    rank: NDArray[np.int32] | None = None,
    ranks: NDArray[np.int32] | None = None,
) -> list[Points]:
    """Each chain as an (m, 8) array of curves x0 y0 x1 y1 x2 y2 x3 y3 that stay within about `tolerance` of its points.

    A `closed` chain repeats its first point. Open ends stay where they are if `fixed`. With `rank` of the face on
    each chain's right and `ranks` (H, W) at each pixel, thin faces are followed more closely.
    """
    if not len(chains):
        return []
    if rank is None or ranks is None:
        rank, ranks = np.zeros(len(chains), np.int32), np.zeros((0, 0), np.int32)
    curves, counts = _fit_all(chains.points, chains.starts, closed, fixed, rank, ranks, tolerance)
    at = chains.starts[:-1] + 2 * np.arange(len(chains))
    return [curves[a : a + n] for a, n in zip(at, counts, strict=True)]

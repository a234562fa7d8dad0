"""How a face goes on beneath the faces that are painted over it.

Faces are painted one over the other. Where a face meets a later one its boundary is drawn by that later face; the earlier
one only has to pass somewhere beneath it, so that nothing shows between the two. A run of such boundary is replaced by as
few straight links as can be found: they keep clear of everything that is painted earlier, and of the face itself.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Points = NDArray[np.float64]
Ranks = NDArray[np.int32]

#: How far beneath the later face a link may turn, pixels, the deepest first.
DEPTHS = (40.0, 20.0, 10.0, 5.0, 2.5, 1.2, 0.6)
#: The room a link wants beside it, pixels: as much as a fitted boundary may stray and a pixel more; with less, how long a
#: stretch of the run it may stand for, pixels.
CLEARS, LONGEST = (3.5, 2.0, 0.8), (1 << 30, 120, 16)
#: How fast that room grows with the distance from an end that has less, pixels a pixel.
SLOPE = 0.5
#: Places that a link has to reach before one with less room is not looked for.
STRIDES = 5
#: Longest links, in places along the run, that are tried one after the other until nothing foreign is surrounded.
REACHES = (1 << 30, 64, 16, 4, 1)
#: Bad places that the search for the farthest good one passes over before it gives up.
MISSES = 4


@njit(cache=True)
def _above(x: float, y: float, rank: int, ranks: Ranks) -> bool:
    """Whether the pixel at (x, y) is painted later than `rank`."""
    i, j = math.floor(x), math.floor(y)
    return bool(0 <= j < ranks.shape[0] and 0 <= i < ranks.shape[1] and ranks[j, i] > rank)


@njit(cache=True)
def _free(ux: float, uy: float, vx: float, vy: float, u_room: float, v_room: float, clear: float, rank: int, ranks: Ranks) -> bool:
    """Whether the link u v stays beneath later faces, with `clear` pixels to spare but near ends that have less room."""
    dx, dy = vx - ux, vy - uy
    length = math.hypot(dx, dy)
    if length < 1e-9:
        return True
    dx, dy = dx / length, dy / length
    steps = max(2, int(length / 0.45))
    for k in range(steps + 1):
        s = 0.1 * length if length < 1 else 0.1
        s += (length - 2 * s) * k / steps
        x, y = ux + s * dx, uy + s * dy
        if not _above(x, y, rank, ranks):
            return False
        side = min(clear, u_room + SLOPE * s, v_room + SLOPE * (length - s))
        beside = _above(x - side * dy, y + side * dx, rank, ranks) and _above(x + side * dy, y - side * dx, rank, ranks)
        if side > 0.3 and not beside:
            return False
    return True


@njit(cache=True)
def _normal(p: Points, k: int) -> tuple[float, float]:
    """The unit normal of the run p at crack k, towards the later side (left)."""
    n = len(p) - 1
    a, b = max(0, k - 4), min(n, k + 5)
    x, y = p[b, 0] - p[a, 0], p[b, 1] - p[a, 1]
    if x * (p[k + 1, 0] - p[k, 0]) + y * (p[k + 1, 1] - p[k, 1]) <= 0:
        x, y = p[k + 1, 0] - p[k, 0], p[k + 1, 1] - p[k, 1]
    length = math.hypot(x, y)
    return y / length, -x / length


@njit(cache=True)
def _depth(p: Points, k: int, rank: int, ranks: Ranks) -> tuple[float, float, float]:
    """The normal at crack k, and how far the later side goes along it."""
    nx, ny = _normal(p, k)
    mx, my = (p[k, 0] + p[k + 1, 0]) / 2, (p[k, 1] + p[k + 1, 1]) / 2
    deep = 0.0
    while deep < DEPTHS[0] + CLEARS[0] and _above(mx + (deep + 0.5) * nx, my + (deep + 0.5) * ny, rank, ranks):
        deep += 0.5
    return nx, ny, deep


@njit(cache=True)
def _turning(p: Points, k: int, nx: float, ny: float, deep: float, level: int, clear: float) -> tuple[float, float, float]:
    """A place at which a link may turn beside crack k: x, y and the room it has there, or a room below zero for none."""
    mx, my = (p[k, 0] + p[k + 1, 0]) / 2, (p[k, 1] + p[k + 1, 1]) / 2
    d = DEPTHS[level]
    room = min(d, clear)
    if deep < d + room:
        return mx, my, -1.0
    return mx + d * nx, my + d * ny, room


@njit(cache=True)
def _surrounds(p: Points, closed: bool, q: Points, m: int, rank: int, spots: Points, spot_ranks: Ranks) -> bool:
    """Whether the strip between the run p and its links q[:m] holds a face that is painted earlier, or the run's own."""
    if closed and m > 0:
        q[m] = q[0]
        m += 1
    low_x, low_y, high_x, high_y = p[:, 0].min(), p[:, 1].min(), p[:, 0].max(), p[:, 1].max()
    for i in range(m):
        low_x, low_y, high_x, high_y = min(low_x, q[i, 0]), min(low_y, q[i, 1]), max(high_x, q[i, 0]), max(high_y, q[i, 1])
    total = len(p) + m
    for s in range(len(spots)):
        x, y = spots[s]
        if spot_ranks[s] > rank or not (low_x < x < high_x and low_y < y < high_y):
            continue
        inside = False
        for i in range(total):
            j = (i + 1) % total
            ax, ay = (p[i, 0], p[i, 1]) if i < len(p) else (q[total - 1 - i, 0], q[total - 1 - i, 1])
            bx, by = (p[j, 0], p[j, 1]) if j < len(p) else (q[total - 1 - j, 0], q[total - 1 - j, 1])
            if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
                inside = not inside
        if inside:
            return True
    return False


@njit(cache=True)
def _swallows(p: Points, a: int, b: int, ux: float, uy: float, vx: float, vy: float) -> bool:
    """Whether the link u v, meant to replace the cracks a to b of the run p, goes round the wrong side of the run's face.

    Neither the link nor the run crosses the face, so one of its pixels beside the run tells for all of them.
    """
    dx, dy = p[a + 1, 0] - p[a, 0], p[a + 1, 1] - p[a, 1]
    x, y = (p[a, 0] + p[a + 1, 0]) / 2 - dy / 2, (p[a, 1] + p[a + 1, 1]) / 2 + dx / 2  # the face's pixel, on the right
    inside = False
    ax, ay = ux, uy
    for i in range(a, b + 4):
        if i <= b + 1:
            bx, by = p[i, 0], p[i, 1]
        elif i == b + 2:
            bx, by = vx, vy
        else:
            bx, by = ux, uy
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
        ax, ay = bx, by
    return inside


@njit(cache=True)
def _turn_at(
    p: Points, here: int, k: int, ux: float, uy: float, room: float, clear: float, rank: int, ranks: Ranks
) -> tuple[float, float, float]:
    """Where a link from u, which stands for the run from crack `here` on, may turn beside crack k: x, y, room (-1: nowhere)."""
    nx, ny, deep = _depth(p, k, rank, ranks)
    for level in range(len(DEPTHS)):
        x, y, there = _turning(p, k, nx, ny, deep, level, clear)
        if there >= 0 and _free(ux, uy, x, y, room, there, clear, rank, ranks) and not _swallows(p, here, k, ux, uy, x, y):
            return x, y, there
    return 0.0, 0.0, -1.0


@njit(cache=True)
def _farthest(
    p: Points, i: int, every: int, last: int, ux: float, uy: float, room: float, clear: float, rank: int, ranks: Ranks
) -> tuple[int, float, float, float]:
    """The farthest place after i, up to `last`, at which a link from u may turn (i itself: none), and x, y, room there."""
    here = max(0, i * every)
    best, bx, by, there = i, 0.0, 0.0, 0.0
    step, misses, missed = 1, 0, last + 1
    while i + step <= last and misses < MISSES:  # ever longer steps, over a few bad places
        x, y, r = _turn_at(p, here, (i + step) * every, ux, uy, room, clear, rank, ranks)
        if r >= 0:
            best, bx, by, there = i + step, x, y, r
            misses, missed = 0, last + 1
        else:
            misses += 1
            missed = min(missed, i + step)
        step += 1 + step // 2
    while missed - best > 1:  # halving between the last success and the first miss
        j = (best + missed) // 2
        x, y, r = _turn_at(p, here, j * every, ux, uy, room, clear, rank, ranks)
        if r >= 0:
            best, bx, by, there = j, x, y, r
        else:
            missed = j
    return best, bx, by, there


@njit(cache=True)
def _thinned(x: float, y: float, out: Points, first: int, m: int, slack: float) -> int:
    """Drop corners of out[first:m], reached from (x, y), that lie within `slack` of the way without them; returns the new m."""
    kept, a = first, first - 1
    while a < m - 1:
        ax, ay = (x, y) if a < first else (out[a, 0], out[a, 1])
        b = m - 1
        while b > a + 1:
            dx, dy = out[b, 0] - ax, out[b, 1] - ay
            length = max(1e-9, math.hypot(dx, dy))
            worst = 0.0
            for k in range(a + 1, b):
                worst = max(worst, abs((out[k, 0] - ax) * dy - (out[k, 1] - ay) * dx) / length)
            if worst <= slack:
                break
            b = a + 1 + (b - a - 1) // 2
        a = b
        out[kept] = out[b]
        if kept < b and a < m - 1:
            for k in range(b + 1, m):
                out[k - b + kept] = out[k]
            m -= b - kept
            a = kept
        kept += 1
    return kept


@njit(cache=True)
def _links(p: Points, closed: bool, rank: int, ranks: Ranks, reach: int, slack: float, out: Points) -> int:
    """Greedy: from each turn the farthest place in reach. Without any, the run's own cracks are followed, `slack` beyond them."""
    n = len(p) - 1
    every = 1 if n < 32 else (2 if n < 128 else 4)
    count = (n + every - 1) // every
    if p[0, 0] == p[n, 0] and p[0, 1] == p[n, 1]:  # once around, not across
        reach = min(reach, count // 3 + 1)
    ux, uy, fixed, room, i, m = p[0, 0], p[0, 1], True, 0.0, -1, 0
    if closed:
        i, m = 0, 1
        nx, ny, deep = _depth(p, 0, rank, ranks)
        room = -1.0
        for level in range(len(DEPTHS)):
            ux, uy, room = _turning(p, 0, nx, ny, deep, level, CLEARS[0] if level < 4 else CLEARS[-1])
            if room >= 0:
                break
        fixed = room < 0
        if fixed:
            ux, uy, room = p[0, 0], p[0, 1], 0.0
        out[0, 0], out[0, 1] = ux, uy
    begun, from_x, from_y = -1, ux, uy  # where out began to follow the run
    end_x, end_y, end_fixed, end_room = (ux, uy, fixed, room) if closed else (p[n, 0], p[n, 1], True, 0.0)
    while i < count:
        here = max(0, i * every)
        done, best, bx, by, there = False, i, 0.0, 0.0, 0.0
        for c in range(len(CLEARS)):
            clear, most = CLEARS[c], min(reach, max(1, LONGEST[c] // every))
            done = (
                count - i <= most
                and _free(ux, uy, end_x, end_y, room, end_room, clear, rank, ranks)
                and not _swallows(p, here, n - 1, ux, uy, end_x, end_y)
            )
            if done:
                break
            j, x, y, r = _farthest(p, i, every, min(count - 1, i + most), ux, uy, room, clear, rank, ranks)
            if j > best:
                best, bx, by, there = j, x, y, r
            if best > i + STRIDES:
                break
        if done:
            break
        if best > i:
            if begun >= 0:
                m, begun = _thinned(from_x, from_y, out, begun, m, slack), -1
            i, ux, uy, room, fixed = best, bx, by, there, False
            out[m, 0], out[m, 1] = ux, uy
            m += 1
            continue
        # nowhere to turn: back to the run, and along it to its next place
        if begun < 0:
            begun, from_x, from_y = m, ux, uy
        if not fixed:
            out[m, 0], out[m, 1] = (p[here, 0] + p[here + 1, 0]) / 2, (p[here, 1] + p[here + 1, 1]) / 2
            m += 1
        first, last = 0 if i < 0 else i * every + 1, min(n, (i + 1) * every + 1)
        for k in range(first, last + 1):
            if 0 < k < n or (k == n and closed):
                nx, ny = _normal(p, min(k, n - 1))
                out[m, 0], out[m, 1] = p[k, 0] + slack * nx, p[k, 1] + slack * ny
                m += 1
        i += 1
        ux, uy, room, fixed = p[last, 0], p[last, 1], 0.0, True
        if last == n:
            if closed and not end_fixed:
                out[m, 0], out[m, 1] = (p[0, 0] + p[1, 0]) / 2, (p[0, 1] + p[1, 1]) / 2
                m += 1
            break
    return m if begun < 0 else _thinned(from_x, from_y, out, begun, m, slack)


@njit(cache=True)
def cover(p: Points, closed: bool, rank: int, ranks: Ranks, spots: Points, spot_ranks: Ranks, slack: float, out: Points) -> int:
    """Fill `out` with the corners of the links that replace the run p (n, 2), the later faces on its left; returns their number.

    The ends of an open run are not among them. `ranks` (H, W) is the order of painting at each pixel, -1 where nothing is
    painted; `spots` (F, 2) a point of every face and `spot_ranks` its rank. A closed run around nothing but later
    faces vanishes: 0. Where a later face is too thin to turn in, the run itself is followed within
    `slack` pixels. `out` needs room for 3 len(p) + 8.
    """
    if closed:
        area = 0.0
        for i in range(len(p) - 1):
            area += p[i, 0] * p[i + 1, 1] - p[i + 1, 0] * p[i, 1]
        if area < 0 and not _surrounds(p, True, out, 0, rank, spots, spot_ranks):
            return 0
    for reach in REACHES:
        m = _links(p, closed, rank, ranks, reach, slack, out)
        if not _surrounds(p, closed, out, m, rank, spots, spot_ranks):
            return m
    for i in range(1, len(p) - 1):
        out[i - 1] = p[i]
    if closed:
        out[len(p) - 2] = p[0]
        return len(p) - 1
    return len(p) - 2

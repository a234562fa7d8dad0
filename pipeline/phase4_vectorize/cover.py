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

#: How far beneath the later face a link may turn, pixels, the deepest first, and how much room it wants beside it.
DEPTHS, CLEAR = (40.0, 20.0, 10.0, 5.0, 2.5, 1.2, 0.6), 3.0
#: Around the run's own ends nothing beside a link is asked for, pixels.
NEAR = 5.0


@njit(cache=True)
def _above(x: float, y: float, rank: int, ranks: Ranks) -> bool:
    """Whether the pixel at (x, y) is painted later than `rank`."""
    i, j = int(math.floor(x)), int(math.floor(y))
    return 0 <= j < ranks.shape[0] and 0 <= i < ranks.shape[1] and ranks[j, i] > rank


@njit(cache=True)
def _free(ux: float, uy: float, vx: float, vy: float, start: bool, end: bool, side: float, rank: int, ranks: Ranks) -> bool:
    """Whether the link u v stays beneath later faces, with `side` pixels to spare but near an end that is fixed (`start`, `end`)."""
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
        if side > 0 and k % 2 == 0 and not (start and s < NEAR) and not (end and length - s < NEAR):
            if not _above(x - side * dy, y + side * dx, rank, ranks) or not _above(x + side * dy, y - side * dx, rank, ranks):
                return False
    return True


@njit(cache=True)
def _depth(p: Points, k: int, rank: int, ranks: Ranks) -> tuple[float, float, float]:
    """The unit normal of crack k of the run p towards the later side (left), and how far that side goes along it."""
    n = len(p) - 1
    a, b = max(0, k - 4), min(n, k + 5)
    x, y = p[b, 0] - p[a, 0], p[b, 1] - p[a, 1]
    if x * (p[k + 1, 0] - p[k, 0]) + y * (p[k + 1, 1] - p[k, 1]) <= 0:
        x, y = p[k + 1, 0] - p[k, 0], p[k + 1, 1] - p[k, 1]
    length = math.hypot(x, y)
    nx, ny = y / length, -x / length
    mx, my = (p[k, 0] + p[k + 1, 0]) / 2, (p[k, 1] + p[k + 1, 1]) / 2
    deep = 0.0
    while deep < DEPTHS[0] + CLEAR and _above(mx + (deep + 0.5) * nx, my + (deep + 0.5) * ny, rank, ranks):
        deep += 0.5
    return nx, ny, deep


@njit(cache=True)
def _turning(p: Points, k: int, nx: float, ny: float, deep: float, level: int) -> tuple[float, float, float]:
    """A place at which a link may turn beside crack k: x, y and the room it has there, or a room below zero for none."""
    mx, my = (p[k, 0] + p[k + 1, 0]) / 2, (p[k, 1] + p[k + 1, 1]) / 2
    d = DEPTHS[level]
    room = min(d, CLEAR)
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
def _swallows(p: Points, a: int, b: int, every: int, ux: float, uy: float, vx: float, vy: float) -> bool:
    """Whether the link u v, meant to replace the cracks a to b of the run p, would cut the run's own face off there."""
    for k in range(a, b + 1, every):
        dx, dy = p[k + 1, 0] - p[k, 0], p[k + 1, 1] - p[k, 1]
        x, y = (p[k, 0] + p[k + 1, 0]) / 2 - dy / 2, (p[k, 1] + p[k + 1, 1]) / 2 + dx / 2  # the face's pixel, on the right
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
        if inside:
            return True
    return False


@njit(cache=True)
def _links(p: Points, closed: bool, rank: int, ranks: Ranks, reach: int, out: Points) -> int:
    """Greedy: from each turn the farthest place in reach. Without any, the run's own cracks are followed."""
    n = len(p) - 1
    every = 1 if n < 32 else (2 if n < 128 else 5)
    count = (n + every - 1) // every
    ux, uy, fixed, room = p[0, 0], p[0, 1], True, CLEAR
    m, i = 0, -1
    if p[0, 0] == p[n, 0] and p[0, 1] == p[n, 1]:  # once around, not across
        reach = min(reach, count // 3 + 1)
    if closed:
        i, fixed = 0, False
        nx, ny, deep = _depth(p, 0, rank, ranks)
        room = -1.0
        for level in range(len(DEPTHS)):
            ux, uy, room = _turning(p, 0, nx, ny, deep, level)
            if room >= 0:
                break
        if room < 0:
            ux, uy, room, fixed = p[0, 0], p[0, 1], 0.0, True
        out[0, 0], out[0, 1] = ux, uy
        m = 1
    end_x, end_y, end_fixed, end_room = (out[0, 0], out[0, 1], fixed, room) if closed else (p[n, 0], p[n, 1], True, CLEAR)
    while i < count:
        here = max(0, i * every)
        if (
            count - i <= reach
            and _free(ux, uy, end_x, end_y, fixed, end_fixed, min(room, end_room), rank, ranks)
            and not _swallows(p, here, n - 1, every, ux, uy, end_x, end_y)
        ):
            break
        best, bx, by, broom = i, 0.0, 0.0, 0.0
        step = 1
        low, high = i, count
        while True:
            j = min(low + step, high - 1, i + reach)
            if j <= low:
                break
            k = j * every
            nx, ny, deep = _depth(p, k, rank, ranks)
            good = False
            for level in range(len(DEPTHS)):
                x, y, there = _turning(p, k, nx, ny, deep, level)
                if there >= 0 and _free(ux, uy, x, y, fixed, False, min(room, there), rank, ranks):
                    good = not _swallows(p, here, k, every, ux, uy, x, y)
                    if good:
                        best, bx, by, broom = j, x, y, there
                        break
            if good:
                low = j
                step = step * 2 if high == count else max(1, (high - low) // 2)
            elif high == count and step == 1 and j < i + 4 and j < count - 1:  # a bad place: look a little farther
                low, step = j, 1
            else:
                high = j
                step = max(1, (high - low) // 2)
                low = max(low, best)
        if best > i:
            i, ux, uy, room, fixed = best, bx, by, broom, False
            out[m, 0], out[m, 1] = ux, uy
            m += 1
            continue
        # nowhere to turn: along the run itself to its next place
        first = 0 if i < 0 else i * every + 1
        last = min(n, (i + 1) * every + 1)
        if not fixed:  # back along the way that led to this turn
            out[m, 0], out[m, 1] = (p[here, 0] + p[here + 1, 0]) / 2, (p[here, 1] + p[here + 1, 1]) / 2
            m += 1
        for k in range(first, last + 1):
            if 0 < k < n or (k == n and closed):
                out[m, 0], out[m, 1] = p[k, 0], p[k, 1]
                m += 1
        i += 1
        ux, uy, room, fixed = p[last, 0], p[last, 1], 0.0, True
        if last == n:
            if closed and not end_fixed:
                out[m, 0], out[m, 1] = (p[0, 0] + p[1, 0]) / 2, (p[0, 1] + p[1, 1]) / 2
                m += 1
            return m
    return m


@njit(cache=True)
def cover(p: Points, closed: bool, rank: int, ranks: Ranks, spots: Points, spot_ranks: Ranks, out: Points) -> int:
    """Fill `out` with the corners of the links that replace the run p (n, 2), the later faces on its left; returns their number.

    The ends of an open run are not among them. `ranks` (H, W) is the order of painting at each pixel, -1 where nothing is
    painted; `spots` (F, 2) a point of every face and `spot_ranks` its rank. A closed run around nothing but later
    faces vanishes: 0. `out` needs room for 3 len(p) + 8.
    """
    if closed:
        area = 0.0
        for i in range(len(p) - 1):
            area += p[i, 0] * p[i + 1, 1] - p[i + 1, 0] * p[i, 1]
        if area < 0 and not _surrounds(p, True, out, 0, rank, spots, spot_ranks):
            return 0
    for reach in (1 << 30, 1):
        m = _links(p, closed, rank, ranks, reach, out)
        if not _surrounds(p, closed, out, m, rank, spots, spot_ranks):
            return m
    for i in range(1, len(p) - 1):
        out[i - 1] = p[i]
    if closed:
        out[len(p) - 2] = p[0]
        return len(p) - 1
    return len(p) - 2

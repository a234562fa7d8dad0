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
Ints = NDArray[np.int64]

#: How far beneath the later face a link may turn, pixels, the deepest first.
DEPTHS = (40.0, 20.0, 10.0, 5.0, 2.5, 1.2, 0.6)
#: The room a link wants beside it, pixels: as much as a fitted boundary may stray and a pixel more; with less, how long a
#: stretch of the run it may stand for, pixels.
CLEARS, LONGEST = (3.5, 2.0, 1.4, 0.8), (1 << 30, 120, 40, 16)
#: How fast that room grows with the distance from an end that has less, pixels a pixel.
SLOPE = 0.5
#: How a link may go: beneath later faces alone; over the face itself as well, where a later one is too thin to turn in; and
#: so around the tip of that later face.
BENEATH, ACROSS, AROUND = 0, 1, 2
#: Cracks of the longest tip that a link over the face itself goes around.
LONGEST_TIP = 400
#: Cracks beyond the place where a link turns that it has to keep clear of, where it may pass over its own face.
NEXT = 8
#: How far a link may go to the other side of a later face that is too thin to turn in, pixels.
BRIDGE = 12.0
#: Places that a link has to reach before one with less room is not looked for.
STRIDES = 5
#: Longest links, in places along the run, and how deep they may turn, pixels: tried one after the other, only the first of them over
#: the face itself, until nothing foreign is surrounded and nothing of the face left out.
REACHES, REACHED = (1 << 30, 1 << 30, 64, 16, 4, 1), (40.0, 40.0, 20.0, 8.0, 3.5, 1.5)
#: Where a pixel is looked at, in each of its directions, to see whether any of it is lost.
SAMPLES = (0.1, 0.5, 0.9)
#: Bad places that the search for the farthest good one passes over before it gives up.
MISSES = 4


@njit(cache=True)
def _above(x: float, y: float, rank: int, ranks: Ranks) -> bool:
    """Whether the pixel at (x, y) is painted later than `rank`."""
    i, j = math.floor(x), math.floor(y)
    return bool(0 <= j < ranks.shape[0] and 0 <= i < ranks.shape[1] and ranks[j, i] > rank)


@njit(cache=True)
def _free(
    ux: float, uy: float, vx: float, vy: float, u_room: float, v_room: float, clear: float, way: int, rank: int, ranks: Ranks
) -> bool:
    """Whether the link u v stays beneath later faces, with `clear` pixels to spare but near ends that have less room.

    Unless its `way` is BENEATH, it may pass over the face's own pixels, too, where it has room.
    """
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
        side = min(clear, u_room + SLOPE * s, v_room + SLOPE * (length - s))
        least = rank - 1 if way != BENEATH and side > 0.3 else rank
        if not _above(x, y, least, ranks):
            return False
        beside = _above(x - side * dy, y + side * dx, least, ranks) and _above(x + side * dy, y - side * dx, least, ranks)
        if side > 0.3 and not beside:
            return False
    return True


@njit(cache=True)
def _apart(p: Points, a: int, b: int, ux: float, uy: float, vx: float, vy: float, u_room: float, v_room: float, clear: float) -> bool:
    """Whether the link u v keeps clear of the cracks a to b of the run p that it replaces, and of those next to them."""
    dx, dy = vx - ux, vy - uy
    length = max(1e-9, math.hypot(dx, dy))
    dx, dy = dx / length, dy / length
    for i in range(max(0, 2 * (a - NEXT)), min(2 * (b + NEXT), 2 * (len(p) - 1)) + 1):  # ends and midpoints of the cracks
        k = i // 2
        x, y = (p[k, 0], p[k, 1]) if i % 2 == 0 else ((p[k, 0] + p[k + 1, 0]) / 2, (p[k, 1] + p[k + 1, 1]) / 2)
        s = min(length, max(0.0, (x - ux) * dx + (y - uy) * dy))
        side = min(clear, u_room + SLOPE * s, v_room + SLOPE * (length - s))
        if side > 0.3 and math.hypot(x - ux - s * dx, y - uy - s * dy) < side:
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
def _depth(p: Points, k: int, across: bool, rank: int, ranks: Ranks) -> tuple[float, float, float]:
    """The normal at crack k, and how far the later side goes along it; with `across` a little way over the face itself, too."""
    nx, ny = _normal(p, k)
    mx, my = (p[k, 0] + p[k + 1, 0]) / 2, (p[k, 1] + p[k + 1, 1]) / 2
    deep = 0.0
    while deep < DEPTHS[0] + CLEARS[0] and _above(mx + (deep + 0.5) * nx, my + (deep + 0.5) * ny, rank, ranks):
        deep += 0.5
    if across and deep > 0:
        while deep < 3 * CLEARS[0] and _above(mx + (deep + 0.5) * nx, my + (deep + 0.5) * ny, rank - 1, ranks):
            deep += 0.5
    return nx, ny, deep


@njit(cache=True)
def _beside(p: Points, k: int, last: int, slack: float, across: bool, rank: int, ranks: Ranks) -> tuple[float, float]:
    """From the cracks k to last of the run to the place beside them at which it is followed: `slack` or, where there is room, more."""
    ax, ay, deep = _depth(p, k, False, rank, ranks)
    bx, by, other = _depth(p, last, False, rank, ranks)
    length = max(1e-9, math.hypot(ax + bx, ay + by))
    d = max(slack, min(CLEARS[1], deep, other)) if across and slack > 0 else slack
    return d * (ax + bx) / length, d * (ay + by) / length


@njit(cache=True)
def _turning(p: Points, k: int, nx: float, ny: float, deep: float, level: int, clear: float) -> tuple[float, float, float]:
    """A place at which a link may turn beside crack k: x, y and the room it has there, or a room below zero for none."""
    mx, my = (p[k, 0] + p[k + 1, 0]) / 2, (p[k, 1] + p[k + 1, 1]) / 2
    d = DEPTHS[level]
    if deep < d + min(d, clear):  # where it is too thin for that, the middle, unless the next depth is deeper
        d = deep / 2
        if level + 1 == len(DEPTHS) or d <= DEPTHS[level + 1]:
            return mx, my, -1.0
    if d < 0.9 * min(clear, deep / 2):
        return mx, my, -1.0
    return mx + d * nx, my + d * ny, min(d, clear)


@njit(cache=True)
def _room(x: float, y: float, most: float, rank: int, ranks: Ranks) -> float:
    """How far from (x, y), up to `most`, every pixel is painted later than `rank`; below zero where it is less than half of that."""
    room = most
    for _ in range(3):
        free = True
        for k in range(8):
            free &= _above(x + room * math.cos(k * math.pi / 4), y + room * math.sin(k * math.pi / 4), rank, ranks)
        if free:
            return room
        room -= most / 4
    return -1.0


@njit(cache=True)
def _surrounds(p: Points, closed: bool, q: Points, m: int, rank: int, spots: Points, spot_ranks: Ranks) -> bool:
    """Whether the strip between the run p and its links q[:m] holds a face that is painted earlier."""
    if closed and m > 0:
        q[m] = q[0]
        m += 1
    low_x, low_y, high_x, high_y = p[:, 0].min(), p[:, 1].min(), p[:, 0].max(), p[:, 1].max()
    for i in range(m):
        low_x, low_y, high_x, high_y = min(low_x, q[i, 0]), min(low_y, q[i, 1]), max(high_x, q[i, 0]), max(high_y, q[i, 1])
    total = len(p) + m
    for s in range(len(spots)):
        x, y = spots[s]
        if spot_ranks[s] >= rank or not (low_x < x < high_x and low_y < y < high_y):
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
def _may(
    p: Points,
    a: int,
    b: int,
    ux: float,
    uy: float,
    vx: float,
    vy: float,
    u_room: float,
    v_room: float,
    clear: float,
    way: int,
    rank: int,
    ranks: Ranks,
) -> bool:
    """Whether the link u v may stand for the cracks a to b of the run p, in one of three ways: BENEATH, ACROSS or AROUND."""
    if not _free(ux, uy, vx, vy, u_room, v_room, clear, way, rank, ranks):
        return False
    if way == AROUND:
        beyond = not (_above(ux, uy, rank, ranks) or _above(vx, vy, rank, ranks))
        return beyond and _kept(p, a, b, ux, uy, vx, vy, rank, ranks)
    return not _swallows(p, a, b, ux, uy, vx, vy) and (way == BENEATH or _apart(p, a, b, ux, uy, vx, vy, u_room, v_room, clear))


@njit(cache=True)
def _around(p: Points, a: int, b: int, ux: float, uy: float, vx: float, vy: float, x: float, y: float) -> int:
    """How often the cracks a to b of the run p, and the link u v back, lead around (x, y); links that go along on the later side: -1."""
    count = 0
    ax, ay = ux, uy
    for i in range(a, b + 4):
        if i <= b + 1:
            bx, by = p[i, 0], p[i, 1]
        elif i == b + 2:
            bx, by = vx, vy
        else:
            bx, by = ux, uy
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            count += 1 if by > ay else -1
        ax, ay = bx, by
    return count


@njit(cache=True)
def _corner(p: Points, q: Points, m: int, closed: bool, i: int) -> tuple[float, float, bool]:
    """Corner i of the way along the links q[:m] and back along the run p, and whether the line that ends there is a part of it."""
    n = len(p)
    if closed:  # two loops
        k = 0 if i == m else i
        return (q[k, 0], q[k, 1], i > 0) if i <= m and m > 0 else (p[n - 1 - (i - m - 1), 0], p[n - 1 - (i - m - 1), 1], i > m + 1)
    if i == 0 or i > m:
        k = 0 if i == 0 else n - 1 - (i - m - 1)
        return p[k, 0], p[k, 1], i > 0
    return q[i - 1, 0], q[i - 1, 1], True


@njit(cache=True)
def _crossings(p: Points, q: Points, m: int, closed: bool) -> tuple[int, Ints, Points]:
    """Where the way along the links and back crosses the rows of samples, `SAMPLES` in each row of pixels: the first row of pixels, where
    each row's crossings begin, and for each its x and 1 for downwards, -1 for upwards."""
    corners, each = len(p) + m + 1, len(SAMPLES)
    low, high = p[0, 1], p[0, 1]
    for i in range(corners):
        y = _corner(p, q, m, closed, i)[1]
        low, high = min(low, y), max(high, y)
    top = math.floor(low)
    first = np.zeros(each * (math.floor(high) - top + 1) + 2, np.int64)
    out = np.empty((0, 2))
    for fill in range(2):
        if fill:
            first = np.cumsum(first)
            out = np.empty((first[-1], 2))
            first[1:] = first[:-1].copy()
        ax, ay = 0.0, 0.0
        for i in range(corners):
            bx, by, drawn = _corner(p, q, m, closed, i)
            for s in range(each if drawn else 0):
                for row in range(math.ceil(min(ay, by) - SAMPLES[s]), math.ceil(max(ay, by) - SAMPLES[s])):
                    k = each * (row - top) + s + 1
                    if fill:
                        out[first[k], 0] = ax + (row + SAMPLES[s] - ay) * (bx - ax) / (by - ay)
                        out[first[k], 1] = 1.0 if by > ay else -1.0
                    first[k] += 1
            ax, ay = bx, by
    return top, first, out


@njit(cache=True)
def _lost(x: float, y: float, top: int, first: Ints, crossings: Points) -> bool:
    """Whether a closed way, given by its `_crossings`, leads around a sample of the pixel with the centre (x, y) backwards."""
    row = len(SAMPLES) * (math.floor(y) - top)
    for s in range(len(SAMPLES)):
        if not 0 <= row + s < len(first) - 1:
            continue
        for t in range(len(SAMPLES)):
            count = 0.0
            for k in range(first[row + s], first[row + s + 1]):
                count += crossings[k, 1] if crossings[k, 0] > x - 0.5 + SAMPLES[t] else 0.0
            if count < 0:
                return True
    return False


@njit(cache=True)
def _uncovers(p: Points, closed: bool, q: Points, m: int, rank: int, ranks: Ranks) -> bool:
    """Whether a pixel of the face, beside the run p or the links q[:m], is no longer painted when the links stand for the run."""
    top, first, crossings = _crossings(p, q, m, closed)
    for c in range(len(p) - 1):
        dx, dy = p[c + 1, 0] - p[c, 0], p[c + 1, 1] - p[c, 1]
        x, y = (p[c, 0] + p[c + 1, 0]) / 2 - dy / 2, (p[c, 1] + p[c + 1, 1]) / 2 + dx / 2
        if _lost(x, y, top, first, crossings):
            return True
    ax, ay = 0.0, 0.0
    for i in range(m + 2):
        bx, by, drawn = _corner(p, q, m, closed, i)
        steps = math.ceil(math.hypot(bx - ax, by - ay)) if drawn and i <= m + 1 - closed else 0
        for k in range(3 * steps):
            x = math.floor(ax + (bx - ax) * (k // 3 + 0.5) / steps + (k % 3 - 1) * (by - ay) / steps) + 0.5
            y = math.floor(ay + (by - ay) * (k // 3 + 0.5) / steps - (k % 3 - 1) * (bx - ax) / steps) + 0.5
            if _above(x, y, rank - 1, ranks) and not _above(x, y, rank, ranks) and _lost(x, y, top, first, crossings):
                return True
        ax, ay = bx, by
    return False


@njit(cache=True)
def _swallows(p: Points, a: int, b: int, ux: float, uy: float, vx: float, vy: float) -> bool:
    """Whether the link u v, meant to replace the cracks a to b of the run p, goes round the wrong side of the run's face.

    Neither the link nor the run crosses the face, so one of its pixels beside the run tells for all of them.
    """
    dx, dy = p[a + 1, 0] - p[a, 0], p[a + 1, 1] - p[a, 1]
    x, y = (p[a, 0] + p[a + 1, 0]) / 2 - dy / 2, (p[a, 1] + p[a + 1, 1]) / 2 + dx / 2  # the face's pixel, on the right
    return _around(p, a, b, ux, uy, vx, vy, x, y) % 2 != 0


@njit(cache=True)
def _kept(p: Points, a: int, b: int, ux: float, uy: float, vx: float, vy: float, rank: int, ranks: Ranks) -> bool:
    """Whether every pixel of the face beside the cracks a to b of the run p, and what is near on the later side, is painted still when
    the link u v stands for them."""
    if b - a > LONGEST_TIP:
        return False
    for c in range(a, b + 1):
        dx, dy = p[c + 1, 0] - p[c, 0], p[c + 1, 1] - p[c, 1]
        mx, my = (p[c, 0] + p[c + 1, 0]) / 2, (p[c, 1] + p[c + 1, 1]) / 2
        if _around(p, a, b, ux, uy, vx, vy, mx - dy / 2, my + dx / 2) > 0:
            return False
        x, y = mx + CLEARS[2] * dy, my - CLEARS[2] * dx
        if _above(x, y, rank, ranks) and _around(p, a, b, ux, uy, vx, vy, x, y) >= 0:
            return False
    return True


@njit(cache=True)
def _turn_at(
    p: Points, here: int, k: int, ux: float, uy: float, room: float, clear: float, way: int, deepest: float, rank: int, ranks: Ranks
) -> tuple[float, float, float]:
    """Where a link from u, which stands for the run from crack `here` on, may turn beside crack k: x, y, room (-1: nowhere)."""
    nx, ny, deep = _depth(p, k, way != BENEATH, rank, ranks)
    deep = min(deep, 2 * deepest)
    for level in range(len(DEPTHS)):
        x, y, there = _turning(p, k, nx, ny, deep, level, clear)
        if there >= 0:
            there = _room(x, y, there, rank if way == BENEATH else rank - 1, ranks)
        if there >= 0 and _may(p, here, k, ux, uy, x, y, room, there, clear, way, rank, ranks):
            return x, y, there
    return 0.0, 0.0, -1.0


@njit(cache=True)
def _bridge(
    p: Points, i: int, every: int, last: int, ux: float, uy: float, room: float, way: int, deepest: float, rank: int, ranks: Ranks
) -> tuple[int, float, float, float]:
    """The farthest place after i, up to `last`, at which the run comes back to u, so that the tip between can be passed beneath at
    once (i itself: none), and x, y, room there. A room of 0 is on the run."""
    here = max(0, i * every)
    for j in range(last, i, -1):
        k = j * every
        mx, my = (p[k, 0] + p[k + 1, 0]) / 2, (p[k, 1] + p[k + 1, 1]) / 2
        if math.hypot(mx - ux, my - uy) > BRIDGE or k - here < 3 * math.hypot(mx - p[here, 0], my - p[here, 1]):
            continue
        x, y, there = _turn_at(p, here, k, ux, uy, room, CLEARS[0], way, deepest, rank, ranks)
        if there >= 0:
            return j, x, y, there
        thin = way == BENEATH and _depth(p, k, False, rank, ranks)[2] < 2 * CLEARS[1]
        if thin and _may(p, here, k, ux, uy, mx, my, room, 0.0, CLEARS[0], way, rank, ranks):
            return j, mx, my, 0.0
    return i, 0.0, 0.0, 0.0


@njit(cache=True)
def _farthest(
    p: Points,
    i: int,
    every: int,
    last: int,
    ux: float,
    uy: float,
    room: float,
    clear: float,
    way: int,
    deepest: float,
    rank: int,
    ranks: Ranks,
) -> tuple[int, float, float, float]:
    """The farthest place after i, up to `last`, at which a link from u may turn (i itself: none), and x, y, room there."""
    here = max(0, i * every)
    best, bx, by, there = i, 0.0, 0.0, 0.0
    step, misses, missed = 1, 0, last + 1
    while i + step <= last and misses < MISSES:  # ever longer steps, over a few bad places
        x, y, r = _turn_at(p, here, (i + step) * every, ux, uy, room, clear, way, deepest, rank, ranks)
        if r >= 0:
            best, bx, by, there = i + step, x, y, r
            misses, missed = 0, last + 1
        else:
            misses += 1
            missed = min(missed, i + step)
        step += 1 + step // 2
    while missed - best > 1:  # halving between the last success and the first miss
        j = (best + missed) // 2
        x, y, r = _turn_at(p, here, j * every, ux, uy, room, clear, way, deepest, rank, ranks)
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
def _links(p: Points, closed: bool, rank: int, ranks: Ranks, reach: int, deepest: float, across: bool, slack: float, out: Points) -> int:
    """Greedy: from each turn the farthest place in reach, no more than `deepest` beneath; `across`: over the face itself, too. Without
    any, the run's own cracks are followed, `slack` beyond them."""
    n = len(p) - 1
    every = 1 if n < 128 else 2
    count = (n + every - 1) // every
    if p[0, 0] == p[n, 0] and p[0, 1] == p[n, 1]:  # once around, not across
        reach = min(reach, count // 3 + 1)
    ux, uy, fixed, room, i, m = p[0, 0], p[0, 1], True, 0.0, -1, 0
    if closed:
        i, m = 0, 1
        nx, ny, deep = _depth(p, 0, False, rank, ranks)
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
        for c in range(-1, len(CLEARS)):
            way, clear = BENEATH if c < 0 or not across else ACROSS, CLEARS[max(0, c)]
            most = min(reach, max(1, LONGEST[max(0, c)] // every))
            done = count - i <= most and _may(p, here, n - 1, ux, uy, end_x, end_y, room, end_room, clear, way, rank, ranks)
            if done:
                break
            j, x, y, r = _farthest(p, i, every, min(count - 1, i + most), ux, uy, room, clear, way, deepest, rank, ranks)
            if j > best:
                best, bx, by, there = j, x, y, r
            if best > i + STRIDES:
                break
            if c < 0 or (c == 0 and across):
                j, x, y, r = _bridge(
                    p, i, every, min(count - 1, i + most), ux, uy, room, AROUND if c == 0 else BENEATH, deepest, rank, ranks
                )
                if j > best:
                    best, bx, by, there = j, x, y, r
                    break
            if best > i and c >= 0:
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
            nx, ny = _beside(p, here, here, slack, across, rank, ranks)
            out[m, 0], out[m, 1] = (p[here, 0] + p[here + 1, 0]) / 2 + nx, (p[here, 1] + p[here + 1, 1]) / 2 + ny
            m += 1
        first, last = 0 if i < 0 else i * every + 1, min(n, (i + 1) * every + 1)
        for k in range(first, last + 1):
            if 0 < k < n or (k == n and closed):
                nx, ny = _beside(p, k - 1, min(k, n - 1), slack, across, rank, ranks)
                out[m, 0], out[m, 1] = p[k, 0] + nx, p[k, 1] + ny
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
    # Beside the pixels' own outlines nothing strays: no link needs to pass over the face itself, where a loop's pinch may lose a pixel.
    for k in range(len(REACHES)):
        m = _links(p, closed, rank, ranks, REACHES[k], REACHED[k], k == 0, slack, out)
        if not _surrounds(p, closed, out, m, rank, spots, spot_ranks) and not _uncovers(p, closed, out, m, rank, ranks):
            return m
    for i in range(1, len(p) - 1):
        out[i - 1] = p[i]
    if closed:
        out[len(p) - 2] = p[0]
        return len(p) - 1
    return len(p) - 2

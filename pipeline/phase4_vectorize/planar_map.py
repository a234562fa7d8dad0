"""The planar map of a label image: faces, the arcs between them, and who is on which side.

Vertices are corners of the pixel grid, arcs the crack chains between vertices where three or more faces meet (or whole
loops). Every arc has two half-edges: 2a runs along it, 2a + 1 against it; a half-edge's face lies on its right hand,
y pointing down. Faces are 4-connected, so at a checkerboard corner two faces of one colour meet without touching.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from pipeline.phase4_vectorize.chains import crack_graph, trace

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PlanarMap:
    """Arcs, half-edges and faces of a key image (H, W).

    `points` (n, 2) int64 x, y; arc a is points[starts[a]:starts[a + 1]]. For each half-edge: `next` around its face,
    `face`. For each face: its `key`, the `area` inside its outer boundary in pixels (its holes included), and `spot`
    (x, y), one of its pixels. `rows` and `cracks` are the vertical cracks by row: cracks[rows[y]:rows[y + 1]] holds
    (x, half-edge with its face to the east) from west to east.
    """

    points: Ints
    starts: Ints
    next: Ints
    face: Ints
    key: NDArray[np.uint8]
    area: NDArray[np.float64]
    spot: Ints
    rows: Ints
    cracks: Ints


@njit(cache=True)
def _direction(p: Ints, a: int, b: int) -> int:
    """0 east, 1 south, 2 west, 3 north: the way from point a to its neighbour b."""
    if p[b, 0] != p[a, 0]:
        return 0 if p[b, 0] > p[a, 0] else 2
    return 1 if p[b, 1] > p[a, 1] else 3


@njit(cache=True)
def _successors(points: Ints, starts: Ints, ends: Ints) -> Ints:
    """The half-edge after each one: at its end the rightmost turn, which stays with the same pixel on the right hand.

    `ends` (2m,) numbers the vertex from which each half-edge leaves.
    """
    arcs = len(starts) - 1
    leaving = np.full((ends.max() + 1, 4), -1, np.int64)
    for a in range(arcs):
        first, last = starts[a], starts[a + 1] - 1
        leaving[ends[2 * a], _direction(points, first, first + 1)] = 2 * a
        leaving[ends[2 * a + 1], _direction(points, last, last - 1)] = 2 * a + 1
    out = np.empty(2 * arcs, np.int64)
    for a in range(arcs):
        first, last = starts[a], starts[a + 1] - 1
        for side in range(2):
            d = _direction(points, last - 1, last) if side == 0 else _direction(points, first + 1, first)
            for turn in (1, 0, 3, 2):
                found = leaving[ends[2 * a + 1 - side], (d + turn) & 3]
                if found >= 0:
                    out[2 * a + side] = found
                    break
    return out


@njit(cache=True)
def _vertical(points: Ints, starts: Ints, height: int) -> tuple[Ints, Ints]:
    """`rows` and `cracks` of the map."""
    rows = np.zeros(height + 2, np.int64)
    for a in range(len(starts) - 1):
        for i in range(starts[a], starts[a + 1] - 1):
            if points[i, 0] == points[i + 1, 0]:
                rows[min(points[i, 1], points[i + 1, 1]) + 1] += 1
    rows = np.cumsum(rows)
    filled = rows.copy()
    cracks = np.empty((rows[-1], 2), np.int64)
    for a in range(len(starts) - 1):
        for i in range(starts[a], starts[a + 1] - 1):
            if points[i, 0] != points[i + 1, 0]:
                continue
            y, x = min(points[i, 1], points[i + 1, 1]), points[i, 0]
            k = filled[y]
            filled[y] += 1
            while k > rows[y] and cracks[k - 1, 0] > x:
                cracks[k] = cracks[k - 1]
                k -= 1
            cracks[k, 0] = x
            cracks[k, 1] = 2 * a if points[i + 1, 1] < points[i, 1] else 2 * a + 1  # northward: east is on the right
    return rows, cracks


@njit(cache=True)
def _right_pixel(p: Ints, a: int, b: int) -> tuple[int, int]:
    """The pixel on the right hand of the step from point a to point b."""
    d = _direction(p, a, b)
    x, y = p[a, 0], p[a, 1]
    if d == 0:
        return x, y
    if d == 1:
        return x - 1, y
    if d == 2:
        return x - 1, y - 1
    return x, y - 1


@njit(cache=True)
def _cycles(points: Ints, starts: Ints, following: Ints) -> tuple[Ints, NDArray[np.float64], Ints, Ints]:
    """For each half-edge its cycle; for each cycle its signed area (positive around a face, negative around a hole),
    its westmost vertical crack (x, y), and the pixel on the right of its first step."""
    arcs = len(starts) - 1
    swept = np.zeros(arcs)
    west = np.full((arcs, 2), 1 << 40, np.int64)
    for a in range(arcs):
        for i in range(starts[a], starts[a + 1] - 1):
            swept[a] += points[i, 0] * points[i + 1, 1] - points[i + 1, 0] * points[i, 1]
            if points[i, 0] == points[i + 1, 0] and points[i, 0] < west[a, 0]:
                west[a, 0], west[a, 1] = points[i, 0], min(points[i, 1], points[i + 1, 1])
    cycle = np.full(2 * arcs, -1, np.int64)
    area, spot = np.zeros(2 * arcs), np.zeros((2 * arcs, 2), np.int64)
    westmost = np.full((2 * arcs, 2), 1 << 40, np.int64)
    count = 0
    for h0 in range(2 * arcs):
        if cycle[h0] >= 0:
            continue
        first, last = starts[h0 // 2], starts[h0 // 2 + 1] - 1
        x, y = _right_pixel(points, first, first + 1) if h0 % 2 == 0 else _right_pixel(points, last, last - 1)
        spot[count, 0], spot[count, 1] = x, y
        h = h0
        while cycle[h] < 0:
            cycle[h] = count
            area[count] += swept[h // 2] / 2 if h % 2 == 0 else -swept[h // 2] / 2
            if west[h // 2, 0] < westmost[count, 0]:
                westmost[count] = west[h // 2]
            h = following[h]
        count += 1
    return cycle, area[:count], westmost[:count], spot[:count]


@njit(cache=True)
def _faces(cycle: Ints, area: NDArray[np.float64], west: Ints, order: Ints, rows: Ints, cracks: Ints) -> tuple[Ints, int]:
    """The face of each cycle. A hole belongs to the face of the crack next to the west of it; `order`: cycles from west to east."""
    face = np.full(len(area), -1, np.int64)
    count = 0
    for c in range(len(area)):
        if area[c] > 0:
            face[c] = count
            count += 1
    for c in order:
        if face[c] >= 0:
            continue
        x, y = west[c]
        found = -1
        if x < 1 << 40:
            k = rows[y]
            while k < rows[y + 1] and cracks[k, 0] < x:
                found = k
                k += 1
        if found >= 0:
            face[c] = face[cycle[cracks[found, 1]]]
        else:  # what reaches the key image's own frame
            face[c] = count
            count += 1
    return face, count


def planar_map(key: NDArray[np.uint8]) -> PlanarMap:
    """(H, W) uint8 keys → the map of their faces. What touches the frame of the key image has no boundary there: pad first."""
    chains = trace(crack_graph(key))
    points, starts = chains.points.astype(np.int64), chains.starts
    arcs = len(chains)
    if arcs == 0:
        none, rows, cracks = np.zeros(0, np.int64), np.zeros(key.shape[0] + 2, np.int64), np.zeros((0, 2), np.int64)
        return PlanarMap(points, starts, none, none, key[:1, 0], np.array([float(key.size)]), np.zeros((1, 2), np.int64), rows, cracks)
    ends = points[np.stack([starts[:-1], starts[1:] - 1], 1).ravel()]
    _, vertex = np.unique(ends[:, 1] * (key.shape[1] + 1) + ends[:, 0], return_inverse=True)
    following = _successors(points, starts, vertex)
    rows, cracks = _vertical(points, starts, key.shape[0])
    cycle, area, west, spot = _cycles(points, starts, following)
    face, count = _faces(cycle, area, west, np.lexsort((west[:, 1], west[:, 0])), rows, cracks)
    first = np.full(count, -1, np.int64)  # the cycle that is the outer boundary; a hole where the frame is
    first[face[::-1]] = np.arange(len(face))[::-1]
    first[face[area > 0]] = np.flatnonzero(area > 0)
    spots = spot[first]
    outer = np.where(area[first] > 0, area[first], float(key.size))
    return PlanarMap(points, starts, following, face[cycle], key[spots[:, 1], spots[:, 0]], outer, spots, rows, cracks)


@njit(cache=True, parallel=True)
def _paint(value: NDArray[np.int32], face: Ints, rows: Ints, cracks: Ints, height: int, width: int, outside: int) -> NDArray[np.int32]:
    out = np.empty((height, width), np.int32)
    for y in prange(height):
        now, x = np.int32(outside), 0
        for k in range(rows[y], rows[y + 1]):
            out[y, x : cracks[k, 0]] = now
            x, now = cracks[k, 0], value[face[cracks[k, 1]]]
        out[y, x:] = now
    return out


def paint(plan: PlanarMap, value: NDArray[np.int32], shape: tuple[int, int], outside: int) -> NDArray[np.int32]:
    """`value` (F,) of each face at each of its pixels, (H, W) int32; `outside` where no crack lies to the west in the row."""
    return _paint(value, plan.face, plan.rows, plan.cracks, shape[0], shape[1], outside)

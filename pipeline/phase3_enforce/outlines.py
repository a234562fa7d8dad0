"""The outlines of a label picture as arcs: chains of cracks (edges between two pixels of different labels) from node to node.

Vertices are the corners of the pixel grid. A vertex where three areas meet is a node; where two areas touch at a corner, their outlines
pass each other. An arc's samples are the midpoints of its cracks, through which the true outline passes within half a pixel.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Points = NDArray[np.float64]

#: The label of what lies around the picture.
OUTSIDE = 256
#: East, south, west, north: steps from a vertex (x, y) in the grid of pixel corners.
_DX, _DY = np.array([1, 0, -1, 0]), np.array([0, 1, 0, -1])
#: The direction whose bit alone is set, else -1.
_ONLY = np.array([-1, 0, 1, -1, 2, -1, -1, -1, 3, -1, -1, -1, -1, -1, -1, -1])


@dataclass(frozen=True, slots=True)
class Arcs:
    """`points` (n, 2) midpoints of cracks (x, y), pixels; arc i has `points[begin[i]:begin[i + 1]]`, walked from node to node.

    `node` (arcs, 2) the vertices (y · (w + 1) + x) at which it starts and ends, -1 for a closed one; `sides` (arcs, 2) the labels at
    its left and its right, seen along the walk with y downwards.
    """

    points: Points
    begin: Ints
    node: Ints
    sides: Ints


@njit(cache=True, parallel=True)
def _cracks(cell: NDArray[np.int16]) -> NDArray[np.uint8]:
    """(h + 1, w + 1) the cracks that leave each vertex, bits 0 to 3; `cell` (h + 2, w + 2) is the picture with its frame."""
    out = np.zeros((cell.shape[0] - 1, cell.shape[1] - 1), np.uint8)
    for y in prange(out.shape[0]):
        for x in range(out.shape[1]):
            nw, ne, sw, se = cell[y, x], cell[y, x + 1], cell[y + 1, x], cell[y + 1, x + 1]
            out[y, x] = (ne != se) | ((sw != se) << 1) | ((nw != sw) << 2) | ((nw != ne) << 3)
    return out


@njit(cache=True)
def _rarer(cell: NDArray[np.int16], x: int, y: int, one: int, other: int) -> bool:
    """Whether label `one` has fewer pixels than `other` around a vertex."""
    balance = 0
    for v in range(max(0, y - 2), min(cell.shape[0], y + 4)):
        for u in range(max(0, x - 2), min(cell.shape[1], x + 4)):
            balance += (cell[v, u] == one) - (cell[v, u] == other)
    return balance < 0


@njit(cache=True)
def _onwards(cell: NDArray[np.int16], bits: NDArray[np.uint8], x: int, y: int, heading: int) -> int:
    """The direction in which a walk that arrives at a vertex goes on; -1 where it is a node.

    Of two areas that touch there at a corner, the rarer is a line and stays connected.
    """
    only = _ONLY[bits[y, x] & ~(1 << ((heading + 2) % 4))]
    if only >= 0:
        return int(only)
    if bits[y, x] != 15:
        return -1
    nw, ne, sw, se = cell[y, x], cell[y, x + 1], cell[y + 1, x], cell[y + 1, x + 1]
    if nw != se and ne != sw:
        return -1
    falling = nw == se and (ne != sw or _rarer(cell, x, y, nw, ne))
    # Along a falling diagonal a walk turns from east to south, west to north and back; else from east to north, west to south.
    return heading ^ 1 if falling else 3 - heading


@njit(cache=True)
def _walk(
    cell: NDArray[np.int16], bits: NDArray[np.uint8], left: NDArray[np.uint8], x: int, y: int, heading: int, points: Points, n: int
) -> tuple[int, int, int]:
    """Follow cracks from a vertex until a node or back to the start: the number of points then, and the last vertex or -1."""
    first_x, first_y, first = x, y, heading
    while True:
        points[n, 0], points[n, 1] = x + 0.5 * _DX[heading], y + 0.5 * _DY[heading]
        n += 1
        left[y, x] &= ~np.uint8(1 << heading)
        x, y = x + _DX[heading], y + _DY[heading]
        left[y, x] &= ~np.uint8(1 << ((heading + 2) % 4))
        heading = _onwards(cell, bits, x, y, heading)
        if heading < 0:
            return n, x, y
        if x == first_x and y == first_y and heading == first:
            return n, -1, -1


@njit(cache=True)
def _trace(cell: NDArray[np.int16], bits: NDArray[np.uint8]) -> tuple[Points, Ints, Ints, Ints]:
    cracks = 0
    for b in bits.ravel():
        cracks += int(b & 1) + int(b >> 1 & 1)
    points, begin = np.empty((cracks, 2)), np.empty(cracks + 1, np.int64)
    node, sides = np.empty((cracks, 2), np.int64), np.empty((cracks, 2), np.int64)
    left, n, arcs, width = bits.copy(), 0, 0, bits.shape[1]
    for closed in (False, True):  # arcs that start at nodes first; what is left then are closed ones
        for y in range(bits.shape[0]):
            for x in range(width):
                if left[y, x] == 0:
                    continue
                for heading in range(4):
                    if not left[y, x] >> heading & 1 or (not closed and _onwards(cell, bits, x, y, (heading + 2) % 4) >= 0):
                        continue
                    ahead_left = (cell[y, x + 1], cell[y + 1, x + 1], cell[y + 1, x], cell[y, x])[heading]
                    ahead_right = (cell[y + 1, x + 1], cell[y + 1, x], cell[y, x], cell[y, x + 1])[heading]
                    begin[arcs], sides[arcs, 0], sides[arcs, 1] = n, ahead_left, ahead_right
                    n, u, v = _walk(cell, bits, left, x, y, heading, points, n)
                    node[arcs, 0], node[arcs, 1] = (-1, -1) if u < 0 else (y * width + x, v * width + u)
                    arcs += 1
    begin[arcs] = n
    return points, begin[: arcs + 1], node[:arcs], sides[:arcs]


def arcs_of(labels: NDArray[np.uint8]) -> Arcs:
    """The arcs of a picture (h, w) uint8. What lies around it is `OUTSIDE`: its frame is made of arcs too."""
    cell = np.full((labels.shape[0] + 2, labels.shape[1] + 2), OUTSIDE, np.int16)
    cell[1:-1, 1:-1] = labels
    return Arcs(*_trace(cell, _cracks(cell)))

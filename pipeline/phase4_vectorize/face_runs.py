"""Faces in painter's order, and their boundaries as runs: what a face draws itself, and where it goes beneath later ones.

Every arc is drawn by the later of its two faces. Along a face's boundary the arcs that it draws one after the other are one
run, right through the vertices between them: whatever else ends at such a vertex ends beneath this face.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.phase4_vectorize.planar_map import PlanarMap

Ints = NDArray[np.int64]
Ranks = NDArray[np.int32]

#: Kinds of runs: drawn by the face, drawn along the picture's frame, hidden beneath later faces.
EDGE, FRAME, HIDDEN = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs in the order of the faces' boundaries: run i is points[starts[i]:starts[i + 1]], its `face` on the right hand.

    `kind` is EDGE, FRAME or HIDDEN, `cycle` numbers the boundary that the run is a part of, `closed` says that it is
    all of it. `passed` (k, 3): x, y of each vertex of the map in the middle of an EDGE run, and the run.
    """

    points: Ints
    starts: Ints
    face: Ints
    kind: Ints
    cycle: Ints
    closed: NDArray[np.bool_]
    passed: Ints

    def __len__(self) -> int:
        return len(self.face)


@njit(cache=True)
def _pinched(x: int, y: int, rank: int, ranks: Ranks) -> bool:
    """Whether a face must not go on beneath others across the vertex (x, y): something earlier, or itself, lies beyond."""
    least = 1 << 30
    for j in range(y - 1, y + 1):
        for i in range(x - 1, x + 1):
            least = min(least, ranks[j, i])
    a, b, c, d = ranks[y - 1, x - 1], ranks[y - 1, x], ranks[y, x - 1], ranks[y, x]
    own = (a == rank) + 2 * (b == rank) + 4 * (c == rank) + 8 * (d == rank)
    return least < rank or own in (9, 6)  # itself, corner to corner


@njit(cache=True)
def _boundary_runs(
    points: Ints, starts: Ints, following: Ints, face: Ints, rank: Ranks, outside: NDArray[np.bool_], ranks: Ranks
) -> tuple[Ints, Ints, Ints, Ints, Ints, NDArray[np.bool_], Ints]:
    halves = len(following)
    out = np.empty((2 * len(points) + 4, 2), np.int64)
    first, whose, kinds, cycles = (
        np.zeros(halves + 1, np.int64),
        np.empty(halves, np.int64),
        np.empty(halves, np.int64),
        np.empty(halves, np.int64),
    )
    passed, closed = np.empty((halves, 3), np.int64), np.zeros(halves, np.bool_)
    around, kind = np.empty(halves, np.int64), np.empty(halves, np.int64)
    breaks = np.empty(halves, np.bool_)
    done = np.zeros(halves, np.bool_)
    n = runs = crossings = cycle = 0
    for h0 in range(halves):
        if done[h0] or rank[face[h0]] < 0:
            continue
        length, h = 0, h0
        while not done[h]:
            done[h] = True
            around[length] = h
            other = face[h ^ 1]
            kind[length] = 2 if rank[other] > rank[face[h]] else (1 if outside[other] else 0)
            length += 1
            h = following[h]
        start = 0
        for i in range(length):  # a new run begins at i
            p = points[starts[around[i] // 2]] if around[i] % 2 == 0 else points[starts[around[i] // 2 + 1] - 1]
            breaks[i] = kind[i] != kind[i - 1 if i else length - 1]
            if not breaks[i] and kind[i] == 2:
                breaks[i] = _pinched(p[0], p[1], rank[face[h0]], ranks)
            if breaks[i] and not breaks[start]:
                start = i
        i = 0
        while i < length:
            whose[runs], kinds[runs], cycles[runs] = face[h0], kind[(start + i) % length], cycle
            first[runs] = n
            begun = i
            while i < length and (i == begun or not breaks[(start + i) % length]):
                h = around[(start + i) % length]
                a, b = starts[h // 2], starts[h // 2 + 1]
                if i > begun:
                    n -= 1
                    if kinds[runs] == 0:
                        passed[crossings, 0], passed[crossings, 1], passed[crossings, 2] = out[n, 0], out[n, 1], runs
                        crossings += 1
                for k in range(b - a):
                    out[n] = points[a + k] if h % 2 == 0 else points[b - 1 - k]
                    n += 1
                i += 1
            runs += 1
        closed[runs - 1] = not breaks[start]
        if kinds[runs - 1] == 0 and closed[runs - 1]:  # a whole loop passes the vertex at which it begins, too
            passed[crossings, 0], passed[crossings, 1], passed[crossings, 2] = out[n - 1, 0], out[n - 1, 1], runs - 1
            crossings += 1
        cycle += 1
    first[runs] = n
    return out[:n], first[: runs + 1], whose[:runs], kinds[:runs], cycles[:runs], closed[:runs], passed[:crossings]


def boundary_runs(plan: PlanarMap, rank: Ranks, outside: NDArray[np.bool_], ranks: Ranks) -> Runs:
    """The runs of every face that is painted (`rank` (F,) of 0 and more). `outside` (F,): what lies beyond the picture's frame."""
    if not len(plan.next):
        none = np.zeros(0, np.int64)
        return Runs(plan.points, np.zeros(1, np.int64), none, none, none, none > 0, np.zeros((0, 3), np.int64))
    return Runs(*_boundary_runs(plan.points, plan.starts, plan.next, plan.face, rank, outside, ranks))

"""A picture filled from its arcs, scanline by scanline. Each arc knows the labels on both of its sides."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from pipeline.phase3_enforce.outlines import OUTSIDE, Arcs

Ints = NDArray[np.int64]
Points = NDArray[np.float64]
FAR = 1e9


@njit(cache=True)
def _vertex(points: Points, begin: Ints, node: Ints, ends: Points, a: int, i: int) -> tuple[float, float]:
    """The i-th vertex of arc a's line: from node to node; a closed arc ends where it starts."""
    n = begin[a + 1] - begin[a]
    if node[a, 0] < 0:
        p = points[begin[a] + i % n]
        return p[0], p[1]
    if i == 0:
        return ends[2 * a, 0], ends[2 * a, 1]
    if i == n + 1:
        return ends[2 * a + 1, 0], ends[2 * a + 1, 1]
    p = points[begin[a] + i - 1]
    return p[0], p[1]


@njit(cache=True)
def _crossings(
    points: Points, begin: Ints, node: Ints, sides: Ints, ends: Points, factor: float, height: int
) -> tuple[Ints, NDArray[np.float32], NDArray[np.int16]]:
    """Where the arcs cross each row of pixel centres: rows' first crossings, x in large pixels, and the labels west and east of it."""
    first = np.zeros(height + 2, np.int64)
    x, labels = np.empty(0, np.float32), np.empty((0, 2), np.int16)
    for count in (True, False):
        if not count:
            for row in range(height):
                first[row + 1] += first[row]
            x, labels = np.empty(first[height], np.float32), np.empty((first[height], 2), np.int16)
            first[1:] = first[:-1].copy()  # each row's place to write; moves on to where the next row begins
            first[0] = 0
        for a in range(len(begin) - 1):
            steps = begin[a + 1] - begin[a] + (0 if node[a, 0] < 0 else 1)
            ax, ay = _vertex(points, begin, node, ends, a, 0)
            for i in range(1, steps + 1):
                bx, by = _vertex(points, begin, node, ends, a, i)
                down = by > ay
                top, low = (ay, by) if down else (by, ay)
                for row in range(max(0, int(np.ceil(top * factor - 0.5))), min(height, int(np.ceil(low * factor - 0.5)))):
                    if count:
                        first[row + 1] += 1
                        continue
                    k = first[row + 1]
                    first[row + 1] += 1
                    x[k] = factor * (ax + (bx - ax) * ((row + 0.5) / factor - ay) / (by - ay))
                    labels[k, 0], labels[k, 1] = (sides[a, 1], sides[a, 0]) if down else (sides[a, 0], sides[a, 1])
                    # A row begins with the frame and ends with it: midpoints of cracks would cut the picture's corners.
                    x[k] = -FAR if labels[k, 0] == OUTSIDE else FAR if labels[k, 1] == OUTSIDE else x[k]
                ax, ay = bx, by
    return first[: height + 1], x, labels


@njit(cache=True, parallel=True)
def _fill(first: Ints, x: NDArray[np.float32], labels: NDArray[np.int16], width: int) -> NDArray[np.uint8]:
    height = len(first) - 1
    out = np.empty((height, width), np.uint8)
    for row in prange(height):
        order = first[row] + np.argsort(x[first[row] : first[row + 1]], kind="mergesort")
        inside = np.zeros(OUTSIDE + 1, np.int64)  # how often the place lies in each label: once in one, unless arcs cross each other
        now, at = OUTSIDE, 0
        inside[OUTSIDE] = 1
        for k in order:
            begin = min(width, max(at, int(np.ceil(x[k] - 0.5))))
            out[row, at:begin] = now
            at = begin
            inside[labels[k, 0]] -= 1
            inside[labels[k, 1]] += 1
            if inside[labels[k, 1]] > 0:
                now = labels[k, 1]
            elif inside[now] <= 0:
                now = int(np.argmax(inside))
        out[row, at:] = now
    return out


def fill(arcs: Arcs, points: Points, ends: Points, factor: float, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width) uint8 labels, `factor` times as large as the picture of the arcs.

    `points` (n, 2) the arcs' samples and `ends` (2 · arcs, 2) their ends, as `fairing.fair_arcs` moved them. Each pixel takes the label
    at its centre. Where arcs cross each other, what lies between them may change, but no label leaks along the row.
    """
    return np.asarray(_fill(*_crossings(points, arcs.begin, arcs.node, arcs.sides, ends, factor, height), width))

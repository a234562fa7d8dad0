"""Chains: the polylines of a graph drawn on a grid, each edge walked once.

One walker serves both line sources: the *cracks* between pixels of different keys (a planar map's arcs) and the
pixels of a one-pixel-wide *skeleton*. The graph is a bit image: bit d of a vertex says that an edge leaves it
in direction d, counted clockwise from east (x+1): E, SE, S, SW, W, NW, N, NE.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

_DX = np.array([1, 1, 0, -1, -1, -1, 0, 1])
_DY = np.array([0, 1, 1, 1, 0, -1, -1, -1])
E, SE, S, SW, W, NW, N, NE = (1 << d for d in range(8))


@dataclass(frozen=True, slots=True)
class Chains:
    """`points` (n, 2) float64 x, y; chain i is points[starts[i]:starts[i + 1]]; a loop ends where it begins."""

    points: NDArray[np.float64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1


@njit(cache=True, parallel=True)
def crack_graph(key: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) uint8 keys → (H+1, W+1) bits: the edges between pixels of different keys, never on the picture's frame."""
    height, width = key.shape
    bits = np.zeros((height + 1, width + 1), np.uint8)
    for y in prange(1, height):
        for x in range(1, width):
            a, b, c, d = key[y - 1, x - 1], key[y - 1, x], key[y, x - 1], key[y, x]
            bits[y, x] = (b != d) * np.uint8(E) | (c != d) * np.uint8(S) | (a != c) * np.uint8(W) | (a != b) * np.uint8(N)
        bits[y, 0] = (key[y - 1, 0] != key[y, 0]) * np.uint8(E)
        bits[y, width] = (key[y - 1, width - 1] != key[y, width - 1]) * np.uint8(W)
    for x in range(1, width):
        bits[0, x] = (key[0, x - 1] != key[0, x]) * np.uint8(S)
        bits[height, x] = (key[height - 1, x - 1] != key[height - 1, x]) * np.uint8(N)
    return bits


@njit(cache=True)
def skeleton_graph(ink: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(H, W) mask → (H, W) bits: 4-neighbours are joined, diagonal ones only where no 4-neighbour joins them already."""
    height, width = ink.shape
    bits = np.zeros((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            if not ink[y, x]:
                continue
            for d in range(8):
                u, v = x + _DX[d], y + _DY[d]
                if 0 <= u < width and 0 <= v < height and ink[v, u] and (d % 2 == 0 or not (ink[y, u] or ink[v, x])):
                    bits[y, x] |= np.uint8(1 << d)
    return bits


@njit(cache=True)
def _degree(b: int) -> int:
    n = 0
    while b:
        b &= b - 1
        n += 1
    return n


def _vertices(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The vertices that have edges, as y · width + x, in this order. Most are empty: eight are looked at in one word."""
    flat = bits.ravel()
    whole = len(flat) // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64)) * 8
    near = (words[:, None] + np.arange(8)).ravel()
    return np.concatenate((near[flat[near] != 0], whole + np.flatnonzero(flat[whole:])))


@njit(cache=True)
def _walk(bits: NDArray[np.uint8], vertices: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    left = bits.copy()
    width = bits.shape[1]
    turns = np.empty(len(vertices), np.uint8)
    edges = 0
    for i in range(len(vertices)):
        turns[i] = _degree(bits[vertices[i] // width, vertices[i] % width])
        edges += turns[i]
    node = np.zeros(256, np.bool_)
    for b in range(256):
        node[b] = _degree(b) != 2
    points = np.empty((edges + 2, 2), np.int32)  # edges / 2 steps and at most as many chain starts
    starts = np.empty(edges // 2 + 2, np.int64)
    n, chains = 0, 0
    for loops in range(2):  # chains between nodes first; what is left are loops
        for i in range(len(vertices)):
            if loops == 0 and turns[i] == 2:
                continue
            y0, x0 = vertices[i] // width, vertices[i] % width
            while left[y0, x0]:
                starts[chains] = n
                chains += 1
                x, y = x0, y0
                points[n, 0], points[n, 1] = x, y
                n += 1
                while True:
                    d = 0
                    while not (left[y, x] >> d) & 1:
                        d += 1
                    left[y, x] &= np.uint8(255 ^ (1 << d))
                    x += _DX[d]
                    y += _DY[d]
                    left[y, x] &= np.uint8(255 ^ (1 << ((d + 4) & 7)))
                    points[n, 0], points[n, 1] = x, y
                    n += 1
                    if node[bits[y, x]] or (x == x0 and y == y0):
                        break
    starts[chains] = n
    return points[:n], starts[: chains + 1]


def trace(bits: NDArray[np.uint8]) -> Chains:
    """Every edge of the graph in exactly one chain; chains end at vertices whose degree is not 2, or close."""
    points, starts = _walk(bits, _vertices(bits))
    return Chains(points.astype(np.float64), starts)

"""Regions: connected areas of one colour, and their merging until none is too small to draw."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from numba import njit
from numpy.typing import NDArray


def connected(key: NDArray[np.uint8]) -> tuple[NDArray[np.uint32], int]:
    """4-connected areas of equal key (< 255): (H, W) uint8 → ((H, W) uint32 numbered from 0, count)."""
    region = cc3d.connected_components(key + np.uint8(1), connectivity=4, out_dtype=np.uint32).astype(np.uint32, copy=False)
    region -= np.uint32(1)  # 0 is cc3d's background, which no pixel is here
    return region, int(region.max()) + 1


@njit(cache=True)
def _borders(region: NDArray[np.uint32]) -> NDArray[np.int64]:
    """One code (smaller region << 32 | larger region) for every pair of neighbouring pixels in different regions."""
    height, width = region.shape
    out = np.empty(1 << 16, np.int64)
    n = 0
    for y in range(height):
        for x in range(width):
            a = np.int64(region[y, x])
            right = np.int64(region[y, x + 1]) if x + 1 < width else a
            below = np.int64(region[y + 1, x]) if y + 1 < height else a
            if n + 2 > len(out):
                out = np.concatenate((out, np.empty_like(out)))
            if a != right:
                out[n] = (min(a, right) << 32) | max(a, right)
                n += 1
            if a != below:
                out[n] = (min(a, below) << 32) | max(a, below)
                n += 1
    return out[:n]


@njit(cache=True)
def _measure(region: NDArray[np.uint32], key: NDArray[np.uint8], count: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    area, keys = np.zeros(count, np.int64), np.zeros(count, np.uint8)
    for y in range(region.shape[0]):
        for x in range(region.shape[1]):
            area[region[y, x]] += 1
            keys[region[y, x]] = key[y, x]
    return area, keys


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged key image (H, W) uint8 and how many regions it has."""

    key: NDArray[np.uint8]
    regions: int


def _neighbours(region: NDArray[np.uint32], count: int) -> list[dict[int, int]]:
    """For each region the regions beside it, and the length of the boundary with each, pixels."""
    out: list[dict[int, int]] = [{} for _ in range(count)]
    codes, lengths = np.unique(_borders(region), return_counts=True)
    for code, length in zip(codes.tolist(), lengths.tolist(), strict=True):
        a, b = code >> 32, code & 0xFFFFFFFF
        out[a][b] = out[b][a] = length
    return out


def merge(
    key: NDArray[np.uint8],
    least: int,
    budget: Sequence[int],
    layer: NDArray[np.uint8],
    frozen: int | None,
    distance: NDArray[np.float64],
) -> Merged:
    """Merge regions below `least` pixels, smallest first, into the neighbour with the longest shared boundary.

    On equal length the neighbour nearest in colour wins (`distance` between keys, (k, k)), then the lower
    number. A region merges only within its `layer` ((k,) group of each key: vehicle or background), the
    key `frozen` neither grows nor shrinks, and a layer's merging ends before more than its `budget` of pixels
    has changed: the budget wins over the size. Neighbours that come to have one key become one region.
    """
    region, count = connected(key)
    area_, key_ = _measure(region, key, count)
    neighbours = _neighbours(region, count)
    area, keys, into = area_.tolist(), key_.tolist(), list(range(count))
    born = [{keys[i]: area[i]} for i in range(count)]  # pixels of each region by the key they had at first

    def absorb(gone: int, kept: int) -> None:
        for other, length in neighbours[gone].items():
            del neighbours[other][gone]
            if other != kept:
                neighbours[kept][other] = neighbours[other][kept] = neighbours[kept].get(other, 0) + length
        neighbours[gone] = {}
        for k, pixels in born[gone].items():
            born[kept][k] = born[kept].get(k, 0) + pixels
        area[kept] += area[gone]
        into[gone] = kept

    small = [(area[i], i) for i in range(count) if area[i] < least and keys[i] != frozen]
    heapq.heapify(small)
    left = list(budget)
    while small:
        size, i = heapq.heappop(small)
        if into[i] != i or area[i] != size:
            continue
        homes = [j for j in neighbours[i] if keys[j] != frozen and layer[keys[j]] == layer[keys[i]]]
        if not homes:
            continue
        home = max(homes, key=lambda j: (neighbours[i][j], -distance[keys[i]][keys[j]], -j))
        group = int(layer[keys[i]])
        change = born[i].get(keys[i], 0) - born[i].get(keys[home], 0)
        if change > left[group]:
            continue
        left[group] -= change
        absorb(i, home)
        for twin in [j for j in neighbours[home] if keys[j] == keys[home]]:
            absorb(twin, home)
        if area[home] < least:
            heapq.heappush(small, (area[home], home))

    def final(i: int) -> int:
        while into[i] != i:
            i = into[i]
        return i

    table = np.array([keys[final(i)] for i in range(count)], np.uint8)
    return Merged(np.take(table, region), sum(into[i] == i for i in range(count)))

"""Merging regions (connected areas of one colour) until none is too small to draw."""

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.phase3_enforce.label_runs import Regions, regions_of


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged key image (H, W) uint8, how many regions it has, and the fraction of each layer's pixels that changed."""

    key: NDArray[np.uint8]
    regions: int
    changed: tuple[float, ...]


@dataclass(slots=True)
class _Graph:
    """The region graph while it shrinks. Neighbours never have the same key.

    For each region: `area`, `key`, `origin` its place in reading order, `neighbours` with the length of the shared boundary, `born`
    its pixels by the key that they had at first, and `into`, the region that it has become part of (itself, while it lives).
    """

    area: list[int]
    key: list[int]
    neighbours: list[dict[int, int]]
    origin: list[int] = field(init=False)
    born: list[dict[int, int]] = field(init=False)
    into: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.origin, self.into = list(range(len(self.area))), list(range(len(self.area)))
        self.born = [{k: a} for k, a in zip(self.key, self.area, strict=True)]

    @classmethod
    def of(cls, regions: Regions) -> "_Graph":
        neighbours: list[dict[int, int]] = [{} for _ in range(len(regions))]
        for (a, b), length in zip(regions.pairs.tolist(), regions.length.tolist(), strict=True):
            neighbours[a][b] = neighbours[b][a] = length
        return cls(regions.area.tolist(), regions.key.tolist(), neighbours)

    def _absorb(self, gone: int, kept: int) -> None:
        neighbours, born = self.neighbours, self.born
        for other, length in neighbours[gone].items():
            del neighbours[other][gone]
            if other != kept:
                neighbours[kept][other] = neighbours[other][kept] = neighbours[kept].get(other, 0) + length
        neighbours[gone] = {}
        for k, pixels in born[gone].items():
            born[kept][k] = born[kept].get(k, 0) + pixels
        self.area[kept] += self.area[gone]
        self.origin[kept] = min(self.origin[kept], self.origin[gone])
        self.into[gone] = kept

    def join(self, gone: int, home: int) -> int:
        """Give `gone` to its neighbour `home` and fuse what then touches with one key; the region that they have become."""
        twins = [j for j in self.neighbours[gone] if self.key[j] == self.key[home] and j != home]
        self._absorb(gone, home)
        for twin in twins:  # the one with fewer neighbours moves: a large area is not walked for every speck
            moves = len(self.neighbours[twin]) > len(self.neighbours[home])
            self._absorb(*((home, twin) if moves else (twin, home)))
            home = twin if moves else home
        return home

    def final(self, i: int) -> int:
        """The living region that region i is part of."""
        while self.into[i] != i:
            i = self.into[i]
        return i


def merge(
    key: NDArray[np.uint8],
    least: int,
    budget: float,
    layer: NDArray[np.uint8],
    frozen: int | None,
    distance: NDArray[np.float64],
) -> Merged:
    """Merge regions below `least` pixels, smallest first, into the neighbour with the longest shared boundary.

    On equal length the neighbour nearest in colour wins (`distance` between keys, (k, k)), then the one whose first pixel comes first
    in reading order; so it is among regions of one size. A region merges only within its `layer` ((k,) group of each key: vehicle
    or background), the key `frozen` neither grows nor shrinks, and a layer's merging ends before more than the fraction `budget` of
    its pixels has changed: the budget wins over the size, and a smaller region that still fits may merge after one that did not.
    """
    regions = regions_of(key)
    layers = layer[regions.key]
    drawn = np.bincount(layers, weights=regions.area, minlength=int(layer.max()) + 1)
    graph, left = _Graph.of(regions), [int(budget * pixels) for pixels in drawn]
    keys, area, far, group = graph.key, graph.area, distance.tolist(), layer.tolist()
    small = [(area[i], i, i) for i in range(len(regions)) if area[i] < least and keys[i] != frozen]
    heapq.heapify(small)
    while small:
        size, _, i = heapq.heappop(small)
        if graph.into[i] != i or area[i] != size:
            continue
        beside, mine = graph.neighbours[i], keys[i]
        homes = [j for j in beside if keys[j] != frozen and group[keys[j]] == group[mine]]
        if not homes:
            continue
        home = min(homes, key=lambda j: (-beside[j], far[mine][keys[j]], graph.origin[j]))
        change = graph.born[i].get(mine, 0) - graph.born[i].get(keys[home], 0)
        if change > left[group[mine]]:
            continue
        left[group[mine]] -= change
        home = graph.join(i, home)
        if area[home] < least:
            heapq.heappush(small, (area[home], graph.origin[home], home))
    value = np.array([keys[graph.final(i)] for i in range(len(regions))], np.uint8)
    moved = np.bincount(layers, weights=regions.area * (value != regions.key), minlength=len(drawn))
    changed = tuple((moved / np.maximum(drawn, 1)).tolist())
    return Merged(regions.paint(value), sum(graph.into[i] == i for i in range(len(regions))), changed)

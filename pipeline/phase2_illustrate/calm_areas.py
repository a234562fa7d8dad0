"""Calm areas: the Potts energy of a label picture, lowered by relabelling whole connected regions.

Energy = Σ pixels' cost of their label + Σ boundaries' weight + `per_region` for every region. A region takes the label that lowers
the energy most, smallest regions first, until none gains. A boundary weighs little where the photograph has an edge and much
where it has none, so contours on smooth shading go and true edges stay (boundary-contrast merging). Moves are made on the graph of
the first picture's connected regions, which no move splits: a pass costs milliseconds.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

Labels = NDArray[np.uint8]
Costs = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RegionGraph:
    """The connected regions of a label picture ("atoms"): summed costs, areas and weighted shared boundaries.

    `atom` (H, W) int index, -1 where nothing is; `label` (A,); `cost` (A, n); `area` (A,); `first`, `second` (E,) neighbours, each
    pair once; `weight` (E,) what their shared boundary costs.
    """

    atom: NDArray[np.int32]
    label: NDArray[np.intp]
    cost: NDArray[np.float64]
    area: NDArray[np.float64]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    weight: NDArray[np.float64]


def region_graph(labels: Labels, costs: Costs, boundary: NDArray[np.float32]) -> RegionGraph:
    """Atoms of `labels` (H, W), where len(costs) marks nothing; `costs` (n, H, W); `boundary` (H, W) weight of a unit of boundary."""
    n = len(costs)
    component = cc3d.connected_components(labels.astype(np.uint16) + 1, connectivity=4, out_dtype=np.uint32).astype(np.int64)
    kept = labels < n
    component = np.where(kept, component, 0)
    used, place = np.unique(component, return_inverse=True)
    atom: NDArray[np.int32] = (place.reshape(labels.shape) - int(used[0] == 0)).astype(np.int32)
    count = int(atom.max()) + 1
    flat = atom[kept]
    cost = np.asarray(np.stack([np.bincount(flat, weights=c[kept], minlength=count) for c in costs], -1), np.float64)
    label = np.zeros(count, np.intp)
    label[flat] = labels[kept]
    pairs = []
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = atom[here], atom[there]
        meet = (a != b) & (a >= 0) & (b >= 0)
        weight = (boundary[here] + boundary[there])[meet] / 2
        pairs.append((np.minimum(a, b)[meet], np.maximum(a, b)[meet], weight))
    first, second, weight = (np.concatenate(part) for part in zip(*pairs, strict=True))
    shared = coo_array((weight.astype(np.float64), (first, second)), shape=(count, count))
    shared.sum_duplicates()
    row, column = shared.coords
    area = np.asarray(np.bincount(flat, minlength=count), np.float64)
    return RegionGraph(atom, label, cost, area, row.astype(np.intp), column.astype(np.intp), shared.data)


def _fused(graph: RegionGraph, label: NDArray[np.intp]) -> tuple[NDArray[np.int32], int]:
    """Region of every atom when atoms of one label that touch count as one, and the number of regions."""
    same = label[graph.first] == label[graph.second]
    links = csr_array((np.ones(same.sum()), (graph.first[same], graph.second[same])), shape=(len(label), len(label)))
    count, region = connected_components(links, directed=False)
    return region, count


def _pass(graph: RegionGraph, label: NDArray[np.intp], per_region: float, least: float, factor: float) -> tuple[NDArray[np.intp], int]:
    """One round of moves: every region that gains and is the smallest such among its neighbours takes its best label."""
    n = graph.cost.shape[1]
    region, count = _fused(graph, label)
    atoms = np.arange(len(label))
    cost = csr_array((np.ones(len(label)), (region, atoms)), shape=(count, len(label))) @ graph.cost
    area = np.bincount(region, weights=graph.area, minlength=count)
    now = np.zeros(count, np.intp)
    now[region] = label
    a, b = region[graph.first], region[graph.second]
    apart = a != b
    a, b, weight = a[apart], b[apart], graph.weight[apart] * factor
    ends = (np.concatenate([a, b]), np.concatenate([now[b], now[a]]))
    saved = coo_array((np.concatenate([weight, weight]), ends), shape=(count, n)).toarray()
    # Only a neighbour's label removes a region; other labels recolour it, which the pixels' costs have decided already.
    energy = np.where(saved > 0, cost - saved - per_region, np.inf)
    best = energy.argmin(1)
    rows = np.arange(count)
    gain = cost[rows, now] - energy[rows, best]
    wanting = np.isfinite(energy[rows, best]) & ((gain > 0) | (area < least))
    rank = np.empty(count, np.int64)
    rank[np.lexsort((rows, area))] = rows
    rank[~wanting] = count
    smallest = np.full(count, count, np.int64)
    np.minimum.at(smallest, a, rank[b])
    np.minimum.at(smallest, b, rank[a])
    moving = wanting & (rank < smallest)
    return np.where(moving[region], best[region], label), int(moving.sum())


def calm(labels: Labels, costs: Costs, boundary: NDArray[np.float32], per_region: float, least: float) -> Labels:
    """Relabel regions while that lowers the energy; regions below `least` pixels always join a neighbour.

    `labels` (H, W) with len(costs) for nothing; `costs` (n, H, W); `boundary` (H, W) is the cost of a pixel's length of boundary;
    `per_region` the cost of having a region. What is nothing stays nothing.
    """
    graph = region_graph(labels, costs, boundary)
    label = graph.label
    # From weak to full strength, so that small regions dissolve into what is like them before large ones move.
    for factor in (0.25, 0.5, 1.0):
        for _ in range(60):
            label, moved = _pass(graph, label, per_region * factor, least * factor, factor)
            if not moved:
                break
    if not len(label):
        return labels
    return np.where(graph.atom >= 0, label[graph.atom], labels).astype(np.uint8)

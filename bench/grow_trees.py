"""Gradient-boosted complete trees for the logistic loss, on binned features (Friedman, 2001)."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.phase2_illustrate.matte_trees import Trees

BINS = 48


@dataclass(frozen=True, slots=True)
class Growth:
    """How the trees grow: `share` of the rows and of the features that each tree sees."""

    trees: int = 120
    depth: int = 5
    rate: float = 0.1
    share_rows: float = 0.4
    share_features: float = 0.4
    damping: float = 20.0


def bin_edges(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, BINS - 1) quantiles of the rows of x (n, K)."""
    return np.quantile(x[:: max(1, len(x) // 20000)], np.linspace(0, 1, BINS + 1)[1:-1], axis=0).T.astype(np.float32)


def binned(x: NDArray[np.float32], edges: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(n, K) values to (K, n) bin numbers."""
    return np.stack([np.searchsorted(edges[k], x[:, k], side="left").astype(np.uint8) for k in range(x.shape[1])])


@njit(cache=True)
def _histograms(xb, chosen, rows, node, grad, hess, nodes):
    out = np.zeros((len(chosen), nodes, BINS, 2))
    for f in range(len(chosen)):
        column = xb[chosen[f]]
        for r in range(len(rows)):
            i = rows[r]
            out[f, node[r], column[i], 0] += grad[i]
            out[f, node[r], column[i], 1] += hess[i]
    return out


@njit(cache=True)
def _descend(xb, feature, cut, depth):
    out = np.zeros(xb.shape[1], np.int64)
    for i in range(xb.shape[1]):
        n = 0
        for _ in range(depth):
            n = 2 * n + 1 + (xb[feature[n], i] > cut[n])
        out[i] = n - (2**depth - 1)
    return out


def grow(xb, edges, y, weight, growth: Growth, rng: np.random.Generator) -> Trees:
    """Trees for bins `xb` (K, n), labels `y` (n) 0..1 and row weights `weight` (n)."""
    k, n = xb.shape
    inner = 2**growth.depth - 1
    feature = np.zeros((growth.trees, inner), np.int16)
    threshold = np.full((growth.trees, inner), np.inf, np.float32)
    leaf = np.zeros((growth.trees, inner + 1), np.float32)
    odds = np.zeros(n, np.float32)
    for t in range(growth.trees):
        p = 1 / (1 + np.exp(-odds))
        grad, hess = weight * (y - p), weight * p * (1 - p)
        rows = np.flatnonzero(rng.random(n) < growth.share_rows)
        chosen = rng.permutation(k)[: max(1, round(k * growth.share_features))]
        cut = np.full(inner, 255, np.int64)
        node = np.zeros(len(rows), np.int64)
        for level in range(growth.depth):
            first = 2**level - 1
            picked, cuts = _best_cuts(_histograms(xb, chosen, rows, node, grad, hess, 2**level), growth.damping)
            feature[t, first : first + 2**level] = chosen[picked]
            cut[first : first + 2**level] = cuts
            node = 2 * node + (xb[chosen[picked][node], rows] > cuts[node])
        found = cut < BINS - 1
        threshold[t, found] = edges[feature[t, found], cut[found]]
        g = np.bincount(node, grad[rows], inner + 1)
        h = np.bincount(node, hess[rows], inner + 1)
        leaf[t] = growth.rate * g / (h + growth.damping)
        odds += leaf[t][_descend(xb, feature[t], cut, growth.depth)]
    return Trees(feature, threshold, leaf)


def _best_cuts(hist, damping: float):
    """Per node the feature (its place among the chosen) and the last bin that goes left; 255: all go left."""
    left = np.cumsum(hist, 2)[:, :, :-1]
    total = hist.sum(2)[:, :, None]
    right = total - left

    def score(part):
        return part[..., 0] ** 2 / (part[..., 1] + damping)

    gain = score(left) + score(right) - score(total)
    flat = gain.transpose(1, 0, 2).reshape(gain.shape[1], -1)
    best = flat.argmax(1)
    picked, cuts = np.unravel_index(best, (gain.shape[0], gain.shape[2]))
    return picked, np.where(flat.max(1) > 1e-6, cuts, 255)

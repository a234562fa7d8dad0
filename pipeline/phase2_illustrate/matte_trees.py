"""Boosted regression trees: their arrays and their evaluation. They are grown by `bench/train_matte.py`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Trees:
    """T complete binary trees of depth D: a pixel goes right where feature > threshold; `leaf` are log-odds.

    `feature` (T, 2^D - 1) int16, `threshold` (T, 2^D - 1) float32, `leaf` (T, 2^D) float32; nodes in breadth-first order.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    leaf: NDArray[np.float32]

    def log_odds(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., K) float32 features to (...) float32 log-odds."""
        flat = np.ascontiguousarray(features.reshape(-1, features.shape[-1]), np.float32)
        out: NDArray[np.float32] = _evaluate(self.feature, self.threshold, self.leaf, flat).reshape(features.shape[:-1])
        return out


@njit(cache=True, nogil=True)
def _evaluate(
    feature: NDArray[np.int16], threshold: NDArray[np.float32], leaf: NDArray[np.float32], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    nodes = feature.shape[1]
    out = np.zeros(x.shape[0], np.float32)
    for i in range(x.shape[0]):
        for t in range(feature.shape[0]):
            n = 0
            while n < nodes:
                n = 2 * n + 1 + (x[i, feature[t, n]] > threshold[t, n])
            out[i] += leaf[t, n - nodes]
    return out


def load(path: Path) -> tuple[Trees, ...]:
    """The stages stored at `path` (npz: feature0, threshold0, leaf0, feature1, …)."""
    with np.load(path, allow_pickle=False) as data:
        stages = len(data.files) // 3
        return tuple(
            Trees(data[f"feature{i}"], data[f"threshold{i}"].astype(np.float32), data[f"leaf{i}"].astype(np.float32)) for i in range(stages)
        )

"""A dozen small label images whose SVGs are kept: every construction of the planar map that has once gone wrong, and three random ones."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.palette import parse
from pipeline.values import Frame, LabelImage

PALETTE = parse("FFFFFF,000000,FF0000,0000FF,808080")
NOTHING, SIDE = 5, 160
Y, X = np.mgrid[:SIDE, :SIDE]
Labels = NDArray[np.uint8]


def _empty() -> Labels:
    return np.full((SIDE, SIDE), NOTHING, np.uint8)


def _disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    return np.asarray((X - x) ** 2 + (Y - y) ** 2 < radius**2)


def _cells(seed: int) -> Labels:
    rng = np.random.default_rng(seed)
    seeds, colour = rng.uniform(0, SIDE, (14, 2)), rng.integers(0, NOTHING, 14)
    nearest = np.hypot(X[..., None] - seeds[:, 0], Y[..., None] - seeds[:, 1]).argmin(-1)
    return np.where(_disc(80, 80, 70), colour[nearest], NOTHING).astype(np.uint8)


def _ring() -> Labels:
    labels = _empty()
    labels[_disc(80, 80, 60)], labels[_disc(80, 80, 45)], labels[_disc(80, 80, 30)], labels[_disc(80, 80, 12)] = 2, 1, NOTHING, 0
    return labels


def _taper() -> Labels:
    labels = _empty()
    labels[40:120, 10:150] = 0
    labels[(np.abs(Y - 80) < (X - 20) / 12) & (X > 20) & (X < 140)] = 1
    labels[(np.abs(Y - 60) < (140 - X) / 30) & (X > 20) & (X < 140)] = 3
    return labels


def _hairs() -> Labels:
    labels = _empty()
    labels[20:140, 20:140] = 2
    labels[80, 20:140], labels[20:140, 80] = 1, 1
    labels[np.abs(X - Y) < 1] = 0
    return labels


def _board() -> Labels:
    return np.where(_disc(80, 80, 75), (X // 20 + Y // 20) % 2, NOTHING).astype(np.uint8)


def _frame() -> Labels:
    labels = np.full((SIDE, SIDE), 3, np.uint8)
    labels[_disc(0, 0, 70)], labels[_disc(159, 159, 50)], labels[_disc(80, 159, 25)] = 2, NOTHING, 1
    return labels


def _spokes() -> Labels:
    angle = np.arctan2(Y - 80, X - 80)
    return np.where(_disc(80, 80, 70), np.where(np.sin(9 * angle) > 0.2, 1, 4), NOTHING).astype(np.uint8)


def _wave() -> Labels:
    labels = _empty()
    labels[20:140, 10:150] = 4
    labels[(80 + 25 * np.sin(X / 11) < Y) & (Y < 130) & (X > 10) & (X < 150)] = 2
    return labels


def _corners() -> Labels:
    labels = _empty()
    labels[30:80, 30:80], labels[80:130, 80:130], labels[30:80, 80:130] = 2, 2, 0
    return labels


def _steps() -> Labels:
    labels = _empty()
    for n in range(7):
        labels[20 + 18 * n : 38 + 18 * n, 15 : 15 + 20 * (n + 1)] = n % NOTHING
    return labels


PICTURES: dict[str, Callable[[], Labels]] = {
    "ring": _ring,
    "taper": _taper,
    "hairs": _hairs,
    "board": _board,
    "frame": _frame,
    "spokes": _spokes,
    "wave": _wave,
    "corners": _corners,
    "steps": _steps,
    **{f"cells{seed}": lambda seed=seed: _cells(seed) for seed in (1, 2, 3)},
}


def picture(name: str) -> LabelImage:
    """The label image of that name."""
    labels = PICTURES[name]()
    ink = np.zeros((SIDE // 4, SIDE // 4), bool)
    ink[20, 8:32] = True
    return LabelImage(labels, NOTHING, ink, np.zeros((1, 1), np.uint8), Frame.fit(SIDE, SIDE, SIDE), len(PICTURES), 0.0)

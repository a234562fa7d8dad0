"""Rims: ellipses that are lighter at their edge than the dark tyre around them, above a foot of the vehicle's outline.

A rim's flange is one step from dark to light all round, whatever lies within it. Ellipses of a wheel's size are tried on every foot of
the outline, the best dozen are moved and stretched until the step is strongest, and the best one is a rim where the step is closed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase2_illustrate.feet import Feet
from pipeline.values import Mask

Float = NDArray[np.float32]
Ellipses = NDArray[np.float64]

SHIFTS = np.linspace(-0.06, 0.06, 17)  # where the middle may lie, share of the vehicle's width from the foot
RADII = np.linspace(0.11, 0.28, 12)  # the tyre's, share of the vehicle's size
SHARES = (0.62, 0.7, 0.78, 0.84)  # the rim's radius over the tyre's
SLENDER = (0.3, 0.36, 0.43, 0.5, 0.57, 0.64, 0.71, 0.78, 0.85, 0.92, 1.0)  # width over height
ANGLES = np.radians(np.arange(0, 360, 10))
FLANGE, TYRE = 0.95, (1.07, 1.13)  # where flange and tyre are looked at, in radii
STEP, MOST_STEP, LEAST_STEP = 1.5, 12.0, -8.0  # L* that makes a step, and those that more or less of it count as
BLACK, GREY = 28.0, 40.0  # L* up to which a tyre is black, and from which it is no tyre
TALL, WIDE = 0.7, 0.2  # exponents of the half axes in the score: spokes make small ellipses, and half a rim a narrow one
TRIED, APART = 12, 0.12  # ellipses that are moved, and how much those differ, in radii
MOVES = np.array(np.meshgrid(*[[-1, 0, 1]] * 4)).reshape(4, -1).T
STRIDES = (0.05, 0.03, 0.015)  # of the moves, in radii
CLOSED, DARK, CLEAR = 0.8, 0.8, 8.0  # least share of the angles with a step, least darkness of the tyre, least step in L* times both

REACH = (1.32, 1.6)  # the tyre's radius over the rim's, the gap above it counted to a low one


@dataclass(frozen=True, slots=True)
class Rim:
    """An upright ellipse: middle `x`, `y`, half width `rx`, half height `ry`, pixels; `reach`: the tyre's radius over the rim's.

    `black`: L* of the tyre around it.
    """

    x: float
    y: float
    rx: float
    ry: float
    reach: float
    black: float

    def scaled(self, factor: float) -> tuple[float, float, float, float]:
        """Middle and half axes of the ellipse that is so many times as large."""
        return self.x, self.y, factor * self.rx, factor * self.ry


def disc(shape: tuple[int, ...], ellipse: Sequence[float]) -> Mask:
    """A filled upright ellipse (middle x, y, half width, half height) as a mask."""
    x, y, rx, ry = (round(v) for v in ellipse)
    return cv2.ellipse(np.zeros(shape, np.uint8), (x, y), (rx, ry), 0, 0, 360, 1, -1) > 0


def _ring(light: Float, ellipses: Ellipses) -> tuple[Float, Float]:
    """(n, angles) the step in L* from the tyre to the flange, and the tyre's lightness, at ellipses (n, 4)."""
    x, y, rx, ry = (v[:, None, None] for v in ellipses.T)
    scales = np.array([FLANGE, *TYRE])[None, :, None]
    places = (x + scales * rx * np.cos(ANGLES), y + scales * ry * np.sin(ANGLES))
    maps = [np.ascontiguousarray(p.reshape(len(ellipses), -1), np.float32) for p in places]
    values = cv2.remap(light, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    flange, near, far = values.reshape(len(ellipses), 3, -1).swapaxes(0, 1)
    return flange - near, np.maximum(near, far)


def _darkness(tyre: Float) -> Float:
    """(n,) 1 where a tyre (n, angles) is black all round, 0 where it is none."""
    return np.asarray(np.clip((GREY - tyre) / (GREY - BLACK), 0, 1).mean(-1), np.float32)


def _scores(light: Float, ellipses: Ellipses) -> Ellipses:
    step, tyre = _ring(light, ellipses)
    looks = np.clip(step, LEAST_STEP, MOST_STEP).mean(-1) * (step > STEP).mean(-1) * _darkness(tyre)
    return np.asarray(looks * ellipses[:, 3] ** TALL * ellipses[:, 2] ** WIDE, np.float64)


def _best(light: Float, ellipses: Ellipses) -> NDArray[np.float64]:
    """(4,) the ellipse that looks most like a rim's edge, near one of `ellipses` (n, 4)."""
    scores = _scores(light, ellipses)
    kept: list[int] = []
    for k in np.argsort(-scores)[:400]:
        unlike = np.abs((ellipses[kept] - ellipses[k]) / ellipses[k, [2, 3, 2, 3]]).max(1) > APART
        if unlike.all():
            kept.append(int(k))
        if len(kept) == TRIED:
            break
    best = ellipses[kept]
    for stride in STRIDES:
        moved = best[:, None] + stride * MOVES * best[:, None, [2, 3, 2, 3]]
        scores = _scores(light, moved.reshape(-1, 4)).reshape(len(best), -1)
        best = moved[np.arange(len(best)), scores.argmax(1)]
    return np.asarray(best[scores.max(1).argmax()], np.float64)


def _on(foot: int, stand: Feet, inside: Mask) -> tuple[float, Rim] | None:
    """The rim above a foot that is sure, and how sure it is."""
    xs, ground = stand.below(foot, SHIFTS)
    sizes = [(q * r, k * q * r, r) for r in RADII * stand.size for k in SLENDER for q in SHARES]
    tried = [(x, g - tyre, rx, ry) for x, g in zip(xs, ground, strict=True) for ry, rx, tyre in sizes]
    if not tried:
        return None
    best = _best(stand.light, np.array(tried, np.float64))
    step, tyre = _ring(stand.light, best[None])
    closed, dark = float((step > STEP).mean()), float(_darkness(tyre)[0])
    sure = float(step.mean()) * closed * dark
    x, y, rx, ry = best.tolist()
    row, column = (round(min(max(v, 0), len(inside) - 1)) for v in (y, x))
    if closed < CLOSED or dark < DARK or sure < CLEAR or not inside[row, column]:
        return None
    reach = float(np.clip((stand.lowest[column] - y) / ry, *REACH))
    return sure, Rim(x, y, rx, ry, reach, float(np.median(tyre)))


def rims(stand: Feet, inside: Mask) -> tuple[Rim, ...]:
    """The rims that are sure, each on a foot of its own; `inside` (S, S) the vehicle."""
    kept: list[Rim] = []
    found = [one for foot in stand.columns if (one := _on(int(foot), stand, inside)) is not None]
    for _, rim in sorted(found, key=lambda one: -one[0]):
        if all(np.hypot((rim.x - one.x) / (rim.rx + one.rx), (rim.y - one.y) / (rim.ry + one.ry)) > 1 for one in kept):
            kept.append(rim)
    return tuple(kept)

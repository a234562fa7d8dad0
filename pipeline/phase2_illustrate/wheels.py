"""Wheels: ellipses that stand on the vehicle's lower outline, dark tyres under something lighter.

A tyre's upper half is parted from the wing by a dark gap, whatever the paint; its lower half ends at the vehicle's outline. So ellipses
are tried on every foot of that outline, and the one with the strongest dark-to-light step outwards along its upper half is taken.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from pipeline.phase2_illustrate.feet import Feet, feet
from pipeline.phase2_illustrate.rims import Rim, disc, rims
from pipeline.values import Mask, Rgb

Float = NDArray[np.float32]

SHIFTS = np.linspace(-0.06, 0.06, 13)  # where its middle may lie, share of the vehicle's width from the foot
RADII = np.linspace(0.11, 0.28, 14)  # share of the vehicle's size
SLENDER = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # width over height
BLACK = 32.0  # L* below which rubber lies
MOST_STEP = 25.0  # L*: more of a step says no more
SURE = 9.5  # mean step times the shares of the tyre that are black
WITHIN = 0.75  # least share of the ellipse that lies on the vehicle
OVERLAP = 0.1  # most of it that may lie on another wheel
UPPER, LOWER = np.radians(np.arange(190, 351, 5)), np.radians(np.arange(20, 161, 8))


def _steps(light: Float, ellipses: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) how much each of the ellipses (n, 4: middle x, y, half width, half height) looks like a tyre's outline, in L*."""
    x, y, rx, ry = ellipses.T[..., None]

    def at(scale: float, angles: NDArray[np.float64]) -> Float:
        places = [y + scale * ry * np.sin(angles), x + scale * rx * np.cos(angles)]
        return np.asarray(map_coordinates(light, places, order=1, mode="nearest"), np.float32)

    inner = at(0.93, UPPER)
    step = np.clip(at(1.12, UPPER) - inner, -10, MOST_STEP).mean(1)
    return np.asarray(step * (inner < BLACK).mean(1) * (at(0.92, LOWER) < BLACK).mean(1))


def _best_on(foot: int, stand: Feet) -> tuple[float, NDArray[np.float64]] | None:
    """The ellipse on a foot of the outline that looks most like a wheel, and how much it does."""
    xs, ground = stand.below(foot, SHIFTS)
    radii = RADII * stand.size
    middles = [(x, g - ry, k * ry, ry) for x, g in zip(xs, ground, strict=True) for ry in radii for k in SLENDER]
    if not middles:
        return None
    ellipses = np.array(middles, np.float64)
    sure = _steps(stand.light, ellipses)
    return float(sure.max()), ellipses[sure.argmax()]


def wheels(rgb: Rgb, inside: Mask) -> tuple[Mask, tuple[Rim, ...]]:
    """(S, S) the vehicle's wheels as far as they are sure, and the rims of those whose rim is, too.

    `rgb` (S, S, 3) uint8 sRGB photograph, `inside` (S, S) the vehicle.
    """
    found, stand = np.zeros(inside.shape, bool), feet(rgb, inside)
    if stand is None:
        return found, ()
    clear = rims(stand, inside)
    for rim in clear:
        found |= disc(inside.shape, rim.scaled(rim.reach)) & inside
    tried = [best for foot in stand.columns if (best := _best_on(int(foot), stand)) is not None]
    for _, ellipse in sorted((best for best in tried if best[0] >= SURE), key=lambda best: -best[0]):
        wheel = disc(inside.shape, ellipse.tolist())
        if inside[wheel].mean() >= WITHIN and found[wheel].mean() < OVERLAP:
            found |= wheel & inside
    return found, clear

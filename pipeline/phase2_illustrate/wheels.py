"""Wheels: ellipses that stand on the vehicle's lower outline, dark tyres under something lighter.

A tyre's upper half is parted from the wing by a dark gap, whatever the paint; its lower half ends at the vehicle's outline. So ellipses
are tried on every foot of that outline, and the one with the strongest dark-to-light step outwards along its upper half is taken.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from pipeline.color import lightness
from pipeline.phase2_illustrate.peaks import peaks
from pipeline.raster import bounds
from pipeline.values import Box, Mask, Rgb

Float = NDArray[np.float32]

PROMINENT, APART = 0.025, 0.06  # how far a foot reaches below its surroundings, share of the height, and from another, share of the width
SHIFTS = np.linspace(-0.06, 0.06, 13)  # where its middle may lie, share of the vehicle's width from the foot
RADII = np.linspace(0.11, 0.28, 14)  # share of the vehicle's height, or of 0.55 of its width where that is less
SLENDER = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # width over height
BLACK = 32.0  # L* below which rubber lies
MOST_STEP = 25.0  # L*: more of a step says no more
SURE = 9.5  # mean step times the shares of the tyre that are black
WITHIN = 0.75  # least share of the ellipse that lies on the vehicle
LOW = 0.65  # share of the height, from the top, below which a wheel ends
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


def _best_on(foot: int, light: Float, lowest: Float, place: Box) -> tuple[float, NDArray[np.float64]] | None:
    """The ellipse on a foot of the outline that looks most like a wheel, and how much it does."""
    x0, y0, x1, y1 = place
    xs = foot + SHIFTS * (x1 - x0)
    ground = lowest[np.clip(np.round(xs), 0, len(lowest) - 1).astype(int)]
    standing = ground >= y0 + LOW * (y1 - y0)
    radii = RADII * min(y1 - y0, 0.55 * (x1 - x0))
    middles = [(x, g - ry, k * ry, ry) for x, g in zip(xs[standing], ground[standing], strict=True) for ry in radii for k in SLENDER]
    if not middles:
        return None
    ellipses = np.array(middles, np.float64)
    sure = _steps(light, ellipses)
    return float(sure.max()), ellipses[sure.argmax()]


def wheels(rgb: Rgb, inside: Mask) -> Mask:
    """(S, S) the vehicle's wheels as far as they are sure; `rgb` (S, S, 3) uint8 sRGB photograph, `inside` (S, S) the vehicle."""
    found = np.zeros(inside.shape, bool)
    place = bounds(inside)
    if place is None:
        return found
    x0, y0, x1, y1 = place
    width, height = x1 - x0, y1 - y0
    light = np.asarray(cv2.GaussianBlur(lightness(rgb), (0, 0), 1.5 * len(rgb) / 1024), np.float32)
    lowest = np.where(inside.any(0), len(inside) - 1 - inside[::-1].argmax(0), y0).astype(np.float32)
    lowest = cv2.blur(lowest[None], (9, 1))[0]
    feet = peaks(np.pad(lowest, 1, constant_values=y0), PROMINENT * height, max(1.0, APART * width)) - 1
    tried = [best for foot in feet if (best := _best_on(int(foot), light, lowest, place)) is not None]
    for _, (x, y, rx, ry) in sorted((best for best in tried if best[0] >= SURE), key=lambda best: -best[0]):
        wheel = np.zeros(inside.shape, np.uint8)
        cv2.ellipse(wheel, (round(x), round(y)), (round(rx), round(ry)), 0, 0, 360, 1, -1)
        disc = wheel > 0
        if inside[disc].mean() >= WITHIN and found[disc].mean() < 0.1:
            found |= disc & inside
    return found

"""The feet of a vehicle's outline: where it reaches farthest down, and so where wheels stand."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.color import lightness
from pipeline.phase2_illustrate.peaks import peaks
from pipeline.raster import bounds
from pipeline.values import Mask, Rgb

Float = NDArray[np.float32]

PROMINENT, APART = 0.025, 0.06  # how far a foot reaches below its surroundings, share of the height, and from another, share of the width
LOW = 0.65  # share of the height, from the top, below which a wheel ends
TALL = 0.55  # times the width: where the vehicle is taller, its wheels are as large as if it were not


@dataclass(frozen=True, slots=True)
class Feet:
    """`light` (S, S) L* without its grain; `columns` of the feet; `lowest` (S,) the vehicle's lowest row in every column.

    `low`: the row from which on a wheel may end; `width` of the vehicle and its `size`, of which wheels are a share; pixels.
    """

    light: Float
    columns: NDArray[np.intp]
    lowest: Float
    low: float
    width: float
    size: float

    def below(self, foot: int, shifts: NDArray[np.float64]) -> tuple[NDArray[np.float64], Float]:
        """Places at so many shares of the width from a foot, and the ground there, as far as a wheel may stand on it."""
        xs = foot + shifts * self.width
        ground = self.lowest[np.clip(np.round(xs), 0, len(self.lowest) - 1).astype(int)]
        return xs[ground >= self.low], ground[ground >= self.low]


def feet(rgb: Rgb, inside: Mask) -> Feet | None:
    """The feet of the vehicle `inside` (S, S) of a photograph `rgb` (S, S, 3) uint8 sRGB; None without a vehicle."""
    place = bounds(inside)
    if place is None:
        return None
    x0, y0, x1, y1 = place
    light = np.asarray(cv2.GaussianBlur(lightness(rgb), (0, 0), 1.5 * len(rgb) / 1024), np.float32)
    lowest = np.where(inside.any(0), len(inside) - 1 - inside[::-1].argmax(0), y0).astype(np.float32)
    lowest = np.asarray(cv2.blur(lowest[None], (9, 1))[0], np.float32)
    apart = max(1.0, APART * (x1 - x0))
    columns = peaks(np.pad(lowest, 1, constant_values=y0), PROMINENT * (y1 - y0), apart)
    return Feet(light, columns - 1, lowest, y0 + LOW * (y1 - y0), x1 - x0, min(y1 - y0, TALL * (x1 - x0)))

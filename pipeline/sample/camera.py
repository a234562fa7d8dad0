"""A pinhole camera aimed at the vehicle."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.fields import Array
from pipeline.sample.form import form
from pipeline.sample.look import Look

SHARE = 0.70  # of the picture's width that the vehicle takes


@dataclass(frozen=True, slots=True)
class Camera:
    """`origin` (3,), `axes` rows right, up, forward; pixel (u, v) = (cx + focal · right / forward, cy - focal · up / forward)."""

    origin: NDArray[np.float64]
    axes: NDArray[np.float64]
    focal: float
    cx: float
    cy: float
    width: int
    height: int

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """World points (N, 3) to pixels (N, 2)."""
        local = (points - self.origin) @ self.axes.T
        return np.stack([self.cx + self.focal * local[:, 0] / local[:, 2], self.cy - self.focal * local[:, 1] / local[:, 2]], 1)

    def rays(self, x0: int, y0: int, x1: int, y1: int, scale: int) -> Array:
        """Unit directions (rows, columns, 3) through the pixels' `scale`-fold subdivision in the given pixel rectangle."""
        u = (np.arange(x0 * scale, x1 * scale) + 0.5) / scale
        v = (np.arange(y0 * scale, y1 * scale) + 0.5) / scale
        right = ((u - self.cx) / self.focal)[None, :, None]
        up = ((self.cy - v) / self.focal)[:, None, None]
        d = self.axes[2] + right * self.axes[0] + up * self.axes[1]
        return np.asarray(d / np.linalg.norm(d, axis=-1, keepdims=True), np.float32)


def aim(look: Look, width: int, height: int) -> Camera:
    """The camera of a look: the vehicle `SHARE` of the picture's width and at most 0.8 of its height, a little below the middle.

    The lens is shifted, not tilted, so that verticals stay vertical (as architectural photographers do).
    """
    origin = look.distance * np.array([np.sin(look.azimuth), 0.0, np.cos(look.azimuth)]) + [0.0, look.eye, 0.0]
    forward = np.array([-np.sin(look.azimuth), 0.0, -np.cos(look.azimuth)])
    up = np.array([0.0, 1.0, 0.0])
    right = np.cross(forward, up)
    axes = np.stack([right, up, forward])
    corners = np.array(list(product(*form(look).extent)))
    flat = Camera(origin, axes, 1.0, 0.0, 0.0, width, height).project(corners)
    low, high = flat.min(0), flat.max(0)
    span = high - low
    focal = min(SHARE * width / span[0], 0.8 * height / span[1])
    middle = (low + high) / 2 * focal
    return Camera(origin, axes, float(focal), float(0.5 * width - middle[0]), float(0.60 * height - middle[1]), width, height)

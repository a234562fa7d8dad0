"""Small tools on arrays: smooth steps, noise, sampling of textures, vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]  # float32 wherever it is large
Bytes: TypeAlias = NDArray[np.uint8]
Index: TypeAlias = NDArray[np.intp]


def smoothstep(low: float, high: float, x: Array) -> Array:
    """Hermite ramp, 0 at `low`, 1 at `high` (`low` may be the larger)."""
    t = np.clip((x - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def mix(a: Array, b: Array, t: Array) -> Array:
    """Linear mixture of two colours (..., 3) by a weight (...)."""
    return np.asarray(a + (b - a) * t[..., None], np.float32)


def lay(color: Array, cover: Array, shade: Callable[[Index], Array]) -> None:
    """Lays colours over `color` (N, 3), in place, by `cover` (N,); `shade` is asked only for the indices where something shows."""
    where = np.flatnonzero(cover > 1 / 512)
    if len(where):
        color[where] = mix(color[where], shade(where), cover[where])


def dot(a: Array, b: Array) -> Array:
    """Scalar products over the last axis."""
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2])


def unit(a: Array) -> Array:
    """Vectors over the last axis scaled to length 1."""
    return np.asarray(a / np.sqrt(np.maximum(dot(a, a), 1e-18))[..., None], np.float32)


def reflect(direction: Array, normal: Array) -> Array:
    """The mirror direction of a ray that travels along `direction`."""
    return np.asarray(direction - 2 * dot(direction, normal)[..., None] * normal, np.float32)


def schlick(cosine: Array, f0: float) -> Array:
    """Fresnel reflectance, Schlick's approximation (Computer Graphics Forum 13, 1994)."""
    x = 1 - np.clip(cosine, 0, 1)
    x2 = x * x
    return np.asarray(f0 + (1 - f0) * x2 * x2 * x, np.float32)


def fractal(rng: np.random.Generator, height: int, width: int, cells: float, octaves: int, gain: float = 0.5) -> Array:
    """Value noise (height, width), mean 0, about -1..1: `octaves` layers from `cells` cells across, each twice as fine."""
    out = np.zeros((height, width), np.float32)
    total, weight = 0.0, 1.0
    for k in range(octaves):
        n = cells * 2**k
        grid = rng.standard_normal((max(2, int(n * height / width) + 2), int(n) + 2)).astype(np.float32)
        out += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += weight * weight
        weight *= gain
    return out / np.float32(2 * np.sqrt(total))


def bilinear(texture: Array | Bytes, u: Array, v: Array, border: int) -> Array:
    """Samples at pixel positions of any shape; OpenCV wants them in a picture with sides below 32768."""
    columns = 4096
    rows = max(1, -(-u.size // columns))
    maps = np.zeros((2, rows * columns), np.float32)
    maps[0, : u.size], maps[1, : u.size] = u.ravel(), v.ravel()
    found = cv2.remap(texture, maps[0].reshape(rows, columns), maps[1].reshape(rows, columns), cv2.INTER_LINEAR, borderMode=border)
    flat = found.reshape(rows * columns, *texture.shape[2:])[: u.size]
    return np.asarray(flat.reshape(*u.shape, *texture.shape[2:]), np.float32)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A flat texture in the world: `pixels` (H, W) or (H, W, C); row 0 lies at height `top`, column 0 at `left`; metres."""

    pixels: Array | Bytes
    left: float
    top: float
    density: float  # pixels a metre

    def at(self, across: Array, up: Array) -> Array:
        """Bilinear samples at (across, up), 0 outside; float32, 8-bit sheets give 0..1."""
        u = np.clip((across - self.left) * self.density - 0.5, -9e3, 3e4)
        v = np.clip((self.top - up) * self.density - 0.5, -9e3, 3e4)
        return bilinear(self.pixels, u, v, cv2.BORDER_CONSTANT) / np.float32(255 if self.pixels.dtype == np.uint8 else 1)


def tile(texture: Array, across: Array, along: Array, density: float) -> Array:
    """Bilinear samples of a texture that repeats (mirrored, hence without seams); `density` in pixels a metre."""
    height, width = texture.shape[:2]
    u = np.abs((across * density) % (2 * width - 2) - (width - 1))
    v = np.abs((along * density) % (2 * height - 2) - (height - 1))
    return bilinear(texture, u, v, cv2.BORDER_REFLECT)

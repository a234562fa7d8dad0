"""Small tools on arrays: smooth steps, noise, sampling of textures, vectors."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def smoothstep(low: float, high: float, x: Array) -> Array:
    """Hermite ramp, 0 at `low`, 1 at `high` (`low` may be the larger)."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def mix(a: Array, b: Array, t: Array) -> Array:
    """Linear mixture of two colours (..., 3) by a weight (...)."""
    return (a + (b - a) * t[..., None]).astype(np.float32)


def dot(a: Array, b: Array) -> Array:
    """Scalar products over the last axis."""
    return np.einsum("...i,...i->...", a, b).astype(np.float32)


def unit(a: Array) -> Array:
    """Vectors over the last axis scaled to length 1."""
    return (a / np.maximum(np.sqrt(dot(a, a)), 1e-9)[..., None]).astype(np.float32)


def reflect(direction: Array, normal: Array) -> Array:
    """The mirror direction of a ray that travels along `direction`."""
    return (direction - 2 * dot(direction, normal)[..., None] * normal).astype(np.float32)


def schlick(cosine: Array, f0: float) -> Array:
    """Fresnel reflectance, Schlick's approximation (Computer Graphics Forum 13, 1994)."""
    x = 1 - np.clip(cosine, 0, 1)
    x2 = x * x
    return (f0 + (1 - f0) * x2 * x2 * x).astype(np.float32)


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


def linear(color: tuple[int, int, int]) -> Array:
    """An 8-bit sRGB colour in linear light 0..1 (IEC 61966-2-1)."""
    c = np.array(color, np.float32) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _sample(texture: NDArray[np.float32] | NDArray[np.uint8], u: Array, v: Array, border: int) -> Array:
    """Bilinear samples at pixel positions of any shape; OpenCV wants them in a picture with sides below 32768."""
    columns = 4096
    rows = -(-u.size // columns)
    maps = np.zeros((2, rows * columns), np.float32)
    maps[0, : u.size], maps[1, : u.size] = u.ravel(), v.ravel()
    found = cv2.remap(texture, maps[0].reshape(rows, columns), maps[1].reshape(rows, columns), cv2.INTER_LINEAR, borderMode=border)
    flat = found.reshape(rows * columns, *texture.shape[2:])[: u.size]
    return np.asarray(flat.reshape(*u.shape, *texture.shape[2:]), np.float32)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A flat texture in the world: `pixels` (H, W) or (H, W, C); row 0 lies at height `top`, column 0 at `left`; metres."""

    pixels: NDArray[np.float32] | NDArray[np.uint8]
    left: float
    top: float
    density: float  # pixels a metre

    def at(self, across: Array, up: Array) -> Array:
        """Bilinear samples at (across, up), 0 outside; float32, 8-bit sheets give 0..1."""
        u = np.clip((across - self.left) * self.density - 0.5, -9e3, 3e4).astype(np.float32)
        v = np.clip((self.top - up) * self.density - 0.5, -9e3, 3e4).astype(np.float32)
        return _sample(self.pixels, u, v, cv2.BORDER_CONSTANT) / np.float32(255 if self.pixels.dtype == np.uint8 else 1)


def tile(texture: Array, across: Array, along: Array, density: float) -> Array:
    """Bilinear samples of a texture that repeats (mirrored, hence without seams); `density` in pixels a metre."""
    height, width = texture.shape[:2]
    u = np.abs((across * density) % (2 * width - 2) - (width - 1)).astype(np.float32)
    v = np.abs((along * density) % (2 * height - 2) - (height - 1)).astype(np.float32)
    return _sample(texture, u, v, cv2.BORDER_REFLECT)

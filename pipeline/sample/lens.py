"""From linear light to a photograph: depth of field, exposure, tone curve, vignette, fringes, noise."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.sample.fields import Array


def _disc(radius: float) -> Array:
    """A round kernel with a soft rim, as an open aperture draws points of light."""
    n = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-n : n + 1, -n : n + 1]
    k = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return np.asarray(k / k.sum(), np.float32)


def defocus(color: Array, depth: Array, focus: float, radius: float) -> Array:
    """Blur (H, W, 3) by distance (H, W): none at `focus` metres, `radius` pixels far away."""
    out = color
    amount = np.asarray(np.clip((depth - focus) / np.maximum(depth, 1e-3), 0, 1) / 0.6, np.float32)
    for part in (0.35, 0.7, 1.0):
        blurred = cv2.filter2D(color, -1, _disc(max(0.6, radius * part)), borderType=cv2.BORDER_REFLECT)
        weight = np.clip((amount - (part - 0.35)) / 0.35, 0, 1)[..., None]
        out = out + (blurred - out) * weight
    return out.astype(np.float32)


def _tone(x: Array) -> Array:
    """Filmic curve (Narkowicz's fit of ACES, 2015), linear 0..inf to linear 0..1."""
    return np.clip((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0, 1).astype(np.float32)


def _enlarged(channel: Array, k: float) -> Array:
    """A channel (H, W) magnified about its middle: lateral chromatic aberration."""
    height, width = channel.shape
    move = np.array([[k, 0, (1 - k) * width / 2], [0, k, (1 - k) * height / 2]])
    return np.asarray(cv2.warpAffine(channel, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def _veil(color: Array) -> Array:
    """Light scattered in the lens: a faint glow around what is bright, (H, W, 3)."""
    height, width = color.shape[:2]
    small = cv2.resize(color, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    glow = cv2.GaussianBlur(np.maximum(small - 0.9, 0), (0, 0), width / 500)
    return np.asarray(cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR))


def _grain(rng: np.random.Generator, height: int, width: int) -> Array:
    """Sensor noise (H, W), deviation about 1, a little smeared as demosaicing does."""
    return np.asarray(1.7 * cv2.GaussianBlur(rng.standard_normal((height, width), np.float32), (0, 0), 0.6), np.float32)


def _develop(channel: Array, noise: Array) -> NDArray[np.uint8]:
    """One channel (H, W) from exposed linear light to 8-bit sRGB: tone curve, noise, transfer curve, sharpening."""
    x = _tone(channel)
    # Shot noise grows with the root of the signal.
    x = np.clip(x + noise * np.sqrt(0.000002 + 0.00008 * x), 0, 1)
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(np.maximum(x, 1e-6), 1 / 2.4) - 0.055)
    sharp = srgb + 0.25 * (srgb - cv2.GaussianBlur(srgb, (0, 0), max(0.8, x.shape[1] / 1400)))
    return np.asarray(np.clip(np.round(sharp * 255), 0, 255), np.uint8)


def expose(color: Array, rng: np.random.Generator, exposure: float) -> NDArray[np.uint8]:
    """Linear light (H, W, 3) to an sRGB picture (H, W, 3) uint8. Works channel by channel, which keeps the memory low."""
    height, width = color.shape[:2]
    x = (np.arange(width, dtype=np.float32) - width / 2)[None] ** 2
    y = (np.arange(height, dtype=np.float32) - height / 2)[:, None] ** 2
    vignette = np.asarray(exposure * (1 - 0.34 * (x + y) / ((width**2 + height**2) / 4)), np.float32)
    veil = _veil(color)
    common = _grain(rng, height, width)
    out = np.empty((height, width, 3), np.uint8)
    for k, size in enumerate((1.00035, 1.0, 0.99965)):
        # No lens draws a pixel sharply.
        channel = np.asarray(cv2.GaussianBlur(color[..., k], (0, 0), 0.45))
        channel = _enlarged((channel + 0.12 * veil[..., k]) * vignette, size)
        out[..., k] = _develop(channel, 0.6 * _grain(rng, height, width) + 0.7 * common)
    return out

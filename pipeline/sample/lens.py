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
    amount = np.clip((depth - focus) / np.maximum(depth, 1e-3), 0, 1) / 0.6
    for part in (0.35, 0.7, 1.0):
        blurred = cv2.filter2D(color, -1, _disc(max(0.6, radius * part)), borderType=cv2.BORDER_REFLECT)
        weight = np.clip((amount - (part - 0.35)) / 0.35, 0, 1)[..., None]
        out = out + (blurred - out) * weight
    return out.astype(np.float32)


def _tone(x: Array) -> Array:
    """Filmic curve (Narkowicz's fit of ACES, 2015), linear 0..inf to linear 0..1."""
    return np.clip((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0, 1).astype(np.float32)


def _fringes(color: Array) -> Array:
    """Lateral chromatic aberration: red a little larger, blue a little smaller than green."""
    height, width = color.shape[:2]
    out = color.copy()
    for channel, k in ((0, 1.00035), (2, 0.99965)):
        move = np.array([[k, 0, (1 - k) * width / 2], [0, k, (1 - k) * height / 2]])
        out[..., channel] = cv2.warpAffine(
            color[..., channel], move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
    return out


def expose(color: Array, rng: np.random.Generator, exposure: float) -> NDArray[np.uint8]:
    """Linear light (H, W, 3) to an sRGB picture (H, W, 3) uint8."""
    height, width = color.shape[:2]
    # No lens draws a pixel sharply.
    color = cv2.GaussianBlur(color, (0, 0), 0.45)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    away = ((x - width / 2) ** 2 + (y - height / 2) ** 2) / ((width / 2) ** 2 + (height / 2) ** 2)
    color = color * (exposure * (1 - 0.34 * away))[..., None]
    # Light scattered in the lens: a faint veil around what is bright.
    bright = cv2.resize(np.maximum(color - 0.9, 0), (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    veil = cv2.resize(cv2.GaussianBlur(bright, (0, 0), width / 500), (width, height), interpolation=cv2.INTER_LINEAR)
    color = _fringes(_tone(color + 0.12 * veil))
    # Shot noise grows with the root of the signal; demosaicing smears it a little.
    noise = rng.standard_normal(color.shape).astype(np.float32)
    noise = 0.6 * noise + 0.4 * noise.mean(-1, keepdims=True) * np.sqrt(3)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.6) * 1.7
    color = np.clip(color + noise * np.sqrt(0.000002 + 0.00008 * color), 0, 1)
    srgb = np.where(color <= 0.0031308, 12.92 * color, 1.055 * np.power(np.maximum(color, 1e-6), 1 / 2.4) - 0.055)
    sharp = srgb + 0.25 * (srgb - cv2.GaussianBlur(srgb, (0, 0), max(0.8, width / 1400)))
    return np.asarray(np.clip(np.round(sharp * 255), 0, 255), np.uint8)

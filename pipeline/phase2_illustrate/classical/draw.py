"""The classical engine's drawing step: noise gone, wheels lifted, edges and thin lines kept."""

import cv2
import numpy as np

from pipeline.values import Mask, Rgb

LIFT, DARK = 2.5, 70.0  # how much detail in the dark is lifted, and the sRGB code from which it needs none


def lifted(rgb: Rgb, inside: Mask, unit: float) -> Rgb:
    """Spokes and rims lifted out of dark wheels: what is brighter than its dark surroundings is made brighter still."""
    light = rgb.astype(np.float32).mean(-1)
    weight = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 12 * unit)
    around = cv2.GaussianBlur(light * inside, (0, 0), 12 * unit) / np.maximum(weight, 1e-3)
    # Full strength where the surroundings are near black, none above `DARK`.
    gain = LIFT * np.clip(1 - around / DARK, 0, 1) * np.clip(light - around - 2, 0, 40)
    # By a factor, so that a bronze rim stays bronze.
    brighter = np.round(rgb * (1 + gain / np.maximum(light, 1))[..., None])
    return np.asarray(np.clip(brighter, 0, 255), np.uint8)


def draw(rgb: Rgb, inside: Mask) -> Rgb:
    """Simplified picture (S, S, 3) uint8 sRGB of the vehicle; outside it stays as it was.

    The smoothing is weak enough to leave panel gaps alone: what is shading and what is an area is for the grading to say.
    """
    unit = len(rgb) / 1024
    mild = np.asarray(cv2.bilateralFilter(rgb, max(5, round(9 * unit)), 14, 3 * unit), np.uint8)
    return np.where(inside[..., None], lifted(mild, inside, unit), rgb).astype(np.uint8)

"""The classical engine's drawing step: noise gone, glass calm, edges and thin lines kept."""

import cv2
import numpy as np

from pipeline.phase2_illustrate.classical.glass import panes
from pipeline.values import Mask, Rgb

# Reflections are brighter than the glass, pillars and seams darker: shares of the contrast in a window pane that stay.
KEPT, KEPT_DARK = 0.35, 0.7
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
    size = max(5, round(9 * unit))
    strong = cv2.bilateralFilter(rgb, size, 35, 6 * unit).astype(np.float32) / 255
    smooth = np.asarray(cv2.cvtColor(strong, cv2.COLOR_RGB2LAB), np.float32)
    pane = panes(smooth, inside)
    light = smooth[..., 0]
    for k in np.unique(pane[pane > 0]):
        here = pane == k
        glass = np.percentile(light[here], 30)
        step = light[here] - glass
        light[here] = glass + np.where(step > 0, KEPT, KEPT_DARK) * step
    calm = np.round(np.clip(cv2.cvtColor(smooth, cv2.COLOR_LAB2RGB), 0, 1) * 255).astype(np.uint8)
    mild = np.asarray(cv2.bilateralFilter(rgb, size, 14, 3 * unit), np.uint8)
    drawn = np.where(pane[..., None] > 0, calm, lifted(mild, inside, unit))
    return np.where(inside[..., None], drawn, rgb).astype(np.uint8)

"""The classical engine's drawing step: noise gone, glass calm, edges and thin lines kept."""

import cv2
import numpy as np

from pipeline.phase2_illustrate.glass import panes
from pipeline.values import Mask, Rgb

# Reflections are brighter than the glass, pillars and seams darker: shares of the contrast in a window pane that stay.
KEPT, KEPT_DARK = 0.35, 0.7


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
    drawn = np.where(pane[..., None] > 0, calm, cv2.bilateralFilter(rgb, size, 14, 3 * unit))
    return np.where(inside[..., None], drawn, rgb).astype(np.uint8)

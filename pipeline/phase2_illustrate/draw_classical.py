"""The classical engine's drawing step: noise gone, glass calm, edges and thin lines kept."""

import cv2
import numpy as np

from pipeline.color import srgb_to_lab
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
    calm = cv2.bilateralFilter(rgb, size, 35, 6 * unit)
    pane = panes(srgb_to_lab(calm).astype(np.float32), inside)
    drawn = cv2.bilateralFilter(rgb, size, 14, 3 * unit).astype(np.float32)
    for k in np.unique(pane[pane > 0]):
        here = pane == k
        glass = np.percentile(calm[here], 30, axis=0)
        step = calm[here] - glass
        drawn[here] = glass + np.where(step > 0, KEPT, KEPT_DARK) * step
    return np.where(inside[..., None], np.round(drawn).astype(np.uint8), rgb)

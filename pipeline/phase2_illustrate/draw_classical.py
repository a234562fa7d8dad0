"""The classical engine's drawing step: a photograph made simple by edge-preserving smoothing."""

import cv2
import numpy as np

from pipeline.values import Mask, Rgb


def draw(rgb: Rgb, inside: Mask) -> Rgb:
    """Simplified picture (S, S, 3) uint8 sRGB: noise and fine texture gone, edges kept; outside the vehicle it stays as it was."""
    unit = len(rgb) / 1024
    smooth = cv2.bilateralFilter(rgb, max(5, round(9 * unit)), 35, 6 * unit)
    return np.where(inside[..., None], smooth, rgb).astype(np.uint8)

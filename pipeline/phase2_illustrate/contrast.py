"""Contrast of edges, and what it is against the contrast around it: so an edge in the dark counts as much as one in the light."""

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def slope(channel: Float, unit: float) -> Float:
    """The steepness of a picture (H, W) at the scale of an edge, in its own unit by Sobel; `unit` pixels at a side of 1024."""
    smooth = cv2.GaussianBlur(np.ascontiguousarray(channel), (0, 0), 1.4 * unit)
    return np.asarray(np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)), np.float32)


def relative(steepness: Float, unit: float) -> Float:
    """Steepness over the square root of the steepness around it."""
    return np.asarray(steepness / np.sqrt(cv2.GaussianBlur(steepness, (0, 0), 24 * unit) + 1.5), np.float32)

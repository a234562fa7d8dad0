"""The vehicle on white: what the control pictures are made from, so that no background is drawn along."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.values import Gray, Mask, Rgb

Float = NDArray[np.float32]

#: How far, in pixels at a side of 1024, the colours of vehicle and background are gathered for a rim pixel: matte networks' rims
#: are two to four pixels wide, and farther in the vehicle may have another colour.
REACH = 8.0


def on_white(rgb: Rgb, cover: Mask | Gray) -> Rgb:
    """The vehicle on white, (S, S, 3) uint8 sRGB.

    `rgb` (S, S, 3); `cover` (S, S) says how much of a pixel is vehicle: a mask, or a matte's alpha 0..255. Where it is partial, the
    photograph's pixel is already a mix with the background; the vehicle's own colour is estimated from its surroundings, so that no
    dark or coloured seam stays around the vehicle. Blended in sRGB values, as mattes are trained to be.
    Raises ValueError when the shapes differ.
    """
    if cover.shape != rgb.shape[:2]:
        raise ValueError(f"a cover of {cover.shape} for a picture of {rgb.shape}")
    alpha = np.asarray(cover / np.float32(1 if cover.dtype == np.bool_ else 255), np.float32)
    out = np.where((alpha > 0)[..., None], rgb, np.uint8(255))
    rim = (alpha > 0) & (alpha < 1)
    if rim.any():
        share = alpha[rim][:, None]
        own = _own_colour(rgb.astype(np.float32), alpha, rim)
        out[rim] = np.round(np.clip(share * own + (1 - share) * 255, 0, 255)).astype(np.uint8)
    return np.asarray(out, np.uint8)


def _own_colour(rgb: Float, alpha: Float, rim: Mask) -> Float:
    """(K, 3) colours 0..255 of the vehicle alone at the rim's pixels.

    Blur fusion (Forte, Approximate Fast Foreground Colour Estimation, ICIP 2021), one pass: the means of vehicle and background
    nearby, then the vehicle's moved so that both, mixed by alpha, give the photograph's pixel. The means are weighted by the squares of
    the shares instead of in two passes: pure pixels count for more than mixed ones.
    """
    reach = max(1, round(REACH * len(rgb) / 1024))
    window = (2 * reach + 1, 2 * reach + 1)

    def mean(weight: Float) -> Float:
        total = cv2.blur(rgb * weight[..., None], window)[rim]
        return np.asarray(total / np.maximum(cv2.blur(weight, window)[rim], 1e-6)[:, None], np.float32)

    share = alpha[rim][:, None]
    own, other = mean(alpha**2), mean((1 - alpha) ** 2)
    return np.asarray(np.clip(own + share * (rgb[rim] - share * own - (1 - share) * other), 0, 255), np.float32)

"""Enlarging a picture of few flat colours so that its boundaries come out smooth, without stairs."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.values import Mask, Rgb

#: Blur of each colour's indicator, pixels of the small picture: rounds stairs, keeps corners wider than it.
SIGMA = 1.6


def upscale_labels(labels: NDArray[np.uint8], side: int, sigma: float = SIGMA) -> NDArray[np.uint8]:
    """(S, S) uint8 labels → (side, side): at every pixel the label whose blurred indicator is largest.

    The lower label wins a tie. Works in horizontal bands, so that memory stays small at 8192.
    """
    small = labels.shape[0]
    present = np.unique(labels)
    blurred = [cv2.GaussianBlur((labels == i).astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for i in present]
    out = np.empty((side, side), np.uint8)
    band = max(1, (1 << 21) // side)
    columns = np.broadcast_to(((np.arange(side, dtype=np.float32) + 0.5) * (small / side) - 0.5)[None], (band, side))
    for top in range(0, side, band):
        rows = np.arange(top, min(side, top + band), dtype=np.float32)
        y = np.broadcast_to(((rows + 0.5) * (small / side) - 0.5)[:, None], (len(rows), side))
        best = np.full((len(rows), side), -1, np.float32)
        index = np.zeros((len(rows), side), np.uint8)
        lo, hi = max(0, int(y.min()) - 2), min(small, int(y.max()) + 4)
        for value, field in zip(present, blurred, strict=True):
            if not field[lo:hi].any():
                continue
            x_map, y_map = np.ascontiguousarray(columns[: len(rows)]), np.ascontiguousarray(y - lo)
            grown = cv2.remap(field[lo:hi], x_map, y_map, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            better = grown > best
            best[better], index[better] = grown[better], value
        out[top : top + len(rows)] = index
    return out


def upscale_flat(rgb: Rgb, side: int) -> Rgb:
    """(S, S, 3) uint8 of at most 256 distinct colours → (side, side, 3) of the same colours, boundaries smoothed."""
    codes = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colors, labels = np.unique(codes, return_inverse=True)
    if len(colors) > 256:
        raise ValueError(f"a flat picture has at most 256 colours, not {len(colors)}")
    table = np.stack([colors >> 16, (colors >> 8) & 255, colors & 255], -1).astype(np.uint8)
    grown = upscale_labels(labels.reshape(rgb.shape[:2]).astype(np.uint8), side)
    return np.ascontiguousarray(np.take(table, grown, axis=0))


def upscale_mask(inside: Mask, side: int) -> Mask:
    """(S, S) mask → (side, side), its outline smoothed in the same way."""
    return upscale_labels(inside.astype(np.uint8), side) > 0

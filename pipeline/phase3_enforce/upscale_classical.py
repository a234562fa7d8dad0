"""Enlarging a picture of few flat colours so that its boundaries come out smooth, without stairs."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.parallel import each
from pipeline.values import Mask, Rgb

#: Blur of each colour's indicator, pixels of the small picture: rounds stairs, keeps corners wider than it.
SIGMA = 1.6
#: Pixels of one horizontal band of the answer: bands keep memory small at 8192 and give every core its work.
BAND = 1 << 20


def upscale_labels(labels: NDArray[np.uint8], factor: float, sigma: float = SIGMA) -> NDArray[np.uint8]:
    """(h, w) uint8 labels → (h · factor, w · factor): at every pixel the label whose blurred indicator is largest.

    The lower label wins a tie.
    """
    height, width = round(labels.shape[0] * factor), round(labels.shape[1] * factor)
    present = np.unique(labels)
    blurred = [cv2.GaussianBlur((labels == i).astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for i in present]
    out = np.empty((height, width), np.uint8)
    x = ((np.arange(width) + 0.5) / factor - 0.5).astype(np.float32)

    def fill(top: int) -> None:
        rows = np.arange(top, min(height, top + band))
        y = ((rows + 0.5) / factor - 0.5).astype(np.float32)
        first, last = max(0, int(y[0]) - 2), min(labels.shape[0], int(y[-1]) + 4)
        x_map, y_map = (np.ascontiguousarray(m) for m in np.broadcast_arrays(x[None], (y - first)[:, None]))
        best = np.full(x_map.shape, -1, np.float32)
        for value, field in zip(present, blurred, strict=True):
            part = field[first:last]
            if part.any():
                grown = cv2.remap(part, x_map, y_map, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
                better = grown > best
                np.copyto(best, grown, where=better)
                np.copyto(out[rows[0] : rows[-1] + 1], value, where=better)

    band = max(1, BAND // width)
    each(fill, range(0, height, band))
    return out


def upscale_flat(rgb: Rgb, factor: float) -> Rgb:
    """(h, w, 3) uint8 of at most 256 distinct colours → `factor` times larger, the same colours, boundaries smoothed."""
    codes = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colors, labels = np.unique(codes, return_inverse=True)
    if len(colors) > 256:
        raise ValueError(f"a flat picture has at most 256 colours, not {len(colors)}")
    table = np.stack([colors >> 16, (colors >> 8) & 255, colors & 255], -1).astype(np.uint8)
    grown = upscale_labels(labels.reshape(rgb.shape[:2]).astype(np.uint8), factor)
    return np.ascontiguousarray(np.take(table, grown, axis=0))


def upscale_mask(inside: Mask, factor: float) -> Mask:
    """(h, w) mask → `factor` times larger, its outline smoothed in the same way."""
    return upscale_labels(inside.astype(np.uint8), factor) > 0

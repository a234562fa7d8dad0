"""Painting over by LaMa (Suvorov and others, "Resolution-robust large mask inpainting with Fourier convolutions", 2022)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.steps import Inpaint
from pipeline.values import Mask, Rgb

if TYPE_CHECKING:
    from model_cache.cache import ModelCache

MODEL = "lama"
#: Least side of what the network sees, pixels: it needs surroundings to paint from.
LEAST_WINDOW = 256
#: Largest side, usually and when memory is short; a larger window is shown smaller.
LARGEST_WINDOW, LEAN_WINDOW = 1024, 512


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of the picture that the network sees at once, pixels, and the numbers of the holes that it fills there."""

    x0: int
    y0: int
    x1: int
    y1: int
    holes: tuple[int, ...]

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def longer(self) -> int:
        """Its longer side."""
        return max(self.x1 - self.x0, self.y1 - self.y0)


def make_inpaint(cache: "ModelCache") -> Inpaint:
    """The step that paints over the pixels of a mask, at their own resolution wherever a window allows it.

    Every other pixel is the picture's own. Raises `RuntimeError` when the network's answer is not one (shape, NaN),
    `ValueError` when the catalogue wants it in another precision than float32.
    """
    if cache.dtype(MODEL) != torch.float32:
        raise ValueError(f"{MODEL} needs float32: its sums overflow in float16, and torch has no Fourier transform of bfloat16")

    def inpaint(rgb: Rgb, mask: Mask) -> Rgb:
        if mask.shape != rgb.shape[:2] or mask.dtype != np.bool_:
            raise ValueError(f"a mask {mask.shape} {mask.dtype} for a picture {rgb.shape}: same sides and bool are needed")
        painted = rgb.copy()
        if not mask.any():
            return painted
        (network,) = cache.take(MODEL)
        largest = LEAN_WINDOW if cache.lean else LARGEST_WINDOW
        numbers, found = windows(mask, largest)
        for window in found:
            hole = np.isin(numbers[window.place], window.holes)
            # Holes that another window fills are holes here too: what has to go is never painted from.
            painted[window.place][hole] = _fill(cache, network, rgb[window.place], mask[window.place], largest)[hole]
        return painted

    return inpaint


def windows(mask: Mask, largest: int) -> tuple[NDArray[np.int32], list[Crop]]:
    """The number of each pixel's hole (H, W), 0 for none, and the windows that fill all of them.

    A window is a hole's bounds widened by their own size on all sides, at least `LEAST_WINDOW` pixels, within the
    picture; overlapping ones become one as long as that is not larger than `largest`.
    """
    count, numbers, bounds, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    merged: list[Crop] = []
    for number in range(1, count):
        x, y, width, height = (int(v) for v in bounds[number, :4])
        (x0, x1), (y0, y1) = _span(x, width, mask.shape[1]), _span(y, height, mask.shape[0])
        one = Crop(x0, y0, x1, y1, (number,))
        while (other := next((w for w in merged if _overlap(w, one) and _union(w, one).longer <= largest), None)) is not None:
            merged.remove(other)
            one = _union(other, one)
        merged.append(one)
    return np.asarray(numbers, np.int32), merged


def _span(start: int, length: int, whole: int) -> tuple[int, int]:
    """A range three times as long with the same middle, at least `LEAST_WINDOW`, moved and cut to lie in 0..whole."""
    wanted = min(whole, max(3 * length, LEAST_WINDOW))
    first = min(max(0, start + length // 2 - wanted // 2), whole - wanted)
    return first, first + wanted


def _overlap(a: Crop, b: Crop) -> bool:
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


def _union(a: Crop, b: Crop) -> Crop:
    return Crop(min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1), (*a.holes, *b.holes))


def _fill(cache: "ModelCache", network: Any, rgb: Rgb, mask: Mask, largest: int) -> Rgb:
    """The patch as the network paints it, (h, w, 3) uint8; only its masked pixels mean anything."""
    height, width = mask.shape
    scale = min(1.0, largest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    hole = mask.astype(np.float32)
    if scale < 1:
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        hole = (cv2.resize(hole, size, interpolation=cv2.INTER_AREA) > 0).astype(np.float32)
    picture = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))).to(cache.device)[None].float() / 255
    with torch.inference_mode():
        # The descriptor pads to the sides that the network needs and cuts the padding off again.
        output = network(picture, torch.from_numpy(hole).to(cache.device)[None, None])
    if output.shape != picture.shape:
        raise RuntimeError(f"{MODEL} returned {tuple(output.shape)} for a picture of {tuple(picture.shape)}")
    if not bool(torch.isfinite(output).all().item()):
        raise RuntimeError(f"{MODEL} returned numbers that are not finite")
    out = (output[0] * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return np.asarray(cv2.resize(out, (width, height), interpolation=cv2.INTER_CUBIC) if scale < 1 else out, np.uint8)

"""Enlarging the drawing with RealESRGAN x4plus anime 6B (Wang et al., ICCVW 2021), in tiles that leave no seams.

Each tile carries as much of its surroundings as the network's receptive field reaches, so that a tile's own part comes out as it would
from the whole picture; at the picture's border the tile ends where the picture ends, and the network pads there as it always does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.palette import Palette
from pipeline.phase3_enforce import ciede2000, ciede2000_torch
from pipeline.steps import Tell, Upscale
from pipeline.values import Rgb

if TYPE_CHECKING:
    from model_cache.cache import ModelCache

NAME = "realesrgan-anime"

#: Pixels of the input that are enlarged at once. The largest arrays are 64 channels at sixteen times as many pixels, and two of them live
#: side by side: 2^18 in float32 took 3.2 GB on the processor; 2^19 in 16 bit are arrays of the same size.
_ON_CARD, _ON_CPU, _LEAN = 1 << 19, 1 << 18, 1 << 17


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, in the input's pixels: it reads `start` .. `start + length` and answers for `first` .. `last`."""

    start: int
    length: int
    first: int
    last: int


def receptive_radius(model: torch.nn.Module) -> int:
    """How far, in input pixels, one pixel's influence reaches at most: the sum of all convolutions' half widths.

    Exact for a chain of convolutions at the input's resolution; those after an enlargement reach less far, never further.
    """
    sizes = (m.dilation[0] * (m.kernel_size[0] // 2) for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    return int(sum(sizes))


def spans(side: int, count: int, radius: int) -> list[Span]:
    """`count` tiles of one length along `side` pixels, each reading at least `radius` pixels beyond what it answers for."""
    length = min(side, -(-(side + 2 * radius * (count - 1)) // count))
    starts = [round(i * (side - length) / max(1, count - 1)) for i in range(count)]
    borders = [0, *((a + b + length) // 2 for a, b in pairwise(starts)), side]
    return [Span(s, length, a, b) for s, a, b in zip(starts, borders, borders[1:], strict=False)]


def grid(height: int, width: int, radius: int, pixels: int) -> list[tuple[Span, Span]]:
    """(rows, columns) of every tile: of all grids whose tiles have at most `pixels` the one that computes the least.

    Where no grid is that fine, for `radius` alone exceeds it, the finest that still has a use: tiles of four radii a side.
    """
    most = [-(-side // max(16, 2 * radius)) for side in (height, width)]
    costs = []
    for rows, columns in product(range(1, most[0] + 1), range(1, most[1] + 1)):
        area = spans(height, rows, radius)[0].length * spans(width, columns, radius)[0].length
        costs.append((area > pixels, area if area > pixels else area * rows * columns, rows, columns))
    _, _, rows, columns = min(costs)
    return list(product(spans(height, rows, radius), spans(width, columns, radius)))


def _batches(tiles: list[tuple[Span, Span]], pixels: int) -> Iterator[list[tuple[Span, Span]]]:
    """Tiles are all of one size: as many together as have `pixels`."""
    size = max(1, pixels // (tiles[0][0].length * tiles[0][1].length))
    for i in range(0, len(tiles), size):
        yield tiles[i : i + size]


def _enlarged(descriptor: Any, batch: torch.Tensor) -> torch.Tensor:
    """(B, 3, h, w) 0..1 → the same × `scale`, unclamped. Raises RuntimeError where the answer has another shape."""
    scale = descriptor.scale
    out: torch.Tensor = descriptor.model(batch)
    expected = (len(batch), 3, batch.shape[2] * scale, batch.shape[3] * scale)
    if tuple(out.shape) != expected:
        raise RuntimeError(f"{NAME} answered a picture of shape {tuple(out.shape)}; {expected} was expected")
    return out


def enlarge(rgb: Rgb, descriptor: Any, device: torch.device, dtype: torch.dtype, pixels: int, tell: Tell) -> torch.Tensor:
    """(h, w, 3) uint8 sRGB → (h · scale, w · scale, 3) uint8 on the device, at most `pixels` of the input at once.

    `tell` hears the fraction done before each batch of tiles and at the end.
    Raises RuntimeError naming the model where it answers a wrong shape, NaN or infinity.
    """
    height, width = rgb.shape[:2]
    scale = descriptor.scale
    picture = torch.from_numpy(np.ascontiguousarray(rgb)).to(device).permute(2, 0, 1)
    canvas = torch.empty((height * scale, width * scale, 3), dtype=torch.uint8, device=device)
    finite = torch.ones((), dtype=torch.bool, device=device)
    tiles = grid(height, width, receptive_radius(descriptor.model), pixels)
    done = 0
    for batch in _batches(tiles, pixels):
        tell(done / len(tiles))
        windows = [picture[:, y.start : y.start + y.length, x.start : x.start + x.length] for y, x in batch]
        out = _enlarged(descriptor, torch.stack(windows).to(dtype) / 255)
        for (y, x), big in zip(batch, out, strict=True):
            own = big[:, (y.first - y.start) * scale : (y.last - y.start) * scale, (x.first - x.start) * scale : (x.last - x.start) * scale]
            finite &= own.isfinite().all()
            colours = own.float().clamp(0, 1).mul_(255).round_().to(torch.uint8)
            canvas[y.first * scale : y.last * scale, x.first * scale : x.last * scale] = colours.permute(1, 2, 0)
        done += len(batch)
    if not finite.item():
        raise RuntimeError(f"{NAME} answered with values that are not finite")
    tell(1.0)
    return canvas


def fitted(rgb: Rgb, height: int, width: int) -> Rgb:
    """(h, w, 3) to `height` × `width`: the mean over each pixel's area where it shrinks, bicubic where it grows."""
    if rgb.shape[:2] == (height, width):
        return rgb
    shrinks = height <= rgb.shape[0] and width <= rgb.shape[1]
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)


def make_upscale(cache: "ModelCache") -> Upscale:
    """The step that enlarges and labels with `realesrgan-anime`; a factor that is not the network's own comes from resizing its answer."""

    def upscale(rgb: Rgb, factor: float, palette: Palette, tell: Tell) -> NDArray[np.uint8]:
        (descriptor,) = cache.take(NAME)
        pixels = _LEAN if cache.lean else _ON_CPU if cache.device.type == "cpu" else _ON_CARD
        height, width = round(rgb.shape[0] * factor), round(rgb.shape[1] * factor)
        with torch.inference_mode():
            big = enlarge(rgb, descriptor, cache.device, cache.dtype(NAME), pixels, tell)
            if big.is_cuda and tuple(big.shape[:2]) == (height, width):  # one byte a pixel leaves the card, not three
                return np.asarray(ciede2000_torch.label(big, palette).cpu().numpy())
        return ciede2000.label(fitted(big.cpu().numpy(), height, width), palette)

    return upscale

"""The pixels of found things by Segment Anything: SAM (Kirillov and others, 2023) or SAM 2.1 (Ravi and others, 2024)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.raster import widened
from pipeline.steps import MaskOf
from pipeline.values import Found, Mask, Rgb

if TYPE_CHECKING:
    from model_cache.cache import ModelCache

#: Margin around all boxes that the network sees, share of their longer side; and the least side of what it sees, share of the picture's.
MARGIN, LEAST_WINDOW = 0.15, 0.25
#: How far a mask may reach beyond its box, share of the box's sides, and at least this many pixels.
WIDENED, LEAST_WIDENED = 0.1, 2.0
#: How far a mask is widened, in points of the network's answer, 256 along what it sees, and at least so many pixels: half a point may be
#: cut off a badge, and its chrome rim stays then.
SOFT, LEAST_SOFT = 0.5, 3
#: Boxes in one batch of the mask decoder, usually and when memory is short. 16 take about half a gigabyte.
BATCH, LEAN_BATCH = 16, 4


def make_mask(cache: "ModelCache", which: Literal["sam", "sam2"] = "sam", soft: float = SOFT) -> MaskOf:
    """The step that gives each found thing its pixels, (S, S) bool, widened by `soft` points of the network's answer, in the order of
    `found`.

    A mask in which the network sees nothing is empty. Raises `RuntimeError` when the network's answer is not one
    (shape, NaN).
    """

    def mask(rgb: Rgb, found: Sequence[Found]) -> list[Mask]:
        if not found:
            return []
        side = rgb.shape[0]
        boxes = np.array([one.box for one in found], np.float32).clip(0, side)
        x, y, size = _window(boxes, side)
        (loaded,) = cache.take(which)
        inner = boxes - np.array([x, y, x, y], np.float32)
        with torch.inference_mode():
            parts = _segment(cache, loaded, which, np.ascontiguousarray(rgb[y : y + size, x : x + size]), inner, soft)
        masks = []
        for part in parts:
            whole = np.zeros((side, side), bool)
            whole[y : y + size, x : x + size] = part
            masks.append(whole)
        return masks

    return mask


def _window(boxes: NDArray[np.float32], side: int) -> tuple[int, int, int]:
    """Left, top and side of the square of whole pixels in the picture that holds all boxes with a margin around them."""
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    longer = float((high - low).max())
    size = min(side, int(np.ceil(max(longer * (1 + 2 * MARGIN) + 2, LEAST_WINDOW * side))))
    x, y = (min(max(0, round(float(middle) - size / 2)), side - size) for middle in (low + high) / 2)
    return x, y, size


def _segment(cache: "ModelCache", loaded: Any, which: str, crop: Rgb, boxes: NDArray[np.float32], soft: float) -> list[Mask]:
    """Masks (s, s) for boxes (N, 4) in pixels of the square `crop` (s, s, 3), which is embedded once."""
    size = crop.shape[0]
    shown = loaded.processor.image_processor(images=crop, input_data_format="channels_last", device=cache.device, return_tensors="pt")
    pixels = shown["pixel_values"].to(cache.device, cache.dtype(which))
    if pixels.ndim != 4 or pixels.shape[2] != pixels.shape[3]:
        raise RuntimeError(f"{which}: its processor makes {tuple(pixels.shape)} of a square picture")
    embedded = loaded.model.get_image_embeddings(pixels)
    masks: list[Mask] = []
    places, step = torch.from_numpy(boxes).to(cache.device), LEAN_BATCH if cache.lean else BATCH
    for batch in (places[start : start + step] for start in range(0, len(places), step)):
        output = loaded.model(image_embeddings=embedded, input_boxes=batch[None] * (pixels.shape[3] / size), multimask_output=True)
        logits = _best(output, which, len(batch))
        large = functional.interpolate(logits[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
        exact = ((large > 0) & _near(batch, size)).cpu().numpy()
        masks += [widened(one, max(LEAST_SOFT, round(soft * size / logits.shape[-1]))) if soft else one for one in exact]
    return masks


def _best(output: Any, which: str, count: int) -> torch.Tensor:
    """Of each box's candidates, the logits (count, h, w) of the one with the highest predicted overlap."""
    logits, scores = output.pred_masks, output.iou_scores
    if logits.ndim != 5 or logits.shape[:2] != (1, count) or scores.shape != logits.shape[:3] or not logits.numel():
        raise RuntimeError(f"{which} returned masks {tuple(logits.shape)} and scores {tuple(scores.shape)} for {count} boxes")
    best: torch.Tensor = logits[0, torch.arange(count, device=logits.device), scores[0].argmax(1)].float()
    if not bool((torch.isfinite(best).all() & torch.isfinite(scores).all()).item()):
        raise RuntimeError(f"{which} returned numbers that are not finite")
    return best


def _near(boxes: torch.Tensor, size: int) -> torch.Tensor:
    """(N, size, size) where a pixel's centre lies in its box, widened a little."""
    low, high = boxes[:, :2], boxes[:, 2:]
    more = (WIDENED * (high - low)).clamp(min=LEAST_WIDENED)
    centres = torch.arange(size, dtype=torch.float32, device=boxes.device) + 0.5
    between = (centres >= (low - more)[..., None]) & (centres <= (high + more)[..., None])
    return between[:, 1, :, None] & between[:, 0, None, :]

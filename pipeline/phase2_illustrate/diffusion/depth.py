"""The depth control picture, by Depth-Anything-V2 (Yang et al., 2024) or ZoeDepth (Bhat et al., 2023)."""

from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from model_cache.cache import ModelCache
from pipeline.steps import Depth
from pipeline.values import Gray, Rgb

#: Shares of the picture, in per cent, that may lie beyond black and beyond white: a few wild pixels must not flatten all others.
LOW, HIGH = 1.0, 99.0
#: Range between them, relative to their size, below which there is no depth: the network is broken, its rounding errors are all
#: there is. A wall seen askew has about 0.1.
FLAT = 1e-3


def make_depth(cache: ModelCache, which: Literal["depth-anything", "zoedepth"]) -> Depth:
    """The step `depth` with the network that `cache` holds under the name `which`.

    The step takes `rgb` (S, S, 3) uint8 sRGB and gives (S, S) uint8, near is bright, over the full range 0..255.
    Raises RuntimeError when the network's answer has a wrong shape, holds a NaN or is flat.
    """

    def depth(rgb: Rgb) -> Gray:
        return to_gray(disparity(cache, which, rgb), which)

    return depth


@torch.inference_mode()
def disparity(cache: ModelCache, which: str, rgb: Rgb) -> NDArray[np.float32]:
    """(S, S) float32 inverse depth of `rgb` (S, S, 3), larger is nearer, of unknown scale. Raises RuntimeError."""
    (loaded,) = cache.take(which)
    model, processor = loaded.model, loaded.processor
    pixels = processor(images=rgb, input_data_format="channels_last", return_tensors="pt").pixel_values
    answer = model(pixels.to(cache.device, cache.dtype(which))).predicted_depth.float()
    if answer.ndim != 3 or len(answer) != 1:
        raise RuntimeError(f"{which} answered with the shape {tuple(answer.shape)}, not (1, height, width)")
    if not bool(torch.isfinite(answer).all()):
        raise RuntimeError(f"{which} answered with values that are no finite numbers")
    if _metric(which, model):
        if bool((answer <= 0).any()):
            raise RuntimeError(f"{which} answered with distances of nothing or less")
        # Before any resizing, whose overshoot could cross zero.
        answer = 1 / answer
    size = rgb.shape[:2]
    whole = {"source_sizes": [size]} if which == "zoedepth" else {"target_sizes": [size]}  # ZoeDepth's cuts its padding off, too
    (done,) = processor.post_process_depth_estimation(SimpleNamespace(predicted_depth=answer), **whole)
    square = np.asarray(done["predicted_depth"].cpu().numpy(), np.float32)
    if square.shape != size:
        raise RuntimeError(f"{which} was resized to {square.shape}, not {size}")
    return square


def _metric(which: str, model: Any) -> bool:
    """Whether the network tells distances in metres, as ZoeDepth does and Depth-Anything's metric variants."""
    return which == "zoedepth" or bool(model.config.depth_estimation_type == "metric")


def to_gray(disparity: NDArray[np.float32], name: str) -> Gray:
    """Inverse depth (S, S) as 0..255, its percentiles `LOW` and `HIGH` at black and white. Raises RuntimeError when it is flat."""
    low, high = (float(v) for v in np.percentile(disparity, [LOW, HIGH]))
    if high - low <= FLAT * max(abs(low), abs(high)):
        raise RuntimeError(f"{name} answered with a flat depth map: {low:g} to {high:g}")
    return np.asarray(np.rint(255 * np.clip((disparity - low) / (high - low), 0, 1)), np.uint8)

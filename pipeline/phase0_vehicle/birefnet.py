"""What stands out in a picture, by BiRefNet (Zheng and others, 2024)."""

import numpy as np
import torch
from torch.nn import functional

from model_cache.cache import ModelCache
from pipeline.steps import Look
from pipeline.values import Plane, Rgb

#: What the network was trained on: pictures of this side, whatever their aspect was, normalised with ImageNet's mean and spread.
SIDE = 1024
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_look(cache: ModelCache, side: int = SIDE, model: str = "birefnet") -> Look:
    """The step `look`, with the network that `cache` holds as `model` working at `side` × `side`, a multiple of 32.

    Raises RuntimeError when the network answers with a wrong shape or a NaN.
    """
    if side <= 0 or side % 32:
        raise ValueError(f"BiRefNet works at multiples of 32 pixels, not at {side}")

    @torch.inference_mode()
    def look(rgb: Rgb) -> Plane:
        (net,) = cache.take(model)
        picture = torch.from_numpy(np.ascontiguousarray(rgb)).to(cache.device).permute(2, 0, 1)[None].float() / 255
        small = functional.interpolate(picture, (side, side), mode="bilinear", antialias=True)
        # dtypes are explicit: while the warm-up builds a 16-bit network, the process's default is 16 bits too
        mean, spread = (torch.tensor(values, dtype=torch.float32, device=cache.device)[None, :, None, None] for values in (MEAN, SPREAD))
        logits = net(((small - mean) / spread).to(cache.dtype(model)))
        if tuple(logits.shape) != (1, 1, side, side):
            raise RuntimeError(f"{model} answered with the shape {tuple(logits.shape)}, not {(1, 1, side, side)}")
        if not bool(torch.isfinite(logits).all()):
            raise RuntimeError(f"{model} answered with values that are no finite numbers")
        # In float32: half a step of float16 near 1 is a visible step of alpha.
        return np.asarray(logits.float().sigmoid()[0, 0].cpu().numpy(), np.float32)

    return look

"""A cache that hands out what a test gives it, in place of networks from a volume."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch


class StandInCache:
    """`ModelCache` without a volume: `models` by name, an underscore for a hyphen."""

    def __init__(self, dtype: torch.dtype = torch.float32, **models: Any) -> None:
        self.device, self.lean, self._dtype = torch.device("cpu"), False, dtype
        self._models = {name.replace("_", "-"): model for name, model in models.items()}

    def dtype(self, name: str) -> torch.dtype:
        return self._dtype

    def take(self, *wanted: str) -> tuple[Any, ...]:
        return tuple(self._models[name] for name in wanted)


def image_processor(side: int | None = None) -> Any:
    """Makes `pixel_values` 0..1 of a picture, (1, 3, h, w) or at `side`², and keeps what it was shown in `seen`."""

    def process(images: np.ndarray, **_: Any) -> dict[str, torch.Tensor]:
        process.seen.append(images)
        values = torch.from_numpy(images).permute(2, 0, 1)[None].float() / 255
        if side is not None:
            values = torch.nn.functional.interpolate(values, size=(side, side), mode="bilinear")
        return {"pixel_values": values, "pixel_mask": torch.ones(1, *values.shape[2:], dtype=torch.long)}

    process.seen = []
    return process


def loaded(model: Any, processor: Any, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(model=model, processor=SimpleNamespace(image_processor=processor, **more))

"""LoRA factors fused into the UNet's own weights, so that drawing with a style costs what drawing without costs."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin
from safetensors import SafetensorError, safe_open

from model_cache.errors import BrokenModel
from model_cache.lora import read_lora
from model_cache.styles import sidecar

_ADAPTER = "fused"


@dataclass(frozen=True, slots=True)
class Fusion:
    """A LoRA file and the strength at which it is fused. `stamp` is its size and time and those of what lies beside it: a file that is
    exchanged is another fusion."""

    path: Path
    scale: float
    stamp: tuple[int, ...]

    @property
    def key(self) -> Hashable:
        """What tells this fusion from another."""
        return (self.path.name, *self.stamp, self.scale)


def fusion(path: Path, scale: float) -> Fusion:
    """The fusion of the file as it is now. Raises `BrokenModel` where it cannot be read."""
    beside = sidecar(path)
    try:
        stats = [it.stat() for it in ((path, beside) if beside.is_file() else (path,))]
    except OSError as error:
        raise BrokenModel(path.name, f"it cannot be read ({error.strerror})") from error
    return Fusion(path, scale, tuple(number for stat in stats for number in (stat.st_size, stat.st_mtime_ns)))


@lru_cache(maxsize=8)
def changes_text(wanted: Fusion) -> bool:
    """Whether the file also has factors for the text encoders, which the prompt's kept embeddings know nothing of.

    From its header alone. Raises `BrokenModel`.
    """
    try:
        with safe_open(wanted.path, framework="pt") as file:
            return any(name.startswith(("lora_te", "text_encoder")) for name in file.keys())  # noqa: SIM118 - it is no dictionary
    except (SafetensorError, OSError) as error:
        raise BrokenModel(wanted.path.name, f"it is not a whole safetensors file ({error})") from error


def fuse(unet: Any, wanted: Fusion) -> None:
    """Add scale · (alpha / rank) · up @ down to the weights that the file names, in place; no adapter layer is left behind.

    Files of diffusers, PEFT and kohya are read (Hu et al., LoRA, 2021). Raises `BrokenModel` where the file is damaged, is not a plain
    LoRA, or has a layer that the UNet has not: a style that is fused in part is another style.
    """
    name = wanted.path.name
    try:
        lora = read_lora(wanted.path, unet.config)
    except ValueError as error:
        raise BrokenModel(name, str(error)) from error
    state = {f"unet.{layer}.lora_{which}.weight": tensor for layer, pair in lora.factors.items() for which, tensor in pair.items()}
    try:
        StableDiffusionXLLoraLoaderMixin.load_lora_into_unet(state, dict(lora.alphas) or None, unet, adapter_name=_ADAPTER)
    except torch.OutOfMemoryError:
        raise  # the card's fault, not the file's
    # What the libraries raise for a file that does not fit: a layer of another shape, no layer at all.
    except (ValueError, KeyError, IndexError, RuntimeError) as error:
        raise BrokenModel(name, f"it does not fit the UNet ({' '.join(str(error).split())[:200]})") from error
    matched = sum(1 for module in unet.modules() if _ADAPTER in getattr(module, "lora_A", {}))
    if matched != len(lora.factors):
        raise BrokenModel(name, f"{len(lora.factors) - matched} of its {len(lora.factors)} layers are none of the UNet's")
    unet.set_adapters([_ADAPTER], [wanted.scale])
    unet.fuse_lora(adapter_names=[_ADAPTER])
    unet.unload_lora()

"""LoRA factors fused into the UNet's own weights, so that drawing with a style costs what drawing without costs."""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model_cache.errors import BrokenModel

_ADAPTER = "fused"


@dataclass(frozen=True, slots=True)
class Fusion:
    """A LoRA file and the strength at which it is fused. `stamp` is its size and time: a file that is exchanged is another fusion."""

    path: Path
    scale: float
    stamp: tuple[int, int]

    @property
    def key(self) -> Hashable:
        """What tells this fusion from another."""
        return (self.path.name, *self.stamp, self.scale)


def fusion(path: Path, scale: float) -> Fusion:
    """The fusion of the file as it is now. Raises `BrokenModel` where it cannot be read."""
    try:
        stat = path.stat()
    except OSError as error:
        raise BrokenModel(path.name, f"it cannot be read ({error.strerror})") from error
    return Fusion(path, scale, (stat.st_size, stat.st_mtime_ns))


def names(path: Path) -> frozenset[str]:
    """The tensors' names in a LoRA file, from its header. Raises `BrokenModel`."""
    try:
        with safe_open(path, framework="pt") as file:
            return frozenset(file.keys())
    except (SafetensorError, OSError) as error:
        raise BrokenModel(path.name, f"it is not a whole safetensors file ({error})") from error


@lru_cache(maxsize=8)
def changes_text(wanted: Fusion) -> bool:
    """Whether the file also has factors for the text encoders, which the prompt's kept embeddings know nothing of."""
    return any(name.startswith(("lora_te", "text_encoder")) for name in names(wanted.path))


def fuse(unet: Any, wanted: Fusion) -> None:
    """Add scale · (alpha / rank) · up @ down to the weights that the file names, in place; no adapter layer is left behind.

    Files of diffusers, peft and kohya are read (Hu et al., LoRA, 2021). Raises `BrokenModel` where the file is damaged, is not a plain
    LoRA, or has a layer that the UNet has not: a style that is fused in part is another style.
    """
    name = wanted.path.name
    if any("dora_scale" in tensor or ".lokr_" in tensor or ".hada_" in tensor for tensor in names(wanted.path)):
        raise BrokenModel(name, "it is no plain LoRA (DoRA, LoKr and LoHa are not supported)")
    try:
        factors, alphas, metadata = StableDiffusionXLLoraLoaderMixin.lora_state_dict(
            str(wanted.path.parent),
            weight_name=name,
            unet_config=unet.config,
            local_files_only=True,
            use_safetensors=True,
            return_lora_metadata=True,
        )
        layers = Counter(layer for key in factors if (layer := _layer(key)))
        _check(name, factors, layers)
        StableDiffusionXLLoraLoaderMixin.load_lora_into_unet(factors, alphas, unet, adapter_name=_ADAPTER, metadata=metadata)
    except torch.OutOfMemoryError:
        raise  # the card's fault, not the file's
    # What the libraries raise for a file that does not fit: a layer of another shape, no layer at all, half a pair.
    except (SafetensorError, ValueError, KeyError, IndexError, RuntimeError, OSError) as error:
        raise BrokenModel(name, f"it does not fit the UNet ({' '.join(str(error).split())[:200]})") from error
    matched = sum(1 for module in unet.modules() if _ADAPTER in getattr(module, "lora_A", {}))
    if matched != len(layers):
        raise BrokenModel(name, f"{len(layers) - matched} of its {len(layers)} layers are none of the UNet's")
    unet.set_adapters([_ADAPTER], [wanted.scale])
    unet.fuse_lora(adapter_names=[_ADAPTER])
    unet.unload_lora()


def _check(name: str, factors: Mapping[str, Tensor], layers: Counter[str]) -> None:
    if not layers:
        raise BrokenModel(name, "it has no factors for the UNet")
    # The libraries would fill the missing half with random numbers.
    if odd := [layer for layer, count in layers.items() if count != 2]:
        raise BrokenModel(name, f"{len(odd)} of its layers have not both factors")
    if not all(bool(torch.isfinite(factor).all()) for factor in factors.values()):
        raise BrokenModel(name, "it has factors that are not finite")


def _layer(key: str) -> str | None:
    """The UNet's layer that a tensor of a LoRA file belongs to; None for a text encoder's."""
    head, found, rest = key.partition("lora")
    return head + rest.split(".")[0].strip("_AB") if found and head.startswith("unet.") else None

"""The networks of a training: frozen ones as serving runs them, and the UNet with a LoRA that learns."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils import logging
from peft import LoraConfig
from torch import Tensor, nn

from builder.train.options import Options
from model_cache.loaders import building, load
from model_cache.volume import Volume
from pipeline.phase2_illustrate.diffusion.denoise import UNET, VAE
from pipeline.phase2_illustrate.diffusion.nets import NetOptions, controlnet
from pipeline.settings import Settings

#: What learns: the attention's projections.
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
_PLAIN = NetOptions(fuse_qkv=False, channels_last=False, compiled=False)


@dataclass(slots=True)
class Nets:
    """All on `device` in `dtype`, the LoRA in float32. `lean`: the frozen control nets are on the card only while they are asked."""

    unet: Any
    controls: Mapping[str, Any]
    vae: Any
    device: torch.device
    dtype: torch.dtype
    lean: bool = False

    def ask(self, name: str) -> Any:
        """A net by its name, on the card."""
        if self.lean:
            for other, model in self.controls.items():
                model.to(self.device if other == name else "cpu")
        return self.unet if name == UNET else self.controls[name]

    @property
    def learning(self) -> dict[str, nn.Parameter]:
        """The LoRA's factors by name, float32."""
        return {name: parameter for name, parameter in self.unet.named_parameters() if parameter.requires_grad}

    def take(self, factors: Mapping[str, Tensor]) -> None:
        """Give the LoRA these factors."""
        with torch.no_grad():
            for name, parameter in self.learning.items():
                parameter.copy_(factors[name])

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """The UNet as it was, without its LoRA."""
        self.unet.disable_adapters()
        try:
            yield
        finally:
            self.unet.enable_adapters()


def names_of(settings: Settings) -> tuple[str, ...]:
    """The networks that a training holds on the card: the UNet, and what its control images are read by."""
    nets = ("controlnet-union",) if settings.phase2.controlnet.nets == "union" else ("controlnet-depth", "controlnet-canny")
    return (UNET, *nets, VAE)


def read_nets(volume: Volume, settings: Settings, device: torch.device, options: Options) -> Nets:
    """Read them from the volume: bfloat16 on a card, whose range does not overflow, float32 on the processor.

    Raises `BrokenModel`, `MissingModels`, `OutOfMemoryError`.
    """
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    loaded = {name: load(volume, name, dtype).to(device) for name in names_of(settings)}
    return assemble(loaded, device, dtype, options)


def assemble(loaded: dict[str, Any], device: torch.device, dtype: torch.dtype, options: Options) -> Nets:
    """The nets of a training from networks that are there already. The UNet gets its LoRA, which changes nothing yet."""
    unet, vae = loaded.pop(UNET), loaded.pop(VAE)
    controls = {name: controlnet(name, _PLAIN).prepare(model.requires_grad_(False)) for name, model in loaded.items()}
    logging.set_verbosity_error()
    with building:
        torch.manual_seed(options.seed)
        unet.requires_grad_(False)
        lora: Any = LoraConfig  # it says that alpha is whole, and takes any number
        unet.add_adapter(lora(r=options.rank, lora_alpha=options.alpha, init_lora_weights="gaussian", target_modules=TARGETS))
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    unet.enable_gradient_checkpointing()
    return Nets(unet.train(), controls, vae.requires_grad_(False), device, dtype)

"""The UNet and the ControlNets made ready to be fast: done once after loading, kept by the model cache under a key."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, FusedAttnProcessor2_0
from torch import nn

from model_cache.cache import Prepared
from model_cache.errors import BrokenModel
from pipeline.phase2_illustrate.diffusion.denoise import UNET, VAE
from pipeline.phase2_illustrate.diffusion.style import Fusion, fuse


@dataclass(frozen=True, slots=True)
class NetOptions:
    """What is done to the nets. `compiled` asks for regional compilation (needs the kept compiled code: `load_compiled`)."""

    fuse_qkv: bool
    channels_last: bool
    compiled: bool


def unet(options: NetOptions, fusions: tuple[Fusion, ...]) -> Prepared:
    """The UNet with these LoRAs fused, in the order given; other LoRAs or scales are another UNet, loaded anew."""

    def prepare(model: Any) -> Any:
        for wanted in fusions:
            fuse(model, wanted)
        return _fast(model, options)

    return Prepared(UNET, (options, *(wanted.key for wanted in fusions)), prepare)


def controlnet(name: str, options: NetOptions) -> Prepared:
    """A ControlNet that takes its control image already embedded: `hint` embeds it once for all steps."""

    def prepare(model: Any) -> Any:
        if model.config.controlnet_conditioning_channel_order != "rgb":
            raise BrokenModel(name, "it reads its control image in another order than red, green, blue")
        # The embedding sees only the control image. Taken out of the way, it need not be computed again in every step.
        model.hint_embedding, model.controlnet_cond_embedding = model.controlnet_cond_embedding, nn.Identity()
        return _fast(model, options)

    return Prepared(name, options, prepare)


def vae(options: NetOptions) -> Prepared:
    """The VAE: nearly all of its arithmetic is convolutions, which tensor cores want in channels_last."""

    def prepare(model: Any) -> Any:
        return model.to(memory_format=torch.channels_last) if options.channels_last else model

    return Prepared(VAE, options.channels_last, prepare)


def _fast(model: Any, options: NetOptions) -> Any:
    if options.fuse_qkv:
        fuse_projections(model)
    if options.channels_last:
        model.to(memory_format=torch.channels_last)
    if options.compiled:
        model._repeated_blocks = ["BasicTransformerBlock"]  # diffusers knows it of the UNet, not of the ControlNets
        # For each shape its own code: there are two a net, and kept code for sizes that vary would be slower.
        model.compile_repeated_blocks(fullgraph=True, dynamic=False)
    return model


def fuse_projections(model: Any) -> None:
    """One matrix product for query, key and value (self-attention), or key and value (cross-attention); the single ones are deleted.

    diffusers' own `fuse_qkv_projections` keeps the single weights, and in the ControlNets leaves the processors that use them.
    """
    processor: Any = FusedAttnProcessor2_0
    attentions: list[Any] = [module for module in model.modules() if isinstance(module, Attention)]
    for attention in attentions:
        attention.fuse_projections()
        for single in ("to_k", "to_v") if attention.is_cross_attention else ("to_q", "to_k", "to_v"):
            delattr(attention, single)
        attention.set_processor(processor())


def compiled_code(folder: Path, device: torch.device) -> Path:
    """The file of compiled code that fits this torch and this card; code made for others would be compiled again in the first job."""
    card = torch.cuda.get_device_name(device).replace(" ", "_").replace("/", "_") if device.type == "cuda" else device.type
    return folder / f"torch-{torch.__version__}-{card}.bin"


def save_compiled(folder: Path, device: torch.device) -> Path:
    """Keep what this process has compiled. To be called after a drawing with `compiled` nets, at the side and guidance that are served."""
    kept = torch.compiler.save_cache_artifacts()
    if kept is None:
        raise RuntimeError("nothing has been compiled that could be kept")
    path = compiled_code(folder, device)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(kept[0])
    return part.replace(path)


def load_compiled(folder: Path, device: torch.device) -> bool:
    """Give the compiler what was kept for this torch and card; False where there is nothing whole of the kind (torch logs damage)."""
    path = compiled_code(folder, device)
    return path.is_file() and torch.compiler.load_cache_artifacts(path.read_bytes()) is not None

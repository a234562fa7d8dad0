"""What the drawing tests share: a brief and its control images, a cache over the tiny volume, and stock diffusers beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model_cache import prompts
from model_cache.cache import ModelCache, open_cache
from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from pipeline.steps import Brief
from pipeline.values import Gray, Rgb
from tests.support import tiny_volume as volumes

SIDE = 128
_noise = np.random.default_rng(0)
RGB: Rgb = _noise.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
DEPTH: Gray = _noise.integers(0, 256, (SIDE, SIDE), np.uint8)
EDGES: Gray = np.where(_noise.random((SIDE, SIDE)) < 0.2, 255, 0).astype(np.uint8)
BRIEF = Brief(
    depth=DEPTH,
    edges=EDGES,
    seed=42,
    steps=4,
    guidance=7.5,
    depth_weight=0.6,
    canny_weight=0.4,
    canny_end=0.75,
    prompt=volumes.PROMPT,
    negative_prompt=volumes.NEGATIVE,
    lora_scale=0.8,
    few_step=False,
    strength=1.0,
)


def cache_of(volume: Path, budget: int | None = None) -> ModelCache:
    return ModelCache(Volume(volume, load_catalogue()), torch.device("cpu"), budget)


def kept_prompts(volume: Path) -> Path:
    return volume / "prompts" / "default.safetensors"


def lcm(volume: Path) -> Path:
    return volume / "models" / "lcm-lora" / "pytorch_lora_weights.safetensors"


def counted(model: Any) -> list[int]:
    """The batch sizes with which a net is called from now on."""
    batches: list[int] = []
    model.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    return batches


def stock(
    volume: Path,
    brief: Brief,
    nets: Literal["separate", "union"],
    sampler: str = "UniPCMultistepScheduler",
    lora: Path | None = None,
    output: Literal["np", "latent"] = "np",
) -> NDArray[Any]:
    """What the stock diffusers pipeline draws of the same brief with the same files: (S, S, 3) uint8, or the latents as they are."""
    import diffusers

    cache = open_cache(Volume(volume, load_catalogue()), torch.device("cpu"))
    unet, vae, config = cache.take("sdxl-unet", "sdxl-vae", "sdxl-scheduler")
    scheduler = getattr(diffusers, sampler).from_config(config)
    parts: dict[str, Any] = {"vae": vae, "unet": unet, "scheduler": scheduler}
    parts |= dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    embeddings = prompts.read(kept_prompts(volume), brief.prompt, brief.negative_prompt)
    assert embeddings is not None
    told: dict[str, Any] = {
        **embeddings,
        "width": SIDE,
        "height": SIDE,
        "num_inference_steps": brief.steps,
        "guidance_scale": brief.guidance,
        "controlnet_conditioning_scale": [brief.depth_weight, brief.canny_weight],
        "control_guidance_start": [0.0, 0.0],
        "control_guidance_end": [1.0, brief.canny_end],
        "generator": torch.Generator().manual_seed(brief.seed),
        "output_type": output,
    }
    modes = [kind for kind, picture in ((1, brief.depth), (3, brief.edges)) if picture is not None]
    if len(modes) == 1:
        told |= {"controlnet_conditioning_scale": [brief.depth_weight], "control_guidance_start": [0.0], "control_guidance_end": [1.0]}
    images = [Image.fromarray(np.repeat(picture[..., None], 3, 2)) for picture in (brief.depth, brief.edges) if picture is not None]
    if nets == "union":
        (net,) = cache.take("controlnet-union")
        # Once for each image, of which each may be released by itself: its weight is then that of what the net answers to it.
        pipe = diffusers.StableDiffusionXLControlNetUnionPipeline(controlnet=[net] * len(modes) if len(modes) > 1 else net, **parts)
        told |= {"control_image": [[image] for image in images] if len(modes) > 1 else images, "control_mode": modes}
    else:
        both = list(cache.take("controlnet-depth", "controlnet-canny"))
        pipe = diffusers.StableDiffusionXLControlNetPipeline(controlnet=both, **parts)
        told |= {"image": images}
    pipe.set_progress_bar_config(disable=True)
    if lora is not None:
        pipe.load_lora_weights(str(lora.parent), weight_name=lora.name)
    drawn = pipe(**told).images
    return np.asarray(drawn) if output == "latent" else (drawn[0] * 255).round().astype(np.uint8)


def far(a: Rgb, b: Rgb) -> float:
    """The largest difference of two pictures, 0..255."""
    return float(np.abs(a.astype(int) - b.astype(int)).max())


def brief(**changes: Any) -> Brief:
    return replace(BRIEF, **changes)

"""The drawing by SDXL under ControlNets: which nets a brief needs, what they are given, and the picture that comes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from model_cache import prompts as kept_prompts
from model_cache.cache import ModelCache, Prepared
from model_cache.errors import MissingModels
from model_cache.needed import CONTROLS
from model_cache.styles import in_force
from pipeline.phase2_illustrate.diffusion.denoise import UNET, Control, Net, control_picture, decode, denoise, encode, prepare
from pipeline.phase2_illustrate.diffusion.nets import NetOptions, controlnet, load_compiled, unet, vae
from pipeline.phase2_illustrate.diffusion.noise_schedule import Schedule, schedule
from pipeline.phase2_illustrate.diffusion.style import Fusion, changes_text, fusion
from pipeline.steps import Brief, Redraw, Tell
from pipeline.values import Gray, Rgb

#: Sides must be multiples of this: the VAE halves three times, the UNet twice more, and the nets were trained on such sides.
MULTIPLE = 64
#: Prompts whose embeddings (0.6 MB each at 16 bit), and schedules, that are kept.
KEPT = 8
#: The union net's numbers for the kinds of control image it was trained on.
UNION_DEPTH, UNION_CANNY = 1, 3

STYLE_MISSING = "STYLE_MISSING: No style LoRA is installed; the drawing has the base model's style."
STYLE_IN_PART = "STYLE_IN_PART: The style LoRA also changes the text encoders; only what it changes in the drawing network is used."


@dataclass(frozen=True, slots=True)
class DrawSettings:
    """How the nets are run.

    `nets`: two ControlNets, or a union net for both control images. `fuse_qkv`, `channels_last`: ways to compute the same faster.
    `compile`: use the transformer blocks' compiled code where `compile_cache` (a folder that `save_compiled` filled) has it for this
    torch and card; without it they run as they are. `compile_now`: compile what is not kept, in the first drawing; for the one who fills
    that folder.
    """

    nets: Literal["separate", "union", "union-promax"] = "separate"
    fuse_qkv: bool = True
    channels_last: bool = True
    compile: bool = False
    compile_cache: Path | None = None
    compile_now: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """A control image that a brief asks for, before any net is loaded."""

    net: str
    kind: int | None
    picture: Gray
    weight: float
    until: float


def make_redraw(cache: ModelCache, settings: DrawSettings, style: Path | None, few_step: Path | None, prompts: Path | None) -> Redraw:
    """The step that draws. `style`, `few_step`: LoRA files, None where not installed; `prompts`: the kept embeddings of a prompt.

    Every prompt is told with the style's trigger in front (`model_cache.styles`).

    What it returns raises `ValueError` for pictures that are no square of a multiple of 64, `MissingModels`, `BrokenModel` (a LoRA file
    that does not fit included), and `RuntimeError` naming the net whose answer was no picture.
    """
    has_code = settings.compile and settings.compile_cache is not None and load_compiled(settings.compile_cache, cache.device)
    options = NetOptions(settings.fuse_qkv, settings.channels_last, has_code or settings.compile_now)

    @lru_cache(maxsize=KEPT)
    def embeddings(prompt: str, negative_prompt: str) -> Mapping[str, Tensor]:
        kept = kept_prompts.read(prompts, prompt, negative_prompt) if prompts is not None and prompts.is_file() else None
        if kept is None:
            (text,) = cache.take("sdxl-text")
            made = kept_prompts.encode(text, prompt, negative_prompt, cache.device)
            kept = {name: tensor.cpu() for name, tensor in made.items()}
        return kept

    @lru_cache(maxsize=KEPT)
    def planned(steps: int, strength: float, few: bool) -> Schedule:
        (config,) = cache.take("sdxl-scheduler")
        return schedule(config, steps, strength, few)

    def redraw(rgb: Rgb, brief: Brief, tell: Tell) -> tuple[Rgb, tuple[str, ...]]:
        _check(rgb, brief)
        fusions, warnings = _fusions(brief, style, few_step)
        plan = planned(brief.steps, brief.strength, brief.few_step)
        wishes = wishes_of(brief, settings)
        nets = {UNET: unet(options, fusions), **{wish.net: controlnet(wish.net, options) for wish in wishes}}
        told = embeddings(in_force(style, brief.prompt), brief.negative_prompt)
        with torch.inference_mode():
            start, fresh = _noise(cache, vae(options), rgb, brief, plan)
            net = _nets(cache, nets)
            dtype = cache.dtype(UNET)
            conditions = prepare(told, brief.guidance > 1, cache.lean, rgb.shape[0], dtype, cache.device)
            controls = [control(wish, net, dtype, cache.device) for wish in wishes]
            latents = denoise(start, fresh, plan, net, controls, conditions, brief.guidance, tell)
            (decoder,) = cache.take(vae(options))
            return decode(decoder, latents, cache.lean), warnings

    return redraw


def _check(rgb: Rgb, brief: Brief) -> None:
    side = rgb.shape[0]
    if rgb.shape != (side, side, 3) or side == 0 or side % MULTIPLE:
        raise ValueError(f"a picture of {rgb.shape} cannot be drawn: its sides must be equal and a multiple of {MULTIPLE}")
    for name, picture in (("depth", brief.depth), ("edges", brief.edges)):
        if picture is not None and (picture.shape != (side, side) or picture.dtype != np.uint8):
            raise ValueError(f"{name} of {picture.shape} {picture.dtype} do not fit a picture of {rgb.shape}: they must be (S, S) uint8")


def _fusions(brief: Brief, style: Path | None, few_step: Path | None) -> tuple[tuple[Fusion, ...], tuple[str, ...]]:
    """The LoRAs to fuse, and what the caller must know of them. Raises `MissingModels` for few steps without their LoRA."""
    fusions: list[Fusion] = []
    warnings: list[str] = []
    if style is None:
        warnings.append(STYLE_MISSING)
    elif brief.lora_scale != 0:
        fusions.append(fusion(style, brief.lora_scale))
        if changes_text(fusions[0]):
            warnings.append(STYLE_IN_PART)
    if brief.few_step:
        if few_step is None:
            raise MissingModels({"lcm-lora": ("the few-step LoRA",)})
        fusions.append(fusion(few_step, 1.0))
    return tuple(fusions), tuple(warnings)


def wishes_of(brief: Brief, settings: DrawSettings) -> list[Wish]:
    """The control images that count. One without a picture, without weight or released before the first step needs no net."""
    union, (depth, canny) = settings.nets != "separate", CONTROLS[settings.nets]
    wishes = []
    if brief.depth is not None and brief.depth_weight != 0:
        wishes.append(Wish(depth, UNION_DEPTH if union else None, brief.depth, brief.depth_weight, 1.0))
    if brief.edges is not None and brief.canny_weight != 0 and 1 / brief.steps <= brief.canny_end:
        wishes.append(Wish(canny, UNION_CANNY if union else None, brief.edges, brief.canny_weight, brief.canny_end))
    return wishes


def _nets(cache: ModelCache, wanted: Mapping[str, Prepared]) -> Net:
    """All nets on the card together; in lean mode each when it is asked for, so that the cache may put the others away meanwhile."""
    if cache.lean:
        return lambda name: cache.take(wanted[name])[0]
    return dict(zip(wanted, cache.take(*wanted.values()), strict=True)).__getitem__


def _noise(cache: ModelCache, encoder: Prepared, rgb: Rgb, brief: Brief, plan: Schedule) -> tuple[Tensor, Tensor]:
    """The first latents and the noise that the schedule adds later, on the card.

    Drawn on the processor in float32: the same seed gives the same noise on every card and in every precision.
    """
    generator = torch.Generator().manual_seed(brief.seed)
    shape = (4, rgb.shape[0] // 8, rgb.shape[1] // 8)
    noise, *fresh = (torch.randn((1, *shape), generator=generator) for _ in range(1 + plan.fresh))
    start = plan.start[1] * noise.to(cache.device)
    if brief.strength < 1:
        (model,) = cache.take(encoder)
        start = plan.start[0] * encode(model, rgb, cache.device, cache.lean) + start
    return start, torch.cat([*fresh, noise[:0]]).to(cache.device)


def control(wish: Wish, net: Net, dtype: torch.dtype, device: torch.device) -> Control:
    """The control of a wish, as the nets take it: its image embedded by the net that reads it."""
    model = net(wish.net)
    hint = model.hint_embedding(control_picture(wish.picture, dtype, device))
    kinds = None
    if wish.kind is not None:
        one_hot = torch.zeros(model.config.num_control_type, dtype=dtype)
        one_hot[wish.kind] = 1
        kinds = one_hot.to(device)
    return Control(wish.net, hint, wish.weight, wish.until, wish.kind, kinds)

"""SDXL's denoising as plain functions: conditioning, one step, the loop, and the way into the latent space and out of it.

Latents are (1, 4, S/8, S/8) float32 whatever the nets compute in; pictures are (S, S, 3) uint8 sRGB.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pipeline.phase2_illustrate.diffusion.noise_schedule import Schedule
from pipeline.steps import Tell
from pipeline.values import Gray, Rgb

UNET = "sdxl-unet"
VAE = "sdxl-vae"
#: Pixels a latent covers, SDXL's in each direction.
SCALE = 8
#: Side of the VAE's tiles in pixels where memory is short.
TILE = 512

#: A net by its name, on the card.
Net: TypeAlias = Callable[[str], Any]
#: What a ControlNet adds to the UNet: to its encoder's levels, and to its middle.
Residuals: TypeAlias = tuple[list[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Condition:
    """What one evaluation of the nets is told: `text` (B, 77, D), `pooled` (B, P) in the nets' dtype, `time_ids` (B, 6) float32."""

    text: Tensor
    pooled: Tensor
    time_ids: Tensor


@dataclass(frozen=True, slots=True)
class Control:
    """A control image and the net that reads it.

    `hint` (1, C, S/8, S/8) is the image as the net embeds it, the same in every step; `until` is the share of the steps after which
    it is released; `kind` is the union net's control type and `kinds` (1, K) its one-hot vector, None for a net of one kind.
    """

    net: str
    hint: Tensor
    weight: float
    until: float
    kind: int | None = None
    kinds: Tensor | None = None


def prepare(
    embeddings: Mapping[str, Tensor], guided: bool, apart: bool, side: int, dtype: torch.dtype, device: torch.device
) -> list[Condition]:
    """The prompt's conditioning, the negative's before it where `guided`: one batch, or `apart` as batches of one.

    `embeddings` as `model_cache.prompts` gives them. The picture is said to be `side` pixels wide and high and not cropped
    (SDXL's micro-conditioning: Podell et al., 2023, section 2.2).
    """
    order = ("negative_", "") if guided else ("",)
    text = [embeddings[f"{which}prompt_embeds"].to(device, dtype) for which in order]
    pooled = [embeddings[f"{which}pooled_prompt_embeds"].to(device, dtype) for which in order]
    # float32 whatever the nets compute in: the nets make sines of these numbers, and 1088 is no bfloat16.
    sizes = torch.tensor([[side, side, 0, 0, side, side]], dtype=torch.float32).to(device)
    if apart:
        return [Condition(t, p, sizes) for t, p in zip(text, pooled, strict=True)]
    return [Condition(torch.cat(text), torch.cat(pooled), sizes.repeat(len(order), 1))]


def control_picture(picture: Gray, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(S, S) uint8 → (1, 3, S, S) of 0..1, the same in all three channels."""
    return (torch.from_numpy(picture.copy()).to(device).to(torch.float32) / 255).to(dtype)[None, None].repeat(1, 3, 1, 1)


def active(controls: Sequence[Control], step: int, steps: int) -> tuple[Control, ...]:
    """The controls that count in a step: those whose share of the steps does not end before this step does."""
    return tuple(control for control in controls if (step + 1) / steps <= control.until)


def _residuals(net: Any, control: Control, latents: Tensor, timestep: Tensor, condition: Condition) -> Residuals:
    """A ControlNet's answer for one control image, times its weight.

    The union net could read several images at once, but then weighs them inside itself and lets its answer out whole, so that a weight
    would mean something else than it does alone: it is asked once for each image, as diffusers' MultiControlNetUnionModel asks it.
    """
    batch = len(condition.text)
    sample = latents.to(condition.text.dtype).expand(batch, -1, -1, -1)
    added = {"text_embeds": condition.pooled, "time_ids": condition.time_ids}
    hint = control.hint.expand(batch, -1, -1, -1)
    if control.kinds is not None:
        one, weight = [control.kind], [control.weight]
        kinds = control.kinds.expand(batch, -1)
        down, middle = net(sample, timestep, condition.text, [hint], kinds, one, weight, added_cond_kwargs=added, return_dict=False)
    else:
        down, middle = net(sample, timestep, condition.text, hint, control.weight, added_cond_kwargs=added, return_dict=False)
    if down[0].shape[-2:] != latents.shape[-2:]:
        raise RuntimeError(f"{control.net} answered latents of {tuple(latents.shape)} with {tuple(down[0].shape)}")
    return list(down), middle


def _together(before: Residuals | None, after: Residuals) -> Residuals:
    if before is None:
        return after
    return [a + b for a, b in zip(before[0], after[0], strict=True)], before[1] + after[1]


def predict(
    latents: Tensor, timestep: Tensor, net: Net, controls: Sequence[Control], conditions: Sequence[Condition], guidance: float
) -> Tensor:
    """The noise in the latents as the nets see it, float32; with two conditions guided away from the first (Ho, Salimans, 2022).

    Every net answers all batches before the next is asked for, so that no two need be on the card together.
    """
    residuals: list[Residuals | None] = [None] * len(conditions)
    for name, read in groupby(controls, key=lambda control: control.net):
        model = net(name)
        for control in read:
            for k, condition in enumerate(conditions):
                residuals[k] = _together(residuals[k], _residuals(model, control, latents, timestep, condition))
    unet = net(UNET)
    noises = []
    for condition, residual in zip(conditions, residuals, strict=True):
        down, middle = residual or (None, None)
        sample = latents.to(condition.text.dtype).expand(len(condition.text), -1, -1, -1)
        noise = unet(
            sample,
            timestep,
            condition.text,
            added_cond_kwargs={"text_embeds": condition.pooled, "time_ids": condition.time_ids},
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        if noise.shape != sample.shape:
            raise RuntimeError(f"{UNET} answered latents of {tuple(sample.shape)} with {tuple(noise.shape)}")
        noises.append(noise.float())
    noise = torch.cat(noises)
    if len(noise) == 1:
        return noise
    away, towards = noise.chunk(2)
    return away + guidance * (towards - away)


def _stretches(controls: Sequence[Control], steps: int) -> Iterator[tuple[tuple[Control, ...], list[int]]]:
    """Runs of steps between which a control is released."""
    for _, run in groupby(range(steps), key=lambda step: len(active(controls, step, steps))):
        numbers = list(run)
        yield active(controls, numbers[0], steps), numbers


def denoise(
    start: Tensor,
    fresh: Tensor,
    plan: Schedule,
    net: Net,
    controls: Sequence[Control],
    conditions: Sequence[Condition],
    guidance: float,
    tell: Tell,
) -> Tensor:
    """The latents after every step of the plan. `start` (1, 4, h, w), `fresh` (plan.fresh, 4, h, w), float32 on the card.

    `tell` hears the share of the steps after each one and may raise.
    Raises `RuntimeError` naming the net whose output was not finite.
    """
    steps = len(plan.timesteps)
    timesteps, mix = plan.timesteps.to(start.device), plan.mix.to(start.device)
    known = torch.cat([start, start.new_zeros((steps, *start.shape[1:])), fresh])
    latents = start
    for acting, numbers in _stretches(controls, steps):
        step: Callable[[Tensor, Tensor], Tensor] = partial(predict, net=net, controls=acting, conditions=conditions, guidance=guidance)
        for i in numbers:
            known[1 + i] = step(latents, timesteps[i])[0]
            # A sum, not a matrix product: whoever uses this loop may have those rounded to TF32 on a card.
            latents = (mix[i, :, None, None, None] * known).sum(0, keepdim=True)
            tell((i + 1) / steps)
    if not bool(torch.isfinite(latents).all()):
        raise RuntimeError(_culprit(known, plan, net, controls, conditions))
    return latents


def _culprit(known: Tensor, plan: Schedule, net: Net, controls: Sequence[Control], conditions: Sequence[Condition]) -> str:
    """Which net's output was not finite first. The step is run again: it costs nothing while all is well."""
    steps = len(plan.timesteps)
    finite = torch.isfinite(known[1 : 1 + steps]).flatten(1).all(1).tolist()
    if all(finite):
        return "the latents are not finite, although every net's output is"
    i = finite.index(False)
    whole = known.clone()
    whole[1 + i : 1 + steps] = 0
    latents = whole[:1] if i == 0 else (plan.mix[i - 1].to(known.device)[:, None, None, None] * whole).sum(0, keepdim=True)
    timestep = plan.timesteps[i].to(known.device)
    for control in active(controls, i, steps):
        for condition in conditions:
            down, middle = _residuals(net(control.net), control, latents, timestep, condition)
            if not all(bool(torch.isfinite(part).all()) for part in (*down, middle)):
                return f"{control.net} gave numbers that are not finite in step {i + 1} of {steps}"
    return f"{UNET} gave numbers that are not finite in step {i + 1} of {steps}"


def _tiled(vae: Any, tiled: bool) -> None:
    vae.use_tiling = tiled
    vae.tile_sample_min_size = TILE
    vae.tile_latent_min_size = TILE // SCALE


def encode(vae: Any, rgb: Rgb, device: torch.device, tiled: bool) -> Tensor:
    """The picture's latents, float32: the mean of what the VAE thinks possible, so that no random number is spent."""
    picture = torch.from_numpy(rgb.copy()).to(device).permute(2, 0, 1)[None].to(torch.float32) / 127.5 - 1
    _tiled(vae, tiled)
    latents: Tensor = vae.encode(picture.to(vae.dtype)).latent_dist.mode().float() * vae.config.scaling_factor
    return _checked(latents, (1, vae.config.latent_channels, rgb.shape[0] // SCALE, rgb.shape[1] // SCALE))


def decode(vae: Any, latents: Tensor, tiled: bool) -> Rgb:
    """The picture of the latents, computed in the VAE's own dtype. Raises `RuntimeError` when it is not one."""
    _tiled(vae, tiled)
    picture = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype), return_dict=False)[0].float()
    picture = _checked(picture, (1, 3, latents.shape[2] * SCALE, latents.shape[3] * SCALE))[0]
    drawn: Rgb = ((picture / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    return drawn


def _checked(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) != shape:
        raise RuntimeError(f"{VAE} gave {tuple(tensor.shape)} where {shape} was due")
    if not bool(torch.isfinite(tensor).all()):
        raise RuntimeError(f"{VAE} gave numbers that are not finite")
    return tensor

"""The noise schedule of one drawing, as numbers: which timesteps are run, and how each latent is mixed from what is known by then.

A diffusion sampler is linear in what it is given: the start, the net's outputs so far, fresh noise. So the sampler itself is run
once, before the drawing, on unit vectors in place of pictures; what comes out are its coefficients. The loop over the steps then
needs no sampler, keeps no state and never waits for the card.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import LCMScheduler, UniPCMultistepScheduler
from torch import Tensor

#: Steps of the teacher's schedule on which the few-step LoRA was distilled (Luo et al., LCM-LoRA, 2023).
DISTILLED_STEPS = 50


@dataclass(frozen=True, slots=True)
class Schedule:
    """The n steps of a drawing, all on the CPU.

    `timesteps` (n,) int64, falling; the first latent is start[0] · photograph + start[1] · noise; the latent after step i is
    mix[i] @ (first latent, the n outputs of the net, `fresh` noises), so `mix` is (n, 1 + n + fresh) float32, zero for what comes later.
    """

    timesteps: Tensor
    start: tuple[float, float]
    mix: Tensor
    fresh: int


def schedule(config: Mapping[str, Any], steps: int, strength: float, few_step: bool) -> Schedule:
    """The schedule of `config` (diffusers' scheduler file): the last `steps` of ceil(steps / strength) steps, all `steps` where it is 1.

    UniPC (Zhao et al., 2023), or with `few_step` the consistency sampler of LCM. Raises `ValueError` for numbers that make no schedule.
    """
    if steps < 1 or not 0 < strength <= 1:
        raise ValueError(f"{steps} steps at strength {strength} make no schedule")
    total = math.ceil(steps / strength - 1e-9)
    kind: Any = LCMScheduler if few_step else UniPCMultistepScheduler
    sampler = kind.from_config(dict(config))
    if sampler.config.thresholding or sampler.config.get("clip_sample", False):
        raise ValueError("a schedule that clips its samples is not linear")
    if total >= sampler.config.num_train_timesteps:
        raise ValueError(f"{steps} steps at strength {strength} ask for a schedule of {total}")
    if few_step:
        sampler.set_timesteps(total, original_inference_steps=max(DISTILLED_STEPS, total))
    else:
        sampler.set_timesteps(total)
    sampler.set_begin_index(total - steps)
    timesteps: Tensor = sampler.timesteps[total - steps :]
    start = _start(sampler, timesteps, strength)  # before the first step: after it, UniPC would put less noise
    mix = _consistency(sampler, timesteps) if few_step else _multistep(sampler, timesteps)
    return Schedule(timesteps, start, mix.float(), steps - 1 if few_step else 0)


def _start(sampler: Any, timesteps: Tensor, strength: float) -> tuple[float, float]:
    if strength == 1:
        return (0.0, float(sampler.init_noise_sigma))
    one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    return (float(sampler.add_noise(one, none, timesteps[:1])), float(sampler.add_noise(none, one, timesteps[:1])))


def _multistep(sampler: Any, timesteps: Tensor) -> Tensor:
    unit = torch.eye(1 + len(timesteps), dtype=torch.float64)
    latents = [unit[:1]]
    for i, timestep in enumerate(timesteps):
        latents.append(sampler.step(unit[1 + i : 2 + i], timestep, latents[-1], return_dict=False)[0])
    return torch.cat(latents[1:])


def _consistency(sampler: Any, timesteps: Tensor) -> Tensor:
    """LCM: each step's guess of the clean picture, put under fresh noise of the next step's strength."""
    n = len(timesteps)
    unit = torch.eye(2 * n, dtype=torch.float64)
    unused = torch.Generator()  # the sampler draws noise of its own, which is not looked at
    latents = [unit[:1]]
    for i, timestep in enumerate(timesteps):
        clean = sampler.step(unit[1 + i : 2 + i], timestep, latents[-1], generator=unused, return_dict=False)[1]
        if i < n - 1:
            kept = sampler.alphas_cumprod[timesteps[i + 1]]
            latents.append(kept.sqrt() * clean + (1 - kept).sqrt() * unit[1 + n + i : 2 + n + i])
        else:
            latents.append(clean)
    return torch.cat(latents[1:])

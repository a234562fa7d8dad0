"""What is minimised: how far the noise that the nets see in a drawing is from the noise that was put there, under serving's control images.

Everything random of a step comes from the training's seed and the step's number, so that a training that is taken up again goes on as if
it had never ended.
"""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from builder.train.examples import Example
from builder.train.nets import Nets
from builder.train.options import Options
from pipeline.phase2_illustrate.diffusion.denoise import Condition, Control, active, predict, prepare
from pipeline.phase2_illustrate.diffusion.draw import DrawSettings, control, wishes_of
from pipeline.phase2_illustrate.diffusion.noise_schedule import Schedule
from pipeline.settings import Settings
from pipeline.steps import Brief


class NotFinite(RuntimeError):  # noqa: N818 - says what is the case
    """A loss that is no number: the rate is too high, or a network is broken."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What holds for every step: the noise of each timestep (`noises`), the schedule and the brief that serve, how the nets are asked."""

    options: Options
    noises: Any
    plan: Schedule
    brief: Brief
    draw: DrawSettings

    def share(self, timestep: int) -> float:
        """The weight of a timestep's error: min(SNR, gamma) / SNR (Hang and others, 2023, for a net that predicts noise)."""
        kept = float(self.noises.alphas_cumprod[timestep])
        ratio = kept / (1 - kept)
        return min(ratio, self.options.gamma) / ratio if self.options.gamma else 1.0


@dataclass(frozen=True, slots=True)
class Draw:
    """What a step is about: a timestep, noise (1, 4, h, w) float32, and whether the mirror image is shown."""

    timestep: int
    noise: Tensor
    mirrored: bool


def lesson(options: Options, scheduler: Mapping[str, Any], plan: Schedule, brief: Brief, settings: Settings) -> Lesson:
    """The lesson of a volume's scheduler file. Raises `ValueError` for one whose nets predict something else than noise."""
    kind: Any = DDPMScheduler
    noises = kind.from_config(dict(scheduler))
    if noises.config.prediction_type != "epsilon":
        raise ValueError(f"the drawing network predicts {noises.config.prediction_type}, and only noise is trained for")
    return Lesson(options, noises, plan, brief, DrawSettings(nets=settings.phase2.controlnet.nets))


def random_of(*what: object) -> torch.Generator:
    """Random numbers that depend on these things alone."""
    digest = hashlib.sha256(":".join(map(str, what)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def drawn(example: Example, step: int, lesson: Lesson) -> Draw:
    """What a step of the training is about."""
    random = random_of(lesson.options.seed, "step", step)
    timestep = int(torch.randint(len(lesson.noises.alphas_cumprod), (1,), generator=random))
    noise = torch.randn((1, *example.latents.shape[1:]), generator=random)
    offset = torch.randn((1, noise.shape[1], 1, 1), generator=random)
    mirrored = bool(torch.rand(1, generator=random) < 0.5) and lesson.options.mirror
    return Draw(timestep, noise + lesson.options.noise_offset * offset, mirrored)


def error(nets: Nets, example: Example, draw: Draw, lesson: Lesson) -> Tensor:
    """The weighted mean square of what is missed, a scalar that gradients flow from. Raises `NotFinite` when it is not finite."""
    clean = example.latents[int(draw.mirrored)][None].to(nets.device)
    noise, timestep = draw.noise.to(nets.device), torch.tensor(draw.timestep)
    noisy = lesson.noises.add_noise(clean, noise, timestep[None])
    with torch.no_grad():
        controls = controls_of(nets, example, draw.mirrored, lesson)
    number = min(int((lesson.plan.timesteps > draw.timestep).sum()), len(lesson.plan.timesteps) - 1)
    acting = active(controls, number, len(lesson.plan.timesteps))
    with narrow(nets):
        seen = predict(noisy, timestep.to(nets.device), nets.ask, acting, [condition_of(nets, example)], 1.0)
    missed = lesson.share(draw.timestep) * (seen - noise).square().mean()
    if not bool(missed.isfinite()):
        raise NotFinite(f"the loss of {example.stem} at timestep {draw.timestep} is not finite")
    return missed


def narrow(nets: Nets) -> AbstractContextManager[Any]:
    """The LoRA's float32 factors multiplied in the nets' own 16 bits, on a card."""
    return torch.autocast(nets.device.type, dtype=torch.bfloat16, enabled=nets.device.type == "cuda")


def condition_of(nets: Nets, example: Example) -> Condition:
    """What the nets are told of an example."""
    (condition,) = prepare(example.told, False, False, example.target.shape[0], nets.dtype, nets.device)
    return condition


def controls_of(nets: Nets, example: Example, mirrored: bool, lesson: Lesson) -> list[Control]:
    """The control images of an example, embedded; one without an edge is none, as in serving."""
    depth, edges = (None if one is None or not one.any() else one[:, ::-1] if mirrored else one for one in (example.depth, example.edges))
    brief = replace(lesson.brief, depth=depth, edges=edges)
    return [control(wish, nets.ask, nets.dtype, nets.device) for wish in wishes_of(brief, lesson.draw)]

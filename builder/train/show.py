"""The pictures by which a person judges a training: what serving would draw with the LoRA as it is now."""

import torch

from builder.train.examples import Example
from builder.train.nets import Nets
from builder.train.objective import Lesson, controls_of, narrow, random_of
from pipeline.phase2_illustrate.diffusion.denoise import decode, denoise, encode, prepare
from pipeline.values import Rgb


@torch.inference_mode()
def drawing(nets: Nets, example: Example, lesson: Lesson) -> Rgb:
    """(S, S, 3) the example's vehicle, drawn as serving draws it: its schedule, guidance and control images; always the same noise."""
    plan, brief, side = lesson.plan, lesson.brief, example.source.shape[0]
    noise = torch.randn((1, *example.latents.shape[1:]), generator=random_of(lesson.options.seed, "picture", example.stem))
    start = plan.start[1] * noise.to(nets.device)
    if brief.strength < 1:
        start = start + plan.start[0] * encode(nets.vae, example.source, nets.device, nets.lean)
    with narrow(nets):
        conditions = prepare(example.told, brief.guidance > 1, nets.lean, side, nets.dtype, nets.device)
        controls = controls_of(nets, example, False, lesson)
        latents = denoise(start, start[:0], plan, nets.ask, controls, conditions, brief.guidance, lambda _: None)
    return decode(nets.vae, latents, nets.lean)

"""A training of the tiny networks on pictures of noise, small enough for hundreds of steps."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from builder.choose import catalogue_of
from builder.train import loop
from builder.train.examples import Example
from builder.train.keep import State
from builder.train.loop import Training, train
from builder.train.nets import read_nets
from builder.train.objective import lesson
from builder.train.options import Options
from builder.train.work import brief_of
from model_cache import prompts
from model_cache.loaders import load
from model_cache.volume import Volume
from pipeline import settings as configuration
from pipeline.phase2_illustrate.diffusion.noise_schedule import schedule
from tests.support import torchvision_shim as _shim  # noqa: F401 - before anything that imports torchvision

SIDE = 64
OPTIONS = Options(rank=4, alpha=4.0, rate=1e-2, epochs=3, patience=9)
loop.PARTS = 2  # judging takes longer than learning otherwise


def example(volume: Path, k: int) -> Example:
    """Noise in place of the pictures, told as the volume's stored prompt."""
    random = np.random.default_rng(k)
    rgb, depth = random.integers(0, 256, (SIDE, SIDE, 3), np.uint8), random.integers(0, 256, (SIDE, SIDE), np.uint8)
    edges = np.where(random.random((SIDE, SIDE)) < 0.2, 255, 0).astype(np.uint8)
    latents = torch.from_numpy(random.standard_normal((1, 4, SIDE // 8, SIDE // 8), np.float32))
    settings = configuration.load().phase2.sdxl
    told = prompts.read(volume / "prompts" / "default.safetensors", settings.prompt, settings.negative_prompt)
    assert told is not None
    return Example(f"car{k}", settings.prompt, rgb, rgb, depth, edges, torch.cat([latents, latents.flip(-1)]), told, 1.0)


def training(volume: Path, folder: Path, count: int, options: Options = OPTIONS, hear: Callable[..., None] = lambda *_: None) -> Training:
    """`count` examples are taught, one more judges; `count` 0: the one that judges is taught, fifteen times an epoch."""
    settings, whole = configuration.load(), Volume(volume, catalogue_of(volume))
    brief, scheduler = brief_of(settings), load(whole, "sdxl-scheduler", torch.float32)
    about = lesson(options, scheduler, schedule(scheduler, brief.steps, brief.strength, False), brief, settings)
    nets = read_nets(whole, settings, torch.device("cpu"), options)
    examples = [example(volume, k) for k in range(count + 1)]
    return Training(nets, about, examples[:count] or 15 * examples, examples[-1:], folder, hear, lambda _: None)


def factors(work: Training) -> dict[str, torch.Tensor]:
    """The LoRA as it is now."""
    return {name: parameter.detach().clone() for name, parameter in work.nets.learning.items()}


def run(volume: Path, folder: Path, hear: Callable[..., None] = lambda *_: None) -> tuple[State, Mapping[str, Any]]:
    """A short training from whatever the folder holds of it."""
    torch.set_num_threads(1)
    work = training(volume, folder, 3, hear=hear)
    return train(work), factors(work)


def run_in_a_process(volume: str, folder: str, steps: Any) -> None:
    """`run`, for a process that may be killed; it releases the semaphore `steps` at each step."""
    run(Path(volume), Path(folder), lambda event, _: steps.release() if event == "step" else None)

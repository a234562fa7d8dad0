"""Where the benches' networks come from: made on the card at their published sizes, or read from a volume of tiny ones."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from bench.gpu import nets as gpu_nets
from bench.gpu.stages import NEGATIVE, PROMPT
from model_cache import cache as caches
from model_cache import prompts
from model_cache.catalogue import load_catalogue
from model_cache.loaders import Loaded, load
from model_cache.volume import Volume
from pipeline.phase2_illustrate.diffusion.draw import DrawSettings, make_redraw
from pipeline.steps import Redraw
from tests.support import tiny_volume


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the networks come from: `cache` the worker's own; `fresh` another, untouched copy of a network on the device."""

    device: torch.device
    cache: caches.ModelCache
    fresh: Callable[[str], Any]
    prompts: Path


@contextlib.contextmanager
def opened(genuine: bool, volume: Path | None) -> Iterator[Bench]:
    """The networks: published sizes on a card, made there, or a volume of tiny ones on whatever there is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        home = volume or Path(folder)
        kept = home / "prompts" / "default.safetensors"
        if genuine:
            _write_small_files(home, kept)
        elif volume is None:
            tiny_volume.build(home)
        files = Volume(home, load_catalogue())

        def read(where: Volume, name: str, dtype: torch.dtype) -> Any:
            return _made(where, name, dtype, device) if genuine else load(where, name, dtype)

        def fresh(name: str) -> Any:
            return read(files, name, cache.dtype(name)).to(device)

        # Instead of reading files the cache is handed networks that were made; everything else is its own work.
        with patch.object(caches, "load", read):
            cache = caches.open_cache(files, device)
            yield Bench(device, cache, fresh, kept)


def _write_small_files(home: Path, kept: Path) -> None:
    """What is no network: the scheduler's configuration, as published, and embeddings of the default prompt, random."""
    scheduler = {
        "_class_name": "EulerDiscreteScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "interpolation_type": "linear",
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "sample_max_value": 1.0,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "trained_betas": None,
        "use_karras_sigmas": False,
    }
    file = home / "models" / "sdxl-scheduler" / "scheduler_config.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(scheduler))
    random = torch.Generator().manual_seed(0)
    shapes = {name: (1, 1280) if "pooled" in name else (1, 77, 2048) for name in prompts.NAMES}
    prompts.write(kept, PROMPT, NEGATIVE, {name: torch.randn(shape, generator=random).half() for name, shape in shapes.items()})


def _made(files: Volume, name: str, dtype: torch.dtype, device: torch.device) -> Any:
    if name == "sdxl-scheduler":
        return load(files, name, dtype)
    network = gpu_nets.make(name, device, dtype)
    if files.catalogue[name].kind == "transformers":
        return Loaded(network, gpu_nets.processor(name, files.file(name, "")))
    return network


def redraw_of(bench: Bench, **options: Any) -> Redraw:
    return make_redraw(bench.cache, DrawSettings(**options), None, None, bench.prompts)

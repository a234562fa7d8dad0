"""What is trained with: each pair made ready once, by the phases and steps that serve, and kept on the disk."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from builder.errors import BuilderError
from builder.train.files import write_bytes
from builder.train.options import Hear
from builder.train.pairs import Pair
from builder.train.pictures import read_drawing, read_photo
from model_cache import prompts
from model_cache.cache import ModelCache
from model_cache.needed import TEXT
from pipeline import __version__
from pipeline.errors import JobError
from pipeline.intake.photo import placed
from pipeline.job import REMOVE
from pipeline.phase0_vehicle.vehicle import find_vehicle
from pipeline.phase1_sanitize.sanitize import sanitize
from pipeline.phase2_illustrate.diffusion.denoise import encode
from pipeline.phase2_illustrate.diffusion.nets import NetOptions, vae
from pipeline.phase2_illustrate.diffusion.redraw import controls
from pipeline.phase2_illustrate.diffusion.white import on_white
from pipeline.progress import Progress
from pipeline.raster import resized
from pipeline.run import sanitize_settings, vehicle_settings
from pipeline.settings import Settings
from pipeline.steps import Brief, Steps
from pipeline.values import Gray, Rgb

#: A pixel of a drawing that is farther from white than this (of 255) is drawn.
_DRAWN = 16
#: Least share of a drawing's ink that must lie on its vehicle; below, it is told that the two do not lie over each other.
LEAST_ON_VEHICLE = 0.8


@dataclass(frozen=True, slots=True)
class Example:
    """A pair at the drawing's side S, in its photograph's frame.

    `source` (S, S, 3) the vehicle on white as serving draws from it, `target` (S, S, 3) the drawing on white; `depth` (None where its net
    has no weight) and `edges` (S, S) the control images; `latents` (2, 4, S/8, S/8) float32 of the drawing and of its mirror image;
    `told` the embeddings of the caption and of the negative prompt, float32 (`model_cache.prompts.NAMES`); `on_vehicle` the share of
    what is drawn that lies on the vehicle, 0..1.
    """

    stem: str
    caption: str
    source: Rgb
    target: Rgb
    depth: Gray | None
    edges: Gray
    latents: Tensor
    told: Mapping[str, Tensor]
    on_vehicle: float


@dataclass(frozen=True, slots=True)
class Studio:
    """What makes examples: the engine's first phases with the depth step, the cache that holds VAE and text encoders, the settings."""

    steps: Steps
    cache: ModelCache
    settings: Settings
    brief: Brief

    @property
    def recipe(self) -> str:
        """Everything but the pair that an example depends on, as a digest: with another recipe it is made anew."""
        made_by = {name: self.cache.volume.revision(name) for name in ("sdxl-vae", TEXT, self.settings.phase2.depth)} | dict(
            self.steps.models
        )
        phases = [self.settings.phase0.model_dump(), self.settings.phase1.model_dump(), self.settings.phase2.side]
        text = json.dumps(
            [__version__, made_by, phases, bool(self.brief.depth_weight), self.brief.negative_prompt], sort_keys=True, default=str
        )
        return hashlib.sha256(text.encode()).hexdigest()


def make_examples(pairs: Sequence[Pair], captions: Sequence[str], studio: Studio, folder: Path, hear: Hear) -> list[Example]:
    """The examples of these pairs, in their order; what `folder` has of them is read from there.

    Raises `BuilderError` that names every photograph without a vehicle.
    """
    made: list[Example] = []
    problems: list[str] = []
    for done, (pair, caption) in enumerate(zip(pairs, captions, strict=True)):
        hear("prepare", {"done": done, "of": len(pairs), "pair": pair.stem})
        key = hashlib.sha256("\0".join((pair.digest, caption, studio.recipe)).encode()).hexdigest()
        path = folder / f"{key[:32]}.safetensors"
        tensors = _kept(path)
        if tensors is None:
            try:
                tensors = _made(pair, caption, studio)
            except JobError as error:
                problems.append(
                    f"\n  {pair.photo.name}: {error.sentence.rstrip('.')}; a cut-out (a picture with an alpha channel) says where it is"
                )
                continue
            write_bytes(path, save(tensors))
        made.append(_example(pair, caption, tensors))
    hear("prepare", {"done": len(pairs), "of": len(pairs), "pair": ""})
    if problems:
        raise BuilderError(f"Some photographs cannot be drawn, so that nothing can be learned from them.{''.join(problems)}")
    return made


def _kept(path: Path) -> dict[str, Tensor] | None:
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None  # it is made anew


def _made(pair: Pair, caption: str, studio: Studio) -> dict[str, Tensor]:
    """The example's tensors. Raises `JobError` where the photograph shows no vehicle."""
    source, target, inside, brief = _pictures(pair, studio)
    depth, edges = controls(source, inside, brief, studio.steps)
    pictures = {"source": source, "target": target, "edges": edges} | ({} if depth is None else {"depth": depth})
    ink = (target < 255 - _DRAWN).any(-1)
    share = float((ink & inside).sum() / max(1, ink.sum()))
    with torch.inference_mode():
        (encoder,) = studio.cache.take(vae(NetOptions(fuse_qkv=False, channels_last=False, compiled=False)))
        both = [encode(encoder, view, studio.cache.device, studio.cache.lean) for view in (target, np.ascontiguousarray(target[:, ::-1]))]
        (text,) = studio.cache.take(TEXT)
        told = prompts.encode(text, caption, studio.brief.negative_prompt, studio.cache.device)
    tensors: dict[str, Any] = {name: torch.from_numpy(picture.copy()) for name, picture in pictures.items()}
    tensors |= {"latents": torch.cat(both), "on_vehicle": torch.tensor([share])} | {name: tensor.float() for name, tensor in told.items()}
    return {name: tensor.cpu().clone().contiguous() for name, tensor in tensors.items()}


def _pictures(pair: Pair, studio: Studio) -> tuple[Rgb, Rgb, Any, Brief]:
    """The vehicle on white and its drawing in the same frame, and where the vehicle is: as a job comes to them."""
    settings, steps, side = studio.settings, studio.steps, studio.settings.phase2.side
    photo, drawing = read_photo(pair.photo), read_drawing(pair.drawing)
    vehicle = find_vehicle(photo, None, None, False, steps, vehicle_settings(settings), Progress())
    plate = sanitize(vehicle, REMOVE, steps, sanitize_settings(settings), Progress())
    rgb, alpha = resized(plate.rgb, side), resized(plate.matte.alpha, side)
    target = placed(drawing.rgb, plate.frame.at(side).photo, side, 255)
    return on_white(rgb, alpha), target, alpha > 127, replace(studio.brief, depth=None, edges=None)


def _example(pair: Pair, caption: str, tensors: dict[str, Tensor]) -> Example:
    def picture(name: str) -> Any:
        return tensors[name].numpy()

    return Example(
        stem=pair.stem,
        caption=caption,
        source=picture("source"),
        target=picture("target"),
        depth=picture("depth") if "depth" in tensors else None,
        edges=picture("edges"),
        latents=tensors["latents"],
        told={name: tensors[name] for name in prompts.NAMES},
        on_vehicle=float(tensors["on_vehicle"]),
    )


def split(count: int, held_back: float, seed: int) -> tuple[list[int], list[int]]:
    """Which of `count` examples are trained with, and which judge: at least one of each, the same for the same seed."""
    order = np.random.default_rng(seed).permutation(count).tolist()
    judges = min(count - 1, max(1, round(count * held_back)))
    return sorted(order[judges:]), sorted(order[:judges])

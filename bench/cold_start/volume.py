# ruff: noqa: PLC0415 — a network's library is imported when the network is made
"""A volume for `bench.cold_start`: the published architectures at their published sizes, their tensors filled with random numbers.

Names and shapes come from the networks themselves, made on the meta device; no network is ever in memory as a whole.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from bench.gpu import nets as gpu_nets
from bench.gpu import source as gpu_source
from model_cache import manifest
from model_cache.catalogue import load_catalogue
from tests.support import tiny_birefnet
from tests.support.tiny_tokenizers import write_bert_tokenizer, write_clip_tokenizer

Shapes = Mapping[str, tuple[int, ...]]
#: Phase 1's networks, then the others, in the order of use (`pipeline.neural.models_of` with its default settings).
PHASE_1 = ("grounding-dino", "birefnet", "sam", "lama")
ALL = (*PHASE_1, "depth-anything", "sdxl-scheduler", "sdxl-vae", "sdxl-unet", "controlnet-depth", "controlnet-canny", "realesrgan-anime")
_NOISE = 1 << 25  # numbers that are written again and again


def write_tensors(path: Path, shapes: Shapes, item: int) -> None:
    """A safetensors file of `item` 2 (float16) or 4 (float32) bytes a number, flushed to the disk."""
    at, header = 0, {}
    for name, shape in shapes.items():
        size = math.prod(shape) * item
        header[name] = {"dtype": "F16" if item == 2 else "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    noise = torch.randn(_NOISE, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(torch.float16 if item == 2 else torch.float32)
    block = memoryview(noise.numpy()).cast("B")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        while at > 0:
            at -= file.write(block[: min(at, len(block))])
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Spandrel's descriptors come as the tensors that they would be made of."""
    import spandrel

    with patch.object(spandrel.ModelLoader, "load_from_state_dict", lambda _, tensors: tensors):
        yield


def _shapes(tensors: Mapping[str, torch.Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _net(make: Callable[[], Any]) -> Any:
    with torch.device("meta"):
        return make()


def _write_text(home: Path, item: int) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    words = write_clip_tokenizer(home / "tokenizer")
    write_clip_tokenizer(home / "tokenizer_2", pad_token="!")
    sizes = {
        "text_encoder": (CLIPTextModel, {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "projection_dim": 768}),
        "text_encoder_2": (
            CLIPTextModelWithProjection,
            {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20, "projection_dim": 1280},
        ),
    }
    for name, (kind, values) in sizes.items():
        marks = {"bos_token_id": words - 2, "eos_token_id": words - 1}
        net = _net(lambda kind=kind, values=values, marks=marks: kind(CLIPTextConfig(vocab_size=49408, **marks, **values)))
        _write_network(net, home / name, "model.safetensors", item)


def _write_network(net: nn.Module, home: Path, file: str, item: int) -> None:
    home.mkdir(parents=True, exist_ok=True)
    if hasattr(net, "save_config"):
        net.save_config(home)
    else:
        net.config.architectures = [type(net).__name__]
        net.config.save_pretrained(home)
    write_tensors(home / file, _shapes(net.state_dict()), item)


def write_model(home: Path, name: str, item: int = 2) -> None:
    """One model's folder, as the catalogue lists it, `item` bytes a number."""
    home.mkdir(parents=True, exist_ok=True)
    if name == "sdxl-text":
        _write_text(home, item)
        return
    model = load_catalogue()[name]
    if model.kind == "spandrel":
        with _tensors_only():
            shapes = _shapes(_net(gpu_nets.MAKERS[name]) if name == "lama" else gpu_nets.MAKERS[name]())
        write_tensors(home / model.weights[0], shapes, item)
    elif model.kind == "birefnet":
        write_tensors(home / model.weights[0], tiny_birefnet.shapes(tiny_birefnet.PUBLISHED), item)
    else:
        _write_network(_net(gpu_nets.MAKERS[name]), home, model.weights[0], item)
    if model.kind == "transformers":
        made = gpu_nets.processor(name, home)
        getattr(made, "image_processor", made).save_pretrained(home)
        if name == "grounding-dino":
            write_bert_tokenizer(home)


def write_volume(folder: Path, names: tuple[str, ...] = ALL) -> None:
    """The volume that a worker serves from, with its lock file."""
    gpu_source._write_small_files(folder, folder / "prompts" / "default.safetensors")
    records = {}
    for name in names:
        home = folder / "models" / name
        if name != "sdxl-scheduler":
            write_model(home, name)
        records[name] = _record(home, load_catalogue()[name].files)
    manifest.write_lock(folder, records)


#: Where the publishers' own files have 32 bits a number. Those of Stable Diffusion XL and its control nets exist in 16 bits too.
IN_32_BITS = ("grounding-dino", "sam", "lama", "depth-anything", "sdxl-vae", "realesrgan-anime")
IN_BOTH = ("sdxl-text", "sdxl-unet", "controlnet-depth", "controlnet-canny")


def write_originals(wide: Path, narrow: Path, served: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """The same networks, and the text encoders, as their publishers' repositories hold them; what is as served is linked.

    `wide` gets their own files, `narrow` the 16-bit ones where there are any. Returns the names in the order of use.
    """
    names = (*names, "sdxl-text") if "sdxl-unet" in names else names
    for folder in (wide, narrow):
        (folder / "models").mkdir(parents=True)
    for name in names:
        broad, slim, same = (folder / "models" / name for folder in (wide, narrow, served))
        if name in IN_32_BITS or name in IN_BOTH:
            write_model(broad, name, 4)
        else:
            broad.symlink_to(same)
        if name in IN_BOTH and not same.is_dir():
            write_model(slim, name, 2)
        else:
            slim.symlink_to(broad if name in IN_32_BITS else same)
    return names


def _record(home: Path, files: tuple[str, ...]) -> manifest.ModelRecord:
    """Hashes are not read at a start where size and time stamp are as recorded, so none are made here."""

    def known(path: Path) -> manifest.FileRecord:
        return manifest.FileRecord(size=path.stat().st_size, sha256="0" * 64, mtime_ns=path.stat().st_mtime_ns)

    return manifest.ModelRecord(source="random", revision="random", sources={}, files={file: known(home / file) for file in files})

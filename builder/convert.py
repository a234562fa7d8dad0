"""One model from its published files to the files that are served: safetensors in 16 bits, and the files beside them."""

import json
import os
import shutil
from pathlib import Path

import torch

from builder import torchscript
from builder.errors import BuilderError, writing
from builder.sources import path_at_source
from builder.tensors import Tensors, read_pickle, read_safetensors, read_torchscript, write
from model_cache.catalogue import Model
from model_cache.headers import read_header

#: Where LaMa's generator begins in the names of an archive: its training program wraps it once or twice.
_GENERATOR = "generator.model."


def convert(model: Model, sources: Path, out: Path) -> str:
    """Read `sources / path_at_source(model, file)` for each file of the model, write exactly `model.files` below `out`.

    Files that are ready to serve are linked, not copied. Returns how the weights were made, in a word or two. Raises `BuilderError`.
    """
    how = []
    for file in model.files:
        source, target = sources / path_at_source(model, file), out / file
        if not source.is_file():
            raise BuilderError(f"{model.name} cannot be converted: {path_at_source(model, file)} is not there.")
        try:
            with writing(f"{model.name}/{file}"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                if file in model.weights:
                    how.append(_weights(model, source, target))
                else:
                    _beside(source, target)
        except ValueError as error:
            raise BuilderError(f"{model.name} cannot be converted: {error}.") from error
    return ", ".join(dict.fromkeys(how)) or "as published"


def _beside(source: Path, target: Path) -> None:
    """Configurations and vocabularies, unchanged."""
    if target.suffix == ".json":
        try:
            json.loads(source.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{source.name} is not JSON") from error
    _link(source, target)


def _weights(model: Model, source: Path, target: Path) -> str:
    served: torch.dtype = getattr(torch, model.dtype)
    if source.suffix == ".safetensors":
        if _ready(source, served):
            _link(source, target)
            return "as published"
        tensors, origin = read_safetensors(source), ""
    elif torchscript.is_archive(source):
        tensors, origin = _generator(read_torchscript(source)), " from TorchScript"
    else:
        tensors, origin = read_pickle(source), " from a pickle"
    try:
        kinds = write(target, tensors, served)
        read_header(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    names = [name for name, kind in (("float16", "F16"), ("bfloat16", "BF16")) if kind in kinds]
    return " and ".join(names) + origin


def _ready(source: Path, served: torch.dtype) -> bool:
    """Whether a safetensors file can be served as it is: 16 bits, and none of them lost on the card."""
    try:
        kinds = {entry.dtype for entry in read_header(source).values()}
    except ValueError:
        return False  # damaged, or of other element types: its reader tells which
    return kinds <= ({"F16", "I64"} if served == torch.float16 else {"F16", "BF16", "I64"})


def _generator(tensors: Tensors) -> Tensors:
    """The generator of LaMa's archive, under the names of its checkpoints; any other network unchanged."""
    names = {name: name[at:] for name in tensors.shapes if (at := name.find(_GENERATOR)) >= 0}
    return tensors.renamed(names) if names else tensors


def _link(source: Path, target: Path) -> None:
    """A second name for the file where the file system has such, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

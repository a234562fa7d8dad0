"""The embeddings of the default prompt, made once by the volume's own text encoders, so that serving needs none of them."""

import os
from pathlib import Path

import torch

from builder.choose import catalogue_of
from builder.errors import BuilderError, writing
from builder.tell import Tell
from model_cache import prompts
from model_cache.errors import BrokenModel, MissingModels
from model_cache.loaders import Text, load
from model_cache.needed import TEXT
from model_cache.volume import Volume

#: In float32: the drawing takes them to its own 16 bits, and they are small.
_DTYPE = torch.float32


def make(volume: Path, prompt: str, negative_prompt: str, tell: Tell) -> Path:
    """Write VOLUME/prompts/default.safetensors at once: these texts and their embeddings, computed on the processor.

    Nothing is done where it holds those of exactly these texts. Raises `BuilderError` where the text encoders are missing or broken.
    """
    path = volume / "prompts" / "default.safetensors"
    if _current(path, prompt, negative_prompt):
        tell("prompts: the embeddings of these texts are there")
        return path
    tell("prompts: computing the embeddings")
    try:
        text: Text = load(Volume(volume, catalogue_of(volume)), TEXT, _DTYPE)
    except (MissingModels, BrokenModel) as error:
        raise BuilderError(f"The prompt's embeddings need the text encoders. {error}.") from error
    made = prompts.encode(text, prompt, negative_prompt, "cpu")
    if not all(bool(tensor.isfinite().all()) for tensor in made.values()):
        raise BuilderError(f"{TEXT} answers the prompt with numbers that are not finite; fetch it anew.")
    part = path.with_name(f".{path.name}.part")
    with writing("the prompt's embeddings"):
        prompts.write(part, prompt, negative_prompt, made)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    return path


def _current(path: Path, prompt: str, negative_prompt: str) -> bool:
    if not path.is_file():
        return False
    try:
        return prompts.read(path, prompt, negative_prompt) is not None
    except BrokenModel:
        return False  # it is made anew

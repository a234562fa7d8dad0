"""Models as their publishers lay them out, made from the tiny volume's files."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from builder.sources import path_at_source
from model_cache.catalogue import Model, load_catalogue

CATALOGUE = load_catalogue()
LAMA, GAN = CATALOGUE["lama"], CATALOGUE["realesrgan-anime"]
#: A model of one file, as float16, from a repository.
LORA = CATALOGUE["lcm-lora"]


def published(volume: Path, model: Model, folder: Path) -> Path:
    """The model's source files as its publisher lays them out: float32, under the source's names; pickled where that is so."""
    for file in model.files:
        served, source = volume / "models" / model.name / file, folder / path_at_source(model, file)
        source.parent.mkdir(parents=True, exist_ok=True)
        if file not in model.weights:
            shutil.copy(served, source)
            continue
        wide = {name: t.float() if t.is_floating_point() else t for name, t in load_file(served).items()}
        if source.suffix == ".safetensors":
            save_file(wide, source, metadata={"format": "pt"})
        elif model is GAN:
            torch.save({"params_ema": wide}, source)
        else:
            write_lama(wide, source)
    return folder


class Wrapped(nn.Module):
    """The names of the published archive: two modules around the generator."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.generator = generator

    def forward(self, picture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.generator(picture * (1 - mask), mask)


def write_lama(tensors: dict[str, torch.Tensor], path: Path) -> None:
    from spandrel.architectures.LaMa import LaMa

    net = LaMa(in_nc=4, out_nc=3)
    net.load_state_dict({name.replace("generator.model", "model.model"): value for name, value in tensors.items()})
    side = 32
    torch.jit.trace(Wrapped(net.model).eval(), (torch.rand(1, 3, side, side), torch.ones(1, 1, side, side)), check_trace=False).save(path)

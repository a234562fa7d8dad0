"""Random LoRAs of SDXL's UNet, named as each tool names them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

#: How tensors are named: by diffusers; by sd-scripts with diffusers' block names, as lcm-lora is; by sd-scripts as it writes SDXL; by PEFT
#: of a network that it wraps, of one that it was added to, of a wrapped one in a pipeline, and as its state dict has it.
LoraForm = Literal["diffusers", "kohya", "kohya-sgm", "peft", "peft-bare", "peft-unet", "peft-default"]
_PEFT = {"diffusers": "unet.", "peft": "base_model.model.", "peft-bare": "", "peft-unet": "unet.base_model.model.", "peft-default": ""}


def write_lora(path: Path, unet: nn.Module, form: LoraForm, seed: int, extent: float, rank: int = 4) -> None:
    """Random factors for every attention projection of `unet`; the forms of sd-scripts ("kohya") carry alphas of half the rank."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for name, layer in _projections(unet):
        down = torch.randn(rank, layer.in_features, generator=random) / layer.in_features**0.5
        up = torch.randn(layer.out_features, rank, generator=random) * extent / rank**0.5
        if form in _PEFT:
            end = "default.weight" if form == "peft-default" else "weight"
            tensors[f"{_PEFT[form]}{name}.lora_A.{end}"], tensors[f"{_PEFT[form]}{name}.lora_B.{end}"] = down.half(), up.half()
        else:
            key = f"lora_unet_{(name if form == 'kohya' else _sgm(name)).replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = down.half(), up.half()
            tensors[f"{key}.alpha"] = torch.tensor(rank / 2).half()
    save_file(tensors, path, metadata={"format": "pt"})


def _sgm(name: str) -> str:
    """A module of SDXL's UNet as Stability's own code numbers it: three blocks a level."""
    found = re.fullmatch(r"(down|mid|up)_blocks?\.?(\d?)\.attentions\.(\d)\.(.+)", name)
    assert found, name
    kind, level, block, rest = found.groups()
    if kind == "mid":
        return f"middle_block.1.{rest}"
    number = 3 * int(level) + int(block)
    return f"input_blocks.{number + 1}.1.{rest}" if kind == "down" else f"output_blocks.{number}.1.{rest}"


def _projections(unet: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    for name, layer in unet.named_modules():
        if isinstance(layer, nn.Linear) and name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            yield name, layer

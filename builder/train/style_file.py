"""The trained LoRA as a file: kohya's naming, which every tool reads, and what is to be known of it in its header."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers.utils
import torch
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save
from torch import Tensor

from builder.train.files import write_bytes
from builder.train.nets import Nets
from builder.train.options import Options


def factors(nets: Nets, alpha: float) -> dict[str, Tensor]:
    """The factors by their published names, float16, each layer with its alpha."""
    own: Any = {f"unet.{name}": tensor for name, tensor in get_peft_model_state_dict(nets.unet).items()}
    as_kohya_names_them: Any = diffusers.utils.convert_state_dict_to_kohya  # type: ignore[attr-defined]
    named: dict[str, Tensor] = as_kohya_names_them(own)  # of alphas it knows one: the rank
    return {
        name: (torch.tensor(alpha) if name.endswith(".alpha") else tensor.detach()).half().cpu().contiguous()
        for name, tensor in named.items()
    }


def header(name: str, options: Options, about: Mapping[str, str]) -> dict[str, str]:
    """The file's metadata: the trigger, what it fits and what it was made of; under the names of ModelSpec 1.0 and of sd-scripts too.

    `about`: "base_revision", "data_sha256", "pairs" and "worker".
    """
    return {
        "format": "pt",
        "trigger": options.trigger,
        "rank": str(options.rank),
        "alpha": f"{options.alpha:g}",
        "licence": options.licence,
        **about,
        "training": json.dumps(options.data(), sort_keys=True),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": name,
        "modelspec.trigger_phrase": options.trigger,
        "modelspec.license": options.licence,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(options.rank),
        "ss_network_alpha": f"{options.alpha:g}",
        "ss_base_model_version": "sdxl_base_v1-0",
    }


def write_style(path: Path, nets: Nets, name: str, options: Options, about: Mapping[str, str]) -> None:
    """Write the LoRA as the nets hold it now, whole or not at all."""
    write_bytes(path, _in_order(save(factors(nets, options.alpha), metadata=header(name, options, about))))


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata in alphabetical order, which the library leaves to chance: the same training gives the same bytes."""
    length = int.from_bytes(content[:8], "little")
    told = json.loads(content[8 : 8 + length])
    told["__metadata__"] = dict(sorted(told["__metadata__"].items()))
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]

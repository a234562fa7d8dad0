"""The factors of a LoRA file under the UNet's own names, whichever tool wrote it, and the alphas that scale them.

Hu et al., LoRA, 2021: a layer's weight becomes W + scale · (alpha / rank) · up @ down.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model_cache.headers import read_metadata
from model_cache.styles import beside

#: Other adapters than LoRA's plain pair of matrices.
_NOT_PLAIN = ("dora_scale", "lora_magnitude_vector", ".lokr_", ".hada_")
#: A LoRA's two halves as the tools name them.
_HALVES = (("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora.down", "lora.up"))
#: What PEFT puts before the names of the network that it wraps, and after a factor's name where an adapter has a name.
_WRAPPED, _ADAPTER = "base_model.model.", re.compile(r"(\.lora_[AB])\.default\.weight$")
#: How names of the other tools begin.
_PREFIXES = ("unet.", "text_encoder.", "text_encoder_2.", "lora_unet_", "lora_te")
#: Where diffusers keeps PEFT's configuration in a file's metadata, as JSON with the network's name before each key.
_IN_METADATA = "lora_adapter_metadata"


@dataclass(frozen=True, slots=True)
class Lora:
    """`factors`: layer of the UNet → "A" (down: rank, in, …) and "B" (up: out, rank, …), as stored. `alphas`: `unet.LAYER.alpha` → alpha,
    empty where the file says none: then alpha is the rank, as every tool reads such a file. `text`: it changes the text encoders too."""

    factors: Mapping[str, Mapping[str, Tensor]]
    alphas: Mapping[str, float]
    text: bool

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks that there are, ascending."""
        return tuple(sorted({pair["A"].shape[0] for pair in self.factors.values()}))


def read_lora(path: Path, unet_config: Any, adapter: Mapping[str, Any] | None = None) -> Lora:
    """Read a LoRA named as diffusers, kohya's sd-scripts or PEFT name it. `unet_config`: `layers_per_block` and so on as attributes.

    Alphas come from the file (kohya's tensors, else diffusers' metadata), else from `adapter`, by default what lies beside the file.
    Raises `ValueError` with the reason for what is no whole, plain and finite LoRA of SDXL's UNet, `BrokenModel` as `styles.beside`.
    """
    try:
        tensors, metadata = load_file(path), read_metadata(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"it is not a whole safetensors file ({error})") from error
    if any(word in name for name in tensors for word in _NOT_PLAIN):
        raise ValueError("it is no plain LoRA (DoRA, LoKr and LoHa are not supported)")
    named, alphas = _named({_unwrapped(name): tensor for name, tensor in tensors.items()}, unet_config)
    factors = _factors(named)
    if not alphas:
        told = _told(metadata) or adapter or beside(path).adapter
        alphas = {} if told is None else {f"unet.{layer}.alpha": _alpha(told, layer, pair["A"].shape[0]) for layer, pair in factors.items()}
    return Lora(factors, alphas, any(name.startswith(("lora_te", "text_encoder")) for name in tensors))


def _unwrapped(name: str) -> str:
    """A name of PEFT's as diffusers has it; other names unchanged."""
    name = _ADAPTER.sub(r"\1.weight", name.replace(_WRAPPED, ""))
    return name if name.startswith(_PREFIXES) or ".lora_" not in name else f"unet.{name}"


def _named(tensors: Mapping[str, Tensor], unet_config: Any) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The tensors under PEFT's names, and kohya's alphas; by diffusers, of which only the names are wanted."""
    import diffusers.utils  # noqa: PLC0415 - seconds
    from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin  # noqa: PLC0415

    for name in tensors:
        for one, other in (pair for halves in _HALVES for pair in (halves, halves[::-1])):
            if one in name and name.replace(one, other) not in tensors:
                raise ValueError(f"{name.partition('.lora')[0]} has not both factors")
    if infinite := sorted(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())):
        raise ValueError(f"{infinite[0]} is not finite")
    as_peft_names_them: Any = diffusers.utils.convert_unet_state_dict_to_peft  # type: ignore[attr-defined]
    try:
        named, alphas = StableDiffusionXLLoraLoaderMixin.lora_state_dict(dict(tensors), unet_config=unet_config)
        return as_peft_names_them(named), {name: float(alpha) for name, alpha in (alphas or {}).items()}
    # What the library raises for names that it cannot place.
    except (ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise ValueError(f"its layers are not named as any tool names SDXL's ({' '.join(str(error).split())[:120]})") from error


def _factors(named: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    factors: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in named.items():
        if not name.startswith("unet."):
            continue  # a text encoder's: not used, as the embeddings are made beforehand
        layer, _, rest = name.partition(".lora_")
        factor = {"A.weight": "A", "B.weight": "B"}.get(rest)
        if factor is None:
            raise ValueError(f"{name} is no factor of a plain LoRA")
        factors[layer.removeprefix("unet.")][factor] = tensor
    if not factors:
        raise ValueError("it has no factors for the UNet")
    return dict(factors)


def _told(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """PEFT's configuration of the UNet's adapter as diffusers keeps it in the file."""
    try:
        rows = loads(metadata.get(_IN_METADATA, "{}"))
        return {key.removeprefix("unet."): value for key, value in rows.items() if key.startswith("unet.")} or None
    except (ValueError, AttributeError) as error:
        raise ValueError(f"its {_IN_METADATA} cannot be read") from error


def _alpha(told: Mapping[str, Any], layer: str, rank: int) -> float:
    """A layer's alpha by PEFT's configuration, whose patterns are ends of names; of a rank-stabilised LoRA what alpha / rank needs."""
    patterns = told.get("alpha_pattern") or {}
    try:
        own = next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", layer)), None)
        alpha = float(told["lora_alpha"] if own is None else own)
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise ValueError("the configuration of its adapter names no lora_alpha that can be used") from error
    return alpha * math.sqrt(rank) if told.get("use_rslora") else alpha

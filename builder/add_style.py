"""Installing a style: a LoRA file that fits the volume's UNet, copied to VOLUME/styles at once."""

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors import SafetensorError, safe_open

from builder.choose import catalogue_of
from builder.errors import BuilderError, writing
from model_cache.headers import Entry, read_header
from model_cache.volume import Volume

UNET = "sdxl-unet"
_NOT_PLAIN = ("dora_scale", ".lokr_", ".hada_")


def add_style(volume: Path, file: Path, name: str | None) -> Path:
    """Install `file` as styles/NAME.safetensors (its own name by default) and return where it lies; an installed one is replaced.

    Raises `BuilderError` for a file that is no safetensors, no plain LoRA, or does not fit the volume's UNet layer by layer.
    """
    target = volume / "styles" / _file_name(file, name)
    if file.suffix != ".safetensors" or not file.is_file():
        raise BuilderError(f"{file} is not a .safetensors file; a style is installed from such a file only.")
    try:
        check(volume, file)
    except ValueError as error:
        raise BuilderError(f"{file.name} cannot be used as a style: {error}.") from error
    part = target.with_name(f".{target.name}.part")
    with writing(f"styles/{target.name}"):
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, part)
        with part.open("rb+") as copied:
            os.fsync(copied.fileno())
        part.replace(target)
    return target


def _file_name(file: Path, name: str | None) -> str:
    wanted = f"{(name or file.name).removesuffix('.safetensors')}.safetensors"
    if Path(wanted).name != wanted or wanted.startswith("."):
        raise BuilderError(f"{name!r} is no name for a style: it must be a plain file name.")
    return wanted


def check(volume: Path, file: Path) -> None:
    """Raise `ValueError` with the reason unless every layer of the LoRA, in any tool's naming, is one of the UNet's, with its shape."""
    read_header(file)
    layers, factors = _unet(volume), _factors(file, volume)
    if not factors:
        raise ValueError("it has no factors for the drawing network")
    unknown = sorted(set(factors) - set(layers))
    if unknown:
        raise ValueError(f"{len(unknown)} of its {len(factors)} layers are none of the UNet's, the first is {unknown[0]}")
    for layer, pair in factors.items():
        if set(pair) != {"A", "B"}:
            raise ValueError(f"{layer} has not both factors")
        (down, up), (out, into, *kernel) = (pair["A"], pair["B"]), layers[layer]
        # down: (rank, into, kernel), up: (out, rank, 1, 1); of a linear layer both are matrices
        if (up[0], down[1]) != (out, into) or up[1] != down[0] or tuple(down[2:]) != tuple(kernel) or len(up) != len(down):
            raise ValueError(f"{layer} is of shape {layers[layer]}, its factors are {up} and {down}")


def _unet(volume: Path) -> dict[str, tuple[int, ...]]:
    """Layer → shape of its weight, from the header of the volume's UNet."""
    catalogue = catalogue_of(volume)
    path = Volume(volume, catalogue).file(UNET, catalogue[UNET].weights[0])
    if not path.is_file():
        raise BuilderError(f"A style is checked against the drawing network, and {UNET} is not on the volume; fetch it first.")
    entries: dict[str, Entry] = read_header(path)
    return {name.removesuffix(".weight"): it.shape for name, it in entries.items() if name.endswith(".weight") and len(it.shape) > 1}


def _factors(file: Path, volume: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """The UNet's layer → {A, B} → shape. Names are read as the serving code reads them, by diffusers, of which only names are wanted."""
    import diffusers.utils  # noqa: PLC0415 - seconds
    from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin  # noqa: PLC0415

    try:
        with safe_open(file, framework="pt") as opened:
            tensors: dict[str, Any] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dictionary
    except (SafetensorError, OSError) as error:
        raise ValueError(f"it is not a whole safetensors file ({error})") from error
    if any(word in name for name in tensors for word in _NOT_PLAIN):
        raise ValueError("it is no plain LoRA (DoRA, LoKr and LoHa are not supported)")
    if infinite := sorted(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())):
        raise ValueError(f"{infinite[0]} is not finite")
    as_peft_names_them: Any = diffusers.utils.convert_unet_state_dict_to_peft  # type: ignore[attr-defined]
    config = SimpleNamespace(**json.loads((volume / "models" / UNET / "config.json").read_text(encoding="utf-8")))
    try:
        named, _ = StableDiffusionXLLoraLoaderMixin.lora_state_dict(tensors, unet_config=config)
        named = as_peft_names_them(named)
    # What the library raises for names that it cannot place.
    except (ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise ValueError(f"its layers are not named as any tool names SDXL's ({' '.join(str(error).split())[:120]})") from error
    factors: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, tensor in named.items():
        if not name.startswith("unet."):
            continue  # a text encoder's: not used, as the embeddings are made beforehand
        layer, _, rest = name.partition(".lora_")
        factor = {"A.weight": "A", "B.weight": "B"}.get(rest)
        if factor is None:
            raise ValueError(f"{name} is no factor of a plain LoRA")
        factors[layer.removeprefix("unet.")][factor] = tuple(tensor.shape)
    return factors

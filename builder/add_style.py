"""Installing a style: a LoRA file that fits the volume's UNet, copied to VOLUME/styles, and beside it what is known of it."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from builder.choose import catalogue_of
from builder.errors import BuilderError, WrongOption, writing
from builder.tell import Tell
from builder.workspace import write_whole
from model_cache.errors import BrokenModel
from model_cache.headers import Entry, read_header
from model_cache.lora import Lora, read_lora
from model_cache.styles import ADAPTER_KEYS, Beside, beside, clean, sidecar, trigger_of
from model_cache.volume import Volume

UNET = "sdxl-unet"
#: What PEFT writes beside its weights, and diffusers' training scripts.
_ADAPTER, _CARD = "adapter_config.json", "README.md"


def add_style(volume: Path, file: Path, name: str | None, trigger: str | None, tell: Tell) -> Path:
    """Install `file` as styles/NAME.safetensors (its own name by default) and return where it lies; an installed one is replaced.

    `trigger`: the words that the style answers to, empty where it needs none; by default what the file's metadata, or the files that its
    trainer left beside it, say. Raises `WrongOption` for a trigger that cannot be used, `BuilderError` for a file that is no safetensors,
    no plain LoRA, or does not fit the volume's UNet layer by layer.
    """
    target = volume / "styles" / _file_name(file, name)
    if not file.is_file():
        raise BuilderError(f"There is no file {file}.")
    if file.suffix != ".safetensors":
        raise BuilderError(f"{file} is not a .safetensors file; a style is installed from such a file only.")
    try:
        known = _known(file, trigger)
        lora = check(volume, file, known.adapter)
    except (ValueError, BrokenModel) as error:
        raise BuilderError(f"{file.name} cannot be used as a style: {error}.") from error
    part = target.with_name(f".{target.name}.part")
    with writing(f"styles/{target.name}"):
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, part)
        with part.open("rb+") as copied:
            os.fsync(copied.fileno())
        sidecar(target).unlink(missing_ok=True)  # no file is ever beside what another one tells of
        part.replace(target)
        write_whole(sidecar(target), json.dumps({"trigger": known.trigger, "adapter": known.adapter}, indent=1))
    _tell(known, lora, tell)
    return target


def _file_name(file: Path, name: str | None) -> str:
    wanted = f"{(name or file.name).removesuffix('.safetensors')}.safetensors"
    if Path(wanted).name != wanted or wanted.startswith("."):
        raise WrongOption(f"{name or file.name!r} is no name for a style: it must be a plain file name.")
    return wanted


def _known(file: Path, trigger: str | None) -> Beside:
    """What is to be kept of a style: said by the user, else by the file itself, else by what its trainer left beside it."""
    own = beside(file)
    try:
        said = own.trigger if trigger is None else clean(trigger)
    except ValueError as error:
        raise WrongOption(f"--trigger: {error}.") from error
    return Beside(trigger_of(_card(file.parent / _CARD)) if said is None else said, own.adapter or _adapter(file.parent / _ADAPTER))


def _adapter(path: Path) -> dict[str, Any] | None:
    """Of PEFT's configuration what scales the factors. Raises `ValueError` for one of another adapter than LoRA."""
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        kind, dora = told.get("peft_type", "LORA"), told.get("use_dora")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path.name} beside it cannot be read") from error
    if kind != "LORA" or dora:
        raise ValueError(f"{path.name} beside it is of {'DoRA' if dora else kind}, and only a plain LoRA is supported")
    return {key: told[key] for key in ADAPTER_KEYS if key in told}


def _card(path: Path) -> dict[str, Any]:
    """What a model card says of itself before its text, which diffusers' training scripts write: YAML between two lines of dashes."""
    try:
        head = path.read_text(encoding="utf-8").split("---\n")
        said = yaml.safe_load(head[1]) if len(head) > 2 and not head[0].strip() else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}  # a page for people; whatever is wrong with it, the factors are not
    return said if isinstance(said, dict) else {}


def _tell(known: Beside, lora: Lora, tell: Tell) -> None:
    if known.trigger:
        tell(f"trigger: {known.trigger}; every prompt begins with it")
    elif known.trigger is None:
        tell("trigger: unknown, so the style may hardly show; add it again with --trigger WORDS (--trigger '' where it needs none)")
    ranks, alphas = (", ".join(f"{one:g}" for one in sorted(set(them))) for them in (lora.ranks, lora.alphas.values()))
    tell(f"rank {ranks}, alpha {alphas}" if alphas else f"rank {ranks}; no alpha was found, so it counts as the rank: {_NO_ALPHA}")


_NO_ALPHA = f"trained with half of it the style would be twice as strong as meant; put its {_ADAPTER} beside the file and add it again"


def check(volume: Path, file: Path, adapter: Any = None) -> Lora:
    """The LoRA. Raises `ValueError` with the reason unless each of its layers, in any tool's naming, is one of the UNet's, with its shape.

    Names are read as the serving code reads them. `adapter`: what is known of its alphas besides.
    """
    read_header(file)
    layers = _unet(volume)
    config = SimpleNamespace(**json.loads((volume / "models" / UNET / "config.json").read_text(encoding="utf-8")))
    lora = read_lora(file, config, adapter)
    unknown = sorted(set(lora.factors) - set(layers))
    if unknown:
        raise ValueError(f"{len(unknown)} of its {len(lora.factors)} layers are none of the UNet's, the first is {unknown[0]}")
    for layer, pair in lora.factors.items():
        (down, up), (out, into, *kernel) = (tuple(pair["A"].shape), tuple(pair["B"].shape)), layers[layer]
        # down: (rank, into, kernel), up: (out, rank, 1, 1); of a linear layer both are matrices
        if (up[0], down[1]) != (out, into) or up[1] != down[0] or tuple(down[2:]) != tuple(kernel) or len(up) != len(down):
            raise ValueError(f"{layer} is of shape {layers[layer]}, its factors are {up} and {down}")
    return lora


def _unet(volume: Path) -> dict[str, tuple[int, ...]]:
    """Layer → shape of its weight, from the header of the volume's UNet."""
    catalogue = catalogue_of(volume)
    path = Volume(volume, catalogue).file(UNET, catalogue[UNET].weights[0])
    if not path.is_file():
        raise BuilderError(f"A style is checked against the drawing network, and {UNET} is not on the volume; fetch it first.")
    entries: dict[str, Entry] = read_header(path)
    return {name.removesuffix(".weight"): it.shape for name, it in entries.items() if name.endswith(".weight") and len(it.shape) > 1}

"""One loader for each kind of file on the volume: a whole, checked network in host memory, or `BrokenModel`.

Local files only, safetensors only, no code that comes with weights. What a library would mend in silence is refused here: a missing
tensor (filled with random numbers), a wrong shape, a foreign architecture, an element type that is not served.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import torch
from safetensors.torch import load_file
from torch import nn

from model_cache.catalogue import Model
from model_cache.errors import BrokenModel
from model_cache.headers import read_header
from model_cache.volume import Volume

log = structlog.get_logger()

#: What the hub's repositories call their files of 16 bits.
VARIANT = "fp16"
#: Class → two tensors that are one by design, of which a file may hold both or either, by the library's version that wrote it. The library
#: here ties them in SAM, but not in SAM 2.
TWINS = {"Sam2Model": ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding")}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network of transformers and what makes its inputs."""

    model: Any
    processor: Any


@dataclass(frozen=True, slots=True)
class Text:
    """SDXL's two text encoders with their tokenizers."""

    tokenizer: Any
    tokenizer_2: Any
    text_encoder: Any
    text_encoder_2: Any


#: While transformers, diffusers or accelerate build a network, they change for the whole process how modules are made: weights are not
#: tied, not initialised, or put nowhere. A module that another thread makes meanwhile, such as a job's beside the warm-up's, comes out
#: wrong. So whoever makes modules holds this.
building = threading.RLock()


def load(volume: Volume, name: str, dtype: torch.dtype) -> Any:
    """Read a model of the catalogue from the volume into host memory, its weights as `dtype`, ready for inference.

    Files are mapped: weights that are stored as `dtype` are in memory once, as the system's page cache, and go to a card from there;
    others are converted one tensor at a time.

    transformers → `Loaded`; diffusers and birefnet → the module; spandrel → its descriptor; sdxl-text → `Text`; json → the object;
    tensors → name → tensor as stored. Raises `MissingModels`, `BrokenModel`.
    """
    volume.require([name])
    model = volume.catalogue[name]
    home = volume.home(name)
    with building, _broken_where_raised(name, home):
        for file in model.files:
            if file.endswith(".safetensors"):
                read_header(_weights(home, file))
            elif file.endswith(".json"):
                _json(home / file)
        return _LOADERS[model.kind](model, home, dtype)


def modules(loaded: Any) -> tuple[nn.Module, ...]:
    """The networks of what a loader gave, which move between host and card."""
    if isinstance(loaded, nn.Module):
        return (loaded,)
    if isinstance(loaded, Loaded):
        return (loaded.model,)
    if isinstance(loaded, Text):
        return (loaded.text_encoder, loaded.text_encoder_2)
    inner = getattr(loaded, "model", None)  # spandrel's descriptor
    return (inner,) if isinstance(inner, nn.Module) else ()


@contextmanager
def _broken_where_raised(name: str, home: Path) -> Iterator[None]:
    """Turn what the libraries raise about unusable files into one sentence without a path of this machine."""
    try:
        yield
    except (BrokenModel, torch.OutOfMemoryError):
        raise
    except Exception as error:  # tokenizers raises Exception itself
        words = " ".join(str(error).replace(f"{home}/", "").replace(str(home), name).split())
        reason = words if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {words}"
        raise BrokenModel(name, reason[:300].rstrip(" .") or type(error).__name__) from error


def _weights(home: Path, file: str) -> Path:
    """A file of weights; in the hub's cache its name may be that of the 16-bit variant."""
    own = home / file
    return own if own.is_file() else own.with_suffix(f".{VARIANT}{own.suffix}")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return content


def _check_architecture(model: Model, home: Path) -> None:
    """`config.json` must name the network's class: the libraries would build it from any configuration."""
    config = _json(home / "config.json")
    named = config.get("_class_name") or config.get("architectures") or []
    allowed = set(model.written_as or (model.network,))
    if not allowed & set([named] if isinstance(named, str) else named):
        raise ValueError(f"config.json is of {named or 'no architecture'}, not of {model.network}")


def _check_loading(file: str, net: nn.Module, info: Mapping[str, Any]) -> None:
    """Refuse a network that is not wholly from its file. Tensors that it has no use for are logged: published files hold some."""
    missing, mismatched = sorted(_without_twins(net, info["missing_keys"])), sorted(info["mismatched_keys"], key=str)
    if mismatched:
        key, *shapes = mismatched[0]
        raise ValueError(f"{file} holds {key} in another shape than the network ({' for '.join(str(tuple(s)) for s in shapes)})")
    if missing:
        raise ValueError(f"{file} lacks {_some(missing)}")
    if empty := sorted(key for key, tensor in _tensors(net) if tensor.is_meta):
        raise ValueError(f"{file} left {_some(empty)} without values")
    if surplus := sorted(info["unexpected_keys"]):
        log.info("model_surplus_tensors", file=file, count=len(surplus), first=surplus[0])


def _without_twins(net: nn.Module, missing: Iterable[str]) -> set[str]:
    """The missing tensors, but for one whose twin was in the file: it gets its twin's values."""
    lost = set(missing)
    pair = TWINS.get(type(net).__name__, ("", ""))
    for one, other in (pair, pair[::-1]):
        if one in lost and other not in lost:
            tensors = dict(_tensors(net))
            with torch.no_grad():
                tensors[one].copy_(tensors[other])
            return lost - {one}
    return lost


def _some(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more tensors"


def _tensors(net: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    yield from net.named_parameters()
    yield from net.named_buffers()


def _pretrained(kind: Any, home: Path, dtype: torch.dtype, file: str) -> Any:
    """A network of transformers or diffusers. Wrong shapes are let through the library and refused here, with one sentence."""
    weights = _weights(home, Path(file).name)
    net, info = kind.from_pretrained(
        home,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        variant=None if weights.name == Path(file).name else VARIANT,
    )
    _check_loading(file, net, info)
    return net.eval().requires_grad_(False)


def _load_transformers(model: Model, home: Path, dtype: torch.dtype) -> Loaded:
    import transformers  # noqa: PLC0415 - seconds

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    _check_architecture(model, home)
    net = _pretrained(getattr(transformers, str(model.network)), home, dtype, model.weights[0])
    kind = getattr(transformers, str(model.processor))
    return Loaded(net, kind.from_pretrained(home, local_files_only=True, trust_remote_code=False))


def _load_diffusers(model: Model, home: Path, dtype: torch.dtype) -> nn.Module:
    import diffusers  # noqa: PLC0415 - seconds

    _check_architecture(model, home)
    net: nn.Module = _pretrained(getattr(diffusers, str(model.network)), home, dtype, model.weights[0])
    return net


def _load_spandrel(model: Model, home: Path, dtype: torch.dtype) -> Any:
    import spandrel  # noqa: PLC0415 - seconds

    try:
        descriptor = spandrel.ModelLoader().load_from_state_dict(load_file(_weights(home, model.weights[0])))
    except spandrel.UnsupportedModelError as error:
        raise ValueError(f"{model.weights[0]} is of no architecture that is known") from error
    if descriptor.architecture.id != model.network:
        raise ValueError(f"{model.weights[0]} is of {descriptor.architecture.id}, not of {model.network}")
    descriptor.model.eval().requires_grad_(False).to(dtype)
    return descriptor


def _load_birefnet(model: Model, home: Path, dtype: torch.dtype) -> nn.Module:
    from model_cache.birefnet import from_checkpoint  # noqa: PLC0415 - imports torchvision and transformers

    return from_checkpoint(load_file(_weights(home, model.weights[0])), dtype)


def _load_text(model: Model, home: Path, dtype: torch.dtype) -> Text:  # noqa: ARG001 - one signature for all
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer  # noqa: PLC0415 - seconds
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return Text(
        CLIPTokenizer.from_pretrained(home / "tokenizer", local_files_only=True),
        CLIPTokenizer.from_pretrained(home / "tokenizer_2", local_files_only=True),
        _pretrained(CLIPTextModel, home / "text_encoder", dtype, "text_encoder/model.safetensors"),
        _pretrained(CLIPTextModelWithProjection, home / "text_encoder_2", dtype, "text_encoder_2/model.safetensors"),
    )


def _load_json(model: Model, home: Path, dtype: torch.dtype) -> dict[str, Any]:  # noqa: ARG001 - one signature for all
    return _json(home / model.files[0])


def _load_tensors(model: Model, home: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:  # noqa: ARG001 - one signature for all
    return load_file(_weights(home, model.weights[0]))


_LOADERS: Mapping[str, Callable[[Model, Path, torch.dtype], Any]] = {
    "transformers": _load_transformers,
    "diffusers": _load_diffusers,
    "spandrel": _load_spandrel,
    "birefnet": _load_birefnet,
    "sdxl-text": _load_text,
    "json": _load_json,
    "tensors": _load_tensors,
}

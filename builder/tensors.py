"""Tensors on their way from a published file to a safetensors file in 16 bits, one at a time."""

import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from builder import torchscript

#: Where training programs put the weights inside what they save; an average of the weights before the weights themselves.
WRAPPERS = ("params_ema", "params", "state_dict", "model")
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


@dataclass(frozen=True, slots=True)
class Tensors:
    """The tensors of one file. `shapes` and `floating` by name; `read` gives one, as stored."""

    shapes: Mapping[str, tuple[int, ...]]
    floating: Mapping[str, bool]
    read: Callable[[str], Tensor]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Tensors":
        """Those of a dictionary."""
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        return cls(shapes, {name: tensor.is_floating_point() for name, tensor in tensors.items()}, tensors.__getitem__)

    def renamed(self, names: Mapping[str, str]) -> "Tensors":
        """Those in `names` (old → new); the others are left out."""
        old = {new: name for name, new in names.items()}
        return Tensors(
            {new: self.shapes[name] for new, name in old.items()},
            {new: self.floating[name] for new, name in old.items()},
            lambda new: self.read(old[new]),
        )


def read_safetensors(path: Path) -> Tensors:
    """Mapped, not read. Raises `ValueError` where the file is no whole safetensors file."""
    try:
        file: Any = safe_open(path, framework="pt")
        entries = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} is not a whole safetensors file ({error})") from error
    shapes = {name: tuple(entry.get_shape()) for name, entry in entries.items()}
    floating = {name: entry.get_dtype() in _FLOATS for name, entry in entries.items()}
    return Tensors(shapes, floating, file.get_tensor)


def read_pickle(path: Path) -> Tensors:
    """What `torch.save` wrote, through torch's own restricted unpickler. Raises `ValueError` for anything but plain tensors."""
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise ValueError(f"{path.name} holds more than tensors, or is damaged; it is not opened") from error
    while isinstance(found, Mapping) and (inside := next((key for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)):
        found = found[inside]
    if not isinstance(found, Mapping) or not found or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ValueError(f"{path.name} holds no dictionary of tensors")
    return Tensors.of({str(name): tensor for name, tensor in found.items()})


def read_torchscript(path: Path) -> Tensors:
    """See `torchscript.read`."""
    return Tensors.of(torchscript.read(path))


def narrowed(tensor: Tensor, served: torch.dtype) -> Tensor:
    """The tensor in the 16 bits that suit how it is `served`; integers as int64.

    Where 16 bits are served, it has exactly those; `ValueError` for a finite value outside float16's range, which would be infinite on the
    card. For a network that runs in float32 it has whichever of float16 and bfloat16 is nearer (sum of the differences): float16, whose
    rounding is eight times finer, unless a value overflows or the tensor lies below its range.
    """
    if not tensor.is_floating_point():
        if tensor.is_complex() or tensor.dtype == torch.bool:
            raise ValueError(f"is {str(tensor.dtype).removeprefix('torch.')}, which is not served")
        return tensor.to(torch.int64)
    if served == torch.bfloat16:
        return tensor.to(torch.bfloat16)
    fine = tensor.to(torch.float16)
    overflows = bool((fine.isinf() & tensor.isfinite()).any())
    if served == torch.float16:
        if overflows:
            raise ValueError("holds values beyond float16's largest, 65504; set its dtype to bfloat16 in the volume's catalogue.yaml")
        return fine
    wide = tensor.to(torch.bfloat16)
    return wide if overflows or _error(wide, tensor) < _error(fine, tensor) else fine


def _error(narrow: Tensor, exact: Tensor) -> float:
    return float((narrow.float() - exact.float()).abs().nansum())


def write(path: Path, tensors: Tensors, served: torch.dtype) -> frozenset[str]:
    """A safetensors file in 16 bits; which of F16, BF16 and I64 it holds. One tensor at a time is in memory; the same input gives the
    same bytes. Raises `ValueError` as `narrowed` does, with the tensor's name.
    """
    order = sorted(tensors.shapes, key=lambda name: (tensors.floating[name], name))  # integers first: aligned to their 8 bytes
    spans, at = {}, 0
    for name in order:
        end = at + math.prod(tensors.shapes[name]) * (2 if tensors.floating[name] else 8)
        spans[name], at = (at, end), end
    kinds = dict.fromkeys(order, "BF16")  # the longest name; both kinds of 16 bits take the same room, so that one pass will do
    room = len(_header(tensors, spans, kinds)) + 7 & ~7
    with path.open("wb") as file:
        file.seek(8 + room)
        for name in order:
            try:
                narrow = narrowed(tensors.read(name), served)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from error
            kinds[name] = _NAMES[narrow.dtype]
            file.write(narrow.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        file.seek(0)
        file.write(room.to_bytes(8, "little") + _header(tensors, spans, kinds).ljust(room))
        file.flush()
        os.fsync(file.fileno())
    return frozenset(kinds.values())


def _header(tensors: Tensors, spans: Mapping[str, tuple[int, int]], kinds: Mapping[str, str]) -> bytes:
    entries = {name: {"dtype": kinds[name], "shape": tensors.shapes[name], "data_offsets": span} for name, span in spans.items()}
    return json.dumps({"__metadata__": {"format": "pt"}, **entries}, separators=(",", ":")).encode()

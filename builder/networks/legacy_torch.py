"""A state dict out of a torch file of the old kind, without torch: nothing but tensors, ordered dicts and plain values is ever made.

The format (torch before 1.6): five pickles (a magic number, the version, facts of the machine, the state dict, the storages' keys), then
each storage in the order of its key as an int64 count and its raw numbers.
"""

import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

#: What torch.save writes first, so that a file of another kind is known at once.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class NotLegacy(ValueError):  # noqa: N818 - says what is the case
    """The file is no torch file of the old kind, or asks for something that is no tensor."""


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor before its storage is read: `key` of the storage; offset, shape and strides counted in elements."""

    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _View:
    """In the place of torch._utils._rebuild_tensor_v2."""
    return _View(key, offset, shape, strides)


class _Reader(pickle.Unpickler):
    """Finds two functions and the kinds of storage, and nothing else; notes each storage's kind in `kinds`."""

    def __init__(self, file: BinaryIO, kinds: dict[str, np.dtype[Any]]) -> None:
        super().__init__(file)
        self._kinds = kinds

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise NotLegacy(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> str:
        _, kind, key, *_ = pid
        self._kinds[key] = kind
        return str(key)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Name → array, float32 or int64. Raises `NotLegacy`."""
    kinds: dict[str, np.dtype[Any]] = {}
    try:
        with path.open("rb") as file:
            magic, version, _, views, keys = (_Reader(file, kinds).load() for _ in range(5))
            if (magic, version) != (_MAGIC, _VERSION):
                raise NotLegacy("it does not begin as one")
            data = {key: _storage(file, kinds[key]) for key in keys}
        return {name: _array(data[view.key], view) for name, view in views.items()}
    except NotLegacy as error:
        raise NotLegacy(f"{path.name} is no torch file of the old kind: {error}") from None
    except (pickle.UnpicklingError, EOFError, KeyError, AttributeError, TypeError, ValueError, struct.error) as error:
        raise NotLegacy(f"{path.name} is no torch file of the old kind ({type(error).__name__})") from error


def _storage(file: BinaryIO, kind: np.dtype[Any]) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    raw = file.read(count * kind.itemsize) if count >= 0 else b""
    if len(raw) != count * kind.itemsize:
        raise NotLegacy("it ends too early")
    return np.frombuffer(raw, kind)


def _array(storage: NDArray[Any], view: _View) -> NDArray[Any]:
    """The tensor as a contiguous array of its own (the published convolutions are transposed views)."""
    last = view.offset + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    if min((view.offset, *view.shape, *view.strides)) < 0 or last >= len(storage):
        raise NotLegacy("a tensor leaves its storage")
    strides = [stride * storage.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, strides, writeable=False).copy()

"""The tensors of a TorchScript archive, read without running any of its code.

An archive is a zip: `data.pkl` holds the module's attributes, `data/KEY` the numbers of each storage, `code/` the program. Only the first
two are read here. `torch.jit.load`, which is deprecated, would compile the program as well.

A pickle may name any Python callable; this reader gives it records of its own and refuses every other name, so nothing outside this file
is ever called with what the archive says.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: Element types as the archive names their storages.
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
_LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag")


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: torch.dtype
    key: str


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor that has not been read yet; offset and stride in elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Object:
    """A module of the archive: its attributes, whatever its class would have done with them."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def _view(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> _View:
    return _View(storage, offset, tuple(size), tuple(stride))


def _same(value: object, *_: object) -> object:
    return value


class _Attributes(pickle.Unpickler):
    """Reads `data.pkl`; every name that it may use is one of this file's own."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Object
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        known: Mapping[tuple[str, str], Callable[..., object]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _view,
            ("collections", "OrderedDict"): OrderedDict,
            **{("torch.jit._pickle", kind): _same for kind in _LISTS},
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no network needs")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("it refers to something that is no storage")
        return _Storage(dtype, str(key))


def is_archive(path: Path) -> bool:
    """Whether the file is a TorchScript archive; a zip that `torch.save` wrote has no constants.pkl."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read(path: Path) -> dict[str, Tensor]:
    """Every parameter and buffer by its dotted name, in host memory.

    Raises `ValueError` with a reason for an archive that is damaged, compressed, or names anything that no network needs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/constants.pkl")).removesuffix("constants.pkl")
            module = _Attributes(io.BytesIO(_stored(archive, f"{root}data.pkl"))).load()
            return {name: _tensor(archive, root, view) for name, view in _views(module, "", ())}
    # What a damaged or hostile pickle makes the unpickler raise is nearly anything.
    except (pickle.UnpicklingError, zipfile.BadZipFile, StopIteration, EOFError, KeyError, IndexError) as error:
        raise ValueError(f"{path.name} is no archive of a network that can be read safely ({error})") from error
    except (TypeError, AttributeError, RuntimeError, ValueError, RecursionError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is a damaged archive ({' '.join(str(error).split())[:150]})") from error


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the archive, its checksum verified. Archives are never compressed: a small file that swells is an attack."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)


def _views(value: object, at: str, above: tuple[int, ...]) -> Iterator[tuple[str, _View]]:
    if isinstance(value, _View):
        yield at, value
    elif isinstance(value, _Object) and isinstance(value.state, dict) and id(value) not in above:
        for name, inner in value.state.items():
            yield from _views(inner, f"{at}.{name}" if at else str(name), (*above, id(value)))


def _tensor(archive: zipfile.ZipFile, root: str, view: _View) -> Tensor:
    numbers = torch.frombuffer(bytearray(_stored(archive, f"{root}data/{view.storage.key}")), dtype=view.storage.dtype)
    return numbers.as_strided(view.size, view.stride, view.offset)

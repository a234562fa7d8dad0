"""The restricted reader against torch itself, against files written by hand, and against pickles that mean harm."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.networks.legacy_torch import NotLegacy, read

HEAD = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})


class Global:
    """Pickled as the global `module name`, whether there is one or not."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Call:
    """Pickled as a call of a global."""

    def __init__(self, function: Global, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


class Storage:
    """Pickled as a persistent id, as torch does."""

    def __init__(self, kind: str, key: str, count: int) -> None:
        self.id = ("storage", Global("torch", kind), key, "cpu", count, None)


class Writer(pickle._Pickler):  # type: ignore[name-defined]  # the one that can be told how to write
    """Writes what is above."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.id if isinstance(obj, Storage) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, Global):
            return self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        if isinstance(obj, Call):
            self.save(obj.function)
            self.save(tuple(obj.arguments))
            return self.write(b"R")
        return super().save(obj, save_persistent_id)


def tensor(kind: str, key: str, count: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Call:
    hooks = Call(Global("collections", "OrderedDict"))
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), Storage(kind, key, count), offset, shape, strides, False, hooks)


def write(path: Path, views: Any, storages: dict[str, np.ndarray[Any, Any]], head: tuple[Any, ...] = HEAD) -> Path:
    """A torch file of the old kind."""
    with path.open("wb") as file:
        for it in (*head, views, list(storages)):
            Writer(file, 2).dump(it)
        for data in storages.values():
            file.write(struct.pack("<q", data.size) + data.tobytes())
    return path


NUMBERS = np.arange(12, dtype=np.float32)


def test_tensors_are_read_by_shape_strides_and_offset(tmp_path):
    views = OrderedDict(
        whole=tensor("FloatStorage", "0", 12, 0, (3, 4), (4, 1)),
        turned=tensor("FloatStorage", "0", 12, 0, (4, 3), (1, 4)),
        part=tensor("FloatStorage", "0", 12, 5, (2,), (1,)),
        count=tensor("LongStorage", "1", 1, 0, (), ()),
    )
    read_ = read(write(tmp_path / "a.pth", views, {"0": NUMBERS, "1": np.array([7])}))
    assert list(read_) == ["whole", "turned", "part", "count"]
    np.testing.assert_array_equal(read_["whole"], NUMBERS.reshape(3, 4))
    np.testing.assert_array_equal(read_["turned"], NUMBERS.reshape(3, 4).T)
    np.testing.assert_array_equal(read_["part"], [5, 6])
    assert read_["count"] == 7
    assert all(it.flags.c_contiguous for it in read_.values())


def test_what_torch_writes_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    state = OrderedDict(a=torch.randn(3, 5, 2).permute(2, 0, 1), b=torch.tensor(3), c=torch.randn(4))
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    for name, value in read(tmp_path / "a.pth").items():
        np.testing.assert_array_equal(value, state[name].numpy())


@pytest.mark.parametrize(
    "harm",
    [
        Call(Global("os", "system"), "touch OUT"),
        Call(Global("posix", "system"), "touch OUT"),
        Call(Global("builtins", "eval"), "open('OUT', 'w')"),
        Call(Global("builtins", "getattr"), "x", "y"),
        Call(Global("torch", "load"), "OUT"),
        Call(Global("torch.serialization", "load"), "OUT"),
        Call(Global("collections", "defaultdict")),
        Call(Global("builtins", "__import__"), "os"),
        Global("torch", "DoubleStorage"),
    ],
)
@pytest.mark.parametrize("place", range(5))
def test_a_file_that_asks_for_anything_else_is_refused(tmp_path, monkeypatch, harm, place):
    monkeypatch.chdir(tmp_path)
    pickles: list[Any] = [*HEAD, OrderedDict(), []]
    pickles[place] = harm
    with (tmp_path / "a.pth").open("wb") as file:
        for it in pickles:
            Writer(file, 2).dump(it)
    with pytest.raises(NotLegacy, match=r"a\.pth is no torch file of the old kind: it asks for "):
        read(tmp_path / "a.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (13,), (1,)), (1, (12,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (11, 1)), (0, (1 << 40,), (1,)), (0, (2,), ())],
)
def test_a_tensor_outside_of_its_storage_is_refused(tmp_path, offset, shape, strides):
    path = write(tmp_path / "a.pth", {"a": tensor("FloatStorage", "0", 12, offset, shape, strides)}, {"0": NUMBERS})
    with pytest.raises(NotLegacy):
        read(path)


@pytest.mark.parametrize("head", [(1, 1001, {}), (HEAD[0], 1002, {}), ("x", None, 3)])
def test_another_beginning_is_refused(tmp_path, head):
    with pytest.raises(NotLegacy, match="does not begin as one"):
        read(write(tmp_path / "a.pth", {}, {}, head))


@pytest.mark.parametrize("views", [[], 3, {"a": 1}, {"a": tensor("FloatStorage", "9", 12, 0, (1,), (1,))}])
def test_other_contents_are_refused(tmp_path, views):
    with pytest.raises(NotLegacy):
        read(write(tmp_path / "a.pth", views, {"0": NUMBERS} if views == [] else {}))


def test_a_cut_file_is_refused(tmp_path):
    whole = write(tmp_path / "a.pth", {"a": tensor("FloatStorage", "0", 12, 0, (12,), (1,))}, {"0": NUMBERS}).read_bytes()
    for keep in range(0, len(whole), 7):
        (tmp_path / "a.pth").write_bytes(whole[:keep])
        with pytest.raises(NotLegacy):
            read(tmp_path / "a.pth")

"""What a safetensors file says of itself, without torch and without reading the tensors.

The format: eight bytes, little-endian, the header's length n; n bytes of JSON, name → {dtype, shape, data_offsets}; the tensors' bytes,
to which the offsets refer, without gaps (https://github.com/huggingface/safetensors, section "Format").
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Bytes of an element. Weights are floating; I64 is for index tensors (position ids, batch counters). All else is no served format.
ITEM_SIZE: Mapping[str, int] = {"F16": 2, "BF16": 2, "F32": 4, "I64": 8}
#: The reference implementation's own limit.
LARGEST_HEADER = 100_000_000
_METADATA = "__metadata__"


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: element type as safetensors names it, and shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, Entry]:
    """Name → entry of every tensor.

    Raises `ValueError` with a reason where the file is cut off, longer than it says, no safetensors, or of an element type that is
    not served.
    """
    size, text = _text(path)
    try:
        listed: dict[str, Any] = json.loads(text)
        listed.pop(_METADATA, None)
        spans = {name: (it["dtype"], tuple(it["shape"]), *map(int, it["data_offsets"])) for name, it in listed.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path.name} has a header that is no list of tensors") from error
    if not spans:
        raise ValueError(f"{path.name} holds no tensors")
    _check_spans(path.name, spans, size - 8 - len(text))
    return {name: Entry(dtype, shape) for name, (dtype, shape, _, _) in spans.items()}


def read_metadata(path: Path) -> dict[str, str]:
    """What the writer of the file said beside the tensors: texts by key, none where it said nothing.

    Raises `ValueError` where the header cannot be read; the tensors are not looked at.
    """
    try:
        said = json.loads(_text(path)[1]).get(_METADATA) or {}
        return {str(key): value for key, value in said.items() if isinstance(value, str)}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path.name} has no header that can be read") from error


def _text(path: Path) -> tuple[int, bytes]:
    """The file's size and its header."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= LARGEST_HEADER or length > size - 8:
            raise ValueError(f"{path.name} is no safetensors file, or is cut off in its header ({size} bytes)")
        return size, file.read(length)


def _check_spans(file: str, spans: Mapping[str, tuple[str, tuple[int, ...], int, int]], there: int) -> None:
    at = 0
    for name, (dtype, shape, start, end) in sorted(spans.items(), key=lambda item: item[1][2]):
        if dtype not in ITEM_SIZE:
            raise ValueError(f"{file} holds {name} as {dtype}; weights are F16, BF16 or F32")
        if start != at or end - start != math.prod(shape) * ITEM_SIZE[dtype]:
            raise ValueError(f"{file} has a header that contradicts itself at {name}")
        at = end
    if at != there:
        raise ValueError(
            f"{file} holds {there} bytes of tensors where its header says {at}: it is {'cut off' if there < at else 'too long'}"
        )

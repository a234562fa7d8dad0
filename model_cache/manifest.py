"""The volume's lock file: what was fetched, from where, and how each file on the volume is known again. No torch.

`VOLUME/models.lock.json` maps a model's name to its record. The builder writes it, last of all and whole; workers only read it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_cache.errors import BrokenModel

LOCK = "models.lock.json"


class FileRecord(BaseModel):
    """One file as it lies on the volume: `size` in bytes, `sha256` as hex, `mtime_ns` its time stamp when it was hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    mtime_ns: int


class SourceRecord(BaseModel):
    """One file as it was fetched: `sha256` is held at every later fetch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class ModelRecord(BaseModel):
    """One model: `source` as the catalogue names it, `revision` a commit of the hub or the digest of a single file's content.

    `sources`: path at the source → what was fetched; `files`: path below VOLUME/models/NAME → what is served. `converted` says how the one
    became the other, in a word or two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    revision: str
    sources: Mapping[str, SourceRecord]
    files: Mapping[str, FileRecord]
    converted: str = ""


def read_lock(volume: Path) -> dict[str, ModelRecord]:
    """The records of a volume; none where nothing was fetched. Raises `BrokenModel` for a lock file that cannot be read."""
    path = volume / LOCK
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {name: ModelRecord.model_validate(row) for name, row in rows.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise BrokenModel(LOCK, "it is no lock file of models") from error


def write_lock(volume: Path, records: Mapping[str, ModelRecord]) -> None:
    """Replace the lock file at once: a reader, or a killed writer, sees the old one or the new one."""
    text = json.dumps({name: records[name].model_dump() for name in sorted(records)}, indent=1)
    part = volume / f".{LOCK}.{os.getpid()}.part"
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(volume / LOCK)


def digest(path: Path) -> str:
    """sha256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_of(path: Path) -> FileRecord:
    """The record of a file as it is now; reads all of it."""
    stat = path.stat()
    return FileRecord(size=stat.st_size, sha256=digest(path), mtime_ns=stat.st_mtime_ns)


def suspects(volume: Path, name: str, record: ModelRecord) -> dict[str, str]:
    """Files that are not as recorded, by size and time stamp only: file → what differs. Reads no content."""
    found = {}
    for file, known in record.files.items():
        try:
            stat = (volume / "models" / name / file).stat()
        except OSError:
            found[file] = "missing"
            continue
        if stat.st_size != known.size:
            found[file] = f"{stat.st_size} bytes instead of {known.size}"
        elif stat.st_mtime_ns != known.mtime_ns:
            found[file] = "changed since it was verified"
    return found

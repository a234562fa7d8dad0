"""Where a model comes from, and which revision of it: resolved once, pinned, held from then on."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from builder.errors import BuilderError
from builder.workspace import Workspace, write_whole
from model_cache.catalogue import Model
from model_cache.manifest import ModelRecord

HUB = "https://huggingface.co"
_COMMIT = re.compile("[0-9a-f]{40}")
_HEX = "^[0-9a-f]{64}$"


@dataclass(frozen=True, slots=True)
class Hub:
    """Which hub, and as whom. Its printed form does not show the token."""

    endpoint: str = HUB
    token: str | None = field(default=None, repr=False)


def hub_of_environment() -> Hub:
    """HF_ENDPOINT and HF_TOKEN (or the token that `hf auth login` stored)."""
    from huggingface_hub import get_token  # noqa: PLC0415 - takes a moment, and most commands need no network

    return Hub((os.environ.get("HF_ENDPOINT") or HUB).rstrip("/"), get_token())


class Expected(BaseModel):
    """What a source file must be, as far as it is known. `sha256`: of the content; `blob`: git's name of it (small files on the hub
    have no other); `etag`: the server's name of this version, for going on with a partial file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int | None = Field(default=None, ge=0)
    sha256: str | None = Field(default=None, pattern=_HEX)
    blob: str | None = None
    etag: str | None = None


class Pin(BaseModel):
    """A model's source, held. `revision`: a commit of the hub, the digest of a single file's content (empty before it was fetched),
    or `content-…`, the digest of an imported folder's content. `files`: path at the source → what it must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    revision: str
    files: Mapping[str, Expected]

    def covers(self, model: Model) -> bool:
        """Whether every source file of the model is known."""
        return all(path in self.files for path in paths_of(model))


def source_of(model: Model) -> str:
    """The repository or address that the catalogue names. Raises `BuilderError` where it names none or both."""
    it = model.source
    if (it.repository is None) == (it.url is None):
        raise BuilderError(f"The catalogue must give {model.name} either a repository or a url as its source.")
    return it.repository or it.url or ""


def path_at_source(model: Model, file: str) -> str:
    """The path at the source of one of the model's files; an address has one file, named as its last part.

    Raises `BuilderError` for a path that would leave the folder of downloads.
    """
    path = Path(urlsplit(model.source.url).path).name if model.source.url else model.source.files.get(file, file)
    if not path or path.startswith(("/", "\\")) or ".." in Path(path).parts:
        raise BuilderError(f"The catalogue gives {model.name} a source file {path!r}, which is no path inside the source.")
    return path


def paths_of(model: Model) -> tuple[str, ...]:
    """The source files that the model is made of, each once."""
    return tuple(dict.fromkeys(path_at_source(model, file) for file in model.files))


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, so that the hub can be asked for exactly it."""
    return _COMMIT.fullmatch(revision) is not None


def pin_of_record(record: ModelRecord) -> Pin:
    """The pin that a fetched model's record amounts to."""
    files = {path: Expected(size=it.size, sha256=it.sha256) for path, it in record.sources.items()}
    return Pin(source=record.source, revision=record.revision, files=files)


def read_pin(workspace: Workspace, name: str) -> Pin | None:
    """The pin that the workspace keeps. Raises `BuilderError` for a file that is none."""
    path = workspace.pin(name)
    try:
        return Pin.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, ValidationError) as error:
        raise BuilderError(f"{path} cannot be read; delete it, and the revision of {name} is resolved again.") from error


def write_pin(workspace: Workspace, name: str, pin: Pin) -> None:
    """Keep a pin, whole or not at all."""
    write_whole(workspace.pin(name), pin.model_dump_json(indent=1, exclude_none=True))


def held_pin(workspace: Workspace, model: Model, record: ModelRecord | None) -> Pin | None:
    """What is held of the model's present source: its record, else the workspace's pin, else nothing. No network.

    What is of another revision than the catalogue names is not held.
    """
    if record is not None and is_of(model, record):
        return pin_of_record(record)
    pin = read_pin(workspace, model.name)
    return pin if pin is not None and is_of(model, pin) else None


def is_of(model: Model, it: Pin | ModelRecord) -> bool:
    """Whether a pin or a record is of the model's present source, at a revision that the catalogue allows."""
    return it.source == source_of(model) and (it.revision == "" or model.source.allows(it.revision))


def held_revision(workspace: Workspace, model: Model, record: ModelRecord | None) -> str | None:
    """The revision that the next fetch takes, or how it begins: what is held, else the catalogue's. None: nothing holds it yet."""
    pin = held_pin(workspace, model, record)
    return (pin.revision if pin is not None else "") or model.source.revision

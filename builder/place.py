"""Making a model visible at once, and finishing at the next start what a killed builder left.

A model is whole in `staged/NAME` before its record is written beside it; from then on placing only goes forward: the old folder is renamed
away, the new one to its place, the lock file replaced, the rest deleted. A builder may be killed after any step, and any step may be
repeated. The lock file never vouches for other bytes than those of its record.
"""

import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from builder.errors import BuilderError, writing
from builder.sources import pin_of_record, write_pin
from builder.tell import Tell
from builder.workspace import Workspace, remove, write_whole
from model_cache.errors import BrokenModel
from model_cache.manifest import ModelRecord, SourceRecord, read_lock, record_of, write_lock


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model came from and how it was made, as its record keeps it (`ModelRecord`)."""

    source: str
    revision: str
    sources: Mapping[str, SourceRecord]
    converted: str


def records_of(volume: Path) -> dict[str, ModelRecord]:
    """The volume's records. Raises `BuilderError` for a lock file that cannot be read."""
    try:
        return read_lock(volume)
    except BrokenModel as error:
        raise BuilderError(f"{error}. Delete it, and fetch records the models anew.") from error


def save_records(volume: Path, records: Mapping[str, ModelRecord]) -> None:
    """Replace the lock file at once."""
    with writing("the volume's lock file"):
        write_lock(volume, records)


def empty_stage(workspace: Workspace, name: str) -> Path:
    """An empty folder to make the model in."""
    remove(workspace.staged(name))
    with writing(f"the folder of {name}"):
        workspace.staged(name).mkdir(parents=True)
    return workspace.staged(name)


def record_stage(workspace: Workspace, name: str, files: Collection[str], origin: Origin) -> ModelRecord:
    """Hash what was made, bring it to the disk and declare it whole. Raises `BuilderError` when it is not exactly `files`."""
    home = workspace.staged(name)
    made = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    if made != set(files):
        wrong = sorted(made ^ set(files))
        raise BuilderError(f"The conversion of {name} did not make exactly its files: {', '.join(wrong)}.")
    for file in files:
        _to_disk(home / file)
    record = ModelRecord(
        source=origin.source,
        revision=origin.revision,
        sources=origin.sources,
        files={file: record_of(home / file) for file in files},
        converted=origin.converted,
    )
    with writing(f"the record of {name}"):
        write_whole(workspace.staged_record(name), record.model_dump_json())
    return record


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place(workspace: Workspace, name: str) -> None:
    """Take a whole staged model to its place and into the lock file; may be called again after a kill at any point."""
    record = _staged(workspace, name)
    if workspace.staged(name).exists():
        with writing(f"the folder models/{name}"):
            workspace.model(name).parent.mkdir(exist_ok=True)
            if workspace.model(name).exists():
                _put_away(workspace, name)
            workspace.staged(name).rename(workspace.model(name))
    save_records(workspace.volume, {**records_of(workspace.volume), name: record})
    workspace.staged_record(name).unlink()
    remove(workspace.old(name))


def _staged(workspace: Workspace, name: str) -> ModelRecord:
    path = workspace.staged_record(name)
    try:
        return ModelRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise BuilderError(f"{path} cannot be read; delete it, and the model is made again.") from error


def _put_away(workspace: Workspace, name: str) -> None:
    remove(workspace.old(name))
    workspace.old(name).parent.mkdir(parents=True, exist_ok=True)
    workspace.model(name).rename(workspace.old(name))


def discard_downloads(workspace: Workspace, name: str) -> None:
    """Delete a model's sources at once: they are renamed away first."""
    aside = workspace.old(f"{name}.downloads")
    if workspace.downloads(name).exists():
        remove(aside)
        aside.parent.mkdir(parents=True, exist_ok=True)
        workspace.downloads(name).rename(aside)
        remove(aside)


def take_away(workspace: Workspace, name: str) -> None:
    """Remove a placed model from the volume and from the lock file; its pin stays, so that a later fetch brings the same revision."""
    records = records_of(workspace.volume)
    record = records.pop(name, None)
    if record is not None:
        with writing(f"the pin of {name}"):
            write_pin(workspace, name, pin_of_record(record))
    if workspace.model(name).exists():
        _put_away(workspace, name)
    save_records(workspace.volume, records)
    remove(workspace.old(name))


def recover(workspace: Workspace, tell: Tell) -> None:
    """Finish what a killed builder began: whole models are placed, half-made and put-away ones deleted. Downloads stay."""
    # A program that the killed builder started may still be writing there; what it leaves goes the next time.
    shutil.rmtree(workspace.scratch, ignore_errors=True)
    staged, old = workspace.root / "staged", workspace.root / "old"
    for path in sorted(staged.glob("[!.]*.json")):
        tell(f"{path.stem}: placed, as the builder before was about to do")
        place(workspace, path.stem)
    for path in [*staged.glob("*"), *old.glob("*"), *workspace.volume.glob(".models.lock.json.*.part")]:
        remove(path)

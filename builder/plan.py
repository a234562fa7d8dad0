"""What is there, what is missing, what has changed: from the lock file, sizes and time stamps alone. No network, nothing written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.choose import Choice
from builder.place import records_of
from builder.sources import Pin, held_pin, held_revision, is_of, path_at_source, paths_of, source_of
from builder.workspace import Workspace
from model_cache.catalogue import Model
from model_cache.manifest import ModelRecord, suspects
from model_cache.needed import TEXT

State = Literal["complete", "missing", "incomplete", "changed", "other source", "unrecorded"]


@dataclass(frozen=True, slots=True)
class Row:
    """One model of a plan. `lacking`: file → what is wrong with it. `to_fetch`: bytes, None where nothing is known of its size;
    `estimated`: from the number of parameters, because no fetch has told the true size yet. `revision`: what a fetch takes, or how it
    begins; None where nothing holds one yet, so that the first fetch takes the present one."""

    name: str
    state: State
    lacking: Mapping[str, str]
    to_fetch: int | None
    estimated: bool
    note: str = ""
    revision: str | None = None


def state_of(volume: Path, model: Model, record: ModelRecord | None) -> tuple[State, dict[str, str]]:
    """A model's state, and file → what is wrong. By size and time stamp only."""
    home = volume / "models" / model.name
    if record is None:
        there = [file for file in model.files if (home / file).is_file()]
        if len(there) == len(model.files):
            return "unrecorded", dict.fromkeys(model.files, "not in the lock file")
        return ("incomplete" if there else "missing"), {file: "missing" for file in model.files if file not in there}
    wrong = suspects(volume, model.name, record) | {file: "not in the lock file" for file in model.files if file not in record.files}
    if not is_of(model, record):
        other = f"from {record.source}" if record.source != source_of(model) else f"of revision {record.revision[:8]}"
        return "other source", dict.fromkeys(model.files, other)
    if not wrong:
        return "complete", {}
    if all(what == "missing" for what in wrong.values()):
        return ("missing" if len(wrong) == len(model.files) else "incomplete"), wrong
    return "changed", wrong


def make_plan(choice: Choice) -> list[Row]:
    """A row for each chosen model. The text encoders need no fetch where the prompt's embeddings are there, unless they are to stay."""
    volume, keep_text = choice.volume, choice.keep_text
    workspace, records = Workspace(volume), records_of(volume)
    rows = []
    for name in choice.names:
        model, record = choice.catalogue[name], records.get(name)
        state, lacking = state_of(volume, model, record)
        held = held_revision(workspace, model, record)
        if state == "complete":
            rows.append(Row(name, state, {}, 0, False, revision=held))
        elif name not in choice.to_serve:
            rows.append(Row(name, state, lacking, 0, False, "not needed: the prompt's embeddings are there", held))
        else:
            count, estimated = _bytes_to_fetch(workspace, model, record, state)
            rows.append(Row(name, state, lacking, count, estimated, _note(name, state, keep_text), held))
    return rows


def _note(name: str, state: State, keep_text: bool) -> str:
    if name == TEXT and not keep_text:
        return "for the prompt's embeddings; removed when they are made"
    return "fetched only where its content, too, turns out to have changed" if state == "changed" else ""


def _bytes_to_fetch(workspace: Workspace, model: Model, record: ModelRecord | None, state: State) -> tuple[int | None, bool]:
    """Bytes that a fetch would bring, and whether that is an estimate. Where files merely changed, it may turn out to need fewer."""
    pin, home = held_pin(workspace, model, record), workspace.downloads(model.name)
    here = {path: bytes_there(home / path) for path in paths_of(model)}
    if state == "incomplete" and pin is not None and pin.covers(model):
        here |= {path: pin.files[path].size or 0 for path in here if served_as_published(workspace, model, pin, path)}
    known = {path: pin.files[path].size for path in here if path in pin.files} if pin is not None else {}
    sizes = [count for count in known.values() if count is not None]
    if len(sizes) == len(here):
        return sum(max(0, (known[path] or 0) - count) for path, count in here.items()), False
    guess = parameters_bytes(model)
    return (None, True) if guess is None else (max(0, guess - sum(here.values())), True)


def served_as_published(workspace: Workspace, model: Model, pin: Pin, path: str) -> Path | None:
    """The served file that may be the source file `path`, by its size; only where a hash can decide whether it is."""
    expected = pin.files[path]
    if expected.sha256 is None and expected.blob is None:
        return None
    served = (workspace.model(model.name) / file for file in model.files if path_at_source(model, file) == path)
    return next((it for it in served if it.is_file() and it.stat().st_size == expected.size), None)


def bytes_there(target: Path) -> int:
    """Bytes of a download that are there already."""
    for path in (target, target.with_name(f"{target.name}.part")):
        if path.is_file():
            return path.stat().st_size
    return 0


def parameters_bytes(model: Model) -> int | None:
    """Bytes of the source as its parameters suggest: 16 bits where the file's name says fp16, else 32. None where they are not counted."""
    half = any("fp16" in path for path in paths_of(model))
    return model.bytes("float16" if half else "float32")


def seconds(count: int, megabits: float) -> float:
    """Time of a transfer at so many million bits a second."""
    return count * 8 / (megabits * 1e6)

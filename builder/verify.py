"""Whether a volume is what its lock file says, and whether what it holds can be served. Changes nothing.

Shallow: sizes, time stamps, and no unrecorded files. Deep, in place of the time stamps: the sha256 of every file, the headers of the
weights, and each model read by the loader that serves it. The loader is the check of names, shapes and architecture: it refuses a missing
tensor, another shape and a foreign configuration, under the names that the published files have, which a network built beside them for
comparison would not know.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from builder.choose import catalogue_of
from builder.tell import Meter
from model_cache.catalogue import Model
from model_cache.errors import BrokenModel, MissingModels
from model_cache.headers import read_header
from model_cache.manifest import LOCK, ModelRecord, read_lock, suspects
from model_cache.styles import beside, metadata_of, sidecar
from model_cache.volume import UNRECORDED, Volume

#: `Finding.model` of a finding that belongs to no model.
STYLES, PROMPTS = "styles", "prompts"
#: What a shallow look says of a file of the right size and another time stamp: a deep look reads its content, fetching records it anew.
STAMP = "it has not the time stamp that was recorded, so its content may have changed"
STALE = "its embeddings are not those of the prompts in force; python -m builder fetch makes them anew"
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `file` is relative to the model's folder, empty where the whole model is meant; `what` ends in no stop."""

    model: str
    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.model}{'/' if self.file else ''}{self.file}: {self.what}"


def verify(volume: Path, names: Sequence[str] | None, deep: bool, tell: Meter, prompt: tuple[str, str] | None = None) -> list[Finding]:
    """Everything that is wrong, in the order of the volume; nothing: it is right. `names`: these models; None: all that are recorded or
    there, the styles and the prompt. `tell(file, bytes done, bytes in all)` while hashes are computed. `prompt`: the texts whose
    embeddings are to be there (`Choice.prompt`), None where it does not matter whose they are.

    Raises `BuilderError` for a catalogue that cannot be read or lacks a name.
    """
    catalogue = catalogue_of(volume)
    try:
        records = read_lock(volume)
    except BrokenModel as error:
        return [Finding(LOCK, "", error.reason)]
    there = {path.name for path in (volume / "models").glob("*")}
    every = list(dict.fromkeys([*records, *sorted(there)])) if names is None else list(names)
    found: list[Finding] = []
    whole = Volume(volume, catalogue)
    for name in every:
        if name not in catalogue:
            found.append(Finding(name, "", "the catalogue knows no such model; python -m builder prune removes it"))
            continue
        in_hub_cache = not whole.is_own(name) and not whole.missing([name])
        wrong = [] if in_hub_cache else list(_shallow(volume, catalogue[name], records.get(name)))
        if deep:
            contents = {} if in_hub_cache else _contents(volume, name, records.get(name), tell)
            wrong = [it for it in wrong if it.file not in contents] + [it for it in contents.values() if it is not None]
            wrong += _served(whole, name, not any(it.file in catalogue[name].files for it in wrong))
        found += wrong
    if names is None:
        found += _styles(volume, deep) + _prompts(whole, prompt)
    return found


def _shallow(volume: Path, model: Model, record: ModelRecord | None) -> Iterator[Finding]:
    home, finding = volume / "models" / model.name, partial(Finding, model.name)
    if record is None:
        there = [file for file in model.files if (home / file).is_file()]
        yield finding("", "the lock file does not know it" if there else "it is not on the volume")
        return
    for file, what in suspects(volume, model.name, record).items():
        yield finding(file, STAMP if what.startswith("changed") else what)
    for file in model.files:
        if file not in record.files:
            yield finding(file, "the catalogue wants it, the lock file does not know it")
    expected = model.source.repository or model.source.url
    if record.source != expected:
        yield finding("", f"it was fetched from {record.source}, the catalogue says {expected}")
    elif not model.source.allows(record.revision):
        yield finding("", f"it is of revision {record.revision}, the catalogue says {model.source.revision}")
    for path in sorted(home.rglob("*")):
        file = path.relative_to(home).as_posix()
        if not path.is_dir() and file not in record.files:
            yield finding(file, "it belongs to nothing that is recorded")


def _contents(volume: Path, name: str, record: ModelRecord | None, tell: Meter) -> dict[str, Finding | None]:
    """What the hash says of each recorded file that has its recorded size; a right content outweighs another time stamp."""
    answers: dict[str, Finding | None] = {}
    for file, known in (record.files if record else {}).items():
        path = volume / "models" / name / file
        if path.is_file() and path.stat().st_size == known.size:
            right = _digest(path, partial(tell, f"{name}/{file}")) == known.sha256
            answers[file] = None if right else Finding(name, file, "its content is not what was recorded (sha256)")
    return answers


def _served(volume: Volume, name: str, right: bool) -> Iterator[Finding]:
    """What the headers say, and where nothing was wrong so far (`right`), the loader."""
    model = volume.catalogue[name]
    for file in model.weights:
        if volume.file(name, file).is_file():
            for what in _header(volume.file(name, file)):
                right = False
                yield Finding(name, file, what)
    if right and not volume.missing([name]) and (what := _unserved(volume, name)):
        yield Finding(name, "", what)


def _digest(path: Path, tell: Callable[[int, int], None]) -> str:
    total, done, digest = path.stat().st_size, 0, hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            tell(done, total)
    return digest.hexdigest()


def _header(path: Path) -> Iterator[str]:
    try:
        entries = read_header(path)
    except ValueError as error:
        yield str(error)
        return
    wide = [name for name, entry in entries.items() if entry.dtype == "F32"]
    if wide:
        yield f"{len(wide)} of its tensors are in 32 bits, the first is {wide[0]}; python -m builder convert makes 16"


def _unserved(volume: Volume, name: str) -> str:
    """Why the loader refuses a model; empty where it does not."""
    import torch  # noqa: PLC0415 - seconds, and only a deep look needs it

    from model_cache.loaders import load  # noqa: PLC0415 - imports torch

    try:
        load(volume, name, getattr(torch, volume.catalogue[name].dtype))
    except BrokenModel as error:
        return error.reason
    except MissingModels as error:
        return str(error)
    return ""


def _styles(volume: Path, deep: bool) -> list[Finding]:
    found = []
    for path in sorted((volume / "styles").glob("*.safetensors")):
        if path.name.startswith("."):
            continue
        try:
            read_header(path)
            beside(path)
            if deep:
                from builder.add_style import check  # noqa: PLC0415 - imports diffusers

                check(volume, path)
            found += _base(volume, path)
        except (ValueError, OSError) as error:
            found.append(Finding(STYLES, path.name, str(error)))
        except BrokenModel as error:
            found.append(Finding(STYLES, sidecar(path).name, error.reason))
    return found


def _base(volume: Path, style: Path) -> list[Finding]:
    """Whether a style that `train-style` made belongs to the drawing network that is here; others do not say theirs."""
    base = metadata_of(style).get("base_revision", UNRECORDED)
    here = Volume(volume, catalogue_of(volume)).revision("sdxl-unet")
    if UNRECORDED in (base, here) or base == here:
        return []
    return [Finding(STYLES, style.name, f"it was trained on revision {base[:12]} of sdxl-unet, the volume holds {here[:12]}")]


def _prompts(volume: Volume, texts: tuple[str, str] | None) -> list[Finding]:
    path = volume.prompts()
    if path is None:
        return []
    try:
        entries = read_header(path)
    except (ValueError, OSError) as error:
        return [Finding(PROMPTS, path.name, str(error))]
    # model_cache.prompts.NAMES, whose module imports torch
    wanted = {"prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"}
    lacking = ", ".join(sorted(wanted - set(entries)))
    if lacking:
        return [Finding(PROMPTS, path.name, f"it lacks {lacking}")]
    if texts is not None and not volume.has_prompts(texts):
        return [Finding(PROMPTS, path.name, STALE)]
    width, config = entries["prompt_embeds"].shape[-1], volume.path / "models" / "sdxl-unet" / "config.json"
    try:
        wide = json.loads(config.read_text(encoding="utf-8")).get("cross_attention_dim") if config.is_file() else None
    except ValueError:
        wide = None  # told as a finding of the UNet's
    if wide is not None and width != wide:
        return [Finding(PROMPTS, path.name, f"its embeddings are {width} wide, the drawing network takes {wide}")]
    return []

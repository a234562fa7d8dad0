"""Sources from a folder instead of the network: fetched by hand or by another tool, or in a hub cache."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError, writing
from builder.sources import Expected, Pin, is_commit, paths_of, source_of
from model_cache.catalogue import Model


@dataclass(frozen=True, slots=True)
class Found:
    """A model's sources in the folder. `revision`: the commit, where the folder's layout tells it."""

    files: Mapping[str, Path]
    revision: str | None


def find(folder: Path, model: Model, held: Pin | None) -> Found:
    """Where the model's source files lie: `FOLDER/NAME/PATH`, `FOLDER/org--name/PATH`, or a hub cache with its snapshots.

    Of several snapshots, the held revision's, else the one that `refs/main` names. Raises `BuilderError` that says what is missing.
    """
    paths, lacking = paths_of(model), ""
    for home, revision in _homes(folder, model, held):
        missing = [path for path in paths if not (home / path).is_file()]
        if not missing:
            return Found({path: (home / path).resolve() for path in paths}, revision)
        if home.is_dir() and not lacking:
            lacking = f"{home} lacks {', '.join(missing)}"
    raise BuilderError(
        f"{model.name} is not in {folder}: {lacking or f'there is no folder {model.name} and no copy of {source_of(model)}'}."
    )


def _homes(folder: Path, model: Model, held: Pin | None) -> Iterator[tuple[Path, str | None]]:
    yield folder / model.name, None
    if model.source.repository is None:
        yield folder, None
        return
    dashed = model.source.repository.replace("/", "--")
    yield folder / dashed, None
    for cache in (folder, folder / "hub", folder / "huggingface-cache" / "hub"):
        home = cache / f"models--{dashed}"
        main = home / "refs" / "main"
        named = [held.revision] if held is not None else []
        named += [main.read_text(encoding="utf-8").strip()] if main.is_file() else []
        named += sorted(path.name for path in home.glob("snapshots/*"))
        for revision in dict.fromkeys(named):
            if is_commit(revision) and model.source.allows(revision):
                yield home / "snapshots" / revision, revision


def pin_of(model: Model, found: Found) -> Pin:
    """The pin of an import without an earlier pin; its hashes are those of the files as they are brought."""
    files = {path: Expected(size=at.stat().st_size) for path, at in found.files.items()}
    return Pin(source=source_of(model), revision=found.revision or "", files=files)


def bring(origin: Path, target: Path, shown: str) -> None:
    """Link a file, or copy it where the file system has no links to it. Whole or not at all."""
    part = target.with_name(f"{target.name}.part")
    with writing(shown):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        try:
            os.link(origin, part)
        except OSError:  # another file system, or one without links
            shutil.copy2(origin, part)
        part.replace(target)

"""Making room: models that the choice does not need, downloads, what a killed builder left."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.errors import writing
from builder.place import records_of, take_away
from builder.status import bytes_of
from builder.workspace import Workspace, remove


@dataclass(frozen=True, slots=True)
class Spare:
    """Something that can go: `model` by name, or else the folder `path`. `size` in bytes."""

    shown: str
    size: int
    model: str | None = None
    path: Path | None = None


def spare(volume: Path, needed: Iterable[str]) -> list[Spare]:
    """What `prune` would remove: recorded and unrecorded models that nobody needs, then the builder's leavings. Changes nothing."""
    workspace, keep = Workspace(volume), set(needed)
    there = {path.name for path in (volume / "models").glob("[!.]*") if path.is_dir()} | set(records_of(volume))
    found = [Spare(f"models/{name}", bytes_of(workspace.model(name)), model=name) for name in sorted(there - keep)]
    for corner in ("downloads", "staged", "old", "training"):
        for path in sorted((workspace.root / corner).glob("*")):
            found.append(Spare(str(path.relative_to(volume)), bytes_of(path) or _size(path), path=path))
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def prune(workspace: Workspace, spares: Iterable[Spare]) -> None:
    """Remove them, each at once. The pins of removed models stay: a later fetch brings the same revision."""
    for it in spares:
        with writing(f"The removal of {it.shown}"):
            if it.model is not None:
                take_away(workspace, it.model)
            elif it.path is not None:
                remove(it.path)

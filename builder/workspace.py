"""The builder's own corner of a volume, and the lock against a second builder.

```
VOLUME/.builder/lock                  held by the one builder at work; says who it is
VOLUME/.builder/pins/NAME.json        which revision and which files a model is fetched from (sources.Pin)
VOLUME/.builder/downloads/NAME/…      source files, `.part` while under way
VOLUME/.builder/staged/NAME/…         a model being made; staged/NAME.json: it is whole, and this is its record
VOLUME/.builder/old/NAME              what was replaced or removed, until it is deleted
VOLUME/.builder/training/NAME/…       a style being trained: its examples, checkpoints, pictures and page
VOLUME/.builder/scratch/…             what is worthless when the builder ends
```
"""

import fcntl
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from builder.errors import BuilderError, writing


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths below VOLUME/.builder."""

    volume: Path

    @property
    def root(self) -> Path:
        """The workspace itself."""
        return self.volume / ".builder"

    def model(self, name: str) -> Path:
        """Where a served model lies."""
        return self.volume / "models" / name

    def pin(self, name: str) -> Path:
        """The pin of a model."""
        return self.root / "pins" / f"{name}.json"

    def downloads(self, name: str) -> Path:
        """The folder of a model's source files."""
        return self.root / "downloads" / name

    def staged(self, name: str) -> Path:
        """The folder of a model being made."""
        return self.root / "staged" / name

    def staged_record(self, name: str) -> Path:
        """Written when the staged folder is whole: from then on placing can only be finished, not undone."""
        return self.root / "staged" / f"{name}.json"

    def old(self, name: str) -> Path:
        """Where the replaced or removed folder of a model goes."""
        return self.root / "old" / name

    def training(self, name: str) -> Path:
        """The folder of a style being trained; it stays until `prune` removes it."""
        return self.root / "training" / name

    @property
    def scratch(self) -> Path:
        """Where other programs work: caches, environments, archives. Deleted by the next builder where this one could not."""
        return self.root / "scratch"


def write_whole(path: Path, text: str) -> None:
    """Replace a small file at once, on disk before it is visible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def remove(path: Path) -> None:
    """Delete a file or a folder, whether it is there or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def only_builder(volume: Path) -> Iterator[Workspace]:
    """The workspace, for as long as nobody else has it. The system frees the lock when the process ends, however it ends.

    Raises `BuilderError` that says who has it.
    """
    workspace = Workspace(volume)
    with writing(f"the builder's folder {workspace.root}"):
        workspace.root.mkdir(parents=True, exist_ok=True)
        file = (workspace.root / "lock").open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuilderError(f"Another builder is at work on this volume: {_holder(file)}. Wait for it or stop it.") from None
        except OSError as error:
            raise BuilderError(f"The volume's file system knows no locks ({error.strerror}); fill a local folder and mirror it.") from None
        _sign(file)
        yield workspace


def at_work(volume: Path) -> str | None:
    """Who holds the volume's lock now, None when nobody does. Changes nothing."""
    path = Workspace(volume).root / "lock"
    try:
        with path.open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(file)
    except FileNotFoundError:
        return None
    return None


def _sign(file: IO[str]) -> None:
    me = {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv[1:2]), "since": f"{datetime.now(UTC):%FT%TZ}"}
    file.seek(0)
    file.truncate()
    with writing("the builder's lock"):
        json.dump(me, file)
        file.flush()


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        it = json.load(file)
        return f"process {it['pid']} on {it['host']} ({it['command']}), since {it['since']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not written its name yet"

"""Delivery to a folder of this machine: all files or none; after a failure the earlier files are there again."""

import errno
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from delivery.artifact import Artifact, in_order
from pipeline.errors import Code, JobError
from pipeline.intake.network import go_on

#: The `errno` of an `OSError` when not just this folder but the whole disk takes no more.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def local_urls(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Name → the `file://` URL that `deliver_local` will give it; nothing is written."""
    return {name: (folder.resolve() / name).as_uri() for name in names}


@dataclass(slots=True)
class _Undo:
    """What has been done so far: `made` folders that were created, `placed` (file, copy of the file it replaced or None)."""

    made: list[Path] = field(default_factory=list)
    placed: list[tuple[Path, Path | None]] = field(default_factory=list)

    def roll_back(self) -> None:
        """Put replaced files back and remove what was created, newest first; raises `OSError` when that fails."""
        for target, before in reversed(self.placed):
            if before is None:
                target.unlink(missing_ok=True)
            else:
                before.replace(target)

    def remove_made(self) -> None:
        """Remove the folders that were created, unless another process has put something into them meanwhile."""
        for path in reversed(self.made):
            if any(path.iterdir()):
                return
            path.rmdir()


def deliver_local(artifacts: Sequence[Artifact], folder: Path, *, check: Callable[[], None] = go_on) -> None:
    """Write every artifact into `folder` (made when absent), where `local_urls` points.

    The files are first written into a hidden temporary folder inside `folder`, the one place that is surely on the same file
    system, then renamed into place one by one, `result.json` last. When anything fails, or `check` raises, files that were
    replaced are restored and only what this call created is removed. Other files in `folder` are never touched.

    Raises `DELIVERY_FAILED` when a file cannot be written, the `OSError` itself where the disk is full or read-only, and whatever `check`
    raises.
    """
    ordered = in_order(artifacts)
    undo = _Undo()
    try:
        _make(folder, undo.made)
        with tempfile.TemporaryDirectory(prefix=".delivery-", dir=folder) as temporary:
            _place(ordered, folder, Path(temporary), undo, check)
    except OSError as error:
        undo.remove_made()
        if error.errno in DISK_FULL:
            raise
        raise JobError(Code.DELIVERY_FAILED, f"The files could not be written locally: {error.strerror or 'unknown reason'}.") from error
    except BaseException:
        undo.remove_made()
        raise


def _make(folder: Path, made: list[Path]) -> None:
    """`mkdir -p` that notes which folders are new."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        made.append(path)


def _place(artifacts: list[Artifact], folder: Path, temporary: Path, undo: _Undo, check: Callable[[], None]) -> None:
    """Write all, then rename all; undone by itself when anything raises."""
    for artifact in artifacts:
        check()
        if artifact.make is None:
            (temporary / artifact.name).write_bytes(artifact.data)
    try:
        for artifact in artifacts:
            check()
            if artifact.make is not None:
                (temporary / artifact.name).write_bytes(artifact.make())
            target, before = folder / artifact.name, temporary / f"{artifact.name}.before"
            existed = target.is_symlink() or target.exists()
            if existed:
                # a copy, not a rename: readers of the old file must never find it missing
                shutil.copy2(target, before, follow_symlinks=False)
            undo.placed.append((target, before if existed else None))
            (temporary / artifact.name).replace(target)
    except BaseException:
        undo.roll_back()
        raise

"""A job's files: `OUTPUT_DIR/{job_id}/` holds its picture, what was made of it, and nothing else.

Two engines may work on one job: one falls silent for so long that another begins the job again, and then the first goes on. So each attempt
writes into a folder of its own, named by its lease. The job's folder changes only inside the transaction of `server.queue` that proves who
holds the job (`keep`, `clear_outputs`). The transactions of all processes run one after another: the first that ends the job removes the
lease, and the later ones find nothing to change. If a process ends in mid-transaction, the job stays at work, and the process that decides
about it later clears its folder.
"""

import errno
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.exc import OperationalError

from pipeline.intake.photo import sniff
from server.problems import PodCode, Problem
from server.settings import Pod

#: Kind of output → its file's name. Intermediates are told by their own names.
OUTPUTS: Mapping[str, str] = {"svg": "illustration.svg", "png": "preview.png", "report": "report.html", "pdf": "illustration.pdf"}
INTERMEDIATES = ("clean_plate", "matte", "illustration", "labels", "depth", "edges")
#: What a file of a kind that `pipeline.intake.photo.sniff` tells is served as.
MEDIA = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WebP": "image/webp",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
}
PICTURE, MATTE = "input", "input_matte"
#: Bytes at a picture's beginning that tell its kind.
HEAD = 4096
#: Seconds after which a folder that belongs to no job is no upload under way any more.
STALE = 3600.0
_ID = re.compile(r"[0-9a-f]{32}")


def new_id() -> str:
    """An id that nobody can guess."""
    return secrets.token_hex(16)


def folder_of(pod: Pod, job_id: str) -> Path:
    """The job's folder."""
    return pod.jobs_folder / job_id


def output_name(kind: str) -> str | None:
    """The file that `GET …/output/{kind}` serves; None for an unknown kind."""
    return OUTPUTS.get(kind) or (f"{kind}.png" if kind in INTERMEDIATES else None)


def media_of(picture: Path) -> str:
    """The media type of a picture that was accepted."""
    with picture.open("rb") as file:
        return MEDIA[sniff(file.read(HEAD))]


def check_space(pod: Pod, coming: int) -> None:
    """Raises `QUEUE_FULL` when `coming` bytes would leave less free than MIN_FREE_MB."""
    free = shutil.disk_usage(pod.own_folder).free
    if free - coming < pod.environment.min_free_mb * 1e6:
        raise full()


def full() -> Problem:
    """The refusal of a job for which there is no room."""
    sentence = "The server's disk is full; delete jobs that are done, or send the job again later."
    return Problem(PodCode.QUEUE_FULL, sentence, headers={"Retry-After": "60"})


def is_full(error: BaseException) -> bool:
    """Whether the error says that there is no room, for a file or in the database."""
    if isinstance(error, OperationalError):
        return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def incoming(pod: Pod) -> Path:
    """A new folder for an upload, on the same file system as the jobs' folders."""
    path = pod.own_folder / "incoming" / new_id()
    path.mkdir(parents=True)
    return path


def attempt_of(pod: Pod, lease: str) -> Path:
    """The folder into which the engine with this lease writes, on the same file system as the jobs' folders; its first write makes it."""
    return pod.own_folder / "attempts" / lease


def attempts(pod: Pod) -> list[Path]:
    """All attempts' folders."""
    folder = pod.own_folder / "attempts"
    return list(folder.iterdir()) if folder.exists() else []


def remove(folder: Path) -> None:
    """Remove a folder and what is in it, as far as it is there: another process may be removing it too."""
    shutil.rmtree(folder, onerror=_unless_gone)


def _unless_gone(_function: object, _path: str, fault: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(fault[1], FileNotFoundError):
        raise fault[1]


def clear_outputs(folder: Path) -> None:
    """Remove everything but what the job came with. For the transaction that decides about the job."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.name in (PICTURE, MATTE):
            continue
        if path.is_dir():
            remove(path)
        else:
            path.unlink(missing_ok=True)


def clear_job(pod: Pod, job_id: str) -> None:
    """`clear_outputs` of a job, as `server.queue.reap` asks for it."""
    clear_outputs(folder_of(pod, job_id))


def keep(attempt: Path, folder: Path) -> None:
    """Make an attempt's files the job's, and its only ones. For the transaction that completes the job."""
    clear_outputs(folder)
    folder.mkdir(exist_ok=True)
    for path in attempt.iterdir():
        path.rename(folder / path.name)


def size_of(folder: Path) -> int:
    """Bytes of all files in a job's folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) if folder.exists() else 0


def stale(pod: Pod) -> tuple[list[Path], list[Path]]:
    """Folders that have not been touched for long: uploads that never became a job, and those with the name of one."""

    def old(folder: Path) -> list[Path]:
        found = [path for path in folder.iterdir() if _ID.fullmatch(path.name)] if folder.exists() else []
        return [path for path in found if time.time() - path.stat().st_mtime > STALE]

    return old(pod.own_folder / "incoming"), old(pod.jobs_folder)

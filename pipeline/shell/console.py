"""What the shell's commands have in common: errors as a last line that begins with a code, and the exit status."""

import os
import sys
from pathlib import Path

import typer

from pipeline import service
from pipeline.errors import CALLERS_FAULT, Code, JobError
from pipeline.palette import shown
from pipeline.settings import SettingsError

#: What typer answers after Ctrl-C.
_INTERRUPTED = 130


def read_file(path: str | Path) -> bytes:
    """A local file's bytes; raises `INPUT_UNREACHABLE` with the reason."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise JobError(Code.INPUT_UNREACHABLE, f"{_named(path)} cannot be read: {error.strerror}.") from error


def _named(path: str | Path) -> str:
    """A path for a sentence."""
    return shown(str(path), 200)


def check_folder(folder: Path) -> None:
    """Raise `INVALID_INPUT` unless files can be put into the folder, which need not be there yet. To be called before the work."""
    place, reason = folder, None
    try:
        while not place.exists() and not place.is_symlink():
            place = place.parent
        if not place.is_dir():
            reason = "it is a link to nothing" if not place.exists() else "it is a file"
        elif not os.access(place, os.W_OK | os.X_OK):
            reason = "it takes no files"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise JobError(Code.INVALID_INPUT, f"Nothing can be written into {_named(place)}: {reason}; name another folder.")


def check_file(file: Path) -> None:
    """Raise `INVALID_INPUT` unless the file can be written; its folder has to be there."""
    try:
        reason = "it is a folder" if file.is_dir() else None if file.parent.is_dir() else "its folder is not there"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise JobError(Code.INVALID_INPUT, f"{_named(file)} cannot be written: {reason}; name another file.")
    check_folder(file.parent)


def say(line: str) -> None:
    """Print a line. The bytes of a path stay as they are, even where they are no valid text."""
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(line) + b"\n")
    sys.stdout.buffer.flush()


def exit_status(error: JobError) -> int:
    """0 is success, 2 the caller's fault, 130 cancelled, 1 everything else."""
    if error.code is Code.CANCELLED:
        return 130
    return 2 if error.code in CALLERS_FAULT else 1


def run_app(app: typer.Typer, name: str, arguments: list[str] | None = None) -> int:
    """Run a command; when it fails, the last line on standard error begins with the error's code."""
    try:
        if app(args=arguments, prog_name=name, standalone_mode=False) == _INTERRUPTED:  # typer catches the interrupt itself
            raise KeyboardInterrupt
    except (typer.Abort, KeyboardInterrupt):
        error = JobError(Code.CANCELLED, "The job was cancelled.")
    except SettingsError as fault:
        error = JobError(Code.INVALID_INPUT, str(fault))
    except Exception as fault:  # noqa: BLE001 - the shell's user gets a code and an id, the log the traceback
        usage = getattr(fault, "format_message", None)  # typer's usage errors, whose class it does not publish
        error = JobError(Code.INVALID_INPUT, f"{usage().rstrip('.')}; --help lists every option.") if usage else service.explain(fault)
    else:
        return 0
    sys.stderr.write(f"{error}\n")
    return exit_status(error)

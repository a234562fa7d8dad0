"""What the shell's commands have in common: errors as a last line that begins with a code, and the exit status."""

import sys
from pathlib import Path

import typer

from pipeline import service
from pipeline.errors import CALLERS_FAULT, Code, JobError
from pipeline.settings import SettingsError


def read_file(path: str | Path) -> bytes:
    """A local file's bytes; raises `INPUT_UNREACHABLE` with the reason."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise JobError(Code.INPUT_UNREACHABLE, f"{path} cannot be read: {error.strerror}.") from error


def listed(text: str) -> list[str]:
    """The parts of a comma-separated option; an empty text is an empty list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def exit_status(error: JobError) -> int:
    """0 is success, 2 the caller's fault, 130 cancelled, 1 everything else."""
    if error.code is Code.CANCELLED:
        return 130
    return 2 if error.code in CALLERS_FAULT else 1


def run_app(app: typer.Typer, name: str, arguments: list[str] | None = None) -> int:
    """Run a command; when it fails, the last line on standard error begins with the error's code."""
    try:
        app(args=arguments, prog_name=name, standalone_mode=False)
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

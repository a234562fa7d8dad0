"""Programs that the set-up runs: watched while they run, ended with all that they started when the work stops."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError, VolumeFull
from builder.transfer import Patience, Stopped

#: Seconds between two looks at a running program.
_PULSE = 0.2
#: How programs say that no more bytes fit.
_FULL = ("ENOSPC", "EDQUOT", "No space left on device", "Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has ended: its exit status, and what it wrote to standard error."""

    status: int
    said: str


def run(
    command: Sequence[str | Path],
    patience: Patience,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    seconds: float = 600,
    watch: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a program in `folder` for `seconds` at most; `watch` is called while it runs. `environment`: variables to set, besides ours.

    Raises `BuilderError` where it cannot be started or runs longer, `VolumeFull` where it says so, `Stopped`.
    """
    name, until = Path(command[0]).name, time.monotonic() + seconds
    with tempfile.TemporaryFile() as said:
        try:
            # A session of its own, so that what the program started ends with it.
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
        except OSError as error:
            raise BuilderError(f"{name} cannot be started: {error.strerror}.") from error
        try:
            while process.poll() is None:
                if patience.stop.wait(_PULSE):
                    raise Stopped
                if time.monotonic() > until:
                    raise BuilderError(f"{name} was not done after {seconds:.0f} seconds.")
                watch()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        text = said.read().decode(errors="replace")
    if process.returncode != 0 and any(word in text for word in _FULL):
        raise VolumeFull(f"{name} found the disk full.")
    return Ended(process.returncode, text)

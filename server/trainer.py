"""The process that runs one training (`python -m server.trainer PARENT`).

It waits until no engine works, runs the builder's command, and writes down what that tells.

The web process starts it (`server.keeper`). The command is in a process group of its own, which is ended as a whole. It ends with this
process: on Linux the kernel sees to it; elsewhere the next line that it prints ends it.
"""

import contextlib
import ctypes
import json
import logging
import logging.handlers
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import structlog
from sqlalchemy import select

from pipeline import log as logs
from server import database as databases
from server import training
from server.database import Database, engines
from server.settings import LAST_SECONDS, Pod, read
from server.status import lives

#: The builder, before its command.
BUILDER = (sys.executable, "-m", "builder")
#: Seconds between two looks at what the command told.
LOOK = 0.25
#: Bytes of the log, of which one older file is kept; of a line that the command prints; characters of one in the log.
LOG_BYTES, LINE_BYTES, LOGGED = 1_000_000, 1 << 20, 2000
#: Added to this process's niceness, which the command inherits: the web process still answers at once.
NICE = 5
#: linux/prctl.h
_PR_SET_PDEATHSIG = 1


def command_of(asked: training.Training, pod: Pod) -> list[str]:
    """What is run for a training, or to install the style that it made."""
    volume, name = pod.environment.volume, asked.asked.name
    if asked.task == "install":
        return [*BUILDER, "add-style", str(training.trained(asked)), f"--volume={volume}", f"--name={name}"]
    pairs = str(pod.training_folder / "pairs")
    return [*BUILDER, "train-style", pairs, f"--volume={volume}", "--json", "--no-install", *asked.asked.arguments()]


def _log_file(folder: Path) -> logging.Logger:
    """The log's writer: beyond `LOG_BYTES` the file becomes the older one, and the older one goes."""
    handler = logging.handlers.RotatingFileHandler(
        folder / training.LOG, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", errors="replace"
    )
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.Logger("training")
    logger.addHandler(handler)
    return logger


def _ending() -> None:
    """In the command's process: end with the parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Lines:
    """What the command prints, in lines; one without an end is cut."""

    def __init__(self, stream: int) -> None:
        self.stream, self.rest, self.over = stream, b"", False
        os.set_blocking(stream, False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(stream, selectors.EVENT_READ)

    def take(self, seconds: float) -> Iterator[str]:
        """The lines that come within so many seconds."""
        end = time.monotonic() + seconds
        while not self.over and self.selector.select(max(0.0, end - time.monotonic())):
            got = os.read(self.stream, 1 << 16)
            self.over = not got
            *whole, self.rest = (self.rest + got).replace(b"\r", b"\n").split(b"\n")
            if self.rest and (self.over or len(self.rest) > LINE_BYTES):
                whole, self.rest = [*whole, self.rest], b""
            yield from (line[:LINE_BYTES].decode("utf-8", "replace") for line in whole if line.strip())
            if time.monotonic() >= end:
                return


def _event(line: str, told: training.Told) -> training.Told | None:
    """What is known after a line; None for one that is no event."""
    try:
        return training.heard(told, json.loads(line))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _stops(database: Database, signalled: list[int], parent: int) -> bool:
    """Whether the command is to end: it was asked for, or the server ends or has ended."""
    now = training.current(database)
    return bool(signalled) or os.getppid() != parent or (now is not None and now.stop_at is not None)


def _wait_for_engines(database: Database, signalled: list[int], parent: int) -> bool:
    """Until every engine has ended; False where the training is to end before."""
    while not _stops(database, signalled, parent):
        with database.read() as connection:
            rows = connection.execute(select(engines.c.pid).where(engines.c.state != "down")).scalars().all()
        if not any(lives(pid) for pid in rows):
            return True
        time.sleep(LOOK)
    return False


def _follow(
    process: subprocess.Popen[bytes], told: training.Told, pod: Pod, database: Database, signalled: list[int], parent: int
) -> tuple[training.Told, str]:
    """Follow the command to its end, or end it; what it has told, and its last word that was no event."""
    assert process.stdout is not None
    lines, log, last, asked_at = _Lines(process.stdout.fileno()), _log_file(pod.training_folder), "", None
    while process.poll() is None or not lines.over:
        known = told
        for line in lines.take(LOOK):
            log.info(line[:LOGGED])
            after = _event(line, told)
            told, last = (told, line) if after is None else (after, last)
        if told != known:
            training.note(database, told)
        if process.poll() is not None:
            _signal(process, signal.SIGKILL)  # whatever of its group is left, which would keep the pipe open
        elif asked_at is None and _stops(database, signalled, parent):
            asked_at = time.monotonic()
            _signal(process, signal.SIGTERM)
        elif asked_at is not None and time.monotonic() - asked_at > _grace(pod, signalled):
            _signal(process, signal.SIGKILL)
    return told, last


def _grace(pod: Pod, signalled: list[int]) -> float:
    """Seconds that the command has to end itself; a server that stops cannot wait longer than for a job."""
    grace = pod.environment.kill_grace_seconds
    return min(grace, LAST_SECONDS) if signalled else grace


def run(asked: training.Training, pod: Pod, database: Database, signalled: list[int], parent: int) -> training.Over | None:
    """Run a training to its end and note how that was; None: the server ended before it began, and it keeps waiting.

    `signalled` gets a signal that asks this process to end; `parent` is the server's process.
    """
    if not _wait_for_engines(database, signalled, parent):
        now = training.current(database)
        if now is None or now.stop_at is None:
            return None
        training.end(database, "stopped", asked.told, None)
        return "stopped"
    pod.training_folder.mkdir(parents=True, exist_ok=True)
    training.begin(database)
    command = command_of(asked, pod)
    _log_file(pod.training_folder).info("$ %s", " ".join(["builder", *command[len(BUILDER) :]]))
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if name != "WORKERS"} | {"PYTHONUNBUFFERED": "1"},  # the pod's may be 0
        start_new_session=True,
        preexec_fn=_ending,  # noqa: PLW1509 - this process has one thread
    )
    told, last = _follow(process, asked.told, pod, database, signalled, parent)
    now = training.current(database)
    stopped = now is not None and now.stop_at is not None
    return _end(database, asked, told, last, process.wait(), stopped=stopped, left=bool(signalled) or os.getppid() != parent)


def _end(
    database: Database, asked: training.Training, told: training.Told, last: str, status: int, *, stopped: bool, left: bool
) -> training.Over:
    over: training.Over
    error: str | None = None
    if status == 0:
        over = "completed"
        if asked.task == "install":
            told = replace(told, installed=True, sentence=f"The style is installed as {asked.asked.name}.safetensors.")
    elif stopped:
        over = "stopped"
    elif left:
        over, error = "interrupted", "The server was stopped; started again, the training goes on."
    else:
        word = f": {last}" if last else "."
        over, error = "failed", told.error or f"The builder ended with status {status}{word}"[: training.SENTENCE_LENGTH]
    training.end(database, over, told, error)
    return over


def main(parent: int) -> int:
    """Run the training that waits, if one does."""
    signalled: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: signalled.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole group; the parent stops this process in its own time
    os.nice(NICE)
    pod = read()
    logs.configure(pod.environment.log_level)
    database = databases.connect(pod.database)
    asked = training.current(database)
    if asked is None or asked.status != "waiting":
        return 0
    over = run(asked, pod, database, signalled, parent)
    structlog.get_logger().info("training_over", task=asked.task, status=over)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

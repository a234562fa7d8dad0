"""An engine: a process of its own that takes jobs from the queue, one at a time (`python -m server.engine SLOT`).

The web process starts it and watches it (`server.keeper`). It ends when its parent is gone, because the pipe on its standard input closes
then. On Linux the kernel also kills it, even while Python itself is stuck.
"""

import contextlib
import contextvars
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from pipeline import log, service
from pipeline.errors import Code, JobError
from pipeline.progress import Progress, Report
from pipeline.settings import SettingsError
from server import database as databases
from server import files, metrics, queue, training
from server.database import Database
from server.settings import LAST_SECONDS, Pod, read

#: Seconds between two looks: for a new job; for a cancelled one; between two renewals of a lease; between two progress reports.
IDLE, LOOK, RENEW, REPORT = 0.1, 0.2, 1.0, 0.25
#: Added to this process's niceness: where drawing takes every core, the web process still answers at once.
NICE = 5
#: linux/prctl.h
_PR_SET_PDEATHSIG = 1
#: Exit statuses: the engine cannot be started; it can do no further job.
CANNOT_START, CAN_DO_NO_MORE = 3, 4


@dataclass(slots=True)
class Recorder:
    """Log and progress of the job at hand until they are stored. The job's thread fills it, the main one empties it."""

    job_id: str
    told: list[queue.Event] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def heard(self, event: Mapping[str, Any]) -> None:
        """Note a line of the log."""
        with self.lock:
            self.told.append(("log", dict(event)))
            if len(self.told) > 2 * queue.KEPT:  # a step that logs more lines than are kept
                del self.told[: queue.KEPT]

    def report(self, report: Report) -> None:
        """Note a progress report."""
        with self.lock:
            told = {"phase": report.phase, "step": report.step, "percent": round(100 * report.fraction, 1)}
            self.told.append(("progress", told))

    def take(self) -> list[queue.Event]:
        """What was told since the last time."""
        with self.lock:
            told, self.told = self.told, []
        return told


#: The recorder of the job that a log line belongs to; the line goes to standard error as well.
_recorder: contextvars.ContextVar[Recorder | None] = contextvars.ContextVar("recorder", default=None)


def _heard(event: Mapping[str, Any]) -> None:
    recorder = _recorder.get()
    if recorder is not None:
        recorder.heard(event)


@dataclass(slots=True)
class Outcome:
    """The outcome of a job's work: one of the two, or neither while it goes on."""

    delivered: service.Delivered | None = None
    error: JobError | None = None


def _work(taken: queue.Claim, pod: Pod, worker: service.Worker, progress: Progress, outcome: Outcome) -> None:
    """Do the job in this thread. It writes into the attempt's own folder, because another engine may hold the job by now."""
    folder = files.folder_of(pod, taken.job_id)
    cache = worker.steps.cache_counts()
    try:
        photo, matte = (None if name is None else (folder / name).read_bytes() for name in (taken.picture, taken.matte))
        staging = service.Staging(files.attempt_of(pod, taken.lease), folder)
        outcome.delivered = service.attempt(taken.job_id, taken.request, worker, progress, staging, service.Pictures(photo, matte))
        metrics.VRAM.set(max(outcome.delivered.answer["peak_vram_mb"] * 1e6, 0))
    except Exception as fault:  # noqa: BLE001 - `explain` gives a bug its id; the thread must end in order
        outcome.error = service.explain(fault)
    metrics.used_cache(cache, worker.steps.cache_counts())


def _result(delivered: service.Delivered, attempt: Path, folder: Path) -> dict[str, Any]:
    """The job's result: the answer, and where the files will be on this machine."""
    paths = {f"{kind}_path": str(folder / name) for kind, name in files.OUTPUTS.items() if (attempt / name).exists()}
    return delivered.answer | paths


def _place(attempt: Path, folder: Path, complete: bool) -> int:
    """The `place` of `queue.finish`, see there."""
    if complete:
        files.keep(attempt, folder)
    else:
        files.clear_outputs(folder)
    return files.size_of(folder)


def do(slot: int, taken: queue.Claim, pod: Pod, worker: service.Worker, database: Database, stopping: threading.Event) -> bool:
    """Do one job to its end; False when this process can do no other job after it.

    Until `queue.finish` has proven that this lease still holds the job, others see no change but objects in a bucket; these are withdrawn
    if it does not.
    """
    recorder, outcome, began = Recorder(taken.job_id), Outcome(), time.monotonic()
    progress = Progress(
        send=recorder.report, interval=REPORT, ended=lambda phase, seconds: metrics.PHASE_SECONDS.labels(phase).observe(seconds)
    )
    progress.deadline = progress.clock() + pod.environment.job_timeout_seconds
    metrics.begun(taken)
    context = contextvars.copy_context()
    context.run(_recorder.set, recorder)
    context.run(structlog.contextvars.bind_contextvars, job_id=taken.job_id)
    # a daemon: one that hangs must not keep this process from ending
    thread = threading.Thread(target=context.run, args=(_work, taken, pod, worker, progress, outcome), name="job", daemon=True)
    thread.start()
    if not _watch(thread, taken, recorder, progress, database, stopping):
        return False
    error = outcome.error
    if outcome.delivered is None and error is None:
        error = service.explain(RuntimeError("the job's thread ended without a word"))
    if error is not None:
        context.run(structlog.get_logger().warning, "job_failed", code=error.code, sentence=error.sentence)
    else:
        recorder.report(Report(0, "deliver", "done", 1.0))
    over = _finish(taken, pod, database, recorder, outcome.delivered, error)
    if over is not None:
        metrics.ended(over)
        metrics.JOB_SECONDS.labels(over.status).observe(time.monotonic() - began)
    if error is not None and error.fatal:
        queue.note_engine(database, slot, state="down", error=str(error))
        return False
    return True


def _finish(
    taken: queue.Claim,
    pod: Pod,
    database: Database,
    recorder: Recorder,
    delivered: service.Delivered | None,
    error: JobError | None,
) -> queue.Ended | None:
    """End the job, see `queue.finish`. Unless it completed, nothing of this attempt stays."""
    folder, attempt = files.folder_of(pod, taken.job_id), files.attempt_of(pod, taken.lease)
    with contextlib.ExitStack() as after:
        after.callback(files.remove, attempt)
        over = queue.finish(
            database,
            taken,
            recorder.take(),
            result=None if delivered is None else _result(delivered, attempt, folder),
            error=None if error is None else (str(error.code), error.sentence),
            place=partial(_place, attempt, folder),
        )
        if delivered is not None and (over is None or over.status != "completed"):
            delivered.withdraw()
    return over


def _watch(
    thread: threading.Thread, taken: queue.Claim, recorder: Recorder, progress: Progress, database: Database, stopping: threading.Event
) -> bool:
    """Renew the job's lease, store its log and pass a cancel on, until its thread ends. False when this process has to end instead: the job
    was put back, or another engine holds it by now and its thread here does not end."""
    renewed, stopped_at, lost_at = time.monotonic(), None, None
    while True:
        thread.join(LOOK)
        if not thread.is_alive():
            return True
        now = time.monotonic()
        if stopping.is_set():
            stopped_at = stopped_at or now
            if now - stopped_at > LAST_SECONDS and queue.put_back(database, taken, recorder.take()):
                return False
        held = queue.look(database, taken)
        if held.cancel or not held.own:
            progress.cancelled.set()
        if not held.own:
            lost_at = lost_at or now
            if now - lost_at > LAST_SECONDS:
                return False
        if recorder.told or now - renewed > RENEW:
            queue.renew(database, taken, recorder.take())
            renewed = now


def _bind_to_parent() -> None:
    """End when the parent has ended: nobody else would stop this process or replace it."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=wait, name="parent", daemon=True).start()


def _settle(pod: Pod, database: Database, slot: int | None) -> None:
    """Decide about jobs whose engine is gone, see `queue.reap`."""
    for over in queue.reap(database, slot, partial(files.clear_job, pod)):
        metrics.ended(over)


def _start(pod: Pod, database: Database, slot: int) -> service.Worker:
    """The engine with its first network in memory. Raises `JobError`, `SettingsError`."""
    _settle(pod, database, slot)
    worker = service.start(pod.environment, pod.settings)
    if worker.steps.warm_up is not None:
        worker.steps.warm_up.first()
    queue.note_engine(database, slot, state="ready", engine=worker.steps.name, models=dict(worker.steps.models))
    return worker


def main(slot: int) -> int:
    """Take jobs until asked to stop; the exit status says why it ended."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole group; the parent stops this process in its own time
    _bind_to_parent()
    pod = read()
    log.configure(pod.environment.log_level, _heard)
    database = databases.connect(pod.database)
    try:
        queue.note_engine(database, slot, pid=os.getpid(), state="starting", error=None)
        if training.holds(database):  # looked at after this process is known: a training that begins now waits for it
            return training.MADE_ROOM
        worker = _start(pod, database, slot)
    except (JobError, SettingsError) as error:
        sentence = str(error) if isinstance(error, JobError) else f"{Code.INVALID_INPUT}: {error}"
        structlog.get_logger().error("engine_cannot_start", sentence=sentence)
        queue.note_engine(database, slot, state="down", error=sentence)
        return CANNOT_START
    while not stopping.is_set():
        if training.holds(database):
            return training.MADE_ROOM
        _settle(pod, database, None)
        taken = queue.claim(database, slot, pod.environment.job_timeout_seconds)
        if taken is None:
            stopping.wait(IDLE)
        elif not do(slot, taken, pod, worker, database, stopping):
            return 0 if stopping.is_set() else CAN_DO_NO_MORE
    return 0


if __name__ == "__main__":
    # a job that hangs, and libraries' own threads, must not keep the process
    status = main(int(sys.argv[1]))
    sys.stderr.flush()
    os._exit(status)

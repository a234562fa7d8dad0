"""RunPod's door: one job in, URLs out. Run it with `python -u handler.py`; every mode of the SDK works.

Glue only: the work is done in a thread, so that the SDK's event loop can cancel it, and by `pipeline.service`.
"""

import asyncio
import contextvars
import ctypes
import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from functools import cache
from typing import Any

import cpuinfo
import httpx
import structlog

from delivery import check_bucket
from pipeline import health, log, service, settings
from pipeline.errors import Code, JobError
from pipeline.progress import Progress, Report

# The SDK logs whole jobs, a job's own bucket keys with them, at its default level DEBUG.
os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")
# The SDK asks for the processor's name when it is imported, for a report that is printed nowhere: a second of every cold start.
cpuinfo.get_cpu_info = dict
import runpod
from aiohttp import ClientConnectionError
from aiohttp_retry import ExponentialRetry
from runpod.http_client import get_auth_header
from runpod.serverless.modules import rp_http

#: Seconds between two progress updates, and how long one may wait to be connected, to be sent, and to be answered.
INTERVAL, SENT_SECONDS, ANSWERED_SECONDS = 2.0, 3.0, 10.0

#: How often an answer is posted until RunPod has taken it, the waits doubling up to 15 s: about a minute.
ANSWER_TRIES = 9

#: A job ends at its next step when its time is up. `GRACE` seconds later a job without a next step is given up; `LAST` seconds after its
#: time the process is ended if even that was impossible. Both come before RunPod's own limit (600 s; our jobs have 300 s).
GRACE, LAST = 60.0, 120.0

#: The name of the thread that a job's work is done in.
WORK = "job"


@cache
def worker() -> service.Worker:
    """The engine and its settings, built at the first call: at start-up where the SDK allows it."""
    environment = settings.environment()
    log.configure(environment.log_level)
    if not environment.in_runpod and environment.bucket_name is None:
        settings.check_output_folder(environment)
    return service.start(environment, settings.load(environment.pipeline_config))


def networks_are_ready() -> None:
    """A check before jobs are taken: the first network is in memory, its successors are on their way.

    RunPod shows what it raises (a missing or broken model, by name) as the reason for an unhealthy worker.
    """
    if (warm_up := worker().steps.warm_up) is not None:
        warm_up.first()


def bucket_takes_files() -> None:
    """The last check before jobs are taken: a mistake in the bucket's settings must not cost a job."""
    if (bucket := worker().bucket) is not None:
        check_bucket(bucket)
    _note("ready")


def then_ours() -> None:
    """The SDK adds checks of its own when it runs them; a check that is added by a check comes after those."""
    for check in (networks_are_ready, bucket_takes_files):
        runpod.serverless.register_fitness_check(check)


def _takes_jobs() -> bool:
    """Whether the SDK will ask RunPod for jobs, and so run its fitness checks."""
    local = any(argument.startswith(("--test_input", "--rp_serve_api")) for argument in sys.argv)
    return "RUNPOD_WEBHOOK_GET_JOB" in os.environ and not local


def _note(state: health.State, seconds: float | None = None) -> None:
    """Tell the container's health check what this worker is doing; nothing comes after "leaving"."""
    if not _takes_jobs() or _leaving.is_set():
        return
    if state == "leaving":
        _leaving.set()
    try:
        health.note(state, seconds)
    except OSError as fault:  # the job goes on without this file
        structlog.get_logger().warning("state_not_noted", reason=str(fault.strerror))


_leaving = threading.Event()


@cache
def _platform() -> httpx.Client:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request, and no JSON
    return httpx.Client(timeout=httpx.Timeout(SENT_SECONDS, read=ANSWERED_SECONDS), trust_env=False, headers=get_auth_header())


class Updates:
    """A job's progress on its way to RunPod: one update at a time, so that they arrive in order, and none after `close`.

    The SDK's `progress_update` posts each update from a thread that nothing ends and that retries as long as for an answer: an update that
    arrives after the answer leaves the job IN_PROGRESS for ever. Here each has one try; a lost one is replaced by the next. After one that
    was sent and not confirmed in time none follows: it may still be on its way, and nothing must overtake it.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._closed = not os.environ.get("RUNPOD_WEBHOOK_POST_OUTPUT")
        self._thread: threading.Thread | None = None

    def send(self, report: Report) -> None:
        """Log a report and post it, unless the one before is still under way."""
        structlog.get_logger().info("progress", phase=report.phase, step=report.step, fraction=report.fraction)
        with self._lock:
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return
            context = contextvars.copy_context()
            self._thread = threading.Thread(target=context.run, args=(self._post, report), name="update", daemon=True)
            self._thread.start()

    def _post(self, report: Report) -> None:
        update = {"number": report.number, "phase": report.phase, "step": report.step, "percent": round(100 * report.fraction)}
        url = rp_http.JOB_DONE_URL.replace("$ID", str(self._job["id"])) + "&isStream=false"
        headers = {"X-Request-ID": str(self._job["id"]), "Content-Type": "application/x-www-form-urlencoded", "charset": "utf-8"}
        try:
            _platform().post(url, content=json.dumps({"status": "IN_PROGRESS", "output": update}), headers=headers).raise_for_status()
        except httpx.HTTPError as fault:
            structlog.get_logger().warning("update_lost", number=report.number, reason=type(fault).__name__)
            self._closed |= isinstance(fault, httpx.ReadTimeout)

    def close(self) -> None:
        """Wait for the one under way, which is bounded; later ones are not sent."""
        with self._lock:
            self._closed = True
        if self._thread is not None:
            self._thread.join()


def _patient(attempts: int) -> ExponentialRetry:  # noqa: ARG001 - the SDK's number, three
    return ExponentialRetry(
        ANSWER_TRIES, start_timeout=0.25, max_timeout=15.0, statuses={408, 429}, exceptions={ClientConnectionError, TimeoutError}
    )


def _give_memory_back() -> None:
    """Limit the memory that glibc's malloc keeps: every job works in new threads, each with an arena of its own, in which freed pictures
    stay. Two arenas, and blocks from 1 MiB on straight from the system, to which they return.
    """
    arenas, threshold = -8, -3  # M_ARENA_MAX and M_MMAP_THRESHOLD of malloc.h
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(arenas, 2)
        libc.mallopt(threshold, 1 << 20)


def _make_answers_patient() -> None:
    """The SDK posts an answer again after a 5xx, twice within five seconds, but never after a dropped connection: it gives the answer
    up and takes the next job, and this one is lost. It offers no setting, so the class of its retries is replaced.
    """
    rp_http.FibonacciRetry = _patient


def _work(job: dict[str, Any], progress: Progress, updates: Updates) -> dict[str, Any]:
    try:
        return service.perform(str(job["id"]), job.get("input"), worker(), progress, job.get("s3Config"))
    except Exception as fault:  # noqa: BLE001 - the SDK would answer with the whole traceback
        error = service.explain(fault)
        structlog.get_logger().warning("job_failed", code=error.code, sentence=error.sentence)
        return _failed(error)
    finally:
        updates.close()


def _failed(error: JobError) -> dict[str, Any]:
    """The answer to a failed job. After a fatal error RunPod is asked for a fresh worker, and this one takes no further job."""
    if not error.fatal:
        return {"error": str(error)}
    _leave(str(error.code))
    return {"error": str(error), "refresh_worker": True}


def _leave(reason: str) -> None:
    """Take no further job: the SDK answers the one at hand, then ends, as it does for a platform that stops the worker."""
    structlog.get_logger().error("worker_leaves", reason=reason)
    _note("leaving")
    if _takes_jobs():
        os.kill(os.getpid(), signal.SIGTERM)


def _begin(job: dict[str, Any], progress: Progress, updates: Updates) -> asyncio.Future[dict[str, Any]]:
    """Do the work in a thread of its own. A daemon: one that hangs must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[dict[str, Any]] = loop.create_future()

    def give(made: dict[str, Any]) -> None:
        if not answer.done():
            answer.set_result(made)

    def work() -> None:
        made = _work(job, progress, updates)
        if not loop.is_closed():  # a job that hung may wake when everything is over
            loop.call_soon_threadsafe(give, made)

    threading.Thread(target=contextvars.copy_context().run, args=(work,), name=WORK, daemon=True).start()
    return answer


async def _given_up(progress: Progress, updates: Updates) -> dict[str, Any]:
    """The answer for a job that hangs. Its thread cannot be ended, so the worker leaves; if it wakes, it ends at its next step."""
    progress.cancelled.set()
    structlog.get_logger().error("job_hung", phase=progress.phase)
    await asyncio.to_thread(updates.close)
    return _failed(JobError(Code.TIMED_OUT, "The job hung and was given up; send it again, another worker takes it.", fatal=True))


async def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job; answers the result, or `{"error": "CODE: sentence"}`. Cancelling it ends the work at its next step."""
    seconds = worker().environment.job_timeout_seconds
    structlog.contextvars.bind_contextvars(job_id=job["id"])
    updates = Updates(job)
    progress = Progress(send=updates.send, interval=INTERVAL)
    progress.deadline = progress.clock() + seconds
    _note("busy", seconds + LAST)
    if _takes_jobs():  # if even this loop stands still, log all stacks and end: RunPod gives the job to another worker
        faulthandler.dump_traceback_later(seconds + LAST, exit=True)
    work = _begin(job, progress, updates)
    try:
        return await asyncio.wait_for(asyncio.shield(work), seconds + GRACE)
    except TimeoutError:
        return await _given_up(progress, updates)
    except asyncio.CancelledError:
        progress.cancelled.set()
        # the thread ends at its next step; the next job must not start beside it
        if not (await asyncio.wait({work}, timeout=GRACE))[0]:
            _leave("a cancelled job hangs")
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
        _note("ready")


def main() -> int:
    """Build the engine, then hand over to the SDK. Missing settings and models are named in one line, before any job is taken.

    Inside RunPod's loop the fitness check says it once more, to RunPod, and ends the process.
    """
    _note("starting")
    _give_memory_back()
    try:
        worker()
    except (JobError, settings.SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        if not _takes_jobs():
            return 1 if isinstance(error, JobError) else 2
    runpod.serverless.register_fitness_check(then_ours)
    _make_answers_patient()
    runpod.serverless.start({"handler": handler})
    if any(thread.name == WORK for thread in threading.enumerate()):
        os._exit(1)  # a hung job may hold threads that Python would wait for
    return 0


if __name__ == "__main__":  # needed: the SDK's ping process starts by spawn
    sys.exit(main())

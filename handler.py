"""RunPod's door: one job in, URLs out. Run it with `python -u handler.py`; every mode of the SDK works.

Glue only: the work is done in a thread, so that the SDK's event loop can cancel it, and by `pipeline.service`.
"""

import asyncio
import contextvars
import faulthandler
import os
import signal
import sys
import threading
from functools import cache
from typing import Any

import structlog

from pipeline import log, service, settings
from pipeline.errors import Code, JobError
from pipeline.progress import Progress, Report

# The SDK logs whole jobs, a job's own bucket keys with them, at its default level DEBUG.
os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")
import runpod

#: Seconds between two progress updates, and how long the last one may take to leave before the result is given.
INTERVAL, DRAIN = 2.0, 10.0

#: A job ends at its next step when its time is up. One whose next step does not come is given up after so many seconds more, and
#: where even that cannot happen the process is ended after so many; both before RunPod's own limit (600 s, our jobs' being 300 s).
GRACE, LAST = 60.0, 120.0

#: The name of the thread that a job's work is done in.
WORK = "job"


@cache
def worker() -> service.Worker:
    """The engine and its settings, built at the first call: at start-up where the SDK allows it."""
    environment = settings.environment()
    log.configure(environment.log_level)
    return service.start(environment, settings.load(environment.pipeline_config))


def networks_are_ready() -> None:
    """The last check before jobs are taken: the first network is in memory, its successors are on their way.

    What it raises is RunPod's reason for an unhealthy worker: a missing or broken model by its name.
    """
    if (warm_up := worker().steps.warm_up) is not None:
        warm_up.first()


def then_networks() -> None:
    """The SDK adds checks of its own when it runs them; a check that is added by a check comes after those."""
    runpod.serverless.register_fitness_check(networks_are_ready)


def _takes_jobs() -> bool:
    """Whether the SDK will ask RunPod for jobs, and so run its fitness checks."""
    local = any(argument.startswith(("--test_input", "--rp_serve_api")) for argument in sys.argv)
    return "RUNPOD_WEBHOOK_GET_JOB" in os.environ and not local


def _updates() -> list[threading.Thread]:
    """The progress updates under way: the SDK posts each from a thread of its own."""
    return [thread for thread in threading.enumerate() if thread.name.endswith("(_thread_target)")]


def _send(job: dict[str, Any], report: Report) -> None:
    structlog.get_logger().info("progress", phase=report.phase, step=report.step, fraction=report.fraction)
    if os.environ.get("RUNPOD_WEBHOOK_POST_OUTPUT") and not _updates():  # two at once may arrive in either order
        update = {"number": report.number, "phase": report.phase, "step": report.step, "percent": round(100 * report.fraction)}
        runpod.serverless.progress_update(job, update)


def _drain() -> None:
    """Wait for updates under way: one that lands after the result leaves the job IN_PROGRESS for ever."""
    for thread in _updates():
        thread.join(DRAIN)


def _work(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    try:
        return service.perform(str(job["id"]), job.get("input"), worker(), progress, job.get("s3Config"))
    except Exception as fault:  # noqa: BLE001 - the SDK would answer with the whole traceback
        error = service.explain(fault)
        structlog.get_logger().warning("job_failed", code=error.code, sentence=error.sentence)
        return _failed(error)
    finally:
        _drain()


def _failed(error: JobError) -> dict[str, Any]:
    """The answer to a failed job. After a fatal error RunPod is asked for a fresh worker, and this one takes no further job."""
    if not error.fatal:
        return {"error": str(error)}
    _leave(str(error.code))
    return {"error": str(error), "refresh_worker": True}


def _leave(reason: str) -> None:
    """Take no further job: the SDK answers the one at hand, then ends, as it does for a platform that stops the worker."""
    structlog.get_logger().error("worker_leaves", reason=reason)
    if _takes_jobs():
        os.kill(os.getpid(), signal.SIGTERM)


def _begin(job: dict[str, Any], progress: Progress) -> asyncio.Future[dict[str, Any]]:
    """Do the work in a thread of its own. A daemon: one that hangs must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[dict[str, Any]] = loop.create_future()

    def give(made: dict[str, Any]) -> None:
        if not answer.done():
            answer.set_result(made)

    def work() -> None:
        made = _work(job, progress)
        if not loop.is_closed():  # a job that hung may wake when everything is over
            loop.call_soon_threadsafe(give, made)

    threading.Thread(target=contextvars.copy_context().run, args=(work,), name=WORK, daemon=True).start()
    return answer


async def _given_up(progress: Progress) -> dict[str, Any]:
    """The answer for a job that hangs. Its thread cannot be ended, so the worker leaves; if it wakes, it ends at its next step."""
    progress.cancelled.set()
    structlog.get_logger().error("job_hung", phase=progress.phase)
    await asyncio.to_thread(_drain)
    return _failed(JobError(Code.TIMED_OUT, "The job hung and was given up; send it again, another worker takes it.", fatal=True))


async def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job; answers the result, or `{"error": "CODE: sentence"}`. Cancelling it ends the work at its next step."""
    seconds = worker().environment.job_timeout_seconds
    structlog.contextvars.bind_contextvars(job_id=job["id"])
    progress = Progress(send=lambda report: _send(job, report), interval=INTERVAL)
    progress.deadline = progress.clock() + seconds
    if _takes_jobs():  # where not even this loop turns any more, say where it stands, and end: RunPod gives the job to another worker
        faulthandler.dump_traceback_later(seconds + LAST, exit=True)
    work = _begin(job, progress)
    try:
        return await asyncio.wait_for(asyncio.shield(work), seconds + GRACE)
    except TimeoutError:
        return await _given_up(progress)
    except asyncio.CancelledError:
        progress.cancelled.set()
        # the thread ends at its next step; the next job must not start beside it
        if not (await asyncio.wait({work}, timeout=GRACE))[0]:
            _leave("a cancelled job hangs")
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()


def main() -> int:
    """Build the engine, then hand over to the SDK. What is missing is said in one line, before any job is taken.

    Inside RunPod's loop the fitness check says it once more, to RunPod, and ends the process.
    """
    try:
        worker()
    except (JobError, settings.SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        if not _takes_jobs():
            return 1 if isinstance(error, JobError) else 2
    runpod.serverless.register_fitness_check(then_networks)
    runpod.serverless.start({"handler": handler})
    if any(thread.name == WORK for thread in threading.enumerate()):
        os._exit(1)  # a hung job may hold threads that Python would wait for
    return 0


if __name__ == "__main__":  # needed: the SDK's ping process starts by spawn
    sys.exit(main())

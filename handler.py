"""RunPod's door: one job in, URLs out. Run it with `python -u handler.py`; every mode of the SDK works.

Glue only: the work is done in a thread, so that the SDK's event loop can cancel it, and by `pipeline.service`.
"""

import asyncio
import os
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


def _send(job: dict[str, Any], report: Report) -> None:
    structlog.get_logger().info("progress", phase=report.phase, step=report.step, fraction=report.fraction)
    if os.environ.get("RUNPOD_WEBHOOK_POST_OUTPUT"):
        update = {"number": report.number, "phase": report.phase, "step": report.step, "percent": round(100 * report.fraction)}
        runpod.serverless.progress_update(job, update)


def _drain() -> None:
    """Wait for updates under way: the SDK posts them from threads of its own, and one that lands after the result
    leaves the job IN_PROGRESS for ever."""
    for thread in threading.enumerate():
        if thread.name.endswith("(_thread_target)"):
            thread.join(DRAIN)


def _work(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    structlog.contextvars.bind_contextvars(job_id=job["id"])
    try:
        return service.perform(str(job["id"]), job.get("input"), worker(), progress, job.get("s3Config"))
    except Exception as error:  # noqa: BLE001 - the SDK would answer with the whole traceback
        told = service.explain(error)
        structlog.get_logger().warning("job_failed", code=told.code, sentence=told.sentence)
        # A worker whose card is full is restarted by the platform; the job's answer stays an error.
        return {"error": str(told)} | ({"refresh_worker": True} if told.code is Code.GPU_OUT_OF_MEMORY else {})
    finally:
        _drain()
        structlog.contextvars.clear_contextvars()


async def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job; answers the result, or `{"error": "CODE: sentence"}`. Cancelling it ends the work at its next step."""
    seconds = worker().environment.job_timeout_seconds
    progress = Progress(send=lambda report: _send(job, report), interval=INTERVAL)
    progress.deadline = progress.clock() + seconds
    work = asyncio.get_running_loop().run_in_executor(None, _work, job, progress)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        progress.cancelled.set()
        await work  # the thread ends at its next step; the next job must not start beside it
        raise


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
    return 0


if __name__ == "__main__":  # needed: the SDK's ping process starts by spawn
    sys.exit(main())

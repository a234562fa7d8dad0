"""The engines' keeper, inside a web process: starts them, ends those that hang, starts them again.

A slot is a file that is locked for as long as its keeper or its engine lives, so that several web processes together keep WORKERS
engines and no more, and one that is killed leaves its slots to the others.
"""

import asyncio
import contextlib
import fcntl
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from functools import partial
from typing import IO

import structlog
from anyio import to_thread

from server import counters, files, jobs, metrics, queue, training
from server.database import Database
from server.settings import STOP_SECONDS, Pod

log = structlog.get_logger()

#: Seconds between two looks at an engine, and at a slot that another process keeps.
LOOK, TAKEN = 0.5, 1.0
#: Seconds before an engine is started again, doubled from the first to the last while it does not get further than its start.
FIRST_WAIT, LAST_WAIT = 0.5, 30.0
#: Seconds that an engine has to live to count as started.
STARTED = 60.0
#: The process that runs a training.
TRAINER = (sys.executable, "-m", "server.trainer")
#: Seconds between two looks for jobs that have been kept long enough.
SWEEP = 60.0


@contextlib.asynccontextmanager
async def engines(pod: Pod, database: Database) -> AsyncIterator[None]:
    """Engines for as long as the block lasts; afterwards they have ended, the job at hand finished or put back."""
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(_keep(slot, pod, database, stopping), name=f"engine {slot}") for slot in range(pod.environment.workers)]
    tasks.append(asyncio.create_task(_train(pod, database, stopping), name="training"))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


async def _keep(slot: int, pod: Pod, database: Database, stopping: asyncio.Event) -> None:
    """Keep one engine. What fails here, such as a full disk, is logged and tried again."""
    lock = await _lock(f"engine-{slot}", pod, stopping)
    if lock is None:
        return
    with lock:
        sweeper = asyncio.create_task(_sweep(pod, database)) if slot == 0 else None
        wait = FIRST_WAIT
        while not stopping.is_set():
            began = time.monotonic()
            try:
                if await to_thread.run_sync(training.holds, database):
                    await _pause(stopping, LOOK)
                    continue
                if await _run(slot, lock, pod, database, stopping) == training.MADE_ROOM:
                    continue
            except Exception as fault:
                log.error("keeper_failed", slot=slot, exc_info=fault)
            if not stopping.is_set():
                metrics.RESTARTS.labels(str(slot)).inc()
                wait = FIRST_WAIT if time.monotonic() - began > STARTED else min(LAST_WAIT, 2 * wait)
                await _pause(stopping, wait)
        if sweeper is not None:
            sweeper.cancel()


async def _lock(name: str, pod: Pod, stopping: asyncio.Event) -> IO[bytes] | None:
    """The file of a slot, or of the training, locked as soon as no other process holds it; None when this process stops before."""
    file = (pod.own_folder / f"{name}.lock").open("ab")
    while not stopping.is_set():
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await _pause(stopping, TAKEN)
        else:
            return file
    file.close()
    return None


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


async def _run(slot: int, lock: IO[bytes], pod: Pod, database: Database, stopping: asyncio.Event) -> int:
    """One engine's life, from its start until its jobs are in order again; its exit status."""
    # the engine inherits the lock: if this process is killed, the slot stays taken until the engine has ended too
    environment = _environment() | {counters.NAME: f"engine-{slot}"}
    command = (sys.executable, "-m", "server.engine", str(slot))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, pass_fds=(lock.fileno(),), env=environment)
    try:
        status, killed = await _watch(process, slot, pod, database, stopping)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    log.info("engine_ended", slot=slot, status=status)
    await to_thread.run_sync(lambda: queue.note_engine(database, slot, state="down", pid=None))
    for over in await to_thread.run_sync(lambda: queue.reap(database, slot, partial(files.clear_job, pod), late=killed == "late")):
        metrics.ended(over)
    return status


def _environment() -> dict[str, str]:
    """What this process's own processes get of its environment: all but the key."""
    return {name: value for name, value in os.environ.items() if name != "API_KEY"}


async def _train(pod: Pod, database: Database, stopping: asyncio.Event) -> None:
    """Run each training that is asked for, in a process of its own; one of all web processes does so."""
    lock = await _lock("training", pod, stopping)
    if lock is None:
        return
    with lock:
        try:
            await to_thread.run_sync(training.interrupt, database)  # whoever ran it has ended: the lock was free
            while not stopping.is_set():
                if await to_thread.run_sync(training.holds, database):
                    await _run_training(lock, database, stopping)
                await _pause(stopping, LOOK)
        except Exception as fault:
            log.error("keeper_failed", slot="training", exc_info=fault)


async def _run_training(lock: IO[bytes], database: Database, stopping: asyncio.Event) -> None:
    process = await asyncio.create_subprocess_exec(*TRAINER, str(os.getpid()), pass_fds=(lock.fileno(),), env=_environment())
    asked = asyncio.create_task(stopping.wait())
    ended = asyncio.create_task(process.wait())
    try:
        await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            process.terminate()
            await asyncio.wait({ended}, timeout=STOP_SECONDS)
    finally:
        asked.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    log.info("training_ended", status=process.returncode)
    # one that cannot even begin would be begun for ever; what waits when the server stops begins with the next one
    hopeless = process.returncode != 0 and not stopping.is_set()
    await to_thread.run_sync(lambda: training.interrupt(database, waiting=hopeless))


async def _watch(process: Process, slot: int, pod: Pod, database: Database, stopping: asyncio.Event) -> tuple[int, str | None]:
    """Wait until an engine ends, and kill it where it must; its exit status, and why it was killed if it was."""
    asked_at = None
    while True:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(process.wait(), LOOK), None
        if stopping.is_set() and asked_at is None:
            asked_at = time.monotonic()
            process.terminate()
        grace = pod.environment.kill_grace_seconds
        reason: str | None = await to_thread.run_sync(queue.overdue, database, slot, grace)
        if asked_at is not None and time.monotonic() - asked_at > STOP_SECONDS:
            reason = "stopping"
        if reason is not None:
            log.error("engine_killed", slot=slot, reason=reason)
            process.kill()
            return await process.wait(), reason


async def _sweep(pod: Pod, database: Database) -> None:
    """Delete what has been kept long enough, again and again."""
    while True:
        try:
            await to_thread.run_sync(sweep, pod, database)
        except Exception as fault:
            log.error("sweep_failed", exc_info=fault)
        await asyncio.sleep(min(SWEEP, pod.environment.retention_hours * 3600 / 4))


def sweep(pod: Pod, database: Database) -> None:
    """Delete jobs that ended RETENTION_HOURS ago, the oldest ended ones while all hold more than RETENTION_GB, uploads that became no job,
    and leavings of interrupted attempts."""
    environment = pod.environment
    gone = jobs.forget_old(database, time.time() - environment.retention_hours * 3600, environment.retention_gb * 1e9)
    uploads, folders = files.stale(pod)
    known = jobs.known(database, (folder.name for folder in folders))
    for folder in [*(files.folder_of(pod, job_id) for job_id in gone), *uploads, *(path for path in folders if path.name not in known)]:
        files.remove(folder)
    attempts = files.attempts(pod)  # listed before the leases, since a lease is older than its folder
    held = queue.leases(database)
    for folder in attempts:
        if folder.name not in held:
            files.remove(folder)
    if gone:
        log.info("jobs_forgotten", count=len(gone))

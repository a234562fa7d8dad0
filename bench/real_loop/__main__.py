"""Hundreds of jobs through RunPod's real worker loop with faults injected: `python -m bench.real_loop --jobs 500 --faults 0.3 [--seed 0]`.

`python -u handler.py`, the classical engine, small pictures at size 1024, a real S3 service behind a proxy that fails on demand, and the
control plane of `tests/support/control_plane.py`. Workers are started as others are killed or leave. Each disturbed job has one fault of
`bench/real_loop/faults.py`; afterwards `bench/real_loop/audit.py` holds every job's end against the bucket and the logs.
`--memory` and `--overhead` are `bench/real_loop/memory.py`'s; `--docs` writes docs/benchmarks/real_loop.md from what the runs left in
bench/out. Ends with 1 when a figure is missed.
"""

import argparse
import dataclasses
import json
import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.real_loop import memory as real_loop_memory
from bench.real_loop.audit import Audit, audit
from bench.real_loop.faults import CONFIG, JOB_SECONDS, BucketFaults, Trial, trials
from bench.real_loop.page import write
from tests.support import s3_service
from tests.support.control_plane import FINAL, ControlPlane
from tests.support.faulty_proxy import faulty_proxy
from tests.support.real_worker import RealWorker, bucket_environment

OUT = Path(__file__).parents[1] / "out" / "real_loop"
#: Seconds of a job until the first one is done, and after which a run that makes no headway is given up.
GUESS, STALLED = 4.0, 400.0


class Fleet:
    """So many workers at a time; whoever has ended is followed by a new one."""

    def __init__(self, plane: ControlPlane, folder: Path, size: int, environment: dict[str, str]) -> None:
        self._plane, self._folder, self._environment = plane, folder, environment
        self.workers: dict[str, RealWorker] = {}
        self._size = size

    def tend(self) -> None:
        """Start what is missing."""
        for _ in range(self._size - len(self.alive())):
            pod = f"pod-{len(self.workers)}"
            self.workers[pod] = RealWorker(self._plane, pod, self._folder, **self._environment)

    def alive(self) -> list[RealWorker]:
        """Those that may take jobs."""
        return [worker for worker in self.workers.values() if not worker.ended.is_set() and not self._plane.pods_stopping(worker.pod)]

    def close(self) -> None:
        """Let all of them finish what they hold."""
        for worker in self.workers.values():
            if not worker.ended.is_set():
                worker.stop()
        for worker in self.workers.values():
            worker.close()

    def completed(self) -> set[str]:
        """The jobs that some worker's log calls completed."""
        events = (event for worker in self.workers.values() for event in worker.events("job_summary"))
        return {event["job_id"] for event in events if event["status"] == "completed"}


@contextmanager
def silence() -> Iterator[str]:
    """An address that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/photo.jpg"


def disturb(trial: Trial, plane: ControlPlane, fleet: Fleet) -> bool:
    """Do a trial's act; False where it comes too late."""
    job = plane.jobs[trial.id]
    if job.status in FINAL:
        return False
    if trial.act == "cancel":
        plane.cancel(trial.id)
    elif trial.act and job.pod in fleet.workers:
        worker = fleet.workers[job.pod]
        (worker.kill if trial.act == "kill" else worker.stop)()
    return True


def drive(made: list[Trial], plane: ControlPlane, fleet: Fleet, say: Callable[[str], None]) -> dict[str, bool]:
    """Let all jobs come to an end, doing each trial's act when its moment has come; trial → whether that was in time."""
    waiting = {trial.id: trial for trial in made if trial.act or any(fault.job is None for fault in trial.routes)}
    acted: dict[str, bool] = {}
    headway, before, usual, began = time.monotonic(), -1, GUESS, time.monotonic()
    while True:
        fleet.tend()
        now = time.monotonic()
        jobs = list(plane.jobs.values())
        for trial in [trial for trial in waiting.values() if plane.jobs[trial.id].taken]:
            if not trial.act:  # a fault of a route that serves no one job happens while this one is under way
                plane.inject(*trial.routes)
                del waiting[trial.id]
            elif now > plane.jobs[trial.id].taken[0][0] + trial.moment * usual:
                acted[trial.id] = disturb(trial, plane, fleet)
                del waiting[trial.id]
        ended = sum(job.status in FINAL for job in jobs)
        if ended != before:
            headway, before = now, ended
            done = [job.ended - job.started for job in jobs if job.status == "COMPLETED"]
            usual = median(done) if done else GUESS
            if ended % 20 == 0:
                say(f"{ended} of {len(jobs)} jobs, {len(fleet.workers)} workers so far, a job {usual:.1f} s, {now - began:.0f} s")
        if ended == len(jobs):
            return acted
        if now - headway > STALLED:
            say("no headway: given up")
            return acted
        time.sleep(0.03)


def loop(arguments: argparse.Namespace, service: s3_service.S3Service, folder: Path, say: Callable[[str], None]) -> Audit:
    """The run with faults."""
    bucket = service.new_bucket()
    (folder / "settings.yaml").write_text(CONFIG)
    with silence() as silent_url, ControlPlane() as plane:
        made = trials(arguments.jobs, arguments.faults, arguments.seed, silent_url)
        faults = BucketFaults(made)
        with faulty_proxy(service.endpoint_url, faults) as (address, _):
            more = {
                **bucket_environment(dataclasses.replace(bucket, endpoint_url=address)),
                "ALLOW_PRIVATE_URLS": "1",
                "JOB_TIMEOUT_SECONDS": str(JOB_SECONDS),
                "PIPELINE_CONFIG": str(folder / "settings.yaml"),
            }
            for trial in made:
                plane.inject(*(fault for fault in trial.routes if fault.job))
                plane.submit(trial.request, trial.id)
            began = time.monotonic()
            fleet = Fleet(plane, folder, arguments.workers, more)
            try:
                acted = drive(made, plane, fleet, say)
            finally:
                fleet.close()
        objects = service.objects(bucket)
        found = audit(made, plane.jobs, objects, fleet.completed())
        told = {
            "jobs": len(made),
            "disturbed": sum(trial.kind != "none" for trial in made),
            "workers": len(fleet.workers),
            "at_once": arguments.workers,
            "seconds": round(time.monotonic() - began),
            "objects": len(objects),
            "too_late": [*acted.values()].count(False),
            "seen": {f"{route} {status or 'dropped'}": count for (route, status), count in sorted(plane.seen.items())},
            "unhealthy": [reason for pod in plane.pods.values() for reason in pod.unhealthy],
            "complaints": plane.complaints,
            "not_happened": [f"{fault.route} {fault.kind} {fault.job}" for fault in plane.planned()],
            "bucket_faults": sum(faults.happened.values()),
        }
        keep("jobs", arguments, {**found.public(), **told})
    return found


def keep(name: str, arguments: argparse.Namespace, told: dict[str, Any]) -> None:
    """Write a run's figures down for the page."""
    OUT.mkdir(parents=True, exist_ok=True)
    machine = f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[1]:.1f}"
    given = {"date": datetime.now(UTC).date().isoformat(), "machine": machine, "seed": arguments.seed, "command": " ".join(sys.argv[1:])}
    (OUT / f"{name}.json").write_text(json.dumps({**given, **told}, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="workers at a time")
    parser.add_argument("--memory", action="store_true", help="200 jobs in one worker")
    parser.add_argument("--overhead", action="store_true", help="the worker's own part of a job")
    parser.add_argument("--folder", type=Path, help="where logs and objects go (a temporary folder)")
    parser.add_argument("--docs", action="store_true")
    arguments = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        (folder / "s3").mkdir(parents=True)
        with s3_service.running(folder / "s3") as service:
            if arguments.jobs:
                found = loop(arguments, service, folder, lambda text: print(text, flush=True))
                print(json.dumps(found.public(), indent=1))
                met &= found.met
            if arguments.memory:
                early, late = real_loop_memory.memory(service, folder / "memory", 20, 200, lambda text: print(text, flush=True))
                keep("memory", arguments, {"early": dataclasses.asdict(early), "late": dataclasses.asdict(late)})
                met &= real_loop_memory.steady(early, late)
            if arguments.overhead:
                cost = real_loop_memory.overhead(service, folder / "overhead", 120)
                print(cost)
                keep("overhead", arguments, dataclasses.asdict(cost))
                met &= cost.met
    if arguments.docs:
        write(OUT)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

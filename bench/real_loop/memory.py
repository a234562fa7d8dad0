"""What many jobs leave behind in one worker, and what the worker adds to a job; both with `python -u handler.py` in its real loop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil

from tests.support.control_plane import ControlPlane, Job
from tests.support.real_worker import SMALL, RealWorker, bucket_environment, drawn
from tests.support.s3_service import S3Service

#: How much more resident memory there may be, and how long the worker's own part of a job may be (median, s).
MOST_GROWTH, MOST_OVERHEAD = 0.05, 0.060


@dataclass(frozen=True, slots=True)
class State:
    """What a worker's process holds: resident bytes, threads, open file handles, files in its temporary folder, child processes."""

    rss: int
    threads: int
    handles: int
    files: int
    children: int


def steady(early: State, late: State) -> bool:
    """Whether nothing has grown: resident memory by 5 % at most, the rest not at all."""
    same = (late.threads, late.handles, late.files, late.children) == (early.threads, early.handles, early.files, early.children)
    return same and late.rss <= early.rss * (1 + MOST_GROWTH)


@dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds that the worker added to each of `jobs` jobs: from the control plane handing a job out to the answer's arrival (its clock),
    less the phases of that job's `job_summary`, in which are PNG encoding and the upload. Median and 95th percentile.

    What is left: the job's way to the worker, the SDK's queue (which it looks into every 0.1 s), validation, threads, log, waiting
    for the last progress update, the answer's way back. `empty` is the same median for a handler that does nothing, measured in turns
    with the other: what the SDK takes for itself.
    """

    jobs: int
    median: float
    most: float
    empty: float

    @property
    def met(self) -> bool:
        """Whether the median is as asked."""
        return self.median <= MOST_OVERHEAD


#: A worker whose handler does nothing.
EMPTY = [
    "-c",
    "import os; os.environ['RUNPOD_LOG_LEVEL'] = 'INFO'; import runpod\n"
    "async def handler(job): return {'done': True}\n"
    "runpod.serverless.start({'handler': handler})",
]


@contextmanager
def alone(service: S3Service, folder: Path, pod: str, code: list[str] | None = None) -> Iterator[tuple[ControlPlane, RealWorker]]:
    """A control plane and one worker that has done nothing yet, with a bucket and a temporary folder of its own."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    with ControlPlane() as plane:
        more = bucket_environment(service.new_bucket())
        with RealWorker(plane, pod, folder, code=code, TMPDIR=str(temporary), **more) as worker:
            yield plane, worker


def request(number: int) -> dict[str, Any]:
    """The job of that number: other pictures and outputs, every tenth one a refusal."""
    if number % 10 == 9:
        return {"input": {"image_base64": "AAAA"}}
    outputs = ["svg", "png", "intermediates"] if number % 10 == 4 else ["svg", "png"]
    return {"input": {**drawn(number % 7), **SMALL, "outputs": outputs}}


def state(worker: RealWorker) -> State:
    """What the worker holds now."""
    process = psutil.Process(worker.process.pid)
    files = sum(path.is_file() for path in Path(worker.environment["TMPDIR"]).rglob("*"))
    return State(process.memory_info().rss, process.num_threads(), process.num_fds(), files, len(process.children(recursive=True)))


def memory(service: S3Service, folder: Path, early: int, late: int, say: Callable[[str], None]) -> tuple[State, State]:
    """The worker's state after `early` and after `late` jobs."""
    states = []
    with alone(service, folder, "memory") as (plane, worker):
        for number in range(late):
            done = plane.submit(request(number), f"m-{number:04}")
            if not plane.settled(done, seconds=120):
                raise SystemExit(f"job {done} did not end: {worker.printed()[-2000:]}")
            if number + 1 in (early, late) or (number + 1) % 20 == 0:
                plane.wait(lambda: False, 2.5)  # the SDK asks for the next job a second later; its connections settle
                now = state(worker)
                say(f"after {number + 1} jobs: {now}")
                states += [now] if number + 1 in (early, late) else []
    return states[0], states[1]


def overhead(service: S3Service, folder: Path, jobs: int) -> Overhead:
    """What the worker adds to a job, the first two left out."""
    request = {"input": {**drawn(), **SMALL}}
    with alone(service, folder / "ours", "ours") as (plane, worker), alone(service, folder / "empty", "empty", EMPTY) as (other, _):
        for number in range(jobs + 2):
            for each in (plane, other):
                done = each.submit(request, f"o-{number:04}")
                if not each.settled(done, seconds=120):
                    raise SystemExit(f"job {done} did not end: {worker.printed()[-2000:]}")
        phases = {event["job_id"]: sum(event["phases_ms"].values()) / 1000 for event in worker.events("job_summary")}
        ours = [_seconds(job) - phases[job.id] for job in list(plane.jobs.values())[2:]]
        empty = [_seconds(job) for job in list(other.jobs.values())[2:]]
    return Overhead(jobs, median(ours), quantiles(ours, n=20)[-1], median(empty))


def _seconds(job: Job) -> float:
    """From the job's being handed out to its answer."""
    return job.posts[0].at - job.taken[0][0]

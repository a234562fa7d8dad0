"""When pictures arrive, and what a simulated endpoint made of them: the sums and percentiles that a reader decides by."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, median, quantiles

from bench.capacity_model import Draw, Job, Run

HOUR = 3600.0
PATTERNS = ("steady", "bursts", "day", "night")
#: The day curve: its busiest hour, and how much busier and quieter than the mean it is there and twelve hours later (share of the mean).
BUSIEST, SWING = 14.0, 0.9


def arrivals(pattern: str, per_hour: float, hours: float, burst: int, random: Random) -> list[float]:
    """Seconds at which pictures arrive, `per_hour` on average over `hours`.

    `steady`: at random, independently (Poisson). `bursts`: `burst` at once, the bursts at random. `day`: at random, with the rate of a
    cosine over 24 hours that is 1 + SWING times the mean at 14:00. `night`: a whole day's at once at 01:00, once a day.
    """
    end = hours * HOUR
    if pattern == "night":
        nights = max(1, round(hours / 24))
        return [(24 * night + 1) * HOUR for night in range(nights) for _ in range(round(per_hour * hours / nights))]
    size = burst if pattern == "bursts" else 1
    top = per_hour * (1 + SWING) if pattern == "day" else per_hour / size
    times: list[float] = []
    now = random.expovariate(top / HOUR)
    while now < end:
        if pattern != "day" or random.random() * top < per_hour * _of_day(now):
            times += [now] * size
        now += random.expovariate(top / HOUR)
    return times


def _of_day(seconds: float) -> float:
    """The day curve at a moment, 1 on average."""
    return 1 + SWING * math.cos(2 * math.pi * (seconds / HOUR - BUSIEST) / 24)


def jobs(times: Iterable[float], service: Draw, random: Random) -> list[Job]:
    """A job for each arrival. The durations belong to the jobs, so that every setting is tried on the same ones."""
    return [Job(time, service(random)) for time in times]


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a run. Waits in s, from arrival to beginning; the `*_seconds` are a worker's, billed, divided by the pictures."""

    pictures: int
    median_wait: float
    p95_wait: float
    per_hour: float
    busy_seconds: float
    idle_seconds: float
    start_seconds: float
    starts: int
    most_workers: int

    @property
    def billed_seconds(self) -> float:
        """Worker seconds a picture."""
        return self.busy_seconds + self.idle_seconds + self.start_seconds

    def cost(self, price: float) -> float:
        """A picture's, at `price` for a worker's hour."""
        return self.billed_seconds * price / HOUR


def summary(run: Run) -> Summary:
    """Of a run with at least one job. `per_hour` is from the first arrival to the last end."""
    waits = [served.wait for served in run.served]
    count = len(waits)
    lasted = max(served.ended for served in run.served) - min(served.job.arrival for served in run.served)
    return Summary(
        pictures=count,
        median_wait=median(waits),
        p95_wait=percentile(waits, 95),
        per_hour=count * HOUR / lasted,
        busy_seconds=sum(life.busy for life in run.workers) / count,
        idle_seconds=sum(life.idle for life in run.workers) / count,
        start_seconds=sum(life.starting for life in run.workers) / count,
        starts=sum(life.starting > 0 for life in run.workers),
        most_workers=max(look.workers for look in run.looks),
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """The percentile, interpolated between neighbours."""
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


def measured_seconds(log: Iterable[str]) -> tuple[float, ...]:
    """The seconds of every completed job in a worker's log (docs/worker.md). Raises ValueError where there is none."""
    seconds = []
    for line in log:
        if '"job_summary"' not in line:
            continue
        told = json.loads(line)
        if told["status"] == "completed":
            seconds.append(told["ms"] / 1000)
    if not seconds:
        raise ValueError("The log has no job_summary of a completed job.")
    return tuple(seconds)


def mean_service(jobs: Sequence[Job]) -> float:
    """Mean seconds of work a job."""
    return fmean(job.service for job in jobs)

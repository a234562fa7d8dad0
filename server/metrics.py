"""What the pod counts, for Prometheus. Web processes and engines count into files of one folder; what the database knows is asked of it.

The folder has to be there before this module is imported, see `server.counters`.
"""

import os
import time
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from pipeline.errors import Code
from server import counters
from server.database import Database, engines, jobs
from server.problems import PodCode
from server.queue import Claim, Ended

_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600)
_WAITS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400)
_REQUESTS = (0.01, 0.05, 0.1, 0.5, 1, 5)
if counters.NAME in os.environ:
    values.ValueClass = values.MultiProcessValue(lambda: os.environ[counters.NAME])  # type: ignore[no-untyped-call]
#: The metrics need a registry, but it is never asked: the numbers are read from the folder.
_HERE = CollectorRegistry()

JOBS = Counter("jobs", "Jobs that ended, by how.", ["status"], registry=_HERE)
ERRORS = Counter("errors", "Jobs that failed and requests that were refused, by code.", ["code"], registry=_HERE)
JOB_SECONDS = Histogram("job_duration_seconds", "Time of a job.", ["status"], buckets=_SECONDS, registry=_HERE)
PHASE_SECONDS = Histogram("phase_duration_seconds", "Time of one phase of a job.", ["phase"], buckets=_SECONDS, registry=_HERE)
WAIT_SECONDS = Histogram("job_wait_seconds", "Time from a job's coming to its beginning.", buckets=_WAITS, registry=_HERE)
REQUESTS = Counter("http_requests", "Requests that were answered.", ["method", "route", "status"], registry=_HERE)
REQUEST_SECONDS = Histogram("http_request_duration_seconds", "Time of an answer.", ["method", "route"], buckets=_REQUESTS, registry=_HERE)
CACHE = Counter("model_cache_operations", "What jobs did to the model cache.", ["kind"], registry=_HERE)
VRAM = Gauge("peak_vram_bytes", "The most memory of the card that a job has taken.", multiprocess_mode="max", registry=_HERE)
RESTARTS = Counter("engine_restarts", "Engines that ended and were started again.", ["slot"], registry=_HERE)


def begin(workers: int) -> None:
    """Start every counter at 0: Prometheus does not count the first increase of a series that did not exist before."""
    for code in (*Code, *PodCode):
        ERRORS.labels(str(code))
    for status in ("completed", "failed", "cancelled"):
        JOBS.labels(status)
    for kind in ("loads", "moves", "hits", "evictions"):
        CACHE.labels(kind)
    for slot in range(workers):
        RESTARTS.labels(str(slot))


def ended(job: Ended) -> None:
    """Count a job that is over."""
    JOBS.labels(job.status).inc()
    if job.status == "failed":
        ERRORS.labels(job.code).inc()


def begun(taken: Claim) -> None:
    """Count how long a job has waited; one that runs again does not count, since it waited for an engine's failure as well."""
    if taken.attempts == 1:
        WAIT_SECONDS.observe(taken.waited)


def used_cache(before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """Count what one job did to the model cache."""
    for kind, count in after.items():
        CACHE.labels(kind).inc(count - before.get(kind, 0))


class _Stored(Collector):
    """What the database knows when `/metrics` is read."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self.database.read() as connection:
            counts: dict[str, int] = dict(connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status)).tuples().all())
            oldest = connection.execute(select(jobs.c.created_at).where(jobs.c.status == "pending").order_by(jobs.c.seq).limit(1)).scalar()
            stored = connection.execute(select(func.coalesce(func.sum(jobs.c.bytes), 0))).scalar_one()
            states = connection.execute(select(engines.c.slot, engines.c.state)).tuples().all()
        age = max(time.time() - oldest, 0) if oldest else 0
        yield GaugeMetricFamily("job_queue_size", "Jobs that wait.", counts.get("pending", 0))
        yield GaugeMetricFamily("jobs_processing", "Jobs that are being worked on.", counts.get("processing", 0))
        yield GaugeMetricFamily("oldest_pending_seconds", "Age of the job that is next, or 0.", age)
        yield GaugeMetricFamily("stored_bytes", "Pictures and results of all jobs on disk.", stored)
        up = GaugeMetricFamily("engine_up", "1 for an engine that takes jobs, else 0.", labels=["slot"])
        for slot, state in states:
            up.add_metric([str(slot)], state == "ready")
        yield up


def exposition(database: Database) -> bytes:
    """Everything in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(_Stored(database))
    return generate_latest(registry)

"""Where a job's files go, decided before any work, and how they get there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from delivery import (
    RESULT_NAME,
    Artifact,
    Bucket,
    deliver_inline,
    deliver_local,
    deliver_s3,
    local_urls,
    s3_urls,
)
from pipeline.errors import Code, JobError
from pipeline.job import Job, Result
from pipeline.progress import Progress
from pipeline.service.start import Worker
from pipeline.stored_keys import safe_prefix


@dataclass(frozen=True, slots=True)
class Staging:
    """Folders of a door that decides only afterwards whether an attempt at a job counts. The files are always written into `folder`, the
    attempt's own, also when they go to a bucket; their URLs name `place`, where the door moves them."""

    folder: Path
    place: Path


@dataclass(frozen=True, slots=True)
class Delivered:
    """A job that was done: the public result, and `withdraw`, which takes back what lies in a bucket (`delivery.deliver_s3`)."""

    answer: dict[str, Any]
    withdraw: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a job's files go: `urls`, known beforehand, and `put`, which stores them and returns a function that takes them back. Both are
    None for inline."""

    name: str
    urls: Callable[[list[str]], dict[str, str]] | None = None
    put: Callable[[list[Artifact]], Callable[[], None]] | None = None


def destination_of(
    job: Job, worker: Worker, bucket: Bucket | None, job_id: str, folder: Path | None, staging: Staging | None, progress: Progress
) -> Destination:
    """The job's destination, checked before any work is done. A local folder that the door names is one that its user can reach."""
    inside = worker.environment.in_runpod and folder is None and staging is None
    where = job.delivery
    if where == "auto":
        where = "local" if folder else "s3" if bucket else "inline" if inside else "local"
    prefix = safe_prefix(job.output_prefix or job_id)
    if where == "inline":
        return Destination(where)
    if where == "s3":
        if bucket is None:
            raise JobError(Code.INVALID_INPUT, "delivery is s3, and no bucket is configured: set BUCKET_NAME or send s3Config.")

        def upload(files: list[Artifact]) -> Callable[[], None]:
            if staging:
                deliver_local([file for file in files if file.make is None], staging.folder, check=progress.check)
            return deliver_s3(files, bucket=bucket, key_prefix=prefix, check=progress.check)

        return Destination(where, partial(s3_urls, bucket=bucket, key_prefix=prefix), upload)
    if inside:
        raise JobError(Code.INVALID_INPUT, "delivery is local, which nobody can fetch from inside RunPod; use s3 or inline.")
    place = folder or worker.environment.output_dir / prefix
    written, named = (staging.folder, staging.place) if staging else (place, place)

    def write(files: list[Artifact]) -> Callable[[], None]:
        deliver_local(files, written, check=progress.check)
        return _nothing

    return Destination(where, partial(local_urls, folder=named), write)


def _nothing() -> None:
    return None


def deliver(files: list[Artifact], destination: Destination, tell: Callable[[Mapping[str, str]], Result]) -> Delivered:
    """Deliver the files and, unless inline, the result beside them; returns that same result."""
    if destination.urls is None or destination.put is None:
        return Delivered(tell(deliver_inline(files)).public(), _nothing)
    urls = destination.urls([file.name for file in files])
    told: list[dict[str, Any]] = []

    def last() -> bytes:  # called when all other files are in place, so that it can tell how long they took
        told.append(tell(urls).public())
        return json.dumps(told[-1], indent=2).encode()

    withdraw = destination.put([*files, Artifact.late(RESULT_NAME, last)])
    return Delivered(told[-1], withdraw)

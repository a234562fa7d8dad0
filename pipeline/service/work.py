"""One job from what was sent to what is answered, the same for every door: receive, run the phases, deliver, tell."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from delivery import DISK_FULL, Bucket, bucket_from_s3_config
from pipeline.errors import Code, JobError
from pipeline.intake.fetch import check_endpoint
from pipeline.job import Result, read
from pipeline.progress import Progress
from pipeline.run import SHARES, check_generation, run
from pipeline.service.destination import Delivered, Staging, deliver, destination_of
from pipeline.service.received import NONE, Pictures, colored, received
from pipeline.service.result import URLS, artifacts, result_of
from pipeline.service.start import Worker
from pipeline.service.summary import Account

log = structlog.get_logger()


def explain(error: Exception) -> JobError:
    """The error a caller may see. What is not a `JobError` is a bug: its traceback is logged under the id that the caller gets."""
    if isinstance(error, JobError):
        return error
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        log.error("disk_full", exc_info=error)
        return JobError(Code.DISK_FULL, "The worker's disk is full or read-only; send the job again, another worker takes it.", fatal=True)
    number = uuid.uuid4().hex[:12]
    log.error("internal_error", error_id=number, exc_info=error)
    return JobError(Code.INTERNAL, f"Something went wrong inside the worker; its log holds the details under {number}.")


@dataclass(frozen=True, slots=True)
class _Sent:
    """A job as its door hands it over; `folder` and `staging` as `perform` and `attempt` say."""

    job_id: str
    raw: object
    s3_config: object = None
    folder: Path | None = None
    staging: Staging | None = None
    pictures: Pictures = NONE


def perform(
    job_id: str,
    raw: object,
    worker: Worker,
    progress: Progress,
    s3_config: object = None,
    folder: Path | None = None,
    pictures: Pictures = NONE,
) -> dict[str, Any]:
    """Do one job; the answer is the public result, already delivered. `folder` is where a shell user wants the files; `pictures` are those
    that the door has as bytes, which `raw` does not name then.

    Raises JobError and nothing else, see `explain`. A failed job leaves no file anywhere. Every job leaves one `job_summary` in the log.
    """
    return _attempt(_Sent(job_id, raw, s3_config, folder, pictures=pictures), worker, progress).answer


def attempt(job_id: str, raw: object, worker: Worker, progress: Progress, staging: Staging, pictures: Pictures = NONE) -> Delivered:
    """As `perform`, for a door whose jobs may be at work twice: the door then puts the files in their place, or withdraws them.

    The door removes the attempt's folder, also where this raises.
    """
    return _attempt(_Sent(job_id, raw, staging=staging, pictures=pictures), worker, progress)


def _attempt(sent: _Sent, worker: Worker, progress: Progress) -> Delivered:
    began = time.perf_counter()
    account = Account(worker.steps.name, worker.steps.cache_counts())
    listener = progress.ended

    def ended(phase: str, seconds: float) -> None:
        account.phase_ended(phase, seconds)
        listener(phase, seconds)

    progress.ended = ended

    def close(answer: Mapping[str, Any] | None, error: JobError | None) -> None:
        progress.close()
        account.close(time.perf_counter() - began, answer, error, worker.steps.cache_counts())

    try:
        delivered = _perform(sent, worker, progress, account)
    except Exception as fault:  # noqa: BLE001 - a bug becomes an id for the caller and a traceback in the log
        error = explain(fault)
        close(None, error)
        raise error  # noqa: B904 - a bug's own traceback is in the log by now
    close(delivered.answer, None)
    return delivered


def _perform(sent: _Sent, worker: Worker, progress: Progress, account: Account) -> Delivered:
    began = time.perf_counter()
    job = read(sent.pictures.named(sent.raw), worker.environment.library)
    account.size = job.size
    check_generation(job, worker.steps)
    bucket = worker.bucket if sent.s3_config is None else _own_bucket(sent.s3_config, worker)
    destination = destination_of(job, worker, bucket, sent.job_id, sent.folder, sent.staging, progress)
    account.delivery = destination.name
    progress.enter("fetch", *SHARES["fetch"])
    photo, matte = received(job, sent.pictures, worker, bucket, progress, account)
    job = colored(job, worker, bucket, progress)
    fetched = round(1000 * (time.perf_counter() - began))

    peak_memory = worker.steps.watch_memory()
    finished = run(photo, matte, job, worker.steps, worker.settings, progress)
    result = result_of(finished, job, sent.job_id, worker.steps, fetched, peak_memory())
    progress.enter("deliver", *SHARES["deliver"])
    progress.step("files", 0.0)
    packing = time.perf_counter()

    def tell(urls: Mapping[str, str]) -> Result:
        named = {key: urls[name] for name, key in URLS.items() if name in urls}
        shown = {name.removesuffix(".png"): url for name, url in urls.items() if name not in URLS}
        now = time.perf_counter()
        timings = result.timings_ms.model_copy(update={"deliver": round(1000 * (now - packing))})
        changes = {**named, "timings_ms": timings, "processing_time_ms": round(1000 * (now - began))}
        return result.model_copy(update=changes | ({"intermediates": shown} if "intermediates" in job.outputs else {}))

    files = artifacts(finished, job, result, worker.settings)
    account.output_bytes = {file.name: len(file.data) for file in files}
    return deliver(files, destination, tell)


def _own_bucket(s3_config: object, worker: Worker) -> Bucket:
    private, seconds = worker.environment.allow_private_urls, worker.settings.input.fetch_seconds
    return bucket_from_s3_config(
        s3_config,
        check_endpoint=partial(check_endpoint, allow_private=private, timeout=seconds),
        allow_private=private,
        prefix=worker.environment.bucket_prefix,
        url_expiry_seconds=worker.environment.url_expiry_seconds,
    )

"""One job from its input to its answer, the same for every door: fetch, run the phases, deliver, tell."""

import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from delivery import (
    DISK_FULL,
    RESULT_NAME,
    Artifact,
    Bucket,
    bucket_from_s3_config,
    configured_bucket,
    deliver_inline,
    deliver_local,
    deliver_s3,
    fetch_s3,
    local_urls,
    s3_urls,
    safe_prefix,
)
from pipeline import __version__, engines
from pipeline.errors import Code, JobError
from pipeline.intake.data_uri import decode_base64
from pipeline.intake.fetch import check_endpoint, fetch, is_url
from pipeline.intake.photo import GivenMatte, Limits, decode, decode_matte
from pipeline.job import Draw, FrameSpec, Job, Quality, Removed, Result, Timings, Versions, read
from pipeline.outputs.pdf import pdf_from_svg
from pipeline.outputs.report import report_html, shown_settings
from pipeline.progress import Progress
from pipeline.run import Finished, check_generation, intermediates, run, vehicle_box
from pipeline.settings import Environment, Settings
from pipeline.steps import Steps
from pipeline.summary import Account
from pipeline.values import Frame, Photo

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Worker:
    """What a process needs for every job, built once at start-up."""

    environment: Environment
    settings: Settings
    steps: Steps
    bucket: Bucket | None

    @property
    def limits(self) -> Limits:
        """What one picture may cost."""
        given = self.settings.input
        return Limits(int(self.environment.max_input_mb * 1e6), given.max_pixels, given.max_side, given.decode_seconds)


def start(environment: Environment, settings: Settings) -> Worker:
    """Build the engine and read the bucket's configuration. Raises `MODELS_MISSING`, `DELIVERY_FAILED` (half a bucket)."""
    secret = environment.bucket_secret_access_key
    bucket = configured_bucket(
        endpoint_url=environment.bucket_endpoint_url,
        access_key=environment.bucket_access_key_id,
        secret_key=secret.get_secret_value() if secret else None,
        name=environment.bucket_name,
        region=environment.bucket_region,
        prefix=environment.bucket_prefix,
        url_expiry_seconds=environment.url_expiry_seconds,
        public_base_url=environment.public_base_url,
        addressing=environment.bucket_addressing,
    )
    steps = engines.build(environment, settings)
    log.info("engine_ready", engine=steps.name, models=dict(steps.models), expected_seconds=dict(steps.expected_seconds))
    return Worker(environment, settings, steps, bucket)


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
class Staging:
    """Folders of a door that decides only afterwards whether an attempt at a job counts. Its files are written into `folder`, which is the
    attempt's own, whatever else they are delivered to; their URLs name `place`, where the door puts them then."""

    folder: Path
    place: Path


@dataclass(frozen=True, slots=True)
class Delivered:
    """A job that was done: the public result, and `withdraw`, which takes back what lies in a bucket (`delivery.deliver_s3`)."""

    answer: dict[str, Any]
    withdraw: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where a job's files go: their URLs, known beforehand, and how to put them there, which answers how to take them back; both None for
    inline."""

    name: str
    urls: Callable[[list[str]], dict[str, str]] | None = None
    put: Callable[[list[Artifact]], Callable[[], None]] | None = None


def _destination(
    job: Job, worker: Worker, bucket: Bucket | None, job_id: str, folder: Path | None, staging: Staging | None, progress: Progress
) -> _Destination:
    """Decided and checked before any work is done. A local folder that the door names is one that its user can reach."""
    inside = worker.environment.in_runpod and folder is None and staging is None
    where = job.delivery
    if where == "auto":
        where = "local" if folder else "s3" if bucket else "inline" if inside else "local"
    prefix = safe_prefix(job.output_prefix or job_id)
    if where == "inline":
        return _Destination(where)
    if where == "s3":
        if bucket is None:
            raise JobError(Code.INVALID_INPUT, "delivery is s3, and no bucket is configured: set BUCKET_NAME or send s3Config.")

        def upload(files: list[Artifact]) -> Callable[[], None]:
            if staging:
                deliver_local([file for file in files if file.make is None], staging.folder, check=progress.check)
            return deliver_s3(files, bucket=bucket, key_prefix=prefix, check=progress.check)

        return _Destination(where, partial(s3_urls, bucket=bucket, key_prefix=prefix), upload)
    if inside:
        raise JobError(Code.INVALID_INPUT, "delivery is local, which nobody can fetch from inside RunPod; use s3 or inline.")
    place = folder or worker.environment.output_dir / prefix
    written, named = (staging.folder, staging.place) if staging else (place, place)

    def write(files: list[Artifact]) -> Callable[[], None]:
        deliver_local(files, written, check=progress.check)
        return _nothing

    return _Destination(where, partial(local_urls, folder=named), write)


def _nothing() -> None:
    return None


def _deliver(files: list[Artifact], destination: _Destination, tell: Callable[[Mapping[str, str]], Result]) -> Delivered:
    """Deliver the files and, but inline, the result beside them; the answer is that same result."""
    if destination.urls is None or destination.put is None:
        return Delivered(tell(deliver_inline(files)).public(), _nothing)
    urls = destination.urls([file.name for file in files])
    told: list[dict[str, Any]] = []

    def last() -> bytes:  # called when all other files are in place, so that it can tell how long they took
        told.append(tell(urls).public())
        return json.dumps(told[-1], indent=2).encode()

    withdraw = destination.put([*files, Artifact.late(RESULT_NAME, last)])
    return Delivered(told[-1], withdraw)


def _bytes(url: str | None, text: str | None, worker: Worker, bucket: Bucket | None, progress: Progress) -> bytes:
    if text is not None:
        return decode_base64(text, worker.limits.bytes)
    if url is None:
        raise ValueError("a picture has neither URL nor base64")
    if is_url(url, "s3"):
        return fetch_s3(url, bucket, worker.limits.bytes, check=progress.check)
    seconds = worker.settings.input.fetch_seconds
    private = worker.environment.allow_private_urls
    return fetch(url, max_bytes=worker.limits.bytes, allow_private=private, timeout=seconds, check=progress.check)


def _intake(job: Job, worker: Worker, bucket: Bucket | None, progress: Progress, account: Account) -> tuple[Photo, GivenMatte | None]:
    progress.step("fetch", "photo", 0.0)
    data = _bytes(job.image_url, job.image_base64, worker, bucket, progress)
    account.input_bytes = len(data)
    photo = decode(data, worker.limits)
    account.pictured(photo)
    if job.matte_url is None and job.matte_base64 is None:
        return photo, None
    progress.step("fetch", "matte", 0.03)
    return photo, decode_matte(_bytes(job.matte_url, job.matte_base64, worker, bucket, progress), photo, worker.limits)


def _result(finished: Finished, job: Job, job_id: str, steps: Steps, fetch_ms: int, peak_bytes: int) -> Result:
    """The result before delivery: no URLs, no time of delivery yet."""
    frame, drawing, matte = finished.labels.frame, finished.drawing, finished.plate.matte
    drawn = finished.illustration.drawn_with
    return Result(
        job_id=job_id,
        engine="classical" if steps.name == "classical" else "neural",
        processing_time_ms=fetch_ms + sum(finished.timings.values()),
        timings_ms=Timings(fetch=fetch_ms, deliver=0, **finished.timings),
        peak_vram_mb=round(peak_bytes / 1e6),
        seed=job.seed,
        palette=list(job.palette.colors),
        frame=_frame(frame),
        vehicle_box=vehicle_box(finished),
        removed=[
            Removed(label=f.label, score=round(float(f.score), 3), box=list(finished.plate.frame.to_fractions(f.box)))
            for f in finished.plate.removed
        ],
        draw=Draw(**dataclasses.asdict(drawn)) if drawn else Draw(seed=job.seed, steps=None, depth_weight=None, canny_weight=None),
        quality=Quality(
            iou=None if finished.illustration.iou is None else round(finished.illustration.iou, 4),
            matte_confidence=None if matte.confidence is None else round(float(matte.confidence), 3),
            attempts=finished.illustration.attempts,
            colors_used=drawing.colors_used,
            off_palette_colors=drawing.off_palette_colors,
            regions=finished.labels.regions,
            curves=drawing.curves,
            svg_bytes=len(drawing.svg),
            removed_fraction=round(float((finished.plate.removed_mask & matte.inside).sum() / matte.inside.sum()), 5),
            detail_changed_fraction=round(float(finished.labels.changed), 5),
        ),
        warnings=list(finished.warnings),
        versions=Versions(worker=__version__, models=dict(steps.models)),
    )


def _frame(frame: Frame) -> FrameSpec:
    return FrameSpec(
        width=frame.size,
        height=frame.size,
        scale=frame.scale,
        x0=frame.x0,
        y0=frame.y0,
        photo_width=frame.photo_width,
        photo_height=frame.photo_height,
    )


def _artifacts(finished: Finished, job: Job, result: Result, settings: Settings) -> list[Artifact]:
    """Exactly the files that `outputs` names."""
    pictures = intermediates(finished, job) if {"intermediates", "report"} & set(job.outputs) else {}
    made: list[Artifact] = []
    if "svg" in job.outputs:
        made.append(Artifact.of("illustration.svg", finished.drawing.svg))
    if "png" in job.outputs:
        made.append(Artifact.of("preview.png", finished.drawing.png))
    if "pdf" in job.outputs:
        made.append(Artifact.of("illustration.pdf", pdf_from_svg(finished.drawing.svg)))
    if "report" in job.outputs:
        page = report_html(
            photo=finished.photo.rgb,
            svg=finished.drawing.svg,
            intermediates=pictures,
            result=result.public(),
            settings=shown_settings(job, settings),
        )
        made.append(Artifact.of("report.html", page))
    if "intermediates" in job.outputs:
        made += [Artifact.of(f"{name}.png", data) for name, data in pictures.items()]
    return made


_URLS = {"illustration.svg": "svg_url", "preview.png": "png_url", "report.html": "report_url", "illustration.pdf": "pdf_url"}


def perform(
    job_id: str,
    raw: object,
    worker: Worker,
    progress: Progress,
    s3_config: object = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Do one job; the answer is the public result, already delivered. `folder` is where a shell user wants the files.

    Raises JobError and nothing else, see `explain`. A failed job leaves no file anywhere. Every job leaves one `job_summary` in the log.
    """
    return _attempt(job_id, raw, worker, progress, s3_config, folder, None).answer


def attempt(job_id: str, raw: object, worker: Worker, progress: Progress, staging: Staging) -> Delivered:
    """As `perform`, for a door whose jobs may be at work twice: the files are still to be put in their place, or to be withdrawn.

    What is in the attempt's folder is the door's to remove, also where this raises.
    """
    return _attempt(job_id, raw, worker, progress, None, None, staging)


def _attempt(
    job_id: str, raw: object, worker: Worker, progress: Progress, s3_config: object, folder: Path | None, staging: Staging | None
) -> Delivered:
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
        delivered = _perform(job_id, raw, worker, progress, s3_config, folder, staging, account)
    except Exception as fault:  # noqa: BLE001 - a bug becomes an id for the caller and a traceback in the log
        error = explain(fault)
        close(None, error)
        raise error  # noqa: B904 - a bug's own traceback is in the log by now
    close(delivered.answer, None)
    return delivered


def _perform(
    job_id: str,
    raw: object,
    worker: Worker,
    progress: Progress,
    s3_config: object,
    folder: Path | None,
    staging: Staging | None,
    account: Account,
) -> Delivered:
    began = time.perf_counter()
    job = read(raw)
    account.size = job.size
    check_generation(job, worker.steps)
    bucket = worker.bucket
    if s3_config is not None:
        private, seconds = worker.environment.allow_private_urls, worker.settings.input.fetch_seconds
        check = partial(check_endpoint, allow_private=private, timeout=seconds)
        bucket = bucket_from_s3_config(
            s3_config,
            check_endpoint=check,
            allow_private=worker.environment.allow_private_urls,
            prefix=worker.environment.bucket_prefix,
            url_expiry_seconds=worker.environment.url_expiry_seconds,
        )
    destination = _destination(job, worker, bucket, job_id, folder, staging, progress)
    account.delivery = destination.name
    photo, matte = _intake(job, worker, bucket, progress, account)
    fetched = round(1000 * (time.perf_counter() - began))

    peak_memory = worker.steps.watch_memory()
    finished = run(photo, matte, job, worker.steps, worker.settings, progress)
    result = _result(finished, job, job_id, worker.steps, fetched, peak_memory())
    progress.step("deliver", "files", 0.96)
    packing = time.perf_counter()

    def tell(urls: Mapping[str, str]) -> Result:
        named = {key: urls[name] for name, key in _URLS.items() if name in urls}
        shown = {name.removesuffix(".png"): url for name, url in urls.items() if name not in _URLS}
        now = time.perf_counter()
        timings = result.timings_ms.model_copy(update={"deliver": round(1000 * (now - packing))})
        changes = {**named, "timings_ms": timings, "processing_time_ms": round(1000 * (now - began))}
        return result.model_copy(update=changes | ({"intermediates": shown} if "intermediates" in job.outputs else {}))

    files = _artifacts(finished, job, result, worker.settings)
    account.output_bytes = {file.name: len(file.data) for file in files}
    return _deliver(files, destination, tell)

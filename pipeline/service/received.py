"""The photo and the matte of a job: fetched or decoded from its text, then read."""

from delivery import Bucket, fetch_s3
from pipeline.intake.data_uri import decode_base64
from pipeline.intake.fetch import fetch, is_url
from pipeline.intake.photo import GivenMatte, decode, decode_matte
from pipeline.job import Job
from pipeline.progress import Progress
from pipeline.service.start import Worker
from pipeline.service.summary import Account
from pipeline.values import Photo


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


def received(job: Job, worker: Worker, bucket: Bucket | None, progress: Progress, account: Account) -> tuple[Photo, GivenMatte | None]:
    """The decoded photo, and the matte where one was sent. Raises what fetching and reading raise."""
    progress.step("photo", 0.0)
    data = _bytes(job.image_url, job.image_base64, worker, bucket, progress)
    account.input_bytes = len(data)
    photo = decode(data, worker.limits)
    account.pictured(photo)
    if job.matte_url is None and job.matte_base64 is None:
        return photo, None
    progress.step("matte", 0.6)
    return photo, decode_matte(_bytes(job.matte_url, job.matte_base64, worker, bucket, progress), photo, worker.limits)

"""The photo and the matte of a job: fetched or decoded from its text, then read."""

from collections.abc import Mapping
from dataclasses import dataclass

from delivery import Bucket, fetch_s3
from pipeline.errors import Code, JobError
from pipeline.intake.data_uri import decode_base64
from pipeline.intake.fetch import fetch, is_url
from pipeline.intake.photo import GivenMatte, decode, decode_matte, decode_reference
from pipeline.job import Job
from pipeline.progress import Progress
from pipeline.service.reference_palette import reference_palette
from pipeline.service.start import Worker
from pipeline.service.summary import Account
from pipeline.values import Photo

#: Stands in a job for a picture that its door has as bytes.
_ELSEWHERE = "-"


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a job that its door has as bytes; None for one that the job names itself, or has not."""

    photo: bytes | None = None
    matte: bytes | None = None

    def named(self, raw: object) -> object:
        """The job with a placeholder for each picture, so that it is checked like any other.

        Raises `INVALID_INPUT` where the job names the same picture too.
        """
        have = {key: _ELSEWHERE for key, data in (("image_base64", self.photo), ("matte_base64", self.matte)) if data is not None}
        if not have or not isinstance(raw, Mapping):
            return raw
        for key in have.keys() & raw.keys():
            raise JobError(Code.INVALID_INPUT, f"{key}: the picture is given as a file already.")
        return {**raw, **have}


#: A job that names its pictures itself.
NONE = Pictures()


def _bytes(data: bytes | None, url: str | None, text: str | None, worker: Worker, bucket: Bucket | None, progress: Progress) -> bytes:
    if data is not None:
        return data
    if text is not None:
        return decode_base64(text, worker.limits.bytes)
    if url is None:
        raise ValueError("a picture has neither URL nor base64")
    if is_url(url, "s3"):
        return fetch_s3(url, bucket, worker.limits.bytes, check=progress.check)
    seconds = worker.settings.input.fetch_seconds
    private = worker.environment.allow_private_urls
    return fetch(url, max_bytes=worker.limits.bytes, allow_private=private, timeout=seconds, check=progress.check)


def received(
    job: Job, pictures: Pictures, worker: Worker, bucket: Bucket | None, progress: Progress, account: Account
) -> tuple[Photo, GivenMatte | None]:
    """The decoded photo, and the matte where one was sent. Raises what fetching and reading raise."""
    progress.step("photo", 0.0)
    data = _bytes(pictures.photo, job.image_url, job.image_base64, worker, bucket, progress)
    account.input_bytes = len(data)
    photo = decode(data, worker.limits)
    account.pictured(photo)
    if job.matte_url is None and job.matte_base64 is None:
        return photo, None
    progress.step("matte", 0.6)
    return photo, decode_matte(_bytes(pictures.matte, job.matte_url, job.matte_base64, worker, bucket, progress), photo, worker.limits)


def colored(job: Job, worker: Worker, bucket: Bucket | None, progress: Progress) -> Job:
    """The job with the palette of its reference picture, where it names one. Raises as for the photo, and `INVALID_PALETTE`."""
    if job.palette_from_url is None:
        return job
    progress.step("palette", 0.8)
    try:
        picture = decode_reference(_bytes(None, job.palette_from_url, None, worker, bucket, progress), worker.limits)
    except JobError as error:  # which of the job's addresses it was
        raise JobError(error.code, f"palette_from_url: {error.sentence}", fatal=error.fatal) from error
    return job.with_palette(reference_palette(picture.rgb, picture.alpha))

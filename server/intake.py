"""A submission: the form's fields as a job's keys, its picture on disk, the job in the queue; or a refusal that leaves nothing behind."""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.errors import Code, JobError
from pipeline.intake.data_uri import decode_base64
from pipeline.intake.photo import sniff
from pipeline.job import read
from pipeline.text_fields import job_keys
from server import files, jobs
from server.database import Database
from server.settings import Pod

#: Stands for a picture that is in a file while the rest of the job is checked.
_ELSEWHERE = "-"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller sent: `fields` as text, some maybe more than once; the `file` and the `matte`, where there are; the idempotency key."""

    fields: tuple[tuple[str, str], ...]
    file: IO[bytes] | None
    idempotency_key: str | None
    matte: IO[bytes] | None = None


def accept(submission: Submission, pod: Pod, database: Database) -> jobs.Queued:
    """Check the job, store its pictures, and queue it. Raises `JobError` or `Problem`; then nothing of it is kept."""
    raw = job_keys(submission.fields)
    if submission.file is not None and raw.keys() & {"image_url", "image_base64"}:
        raise JobError(Code.INVALID_INPUT, "Give exactly one of file, image_url and image_base64.")
    if submission.file is None and not raw.keys() & {"image_url", "image_base64"}:
        raise JobError(Code.INVALID_INPUT, "There is no picture: send it as file, or give image_url or image_base64.")
    if submission.matte is not None and raw.keys() & {"matte_url", "matte_base64"}:
        raise JobError(Code.INVALID_INPUT, "Give at most one of matte, matte_url and matte_base64.")
    sent = {"image_base64": submission.file, "matte_base64": submission.matte}
    job = read(raw | {key: _ELSEWHERE for key, file in sent.items() if file is not None}, pod.environment.library)
    if job.delivery == "inline":
        raise JobError(Code.INVALID_INPUT, "delivery: inline has no use here, where GET /api/v1/jobs/{id}/output/svg gives the files.")
    if job.delivery == "s3" and pod.environment.bucket_name is None:
        raise JobError(Code.INVALID_INPUT, "delivery is s3, and no bucket is configured: set BUCKET_NAME.")
    pictures = {
        files.PICTURE: submission.file or _decoded(job.image_base64, pod.max_bytes),
        files.MATTE: submission.matte or _decoded(job.matte_base64, pod.max_bytes),
    }
    request = {key: value for key, value in raw.items() if key not in ("image_base64", "matte_base64")}
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode())
    files.check_space(pod, pod.max_bytes)
    folder = files.incoming(pod)
    try:
        stored = {name: _copy(file, folder / name, pod.max_bytes, digest) for name, file in pictures.items() if file is not None}
        picture, matte = (name if name in stored else None for name in (files.PICTURE, files.MATTE))
        size = sum(stored.values())
        new = jobs.New(folder.name, request, picture, matte, size, digest.hexdigest(), submission.idempotency_key)
        return _queue(new, folder, pod, database)
    except BaseException as error:
        files.remove(folder)
        if files.is_full(error):
            raise files.full() from error
        raise


def _queue(new: jobs.New, folder: Path, pod: Pod, database: Database) -> jobs.Queued:
    """Move the files into place, then add the row, so that no engine finds a job without its files."""
    place = files.folder_of(pod, new.job_id)
    folder.rename(place)
    try:
        queued = jobs.add(database, new, waits=pod.environment.while_training == "wait")
    except BaseException:
        files.remove(place)
        raise
    if not queued.is_new:
        files.remove(place)
    return queued


def _decoded(text: str | None, max_bytes: int) -> IO[bytes] | None:
    return io.BytesIO(decode_base64(text, max_bytes)) if text else None


def _copy(source: IO[bytes], target: Path, most: int, digest: Any) -> int:
    """Copy a picture, and add it to the digest; the number of its bytes. Refuses what is no picture by its first bytes, and more than
    `most` bytes."""
    subject = "The picture" if target.name == files.PICTURE else "The matte"
    head = source.read(files.HEAD)
    sniff(head, subject)
    content, size, chunk = hashlib.sha256(), 0, head
    with target.open("xb") as file:
        while chunk:
            size += len(chunk)
            if size > most:
                raise JobError(Code.INPUT_TOO_LARGE, f"{subject} has more than {most:,} bytes, the limit.")
            content.update(chunk)
            file.write(chunk)
            chunk = source.read(_CHUNK)
    digest.update(target.name.encode() + content.digest())
    return size

"""A submission: the form's fields as a job's keys, its picture on disk, the job in the queue; or a refusal that leaves nothing behind."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from pipeline.errors import Code, JobError
from pipeline.job import Job, read
from pipeline.palette import shown
from pipeline.photo import Limits, decode_base64, sniff
from server import files, jobs
from server.database import Database
from server.settings import Pod

#: Stands for a picture that is in a file while the rest of the job is checked.
_ELSEWHERE = "-"
_CHUNK = 1 << 20
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Submission:
    """What a caller sent: `fields` as text, some maybe more than once; the `file`, where there is one; the idempotency key."""

    fields: tuple[tuple[str, str], ...]
    file: IO[bytes] | None
    idempotency_key: str | None


def accept(submission: Submission, pod: Pod, database: Database) -> jobs.Queued:
    """Check the job, store its pictures, and queue it. Raises `JobError` or `Problem`; then nothing of it is kept."""
    raw = job_keys(submission.fields)
    if submission.file is not None and raw.keys() & {"image_url", "image_base64"}:
        raise JobError(Code.INVALID_INPUT, "Give exactly one of file, image_url and image_base64.")
    if submission.file is None and not raw.keys() & {"image_url", "image_base64"}:
        raise JobError(Code.INVALID_INPUT, "There is no picture: send it as file, or give image_url or image_base64.")
    job = read(raw if submission.file is None else {**raw, "image_base64": _ELSEWHERE})
    if job.delivery == "inline":
        raise JobError(Code.INVALID_INPUT, "delivery: inline has no use here, where GET /api/v1/jobs/{id}/output/svg gives the files.")
    limits = Limits(pod.max_bytes)
    picture = decode_base64(job.image_base64, limits) if submission.file is None and job.image_base64 else None
    matte = decode_base64(job.matte_base64, limits) if job.matte_base64 else None
    request = {key: value for key, value in raw.items() if key not in ("image_base64", "matte_base64")}
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode())
    files.check_space(pod, pod.max_bytes)
    folder = files.incoming(pod)
    try:
        size = _store(folder, submission.file, picture, matte, pod.max_bytes, digest)
        new = jobs.New(
            folder.name,
            request,
            files.PICTURE if (folder / files.PICTURE).exists() else None,
            files.MATTE if matte is not None else None,
            size,
            digest.hexdigest(),
            submission.idempotency_key,
        )
        return _queue(new, folder, pod, database)
    except BaseException as error:
        files.remove(folder)
        if files.is_full(error):
            raise files.full() from error
        raise


def _queue(new: jobs.New, folder: Path, pod: Pod, database: Database) -> jobs.Queued:
    """The files into their place, then the row, so that no engine finds a job without its files."""
    place = files.folder_of(pod, new.job_id)
    folder.rename(place)
    try:
        queued = jobs.add(database, new)
    except BaseException:
        files.remove(place)
        raise
    if not queued.is_new:
        files.remove(place)
    return queued


def _store(folder: Path, file: IO[bytes] | None, picture: bytes | None, matte: bytes | None, most: int, digest: Any) -> int:
    """Write what came into the folder and into the digest; the number of bytes."""
    size = 0
    if file is not None:
        size += _copy(file, folder / files.PICTURE, most, digest)
    for name, data in ((files.PICTURE, picture), (files.MATTE, matte)):
        if data is not None:
            sniff(data[: files.HEAD], "The picture" if name == files.PICTURE else "The matte")
            (folder / name).write_bytes(data)
            digest.update(name.encode() + hashlib.sha256(data).digest())
            size += len(data)
    return size


def _copy(source: IO[bytes], target: Path, most: int, digest: Any) -> int:
    """Copy a picture, refusing what is none by its first bytes, and what has more than `most`."""
    head = source.read(files.HEAD)
    sniff(head)
    content, size, chunk = hashlib.sha256(), 0, head
    with target.open("xb") as file:
        while chunk:
            size += len(chunk)
            if size > most:
                raise JobError(Code.INPUT_TOO_LARGE, f"The picture has more than {most:,} bytes, the limit.")
            content.update(chunk)
            file.write(chunk)
            chunk = source.read(_CHUNK)
    digest.update(files.PICTURE.encode() + content.digest())
    return size


def job_keys(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The job that the form's fields say: each as the type that its key has, the JSON field `options` as it is.

    Raises `INVALID_INPUT` naming the key.
    """
    given: dict[str, list[str]] = {}
    for key, text in fields:
        given.setdefault(key, []).append(text)
    raw = _options(given.pop("options", []))
    for key, texts in given.items():
        if key in raw:
            raise JobError(Code.INVALID_INPUT, f"{shown(key, 80)}: is given twice, in options and as a field of its own.")
        raw[key] = _value(key, texts)
    return raw


def _options(texts: list[str]) -> dict[str, Any]:
    if not texts:
        return {}
    if len(texts) > 1:
        raise JobError(Code.INVALID_INPUT, "options: is given twice.")
    found = _json("options", texts[0])
    if not isinstance(found, dict):
        raise JobError(Code.INVALID_INPUT, "options: must be a JSON object of the job's keys.")
    return found


def _json(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise JobError(Code.INVALID_INPUT, f"{shown(key, 80)}: is not JSON.") from None


@cache
def _types() -> Mapping[str, frozenset[str]]:
    """Key of the job → the JSON types that its value may have."""
    schema = Job.model_json_schema()

    def of(part: Mapping[str, Any]) -> set[str]:
        if "$ref" in part:
            return of(schema["$defs"][part["$ref"].rpartition("/")[2]])
        if "anyOf" in part:
            return set().union(*(of(choice) for choice in part["anyOf"]))
        if "type" in part:
            return {part["type"]}
        return {"integer" if isinstance(part.get("const"), int) else "string"}

    return {key: frozenset(of(part)) for key, part in schema["properties"].items()}


def _value(key: str, texts: list[str]) -> Any:
    """A field as its key's type. A list may be JSON, comma-separated, or the field several times; an unknown key is left as it is."""
    types = _types().get(key, frozenset({"string"}))
    if "array" in types:
        return [item for text in texts for item in _list(key, text)]
    if len(texts) > 1:
        raise JobError(Code.INVALID_INPUT, f"{shown(key, 80)}: is given twice.")
    text = texts[0]
    if "object" in types:
        return _json(key, text)
    if "boolean" in types:
        return _boolean(key, text)
    if types & {"integer", "number"}:
        return _number(key, text, whole="number" not in types)
    return text


def _list(key: str, text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        found = _json(key, text)
        return found if isinstance(found, list) else [found]
    parts = [part.strip() for part in text.split(",")]
    if parts == [""]:
        return []
    return [_number(key, part, whole=False) for part in parts] if key == "vehicle_box" else parts


def _boolean(key: str, text: str) -> bool:
    found = _WORDS.get(text.strip().lower())
    if found is None:
        raise JobError(Code.INVALID_INPUT, f"{key}: must be true or false, not '{shown(text)}'.")
    return found


def _number(key: str, text: str, *, whole: bool) -> int | float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number" if key != "vehicle_box" else "four numbers separated by commas"
        raise JobError(Code.INVALID_INPUT, f"{key}: must be {kind}, not '{shown(text)}'.") from None

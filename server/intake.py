"""A submission: the form's fields as a job's keys, its picture on disk, the job in the queue; or a refusal that leaves nothing behind."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from pipeline.errors import Code, JobError
from pipeline.intake.data_uri import decode_base64
from pipeline.intake.photo import sniff
from pipeline.job import Job, read
from pipeline.palette import shown
from server import files, jobs
from server.database import Database
from server.settings import Pod

#: Stands for a picture that is in a file while the rest of the job is checked.
_ELSEWHERE = "-"
_CHUNK = 1 << 20
#: Characters of a field that holds no picture, and values of a list or of `options`: both are far from what a job can use, and are
#: counted before anything is taken apart, for a list of a million empty texts takes forty times the memory of its commas.
_MOST_CHARACTERS, _MOST_VALUES = 100_000, 10_000
_LONG = frozenset({"options", "image_base64", "matte_base64"})
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


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
    job = read(raw | {key: _ELSEWHERE for key, file in sent.items() if file is not None})
    if job.delivery == "inline":
        raise JobError(Code.INVALID_INPUT, "delivery: inline has no use here, where GET /api/v1/jobs/{id}/output/svg gives the files.")
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


def _decoded(text: str | None, max_bytes: int) -> IO[bytes] | None:
    return io.BytesIO(decode_base64(text, max_bytes)) if text else None


def _copy(source: IO[bytes], target: Path, most: int, digest: Any) -> int:
    """Copy a picture, refusing what is none by its first bytes, and what has more than `most`; into the digest too. The number of bytes."""
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


def job_keys(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The job that the form's fields say: each as the type that its key has, the JSON field `options` as it is. An empty field is as none,
    as browsers send what nobody has filled in; but an empty `remove` removes nothing.

    Raises `INVALID_INPUT` naming the key.
    """
    given: dict[str, list[str]] = {}
    for key, text in fields:
        if key not in _LONG and len(key) + len(text) > _MOST_CHARACTERS:
            raise JobError(Code.INVALID_INPUT, f"{shown(key, 80)}: has more than {_MOST_CHARACTERS:,} characters.")
        if key == "remove" or (text and not text.isspace()):
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
    if sum(map(text.count, ",:[{")) > _MOST_VALUES:
        raise JobError(Code.INVALID_INPUT, f"{shown(key, 80)}: holds more than {_MOST_VALUES:,} values.")
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
        if sum(text.count(",") for text in texts) > _MOST_VALUES:
            raise JobError(Code.INVALID_INPUT, f"{key}: holds more than {_MOST_VALUES:,} values.")
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
    text = text.strip().removesuffix(",")
    parts = [part.strip() for part in text.split(",")] if text else []
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

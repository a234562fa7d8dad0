"""A job's keys from texts: fields of a form, options of a command."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pipeline.errors import Code, JobError
from pipeline.job import Job
from pipeline.palette import shown

#: Characters of a field that holds no picture, and values of a list or of `options`: both are far from what a job can use, and are
#: counted before anything is taken apart, for a list of a million empty texts takes forty times the memory of its commas.
_MOST_CHARACTERS, _MOST_VALUES = 100_000, 10_000
_LONG = frozenset({"options", "image_base64", "matte_base64"})
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


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
        raw[key] = value(key, texts)
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


def value(key: str, texts: list[str]) -> Any:
    """Texts as the type of a job's key. A list may be JSON, comma-separated, or the field several times, an object in it JSON;
    an unknown key is left as it is.

    Raises `INVALID_INPUT` naming the key.
    """
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
    if text.lstrip().startswith(("[", "{")):
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
        if not text.isascii() or "_" in text:  # Python's own ways to write a number, and nobody else's
            raise ValueError
        return int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number" if key != "vehicle_box" else "four numbers separated by commas"
        raise JobError(Code.INVALID_INPUT, f"{key}: must be {kind}, not '{shown(text)}'.") from None

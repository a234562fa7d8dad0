"""Manifests: a CSV file or JSON lines, one job a line. Read a line at a time, and checked whole before anything is sent."""

import csv
import difflib
import io
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch.values import WrongUse
from pipeline.errors import Code, JobError
from pipeline.intake.fetch import is_url
from pipeline.job import Job, read
from pipeline.palette import shown
from pipeline.stored_keys import safe_prefix
from pipeline.text_fields import value

#: Bytes of a line, which may hold a picture in base64.
MOST_LINE = 32 * 2**20
#: What may stand between the columns of a CSV file.
_DELIMITERS = ",;\t"
#: Stands for a picture that is a file here while a job is checked.
_ELSEWHERE = "-"
#: Columns for which a file's path may be given in place of an address, and the key that then carries its content.
PATHS: Mapping[str, str] = {"image_url": "image_base64", "matte_url": "matte_base64"}


def columns() -> list[str]:
    """What a line may hold: the job's keys and `id`."""
    return ["id", *(field.alias or name for name, field in Job.model_fields.items())]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a manifest: `keys` of the job as they were given, `files` the keys whose picture is a file here."""

    number: int
    id: str
    keys: Mapping[str, Any]
    files: Mapping[str, Path]


def _wrong(path: Path, number: int, sentence: str) -> WrongUse:
    return WrongUse(f"{shown(path.name, 100)}, line {number}: {sentence if sentence.endswith('?') else sentence.rstrip('.') + '.'}")


def lines(path: Path, settings: Mapping[str, Any]) -> Iterator[Line]:
    """The manifest's lines, each checked; `settings` are keys for all, over which a line's own win.

    Raises `WrongUse` with the line's number at the first that is wrong.
    """
    try:
        with path.open("rb") as file:
            rows = _csv(file, path) if path.suffix.lower() == ".csv" else _json_lines(file, path)
            for count, (number, row) in enumerate(rows, 1):
                try:
                    yield _checked(number, count, row, settings, path.parent)
                except JobError as error:
                    raise _wrong(path, number, error.sentence) from None
    except OSError as error:
        raise WrongUse(f"{shown(str(path), 200)} cannot be read: {error.strerror}.") from error


def check(path: Path, settings: Mapping[str, Any]) -> int:
    """Check every line, and that no two ids are alike; how many lines there are.

    The ids are kept in a temporary database, so that memory does not grow with the manifest.
    """
    count = 0
    with closing(sqlite3.connect("")) as kept:  # SQLite's own temporary file, deleted when it is closed
        kept.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        for line in lines(path, settings):
            try:
                kept.execute("INSERT INTO ids VALUES (?, ?)", (line.id, line.number))
            except sqlite3.IntegrityError:
                first = kept.execute("SELECT line FROM ids WHERE id = ?", (line.id,)).fetchone()[0]
                raise _wrong(path, line.number, f"the id '{shown(line.id, 80)}' is that of line {first} too") from None
            if (other := _nested(kept, line.id)) is not None:
                raise _wrong(path, line.number, f"the id '{shown(line.id, 80)}' and that of line {other} lie one inside the other")
            count += 1
    if not count:
        raise WrongUse(f"{shown(path.name, 100)} names no picture.")
    return count


def _nested(kept: sqlite3.Connection, name: str) -> int | None:
    """The line of an id that is a folder of this one, or lies in it: their files would lie in each other's."""
    parts = name.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts))]
    marks = ",".join("?" * len(above))
    # '0' is the character after '/'
    found = kept.execute(f"SELECT line FROM ids WHERE id IN ({marks}) OR id > ? AND id < ? LIMIT 1", (*above, f"{name}/", f"{name}0"))
    return next((int(row[0]) for row in found), None)


def _checked(number: int, count: int, row: dict[str, Any], settings: Mapping[str, Any], folder: Path) -> Line:
    name = row.pop("id", None)
    if name is not None and (isinstance(name, bool) or not isinstance(name, str | int)):
        raise JobError(Code.INVALID_INPUT, "id: must be a text")
    name = str(count).zfill(6) if name is None or name == "" else str(name)
    check_id(name)
    keys = {**_free(settings, row), **row}
    files = {key: path for key in PATHS if (path := _file(key, keys.get(key), folder)) is not None}
    left = {key: given for key, given in keys.items() if key not in files}
    for key in files.keys() & {key for key, base64 in PATHS.items() if base64 in left}:
        raise JobError(Code.INVALID_INPUT, f"Give exactly one of {key} and {PATHS[key]}.")
    if isinstance(url := left.get("palette_from_url"), str) and not is_url(url, "http", "https", "s3"):
        raise JobError(Code.INVALID_INPUT, f"palette_from_url: must be an http(s) or s3 address, not '{shown(url, 200)}'")
    read(left | {PATHS[key]: _ELSEWHERE for key in files})
    return Line(number, name, left, files)


def _free(settings: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """The settings for all, without those of a picture that the line brings in its other form."""
    other = {**PATHS, **{base64: url for url, base64 in PATHS.items()}}
    return {key: given for key, given in settings.items() if other.get(key) not in row}


def check_id(name: str) -> None:
    """Raise `INVALID_INPUT` unless the id can be a folder's name."""
    try:
        safe_prefix(name)
    except JobError as error:
        raise JobError(error.code, error.sentence.replace("output_prefix", "id")) from None


def _file(key: str, given: object, folder: Path) -> Path | None:
    """The file that a key names; None for an address. Raises `INVALID_INPUT` where it is not there."""
    if not isinstance(given, str) or not given or given.lower().startswith(("http://", "https://", "s3://", "data:")):
        return None
    path = folder / given.removeprefix("file://")
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise JobError(Code.INVALID_INPUT, f"{key}: there is no file '{shown(given, 200)}', and it is no http(s) or s3 address")
    return path


def _json_lines(file: io.BufferedIOBase, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in _texts(file, path):
        if not text.strip():
            continue
        try:
            row = json.loads(text, object_pairs_hook=_once)
        except _TwiceError as twice:
            raise _wrong(path, number, f"the key '{shown(str(twice), 80)}' stands there twice") from None
        except RecursionError:
            raise _wrong(path, number, "is not JSON (nested too deep)") from None
        except ValueError as error:
            raise _wrong(path, number, f"is not JSON ({getattr(error, 'msg', 'a number has too many digits')})") from None
        if not isinstance(row, dict):
            raise _wrong(path, number, "must be a JSON object of the job's keys and id")
        yield number, row


class _TwiceError(Exception):
    """A key that stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return found


def _csv(file: io.BufferedIOBase, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and job of every row; an empty cell is as none."""
    texts = (text for _, text in _texts(file, path))
    head = next(texts, None)
    if head is None:
        raise WrongUse(f"{shown(path.name, 100)} is empty; its first line must name columns: {', '.join(columns()[:3])}, ….")
    names, delimiter = _header(head, path)
    csv.field_size_limit(MOST_LINE)
    rows = csv.reader(texts, delimiter=delimiter, strict=True)
    while True:
        number = rows.line_num + 2  # the header is line 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise _wrong(path, number, f"is not CSV ({error})") from None
        if row is None:
            return
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(names):
            raise _wrong(path, number, f"has {len(row)} cells, and the first line names {len(names)} columns")
        try:
            yield (
                number,
                {name: _cell(name, cell) for name, cell in zip(names, row, strict=True) if cell.strip()},
            )
        except JobError as error:
            raise _wrong(path, number, error.sentence) from None


def _cell(name: str, cell: str) -> Any:
    """A key's value; blanks around an id or an address are none of it."""
    cell = cell.strip() if name == "id" or name in PATHS else cell
    return cell if name == "id" else value(name, [cell])


def _header(head: str, path: Path) -> tuple[list[str], str]:
    """The columns' names and what stands between them: the one with which most names are known."""
    known = columns()

    def split(delimiter: str) -> list[str]:
        return [name.strip() for name in next(csv.reader([head], delimiter=delimiter), [])]

    if "\r" in head.rstrip("\r\n"):
        raise _wrong(path, 1, "the lines end with a carriage return alone; save the file with line ends of Windows or Linux")
    delimiter = max(_DELIMITERS, key=lambda each: sum(name in known for name in split(each)))
    names = split(delimiter)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name[:80].lower(), known, 1, 0)
            hint = f"; did you mean '{near[0]}'?" if near and name else ""
            raise _wrong(path, 1, f"unknown column '{shown(name, 80)}'{hint}")
        if names.count(name) > 1:
            raise _wrong(path, 1, f"the column '{name}' is named twice")
    return names, delimiter


def _texts(file: io.BufferedIOBase, path: Path) -> Iterator[tuple[int, str]]:
    """The file's lines with their numbers, none longer than `MOST_LINE` ever in memory. A byte order mark is left out."""
    number = 0
    while raw := file.readline(MOST_LINE + 1):
        number += 1
        if len(raw) > MOST_LINE:
            raise _wrong(path, number, f"is longer than {MOST_LINE // 2**20} MiB")
        if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise _wrong(path, 1, "the file is UTF-16; save it as UTF-8")
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise _wrong(path, number, "is not UTF-8; save the file as UTF-8") from None


def settings_of(given: Sequence[str]) -> dict[str, Any]:
    """The keys of `--set key=value`. Raises `WrongUse` for one that no job may have."""
    found: dict[str, Any] = {}
    for each in given:
        key, equals, text = each.partition("=")
        key = key.strip()
        if not equals:
            raise WrongUse(f"--set {shown(each, 80)}: must be key=value.")
        if key in found:
            raise WrongUse(f"--set {shown(key, 80)}: is given twice.")
        try:
            found[key] = value(key, [text])
        except JobError as error:
            raise WrongUse(f"--set {error.sentence}") from None
    return found


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise `WrongUse` where the keys for all make no job."""
    placeholder = {} if {"image_url", "image_base64"} & settings.keys() else {"image_base64": _ELSEWHERE}
    try:
        read({**settings, **placeholder})
    except JobError as error:
        raise WrongUse(f"--set: {error.sentence}") from None

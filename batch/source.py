"""What is to be drawn: a folder, a manifest, or an S3 prefix, as items one after another. Memory does not grow with their number."""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from batch import ledger, manifest
from batch.collect import FILES
from batch.settled import SETTLE, settled
from batch.values import Item, WrongUse
from delivery import Bucket, listed_s3
from pipeline.errors import JobError
from pipeline.palette import shown

#: Names that pictures have; what they really are the engine finds out.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp"})


class Digests:
    """SHA-256 of files, remembered in the ledger's file: an unchanged file is not read again."""

    def __init__(self, folder: Path) -> None:
        self._db: sqlite3.Connection = ledger.connect(folder / ledger.NAME)

    def of(self, path: Path) -> str:
        """The digest of the file's content. Raises OSError."""
        stamp, name = _stamp(path), ledger.text_of(path)
        known = self._db.execute("SELECT digest FROM digests WHERE path = ? AND stamp = ?", (name, stamp)).fetchone()
        if known is not None:
            return str(known[0])
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if _stamp(path) == stamp:  # else it was changed meanwhile
            self._db.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (name, stamp, found))
        return found

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def _stamp(path: Path) -> str:
    """What changes with a file's content: its size, times of change, and number on the disk."""
    there = path.stat()
    return f"{there.st_size}:{there.st_mtime_ns}:{there.st_ctime_ns}:{there.st_ino}"


@dataclass(frozen=True, slots=True)
class Source:
    """`check` raises `WrongUse` before anything is sent; `items` names everything that is there now. A file that is still being written
    is given to `unsettled` instead. `every`: seconds between two looks when it is watched; `shown`: its name in sentences."""

    shown: str
    every: float
    check: Callable[[], object]
    items: Callable[[Digests, Callable[[Path], None]], Iterator[Item]]


def source_of(text: str, output: Path, settings: Mapping[str, Any], bucket: Callable[[str], Bucket | None]) -> Source:
    """The source that a command names; `bucket` gives the configured bucket for a name. Raises `WrongUse`."""
    manifest.check_settings(settings)
    if text.lower().startswith("s3://"):
        return _s3(text, settings, bucket)
    if text.lower().startswith(("http://", "https://")):
        raise WrongUse("SOURCE must be a folder, a .csv or .jsonl manifest, or s3://bucket/prefix; put addresses into a manifest.")
    path = Path(text)
    if not text:
        raise WrongUse("SOURCE is empty; name a folder, a .csv or .jsonl manifest, or s3://bucket/prefix.")
    if path.is_dir():
        return _folder(path.resolve(), output.resolve(), settings)
    if path.suffix.lower() in (".csv", ".jsonl"):
        return _manifest(path, settings, bucket)
    reason = "is no folder, and its name ends neither in .csv nor in .jsonl" if path.exists() else "is not there"
    raise WrongUse(f"{shown(text, 200)} {reason}.")


def _folder(folder: Path, output: Path, settings: Mapping[str, Any]) -> Source:
    if {"image_url", "image_base64"} & settings.keys():
        raise WrongUse("--set: the folder's pictures are sent; image_url and image_base64 cannot be set too.")

    if folder == output or folder.is_relative_to(output / FILES):
        raise WrongUse(f"-o {shown(str(output), 200)}: holds the pictures themselves; name another folder, which may lie in it.")

    def check() -> None:
        if not os.access(folder, os.R_OK | os.X_OK):
            raise WrongUse(f"{shown(str(folder), 200)} cannot be read.")

    def items(digests: Digests, unsettled: Callable[[Path], None]) -> Iterator[Item]:
        for path in _pictures(folder, output):
            try:
                if not settled(path):
                    unsettled(path)
                    continue
                identity = digests.of(path)
            except FileNotFoundError:
                continue  # taken away meanwhile
            except OSError:
                identity = f"unreadable:{ledger.text_of(path)}"  # it is answered as any other bad picture
            name = path.relative_to(folder).as_posix()
            yield Item(_id(name), os.fsencode(name).decode("utf-8", "replace"), settings, identity, path)

    return Source(shown(folder.name, 200), SETTLE / 2, check, items)


def _id(name: str) -> str:
    """A file's name as an id; with percent escapes where it could not be a folder's name."""
    try:
        manifest.check_id(name)
    except JobError:
        return quote(os.fsencode(name), safe="/ ")
    return name


def _pictures(folder: Path, output: Path) -> Iterator[Path]:
    """The pictures below a folder, by name; hidden ones and what the batch itself writes are left out."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith(".") or path == output:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _pictures(path, output)
        elif path.suffix.lower() in SUFFIXES and path.is_file():  # reading a pipe would wait for ever
            yield path


def _manifest(path: Path, settings: Mapping[str, Any], bucket: Callable[[str], Bucket | None]) -> Source:
    def items(digests: Digests, _unsettled: Callable[[Path], None]) -> Iterator[Item]:
        for line in manifest.lines(path, settings):
            photo, matte = (line.files.get(key) for key in manifest.PATHS)
            origin = str(photo or line.keys.get("image_url") or "base64")
            matte_identity = "" if matte is None else _digest(digests, matte)
            identity = _digest(digests, photo) if photo else _identity(line.keys, bucket)
            yield Item(line.id, _bare(origin), line.keys, identity, _resolved(photo), _resolved(matte), matte_identity)

    return Source(path.name, 2.0, lambda: manifest.check(path, settings), items)


def _resolved(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


def _digest(digests: Digests, path: Path) -> str:
    try:
        return digests.of(path.resolve())
    except OSError:
        return f"unreadable:{path}"


def _bare(origin: str) -> str:
    """An address without its query, which may be a signature."""
    return origin.partition("?")[0] if "://" in origin else origin


def _identity(keys: Mapping[str, Any], bucket: Callable[[str], Bucket | None]) -> str:
    """An S3 object is known by ETag and size where it can be asked for, another address by itself; base64 is among the keys."""
    url = keys.get("image_url")
    if url is None:
        return "base64"
    if url.lower().startswith("s3://"):
        name, _, key = url[5:].partition("/")
        where = bucket(name)
        if where is not None:
            for found, etag, size in listed_s3(where, key, only=True):
                if found == key:
                    return f"s3:{etag}:{size}"
    return f"url:{url}"


def _s3(text: str, settings: Mapping[str, Any], bucket: Callable[[str], Bucket | None]) -> Source:
    if {"image_url", "image_base64"} & settings.keys():
        raise WrongUse("--set: the bucket's pictures are sent; image_url and image_base64 cannot be set too.")
    name, _, prefix = text[5:].partition("/")
    where = bucket(name)
    if where is None:
        raise WrongUse(
            f"{shown(text, 200)}: BUCKET_NAME must be {shown(name, 80) or 'the name of the bucket'}, with its keys and endpoint."
        )

    def check() -> None:
        try:
            next(iter(listed_s3(where, prefix, only=True)), None)
        except JobError as error:
            raise WrongUse(f"{shown(text, 200)} cannot be listed: {error.sentence}") from error

    def items(_digests: Digests, _unsettled: Callable[[Path], None]) -> Iterator[Item]:
        for key, etag, size in listed_s3(where, prefix):
            if Path(key).suffix.lower() in SUFFIXES and size:
                url = f"s3://{name}/{key}"
                relative = key[len(prefix) :].lstrip("/") or key.rpartition("/")[2]
                yield Item(_id(relative), url, {**settings, "image_url": url}, f"s3:{etag}:{size}")

    return Source(text, 20.0, check, items)

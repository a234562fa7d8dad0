"""A JPEG's first picture: where it ends, and whether its scans are whole (ITU-T T.81).

What follows the end marker (a video, further pictures, a maker's own data) is no part of the picture.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Code, JobError
from pipeline.intake.damage import MAY_MISS, cut_short, damaged, too_slow
from pipeline.intake.jpeg_scan import CORRUPT, SHORT, codes_of, walk

#: A progressive JPEG needs about ten scans; each further one costs a walk over all blocks (the "JPEG of death").
MAX_SCANS = 100

#: Marker segments of one picture; a profile or an editor's history in pieces of 64 kB stays far below.
MAX_SEGMENTS = 20_000

#: A block's mean, its DC times its quantiser, is at most 8 · 128 off the middle; the rest, and one step more, is for rounding.
LARGEST_DC = 1100

END = b"\xff\xd9"
_MARKER, _AFTER_SCAN = re.compile(rb"\xff+([^\x00\xff])"), re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_SOF_SEQUENTIAL, _SOF_PROGRESSIVE, _DHT, _EOI, _SOS, _DQT, _DRI = (0xC0, 0xC1), 0xC2, 0xC4, 0xD9, 0xDA, 0xDB, 0xDD
_ANY_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a picture ends too soon: pixels from row `y + rows` on are missing, and those of the `rows` before from column `x` on."""

    x: int
    y: int
    rows: int


@dataclass(frozen=True, slots=True)
class Whole:
    """A JPEG up to the end marker of its first picture, which is added where it is lost.

    `short`: its last scan ends before the picture does. `cut`: where; None in a progressive picture, whose earlier scans cover it.
    """

    data: bytes
    short: bool = False
    cut: Cut | None = None


class _NotUnderstoodError(Exception):
    """The file has what only libjpeg can judge: arithmetic coding, 12 bits, tables that it leaves out."""


@dataclass(slots=True)
class _Component:
    across: int
    down: int
    quantiser: int
    first: int
    row: int
    alone: tuple[int, int]
    sent: NDArray[np.int64] = field(default_factory=lambda: np.full(64, -1))  # the lowest bit sent of each coefficient; -1: none


@dataclass(slots=True)
class _Frame:
    progressive: bool
    mcu: tuple[int, int]
    mcus: tuple[int, int]
    components: dict[int, _Component]
    masks: NDArray[np.uint64]


@dataclass(slots=True)
class _Tables:
    codes: dict[int, NDArray[np.uint16]] = field(default_factory=dict)  # class · 16 + number (T.81, B.2.4.2)
    quantisers: dict[int, int] = field(default_factory=dict)  # of DC
    interval: int = 0


@dataclass(frozen=True, slots=True)
class _Scan:
    """How a scan ended: the share that is `missing`, whether it ended `clean`, as encoders end it, and where the picture is cut."""

    corrupt: bool = False
    missing: float = 0.0
    clean: bool = True
    cut: Cut | None = None


def whole(data: bytes, subject: str, pixels: int, seconds: float) -> Whole:
    """The file up to the end of its first picture.

    A file that is not understood is handed on unjudged, and so is a picture of more than `pixels` pixels, which the decoder refuses.
    Raises JobError UNSUPPORTED_IMAGE: its scans are corrupt, more than `MAY_MISS` of the picture is missing, it has too many scans, or they
    take longer than `seconds`.
    """
    try:
        return _judged(data, subject, pixels, seconds)
    except _NotUnderstoodError:
        return Whole(data[: _end(data, subject)])


def _judged(data: bytes, subject: str, pixels: int, seconds: float) -> Whole:
    overdue = time.monotonic() + seconds
    tables, frame, scans, end = _Tables(), None, 0, len(data)
    last, ended = _Scan(), False
    for marker, body, start, stop in _segments(data):
        if marker == _EOI:
            end, ended = start, True
        elif last.missing:  # a scan that ends too soon, and yet something follows it
            raise damaged(subject, "JPEG")
        elif marker == _SOS:
            scans += 1
            _count(scans, subject)
            if time.monotonic() > overdue:
                raise too_slow(subject, seconds)
            last = _scan(data, start, stop, body, frame, tables)
            if last.corrupt:
                raise damaged(subject, "JPEG")
        elif marker in _ANY_SOF:
            if frame is not None:
                raise _NotUnderstoodError
            frame = _frame(marker, body, pixels)
        else:
            _read_tables(marker, body, tables)
    if frame is None or not scans:
        raise _NotUnderstoodError
    _require_all(frame, ended, subject)
    if last.missing and ended and last.clean:  # its end is the encoder's, so the missing part is in the middle
        raise damaged(subject, "JPEG")
    if last.missing > MAY_MISS:
        raise cut_short(subject, last.missing)
    return Whole(data[:end] + END, last.missing > 0, None if frame.progressive else last.cut)


def _end(data: bytes, subject: str) -> int:
    """The place behind the first picture's end marker."""
    scans, end = 0, len(data)
    for marker, _, start, _ in _segments(data):
        scans += marker == _SOS
        _count(scans, subject)
        if marker == _EOI:
            end = start + 2
    return end


def _count(scans: int, subject: str) -> None:
    if scans > MAX_SCANS:
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is a JPEG of more than {MAX_SCANS} scans, which no camera writes.")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """(marker, what it says, start, stop) of each segment up to the end marker.

    For a start of scan, start and stop enclose the scan's data; for the end marker start is its own place.
    """
    at = 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            return
        marker, at = found[1][0], found.end()
        if marker in _WITHOUT_LENGTH:
            continue
        if marker == _EOI:
            yield marker, b"", found.end() - 2, at
            return
        start = at + int.from_bytes(data[at : at + 2])
        if start > len(data) or start < at + 2:
            return
        body, at = data[at + 2 : start], start
        if marker == _SOS:
            after = _AFTER_SCAN.search(data, start)
            at = after.start() if after else len(data) - data.endswith(b"\xff")
        yield marker, body, start, at


def _read_tables(marker: int, body: bytes, tables: _Tables) -> None:
    if marker == _DHT:
        _read_codes(body, tables)
    elif marker == _DQT:
        _read_quantisers(body, tables)
    elif marker == _DRI:
        tables.interval = int.from_bytes(body[:2])


def _read_codes(body: bytes, tables: _Tables) -> None:
    """Huffman tables (T.81, B.2.4.2)."""
    while len(body) >= 17:
        counts = body[1:17]
        symbols, rest = body[17 : 17 + sum(counts)], body[17 + sum(counts) :]
        table = codes_of(counts, symbols)
        if table is None or len(symbols) < sum(counts):
            raise _NotUnderstoodError
        tables.codes[body[0]], body = table, rest


def _read_quantisers(body: bytes, tables: _Tables) -> None:
    """The quantiser of DC, which comes first, of each table (T.81, B.2.4.1)."""
    while body:
        size = 2 if body[0] >> 4 else 1
        tables.quantisers[body[0] & 15] = int.from_bytes(body[1 : 1 + size])
        body = body[1 + 64 * size :]


def _frame(marker: int, body: bytes, pixels: int) -> _Frame:
    """The picture's sizes (T.81, B.2.2), its blocks counted as the scans will send them (A.2)."""
    if marker not in (*_SOF_SEQUENTIAL, _SOF_PROGRESSIVE) or len(body) < 6 or body[0] != 8 or len(body) != 6 + 3 * body[5]:
        raise _NotUnderstoodError
    height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    said = [(body[i], body[i + 1] >> 4, body[i + 1] & 15, body[i + 2]) for i in range(6, len(body), 3)]
    if not (said and 0 < width * height <= pixels and all(0 < h <= 4 and 0 < v <= 4 for _, h, v, _ in said)):
        raise _NotUnderstoodError
    widest, highest = max(h for _, h, _, _ in said), max(v for _, _, v, _ in said)
    mcus = -(-width // (8 * widest)), -(-height // (8 * highest))
    components: dict[int, _Component] = {}
    blocks = 0
    for name, h, v, table in said:
        alone = -(-width * h // (8 * widest)), -(-height * v // (8 * highest))
        components[name] = _Component(h, v, table, blocks, mcus[0] * h, alone)
        blocks += mcus[0] * h * mcus[1] * v
    if len(components) != len(said):
        raise _NotUnderstoodError
    progressive = marker == _SOF_PROGRESSIVE
    masks = np.zeros(blocks if progressive else 0, np.uint64)
    return _Frame(progressive, (8 * widest, 8 * highest), mcus, components, masks)


def _scan(data: bytes, start: int, stop: int, body: bytes, frame: _Frame | None, tables: _Tables) -> _Scan:
    """One scan, by its header (T.81, B.2.3)."""
    if frame is None or len(body) < 6 or len(body) != 4 + 2 * body[0]:
        raise _NotUnderstoodError
    first, last, high, low = body[-3], body[-2], body[-1] >> 4, body[-1] & 15
    if not frame.progressive:
        first, last, high, low = 0, 63, 0, 0
    names = list(body[1:-3:2])
    if first > 0 and len(names) > 1:
        raise _NotUnderstoodError
    if not (first <= last <= 63 and low <= 13 and set(names) <= set(frame.components) and len(names) == len(set(names))):
        raise _NotUnderstoodError
    components = [frame.components[name] for name in names]
    used: list[NDArray[np.uint16]] = []
    parts = []
    for component, choice in zip(components, body[2:-3:2], strict=True):
        chosen = []
        for kind, needed in ((0, first == 0 and not high), (1, last > 0)):
            chosen.append(len(used) if needed else 0)
            if needed:
                used.append(_table(tables, kind << 4 | (choice & 15 if kind else choice >> 4)))
        if component.quantiser not in tables.quantisers:
            raise _NotUnderstoodError
        largest = LARGEST_DC // max(1, tables.quantisers[component.quantiser]) + 1
        across, down = (1, 1) if len(components) == 1 else (component.across, component.down)
        parts.append((*chosen, across, down, component.row, component.first, largest))
        component.sent[first : last + 1] = low
    single = components[0]
    wide, tall = single.alone if len(components) == 1 else frame.mcus
    size = frame.mcu
    if len(components) == 1:
        highest = max(c.down for c in frame.components.values())
        widest = max(c.across for c in frame.components.values())
        size = 8 * widest // single.across, 8 * highest // single.down
    codes = np.stack(used) if used else np.zeros((1, 65536), np.uint16)
    spectrum = np.array([frame.progressive, first, last, high, low], np.int64)
    samples = np.frombuffer(data, np.uint8)
    status, done, clean = walk(
        samples, start, stop, codes, np.array(parts, np.int64), frame.masks, wide, wide * tall, spectrum, tables.interval
    )
    if status != SHORT:
        return _Scan(corrupt=status == CORRUPT)
    cut = Cut(done % wide * size[0], done // wide * size[1], size[1])
    return _Scan(missing=1 - done / (wide * tall), clean=clean, cut=cut)


def _table(tables: _Tables, name: int) -> NDArray[np.uint16]:
    if name not in tables.codes:
        raise _NotUnderstoodError
    return tables.codes[name]


def _require_all(frame: _Frame, ended: bool, subject: str) -> None:
    """Refuse a picture of which whole scans are missing; an encoder may leave out some, a file that was cut proves nothing."""
    components = list(frame.components.values())
    never = any(component.sent[0] < 0 for component in components)
    if frame.progressive:
        never = never or bool((components[0].sent < 0).all() if ended else any((c.sent != 0).any() for c in components))
    if never:
        raise cut_short(subject, 0.5)

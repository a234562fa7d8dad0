"""A PNG's own parts: whether its samples are whole, and what it says of their colours (W3C PNG, third edition).

Samples lie deflated in IDAT chunks. Pillow looks at no checksum of theirs; zlib's own, over all rows, proves them whole.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.intake.damage import MAY_MISS, cut_short, damaged

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IEND = b"\0\0\0\0IEND\xaeB`\x82"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

#: Adam7 (8.2): first column, first row, columns apart, rows apart of each pass; without interlacing there is one pass of everything.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_ONE_PASS = ((0, 0, 1, 1),)

#: Bytes that are unpacked at once.
_PIECE = 1 << 20

#: The filter that adds the row above (9.2): zeros after it repeat that row.
_UP = 2


@dataclass(frozen=True, slots=True)
class Whole:
    """A PNG that can be decoded; `short`: rows at its end were missing and repeat those above."""

    data: bytes
    short: bool = False


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    body: bytes
    cut: bool
    sound: bool


@dataclass(frozen=True, slots=True)
class _Pass:
    width: int
    rows: int
    stride: int  # bytes of a row with its filter's


def whole(data: bytes, subject: str) -> Whole:
    """The file, its missing last rows filled. Its size has been checked already.

    Raises JobError UNSUPPORTED_IMAGE: samples are damaged, or more than `MAY_MISS` of them are missing.
    """
    chunks = list(_chunks(data))
    head = next((chunk.body for chunk in chunks if chunk.name == b"IHDR"), b"")
    if len(head) != 13 or head[9] not in _CHANNELS:
        return Whole(data)  # Pillow says what is wrong with it
    passes = _passes(head)
    expected = sum(p.rows * p.stride for p in passes)
    samples = [chunk for chunk in chunks if chunk.name == b"IDAT"]
    unpacker, produced = zlib.decompressobj(), 0
    try:
        for piece in _unpacked(unpacker, samples, expected):
            produced += len(piece)
    except zlib.error as fault:
        raise damaged(subject, "PNG") from fault
    if not unpacker.eof and any(not chunk.sound and not chunk.cut for chunk in samples):
        raise damaged(subject, "PNG")
    if produced >= expected and unpacker.eof:
        return Whole(data)
    complete = _complete_rows(passes, produced)
    missing = 1 - sum(p.width * rows for p, rows in zip(passes, complete, strict=True)) / sum(p.width * p.rows for p in passes)
    if missing > MAY_MISS:
        raise cut_short(subject, missing)
    return Whole(_rebuilt(chunks, samples, passes, complete), missing > 0)


def colour_chunks(data: bytes) -> dict[bytes, bytes]:
    """Type → body of the chunks before the samples that say what the colours are; the first of each type counts."""
    found: dict[bytes, bytes] = {}
    for chunk in _chunks(data):
        if chunk.name == b"IDAT":
            break
        if chunk.name in (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM") and chunk.sound:
            found.setdefault(chunk.name, chunk.body)
    return found


def _chunks(data: bytes) -> Iterator[_Chunk]:
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        size, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        body, check = data[at + 8 : at + 8 + size], data[at + 8 + size : at + 12 + size]
        cut = len(check) < 4
        yield _Chunk(name, body.removesuffix(_IEND) if cut else body, cut, check == struct.pack(">I", zlib.crc32(body, zlib.crc32(name))))
        if name == b"IEND":
            return
        at += 12 + size


def _passes(head: bytes) -> list[_Pass]:
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    found = []
    for x, y, dx, dy in _ADAM7 if interlaced else _ONE_PASS:
        columns, rows = -(-(width - x) // dx), -(-(height - y) // dy)
        if columns > 0 and rows > 0:
            found.append(_Pass(columns, rows, 1 + (columns * bits * _CHANNELS[kind] + 7) // 8))
    return found


def _unpacked(unpacker: "zlib._Decompress", samples: list[_Chunk], most: int) -> Iterator[bytes]:
    """What the chunks unpack to, in pieces, little more than `most` bytes. Raises zlib.error."""
    for chunk in samples:
        waiting = chunk.body
        while not unpacker.eof and most >= 0:
            piece = unpacker.decompress(waiting, _PIECE)
            yield piece
            most -= len(piece)
            waiting = unpacker.unconsumed_tail
            if not waiting and len(piece) < _PIECE:
                break


def _complete_rows(passes: list[_Pass], produced: int) -> list[int]:
    complete = []
    for p in passes:
        rows = min(p.rows, produced // p.stride)
        complete.append(rows)
        produced = produced - rows * p.stride if rows == p.rows else 0
    return complete


def _rebuilt(chunks: list[_Chunk], samples: list[_Chunk], passes: list[_Pass], complete: list[int]) -> bytes:
    """The file with the rows that are complete, those missing as the rows above, and the end of a PNG."""
    rows, at, start = bytearray(sum(p.rows * p.stride for p in passes)), 0, 0
    for piece in _unpacked(zlib.decompressobj(), samples, len(rows)):
        rows[at : at + len(piece)] = piece[: len(rows) - at]
        at = min(at + len(piece), len(rows))
    for p, count in zip(passes, complete, strict=True):
        missing = bytes([_UP]) + bytes(p.stride - 1)
        rows[start + count * p.stride : start + p.rows * p.stride] = missing * (p.rows - count)
        start += p.rows * p.stride
    before = chunks[: chunks.index(samples[0])]
    parts = [(chunk.name, chunk.body) for chunk in before if chunk.sound] + [(b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    return _SIGNATURE + b"".join(struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(b, zlib.crc32(n))) for n, b in parts)

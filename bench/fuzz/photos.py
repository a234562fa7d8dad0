"""Real pictures of every accepted format, broken in many ways, through the real decoder in a process of its own each.

The process is forked from this one, which has everything loaded, so that a picture costs milliseconds; it limits itself
and reads as `python -m pipeline.intake.decoder` does. A part of the cases goes through `pipeline.intake.photo.decode` itself.
"""

import os
import random
import re
import select
import signal
import struct
import time
import traceback
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO

import numpy as np
import pillow_heif
import tifffile
from PIL import Image

from bench.fuzz.jobs import fault_of
from bench.fuzz.tally import GROWTH, SLOWEST, Tally, peak, resident
from pipeline.errors import Code, JobError
from pipeline.intake import (
    decoder,
    jpeg,  # noqa: F401 - compiled here, not in every child
)
from pipeline.intake.photo import Limits, decode, jpeg_to_its_end, sniff
from pipeline.sample import scene
from tests.support.pictures import cmyk_profile, matrix_profile, png_chunk, save

_LIMITS = Limits()
_EXTREMES = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1]
_BOXES = re.compile(
    rb"ispe|iloc|ipma|iinf|infe|pitm|iref|hvcC|av1C|colr|irot|imir|clap|pixi|auxC|meta|iprp|ipco|mdat|ftyp|idat|dimg|thmb|grpl"
)
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xda-\xdf\xe0-\xef\xfe]")
_RIFF = re.compile(rb"VP8 |VP8L|VP8X|ALPH|ANIM|ANMF|ICCP|EXIF|XMP ")


def _tiff(samples: np.ndarray, **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, samples, **options)
    return file.getvalue()


def _tree(rgb: np.ndarray) -> bytes:
    """A TIFF whose first page is a reduced picture of the one beneath it."""
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(rgb[::2, ::2].copy(), photometric="rgb", subifds=1, subfiletype=1)
        writer.write(rgb, photometric="rgb")
    return file.getvalue()


def with_numbers(data: bytes, primaries: int, transfer: int) -> bytes:
    """A HEIC or AVIF that says these numbers of H.273."""
    place = data.index(b"nclx") + 4
    return data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]


@cache
def seeds() -> tuple[bytes, ...]:
    """Sound files: every format, several modes, profiles, orientations, alpha, frames and depths."""
    rgb = Image.fromarray(scene(seed=7, width=320, height=213).rgb).resize((150, 100))
    grey, rgba, deep = rgb.convert("L"), rgb.copy(), np.asarray(rgb.convert("L")).astype(np.uint16) * 257
    rgba.putalpha(grey)
    exif = Image.Exif()
    exif[274], exif[270] = 6, "a picture"
    profile = matrix_profile(2.2, primaries=((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)))
    more = {"exif": exif, "icc_profile": profile}
    colours = png_chunk(b"gAMA", struct.pack(">I", 100_000)) + png_chunk(
        b"cHRM", struct.pack(">8I", *[31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000])
    )
    frames = {"save_all": True, "append_images": [rgb.rotate(180)]}
    return (
        save(rgb, "JPEG", **more), save(rgb, "JPEG", progressive=True, comment=b"a comment"), save(grey, "JPEG"),
        save(rgb, "MPO", **frames),
        save(rgb.convert("CMYK"), "JPEG", icc_profile=cmyk_profile()), save(rgb, "JPEG", restart_marker_blocks=4),
        save(rgb, "PNG", **more), save(rgba, "PNG"), save(rgb.convert("P"), "PNG", transparency=3), save(Image.fromarray(deep), "PNG"),
        save(rgb.convert("1"), "PNG"), save(rgba.convert("LA"), "PNG"), save(rgb, "PNG", **frames),
        save(rgb, "WEBP", **more), save(rgba, "WEBP", lossless=True), save(rgb, "WEBP", **frames), save(rgba, "WEBP"),
        save(rgb, "AVIF", **more), save(rgba, "AVIF"), save(rgb, "AVIF", **frames),
        save(rgb, "HEIF", **more), save(rgba, "HEIF"), save(grey, "HEIF"),
        save(rgb, "TIFF", **more), save(rgba, "TIFF", compression="tiff_lzw"), save(rgb, "TIFF", compression="jpeg"),
        save(rgb.convert("CMYK"), "TIFF"), save(rgb.convert("LAB"), "TIFF"), save(rgb.convert("1"), "TIFF", compression="group4"),
        _tiff(np.stack([np.asarray(rgb)] * 2), photometric="rgb"), save(rgb, "TIFF", compression="tiff_adobe_deflate"),
        save(rgb.convert("P"), "TIFF", compression="packbits"),
        _tiff(deep, photometric="minisblack"), _tiff(deep, byteorder=">", bigtiff=True), _tiff(np.asarray(rgb), tile=(32, 32)),
        _tiff(np.moveaxis(np.asarray(rgb), 2, 0), photometric="rgb", planarconfig="separate"),
        with_numbers(save(rgb, "HEIF"), 9, 16), with_numbers(save(rgb, "AVIF"), 12, 13),
        save(rgb, "JPEG") + save(rgb, "JPEG", progressive=True),
        save(rgb, "PNG")[:33] + colours + save(rgb, "PNG")[33:],
        _tree(np.asarray(rgb)),
        save(rgb, "BMP"), save(rgba, "BMP"), save(rgb.convert("P"), "BMP"), save(rgb.convert("1"), "BMP"),
    )  # fmt: skip


def _number(rng: random.Random) -> bytes:
    size = rng.choice([1, 2, 2, 4, 4, 8])
    value = rng.choice([rng.choice(_EXTREMES), rng.getrandbits(64), rng.randrange(40_000)]) % (1 << 8 * size)
    return value.to_bytes(size, rng.choice(["big", "little"]))


def _put(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def _place(rng: random.Random, data: bytes) -> int:
    """Anywhere, but half of the time in the head, where the sizes stand."""
    return rng.randrange(min(len(data), rng.choice([32, 128, 600, len(data)])) or 1)


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 32])):
        changed[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _extreme(rng: random.Random, data: bytes) -> bytes:
    return _put(data, _place(rng, data), _number(rng))


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(8, len(data) + 1)] if len(data) > 8 else data


def _move(rng: random.Random, data: bytes) -> bytes:
    """A piece is dropped, doubled or put elsewhere."""
    start, size = _place(rng, data), rng.choice([1, 4, 12, 100, 2000])
    piece, kind = data[start : start + size], rng.randrange(3)
    rest = data if kind == 0 else data[:start] + data[start + size :]
    place = rng.randrange(len(rest) + 1)
    return rest if kind == 2 else rest[:place] + piece + rest[place:]


def _splice(rng: random.Random, data: bytes) -> bytes:
    other = rng.choice(seeds())
    return data[: rng.randrange(8, len(data) + 1) if len(data) > 8 else None] + other[rng.randrange(len(other)) :]


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 8
    while place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4])
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    return found


def _png(rng: random.Random, data: bytes) -> bytes:
    """One chunk changed, its samples and texts under their deflation too; all lengths and checksums right again."""
    chunks = _chunks(data)
    if not chunks:
        return data
    n = 0 if rng.random() < 0.4 else rng.randrange(len(chunks))
    name, body = chunks[n]
    if name == b"IDAT" and rng.random() < 0.6:
        try:
            body = zlib.compress(rng.choice([_flip, _extreme, _cut])(rng, zlib.decompress(body)), 1)
        except (zlib.error, IndexError, ValueError):
            body = b""
    elif body:
        body = rng.choice([_flip, _extreme])(rng, body)
    kind = rng.random()
    changed = [] if kind < 0.05 else [(name, body)] * (2 if kind < 0.15 else 1)
    chunks[n : n + 1] = changed
    if kind > 0.9:
        chunks.insert(
            rng.randrange(len(chunks) + 1),
            (rng.choice([b"tRNS", b"PLTE", b"iCCP", b"eXIf", b"acTL", b"fdAT", b"zTXt", b"gAMA"]), rng.randbytes(9)),
        )
    return data[:8] + b"".join(struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)


def _near(pattern: re.Pattern[bytes], reach: int, rng: random.Random, data: bytes) -> bytes:
    """A number near one of the format's own marks: the length, the size or a field of the part that begins there."""
    marks = [match.start() for match in pattern.finditer(data)]
    if not marks:
        return data
    place = rng.choice(marks[:60]) + rng.randrange(-4 if reach > 20 else 0, reach)
    return _put(data, max(0, place), _number(rng))


def _directory(rng: random.Random, data: bytes) -> bytes:
    """A field of a TIFF directory's entry: tag, type, count or value."""
    order = "little" if data[:2] == b"II" else "big"
    start = int.from_bytes(data[4:8], order)
    entries = int.from_bytes(data[start : start + 2], order)
    if not 0 < entries < 100:
        return _extreme(rng, data)
    place = start + 2 + 12 * rng.randrange(entries) + rng.choice([0, 2, 4, 8, 8, 8])
    return _put(data, place, rng.choice(_EXTREMES[:13]).to_bytes(8, order)[: rng.choice([2, 4])])


_OWN: dict[bytes, Callable[[random.Random, bytes], bytes]] = {
    b"\x89P": _png, b"\xff\xd8": partial(_near, _MARKER, 16), b"RI": partial(_near, _RIFF, 24), b"\0\0": partial(_near, _BOXES, 40),
    b"II": _directory, b"MM": _directory, b"BM": lambda rng, data: _put(data, rng.randrange(2, 60), _number(rng)),
}  # fmt: skip


def case(seed: int, number: int) -> bytes:
    """The file of one case."""
    rng = random.Random((seed << 40) + number)
    data = rng.choice(seeds())
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        own = _OWN.get(data[:2], _extreme)
        data = rng.choice([own, own, own, _flip, _extreme, _cut, _move, _splice])(rng, data) or b"\0"
    return data


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one decoder did: `answer` is "decoded", a code, "crash …" or "fault"; `wrong` says what must not be; `bytes`: what it added."""

    answer: str
    wrong: str | None
    seconds: float
    bytes: int


Read = Callable[[bytes, decoder.Request], decoder.Decoded]


def read(data: bytes, request: decoder.Request) -> decoder.Decoded:
    """As `pipeline.intake.photo.decode` reads, in one process."""
    return decoder.read(*(jpeg_to_its_end(data, request) if request.kind == "JPEG" else (data, request)))


def _in_child(data: bytes, request: decoder.Request, read: Read) -> bytes:
    try:
        decoder.confine(request)
        found = read(data, request)
        return f"decoded{'' if found.rgb.shape[2] == 3 and found.rgb.flags.c_contiguous else ' but badly'}".encode()
    except JobError as refusal:
        wrong = fault_of(refusal.sentence)
        return f"fault the sentence {wrong}".encode() if wrong else Code(refusal.code).encode()
    except Exception:  # noqa: BLE001 - whatever else comes out is what is looked for
        return f"fault {traceback.format_exc()[-600:]}".encode()


def _child(data: bytes, request: decoder.Request, read: Read, pipe: int) -> None:
    os.write(pipe, resident().to_bytes(8))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.write(pipe, _in_child(data, request, read))
    os._exit(0)


def forked(data: bytes, request: decoder.Request, read: Read = read) -> Outcome:
    """Decode in a process that is forked from this one; its memory is what it adds to what it is born with."""
    reading, writing = os.pipe()
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            _child(data, request, read, writing)
        finally:
            os._exit(9)  # never back into the parent's code
    os.close(writing)
    born = int.from_bytes(os.read(reading, 8))
    in_time = bool(select.select([reading], [], [], request.seconds)[0])
    said = os.read(reading, 4000).decode() if in_time else ""
    os.close(reading)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    seconds, added = time.perf_counter() - began, 1024 * usage.ru_maxrss - born
    answer, _, wrong = said.partition(" ")
    if not in_time:
        answer = "killed for its time"
    elif not said:
        answer = f"crash contained ({signal.Signals(os.WTERMSIG(status)).name})" if os.WIFSIGNALED(status) else "fault"
        wrong = "" if os.WIFSIGNALED(status) else f"ended with status {status}"
    if seconds > SLOWEST:
        wrong = f"took {seconds:.1f} s"
    if added > GROWTH:
        wrong = f"took {added:,} bytes"
    return Outcome(answer, wrong or None, seconds, added)


def through_production(data: bytes) -> Outcome:
    """`pipeline.intake.photo.decode` itself, its own process included."""
    began = time.perf_counter()
    wrong = None
    try:
        decode(data)
        answer = "decoded"
    except JobError as refusal:
        answer, wrong = Code(refusal.code), fault_of(refusal.sentence)
    except Exception as error:  # noqa: BLE001 - whatever else comes out is what is looked for
        answer, wrong = "fault", f"{type(error).__name__}: {str(error)[-600:]}"
    seconds = time.perf_counter() - began
    return Outcome(f"pipeline.intake.photo.decode: {answer}", wrong or ("slow" if seconds > SLOWEST else None), seconds, 0)


def _add(tally: Tally, number: int, outcome: Outcome) -> None:
    tally.answers[outcome.answer] += 1
    tally.slowest, tally.largest = max(tally.slowest, outcome.seconds), max(tally.largest, outcome.bytes)
    if outcome.answer.startswith("crash"):
        tally.crashes.append(number)
    if outcome.wrong or outcome.answer == "fault":
        tally.faults.append((number, f"{outcome.answer}: {outcome.wrong}"))


def _request(data: bytes) -> decoder.Request:
    return decoder.Request(sniff(data), "The picture", True, _LIMITS.pixels, _LIMITS.side, 64, _LIMITS.seconds)


def fuzz(seed: int, cases: int, real: int, tick: Callable[[int], None]) -> Tally:
    """`cases` pictures to forked decoders, not counting those that are refused by their first bytes; `real` to the intake itself.

    Every crash of a forked decoder (fifty at most) is shown to the intake as well, which must answer it.
    """
    pillow_heif.register_heif_opener()
    seeds()
    tally, number, done = Tally(), 0, 0
    before = peak()
    while done < cases:
        data = case(seed, number)
        try:
            request = _request(data)
        except JobError as refusal:
            tally.answers[f"refused by the first bytes: {refusal.code}"] += 1
        else:
            _add(tally, number, forked(data, request))
            done += 1
            tick(1)
        number += 1
    for extra in range(number, number + real):
        _add(tally, extra, through_production(case(seed, extra)))
        tick(1)
    for crashed in tally.crashes[:50]:
        _add(tally, crashed, through_production(case(seed, crashed)))
    tally.grown = peak() - before
    if tally.grown > GROWTH:
        tally.faults.append((number, f"the parent grew by {tally.grown:,} bytes"))
    return tally


def tell(seed: int, number: int) -> str:
    """One case in words: its file as base64 and what the intake answers."""
    data = case(seed, number)
    return f"{b64encode(data).decode()}\n→ {through_production(data)}"

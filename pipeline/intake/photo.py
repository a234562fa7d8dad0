"""Photo intake: bytes → `Photo` (upright, sRGB, 8 bits) or a refusal; and the photo's way into a square.

What is taken: JPEG, PNG, WebP, AVIF, HEIC, TIFF and BMP; of several pages or frames the first, of a reduced first page the one that it
reduces. EXIF rotation is applied and colours are converted to sRGB, as the file says them (`pipeline.intake.color_space`). 16-bit samples
keep their upper 8 bits; 32-bit ones (integer or float) are refused, because their white is unknown. Damaged files are refused; one whose
last rows alone are missing is taken (`pipeline.intake.damage`). Decoding happens in a child process (`pipeline.intake.decoder`) that has a
limit on time and memory.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from io import BufferedReader
from math import ceil, floor
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from PIL import Image

from pipeline.errors import Code, JobError
from pipeline.intake import boxes, camera_raw
from pipeline.intake.damage import too_slow
from pipeline.intake.decoder import UPRIGHT, Decoded, Request, as_json
from pipeline.values import Box, Frame, Gray, Photo, Rgb

Picture = TypeVar("Picture", Rgb, Gray)

ACCEPTED = "JPEG, PNG, WebP, AVIF, HEIC, TIFF and BMP"

#: The least side of a photo and of a matte, pixels: a vehicle of fewer cannot be drawn, but a matte may be coarser.
MIN_PHOTO_SIDE, MIN_MATTE_SIDE = 64, 1

#: How far the matte's aspect may be from the photo's; one pixel is allowed besides, for rounding.
ASPECT_TOLERANCE = 0.01

#: A pixel whose channels differ by more codes is coloured; a matte with more than this share of such pixels is no grey picture.
COLOURED, COLOURED_SHARE = 40, 0.02


@dataclass(frozen=True, slots=True)
class Limits:
    """What one picture may cost: the file's `bytes`, its `pixels`, its longer `side`, and `seconds` of decoding."""

    bytes: int = 50_000_000
    pixels: int = 120_000_000
    side: int = 30_000
    seconds: float = 15.0


def decode(data: bytes, limits: Limits = Limits()) -> Photo:
    """The file's first picture, upright, in sRGB, at its own size.

    `alpha` is None when the file has none or no pixel of it is less than half opaque: it then says nothing of the vehicle.
    Colours are not premultiplied; under alpha 0 they are white.

    Raises JobError: UNSUPPORTED_IMAGE (another format, damaged, too small, fully transparent, too slow to decode) or
    INPUT_TOO_LARGE (bytes, pixels, side).
    """
    return _visible(data, limits, MIN_PHOTO_SIDE)


def decode_reference(data: bytes, limits: Limits = Limits()) -> Photo:
    """As `decode`, for a picture that only its colours are wanted of: one pixel is enough."""
    return _visible(data, limits, 1)


def _visible(data: bytes, limits: Limits, min_side: int) -> Photo:
    found = _decode(data, limits, "The picture", managed=True, min_side=min_side)
    alpha = found.alpha
    if alpha is not None:
        if alpha.max() < 128:
            raise JobError(Code.UNSUPPORTED_IMAGE, "The picture is transparent: no pixel of it is more than half opaque.")
        if alpha.min() > 127:
            alpha = None
    return Photo(found.rgb, alpha, hashlib.sha256(data).hexdigest(), found.warnings, found.orientation)


@dataclass(frozen=True, slots=True)
class GivenMatte:
    """The caller's matte at the photo's size: `alpha` (H, W) uint8, 255 where the vehicle is; `warnings` of what was odd about the file."""

    alpha: Gray
    warnings: tuple[str, ...] = ()


def decode_matte(data: bytes, photo: Photo, limits: Limits = Limits()) -> GivenMatte:
    """The caller's matte, from any accepted picture of the upright photo's aspect.

    Where the file has an alpha channel that is not opaque, this is the matte; otherwise its grey is (Rec. 601 luma of the stored values,
    profiles not applied). A matte of the photo's aspect before it was turned upright is turned as the photo was, with a warning.

    Raises JobError: INVALID_INPUT for another aspect, an empty matte or one without background; else as `decode`.
    """
    found = _decode(data, limits, "The matte", managed=False, min_side=MIN_MATTE_SIDE)
    warnings: list[str] = []
    if found.alpha is not None and int(found.alpha.min()) < 128:
        grey = found.alpha
    else:
        grey = np.asarray(Image.fromarray(found.rgb).convert("L"))
        if float((np.ptp(found.rgb, axis=-1) > COLOURED).mean()) > COLOURED_SHARE:
            grey = found.rgb.max(-1)  # the luma of pure red is below half
            warnings.append("MATTE_ODD: The matte is coloured; each pixel's brightest channel was taken (white is the vehicle).")
    if not _fits(grey, photo) and photo.orientation >= 5 and _fits(turned := turned_upright(grey, photo.orientation), photo):
        grey = turned
        warnings.append("MATTE_ODD: The matte was made before the photo was turned upright, and was turned with it.")
    if not _fits(grey, photo):
        sizes = f"{grey.shape[1]} × {grey.shape[0]} pixels, the upright photo {photo.rgb.shape[1]} × {photo.rgb.shape[0]}"
        raise JobError(Code.INVALID_INPUT, f"The matte must have the photo's aspect: it is {sizes}.")
    if grey.max() < 128:
        raise JobError(Code.INVALID_INPUT, "The matte is empty: no pixel of it is brighter than half.")
    if grey.min() > 127:
        raise JobError(Code.INVALID_INPUT, "The matte is full: no pixel of it is background (darker than half).")
    if grey.shape != photo.rgb.shape[:2]:
        grey = np.array(Image.fromarray(grey).resize(photo.rgb.shape[1::-1], Image.Resampling.BILINEAR))
    return GivenMatte(np.array(grey), tuple(warnings))


def _fits(grey: Gray, photo: Photo) -> bool:
    """Whether a picture (h, w) has the photo's aspect."""
    (height, width), (photo_height, photo_width) = grey.shape, photo.rgb.shape[:2]
    off_width, off_height = abs(width - height * photo_width / photo_height), abs(height - width * photo_height / photo_width)
    return bool(off_width <= 1 + ASPECT_TOLERANCE * width or off_height <= 1 + ASPECT_TOLERANCE * height)


def letterbox(rgb: Rgb, frame: Frame, side: int, fill: int = 0) -> Rgb:
    """The photo (H, W, 3) in a square of `side` pixels, exactly where `frame.at(side)` puts it, `fill` beyond it."""
    return placed(rgb, frame.at(side).photo, side, fill)


def placed(pixels: Picture, where: Box, side: int, fill: int = 0) -> Picture:
    """A picture (H, W) or (H, W, 3) in a square of `side` pixels, at `where`, which may reach beyond it; `fill` around it.

    Positions are continuous, so an offset may be a fraction of a pixel; pixels that the picture covers only in part are `fill`.
    Shrinking is antialiased (Lanczos), enlarging bicubic; the aspect is `where`'s.
    """
    square = np.full((side, side, *pixels.shape[2:]), fill, np.uint8)
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = where
    columns, rows = _whole(x0, x1, side), _whole(y0, y1, side)
    kx, ky = (x1 - x0) / width, (y1 - y0) / height
    box = (
        max(0.0, (columns[0] - x0) / kx),
        max(0.0, (rows[0] - y0) / ky),
        min(float(width), (columns[1] - x0) / kx),
        min(float(height), (rows[1] - y0) / ky),
    )
    if box[2] <= box[0] or box[3] <= box[1]:  # beside the square
        return square
    how = Image.Resampling.LANCZOS if min(kx, ky) < 1 else Image.Resampling.BICUBIC
    resized = Image.fromarray(pixels).resize((columns[1] - columns[0], rows[1] - rows[0]), how, box)
    square[rows[0] : rows[1], columns[0] : columns[1]] = np.asarray(resized)
    return square


def _whole(start: float, end: float, side: int) -> tuple[int, int]:
    """The pixels that lie fully in [start, end); the one in its middle where there is none (a picture thinner than a pixel)."""
    first, last = max(0, ceil(start - 1e-6)), min(side, floor(end + 1e-6))
    if last > first:
        return first, last
    middle = min(side - 1, max(0, floor((start + end) / 2)))
    return middle, middle + 1


def turned_upright(picture: Gray, orientation: int) -> Gray:
    """A picture (H, W) turned as the EXIF orientation 1..8 says, as its photo was."""
    turn = UPRIGHT.get(orientation)
    return picture if turn is None else np.asarray(Image.fromarray(picture).transpose(turn))


def sniff(data: bytes, subject: str = "The picture") -> str:
    """The file's format by its first bytes: a name from `ACCEPTED`. Raises JobError UNSUPPORTED_IMAGE saying what it is."""
    if not data:
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is empty: it has no bytes.")
    for raw, start in camera_raw.MAGIC:
        if re.match(start, data, re.DOTALL):
            raise camera_raw.refusal(subject, raw)
    kind = next((name for name, start in _MAGIC if re.match(start, data, re.DOTALL)), None) or boxes.kind_of(data)
    if kind == "Canon CR3":
        raise camera_raw.refusal(subject, kind)
    if kind is None:
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is of an unknown format; {ACCEPTED} are accepted.")
    if kind not in ACCEPTED:
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is {kind}; {ACCEPTED} are accepted.")
    return kind


#: A mark of the byte order may come before text.
_BOM = rb"(\xef\xbb\xbf)?"

#: The first characters of a web page in UTF-16, of either byte order.
_WIDE = rb"\xff\xfe(\s\0)*<\0[!hH]\0|\xfe\xff(\0\s)*\0<\0[!hH]"

#: What a web page may begin with, as browsers look for it (WHATWG MIME Sniffing, 7.1), and a few more.
_TAGS = rb"html|head|body|script|iframe|h1|div|font|table|a|style|title|b|br|p|meta|link|center|form|noscript"

_MAGIC: tuple[tuple[str, bytes], ...] = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("WebP", rb"RIFF....WEBP"),
    ("TIFF", rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
    ("BMP", rb"BM"),
    ("a file that was changed on its way as if it were text", rb"(\x89|\xc2\x89)PNG|\xef\xbf\xbd|\xc3\xbf\xc3\x98\xc3\xbf"),
    ("a GIF", rb"GIF8"),
    ("a PDF", rb"%PDF"),
    ("a Photoshop document", rb"8BPS"),
    ("a JPEG 2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("a JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("an icon", rb"\0\0[\x01\x02]\0"),
    ("an SVG", _BOM + rb"\s*(<\?xml[^>]*>\s*)?(<!--.{0,500}?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg"),
    ("a web page", _BOM + rb"\s*(<\?xml[^>]*>\s*)?(?i:<(!doctype\s+html|" + _TAGS + rb")[\s>/]|<!--)|" + _WIDE),
    ("an XML document", _BOM + rb"\s*<\?xml"),
)


def _decode(data: bytes, limits: Limits, subject: str, *, managed: bool, min_side: int) -> Decoded:
    if len(data) > limits.bytes:
        raise JobError(Code.INPUT_TOO_LARGE, f"{subject} has {len(data):,} bytes; {limits.bytes:,} are the limit.")
    request = Request(sniff(data, subject), subject, managed, limits.pixels, limits.side, min_side, limits.seconds)
    if request.kind == "JPEG":
        data, request = jpeg_to_its_end(data, request)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.intake.decoder", as_json(request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
    )
    if child.stdin is None or child.stdout is None:
        raise RuntimeError("the decoder has no pipes")
    overdue = threading.Event()

    def stop() -> None:
        overdue.set()
        child.kill()

    watch = threading.Timer(limits.seconds, stop)
    watch.start()
    with child:
        try:
            _send(child.stdin, data)
            found = _receive(child.stdout)
            child.wait()
        finally:
            watch.cancel()
            child.kill()  # without effect on one that has ended
    if found is not None:
        return found
    if overdue.is_set():
        raise too_slow(subject, limits.seconds)
    if child.returncode > 0:
        raise RuntimeError(f"the decoder ended with status {child.returncode}")
    raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is damaged: decoding it as {request.kind} crashed.")


def jpeg_to_its_end(data: bytes, request: Request) -> tuple[bytes, Request]:
    """A JPEG up to the end of its picture, and the request with what is missing of it. Raises JobError for one that is damaged.

    It is judged here and not in the child, which would take a second to load the compiled code.
    """
    from pipeline.intake.jpeg import whole  # noqa: PLC0415 - sniffing alone needs no compiled code

    found = whole(data, request.subject, request.pixels, request.seconds)
    cut = None if found.cut is None else (found.cut.x, found.cut.y, found.cut.rows)
    return found.data, replace(request, short=found.short, cut=cut)


def _environment() -> dict[str, str]:
    """Only what Python needs, so that a process that a stranger's file takes over holds no secrets. The rest saves address space."""
    kept = ("PATH", "LD_LIBRARY_PATH", "HOME", "LANG", "SYSTEMROOT", "VIRTUAL_ENV")
    root = Path(__file__).resolve().parents[2]
    here = {"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    return {k: os.environ[k] for k in kept if k in os.environ} | here


def _send(pipe: IO[bytes], data: bytes) -> None:
    try:
        pipe.write(data)
        pipe.close()
    except BrokenPipeError:
        return  # the child has ended; its answer or its status tells why


def _receive(pipe: IO[bytes]) -> Decoded | None:
    """The child's answer; None where it ended without one. Raises its JobError; a bug of ours in it is a RuntimeError."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        return None
    head = json.loads(line)
    if "bug" in head:
        raise RuntimeError(head["bug"])
    if "code" in head:
        raise JobError(Code(head["code"]), head["sentence"])
    width, height = head["size"]
    rgb, alpha = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8) if head["alpha"] else None
    for samples in (rgb, alpha):
        if samples is not None and not _fill(pipe, samples):
            return None
    return Decoded(rgb, alpha, tuple(head["warnings"]), head["orientation"])


def _fill(pipe: IO[bytes], samples: Rgb | Gray) -> bool:
    if not isinstance(pipe, BufferedReader):
        raise TypeError("the decoder's pipe must be buffered")
    return pipe.readinto(samples.data.cast("B")) == samples.nbytes

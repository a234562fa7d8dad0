"""Photo intake: bytes → `Photo` (upright, sRGB, 8 bits) or a refusal; and the photo's way into a square.

What is taken: JPEG, PNG, WebP, AVIF, HEIC, TIFF and BMP; of several pages or frames the first. EXIF rotation is applied
and ICC profiles are converted to sRGB. 16-bit samples keep their upper 8 bits; 32-bit ones (integer or float) are refused, for
nobody knows their white. Colour spaces that are said otherwise than by an ICC profile (gAMA and cHRM, nclx, EXIF) are
taken as sRGB. Decoding happens in a child process (`pipeline.decoder`) that has a limit on time and memory.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from io import BufferedReader
from math import ceil, floor
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from pipeline.decoder import Decoded, Request, as_json
from pipeline.errors import Code, JobError
from pipeline.values import Frame, Gray, Photo, Rgb

ACCEPTED = "JPEG, PNG, WebP, AVIF, HEIC, TIFF and BMP"

#: A vehicle drawn from fewer pixels than these is no picture; a matte may be coarser.
MIN_PHOTO_SIDE, MIN_MATTE_SIDE = 64, 1

#: How far the matte's aspect may be from the photo's; one pixel is allowed besides, for rounding.
ASPECT_TOLERANCE = 0.01


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
    found = _decode(data, limits, "The picture", managed=True, min_side=MIN_PHOTO_SIDE)
    alpha = found.alpha
    if alpha is not None:
        if alpha.max() < 128:
            raise JobError(Code.UNSUPPORTED_IMAGE, "The picture is transparent: no pixel of it is more than half opaque.")
        if alpha.min() > 127:
            alpha = None
    return Photo(found.rgb, alpha, hashlib.sha256(data).hexdigest(), found.warnings)


def decode_matte(data: bytes, photo: Photo, limits: Limits = Limits()) -> Gray:
    """The caller's matte at the photo's size: (H, W) uint8, 255 where the vehicle is.

    The file is any accepted picture of the upright photo's aspect. Where it has an alpha channel that is not opaque, this
    is the matte; otherwise its grey is (Rec. 601 luma of the stored values, profiles not applied).

    Raises JobError: INVALID_INPUT for another aspect, an empty matte or one without background; else as `decode`.
    """
    found = _decode(data, limits, "The matte", managed=False, min_side=MIN_MATTE_SIDE)
    has_shape = found.alpha is not None and int(found.alpha.min()) < 128
    grey = found.alpha if found.alpha is not None and has_shape else np.asarray(Image.fromarray(found.rgb).convert("L"))
    (height, width), (photo_height, photo_width) = grey.shape, photo.rgb.shape[:2]
    off_width, off_height = abs(width - height * photo_width / photo_height), abs(height - width * photo_height / photo_width)
    if off_width > 1 + ASPECT_TOLERANCE * width and off_height > 1 + ASPECT_TOLERANCE * height:
        sizes = f"{width} × {height} pixels, the upright photo {photo_width} × {photo_height}"
        raise JobError(Code.INVALID_INPUT, f"The matte must have the photo's aspect: it is {sizes}.")
    if grey.max() < 128:
        raise JobError(Code.INVALID_INPUT, "The matte is empty: no pixel of it is brighter than half.")
    if grey.min() > 127:
        raise JobError(Code.INVALID_INPUT, "The matte is full: no pixel of it is background (darker than half).")
    if grey.shape == photo.rgb.shape[:2]:
        return np.array(grey)
    return np.array(Image.fromarray(grey).resize((photo_width, photo_height), Image.Resampling.BILINEAR))


def decode_base64(text: str, limits: Limits = Limits()) -> bytes:
    """Base64 or a `data:image/…;base64,` URI to bytes: both alphabets, white space anywhere, padding optional.

    Raises JobError: INVALID_INPUT for anything else, INPUT_TOO_LARGE before anything is decoded.
    """
    body = text.strip()
    if body[:5].lower() == "data:":
        head, comma, body = body.partition(",")
        if not comma or not re.fullmatch(r"data:(image/[^;,\s]+)?(;[^;,]*)*;base64", head, re.IGNORECASE):
            raise JobError(Code.INVALID_INPUT, "The data URI must begin with 'data:image/…;base64,'.")
    body = "".join(body.split()).rstrip("=")
    if len(body) * 3 // 4 > limits.bytes:
        raise JobError(Code.INPUT_TOO_LARGE, f"The picture has {len(body) * 3 // 4:,} bytes; {limits.bytes:,} are the limit.")
    if not body:
        raise JobError(Code.INVALID_INPUT, "The base64 text is empty.")
    try:
        standard = body.translate(str.maketrans("-_", "+/")) + "=" * (-len(body) % 4)
        return base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise JobError(Code.INVALID_INPUT, "The text is not base64.") from fault


def letterbox(rgb: Rgb, frame: Frame, side: int, fill: int = 0) -> Rgb:
    """The photo (H, W, 3) in a square of `side` pixels, exactly where `frame.at(side)` puts it, `fill` around it.

    Positions are continuous, so an offset may be a fraction of a pixel; pixels that the photo covers only in part are
    `fill`. Shrinking is antialiased (Lanczos), enlarging bicubic; the aspect is kept.
    """
    square = np.full((side, side, 3), fill, np.uint8)
    return _place(rgb, frame.at(side), square)


def letterbox_gray(gray: Gray, frame: Frame, side: int, fill: int = 0) -> Gray:
    """`letterbox` for one channel, (H, W)."""
    return _place(gray, frame.at(side), np.full((side, side), fill, np.uint8))


def sniff(data: bytes, subject: str = "The picture") -> str:
    """The file's format by its first bytes: a name from `ACCEPTED`. Raises JobError UNSUPPORTED_IMAGE saying what it is."""
    if not data:
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is empty: it has no bytes.")
    for kind, start in _MAGIC:
        if re.match(start, data, re.DOTALL):
            if kind in ACCEPTED:
                return kind
            raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is {kind}; {ACCEPTED} are accepted.")
    raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is of an unknown format; {ACCEPTED} are accepted.")


_MAGIC: tuple[tuple[str, bytes], ...] = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("WebP", rb"RIFF....WEBP"),
    ("AVIF", rb"....ftyp(avif|avis|(mif1|msf1)....(....){0,15}(avif|avis))"),
    ("HEIC", rb"....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)"),
    ("TIFF", rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
    ("BMP", rb"BM"),
    ("a GIF", rb"GIF8"),
    ("a PDF", rb"%PDF"),
    ("a Photoshop document", rb"8BPS"),
    ("a JPEG 2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("a JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("an icon", rb"\0\0[\x01\x02]\0"),
    ("an SVG", rb"\s*(<\?xml[^>]*>\s*)?(<!--.{0,500}?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg"),
    ("a web page", rb"\s*<(!doctype html|!DOCTYPE html|html|HTML|head|body)"),
    ("a video", rb"....ftyp"),
)


def _place(pixels: Rgb | Gray, placed: Frame, square: Rgb | Gray) -> Rgb | Gray:
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = placed.content
    columns, rows = _whole(x0, x1, placed.size), _whole(y0, y1, placed.size)
    box = (
        max(0.0, (columns[0] - x0) / placed.scale),
        max(0.0, (rows[0] - y0) / placed.scale),
        min(float(width), (columns[1] - x0) / placed.scale),
        min(float(height), (rows[1] - y0) / placed.scale),
    )
    how = Image.Resampling.LANCZOS if placed.scale < 1 else Image.Resampling.BICUBIC
    resized = Image.fromarray(pixels).resize((columns[1] - columns[0], rows[1] - rows[0]), how, box)
    square[rows[0] : rows[1], columns[0] : columns[1]] = np.asarray(resized)
    return square


def _whole(start: float, end: float, side: int) -> tuple[int, int]:
    """The pixels that lie fully in [start, end); the one in its middle where there is none (a photo thinner than a pixel)."""
    first, last = max(0, ceil(start - 1e-6)), min(side, floor(end + 1e-6))
    if last > first:
        return first, last
    middle = min(side - 1, floor((start + end) / 2))
    return middle, middle + 1


def _decode(data: bytes, limits: Limits, subject: str, *, managed: bool, min_side: int) -> Decoded:
    if len(data) > limits.bytes:
        raise JobError(Code.INPUT_TOO_LARGE, f"{subject} has {len(data):,} bytes; {limits.bytes:,} are the limit.")
    request = Request(sniff(data, subject), subject, managed, limits.pixels, limits.side, min_side, limits.seconds)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.decoder", as_json(request)],
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
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} takes longer than {limits.seconds:g} s to decode.")
    if child.returncode > 0:
        raise RuntimeError(f"the decoder ended with status {child.returncode}")
    raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} is damaged: decoding it as {request.kind} crashed.")


def _environment() -> dict[str, str]:
    """Just what Python needs: what a stranger's file may take over holds no secrets. The rest saves address space."""
    kept = ("PATH", "LD_LIBRARY_PATH", "HOME", "LANG", "SYSTEMROOT", "VIRTUAL_ENV")
    root = Path(__file__).resolve().parent.parent
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
    return Decoded(rgb, alpha, tuple(head["warnings"]))


def _fill(pipe: IO[bytes], samples: Rgb | Gray) -> bool:
    if not isinstance(pipe, BufferedReader):
        raise TypeError("the decoder's pipe must be buffered")
    return pipe.readinto(samples.data.cast("B")) == samples.nbytes

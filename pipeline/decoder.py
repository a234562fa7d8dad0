"""Bytes of a picture file → upright sRGB, and the child process in which that happens.

A decoder fed by strangers can take for ever, take all memory or crash, and no thread can be stopped from outside.
So `pipeline.photo` runs this module as a process of its own (`python -m pipeline.decoder`), which limits its own
memory and is killed when its time is up. Request: one JSON argument and the file on standard input. Answer: one JSON
line, then the raw samples.
"""

import json
import os
import struct
import sys
import traceback
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import AvifImagePlugin, Image, ImageCms, PngImagePlugin

from pipeline.errors import Code, JobError
from pipeline.values import Gray, Rgb

#: Pillow's plugins for each format that `pipeline.photo.sniff` names; no other parser ever sees the bytes.
PLUGINS = {
    "JPEG": ["JPEG", "MPO"],
    "PNG": ["PNG"],
    "WebP": ["WEBP"],
    "AVIF": ["AVIF"],
    "HEIC": ["HEIF"],
    "TIFF": ["TIFF"],
    "BMP": ["BMP"],
}

#: EXIF orientation (TIFF 6.0, tag 274) → what turns the stored picture upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: A progressive JPEG needs about ten scans; each further one costs a walk over all blocks (the "JPEG of death").
MAX_SCANS = 100

#: A deflated text or profile in a PNG may unpack to this many bytes; editors do write megabytes of history.
MAX_PNG_TEXT = 8 << 20

#: Each thread takes address space, which is limited here; by default AVIF has one for every core.
MAX_THREADS = 4

#: Working memory a pixel that the costliest legal path needs (RGBA with a profile, turned), and what the libraries take.
BYTES_PER_PIXEL, BASE_BYTES = 24, 1 << 30

IGNORED_PROFILE = "PROFILE_IGNORED: the picture's colour profile cannot be used, so its colours were taken as sRGB."


@dataclass(frozen=True, slots=True)
class Request:
    """What to decode: `kind` is a key of `PLUGINS`; `subject` begins the error sentences; `managed`: apply ICC profiles."""

    kind: str
    subject: str
    managed: bool
    pixels: int
    side: int
    min_side: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Decoded:
    """`rgb` (H, W, 3) uint8, sRGB where profiles were applied; `alpha` (H, W) uint8, None where the file has none. Maybe read-only."""

    rgb: Rgb
    alpha: Gray | None
    warnings: tuple[str, ...]


def read(data: bytes, request: Request) -> Decoded:
    """Decode in this very process, without a limit on time or memory. Raises JobError for a picture that is refused."""
    image = _load(data, request)
    image = _upright(image)
    colour, alpha = _channels(image, request.subject)
    warnings: list[str] = []
    if request.managed:
        colour = _to_srgb(colour, image.info.get("icc_profile"), warnings)
    if colour.mode != "RGB":
        colour = colour.convert("RGB")
    if alpha is not None:  # what lies under full transparency is often garbage
        colour.paste((255, 255, 255), mask=Image.fromarray(alpha == 0))
    return Decoded(np.asarray(colour), alpha, tuple(warnings))


def _load(data: bytes, request: Request) -> Image.Image:
    """The first picture of the file, its size checked before its pixels are touched."""
    if request.kind == "HEIC":
        import pillow_heif  # noqa: PLC0415 - costs 40 ms that only HEIC has to pay

        pillow_heif.register_heif_opener()
    if request.kind == "WebP":
        _check_size(*_webp_size(data), request)  # Pillow allocates the canvas while it opens the file
    if request.kind == "JPEG" and data.count(b"\xff\xda") > MAX_SCANS:
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{request.subject} is a JPEG of more than {MAX_SCANS} scans, which no camera writes.")
    try:
        image = Image.open(BytesIO(data), formats=PLUGINS[request.kind])
    except Exception as fault:
        raise _broken(request) from fault
    _check_size(*image.size, request)
    if image.mode in ("I", "F"):
        raise JobError(
            Code.UNSUPPORTED_IMAGE, f"{request.subject} has 32-bit or signed samples, whose white is unknown; send 8 or 16 bits."
        )
    if _misread(image):
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{request.subject} is a TIFF of raw 16-bit planes; save it interleaved or compressed.")
    try:
        image.load()
    except Exception as fault:
        raise _broken(request) from fault
    return image


def _broken(request: Request) -> JobError:
    state = "damaged, cut short or of a rare kind" if request.kind == "TIFF" else "damaged or cut short"
    return JobError(Code.UNSUPPORTED_IMAGE, f"{request.subject} is {state}: it cannot be decoded as {request.kind}.")


def _misread(image: Image.Image) -> bool:
    """Uncompressed TIFF in planes (tag 284) of more than 8 bits: Pillow 13.0 decodes it without complaint, and wrongly."""
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(284) == 2 and tags.get(259, 1) == 1 and max(tags.get(258, (8,))) > 8)


def _check_size(width: int, height: int, request: Request) -> None:
    if max(width, height) > request.side:
        raise JobError(
            Code.INPUT_TOO_LARGE, f"{request.subject} is {width} × {height} pixels; a side may have {request.side:,} pixels at most."
        )
    if width * height > request.pixels:
        raise JobError(Code.INPUT_TOO_LARGE, f"{request.subject} is {width} × {height} pixels; {request.pixels:,} pixels are the limit.")
    if min(width, height) < request.min_side:
        raise JobError(
            Code.UNSUPPORTED_IMAGE, f"{request.subject} is {width} × {height} pixels; {request.min_side} a side are needed at least."
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP from its first chunk (RFC 9649, 2.5 to 2.7); (0, 0) where it is none of the three."""
    chunk, head = data[12:16], data[20:30].ljust(10, b"\0")
    if chunk == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack("<HH", head[6:10])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; an EXIF block that cannot be read says nothing."""
    try:
        orientation = image.getexif().get(274)
    except Exception:  # noqa: BLE001 - the parser's faults are the file's; without a readable orientation the picture is upright
        orientation = None
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = image.info
    return turned


def _channels(image: Image.Image, subject: str) -> tuple[Image.Image, Gray | None]:
    """Colour (mode L, RGB, CMYK or LAB, 8 bits) and alpha of any picture that Pillow decodes."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        grey = image.mode in ("L", "LA")
        both = image.convert("LA" if grey else "RGBA")
        return both.convert("L" if grey else "RGB"), np.asarray(both.getchannel("A"))
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image, None
    if image.mode in ("1", "P", "YCbCr", "RGBX"):
        return image.convert("L" if image.mode == "1" else "RGB"), None
    raise JobError(Code.UNSUPPORTED_IMAGE, f"{subject} has samples of kind {image.mode}, which are not read.")


def _from_16_bit(image: Image.Image) -> tuple[Image.Image, Gray | None]:
    """Grey of 9 to 16 bits to its upper 8, as Pillow does for colour. TIFF says the true depth (tag 258) and whether 0 is white (262)."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    transparent = image.info.get("transparency")
    alpha = np.where(values == transparent, 0, 255).astype(np.uint8) if isinstance(transparent, int) else None
    grey = (values >> max(0, int(tags.get(258, (16,))[0]) - 8)).astype(np.uint8)
    return Image.fromarray(255 - grey if tags.get(262) == 0 else grey), alpha


def _to_srgb(colour: Image.Image, profile: bytes | None, warnings: list[str]) -> Image.Image:
    """Through the embedded profile (relative colorimetric, black point compensated); without one, grey and RGB are sRGB.

    CMYK without a profile is turned by complement, as Pillow and browsers do. A profile that is broken or belongs to
    another kind of picture is left out, with a warning.
    """
    if colour.mode == "LAB":
        return _through(colour, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if not profile:
        return colour
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        fitting = colour.convert("RGB") if space == "RGB" and colour.mode == "L" else colour
        if space == {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[fitting.mode]:
            return _through(fitting, source)
        warnings.append(IGNORED_PROFILE)
    except (OSError, ImageCms.PyCMSError, UnicodeDecodeError):  # the last: a colour space whose name is no ASCII
        warnings.append(IGNORED_PROFILE)
    return colour


def _through(colour: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    target = ImageCms.createProfile("sRGB")
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    converted = ImageCms.profileToProfile(colour, source, target, intent, "RGB", flags=flags)
    if converted is None:
        raise ImageCms.PyCMSError("no picture came back")
    return converted


def confine(request: Request) -> None:
    """Bound this very process for good: memory and time as `request` says, and what the libraries may do by themselves."""
    _limit(request)
    Image.MAX_IMAGE_PIXELS = None  # the request's limits are the stricter ones
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_PNG_TEXT
    AvifImagePlugin.DEFAULT_MAX_THREADS = MAX_THREADS


def _limit(request: Request) -> None:
    """Bound this process's memory and processor time, where the system can (POSIX)."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - does not exist on Windows

    cores = os.cpu_count() or 1
    for kind, wanted in (
        (resource.RLIMIT_AS, request.pixels * BYTES_PER_PIXEL + BASE_BYTES),
        (resource.RLIMIT_CPU, int(request.seconds * cores) + 1),  # should the parent die; its own clock is the stricter one
        (resource.RLIMIT_CORE, 0),
    ):
        already = resource.getrlimit(kind)[1]
        value = wanted if already == resource.RLIM_INFINITY else min(wanted, already)
        resource.setrlimit(kind, (value, value))


def _answer(out: BinaryIO, head: dict[str, object]) -> None:
    out.write(json.dumps(head).encode() + b"\n")


def main() -> None:
    """Answer the one request of this process: `{"size", "alpha", "warnings"}` and samples, `{"code", "sentence"}` or `{"bug"}`."""
    request = Request(**json.loads(sys.argv[1]))
    out = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)  # the C libraries print their warnings to 1 and 2
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    confine(request)
    try:
        decoded = read(sys.stdin.buffer.read(), request)
    except JobError as refusal:
        _answer(out, {"code": refusal.code, "sentence": refusal.sentence})
    except Exception:  # noqa: BLE001 - handed to the parent, which raises it
        _answer(out, {"bug": traceback.format_exc()})
    else:
        height, width = decoded.rgb.shape[:2]
        _answer(out, {"size": [width, height], "alpha": decoded.alpha is not None, "warnings": decoded.warnings})
        out.write(decoded.rgb.data)
        if decoded.alpha is not None:
            out.write(decoded.alpha.data)
    out.flush()


def as_json(request: Request) -> str:
    """The request as the child's one argument."""
    return json.dumps(asdict(request))


if __name__ == "__main__":
    main()

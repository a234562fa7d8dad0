"""Bytes of a picture file → upright sRGB, and the child process in which that happens.

A decoder fed by strangers can take for ever, take all memory or crash, and no thread can be stopped from outside.
So `pipeline.intake.photo` runs this module as a process of its own (`python -m pipeline.intake.decoder`), which limits its own
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
from PIL import AvifImagePlugin, Image, PngImagePlugin

from pipeline.errors import Code, JobError
from pipeline.intake import boxes, color_space, png, tiff, webp
from pipeline.intake.damage import CUT_SHORT, damaged
from pipeline.values import Gray, Rgb

#: Pillow's plugins for each format that `pipeline.intake.photo.sniff` names; no other parser ever sees the bytes.
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

#: A deflated text or profile in a PNG may unpack to this many bytes; editors do write megabytes of history.
MAX_PNG_TEXT = 8 << 20

#: Threads for AVIF, by default one for every core: each takes address space, which is limited here.
MAX_THREADS = 4

#: Working memory a pixel that the costliest legal path needs (RGBA with a profile, turned), and what the libraries take.
BYTES_PER_PIXEL, BASE_BYTES = 24, 1 << 30

#: Formats whose fourth channel is often left zero by programs without alpha: where all of it is zero, it is ignored.
UNUSED_ALPHA = ("BMP", "TIFF")


@dataclass(frozen=True, slots=True)
class Request:
    """What to decode: `kind` is a key of `PLUGINS`; `subject` begins the error sentences; `managed`: convert colours to sRGB.

    `short`: the file ends before its picture does; `cut`: where, as `pipeline.intake.jpeg.Cut` has it (x, y, rows).
    """

    kind: str
    subject: str
    managed: bool
    pixels: int
    side: int
    min_side: int
    seconds: float
    short: bool = False
    cut: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """`rgb` (H, W, 3) uint8, sRGB where colours were converted; `alpha` (H, W) uint8, None where the file has none. Maybe read-only.

    `orientation`: the file's EXIF orientation, by which it was turned.
    """

    rgb: Rgb
    alpha: Gray | None
    warnings: tuple[str, ...]
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A picture as it is stored; `page`: what a TIFF says of it, `short`: rows were missing and are filled."""

    image: Image.Image
    short: bool
    page: tiff.Meant | None = None


def read(data: bytes, request: Request) -> Decoded:
    """Decode in this very process, without a limit on time or memory. Raises JobError for a picture that is refused."""
    loaded = _load(data, request)
    image, exif = loaded.image, _exif(loaded.image)
    orientation = _orientation(exif, loaded.page)
    said = _colours(data, request, loaded, exif)
    image = _upright(image, orientation)
    colour, alpha = _channels(image, request)
    warnings = [CUT_SHORT] if loaded.short else []
    if request.managed:
        colour = color_space.to_srgb(colour, said, warnings)
    if colour.mode != "RGB":
        colour = colour.convert("RGB")
    if alpha is not None:  # what lies under full transparency is often garbage
        colour.paste((255, 255, 255), mask=Image.fromarray(alpha == 0))
    return Decoded(np.asarray(colour), alpha, tuple(warnings), orientation)


def _load(data: bytes, request: Request) -> _Loaded:
    """The picture that is meant, its size checked before its pixels are touched."""
    data, page = _file(data, request)
    try:
        image, short = _webp(data, request) if request.kind == "WebP" else _picture(data, request)
    except JobError:
        raise
    except Exception as fault:
        raise _broken(request) from fault
    return _Loaded(image, short, page)


def _file(data: bytes, request: Request) -> tuple[bytes, tiff.Meant | None]:
    """The file as Pillow is to open it."""
    if request.kind == "HEIC":
        import pillow_heif  # noqa: PLC0415 - costs 40 ms that only HEIC has to pay

        pillow_heif.register_heif_opener()
    if request.kind in ("HEIC", "AVIF"):
        return boxes.of_a_known_brand(data, request.kind), None
    if request.kind == "TIFF":
        page = tiff.meant(data, request.subject)
        return page.data, page
    return data, None


def _picture(data: bytes, request: Request) -> tuple[Image.Image, bool]:
    """The picture, its samples decoded, and whether rows at its end were missing, which are filled."""
    image = _opened(data, request)
    _check_size(*image.size, request)
    if image.mode in ("I", "F"):
        raise JobError(
            Code.UNSUPPORTED_IMAGE, f"{request.subject} has 32-bit or signed samples, whose white is unknown; send 8 or 16 bits."
        )
    if _misread(image):
        raise JobError(Code.UNSUPPORTED_IMAGE, f"{request.subject} is a TIFF of raw 16-bit planes; save it interleaved or compressed.")
    if request.kind in ("HEIC", "AVIF") and boxes.has_hole(data):
        raise damaged(request.subject, request.kind)
    short = request.short
    if request.kind == "PNG":
        whole = png.whole(data, request.subject)
        image, short = (image if whole.data is data else _opened(whole.data, request)), whole.short
    image.load()
    if request.kind == "TIFF" and image.mode == "RGBA" and not np.asarray(image.getchannel("A")).any():
        image = _opened(tiff.with_straight_alpha(data), request)
    if request.cut is not None:
        _fill(image, *request.cut)
    return image, short


def _webp(data: bytes, request: Request) -> tuple[Image.Image, bool]:
    """The same for a WebP, which Pillow cannot even open where bytes are missing."""
    _check_size(*_webp_size(data), request)  # and Pillow allocates the canvas while it opens the file

    def opened(file: bytes) -> Image.Image:
        image = _opened(file, request)
        image.load()
        return image

    image, row = webp.loaded(data, request.subject, opened)
    if row < image.height:
        _fill(image, 0, row, 0)
    return image, row < image.height


def _opened(data: bytes, request: Request) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=PLUGINS[request.kind])
    except Exception as fault:
        raise _broken(request) from fault


def _fill(image: Image.Image, x: int, y: int, rows: int) -> None:
    """Repeat what lies above over what is missing: from row `y + rows` on, and of the `rows` before it from column `x` on.

    The row next to the edge is left out: chroma that was interpolated over it has the decoder's grey in it.
    """
    width, height = image.size
    if y < 2:
        return
    for box in ((x, y, width, min(height, y + rows)), (0, min(height, y + rows), width, height)):
        if box[2] > box[0] and box[3] > box[1]:
            above = image.crop((box[0], y - 2, box[2], y - 1))
            image.paste(above.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.NEAREST), box)


def _broken(request: Request) -> JobError:
    state = "damaged, cut short or of a rare kind" if request.kind in ("TIFF", "HEIC") else "damaged or cut short"
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


def _exif(image: Image.Image) -> Image.Exif:
    """The picture's EXIF; an empty one where it cannot be read."""
    try:
        exif = image.getexif()
        exif.get(274), exif.get_ifd(0x8769), exif.get_ifd(0xA005)
    except Exception:  # noqa: BLE001 - the parser's faults are the file's; without a readable EXIF the picture is upright sRGB
        return Image.Exif()
    return exif


def _orientation(exif: Image.Exif, page: tiff.Meant | None) -> int:
    """The EXIF orientation, 1..8; a page that says none has that of the first."""
    said = exif.get(274) or (page.orientation if page else None)
    return said if isinstance(said, int) and said in UPRIGHT else 1


def _colours(data: bytes, request: Request, loaded: _Loaded, exif: Image.Exif) -> color_space.Said:
    """What the file says of its colours, in the order of its format."""
    profile = loaded.image.info.get("icc_profile") or (loaded.page.profile if loaded.page else None)
    said = color_space.Said(profile)
    if request.kind == "PNG":
        said = color_space.by_png(png.colour_chunks(data), profile)
    elif request.kind in ("HEIC", "AVIF") and not profile and (numbers := boxes.nclx(data)):
        said = color_space.by_number(numbers)
    return color_space.by_exif(exif) if said == color_space.Said() else said


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turned as its EXIF orientation says."""
    turn = UPRIGHT.get(orientation)
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = image.info
    return turned


def _channels(image: Image.Image, request: Request) -> tuple[Image.Image, Gray | None]:
    """Colour (mode L, RGB, CMYK or LAB, 8 bits) and alpha of any picture that Pillow decodes."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        grey = image.mode in ("L", "LA")
        both = image.convert("LA" if grey else "RGBA")
        alpha = np.asarray(both.getchannel("A"))
        unused = request.kind in UNUSED_ALPHA and not alpha.any()
        return both.convert("L" if grey else "RGB"), None if unused else alpha
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image, None
    if image.mode in ("1", "P", "YCbCr", "RGBX"):
        return image.convert("L" if image.mode == "1" else "RGB"), None
    raise JobError(Code.UNSUPPORTED_IMAGE, f"{request.subject} has samples of kind {image.mode}, which are not read.")


def _from_16_bit(image: Image.Image) -> tuple[Image.Image, Gray | None]:
    """Grey of 9 to 16 bits to its upper 8, as Pillow does for colour. TIFF says the true depth (tag 258) and whether 0 is white (262)."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    transparent = image.info.get("transparency")
    alpha = np.where(values == transparent, 0, 255).astype(np.uint8) if isinstance(transparent, int) else None
    grey = (values >> max(0, int(tags.get(258, (16,))[0]) - 8)).astype(np.uint8)
    return Image.fromarray(255 - grey if tags.get(262) == 0 else grey), alpha


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
        (resource.RLIMIT_CPU, int(request.seconds * cores) + 1),  # in case the parent dies; its own clock is the stricter one
        (resource.RLIMIT_CORE, 0),
    ):
        already = resource.getrlimit(kind)[1]
        value = wanted if already == resource.RLIM_INFINITY else min(wanted, already)
        resource.setrlimit(kind, (value, value))


def _answer(out: BinaryIO, head: dict[str, object]) -> None:
    out.write(json.dumps(head).encode() + b"\n")


def main() -> None:
    """Answer the one request of this process: `{"size", "alpha", "warnings", "orientation"}` and samples, `{"code", "sentence"}`, or
    `{"bug"}`."""
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
        told = {"alpha": decoded.alpha is not None, "warnings": decoded.warnings, "orientation": decoded.orientation}
        _answer(out, {"size": [width, height], **told})
        out.write(decoded.rgb.data)
        if decoded.alpha is not None:
            out.write(decoded.alpha.data)
    out.flush()


def as_json(request: Request) -> str:
    """The request as the child's one argument."""
    return json.dumps(asdict(request))


if __name__ == "__main__":
    main()

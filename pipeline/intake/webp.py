"""Whether a WebP's samples are whole (RFC 9649 for the container; RFC 6386 and RFC 9649, 3, for what is coded in it).

Neither coding has a checksum, and libwebp does not tell how far it came. So its pictures are compared: rows that come out the same with
different bytes in the place of the missing ones were coded in the bytes that are there. And since libwebp refuses data that ends before the
last pixel, it must refuse a whole file without its last bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.intake.damage import MAY_MISS, cut_short, damaged
from pipeline.values import Mask

#: So many zeros at the end may be a hole in the file, or padding, if the picture does not need all of them.
_HOLE = 32

#: A decoder needs all of the coded bytes but the last two or three; one that does without so many has lost its way.
_UNUSED = 16

#: Values that stand in for missing bytes, and how many more of them follow, because libwebp refuses data that ends too soon.
_FILLERS, _MORE = (b"\0", b"\xff", b"\x55", b"\xc6", b"\x92\x49\x24", b"\x6d\xdb\xb6"), 1000

Open = Callable[[bytes], Image.Image]


@dataclass(frozen=True, slots=True)
class _Coded:
    """Where the first frame's samples lie: `start`, `size` as the file says, `there` bytes until the file or what is in it ends."""

    start: int
    size: int
    there: int
    frame: int  # where its ANMF chunk begins, 0 in a file without frames


def loaded(data: bytes, subject: str, opened: Open) -> tuple[Image.Image, int]:
    """The first frame, and the first of its rows that are missing (its height where none is). `opened` decodes a file or raises.

    Raises JobError UNSUPPORTED_IMAGE: damaged, or more than `MAY_MISS` of the pixels are missing; else what `opened` raises.
    """
    coded = _coded(data)
    if coded is None or coded.size < 2 * _UNUSED:
        image = opened(data)
        return image, image.height
    whole = _whole(data, coded, opened)
    if whole is not None:
        return whole, whole.height
    if coded.there == coded.size:
        raise damaged(subject, "WebP")
    if coded.there < (1 - MAY_MISS) * coded.size:
        raise cut_short(subject, 1 - coded.there / coded.size)
    body, missing = data[coded.start : coded.start + coded.there], coded.size - coded.there + _MORE
    tries = [_tried(data, coded, body + (filler * missing)[:missing], opened) for filler in _FILLERS]
    images = [image for image in tries if image is not None]
    if len(images) < 2:
        raise damaged(subject, "WebP")
    differing = _differing(images)
    if not differing.any():
        if coded.start + coded.size > len(data) and coded.size - coded.there > _UNUSED:
            raise damaged(subject, "WebP")  # bytes are missing, but not at the end
        return images[0], images[0].height
    if differing.mean() > MAY_MISS:
        raise cut_short(subject, float(differing.mean()))
    return images[0], int(differing.any(1).argmax())


def _coded(data: bytes) -> _Coded | None:
    at, frame, end = 12, 0, len(data)
    while at + 8 <= end:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            body = data[at + 8 : at + 8 + size]
            filled = len(body.rstrip(b"\0"))
            return _Coded(at + 8, size, filled if len(body) - filled >= _HOLE else len(body), frame)
        if name == b"ANMF":  # a frame's own chunks stand behind its head
            frame, at = at, at + 8 + 16
        else:
            at += 8 + size + size % 2
    return None


def _whole(data: bytes, coded: _Coded, opened: Open) -> Image.Image | None:
    """The picture, if it is decoded from all of its coded bytes and no fewer; what `opened` raises is passed on where none can be missing.

    To be asked before zeros at the end count as a hole: a plain margin is coded as hundreds of them.
    """
    if coded.start + coded.size > len(data):
        return None
    image = opened(data) if coded.there == coded.size else _tried(data, coded, data[coded.start : coded.start + coded.size], opened)
    if image is None or _tried(data, coded, data[coded.start : coded.start + coded.size - _UNUSED], opened) is not None:
        return None
    return image


def _tried(data: bytes, coded: _Coded, body: bytes, opened: Open) -> Image.Image | None:
    """The picture with other coded bytes, the sizes made to fit; None where libwebp refuses it, as it does what ends too soon."""
    body += bytes(len(body) % 2)
    rest = data[coded.start + coded.size + coded.size % 2 :]
    changed = bytearray(data[: coded.start] + body + rest)
    added = len(body) - coded.size - coded.size % 2
    sizes = [(4, len(changed) - 8), (coded.start - 4, len(body))]
    if coded.frame:
        sizes.append((coded.frame + 4, int.from_bytes(data[coded.frame + 4 : coded.frame + 8], "little") + added))
    for place, size in sizes:
        changed[place : place + 4] = size.to_bytes(4, "little")
    try:
        return opened(bytes(changed))
    except Exception:  # noqa: BLE001 - an arbitrary filler need not be decodable
        return None


def _differing(images: list[Image.Image]) -> Mask:
    """Where the pictures, all of one size, are not all equal."""
    first, *others = [np.asarray(image.convert("RGB")) for image in images]
    return np.asarray(np.logical_or.reduce([(other != first).any(-1) for other in others]))

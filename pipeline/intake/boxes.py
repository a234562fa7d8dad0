"""What the boxes of an ISO base media file say of the picture in it: HEIC and AVIF (ISO/IEC 14496-12, 23008-12).

libheif and libavif turn samples into R'G'B' by the matrix that the file says; what colours these are is left to the caller.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

#: The major brands by which Pillow's plugins for libheif and libavif know a file.
_HEIC = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"])
_AVIF = frozenset([b"avif", b"avis"])
_GENERAL = frozenset([b"mif1", b"msf1"])

#: Brands of further pictures and profiles of them (ISO/IEC 23008-12), for some of which libheif has a decoder.
_RARE = frozenset(
    [b"mif2", b"mif3", b"miaf", b"1pic", b"MiHB", b"MiHA", b"MiHE", b"MiPr", b"MiAB", b"MiAn", b"MiCm", b"geo1", b"unif", b"avci"]
).union([b"avcs", b"jpeg", b"jpgs", b"j2ki", b"j2is", b"vvic", b"vvis", b"evbi", b"evbs"])

#: Major brands of films and sound begin so.
_FILMS = (b"iso", b"mp4", b"avc", b"qt", b"M4", b"m4", b"3g", b"dash", b"cmf", b"f4v", b"mmp4", b"MSNV", b"NDS", b"hvc", b"av01", b"dby")

#: So many zeros in a row do not come out of an entropy coder.
_HOLE = bytes(64)


@dataclass(frozen=True, slots=True)
class Nclx:
    """Colour primaries and transfer characteristics by their numbers in ITU-T H.273."""

    primaries: int
    transfer: int


def brands(data: bytes) -> list[bytes]:
    """The brands of the file, its major one first; none where it begins with no file type box."""
    if data[4:8] != b"ftyp":
        return []
    size = int.from_bytes(data[:4])
    compatible = data[16 : min(size, 16 + 4 * 60)]
    return [data[8:12], *(compatible[i : i + 4] for i in range(0, len(compatible) - 3, 4))]


def kind_of(data: bytes) -> str | None:
    """AVIF or HEIC, what else it is, or None where that cannot be told from its brands."""
    found = brands(data)
    if not found:
        return None
    major, every = found[0], set(found)
    if b"crx " in every:
        return "Canon CR3"
    if major in _AVIF or (major not in _HEIC and every & _AVIF):
        return "AVIF"
    if every & (_HEIC | _GENERAL | _RARE):
        return "HEIC"
    return "a video" if major.startswith(_FILMS) else None


def of_a_known_brand(data: bytes, kind: str) -> bytes:
    """The file under a brand of its kind that the decoders know, where its own major brand is a rare one."""
    if data[8:12] in _GENERAL | (_AVIF if kind == "AVIF" else _HEIC):
        return data
    return data[:8] + (b"avif" if kind == "AVIF" else b"mif1") + data[12:]


def nclx(data: bytes) -> Nclx | None:
    """The colours of the primary picture as its `colr` box says them by number; None where it does not.

    A picture that is composed of tiles may leave it to them. Boxes that cannot be read give None.
    """
    try:
        return _nclx(data)
    except (struct.error, IndexError, ValueError):
        return None


def _nclx(data: bytes) -> Nclx | None:
    meta = next((body[4:] for name, body in _boxes(data) if name == b"meta"), b"")
    inside = dict(_boxes(meta))
    properties = dict(_boxes(inside.get(b"iprp", b"")))
    colours = [_colour(body) if name == b"colr" else None for name, body in _boxes(properties.get(b"ipco", b""))]
    primary = inside.get(b"pitm", b"")
    item = int.from_bytes(primary[4:8] if primary[:1] == b"\1" else primary[4:6])
    said = _associated(properties.get(b"ipma", b""))
    wanted = said.get(item, [])
    found = [colours[i - 1] for i in wanted if 0 < i <= len(colours)]
    of_any = [colour for colour in colours if colour is not None]
    return next((colour for colour in found if colour is not None), of_any[0] if len(set(of_any)) == 1 else None)


def has_hole(data: bytes) -> bool:
    """Whether a coded picture in the file has a hole: zeros in a row that no entropy coder writes (HEVC's data has never three of them).

    Broken transfers leave such holes, and libheif and libavif draw over them as they can. Boxes that cannot be read count as without holes.
    """
    try:
        inside = dict(_boxes(next((body[4:] for name, body in _boxes(data) if name == b"meta"), b"")))
        coded = _coded_items(inside.get(b"iinf", b""))
        places = [place for item, place in _extents(inside.get(b"iloc", b"")) if item in coded]
    except (struct.error, IndexError, ValueError):
        return False
    return any(data.find(_HOLE, start, start + size) >= 0 for start, size in places)


def _coded_items(body: bytes) -> set[int]:
    """The items that are pictures coded in HEVC or AV1 (14496-12, 8.11.6)."""
    found = set()
    for name, entry in _boxes(body[8 if body[:1] != b"\0" else 6 :]):
        wide = 4 if entry[0] >= 3 else 2
        if name == b"infe" and entry[0] >= 2 and entry[4 + wide + 2 : 4 + wide + 6] in (b"hvc1", b"av01"):
            found.add(int.from_bytes(entry[4 : 4 + wide]))
    return found


def _extents(body: bytes) -> Iterator[tuple[int, tuple[int, int]]]:
    """Item → (place in the file, bytes) of each piece of it (14496-12, 8.11.3)."""
    version, sizes = body[0], (body[4] >> 4, body[4] & 15, body[5] >> 4, body[5] & 15 if body[0] else 0)
    at, wide = 6, 4 if version > 1 else 2

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(body[at - size : at])

    for _ in range(min(number(wide), len(body))):
        item, method = number(wide), number(2) & 15 if version else 0
        number(2)
        base = number(sizes[2])
        for _ in range(min(number(2), len(body))):
            number(sizes[3])
            place = base + number(sizes[0]), number(sizes[1])
            if method == 0:
                yield item, place


def _colour(body: bytes) -> Nclx | None:
    return Nclx(*struct.unpack(">HH", body[4:8])) if body[:4] in (b"nclx", b"nclc") else None


def _associated(body: bytes) -> dict[int, list[int]]:
    """Item → numbers of its properties, from 1 (23008-12, 9.3.1)."""
    if len(body) < 8:
        return {}
    version, wide = body[0], body[3] & 1
    at, found = 8, {}
    for _ in range(min(int.from_bytes(body[4:8]), len(body))):
        size = 2 if version < 1 else 4
        item, count = int.from_bytes(body[at : at + size]), body[at + size]
        at += size + 1
        step = 2 if wide else 1
        entries = body[at : at + count * step]
        found[item] = [int.from_bytes(entries[i : i + step]) & (0x7FFF if wide else 0x7F) for i in range(0, len(entries), step)]
        at += count * step
    return found


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each box of one level."""
    at = 0
    while at + 8 <= len(data):
        size, name, head = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16]), 16
        elif size == 0:
            size = len(data) - at
        if size < head:
            return
        yield name, data[at + head : at + size]
        at += size

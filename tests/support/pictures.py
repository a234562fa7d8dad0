"""Pictures of every kind, good and bad, built in memory: for tests of the intake and of whatever stands behind it."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pillow_heif
from PIL import Image

from pipeline.errors import Code
from pipeline.values import Rgb

pillow_heif.register_heif_opener()

RED, GREEN, BLUE, GREY = (220, 20, 20), (20, 200, 20), (20, 20, 220), (180, 180, 180)


def quarters(width: int = 96, height: int = 72) -> Rgb:
    """Red, green / blue, grey: any turn or flip of it can be told from any other."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2], rgb[: height // 2, width // 2 :] = RED, GREEN
    rgb[height // 2 :, : width // 2], rgb[height // 2 :, width // 2 :] = BLUE, GREY
    return rgb


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as Pillow writes it."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def encoded(kind: str, width: int = 96, height: int = 72) -> bytes:
    """`quarters` in a format of Pillow's, nearly or fully lossless."""
    options: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 95, "subsampling": "4:4:4"},
        "HEIF": {"quality": 95, "chroma": 444},
    }
    return save(Image.fromarray(quarters(width, height)), kind, **options.get(kind, {}))


def png_chunk(name: bytes, body: bytes) -> bytes:
    """One PNG chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, bits: int, color_type: int, rows: bytes | None = None, extra: bytes = b"") -> bytes:
    """A PNG of unfiltered `rows` (each without its filter byte), `extra` chunks before the samples; all zero without rows."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color_type]
    stride = (width * bits * channels + 7) // 8
    rows = bytes(stride) if rows is None else rows
    lines = b"".join(b"\0" + rows[i : i + stride] for i in range(0, len(rows), max(stride, 1)))
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(lines)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + extra + body


def deflate_bomb(megabytes: int = 32) -> bytes:
    """Zeros, deflated: about a thousandth of their size."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


def jpeg_of_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each repetition costs a walk over the whole picture."""
    plain = save(Image.new("L", (width, height), 90), "JPEG", progressive=True)
    last = plain.rindex(b"\xff\xc4", 0, plain.rindex(b"\xff\xda"))
    return plain[:last] + plain[last:-2] * scans + b"\xff\xd9"


def tiff(entries: dict[int, tuple[int, int, int]], body: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF of one directory: tag → (type, count, value or offset); `following` points to the next directory."""
    rows = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", following) + body


def tiff_head(width: int, height: int, **more: int) -> dict[int, tuple[int, int, int]]:
    """The directory of a grey 8-bit TIFF in one strip."""
    entries = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    return entries | {273: (4, 1, 200), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, width * height & 0xFFFFFFFF)}


def webp_canvas(width: int, height: int) -> bytes:
    """A WebP that is all canvas: an extended header and nothing in it."""
    head = b"VP8X" + struct.pack("<II", 10, 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(head)) + b"WEBP" + head


def bmp(width: int, height: int) -> bytes:
    """A 24-bit BMP's header, without samples."""
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def matrix_profile(gamma: float, space: bytes = b"RGB ", primaries: tuple[tuple[float, float, float], ...] = ()) -> bytes:
    """A version 2 ICC profile: grey with a gamma, or RGB with primaries (XYZ under D50, a row each) and a gamma."""
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + b"\0\0"
    tags = {b"wtpt": _xyz(0.9642, 1.0, 0.8249)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    for name, primary in zip(b"rgb", primaries, strict=False):
        tags[bytes([name]) + b"XYZ"], tags[bytes([name]) + b"TRC"] = _xyz(*primary), curve
    return _profile(space, b"XYZ ", tags)


def cmyk_profile() -> bytes:
    """A version 2 CMYK profile that no press has: paper is white, cyan ink prints red, all else black."""
    white, red, black = (255, 128, 128), (135, 208, 195), (0, 128, 128)  # Lab, 8 bits
    corners = [black] * 16
    corners[0b0000], corners[0b1000] = white, red
    identity = struct.pack(">9i", *(65536 * v for v in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    ramp = bytes(range(256))
    table = b"mft1" + struct.pack(">IBBBB", 0, 4, 3, 2, 0) + identity + ramp * 4 + bytes(v for c in corners for v in c) + ramp * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table, b"wtpt": _xyz(0.9642, 1.0, 0.8249)})


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79), b"cprt": b"text\0\0\0\0none\0"} | tags
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", start + len(body), b"lcms", 0x02400000) + kind + space + connection
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acspMSFT" + bytes(24) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def _bad() -> list[tuple[str, bytes, Code]]:
    unsupported, large = Code.UNSUPPORTED_IMAGE, Code.INPUT_TOO_LARGE
    whole = {kind: encoded(kind) for kind in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP")}
    rgba = np.zeros((72, 96, 4), np.uint8)
    loop = tiff(tiff_head(70000, 70000), following=8)
    broken_sum = bytearray(whole["PNG"])
    broken_sum[-20] ^= 0xFF
    icc = png_chunk(b"iCCP", b"p\0\0" + deflate_bomb())
    text = png_chunk(b"zTXt", b"t\0\0" + deflate_bomb())
    sof = whole["JPEG"].index(b"\xff\xc0")
    giant = whole["JPEG"][: sof + 5] + b"\xff\xff\xff\xff" + whole["JPEG"][sof + 9 :]
    busy = Image.fromarray(np.random.default_rng(2).integers(0, 256, (180, 240, 3)).astype(np.uint8))
    jpeg, deep, webp, heic = save(busy, "JPEG"), save(busy, "PNG"), save(busy, "WEBP", quality=90), save(busy, "HEIF", quality=90)
    mosaic = tiff(tiff_head(640, 480) | {262: (3, 1, 32803)}, bytes(640 * 480 + 200))
    return [
        ("JPEG, cut in half and ended", jpeg[: len(jpeg) // 2] + b"\xff\xd9", unsupported),
        ("JPEG with a hole", jpeg[:9000] + bytes(4096) + jpeg[13096:], unsupported),
        ("JPEG, a piece of it lost", jpeg[:9000] + jpeg[13096:], unsupported),
        ("JPEG, line ends converted", jpeg[:800] + jpeg[800:].replace(b"\n", b"\r\n"), unsupported),
        ("PNG with a hole", deep[:9000] + bytes(4096) + deep[13096:], unsupported),
        ("PNG, line ends converted", deep.replace(b"\r\n", b"\n"), unsupported),
        ("WebP with a tail of zeros", webp[: len(webp) // 2] + bytes(len(webp) - len(webp) // 2), unsupported),
        ("HEIC with a hole", heic[:9000] + bytes(4096) + heic[13096:], unsupported),
        ("camera raw, a TIFF", mosaic, unsupported),
        ("camera raw, CR2", b"II*\0\x10\0\0\0CR\2\0" + bytes(99), unsupported),
        ("camera raw, CR3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(99), unsupported),
        ("empty", b"", unsupported),
        ("one byte", b"\xff", unsupported),
        ("noise", np.random.default_rng(1).bytes(4096), unsupported),
        ("plain text", b"not a picture at all", unsupported),
        ("a web page", b"<!doctype html><html><body>404</body></html>", unsupported),
        ("an SVG", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', unsupported),
        ("a PDF", b"%PDF-1.7\n%", unsupported),
        ("a GIF", save(Image.fromarray(quarters()), "GIF"), unsupported),
        ("an icon", save(Image.fromarray(quarters()), "ICO"), unsupported),
        ("a Photoshop document", b"8BPS\0\1" + bytes(100), unsupported),
        ("JPEG 2000", save(Image.fromarray(quarters()), "JPEG2000"), unsupported),
        ("JPEG XL", b"\xff\x0a" + bytes(64), unsupported),
        ("a video", b"\0\0\0\x20ftypisom" + bytes(64), unsupported),
        *((f"half a {kind}", data[: len(data) // 2], unsupported) for kind, data in whole.items()),
        *((f"the first 32 bytes of a {kind}", data[:32], unsupported) for kind, data in whole.items()),
        ("PNG with a wrong checksum", bytes(broken_sum), unsupported),
        ("PNG without width", png(0, 72, 8, 2), unsupported),
        ("PNG, one pixel", png(1, 1, 8, 2), unsupported),
        ("PNG, 63 pixels high", png(640, 63, 8, 0, bytes(640 * 63)), unsupported),
        ("PNG, fully transparent", save(Image.fromarray(rgba, "RGBA"), "PNG"), unsupported),
        ("PNG, deflate bomb", png(60, 60, 8, 2, bytes(1 << 24)), unsupported),
        ("PNG, profile bomb", png(96, 72, 8, 0, bytes(96 * 72), icc), unsupported),
        ("PNG, text bomb", png(96, 72, 8, 0, bytes(96 * 72), text), unsupported),
        ("PNG, a side of two billion", png(0x7FFFFFFF, 100, 1, 0, b"\0"), large),
        ("PNG, 29000 pixels squared", png(29000, 29000, 8, 6), large),
        ("JPEG, 65535 pixels squared", giant, large),
        ("JPEG of 3000 scans", jpeg_of_scans(96, 72, 3000), unsupported),
        ("WebP, a canvas of 16 million squared", webp_canvas(1 << 24, 1 << 24), large),
        ("WebP, an empty canvas", webp_canvas(640, 480), unsupported),
        ("BMP, 40000 pixels squared", bmp(40000, 40000), large),
        ("BMP without samples", bmp(640, 480), unsupported),
        ("TIFF, 70000 pixels squared, directory in a loop", loop, large),
        ("TIFF without samples", tiff(tiff_head(640, 480)), unsupported),
        ("TIFF, a strip far outside", tiff(tiff_head(640, 480) | {273: (4, 1, 0xFFFFFFF0)}), unsupported),
        ("TIFF, four billion strips", tiff(tiff_head(640, 480) | {273: (4, 0xFFFFFFFF, 8), 279: (4, 0xFFFFFFFF, 8)}), unsupported),
        ("TIFF of floats", save(Image.new("F", (96, 72), 0.5), "TIFF"), unsupported),
        ("TIFF of 32-bit integers", save(Image.new("I", (96, 72), 70000), "TIFF"), unsupported),
    ]


#: (what it is, the file, the code that `pipeline.intake.photo.decode` refuses it with under the default limits).
BAD_PICTURES = _bad()

"""Pictures that have to be decoded, each as it should come out: many formats, and many ways in which sound files are written."""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageOps

from pipeline.values import Rgb
from tests.support.pictures import png, png_chunk, save


@dataclass(frozen=True, slots=True)
class Good:
    """`data` decodes to `rgb`, every sample within `tolerance`, with warnings of these codes."""

    name: str
    data: bytes
    rgb: Rgb
    tolerance: int
    warnings: tuple[str, ...] = ()


def scenery(width: int = 96, height: int = 72) -> Rgb:
    """Smooth in all three channels, so that every coder keeps it, and of another colour at every place."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.dstack([30 + 190 * x, 40 + 170 * y, 60 + 120 * (1 - x) * y]).round().astype(np.uint8)


def tif(samples: np.ndarray, **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, samples, **options)
    return file.getvalue()


def adam7(rgb: Rgb) -> bytes:
    """An interlaced PNG (W3C PNG, 8.2)."""
    height, width = rgb.shape[:2]
    rows = b""
    for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        rows += b"".join(b"\0" + row.tobytes() for row in rgb[y::dy, x::dx] if row.size)
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of samples of fewer than 8 bits, the first in the highest bits, each row filled up to a byte."""
    wide = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
    return np.packbits(wide.reshape(len(values), -1), axis=1).tobytes()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[274] = orientation
    return block


def turned(rgb: Rgb, orientation: int) -> Rgb:
    """By Pillow's own hand, another than ours."""
    image = Image.fromarray(rgb)
    image.info["exif"] = exif(orientation).tobytes()
    image.getexif()[274] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def video(size: int = 60_000) -> bytes:
    """What a motion photograph has behind its end: a film, in which every marker occurs."""
    return (
        b"MotionPhoto_Data" + struct.pack(">I", 24) + b"ftypmp42\0\0\0\0isommp42" + np.random.default_rng(1).bytes(size) + b"\xff\xda" * 200
    )


def cv(rgb: Rgb, kind: str, *options: int) -> bytes:
    return cv2.imencode(kind, rgb[..., ::-1], list(options))[1].tobytes()


def bmp32(rgb: Rgb, alpha: int, masks: bool) -> bytes:
    """A 32-bit BMP, with or without a mask for its fourth byte."""
    height, width = rgb.shape[:2]
    samples = np.dstack([rgb[::-1, :, ::-1], np.full((height, width), alpha, np.uint8)]).tobytes()
    fields = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48) if masks else b""
    head = struct.pack("<IiiHHIIiiII", 40 + len(fields), width, height, 1, 32, 3 if masks else 0, len(samples), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 14 + len(head + fields) + len(samples), 0, 0, 14 + len(head + fields)) + head + fields + samples


def bmp16(rgb: Rgb, masks: tuple[int, int, int] | None) -> tuple[bytes, Rgb]:
    """A 16-bit BMP (5-5-5, or by its masks 5-6-5), and what it can hold of the picture."""
    bits = (5, 6, 5) if masks else (5, 5, 5)
    codes = [np.round(rgb[..., i] / 255 * (2 ** bits[i] - 1)).astype(np.uint16) for i in range(3)]
    value = codes[0] << (bits[1] + bits[2]) | codes[1] << bits[2] | codes[2]
    height, width = rgb.shape[:2]
    fields = struct.pack("<3I", *masks) if masks else b""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 16, 3 if masks else 0, value.nbytes, 2835, 2835, 0, 0)
    start = 14 + len(head + fields)
    held = np.dstack([np.round(code / (2**b - 1) * 255) for code, b in zip(codes, bits, strict=True)]).astype(np.uint8)
    return b"BM" + struct.pack("<IHHI", start + value.nbytes, 0, 0, start) + head + fields + value[::-1].astype("<u2").tobytes(), held


def bmp_rle(grey: np.ndarray) -> bytes:
    """An 8-bit BMP in runs (BI_RLE8)."""
    height, width = grey.shape
    body = b"".join(b"".join(bytes([1, v]) for v in row) + b"\0\0" for row in grey[::-1].tolist()) + b"\0\1"
    palette = b"".join(bytes([v, v, v, 0]) for v in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 2835, 2835, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(body), 0, 0, 54 + 1024) + head + palette + body


def jpegs(rgb: Rgb) -> Iterator[Good]:
    image, grey = Image.fromarray(rgb), Image.fromarray(rgb).convert("L")
    plain = save(image, "JPEG", quality=95, subsampling=0)
    greys = np.dstack([np.asarray(grey)] * 3)
    for name, options in (
        ("baseline, 4:4:4", {"subsampling": 0}), ("baseline, 4:2:2", {"subsampling": 1}), ("baseline, 4:2:0", {"subsampling": 2}),
        ("progressive", {"progressive": True}), ("progressive, 4:4:4", {"progressive": True, "subsampling": 0}),
        ("own tables", {"optimize": True}), ("a comment", {"comment": b"\xff\xda\xff\xd9" * 200}),
        ("nothing quantised", {"qtables": [[1] * 64, [1] * 64]}),
        ("restarts by rows", {"restart_marker_rows": 1}), ("restarts by blocks", {"restart_marker_blocks": 1}),
        ("progressive with restarts", {"restart_marker_blocks": 3, "progressive": True}), ("RGB", {"keep_rgb": True}),
    ):  # fmt: skip
        yield Good(f"JPEG, {name}", save(image, "JPEG", **{**({} if "qtables" in options else {"quality": 95}), **options}), rgb, 9)
    for name, factor in (("4:1:1", 0x411111), ("4:4:0", 0x121111)):
        yield Good(f"JPEG, {name}", cv(rgb, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor), rgb, 14)
    for name, options in (("", {}), (", progressive", {"progressive": True})):
        yield Good(f"JPEG, grey{name}", save(grey, "JPEG", quality=95, **options), greys, 5)
    odd = scenery(101, 67)
    for name, options in (("", {}), (", progressive", {"progressive": True}), (", restarts", {"restart_marker_blocks": 2})):
        yield Good(f"JPEG, sides of no whole blocks{name}", save(Image.fromarray(odd), "JPEG", quality=95, **options), odd, 9)
    ink = Image.fromarray(np.dstack([255 - rgb, np.zeros(rgb.shape[:2], np.uint8)]), "CMYK")
    yield Good("JPEG, CMYK", save(ink, "JPEG", quality=95, subsampling=0), rgb, 9, ("COLOUR_SPACE_ASSUMED",))
    for orientation in range(1, 9):
        data = save(image, "JPEG", quality=95, exif=exif(orientation))
        yield Good(f"JPEG, turned by {orientation}", data, turned(rgb, orientation), 9)
    for name, behind in (
        ("zeros", bytes(5000)), ("a film", video()), ("another JPEG", plain), ("a few bytes", b"\r\n"), ("half a marker", b"\xff"),
    ):  # fmt: skip
        yield Good(f"JPEG with {name} behind its end", plain + behind, rgb, 9)
    yield Good("JPEG, several pictures (MPF)", save(image, "MPO", quality=95, save_all=True, append_images=[grey.convert("RGB")]), rgb, 9)
    for name, before in (("fill", b"\xff" * 300), ("zeros", bytes(300)), ("stray bytes", b"\x12\x34\x56")):
        yield Good(f"JPEG with {name} before its end marker", plain[:-2] + before + b"\xff\xd9", rgb, 9)
    yield Good("JPEG without its end marker", plain[:-2], rgb, 9)
    thumbnail = save(image.resize((48, 36)), "JPEG")
    inside = b"\xff\xe1" + struct.pack(">H", 2 + 6 + len(thumbnail)) + b"junk\0\0" + thumbnail
    yield Good("JPEG with another JPEG in a segment", plain[:2] + inside + plain[2:], rgb, 9)


def pngs(rgb: Rgb) -> Iterator[Good]:
    image = Image.fromarray(rgb)
    height, width = rgb.shape[:2]
    grey = np.asarray(image.convert("L"))
    for bits in (1, 2, 4, 8):
        values = grey >> (8 - bits)
        shown = np.dstack([(values * (255 // (2**bits - 1))).astype(np.uint8)] * 3)
        yield Good(f"PNG, grey of {bits} bits", png(width, height, bits, 0, packed(values, bits)), shown, 0)
        palette = np.random.default_rng(bits).integers(0, 256, (2**bits, 3)).astype(np.uint8)
        data = png(width, height, bits, 3, packed(values, bits), png_chunk(b"PLTE", palette.tobytes()))
        yield Good(f"PNG, palette of {bits} bits", data, palette[values], 0)
    wide = rgb.astype(">u2") * 257
    yield Good("PNG, grey of 16 bits", png(width, height, 16, 0, (grey.astype(">u2") * 257).tobytes()), np.dstack([grey] * 3), 1)
    yield Good("PNG, RGB of 16 bits", png(width, height, 16, 2, wide.tobytes()), rgb, 1)
    alpha16 = np.dstack([wide, np.full((height, width), 65535, ">u2")]).astype(">u2")
    yield Good("PNG, RGBA of 16 bits", png(width, height, 16, 6, alpha16.tobytes()), rgb, 1)
    rgba = image.copy()
    rgba.putalpha(Image.new("L", image.size, 255))
    plain = save(image, "PNG")
    yield Good("PNG, RGBA", save(rgba, "PNG"), rgb, 0)
    yield Good("PNG, grey with alpha", save(rgba.convert("LA"), "PNG"), np.dstack([grey] * 3), 0)
    yield Good("PNG, RGB", plain, rgb, 0)
    yield Good("PNG, interlaced", adam7(rgb), rgb, 0)
    yield Good("PNG, interlaced, sides of no whole blocks", adam7(scenery(101, 67)), scenery(101, 67), 0)
    yield Good("PNG, animated", save(image, "PNG", save_all=True, append_images=[Image.new("RGB", image.size)]), rgb, 0)
    yield Good("PNG with bytes behind its end", plain + video(3000), rgb, 0)
    yield Good("PNG without its end", plain[:-12], rgb, 0)
    yield Good("PNG, turned", save(image, "PNG", exif=exif(6)), turned(rgb, 6), 0)
    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    head = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pieces = zlib.compress(rows)
    split = b"".join(png_chunk(b"IDAT", pieces[i : i + 50]) for i in range(0, len(pieces), 50))
    yield Good("PNG, samples in many pieces", head + split + png_chunk(b"IEND", b""), rgb, 0)
    more = png_chunk(b"IDAT", zlib.compress(rows + bytes(1000)))
    yield Good("PNG, more samples than it needs", head + more + png_chunk(b"IEND", b""), rgb, 0)
    stored = png_chunk(b"IDAT", zlib.compress(rows, 0))
    yield Good("PNG, samples stored", head + stored + png_chunk(b"IEND", b""), rgb, 0)
    chrm = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    for name, chunks in (
        ("sRGB", png_chunk(b"sRGB", b"\0") + png_chunk(b"gAMA", struct.pack(">I", 45455))),
        ("the gamma of sRGB", png_chunk(b"gAMA", struct.pack(">I", 45455)) + png_chunk(b"cHRM", chrm)),
        ("sRGB by number", png_chunk(b"cICP", bytes([1, 13, 0, 1]))),
        ("a text", png_chunk(b"tEXt", b"Comment\0" + b"x" * 5000)),
    ):
        yield Good(f"PNG with {name}", png(width, height, 8, 2, rgb.tobytes(), chunks), rgb, 0)


def webps(rgb: Rgb) -> Iterator[Good]:
    image = Image.fromarray(rgb)
    rgba = image.copy()
    rgba.putalpha(Image.new("L", image.size, 255))
    large = scenery(640, 480)
    for name, options in (
        ("lossy", {"quality": 90}), ("lossy, fast", {"quality": 90, "method": 0}), ("lossy, slow", {"quality": 90, "method": 6}),
        ("lossless", {"lossless": True}), ("nearly lossless", {"lossless": True, "quality": 40}),
        ("exact", {"lossless": True, "exact": True}),
    ):  # fmt: skip
        yield Good(f"WebP, {name}", save(image, "WEBP", **options), rgb, 12)
        yield Good(f"WebP, {name}, larger", save(Image.fromarray(large), "WEBP", **options), large, 12)
    yield Good("WebP, lossy with alpha", save(rgba, "WEBP", quality=90), rgb, 12)
    yield Good("WebP, lossless with alpha", save(rgba, "WEBP", lossless=True), rgb, 0)
    frames = {"save_all": True, "append_images": [Image.new("RGB", image.size)]}
    yield Good("WebP, animated", save(image, "WEBP", quality=90, **frames), rgb, 12)
    yield Good("WebP, animated, lossless", save(image, "WEBP", lossless=True, **frames), rgb, 0)
    yield Good("WebP, turned", save(image, "WEBP", lossless=True, exif=exif(8)), turned(rgb, 8), 0)
    yield Good("WebP with bytes behind its end", save(Image.fromarray(large), "WEBP", quality=90) + video(3000), large, 12)
    yield Good(
        "WebP, one colour", save(Image.new("RGB", (640, 480), (90, 120, 60)), "WEBP"), np.full((480, 640, 3), (90, 120, 60), np.uint8), 6
    )
    noise = np.random.default_rng(3).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    yield Good("WebP, noise, lossless", save(Image.fromarray(noise), "WEBP", lossless=True), noise, 0)


def heifs(rgb: Rgb) -> Iterator[Good]:
    image = Image.fromarray(rgb)
    rgba = image.copy()
    rgba.putalpha(Image.new("L", image.size, 255))
    for kind, options in (("AVIF", {"subsampling": "4:4:4"}), ("HEIF", {"chroma": 444})):
        yield Good(f"{kind}, 4:4:4", save(image, kind, quality=95, **options), rgb, 9)
        yield Good(f"{kind}, 4:2:0", save(image, kind, quality=95), rgb, 14)
        yield Good(f"{kind}, alpha", save(rgba, kind, quality=95), rgb, 14)
        yield Good(f"{kind}, bytes behind its end", save(image, kind, quality=95) + bytes(3000), rgb, 14)
    yield Good(
        "AVIF, several frames", save(image, "AVIF", quality=95, save_all=True, append_images=[Image.new("RGB", image.size)]), rgb, 14
    )
    yield Good("AVIF, turned", save(image, "AVIF", quality=95, exif=exif(6)), turned(rgb, 6), 14)
    yield Good(
        "HEIF, several pictures", save(image, "HEIF", quality=95, save_all=True, append_images=[Image.new("RGB", image.size)]), rgb, 14
    )
    grey = image.convert("L")
    yield Good("HEIF, grey", save(grey, "HEIF", quality=95), np.dstack([np.asarray(grey)] * 3), 9)
    deep = pillow_heif.from_bytes("RGB;16", image.size, (rgb.astype(np.uint16) * 257).tobytes())
    file = BytesIO()
    deep.save(file, quality=95, chroma=444)
    yield Good("HEIF, 10 bits", file.getvalue(), rgb, 9)
    plain = save(image, "HEIF", quality=95)
    for brand in (b"mif1", b"msf1", b"mif2", b"MiHE", b"heim", b"abcd"):
        yield Good(f"HEIF of the brand {brand.decode()}", plain[:8] + brand + plain[12:], rgb, 14)
    avif = save(image, "AVIF", quality=95)
    for brand in (b"mif1", b"miaf"):
        yield Good(f"AVIF of the brand {brand.decode()}", avif[:8] + brand + avif[12:], rgb, 14)


def tiffs(rgb: Rgb) -> Iterator[Good]:
    image = Image.fromarray(rgb)
    grey = np.asarray(image.convert("L"))
    greys = np.dstack([grey] * 3)
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "zstd", "lzma"):
        yield Good(f"TIFF, {compression}", save(image, "TIFF", compression=compression), rgb, 0)
    yield Good("TIFF, JPEG", save(image, "TIFF", compression="jpeg", quality=95), rgb, 14)
    bilevel = image.convert("1")
    for compression in ("group3", "group4", "raw"):
        yield Good(f"TIFF, bilevel, {compression}", save(bilevel, "TIFF", compression=compression), np.asarray(bilevel.convert("RGB")), 0)
    wide = rgb.astype(np.uint16) * 257
    for name, data in (
        ("the other byte order", tif(rgb, photometric="rgb", byteorder=">")),
        ("BigTIFF", tif(rgb, photometric="rgb", bigtiff=True)),
        ("tiles", tif(rgb, photometric="rgb", tile=(32, 32))),
        ("tiles, deflated", tif(rgb, photometric="rgb", tile=(16, 16), compression="zlib")),
        ("planes", tif(np.moveaxis(rgb, 2, 0).copy(), photometric="rgb", planarconfig="separate")),
        ("planes, deflated", tif(np.moveaxis(rgb, 2, 0).copy(), photometric="rgb", planarconfig="separate", compression="zlib")),
        ("strips", tif(rgb, photometric="rgb", rowsperstrip=5)),
        ("a predictor", tif(rgb, photometric="rgb", compression="zlib", predictor=True)),
        ("16 bits", tif(wide, photometric="rgb")),
        ("16 bits, the other byte order", tif(wide, photometric="rgb", byteorder=">")),
        ("several pages", tif(np.stack([rgb, rgb // 2]), photometric="rgb")),
        ("alpha", tif(np.dstack([rgb, np.full(grey.shape, 255, np.uint8)]), photometric="rgb", extrasamples=["unassalpha"])),
        ("an alpha of zeros", tif(np.dstack([rgb, np.zeros_like(grey)]), photometric="rgb", extrasamples=["unassalpha"])),
        ("a premultiplied alpha of zeros", tif(np.dstack([rgb, np.zeros_like(grey)]), photometric="rgb", extrasamples=["assocalpha"])),
        ("a fourth channel of no meaning", tif(np.dstack([rgb, np.zeros_like(grey)]), photometric="rgb", extrasamples=["unspecified"])),
    ):
        yield Good(f"TIFF, {name}", data, rgb, 1)
    yield Good("TIFF, grey", tif(grey, photometric="minisblack"), greys, 0)
    yield Good("TIFF, grey, 0 is white", tif(255 - grey, photometric="miniswhite"), greys, 0)
    yield Good("TIFF, grey of 16 bits", tif(grey.astype(np.uint16) * 257, photometric="minisblack"), greys, 1)
    yield Good("TIFF, palette", save(image.quantize(64), "TIFF"), np.asarray(image.quantize(64).convert("RGB")), 0)
    ink = Image.fromarray(np.dstack([255 - rgb, np.zeros_like(grey)]), "CMYK")
    yield Good("TIFF, CMYK", save(ink, "TIFF"), rgb, 0, ("COLOUR_SPACE_ASSUMED",))
    yield Good("TIFF, turned", save(image, "TIFF", exif=exif(6)), turned(rgb, 6), 0)


def bmps(rgb: Rgb) -> Iterator[Good]:
    image = Image.fromarray(rgb)
    grey = np.asarray(image.convert("L"))
    for mode in ("1", "L", "P"):
        kept = image.convert(mode, dither=Image.Dither.NONE)
        yield Good(f"BMP, mode {mode}", save(kept, "BMP"), np.asarray(kept.convert("RGB")), 0)
    yield Good("BMP, 24 bits", save(image, "BMP"), rgb, 0)
    for masks in (None, (0xF800, 0x07E0, 0x001F)):
        data, held = bmp16(rgb, masks)
        yield Good(f"BMP, 16 bits, {'5-6-5' if masks else '5-5-5'}", data, held, 8)
    for name, alpha, masks in (
        ("32 bits", 255, False), ("32 bits, the fourth byte 0", 0, False), ("32 bits by masks", 255, True), ("an alpha of zeros", 0, True),
    ):  # fmt: skip
        yield Good(f"BMP, {name}", bmp32(rgb, alpha, masks), rgb, 0)
    yield Good("BMP in runs", bmp_rle(grey), np.dstack([grey] * 3), 0)
    core = b"BM" + struct.pack("<IHHI", 26 + rgb.size, 0, 0, 26) + struct.pack("<IHHHH", 12, rgb.shape[1], rgb.shape[0], 1, 24)
    yield Good("BMP of OS/2", core + rgb[::-1, :, ::-1].tobytes(), rgb, 0)
    yield Good("BMP with bytes behind its end", save(image, "BMP") + bytes(500), rgb, 0)


FORMATS: dict[str, Callable[[Rgb], Iterator[Good]]] = {
    "JPEG": jpegs, "PNG": pngs, "WebP": webps, "HEIC and AVIF": heifs, "TIFF": tiffs, "BMP": bmps,
}  # fmt: skip


def good_pictures() -> list[Good]:
    """All of them."""
    return [good for make in FORMATS.values() for good in make(scenery())]

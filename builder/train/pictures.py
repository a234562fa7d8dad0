"""Reading a pair's two pictures. No torch."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import resvg_py

from pipeline.errors import JobError
from pipeline.intake.photo import ASPECT_TOLERANCE, decode
from pipeline.values import Photo, Rgb

#: Endings of what may be a photograph or a drawing.
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".svg"})
#: Longest side of a rendered SVG, pixels: the drawing network's side twice over.
RENDERED = 2048
#: Most that a rendered SVG's sides may differ: a picture of a vehicle is no ribbon, and a ribbon's render would fill the memory.
_RIBBON = 8.0
_LENGTH = re.compile(r"\s*\+?(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)\s*(?:px|pt|pc|mm|cm|in|q)?\s*", re.IGNORECASE)


class Unreadable(Exception):  # noqa: N818 - says what is the case
    """A picture that cannot be read; the reason, without a stop."""


def read_photo(path: Path) -> Photo:
    """A photograph as a job takes it. Raises `Unreadable`."""
    if path.suffix.lower() == ".svg":
        raise Unreadable("an SVG is no photograph")
    return _decoded(path)


def read_drawing(path: Path) -> Photo:
    """A drawing on white, opaque: `rgb` (H, W, 3). An SVG is rendered with its longest side at `RENDERED`. Raises `Unreadable`."""
    found = _rendered(path) if path.suffix.lower() == ".svg" else _decoded(path)
    return Photo(_on_white(found), None, found.digest)


def _decoded(path: Path) -> Photo:
    try:
        return decode(path.read_bytes())
    except JobError as error:
        raise Unreadable(error.sentence.rstrip(".")) from error
    except OSError as error:
        raise Unreadable(f"it cannot be read ({error.strerror})") from error


def _rendered(path: Path) -> Photo:
    try:
        text = path.read_text(encoding="utf-8-sig")
        width, height = _size(text)
        wide = width >= height
        png = resvg_py.svg_to_bytes(
            svg_string=text,
            width=RENDERED if wide else None,
            height=None if wide else RENDERED,
            skip_system_fonts=True,
            background="#ffffff",
        )
    except Unreadable:
        raise
    except (OSError, ValueError, UnicodeDecodeError, ElementTree.ParseError) as error:
        raise Unreadable(f"it is no SVG that can be drawn ({' '.join(str(error).split())[:120]})") from error
    try:
        return decode(bytes(png))
    except JobError as error:
        raise Unreadable(f"what it draws is no picture: {error.sentence.rstrip('.')}") from error


def _size(text: str) -> tuple[float, float]:
    """Width and height of an SVG by its root element alone. Raises `Unreadable`, `ParseError`."""
    if "<!ENTITY" in text or "<image" in text:
        raise Unreadable("it is no plain drawing: it holds pictures or entities")
    root = ElementTree.fromstring(text)
    box = [float(part) for part in re.findall(r"[-+.\de]+", root.get("viewBox", ""))]
    sizes = (
        box[2:] if len(box) == 4 else [float(found[1]) for key in ("width", "height") if (found := _LENGTH.fullmatch(root.get(key, "")))]
    )
    if not root.tag.endswith("svg") or len(sizes) != 2 or min(sizes) <= 0:
        raise Unreadable("it has no viewBox and no width and height")
    if max(sizes) > _RIBBON * min(sizes):
        raise Unreadable(f"its sides differ {max(sizes) / min(sizes):.0f} times")
    return sizes[0], sizes[1]


def _on_white(found: Photo) -> Rgb:
    if found.alpha is None:
        return found.rgb
    share = found.alpha[..., None].astype(np.float32) / 255
    return np.asarray(np.rint(found.rgb * share + 255 * (1 - share)), np.uint8)


def same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) are of one aspect, as a job's matte has to be of its photo's."""
    (width, height), (other_width, other_height) = one, other
    off_width, off_height = abs(other_width - other_height * width / height), abs(other_height - other_width * height / width)
    return bool(off_width <= 1 + ASPECT_TOLERANCE * other_width or off_height <= 1 + ASPECT_TOLERANCE * other_height)

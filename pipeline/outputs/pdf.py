"""The illustration as a PDF of one page, with the SVG's own curves.

It understands only what the project's SVG consists of (paths and rectangles with inherited presentation attributes), so a small reader is
enough; anything else is refused, not drawn wrongly.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from xml.etree import ElementTree

from reportlab.pdfgen.canvas import FILL_EVEN_ODD, FILL_NON_ZERO, Canvas
from reportlab.pdfgen.pathobject import PDFPathObject

_SVG = "{http://www.w3.org/2000/svg}"
_POINTS_PER_UNIT = 0.75  # CSS: 96 units to the inch; PDF: 72 points
_TOKEN = re.compile(r"([A-Za-z])|([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Z": 0}
_CAPS = {"butt": 0, "round": 1, "square": 2}
_JOINS = {"miter": 0, "round": 1, "bevel": 2}
_MITER_LIMIT = 4  # SVG's initial value; PDF's is 10
_ATTRIBUTES = {
    *("version", "viewBox", "id", "data-color", "data-part", "d", "x", "y", "width", "height"),
    *("fill", "fill-rule", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "vector-effect"),
}


@dataclass(frozen=True, slots=True)
class _Paint:
    """The inherited presentation attributes; colours are None (nothing painted) or #RRGGBB."""

    fill: str | None = "#000000"
    stroke: str | None = None
    width: float = 1.0
    cap: int = 0
    join: int = 0
    even_odd: bool = False

    def within(self, node: ElementTree.Element) -> "_Paint":
        """The attributes that hold inside `node`."""
        changes: dict[str, object] = {}
        for name in ("fill", "stroke"):
            value = node.get(name)
            if value is not None:
                changes[name] = None if value == "none" else value
        if node.get("stroke-width"):
            changes["width"] = float(node.get("stroke-width", ""))
        if node.get("stroke-linecap"):
            changes["cap"] = _CAPS[node.get("stroke-linecap", "")]
        if node.get("stroke-linejoin"):
            changes["join"] = _JOINS[node.get("stroke-linejoin", "")]
        if node.get("fill-rule"):
            changes["even_odd"] = node.get("fill-rule") == "evenodd"
        return replace(self, **changes)  # type: ignore[arg-type]


def pdf_from_svg(svg: bytes) -> bytes:
    """The project's SVG (see the contract of `phase4_vectorize.svg`) as a PDF with vector paths and a transparent page.

    The page has the document's width and height at 0.75 points a pixel; a line that does not scale has its width at that size.
    The same SVG gives the same bytes. `ValueError` for elements, path commands or colours that the project's SVG never has.
    """
    root = ElementTree.fromstring(svg)
    x, y, width, height = (float(number) for number in root.get("viewBox", "").split())
    scale = float(root.get("width", width)) / width
    buffer = io.BytesIO()
    page = (width * scale * _POINTS_PER_UNIT, height * scale * _POINTS_PER_UNIT)
    canvas = Canvas(buffer, pagesize=page, pageCompression=1, invariant=1)
    canvas.setTitle("Vehicle illustration")
    # SVG's y points down, PDF's up
    canvas.translate(0, page[1])
    canvas.scale(scale * _POINTS_PER_UNIT, -scale * _POINTS_PER_UNIT)
    canvas.translate(-x, -y)
    canvas.setMiterLimit(_MITER_LIMIT)
    _draw_all(canvas, root, _Paint(), 1 / scale)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _draw_all(canvas: Canvas, node: ElementTree.Element, inherited: _Paint, unscaled: float) -> None:
    """Draw `node` and what it holds, in the document's order; `unscaled`: units of the viewBox to a pixel of the document."""
    name = node.tag.removeprefix(_SVG)
    if name in {"metadata", "title", "desc"}:
        return
    for attribute in sorted(set(node.keys()) - _ATTRIBUTES):
        if not attribute.startswith("{"):  # another namespace's, such as Inkscape's names for layers
            raise ValueError(f"not in the project's SVG: attribute {attribute} on <{name}>")
    paint = inherited.within(node)
    if name == "path":
        thin = unscaled if node.get("vector-effect") == "non-scaling-stroke" else 1.0
        _paint(canvas, _path(canvas, node.get("d", "")), replace(paint, width=thin * paint.width))
    elif name == "rect":
        path = canvas.beginPath()
        path.rect(*(float(node.get(side, "0")) for side in ("x", "y", "width", "height")))
        _paint(canvas, path, paint)
    elif name not in {"svg", "g"}:
        raise ValueError(f"not in the project's SVG: <{name}>")
    for child in node:
        _draw_all(canvas, child, paint, unscaled)


def _paint(canvas: Canvas, path: PDFPathObject, paint: _Paint) -> None:
    if paint.fill:
        canvas.setFillColorRGB(*_rgb(paint.fill))
    if paint.stroke:
        canvas.setStrokeColorRGB(*_rgb(paint.stroke))
        canvas.setLineWidth(paint.width)
        canvas.setLineCap(paint.cap)
        canvas.setLineJoin(paint.join)
    if paint.fill or paint.stroke:
        rule = FILL_EVEN_ODD if paint.even_odd else FILL_NON_ZERO
        canvas.drawPath(path, stroke=int(paint.stroke is not None), fill=int(paint.fill is not None), fillMode=rule)


def _rgb(color: str) -> tuple[float, float, float]:
    if not re.fullmatch("#[0-9A-Fa-f]{6}", color):
        raise ValueError(f"not in the project's SVG: the colour {color[:40]}")
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _commands(d: str) -> Iterator[tuple[str, list[float]]]:
    """Path data as (letter, its numbers), one command at a time; a repeated command's letter may be left out (SVG 1.1, 8.3)."""
    if _TOKEN.sub("", d).strip(" \t\r\n,"):
        raise ValueError("path data holds something other than commands and numbers")
    letter = ""
    numbers: list[float] = []
    for command, number in _TOKEN.findall(d):
        if command:
            if numbers:
                raise ValueError(f"path command {letter} lacks a number")
            letter = command
            if letter.upper() not in _ARGUMENTS:
                raise ValueError(f"not in the project's SVG: path command {letter}")
        else:
            numbers.append(float(number))
        if letter and len(numbers) == _ARGUMENTS[letter.upper()] and (numbers or command in {"Z", "z"}):
            yield letter, numbers
            numbers = []
            # further pairs after a moveto are linetos
            letter = {"M": "L", "m": "l"}.get(letter, letter)
    if numbers:
        raise ValueError(f"path command {letter} lacks a number")


def _path(canvas: Canvas, d: str) -> PDFPathObject:
    """SVG path data as a PDF path."""
    path = canvas.beginPath()
    here = start = handle = (0.0, 0.0)
    previous = ""
    for letter, numbers in _commands(d):
        kind = letter.upper()
        if not previous and kind != "M":
            raise ValueError(f"path data lacks a moveto before {letter}")
        dx, dy = here if letter.islower() else (0.0, 0.0)
        points: list[tuple[float, float]]
        if kind == "H":
            points = [(dx + numbers[0], here[1])]
        elif kind == "V":
            points = [(here[0], dy + numbers[0])]
        else:
            points = [(dx + x, dy + y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
        if kind == "S":
            # the curve before goes on smoothly: its last handle, reflected (SVG 1.1, 8.3.6)
            smooth = previous in {"C", "S"}
            points.insert(0, (2 * here[0] - handle[0], 2 * here[1] - handle[1]) if smooth else here)
        if kind == "Z":
            path.close()
            here = start
        elif kind == "M":
            here = start = points[0]
            path.moveTo(*here)
        elif kind in {"C", "S"}:
            handle, here = points[1:]
            path.curveTo(*(value for point in points for value in point))
        else:
            here = points[0]
            path.lineTo(*here)
        previous = kind
    return path

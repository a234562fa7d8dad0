"""The SVG: written by hand because every byte of it is part of the contract, and audited after parsing it again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from pipeline.palette import Palette
from pipeline.phase4_vectorize.tracer import Face
from pipeline.values import Box

SVG = "http://www.w3.org/2000/svg"
INKSCAPE = "http://www.inkscape.org/namespaces/inkscape"


@dataclass(frozen=True, slots=True)
class Stroke:
    """How lines are drawn: `width` in units of the working raster, `color` as #RRGGBB."""

    width: float
    color: str


BLACK = Stroke(2.0, "#000000")


def _number(v: float) -> str:
    return f"{v:.2f}".rstrip("0").rstrip(".")


def _layer(name: str, attributes: str, body: Iterable[str]) -> list[str]:
    label = name.capitalize()
    return [f'<g id="{name}" inkscape:groupmode="layer" inkscape:label="{label}"{attributes}>', *body, "</g>"]


def distinct(faces: Sequence[Face]) -> list[Face]:
    """The faces without those that paint nothing (a point) and those that a later one of the same geometry hides."""
    seen = {face.path: place for place, face in enumerate(faces) if "l" in face.path.lower() or "c" in face.path.lower()}
    return [face for place, face in enumerate(faces) if seen.get(face.path) == place]


def _path(face: Face) -> str:
    return f'<path data-part="{face.part}" d="{face.path}"/>' if face.part else f'<path d="{face.path}"/>'


def write(
    faces: Sequence[Face],
    lines: Sequence[str],
    palette: Palette,
    stroke: Stroke,
    canvas: Box,
    size: int,
    background: str | None,
    metadata: Mapping[str, object],
) -> bytes:
    """The document: `canvas` x0, y0, x1, y1 in working units becomes the viewBox, `background` one rectangle behind all.

    No geometry is written twice in a layer, and none without extent. The longest side is `size` pixels whatever the canvas; lines,
    which do not scale, have their width at that size.
    """
    x0, y0, x1, y1 = canvas
    width, height = _number(x1 - x0), _number(y1 - y0)
    k = size / max(x1 - x0, y1 - y0)
    fills: list[str] = []
    if background is not None:
        rectangle = f'<rect x="{_number(x0)}" y="{_number(y0)}" width="{width}" height="{height}"/>'
        fills += [f'<g data-color="{background}" fill="{background}">', rectangle, "</g>"]
    for index, group in groupby(distinct(faces), key=lambda face: face.color):
        color = palette.colors[index]
        fills += [f'<g data-color="{color}" fill="{color}">', *(_path(face) for face in group), "</g>"]
    style = f' fill="none" stroke="{stroke.color}" stroke-width="{_number(stroke.width)}" stroke-linecap="round" stroke-linejoin="round"'
    drawn = [f'<path d="{d}" vector-effect="non-scaling-stroke"/>' for d in dict.fromkeys(lines) if "l" in d.lower() or "c" in d.lower()]
    about = escape(json.dumps(metadata, sort_keys=True, ensure_ascii=True))
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="{SVG}" xmlns:inkscape="{INKSCAPE}" version="1.1" '
            f'width="{_number(k * (x1 - x0))}" height="{_number(k * (y1 - y0))}" '
            f"viewBox={quoteattr(f'{_number(x0)} {_number(y0)} {width} {height}')}>",
            f"<metadata>{about}</metadata>",
            *_layer("fills", "", fills),
            *_layer("lines", style, drawn),
            "</svg>\n",
        ]
    ).encode()


@dataclass(frozen=True, slots=True)
class Audit:
    """What a parsed SVG holds: fills in use, colours outside the palette, cubic curves, paths doubled within a layer."""

    colors_used: int
    off_palette: tuple[str, ...]
    curves: int
    doubled: int


def audit(svg: bytes, palette: Palette, stroke: Stroke) -> Audit:
    """Parse the document as any reader would and count, by inherited presentation attributes, what it really paints."""
    root = ElementTree.fromstring(svg)
    used: set[str] = set()
    off: set[str] = set()
    curves = doubled = 0

    def visit(node: ElementTree.Element, fill: str, line: str) -> None:
        nonlocal curves
        fill, line = node.get("fill", fill), node.get("stroke", line)
        name = node.tag.removeprefix(f"{{{SVG}}}")
        if name in ("path", "rect"):
            if fill != "none":
                (used if fill in palette.colors else off).add(fill)
            if line not in ("none", stroke.color) and line not in palette.colors:
                off.add(line)
            curves += node.get("d", "").lower().count("c")
        elif name not in ("svg", "g", "metadata"):
            off.add(f"<{name}>")
        for child in node:
            visit(child, fill, line)

    visit(root, "#000000", "none")
    for layer in root.findall(f"{{{SVG}}}g"):
        shapes = [p.get("d") for p in layer.iter(f"{{{SVG}}}path")]
        doubled += len(shapes) - len(set(shapes))
    return Audit(len(used), tuple(sorted(off)), curves, doubled)

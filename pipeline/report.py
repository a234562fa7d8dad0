"""The report: one self-contained HTML page that shows a finished job, for a browser without network.

`report.css` and `report.js` beside this file are put into the page. Everything that comes from the result is escaped, and the
page's content security policy forbids every request and every script but its own.
"""

import base64
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image

_SVG = "{http://www.w3.org/2000/svg}"
_COLOR = re.compile("#[0-9A-Fa-f]{6}")
_PICTURE_SIDE = 1024  # pixels; the report is for looking, the files themselves can be asked for
_CAPTIONS = {
    "clean_plate": "Clean plate: the photo after removal",
    "matte": "Matte: where the vehicle is",
    "depth": "Depth: near is bright",
    "edges": "Edges: line strength",
    "illustration": "Illustration, before enlarging",
    "labels": "Labels: the picture that was traced",
}
_PHASES = ("fetch", "sanitize", "illustrate", "enforce", "vectorize", "deliver")


@dataclass(frozen=True, slots=True)
class _Rect:
    """A rectangle of the square working raster, in its units."""

    x: float
    y: float
    width: float
    height: float

    def meet(self, other: "_Rect") -> "_Rect":
        """What both cover; this rectangle itself where that is nothing."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.x + self.width, other.x + other.width) - x, min(self.y + self.height, other.y + other.height) - y
        return _Rect(x, y, width, height) if width > 0 and height > 0 else self

    @property
    def frame(self) -> str:
        """The style that gives an element this rectangle's proportions, as large as the window allows."""
        return f"aspect-ratio:{self.width:g}/{self.height:g};width:min(100%,{82 * self.width / self.height:.2f}vh)"

    def lay(self, picture: "_Rect") -> str:
        """The style that lays a picture of `picture` into an element that shows this rectangle."""
        k, h = 100 / self.width, 100 / self.height
        left, top = (picture.x - self.x) * k, (picture.y - self.y) * h
        return f"left:{left:.4f}%;top:{top:.4f}%;width:{picture.width * k:.4f}%;height:{picture.height * h:.4f}%"


@dataclass(frozen=True, slots=True)
class _View:
    """The whole `square`, the SVG's `canvas` in it, the part that is `shown`, and how many paths each colour has.

    Only the photo's part of the canvas is shown: outside of it nothing is ever drawn.
    """

    square: _Rect
    canvas: _Rect
    shown: _Rect
    paths: Mapping[str, int]


def report_html(
    *, photo_png: bytes, svg: bytes, preview_png: bytes, intermediates: Mapping[str, bytes], result: Mapping[str, Any]
) -> bytes:
    """The page as UTF-8.

    `photo_png` shows the photo letterboxed into its square, at any resolution; `svg` and `preview_png` are the drawing;
    `intermediates` PNG files of the same square by name (clean_plate, matte, …); `result` the public result of the contract, of
    which URLs are not shown. The same input gives the same bytes.
    """
    view = _view(svg, result)
    style, script = (Path(__file__).with_name(name).read_text("utf-8") for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    photo = _picture(photo_png)
    sections = [
        _warnings(result["warnings"]),
        _compare(view, photo, _data_uri(preview_png, "png")),
        _explore(view, svg, result),
        _quality(result, view),
        f'<div class="pair"><div>{_removed(result, view, photo)}{_timings(result)}</div>',
        f"<div>{_palette(result, view)}{_versions(result)}</div></div>",
        _strip(intermediates),
        _raw(result),
    ]
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<title>Vehicle illustration {escape(str(result["job_id"]))}</title>
<style>{style}</style>
</head>
<body>
{_header(result)}
<main>
{"".join(section for section in sections if section)}
</main>
<script>{script}</script>
</body>
</html>
"""
    return page.encode()


def _view(svg: bytes, result: Mapping[str, Any]) -> _View:
    root = ElementTree.fromstring(svg)
    x, y, width, height = (float(number) for number in root.get("viewBox", "").split())
    canvas = _Rect(x, y, width, height)
    paths: Counter[str] = Counter()
    for group in root.iter(f"{_SVG}g"):
        if group.get("data-color"):
            paths[group.get("data-color", "").upper()] += len(group)
    side = float(result["frame"]["width"])
    return _View(_Rect(0, 0, side, side), canvas, canvas.meet(_photo_part(result)), paths)


def _photo_part(result: Mapping[str, Any]) -> _Rect:
    """Where the photo lies in the square: centred, so that the bars on both sides are alike."""
    frame = result["frame"]
    side, x0, y0 = float(frame["width"]), float(frame["x0"]), float(frame["y0"])
    return _Rect(x0, y0, side - 2 * x0, side - 2 * y0)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _picture(data: bytes) -> str:
    """A PNG as a data URI of at most `_PICTURE_SIDE` pixels a side: JPEG for photographs, PNG for flat pictures."""
    with Image.open(io.BytesIO(data)) as opened:
        picture: Image.Image = opened.copy()
    flat = picture.mode != "RGB"
    if max(picture.size) > _PICTURE_SIDE:
        k = _PICTURE_SIDE / max(picture.size)
        size = (max(1, round(picture.width * k)), max(1, round(picture.height * k)))
        # label images hold indices, which must not be mixed
        picture = picture.resize(size, Image.Resampling.NEAREST if picture.mode == "P" else Image.Resampling.BOX)
    buffer = io.BytesIO()
    if flat:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "JPEG", quality=90)
    return _data_uri(buffer.getvalue(), "png" if flat else "jpeg")


def _shown(value: object) -> str:
    """A value of the result as text; what was not measured is a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return escape(f"{value:,}".replace(",", "\u202f") if isinstance(value, int) and not isinstance(value, bool) else str(value))


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"


def _header(result: Mapping[str, Any]) -> str:
    facts = {
        "Job": escape(str(result["job_id"])),
        "Engine": escape(str(result["engine"])),
        "Seed": escape(str(result["seed"])),
        "Time": _seconds(result["processing_time_ms"]),
    }
    items = "".join(f"<li>{name} <b>{value}</b></li>" for name, value in facts.items())
    return f'<header><h1>Vehicle illustration</h1><ul class="facts">{items}</ul></header>'


def _section(title: str, body: str, beside: str = "") -> str:
    return f'<section><div class="head"><h2>{title}</h2>{beside}</div>{body}</section>\n'


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = []
    for warning in warnings:
        code, colon, sentence = warning.partition(": ")
        items.append(f"<li><code>{escape(code)}</code>{escape(sentence)}</li>" if colon else f"<li>{escape(warning)}</li>")
    return f'<ul class="warnings" aria-label="Warnings">{"".join(items)}</ul>\n'


def _compare(view: _View, photo: str, preview: str) -> str:
    frame, before, after = view.shown.frame, view.shown.lay(view.square), view.shown.lay(view.canvas)
    body = f"""<div class="compare" style="{frame};--at:50%">
<div class="stage" style="{frame}">
<img class="laid" alt="The illustration" style="{after}" src="{preview}"><span class="tag r">Illustration</span></div>
<div class="stage top" style="{frame}">
<img class="laid" alt="The photo" style="{before}" src="{photo}"><span class="tag l">Photo</span></div>
<input type="range" min="0" max="100" step="0.5" value="50" aria-label="Share of the photo, percent"><span class="handle"></span>
</div>"""
    return _section("Before and after", body, '<p class="note needs-js">Drag, or use the arrow keys.</p>')


def _explore(view: _View, svg: bytes, result: Mapping[str, Any]) -> str:
    text = svg.decode()
    # the declaration has no place inside a page, and the metadata is shown below as text
    drawing = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    shown = view.shown
    drawing = re.sub(r'viewBox="[^"]*"', f'viewBox="{shown.x:g} {shown.y:g} {shown.width:g} {shown.height:g}"', drawing, count=1)
    colors = [color for color in result["palette"] if view.paths.get(str(color).upper())]
    rows = "".join(
        f'<button type="button" aria-pressed="true" data-color="{escape(color)}"><i style="background:{_css(color)}"></i>{escape(color)}'
        f"<span>{view.paths[color.upper()]}</span></button>"
        for color in map(str, colors)
    )
    tools = """<div class="tools needs-js"><button type="button" data-zoom="out" aria-label="Zoom out">−</button>
<output id="r-zoom">100 %</output><button type="button" data-zoom="in" aria-label="Zoom in">+</button>
<button type="button" data-zoom="reset">Fit</button></div>"""
    side = f"""<div class="side needs-js"><h3>Layers</h3><div class="tools">
<button type="button" aria-pressed="true" data-layer="fills">Fills</button>
<button type="button" aria-pressed="true" data-layer="lines">Lines</button>
<button type="button" aria-pressed="true" data-printed title="Off: lines stay as wide when zooming">Scale lines</button></div>
<h3>Backdrop</h3><div class="tools"><button type="button" aria-pressed="true" data-backdrop="paper">Paper</button>
<button type="button" aria-pressed="false" data-backdrop="checks">Checks</button>
<button type="button" aria-pressed="false" data-backdrop="night">Dark</button></div>
<h3>Colours and their paths</h3><div class="colors">{rows}</div>
<div class="tools" style="margin-top:8px"><button type="button" data-colors="all">All</button>
<button type="button" data-colors="none">None</button></div>
<p class="note" style="margin-top:8px">Double-click a colour to see it alone.</p></div>"""
    keys = "Drag to move; Ctrl and wheel, pinch, double-click or the + and − keys to zoom."
    hint = f'<p class="note needs-js" style="margin-top:10px">{keys}</p>'
    stage = (
        f'<div class="stage drawing paper printed" style="{shown.frame}" tabindex="0" role="group" aria-label="The drawing">{drawing}</div>'
    )
    return _section("The drawing", f'<div class="explore"><div>{stage}{hint}</div>{side}</div>', tools)


def _css(color: object) -> str:
    """A palette colour that may stand in a style; anything else shows nothing."""
    return str(color) if _COLOR.fullmatch(str(color)) else "none"


def _quality(result: Mapping[str, Any], view: _View) -> str:
    quality = result["quality"]
    unmeasured = " <small>not measured</small>"
    figures = {
        "Colours used": (f"{_shown(quality['colors_used'])} <small>of {len(result['palette'])}</small>", False),
        "Off-palette colours": (_shown(quality["off_palette_colors"]), bool(quality["off_palette_colors"])),
        "Regions": (_shown(quality["regions"]), False),
        "Paths": (_shown(sum(view.paths.values())), False),
        "Curves": (_shown(quality["curves"]), False),
        "SVG": (f"{quality['svg_bytes'] / 1000:,.0f} <small>kB</small>".replace(",", "\u202f"), False),
        "Matte confidence": (_shown(quality["matte_confidence"]) + ("" if quality["matte_confidence"] is not None else unmeasured), False),
        "IoU with the photo": (_shown(quality["iou"]) + ("" if quality["iou"] is not None else unmeasured), False),
        "Attempts": (_shown(quality["attempts"]), False),
        "Vehicle removed": (f"{100 * quality['removed_fraction']:.2f} <small>%</small>", False),
        "Detail changed": (f"{100 * quality['detail_changed_fraction']:.2f} <small>%</small>", False),
    }
    cells = "".join(f"<div{' class=bad' if bad else ''}><dt>{name}</dt><dd>{value}</dd></div>" for name, (value, bad) in figures.items())
    return _section("Quality", f'<dl class="figures">{cells}</dl>')


def _timings(result: Mapping[str, Any]) -> str:
    # the page is written before it is delivered: a phase of zero has not been or could not be measured
    timings = {phase: float(result["timings_ms"][phase]) for phase in _PHASES if result["timings_ms"].get(phase)}
    total = sum(timings.values())
    bar = "".join(f'<i style="flex:{ms:g};background:var(--p{_PHASES.index(phase)})"></i>' for phase, ms in timings.items())
    legend = "".join(
        f'<li><i style="background:var(--p{_PHASES.index(phase)})"></i>{phase.capitalize()}<b>{_seconds(ms)}</b></li>'
        for phase, ms in timings.items()
    )
    body = f'<div class="bar" role="img" aria-label="Time by phase">{bar}</div><ul class="legend">{legend}</ul>'
    return _section("Time by phase", body, f'<p class="note">{_seconds(total)} before delivery</p>')


def _palette(result: Mapping[str, Any], view: _View) -> str:
    items = []
    for color in map(str, result["palette"]):
        count = view.paths.get(color.upper(), 0)
        told = f"{count} paths" if count else "not used"
        items.append(
            f'<li{"" if count else " class=unused"}><i style="background:{_css(color)}"></i>{escape(color)}<small>{told}</small></li>'
        )
    return _section("Palette", f'<ul class="swatches">{"".join(items)}</ul>')


def _rectangle(box: Sequence[float], kind: str = "") -> str:
    x0, y0, x1, y1 = (float(value) for value in box)
    return f'<rect{kind} x="{x0:g}" y="{y0:g}" width="{x1 - x0:g}" height="{y1 - y0:g}"/>'


def _removed(result: Mapping[str, Any], view: _View, photo: str) -> str:
    """The photo's part of its square with the boxes, which are fractions of the upright photo."""
    part = _photo_part(result)
    laid = part.lay(view.square)
    boxes = "".join(_rectangle(item["box"]) for item in result["removed"])
    vehicle = _rectangle(result["vehicle_box"], ' class="vehicle"')
    stage = (
        f'<div class="stage" style="{part.frame}"><img class="laid" alt="The photo with boxes" style="{laid}" src="{photo}">'
        f'<svg class="boxes" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">{vehicle}{boxes}</svg></div>'
    )
    items = "".join(f"<li>{escape(str(item['label']))}<span>score {_shown(item['score'])}</span></li>" for item in result["removed"])
    told = f'<ol class="removed">{items}</ol>' if items else '<p class="note" style="margin-top:12px">Nothing was removed.</p>'
    return _section("Removed from the vehicle", stage + told, '<p class="note">Dashed: the vehicle</p>')


def _versions(result: Mapping[str, Any]) -> str:
    frame, draw, versions = result["frame"], result["draw"], result["versions"]
    rows = {
        "Worker": versions["worker"],
        "Result schema": result["schema"],
        "Working raster": f"{frame['width']} × {frame['height']}",
        "Photo to raster": f"× {_shown(float(frame['scale']))}, offset {_shown(frame['x0'])}, {_shown(frame['y0'])}",
        "Peak video memory": f"{result['peak_vram_mb']} MB" if result["peak_vram_mb"] else None,
        **{f"Drawing: {key.replace('_', ' ')}": value for key, value in draw.items()},
        **{f"Model: {name}": revision for name, revision in versions["models"].items()},
    }
    body = "".join(f"<tr><th>{escape(str(name))}</th><td>{_shown(value)}</td></tr>" for name, value in rows.items() if value is not None)
    return _section("Versions and settings", f"<table>{body}</table>")


def _strip(intermediates: Mapping[str, bytes]) -> str:
    if not intermediates:
        return ""
    known = [name for name in _CAPTIONS if name in intermediates]
    names = known + sorted(set(intermediates) - set(known))
    figures = "".join(
        f'<figure><img alt="" src="{_picture(intermediates[name])}"><figcaption>{escape(_CAPTIONS.get(name, name))}</figcaption></figure>'
        for name in names
    )
    return _section("Steps on the way", f'<div class="strip" tabindex="0">{figures}</div>')


def _raw(result: Mapping[str, Any]) -> str:
    """The result as JSON, without URLs: signed ones are keys to the files, and inline ones are the files."""
    shown = {key: value for key, value in result.items() if not key.endswith("_url") and key != "intermediates"}
    text = escape(json.dumps(shown, indent=2, ensure_ascii=False))
    return f"<section><details><summary>The whole result as JSON</summary><pre>{text}</pre></details></section>\n"

"""The report: one self-contained HTML page that shows a finished job, for a browser without network.

`viewer/` beside this file holds the viewer, the same that the web page uses; here it is written into the page. Without scripts the
pictures, the drawing and the figures still show. Everything that comes from the result is escaped, and the page's content security
policy forbids every request and every script but its own.
"""

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from pipeline.job import GENERATION, Job
from pipeline.settings import Settings
from pipeline.values import Rgb

#: x, y, width, height.
Rect: TypeAlias = tuple[float, float, float, float]

#: The viewer's files: ES modules and styles, served as they are by the web page.
VIEWER = Path(__file__).parent / "viewer"
#: In the order of their use: each imports from those before it.
_MODULES = ("dom.js", "stage.js", "texts.js", "viewer.js", "report.js")
_STYLES = ("viewer.css", "report.css")
_PICTURE_SIDE = 1024  # pixels; the report is for looking, the files themselves can be asked for
_SETTINGS = ("background", "canvas", "size", "detail", "stroke", "remove", "vehicle_box", "outputs", "allow_low_iou", "color_locks")
_STEPS = ("clean_plate", "matte", "depth", "edges", "illustration", "labels")


def report_html(
    *,
    photo: Rgb,
    svg: bytes,
    intermediates: Mapping[str, Image.Image],
    result: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> bytes:
    """The page as UTF-8.

    `photo` (H, W, 3) sRGB is the whole upright photo; `svg` the drawing; `intermediates` pictures of the working square by name
    (clean_plate, matte, …); `result` the public result of the contract, of which URLs are not shown; `settings` what the job asked for, by
    key, without secrets. The same input gives the same bytes.
    """
    style = "".join((VIEWER / name).read_text("utf-8") for name in _STYLES)
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    known = [name for name in _STEPS if name in intermediates]
    names = known + sorted(set(intermediates) - set(known))
    frame = result["frame"]
    figures = "".join(_square_figure(name, intermediates[name], frame) for name in names)
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
<div id="plain">
{_figure("photo", Image.fromarray(photo), _photo_rect(frame))}
<figure>{_drawing(svg)}<figcaption>drawing</figcaption></figure>
{figures}
<div class="data"><h2>The result as JSON</h2><pre id="data">{escape(_data(result, settings))}</pre></div>
</div>
</main>
<script type="module">{script}</script>
</body>
</html>
"""
    return page.encode()


def shown_settings(job: Job, settings: Settings) -> dict[str, Any]:
    """What the report tells of a job beside its result: no address, no picture, no key; of the neural drawing's settings, those given.

    Lines and detail are those in force, which `settings` says where the job does not.
    """
    asked = {name for name in GENERATION if name in job.model_fields_set}
    told = job.model_dump(mode="json", include={*_SETTINGS, *asked}, exclude_none=True)
    return {"detail": settings.phase3.detail, **told, "stroke": settings.phase4.stroke.model_dump(mode="json") | told["stroke"]}


def _script() -> str:
    """The viewer's modules as one: without the lines that join them, since nothing can be loaded."""
    text = "".join((VIEWER / name).read_text("utf-8") for name in _MODULES)
    return re.sub(r"^export (?=(?:const|function|async))", "", re.sub(r"^import .*;\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)


def _header(result: Mapping[str, Any]) -> str:
    facts = {
        "Job": result["job_id"],
        "Engine": result["engine"],
        "Seed": result["seed"],
        "Time": f"{result['processing_time_ms'] / 1000:.1f} s",
    }
    items = "".join(f"<li>{name} <b>{escape(str(value))}</b></li>" for name, value in facts.items())
    return f'<header><h1>Vehicle illustration</h1><ul class="heads">{items}</ul></header>'


def _drawing(svg: bytes) -> str:
    """The SVG as it stands in a page: without its declaration, and without its metadata, which is in the result."""
    text = svg.decode()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def _data(result: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Result and settings as JSON, without URLs: signed ones are keys to the files, and inline ones are the files."""
    shown = {key: value for key, value in result.items() if not key.endswith("_url") and key != "intermediates"}
    return json.dumps({"result": shown, "settings": settings}, indent=2, ensure_ascii=False)


def _photo_rect(frame: Mapping[str, Any]) -> Rect:
    """Where the whole photo lies, in units of the working raster."""
    k = frame["scale"]
    return (frame["x0"], frame["y0"], k * frame["photo_width"], k * frame["photo_height"])


def _square_figure(name: str, picture: Image.Image, frame: Mapping[str, Any]) -> str:
    """A picture of the working square, cut to the photo's part of it."""
    x, y, w, h = _photo_rect(frame)
    k = picture.width / float(frame["width"])
    left, top = min(picture.width - 1, max(0, math.ceil(x * k))), min(picture.height - 1, max(0, math.ceil(y * k)))
    right, bottom = min(picture.width, math.floor((x + w) * k)), min(picture.height, math.floor((y + h) * k))
    part = (left, top, max(left + 1, right), max(top + 1, bottom))
    return _figure(name, picture.crop(part), (part[0] / k, part[1] / k, (part[2] - part[0]) / k, (part[3] - part[1]) / k))


def _figure(name: str, picture: Image.Image, rect: Rect) -> str:
    """A picture, and where it lies in units of the working raster."""
    place, shown = json.dumps([round(value, 4) for value in rect]), escape(name.replace("_", " "))
    image = f'<img alt="{shown}" data-name="{escape(name)}" data-rect="{place}" src="{_data_uri(picture)}">'
    return f"<figure>{image}<figcaption>{shown}</figcaption></figure>"


def _data_uri(picture: Image.Image) -> str:
    """At most `_PICTURE_SIDE` pixels a side: JPEG for photographs, PNG for flat pictures."""
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
    kind = "png" if flat else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

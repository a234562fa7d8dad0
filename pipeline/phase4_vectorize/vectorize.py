"""The order of phase 4: trace the fills, draw the lines, write the SVG, audit it, render it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import resvg_py
import structlog

from pipeline.palette import Palette
from pipeline.phase4_vectorize.centerlines import centerlines
from pipeline.phase4_vectorize.svg import BLACK, Stroke, audit, write
from pipeline.phase4_vectorize.tracer import Tracer
from pipeline.progress import Progress
from pipeline.raster import bounds
from pipeline.values import Box, Drawing, LabelImage

Mode = Literal["boundaries", "centerlines", "both", "none"]
Canvas = Literal["square", "photo", "vehicle"]
log = structlog.get_logger()

#: Longest side of the preview, pixels.
PREVIEW = 2048
#: The margin of the `vehicle` canvas, a fraction of the vehicle's longer side.
CANVAS_MARGIN = 0.04


@dataclass(frozen=True, slots=True)
class VectorSettings:
    """`tolerance`: how far, in units of the working raster, a fitted curve may stray from its boundary."""

    mode: Mode = "both"
    stroke: Stroke = BLACK
    canvas: Canvas = "square"
    background: str | None = None
    tolerance: float = 2.5


def canvas_box(image: LabelImage, canvas: Canvas) -> Box:
    """What the SVG shows, x0, y0, x1, y1 in working units."""
    side = float(image.key.shape[0])
    if canvas == "photo":
        return image.frame.photo
    place = None if canvas == "square" else bounds(image.inside)
    if place is None:
        return (0.0, 0.0, side, side)
    x0, y0, x1, y1 = place
    margin = CANVAS_MARGIN * max(x1 - x0, y1 - y0)
    return (x0 - margin, y0 - margin, x1 + margin, y1 + margin)


def render(svg: bytes, longest: int = PREVIEW) -> bytes:
    """PNG of the SVG, longest side `longest` pixels, with its line widths in proportion.

    resvg ignores `vector-effect`: it draws widths in the viewBox's units, so that they are given to it as such.
    """
    text = svg.decode()
    width, height, box = (_HEAD[name].search(text) for name in ("width", "height", "viewBox"))
    if width is None or height is None or box is None:
        raise ValueError("the SVG has no width, height and viewBox")
    sides = float(width[1]), float(height[1])
    units = max(float(v) for v in box[1].split()[2:]) / max(sides)
    text = _LINES.sub(lambda found: f"{found[1]}{float(found[2]) * units:.6g}", text, count=1)
    wide = sides[0] >= sides[1]
    return resvg_py.svg_to_bytes(svg_string=text, width=longest if wide else None, height=None if wide else longest, skip_system_fonts=True)


#: Where the document's size and its lines' width stand in what `svg.write` wrote.
_HEAD = {name: re.compile(rf'<svg [^>]*?\b{name}="([^"]+)"') for name in ("width", "height", "viewBox")}
_LINES = re.compile(r'(<g id="lines"[^>]* stroke-width=")([0-9.]+)')


def vectorize(
    image: LabelImage,
    palette: Palette,
    tracer: Tracer,
    settings: VectorSettings,
    metadata: Mapping[str, object],
    preview: bool,
    progress: Progress,
) -> Drawing:
    """Label image → SVG and, where `preview` is wanted, its render.

    Raises RuntimeError where the audit finds what is wrong to see: a colour that nobody asked for, an element that is no shape. A path
    that stands twice in a layer looks the same: it is logged.
    """
    progress.step("fills", 0.0)
    traced = tracer(image, palette, settings.tolerance)
    progress.step("lines", 0.5)
    drawn: list[str] = []
    if settings.mode in ("boundaries", "both"):
        drawn += traced.boundaries
    if settings.mode in ("centerlines", "both"):
        drawn += centerlines(image, settings.tolerance, traced.cracks if settings.mode == "both" else None)
    progress.step("svg", 0.6)
    box, side = canvas_box(image, settings.canvas), image.key.shape[0]
    svg = write(traced.faces, drawn, palette, settings.stroke, box, side, settings.background, metadata)
    found = audit(svg, palette, settings.stroke)
    if found.off_palette:
        raise RuntimeError(f"the SVG failed its audit: {found}")
    if found.doubled:
        log.warning("svg_paths_doubled", count=found.doubled)
    progress.step("preview", 0.8)
    png = render(svg) if preview else b""
    return Drawing(svg, png, found.curves, found.colors_used, len(found.off_palette))

"""The order of phase 4: trace the fills, draw the lines, write the SVG, audit it, render it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import resvg_py

from pipeline.palette import Palette
from pipeline.phase4_vectorize import lines
from pipeline.phase4_vectorize.svg import BLACK, Stroke, audit, write
from pipeline.phase4_vectorize.tracer import Tracer
from pipeline.progress import Progress
from pipeline.values import Box, Drawing, LabelImage

Mode = Literal["boundaries", "centerlines", "both", "none"]
Canvas = Literal["square", "photo", "vehicle"]

#: Longest side of the preview, pixels, and the margin of the `vehicle` canvas as a fraction of the vehicle's longest side.
PREVIEW, MARGIN = 2048, 0.04


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
    side = float(image.labels.shape[0])
    if canvas == "photo":
        return image.frame.content
    rows, columns = np.flatnonzero(image.inside.any(1)), np.flatnonzero(image.inside.any(0))
    if canvas == "square" or not len(rows):
        return (0.0, 0.0, side, side)
    x0, y0, x1, y1 = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
    margin = MARGIN * max(x1 - x0, y1 - y0)
    return (x0 - margin, y0 - margin, x1 + margin, y1 + margin)


def render(svg: bytes, longest: int = PREVIEW) -> bytes:
    """PNG of the SVG, longest side `longest` pixels. resvg ignores `vector-effect`, so that widths scale with the picture."""
    head = svg[: svg.index(b">", svg.index(b"<svg"))].decode()
    width, height = (float(head.split(f' {name}="')[1].split('"')[0]) for name in ("width", "height"))
    wide = width >= height
    return resvg_py.svg_to_bytes(
        svg_string=svg.decode(), width=longest if wide else None, height=None if wide else longest, skip_system_fonts=True
    )


def vectorize(
    image: LabelImage,
    palette: Palette,
    tracer: Tracer,
    settings: VectorSettings,
    metadata: Mapping[str, object],
    preview: bool,
    progress: Progress,
) -> Drawing:
    """Label image → SVG and, where `preview` is wanted, its render. An SVG that fails the audit is a bug and raises."""
    progress.step("vectorize", "fills", 0.75)
    traced = tracer(image, palette, settings.tolerance)
    progress.step("vectorize", "lines", 0.85)
    drawn: list[str] = []
    if settings.mode in ("boundaries", "both"):
        drawn += traced.boundaries
    if settings.mode in ("centerlines", "both"):
        drawn += lines.centerlines(image, settings.tolerance, traced.cracks if settings.mode == "both" else None)
    progress.step("vectorize", "svg", 0.88)
    svg = write(traced.faces, drawn, palette, settings.stroke, canvas_box(image, settings.canvas), settings.background, metadata)
    found = audit(svg, palette, settings.stroke)
    if found.off_palette or found.doubled:
        raise RuntimeError(f"the SVG failed its audit: {found}")
    progress.step("vectorize", "preview", 0.92)
    png = render(svg) if preview else b""
    return Drawing(svg, png, found.curves, found.colors_used, len(found.off_palette))

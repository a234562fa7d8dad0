"""What `bench.vectorize` measures of one tracer on one picture, and how it is printed."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import median

import numpy as np

from pipeline.palette import Palette
from pipeline.values import LabelImage
from tests.support import svg_geometry, svg_raster
from tests.support.svg_strokes import Strokes

HEADINGS = (
    f"{'tracer':14} {'s':>6} {'MB':>6} {'segm.':>6} {'cubic':>6} {'line':>6} {'lines l.':>8} {'kB':>6} {'gz kB':>6} {'strokes':>7} "
    f"{'off pal':>7} {'dupl':>5} {'infl':>6} {'in l.':>6} {'gaps':>7} {'off %':>6} {'p99':>5} {'max':>6} {'strays':>6}"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One tracer on one picture. Counts are of the fills unless a name says otherwise; lengths in px of the working raster."""

    seconds: float
    peak_mb: float
    cubics: float
    lines: float
    line_layer: float  # segments
    size: float  # bytes
    gzipped: float
    with_strokes: float  # bytes, the paths written once more where there is no line layer
    off_palette: float
    duplicates: float
    inflections: float  # per 1,000 px of the fills' paths
    inflections_lines: float  # the same of the line layer, boundaries only
    fidelity: svg_raster.Fidelity
    faults: dict[str, svg_raster.Points]  # where the first of them are

    @property
    def segments(self) -> float:
        """Curves and lines of the fills and whatever closes their gaps."""
        return self.cubics + self.lines

    @staticmethod
    def median(rows: Sequence["Row"]) -> "Row":
        """The median of every number."""
        seen = [r.fidelity for r in rows]
        middle = svg_raster.Fidelity(*(median(getattr(f, k.name) for f in seen) for k in fields(svg_raster.Fidelity)))
        return Row(*(median(getattr(r, k.name) for r in rows) for k in fields(Row) if k.type is float), middle, {})


@dataclass(frozen=True, slots=True)
class Extra:
    """What is measured of ours alone: phases 3 and 4 together, the strokes, whether the bytes are the same on repeat and with
    one thread, that run's time, and the share of the vehicle's pixels whose colour is another one than in the drawing. `strokes`
    are of the boundaries alone, `doubled` of the default's inner lines too, px."""

    back_seconds: float
    back_mb: float
    strokes: Strokes
    doubled: float
    same: bool
    one_thread_seconds: float
    changed: float


@dataclass(frozen=True, slots=True)
class Picture:
    """All tracers on one picture; `extra` is None for a quick run."""

    name: str
    rows: dict[str, Row]
    extra: Extra | None


def measure(
    svg: bytes, ran: dict[str, float], image: LabelImage, palette: Palette, opaque: bool, boundaries: Sequence[svg_geometry.Shape]
) -> Row:
    """Everything that is measured alike for every tracer; `opaque`: nothing was painted white for it; `boundaries` as strokes."""
    shapes = svg_geometry.read_svg(svg)
    fills, strokes = svg_geometry.in_layer(shapes, lines=False), svg_geometry.in_layer(shapes, lines=True)
    cubics, lines = svg_geometry.segments(fills)
    allowed = set(palette.colors) | ({"#FFFFFF"} if opaque else set())
    labels, colors, nothing = target(image, palette, opaque)
    again = 0 if strokes else sum(len(d.split(b'"', 1)[0]) for d in svg.split(b' d="')[1:])
    return Row(
        ran["seconds"],
        ran["peak_mb"],
        cubics,
        lines,
        sum(svg_geometry.segments(strokes)),
        len(svg),
        len(gzip.compress(svg, 9, mtime=0)),
        len(svg) + again,
        len(svg_geometry.colors(fills) - allowed),
        svg_geometry.duplicates(fills) + svg_geometry.duplicates(strokes),
        1000 * svg_geometry.inflections(fills) / max(1.0, svg_geometry.length(fills)),
        1000 * svg_geometry.inflections(boundaries) / max(1.0, svg_geometry.length(boundaries)),
        *svg_raster.fidelity(svg, labels, colors, nothing),
    )


def target(image: LabelImage, palette: Palette, opaque: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """What a render has to show: labels, their colours, and the label of nothing (one that no pixel has for `opaque`)."""
    if not opaque:
        return image.labels, palette.rgb, image.nothing
    colors, white = palette.rgb, image.nothing
    if "#FFFFFF" in palette.colors:
        white = palette.colors.index("#FFFFFF")
    else:
        colors = np.vstack([colors, [[255, 255, 255]]]).astype(np.uint8)
    return np.where(image.labels == image.nothing, np.uint8(white), image.labels), colors, 255


def line(tracer: str, r: Row) -> str:
    """One line under `HEADINGS`."""
    f = r.fidelity
    return (
        f"{tracer:14} {r.seconds:6.2f} {r.peak_mb:6.0f} {r.segments:6.0f} {r.cubics:6.0f} {r.lines:6.0f} {r.line_layer:8.0f} "
        f"{r.size / 1e3:6.0f} {r.gzipped / 1e3:6.0f} {r.with_strokes / 1e3:7.0f} {r.off_palette:7.0f} {r.duplicates:5.0f} "
        f"{r.inflections:6.2f} {r.inflections_lines:6.2f} {f.gaps:7.0f} {100 * f.off:6.3f} {f.p99:5.2f} {f.largest:6.1f} {f.strayed:6.0f}"
    )

"""The figures asked of the back half, judged from a run of `bench.vectorize`, and the pages in docs/benchmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.vectorize.rows import HEADINGS, Extra, Picture, Row, line
from bench.vectorize.truth import scene
from tests.support.svg_raster import render

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
#: What the crops show: a name and a point of the sample car, metres.
CROPS = (
    ("wheel", (1.33, 0.42, 0.815)),
    ("headlamp", (1.85, 0.70, 0.70)),
    ("window's corner and mirror", (0.55, 1.0, 0.80)),
    ("door", (-0.60, 0.85, 0.87)),
)
WIDTH, HEIGHT = 600, 400


@dataclass(frozen=True, slots=True)
class Truth:
    """Against the true outlines, px: mean and rms distance of the drawn boundaries, of the label image's, of VTracer's; corners."""

    ours: tuple[float, float]
    pixels: tuple[float, float]
    vtracer: tuple[float, float]
    corners: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: what was measured, and what was asked for (at most), if anything was."""

    name: str
    value: float
    asked: float | None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the value is at most what was asked for."""
        return self.asked is None or self.value <= self.asked

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        if self.asked is None:
            return f"{self.name}: {self.value:.3g} (nothing asked{note})"
        return f"{self.name}: {self.value:.3g} (asked at most {self.asked:.3g}{note}) {'met' if self.met else 'MISSED'}"


def _ratio(pictures: Sequence[Picture], mine: Callable[[Row], float], other: str, theirs: Callable[[Row], float]) -> float:
    return median(mine(p.rows["ours"]) / max(theirs(p.rows[other]), 1e-9) for p in pictures)


def figures(pictures: Sequence[Picture], truth: Truth | None) -> list[Figure]:
    """Every figure that the pictures' tracers allow; ratios and fidelity are medians over the pictures, faults are sums."""
    full = [(p, p.extra) for p in pictures if p.extra]
    out = _speed(pictures, full) + _size(pictures, bool(full)) + _fidelity([p.rows["ours"] for p in pictures])
    return out + (_lines([e for _, e in full]) if full else []) + (_truth(truth) if truth else [])


def _speed(pictures: Sequence[Picture], full: Sequence[tuple[Picture, Extra]]) -> list[Figure]:
    traced = _ratio(pictures, lambda r: r.seconds, "vtracer", lambda r: r.seconds)
    if not full:
        return [Figure("trace, fit and SVG's time / VTracer's", traced, 0.1)]
    slow = median(e.back_seconds / p.rows["vtracer"].seconds for p, e in full)
    clear = median(e.back_seconds / p.rows["vtracer clear"].seconds for p, e in full)
    alone = median(e.one_thread_seconds / p.rows["vtracer"].seconds for p, e in full)
    return [
        Figure("trace, fit and SVG's time / VTracer's", traced, 0.1, f"{alone:.3g} with one thread"),
        Figure("back half's time / VTracer's", slow, 1.0, f"{clear:.3g} of VTracer's with nothing transparent"),
        Figure("peak memory above the raster, MB, worst", max(max(e.back_mb, p.rows["ours"].peak_mb) for p, e in full), 1000),
    ]


def _size(pictures: Sequence[Picture], full: bool) -> list[Figure]:
    out = [Figure("segments of the fills / VTracer's", _ratio(pictures, lambda r: r.segments, "vtracer", lambda r: r.segments), 1 / 5)]
    if full:
        fewer = _ratio(pictures, lambda r: r.segments, "potrace", lambda r: r.segments)
        out.append(Figure("segments of the fills / Potrace's", fewer, 1 / 3))
    plain = _ratio(pictures, lambda r: r.size, "vtracer", lambda r: r.size)
    strokes = _ratio(pictures, lambda r: r.size, "vtracer", lambda r: r.with_strokes)
    lines = _ratio(pictures, lambda r: r.inflections_lines, "vtracer", lambda r: r.inflections)
    fills = _ratio(pictures, lambda r: r.inflections, "vtracer", lambda r: r.inflections)
    return [
        *out,
        Figure("bytes with lines / VTracer's with its paths once more as strokes", strokes, 1 / 4, f"{plain:.3g} of its fills alone"),
        Figure("inflections per 1,000 px, boundaries / VTracer's", lines, 1 / 3),
        Figure("inflections per 1,000 px, fills / VTracer's", fills, 1 / 3),
    ]


def _fidelity(ours: Sequence[Row]) -> list[Figure]:
    seen = [r.fidelity for r in ours]
    return [
        Figure("pixels off, %", 100 * median(f.off for f in seen), 0.5, f"worst {100 * max(f.off for f in seen):.3g}"),
        Figure("99th percentile of the shift, px", median(f.p99 for f in seen), 1.5, f"worst {max(f.p99 for f in seen):.3g}"),
        Figure("largest shift, px", median(f.largest for f in seen), 3.0, f"worst {max(f.largest for f in seen):.3g}"),
        Figure("pixels whose colour strayed more than 3 px", sum(f.strayed for f in seen), None),
        Figure("gap pixels", sum(f.gaps for f in seen), 0),
        Figure("off-palette colours", sum(r.off_palette for r in ours), 0),
        Figure("duplicate geometries", sum(r.duplicates for r in ours), 0),
    ]


def _lines(extra: Sequence[Extra]) -> list[Figure]:
    laid, budget = [e.strokes for e in extra], [e.changed for e in extra]
    return [
        Figure("cracks of a boundary without a stroke", sum(s.uncovered for s in laid), 0, f"of {sum(s.cracks for s in laid)}"),
        Figure("px stroked twice", sum(s.doubled for s in laid), 0, f"of {sum(s.length for s in laid):.0f}"),
        Figure("px stroked twice, inner lines included", sum(e.doubled for e in extra), 0),
        Figure("px stroked along no boundary", sum(s.invented for s in laid), 0),
        Figure("px stroked along the frame", sum(s.framed for s in laid), 0),
        Figure("pictures with other bytes on repeat or with one thread", sum(not e.same for e in extra), 0),
        Figure("vehicle's pixels of another colour than in the drawing, worst", max(budget), 0.03, f"median {median(budget):.3g}"),
    ]


def _truth(t: Truth) -> list[Figure]:
    ours, pixels, theirs = (f"{mean:.3f} px, rms {rms:.3f}" for mean, rms in (t.ours, t.pixels, t.vtracer))
    late = f"{int((t.corners > 2).sum())} of {len(t.corners)} beyond"
    return [
        Figure(
            "distance from the true outline / the label image's",
            t.ours[0] / t.pixels[0],
            0.75,
            f"ours {ours}; label image {pixels}; VTracer {theirs}",
        ),
        Figure("largest distance of a true corner from a fitted one, px", float(t.corners.max()), 2.0, late),
    ]


def medians(pictures: Sequence[Picture]) -> dict[str, Row]:
    """For each tracer that ran on every picture, the median of every number over the pictures."""
    return {t: Row.median([p.rows[t] for p in pictures]) for t in pictures[0].rows if all(t in p.rows for p in pictures)}


def crops(folder: Path, name: str, side: int) -> Image.Image:
    """1:1 parts of the sample scene's SVGs: ours on the left, VTracer's on the right, a row for each of `CROPS`."""
    sheet = Image.new("RGB", (2 * WIDTH + 8, len(CROPS) * (HEIGHT + 8) - 8), "white")
    s = scene(side)
    points = s.camera.project(np.array([p for _, p in CROPS])) + np.array([0, s.top])
    points[:, 0] = side - points[:, 0] if s.look.mirrored else points[:, 0]
    for column, tracer in enumerate(("ours", "vtracer_clear")):
        picture = Image.fromarray(render((folder / f"{name}.{tracer}.svg").read_text(), "#FFFFFF"))
        for row, (x, y) in enumerate(points):
            x0, y0 = int(x) - WIDTH // 2, int(y) - HEIGHT // 2
            sheet.paste(picture.crop((x0, y0, x0 + WIDTH, y0 + HEIGHT)), (column * (WIDTH + 8), row * (HEIGHT + 8)))
    return sheet


def write_docs(pictures: Sequence[Picture], found: Sequence[Figure], sheet: Image.Image, versions: str) -> None:
    """docs/benchmarks/vectorize.md and vectorize.png."""
    DOCS.mkdir(parents=True, exist_ok=True)
    sheet.quantize(128, dither=Image.Dither.NONE).save(DOCS / "vectorize.png", optimize=True)
    text = ["# Tracers side by side", "", f"Written by `python -m bench.vectorize --docs`. {versions}", ""]
    text += ["Every tracer gets the same label images in one run; `bench/vectorize/tracers.py` has their settings,"]
    text += ["`tests/support/svg_*.py` define the measures, `bench/vectorize/truth.py` the true outlines.", ""]
    text += [
        "Columns: best time of at least three (s), memory at the peak above what was held before (MB), segments of the fills (cubics and"
    ]
    text += ["lines), segments of the line layer, size plain and gzipped (kB), size if a tracer without a line layer wrote its paths"]
    text += ["once more to stroke them, colours outside the palette, doubled geometries, inflections per 1,000 px of the fills' paths"]
    text += ["and of the line layer's, gap pixels, pixels off (%), boundary shift in px (99th percentile, largest), pixels whose colour"]
    text += ["strayed by more than 3 px.", ""]
    text += ["`vtracer` traces the square on white, `vtracer clear` with what is not drawn left transparent.", ""]
    text += [
        f"## Medians over {len(pictures)} pictures",
        "",
        "```",
        HEADINGS,
        *(line(t, r) for t, r in medians(pictures).items()),
        "```",
        "",
    ]
    text += ["## Figures", "", *(f"- {f}" for f in found), ""]
    names = ", ".join(n for n, _ in CROPS)
    text += [
        "## The sample scene at 1:1",
        "",
        f"Ours on the left, VTracer (transparent) on the right: {names}.",
        "",
        "![](vectorize.png)",
        "",
    ]
    text += ["## Each picture", ""]
    for p in pictures:
        text += [f"{p.name}", "", "```", HEADINGS, *(line(t, r) for t, r in p.rows.items()), "```", ""]
    (DOCS / "vectorize.md").write_text("\n".join(text).rstrip() + "\n")

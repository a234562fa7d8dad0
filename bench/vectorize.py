"""Tracers side by side on the same label images: `python -m bench.vectorize [NAME…] [--quick] [--docs]`.

For each photograph of ../shared/photos (the sample scene where they are not there, or with --docs) the classical engine draws
the label image once; it is kept in bench/out/labels until --fresh. Then, in one run: ours, VTracer, Potrace and, with
--imagetracer N on the first N pictures, imagetracerjs. Prints a table a picture, the medians, and the figures asked for.

--quick measures ours and VTracer only: time, segments, bytes, pixels off, shift.
"""

import argparse
import gzip
import pickle
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from bench.speed import PHOTOS, inputs
from bench.tracers import OURS, OUT, imagetracer, in_process, potrace
from pipeline import service, settings
from pipeline.job import read
from pipeline.palette import Palette
from pipeline.photo import Photo
from pipeline.progress import Progress
from pipeline.run import run
from pipeline.sample import scene
from pipeline.values import Illustration, LabelImage
from tests import svg_geometry, svg_raster

LABELS = OUT / "labels"
PALETTES = {
    "default": None,
    "guide": "FF0000,00FF00,0000FF,FFFF00,FF00FF,00FFFF,000000,FFFFFF,808080,404040,C0C0C0,FFA500,800080,008080,FFB6C1",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One tracer on one picture. Counts are of the fills unless a name says otherwise; lengths in px of the working raster."""

    seconds: float
    peak_mb: float
    cubics: int
    lines: int
    line_layer: int
    size: int
    gzipped: int
    with_strokes: int
    off_palette: int
    duplicates: int
    inflections: float  # per 1,000 px of the fills' paths
    inflections_lines: float  # the same of the line layer
    fidelity: svg_raster.Fidelity

    @property
    def segments(self) -> int:
        """Curves and lines of the fills and whatever closes their gaps."""
        return self.cubics + self.lines


def draw(options: argparse.Namespace) -> list[tuple[str, Path]]:
    """Names and files of the label images wanted; draws those that are not cached."""
    LABELS.mkdir(parents=True, exist_ok=True)
    ending = f"{options.palette}.{options.size}.pkl"
    worker = None
    found = []
    for name, photo in _photos(options):
        path = LABELS / f"{name}.{ending}"
        found.append((name, path))
        if path.exists() and not options.fresh:
            continue
        print(f"drawing {name}", flush=True)
        worker = worker or service.start(settings.environment({"ENGINE": "classical"}), settings.load())
        given = {"palette_hex_list": PALETTES[options.palette]} if PALETTES[options.palette] else {}
        job = read({"image_url": "http://x", "size": options.size, **given})
        done = run(photo, None, job, worker.steps, worker.settings, Progress())
        path.write_bytes(pickle.dumps((done.illustration, done.labels, job.palette)))
    return found


def _photos(options: argparse.Namespace) -> list[tuple[str, Photo]]:
    """The photographs named, or the sample scene where there are none; --docs adds it."""
    known = [(Path(name).stem.replace(" ", "_"), photo) for name, photo in inputs(options.names)]
    if options.docs and PHOTOS.is_dir():
        known.append(("sample_scene", Photo(scene().rgb, None, "sample")))
    return known


def load(path: Path) -> tuple[Illustration, LabelImage, Palette]:
    """A cached label image with its drawing and palette."""
    with path.open("rb") as file:
        illustration, image, palette = pickle.load(file)
    return illustration, image, palette


def measure(svg: bytes, ran: dict[str, float], image: LabelImage, palette: Palette, opaque: bool) -> Row:
    """Everything that is measured alike for every tracer; `opaque`: nothing was painted white for it."""
    shapes = svg_geometry.read_svg(svg)
    fills, strokes = svg_geometry.in_layer(shapes, lines=False), svg_geometry.in_layer(shapes, lines=True)
    cubics, lines = svg_geometry.segments(fills)
    allowed = set(palette.colors) | ({"#FFFFFF"} if opaque else set())
    labels, colors, nothing = _target(image, palette, opaque)
    # a tracer without a line layer would write its paths once more to stroke them
    again = 0 if strokes else sum(len(d) for d in svg.split(b' d="')[1:] for d in [d.split(b'"', 1)[0]])
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
        1000 * svg_geometry.inflections(strokes) / max(1.0, svg_geometry.length(strokes)),
        svg_raster.fidelity(svg, labels, colors, nothing),
    )


def _target(image: LabelImage, palette: Palette, opaque: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """What a render has to show: labels, their colours, and the label of nothing (one that no pixel has for `opaque`)."""
    if not opaque:
        return image.labels, palette.rgb, image.nothing
    colors, white = palette.rgb, image.nothing
    if "#FFFFFF" in palette.colors:
        white = palette.colors.index("#FFFFFF")
    else:
        colors = np.vstack([colors, [[255, 255, 255]]]).astype(np.uint8)
    return np.where(image.labels == image.nothing, np.uint8(white), image.labels), colors, 255


TRACED = {"ours": False, "vtracer": True, "vtracer clear": False, "potrace": False, "imagetracerjs": True}


def compare(name: str, path: Path, tracers: list[str]) -> dict[str, Row]:
    """Every tracer on one label image."""
    _, image, palette = load(path)
    rows = {}
    for tracer in tracers:
        out = OUT / "svg" / f"{name}.{tracer.replace(' ', '_')}.svg"
        out.parent.mkdir(parents=True, exist_ok=True)
        if tracer == "potrace":
            ran = potrace(image, palette, out)
        elif tracer == "imagetracerjs":
            ran = imagetracer(image, palette, out)
        else:
            ran = in_process(tracer, path, out)
        rows[tracer] = measure(out.read_bytes(), ran, image, palette, TRACED[tracer])
    return rows


HEADINGS = (
    f"{'tracer':14} {'s':>6} {'MB':>6} {'segm.':>6} {'cubic':>6} {'line':>6} {'lines l.':>8} {'kB':>6} {'gz kB':>6} {'strokes':>7} "
    f"{'off pal':>7} {'dupl':>5} {'infl':>6} {'in l.':>6} {'gaps':>7} {'off %':>6} {'p99':>5} {'max':>6} {'strays':>6}"
)


def line(tracer: str, r: Row) -> str:
    f = r.fidelity
    return (
        f"{tracer:14} {r.seconds:6.2f} {r.peak_mb:6.0f} {r.segments:6} {r.cubics:6} {r.lines:6} {r.line_layer:8} {r.size / 1e3:6.0f} "
        f"{r.gzipped / 1e3:6.0f} {r.with_strokes / 1e3:7.0f} {r.off_palette:7} {r.duplicates:5} "
        f"{r.inflections:6.2f} {r.inflections_lines:6.2f} {f.gaps:7} {100 * f.off:6.3f} {f.p99:5.2f} {f.largest:6.1f} {f.strayed:6}"
    )


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--palette", choices=list(PALETTES), default="default")
    parser.add_argument("--fresh", action="store_true", help="draw the label images again")
    parser.add_argument("--quick", action="store_true", help="ours and VTracer only")
    parser.add_argument("--imagetracer", type=int, default=0, metavar="N", help="imagetracerjs too, on the first N pictures")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks")
    options = parser.parse_args()
    print(f"ours is {OURS}")
    table: list[dict[str, Row]] = []
    for number, (name, path) in enumerate(draw(options)):
        tracers = ["ours", "vtracer"] if options.quick else ["ours", "vtracer", "vtracer clear", "potrace"]
        tracers += ["imagetracerjs"] if number < options.imagetracer else []
        began = time.perf_counter()
        rows = compare(name, path, tracers)
        table.append(rows)
        print(f"\n{name} ({time.perf_counter() - began:.0f} s)\n{HEADINGS}")
        for tracer, row in rows.items():
            print(line(tracer, row), flush=True)
    for what in ("seconds", "segments", "with_strokes"):
        ratios = [getattr(rows["ours"], what) / getattr(rows["vtracer"], what) for rows in table]
        print(f"median {what}, ours / vtracer: {median(ratios):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

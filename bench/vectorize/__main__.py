"""Tracers side by side on the same label images: `python -m bench.vectorize [NAME…] [--quick] [--docs]`.

For each photograph of ../shared/photos (the sample scene where they are not there, or with --docs) the classical engine draws
the label image once; it is kept in bench/out/labels until --fresh. Then, in one run: ours, VTracer, Potrace and, with
--imagetracer N on the first N pictures, imagetracerjs. Prints a table a picture, the medians, and each figure asked for as
`figure: value (asked …) met` or MISSED. The SVGs are left in bench/out/svg.

--quick measures ours and VTracer only, not the strokes, the whole back half, one thread and the true outlines.
"""

import argparse
import pickle
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bench.vectorize import truth
from bench.vectorize.chromium import chromium_gaps
from bench.vectorize.figures import Truth, crops, figures, medians, write_docs
from bench.vectorize.rows import HEADINGS, Extra, Picture, line, measure
from bench.vectorize.speed import PHOTOS, inputs
from bench.vectorize.tracers import IMAGETRACER, OURS, OUT, imagetracer, in_process, our_svg, potrace
from pipeline import service, settings
from pipeline.intake.photo import Photo
from pipeline.job import read
from pipeline.palette import Palette
from pipeline.phase3_enforce import ciede2000
from pipeline.progress import Progress
from pipeline.run import run
from pipeline.sample import scene
from pipeline.values import Illustration, LabelImage
from tests.support import svg_geometry
from tests.support.svg_strokes import strokes

LABELS, SVGS = OUT / "labels", OUT / "svg"
SAMPLE = "sample_scene"
PALETTES = {
    "default": "",
    "guide": "FF0000,00FF00,0000FF,FFFF00,FF00FF,00FFFF,000000,FFFFFF,808080,404040,C0C0C0,FFA500,800080,008080,FFB6C1",
}
#: Tracers, and whether what is not drawn is painted white for them.
TRACED = {"ours": False, "vtracer": True, "vtracer clear": False, "potrace": False, "imagetracerjs": True}


def draw(options: argparse.Namespace) -> list[tuple[str, Path]]:
    """Names and files of the label images wanted; draws those that are not cached."""
    LABELS.mkdir(parents=True, exist_ok=True)
    worker = None
    found = []
    for name, photo in _photos(options):
        path = LABELS / f"{name}.{options.palette}.{options.size}.pkl"
        found.append((name, path))
        if path.exists() and not options.fresh:
            continue
        print(f"drawing {name}", flush=True)
        worker = worker or service.start(settings.environment({"ENGINE": "classical"}), settings.load())
        given = {"palette_hex_list": PALETTES[options.palette]} if PALETTES[options.palette] else {}
        job = read({"image_url": "http://x", "size": options.size, **given})
        done = run(photo, None, job, worker.steps, worker.settings, Progress())
        path.unlink(missing_ok=True)
        path.write_bytes(pickle.dumps((done.illustration, done.labels, job.palette)))
    return found


def _photos(options: argparse.Namespace) -> list[tuple[str, Photo]]:
    """The photographs named, or the sample scene where there are none; --docs adds it."""
    known = [(Path(name).stem.replace(" ", "_"), photo) for name, photo in inputs(options.names)]
    if options.docs and PHOTOS.is_dir():
        known.append((SAMPLE, Photo(scene().rgb, None, "sample")))
    if not known:
        raise SystemExit(f"No photograph's name contains any of: {', '.join(options.names)}.")
    return known


def load(path: Path) -> tuple[Illustration, LabelImage, Palette]:
    """A cached label image with its drawing and palette."""
    with path.open("rb") as file:
        illustration, image, palette = pickle.load(file)
    return illustration, image, palette


def compare(name: str, path: Path, tracers: list[str], full: bool) -> Picture:
    """Every tracer on one label image."""
    illustration, image, palette = load(path)
    rows, same = {}, True
    lines = svg_geometry.in_layer(svg_geometry.read_svg(our_svg(image, palette, "boundaries")), lines=True)
    for tracer in tracers:
        out = SVGS / f"{name}.{tracer.replace(' ', '_')}.svg"
        if tracer == "potrace":
            ran = potrace(image, palette, out)
        elif tracer == "imagetracerjs":
            ran = imagetracer(image, palette, out)
        else:
            ran = in_process(tracer, path, out)
            same &= tracer != "ours" or bool(ran["same"])
        rows[tracer] = measure(out.read_bytes(), ran, image, palette, TRACED[tracer], lines if tracer == "ours" else [])
    if not full:
        return Picture(name, rows, None)
    one = SVGS / f"{name}.one_thread.svg"
    alone = in_process("ours", path, one, threads=1)
    same &= one.read_bytes() == (SVGS / f"{name}.ours.svg").read_bytes()
    back = in_process("back half", path, SVGS / f"{name}.back_half.svg")
    key = image.key
    laid = strokes(lines, key)
    everything = svg_geometry.in_layer(svg_geometry.read_svg((SVGS / f"{name}.ours.svg").read_bytes()), lines=True)
    twice = strokes(everything, key).doubled
    told = changed(illustration, image, palette)
    return Picture(name, rows, Extra(back["seconds"], back["peak_mb"], laid, twice, same, alone["seconds"], told))


def changed(illustration: Illustration, image: LabelImage, palette: Palette) -> float:
    """Share of the vehicle's pixels whose label is another than the nearest colour of the drawing's pixel there."""
    drawn = ciede2000.label(np.ascontiguousarray(illustration.rgb), palette)
    at = (np.arange(len(image.labels)) * len(drawn)) // len(image.labels)
    return float(np.mean(drawn[at[:, None], at][image.inside] != image.labels[image.inside]))


def true_outline(side: int) -> Truth:
    """Ours, the label image's own boundary and VTracer's against the sample scene's true outlines; see `bench.vectorize.truth`.

    Points every 0.25 px along each; VTracer's fills are cut off at 3 px, as its shapes also pass beneath one another.
    """
    s = truth.scene(side)
    path = LABELS / f"truth.{side}.pkl"
    if not path.exists():
        path.write_bytes(pickle.dumps((None, truth.rasterise(s, side), truth.PALETTE)))
    _, image, palette = load(path)
    known = truth.outline(image.labels, lambda points: truth.at(s, points))
    svg = our_svg(image, palette, "boundaries")
    (SVGS / "truth.ours.svg").write_bytes(svg)
    lines = svg_geometry.in_layer(svg_geometry.read_svg(svg), lines=True)
    in_process("vtracer clear", path, SVGS / "truth.vtracer.svg")
    theirs = svg_geometry.sampled(svg_geometry.read_svg((SVGS / "truth.vtracer.svg").read_bytes()), 0.25)[0]

    def apart(points: np.ndarray, most: float = np.inf) -> tuple[float, float]:
        d = truth.distances(points, known.lines)
        d = d[d <= most]
        return float(d.mean()), float(np.sqrt((d**2).mean()))

    corners, fitted = truth.true_corners(known), svg_geometry.corners(lines)
    near = np.hypot(*(corners[:, None] - fitted[None]).transpose(2, 0, 1)).min(1)
    for (x, y), d in zip(corners, near, strict=True):
        if d > 2:
            print(f"true corner at {x:.1f} {y:.1f}: nearest fitted one {d:.1f} px away")
    return Truth(apart(svg_geometry.sampled(lines, 0.25)[0]), apart(truth.resampled(known.cracks, 0.25)), apart(theirs, 3.0), near)


def versions() -> str:
    """The programs compared."""
    traced = subprocess.run(["potrace", "--version"], capture_output=True, text=True, check=True).stdout.split()[1].rstrip(".")
    return f"VTracer {version('vtracer')}, Potrace {traced}, imagetracerjs {IMAGETRACER}, resvg_py {version('resvg_py')}."


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--palette", choices=list(PALETTES), default="default")
    parser.add_argument("--fresh", action="store_true", help="draw the label images again")
    parser.add_argument("--quick", action="store_true", help="ours and VTracer only")
    parser.add_argument("--faults", action="store_true", help="name places of our gaps, strays and largest shifts, x y")
    parser.add_argument("--chromium", action="store_true", help="count our gaps in Chromium too")
    parser.add_argument("--truth", action="store_true", help="the true outlines only")
    parser.add_argument("--imagetracer", type=int, default=0, metavar="N", help="imagetracerjs too, on the first N pictures")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks")
    options = parser.parse_args()
    if not options.quick and not options.truth and shutil.which("potrace") is None:
        parser.error("potrace is not on the PATH (apt-get install potrace); --quick does without it")
    SVGS.mkdir(parents=True, exist_ok=True)
    LABELS.mkdir(parents=True, exist_ok=True)
    print(f"ours is {OURS}")
    if options.truth:
        print(true_outline(options.size))
        return 0
    pictures: list[Picture] = []
    for number, (name, path) in enumerate(draw(options)):
        tracers = ["ours", "vtracer"] if options.quick else ["ours", "vtracer", "vtracer clear", "potrace"]
        tracers += ["imagetracerjs"] if number < options.imagetracer else []
        began = time.perf_counter()
        pictures.append(compare(name, path, tracers, not options.quick))
        print(f"\n{name} ({time.perf_counter() - began:.0f} s)\n{HEADINGS}")
        for tracer, row in pictures[-1].rows.items():
            print(line(tracer, row), flush=True)
            if options.chromium and tracer == "ours":
                nothing = load(path)[1].labels == load(path)[1].nothing
                print(f"  gap pixels in Chromium: {chromium_gaps((SVGS / f'{name}.ours.svg').read_bytes(), nothing)}")
            if options.faults and tracer == "ours":
                print("".join(f"  {kind} at {at.tolist()}\n" for kind, at in row.faults.items()), end="")
        if pictures[-1].extra:
            print(pictures[-1].extra, flush=True)
    print(f"\nmedians over {len(pictures)} pictures\n{HEADINGS}")
    for tracer, row in medians(pictures).items():
        print(line(tracer, row))
    found = figures(pictures, None if options.quick else true_outline(options.size))
    print("\n" + "\n".join(map(str, found)))
    if options.docs:
        name = SAMPLE if any(p.name == SAMPLE for p in pictures) else pictures[-1].name
        write_docs(pictures, found, crops(SVGS, name, options.size), versions())
    return 0


if __name__ == "__main__":
    sys.exit(main())

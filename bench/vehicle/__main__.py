"""Phase 0 measured: outlines, doubt, and photographs without a vehicle: `python -m bench.vehicle [--PART …] [NAME …]`.

    --outlines          the photographs and the drawn scene without a hint, with the hand-made box, with its sides moved
    --doubt             every photograph spoiled in seven ways, and close-ups: is a poor outline warned of, and a good one not?
    --none              pictures without a vehicle that Python packages ship, and the photograph of a dog
    --without-networks  the box by colours alone
    --cost              seconds of one look and of two, peak memory; in processes of their own

Without a part all of them run. The networks were trained elsewhere, so there are no folds; what was chosen on these photographs (the
thresholds of phase 0) was chosen on `--seed 0`, other seeds spoil them anew. Looks are kept in bench/out/looks by the sha256 of what was
looked at and of the network; --fresh makes them anew. Pictures go to bench/out: red is lost, blue wrongly taken.
"""

import argparse
import hashlib
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, UnidentifiedImageError

from bench.vehicle.spoiled import KINDS, cases
from model_cache.embedded import EFFICIENTNET, ISNET, served
from pipeline.errors import JobError
from pipeline.phase0_vehicle.cut_in_box import cut_in_box
from pipeline.phase0_vehicle.efficientnet import make_verdict
from pipeline.phase0_vehicle.isnet import make_look
from pipeline.phase0_vehicle.outline import Outline
from pipeline.phase0_vehicle.search import in_box, search
from pipeline.settings import environment, load
from pipeline.steps import Look, Verdict
from pipeline.values import Box, Mask, Plane, Rgb
from tests.support.photographs import FOLDER, Example, drawn_scene, error_picture, examples, iou, jittered, sheet, upright

OUT = Path(__file__).parents[1] / "out"
PARTS = ("outlines", "doubt", "none", "without_networks", "cost")
UNCERTAIN = load().phase0.uncertain_below
#: Pictures that packages of the requirements ship, and what of them shows a vehicle.
SHIPPED = (("skimage", "data"), ("matplotlib", "mpl-data/sample_data"))
VEHICLES_SHIPPED = ("motorcycle_left", "motorcycle_right")
#: The dog, and what else is here of photographs without a vehicle.
NO_VEHICLE = ("neg_dog_kitchen.jpg",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part in PARTS:
        parser.add_argument(f"--{part.replace('_', '-')}", action="store_true")
    parser.add_argument("--seed", type=int, default=0, help="how the photographs are spoiled")
    parser.add_argument("--fresh", action="store_true", help="look again at everything")
    parser.add_argument("names", nargs="*", help="only photographs whose names contain one of these")
    args = parser.parse_args()
    wanted = [part for part in PARTS if getattr(args, part)] or list(PARTS)
    OUT.mkdir(exist_ok=True)
    look, verdict = networks(args.fresh)
    if "outlines" in wanted:
        outlines(args.names, look, verdict)
    if "doubt" in wanted:
        doubt(args.names, args.seed, look, verdict)
    if "none" in wanted:
        none(look, verdict)
    if "without_networks" in wanted:
        without_networks(args.names)
    if "cost" in wanted:
        cost()


def networks(fresh: bool) -> tuple[Look, Verdict]:
    """The embedded networks; looks are kept on the disk."""
    here = served(environment().networks_path)
    if {ISNET, EFFICIENTNET} - set(here):
        sys.exit("This needs the embedded networks: python -m builder fetch --embedded")
    look, folder = make_look(here[ISNET].path, 2), OUT / "looks" / here[ISNET].sha256[:16]
    folder.mkdir(parents=True, exist_ok=True)

    def kept(rgb: Rgb) -> Plane:
        path = folder / f"{hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()}.npy"
        if fresh or not path.exists():
            np.save(path, look(rgb))
        return np.load(path)

    return kept, make_verdict(here[EFFICIENTNET].path)


def inside(outline: Outline | None, shape: tuple[int, ...]) -> Mask:
    """An outline as a mask of the photo's own size (H, W)."""
    out = np.zeros(shape[:2], bool)
    if outline is not None:
        x0, y0, x1, y1 = (round(v) for v in outline.grid.window)
        out[y0:y1, x0:x1] = np.asarray(Image.fromarray(outline.alpha).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)) > 127
    return out


def sought(rgb: Rgb, look: Look, verdict: Verdict) -> Outline | None:
    """The outline without a hint; None where no vehicle is found."""
    try:
        return search(rgb, look, verdict)
    except JobError:
        return None


def pixels(box: Box, rgb: Rgb) -> Box:
    h, w = rgb.shape[:2]
    return (box[0] * w, box[1] * h, box[2] * w, box[3] * h)


def outlines(names: list[str], look: Look, verdict: Verdict) -> None:
    """Pixel IoU with the hand-made outlines."""
    print(f"{'outlines, IoU':26s} no hint  sure   box    sure   moved  worst")
    rows, moved_all, pictures = [], [], []
    for it in [*examples(names), drawn_scene()]:
        free = sought(it.rgb, look, verdict)
        boxed = in_box(it.rgb, pixels(it.box, it.rgb), look, verdict)
        moved = [iou(_moved(it, seed, look, verdict), it.truth) for seed in range(5)]
        row = [iou(inside(free, it.rgb.shape), it.truth), _sure(free), iou(inside(boxed, it.rgb.shape), it.truth), _sure(boxed)]
        print(f"{it.name[:26]:26s} {'   '.join(f'{v:.3f}' for v in [*row, median(moved), min(moved)])}", flush=True)
        pictures.append(error_picture(it.rgb, it.truth, inside(free, it.rgb.shape)))
        if not it.name.startswith("scene"):
            rows.append(row)
            moved_all += moved
    Image.fromarray(sheet(pictures)).save(OUT / "outlines.png")
    free, boxed = [row[0] for row in rows], [row[2] for row in rows]
    above = sum(fit > 0.88 for fit in free)
    print(f"without a hint: median {median(free):.3f} (asked 0.975), {above} of {len(free)} above 0.88 (asked 12 of 13)")
    print(f"in the box: median {median(boxed):.3f} (asked 0.98), worst {min(boxed):.3f} (asked 0.89)")
    print(f"in the moved box: median {median(moved_all):.3f} (asked 0.97), worst {min(moved_all):.3f} (asked 0.87)\n")


def _moved(it: Example, seed: int, look: Look, verdict: Verdict) -> Mask:
    box = jittered(it.box, 0.05, np.random.default_rng(seed))
    return inside(in_box(it.rgb, pixels(box, it.rgb), look, verdict), it.rgb.shape)


def _sure(outline: Outline | None) -> float:
    return 0.0 if outline is None or outline.confidence is None else outline.confidence


def doubt(names: list[str], seed: int, look: Look, verdict: Verdict) -> None:
    """Whether the confidence tells poor outlines from good ones."""
    judged = []
    for case in cases(examples(names), seed):
        found = sought(case.rgb, look, verdict)
        judged.append((case.kind, iou(inside(found, case.rgb.shape), case.truth), _sure(found), case.name))
        print(f"{case.name[:24]:24s} {case.kind:9s} IoU {judged[-1][1]:.3f}  sure {judged[-1][2]:.2f}", flush=True)
    for kind in (*KINDS, "close-up"):
        fits = [fit for its, fit, _, _ in judged if its == kind]
        print(f"{kind:9s} median {median(fits):.3f}  mean {np.mean(fits):.3f}  worst {min(fits):.3f}")
    for which, kinds in (("spoiled and as they are", KINDS), ("close-ups", ("close-up",))):
        low = [sure < UNCERTAIN for kind, fit, sure, _ in judged if kind in kinds and fit < 0.8]
        high = [sure < UNCERTAIN for kind, fit, sure, _ in judged if kind in kinds and fit > 0.95]
        print(
            f"{which}, seed {seed}: of {len(low)} below 0.80 {sum(low)} warn (asked four in five); "
            f"of {len(high)} above 0.95 {sum(high)} warn (asked one in ten at most)"
        )
    print()


def none(look: Look, verdict: Verdict) -> None:
    """Pictures without a vehicle are refused, photographs of vehicles are not."""
    wrong = count = 0
    for name, rgb in [*shipped(), *((name, upright(name)) for name in NO_VEHICLE if (FOLDER / name).exists())]:
        found, vehicle = sought(rgb, look, verdict), name in VEHICLES_SHIPPED
        count += not vehicle
        wrong += (found is not None) != vehicle
        said = "a vehicle" if found is not None else "no vehicle"
        print(f"{name[:30]:30s} {rgb.shape[1]:4d} × {rgb.shape[0]:4d}  verdict on the whole {sum(verdict(rgb)):.3f}  {said}")
    refused = [it.name for it in examples() if sought(it.rgb, look, verdict) is None] if (FOLDER / "index.csv").exists() else []
    print(f"{count} pictures without a vehicle and {len(VEHICLES_SHIPPED)} with one: {wrong} wrong; photographs refused: {refused}\n")


def shipped() -> list[tuple[str, Rgb]]:
    """The pictures that packages ship, those of at least 64 pixels a side, by name."""
    found = []
    for package, folder in SHIPPED:
        place = Path(str(files(package))) / folder
        for path in sorted(place.glob("*.*")):
            try:
                with Image.open(path) as picture:
                    rgb = np.asarray(picture.convert("RGB"))
            except (UnidentifiedImageError, OSError):
                continue
            if min(rgb.shape[:2]) >= 64:
                found.append((path.stem, rgb))
    return found


def without_networks(names: list[str]) -> None:
    """The box by colours alone."""
    fits = []
    for it in examples(names):
        fits.append(iou(inside(cut_in_box(it.rgb, pixels(it.box, it.rgb)), it.rgb.shape), it.truth))
        print(f"{it.name[:26]:26s} {fits[-1]:.3f}")
    print(f"the box by colours alone: median {median(fits):.3f}, worst {min(fits):.3f}\n")


_COST = """
import resource, sys, time
import numpy as np
from model_cache.embedded import ISNET, EFFICIENTNET, served
from pipeline.phase0_vehicle.isnet import make_look
from pipeline.phase0_vehicle.efficientnet import make_verdict
from pipeline.phase0_vehicle.search import in_box, search
from pipeline.sample import scene
from pipeline.settings import environment
here = served(environment().networks_path)
started = time.perf_counter()
look, verdict = make_look(here[ISNET].path, 2), make_verdict(here[EFFICIENTNET].path)
loaded = time.perf_counter() - started
drawn = scene()
h, w = drawn.rgb.shape[:2]
x0, y0, x1, y1 = drawn.vehicle_box
times = []
for _ in range(4):
    started = time.perf_counter()
    search(drawn.rgb, look, verdict) if sys.argv[1] == "1" else in_box(drawn.rgb, (x0 * w, y0 * h, x1 * w, y1 * h), look, verdict)
    times.append(time.perf_counter() - started)
peak, now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, int(open("/proc/self/statm").read().split()[1]) * 4 / 1024
print(f"{sys.argv[1]} look(s): {min(times):.2f} s at best, {sorted(times)[len(times) // 2]:.2f} s median; loaded in {loaded:.2f} s; "
      f"peak {peak:.0f} MB, {now:.0f} MB afterwards")
"""


def cost() -> None:
    """Seconds and memory of phase 0 on the drawn scene."""
    for looks in ("1", "2"):
        subprocess.run([sys.executable, "-c", _COST, looks], check=True)


if __name__ == "__main__":
    main()

"""Window panes, measured on drawn scenes, which know their glass: `python -m bench.glass [--seeds N] [--against GLASS.py] [--sheet]`.

Draws N scenes (default 3) of each kind in the vehicle's own square at 1024 pixels and prints of every one

    recall     share of the glass that is found
    false      what is called glass and is none, as a share of the vehicle
    panes      how many panes were found

where 8 pixels at the glass's rim count neither way: seals belong to a pane or do not. GLASS.py is `glass.py` of another checkout, measured
beside this one's. `--sheet` writes bench/out/glass.png: what was found on each scene, one colour a pane.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.edges import SIDE
from pipeline.intake.photo import letterbox, placed
from pipeline.phase0_vehicle.framing import square_of
from pipeline.phase2_illustrate import glass
from pipeline.raster import bounds, ellipse, window
from pipeline.sample import scene
from pipeline.sample.look import KINDS
from pipeline.values import Mask, Rgb

OUT = Path(__file__).parents[1] / "bench" / "out" / "glass.png"
FIRST, RIM = 100, 8  # the first seed, pixels at the rim that do not count
Panes = Callable[[Rgb, Mask], NDArray[np.uint32]]


def squared(seed: int, kind: str) -> tuple[Rgb, Mask, Mask]:
    """A scene in its vehicle's square: picture, vehicle, glass."""
    drawn = scene(seed, 1600, 1066, kind)
    box = bounds(drawn.mask)
    assert box is not None
    frame = square_of(box, 1600, 1066, SIDE)
    inside, panes = (placed(mask.astype(np.uint8) * 255, frame.photo, SIDE) > 127 for mask in (drawn.mask, drawn.glass))
    return letterbox(drawn.rgb, frame, SIDE), inside, panes


def of_file(path: Path) -> Panes:
    """`panes` of another checkout's `glass.py`."""
    spec = importlib.util.spec_from_file_location("other_glass", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    panes: Panes = module.panes
    return panes


def figures(pane: NDArray[np.uint32], inside: Mask, truth: Mask) -> tuple[float, float, int]:
    """Recall, false glass as a share of the vehicle, number of panes."""
    core = cv2.erode(truth.astype(np.uint8), ellipse(RIM)) > 0
    wide = cv2.dilate(truth.astype(np.uint8), ellipse(RIM)) > 0
    found = pane > 0
    return float(found[core].mean()), float((found & ~wide).sum() / inside.sum()), int(pane.max())


def shown(rgb: Rgb, pane: NDArray[np.uint32], inside: Mask, width: int = 600, height: int = 260) -> Rgb:
    """The vehicle with its panes in colour."""
    hues = cv2.applyColorMap((np.arange(256) * 67 % 256).astype(np.uint8)[None], cv2.COLORMAP_HSV)[0]
    picture = np.where((pane > 0)[..., None], rgb // 2 + hues[pane % 256] // 2, rgb)[window(inside, 6)]
    scale = min(width / picture.shape[1], height / picture.shape[0])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(small, 0, height - small.shape[0], 0, width - small.shape[1], cv2.BORDER_CONSTANT).astype(np.uint8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--against", type=Path, metavar="GLASS.py")
    parser.add_argument("--sheet", action="store_true")
    options = parser.parse_args()
    ways = [glass.panes] + ([of_file(options.against)] if options.against else [])
    rows, cells = [], []
    print(f"{'scene':14}" + f"{'recall':>8}{'false':>8}{'panes':>7}" * len(ways))
    for kind in KINDS:
        for seed in range(FIRST, FIRST + options.seeds):
            rgb, inside, truth = squared(seed, kind)
            found = [way(rgb, inside) for way in ways]
            rows.append([figures(pane, inside, truth) for pane in found])
            print(f"{kind + ' ' + str(seed):14}" + "".join(f"{r:8.3f}{f:8.4f}{n:7}" for r, f, n in rows[-1]), flush=True)
            cells += [shown(rgb, pane, inside) for pane in found] if options.sheet else []
    print(f"{'mean':14}" + "".join(f"{r:8.3f}{f:8.4f}{n:7.1f}" for r, f, n in np.mean(rows, axis=0)))
    if cells:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.vstack([np.hstack(cells[i : i + len(ways)]) for i in range(0, len(cells), len(ways))])).save(OUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())

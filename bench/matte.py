"""How well the classical matte fits the hand-made outlines: `python -m bench.matte --box|--no-hint [NAME …]`.

Each photograph is judged with trees that were grown without it (`python -m bench.train_matte --folds` first), the sample
scene with those that are shipped.
Boxes: as drawn by hand, and with every side moved by up to 5 % of the box. Writes bench/out/matte_box.png.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from bench.locate import report
from bench.matte_photos import Example, error_picture, examples, iou, jittered, scenes, sheet
from pipeline.phase2_illustrate import matte_trees
from pipeline.phase2_illustrate.matte_classical import matte_in_box

OUT = Path(__file__).parent / "out"
JITTERS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--box", action="store_true", help="the box is given")
    given.add_argument("--no-hint", action="store_true", help="the vehicle must be found first (bench/locate.py)")
    parser.add_argument("--side", type=int, default=1024, help="the square's side in pixels")
    parser.add_argument("names", nargs="*", help="only photographs whose names contain one of these")
    args = parser.parse_args()
    if args.no_hint:
        report(args.side, args.names)
    else:
        with_box(args)


def with_box(args: argparse.Namespace) -> None:
    """Prints a line for each photograph and draws the errors."""
    chosen = [e for e in examples(args.side) if not args.names or any(n in e.name for n in args.names)]
    rows, pictures = [], []
    print(f"{'photograph':26s}  box    moved  worst  sure   seconds")
    for number, example in enumerate(chosen):
        row, picture = judge(example, number)
        print(f"{example.name:26s}  " + "  ".join(f"{v:.3f}" for v in row), flush=True)
        rows.append(row)
        pictures.append(picture)
    table = np.array(rows)
    print(f"{'median':26s}  " + "  ".join(f"{v:.3f}" for v in np.median(table, 0)))
    print(f"{'least':26s}  " + "  ".join(f"{v:.3f}" for v in table.min(0)))
    cars = np.array(["motorcycle" not in e.name for e in chosen])
    if cars.any():
        print(f"{'least but the motorcycle':26s}  " + "  ".join(f"{v:.3f}" for v in table[cars].min(0)))
    (sample,) = scenes(args.side, [42])
    found = matte_in_box(sample.rgb, sample.frame, sample.box)
    print(f"{'the sample scene':26s}  {iou(found.inside, sample.truth):.3f}  (shipped trees, which have seen no scene)")
    OUT.mkdir(exist_ok=True)
    cv2.imwrite(str(OUT / "matte_box.png"), sheet(pictures)[..., ::-1])


def judge(example: Example, number: int) -> tuple[list[float], np.ndarray]:
    """IoU with the box as drawn, mean and least IoU with moved boxes, confidence, seconds; and the error picture."""
    trees = matte_trees.load(OUT / f"trees_without_{example.name}.npz")
    rng = np.random.default_rng(100 + number)
    started = time.perf_counter()
    matte = matte_in_box(example.rgb, example.frame, example.box, trees)
    seconds = time.perf_counter() - started
    boxes = [jittered(example.box, example.frame, 0.05, rng) for _ in range(JITTERS)]
    moved = [iou(matte_in_box(example.rgb, example.frame, box, trees).inside, example.truth) for box in boxes]
    row = [iou(matte.inside, example.truth), float(np.mean(moved)), min(moved), matte.confidence or 0.0, seconds]
    return row, error_picture(example, matte.inside)


if __name__ == "__main__":
    main()

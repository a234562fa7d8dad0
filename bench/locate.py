"""How well the vehicle is found without a hint: `python -m bench.matte --no-hint [NAME …]`.

Each photograph is judged with trees and weights that were fitted without it (`python -m bench.train_matte`,
`python -m bench.train_locate` and `python -m bench.calibrate_locate` first); the photograph without a vehicle, which
nothing was fitted on, with those that are shipped. Writes bench/out/matte_no_hint.png: red is lost, blue wrongly taken.
"""

import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from bench.matte_photos import FOLDER, Example, error_picture, examples, iou, scenes, sheet
from pipeline.errors import JobError
from pipeline.phase2_illustrate import matte_trees
from pipeline.phase2_illustrate.locate_classical import load_model, matte_without_hint
from pipeline.settings import load
from pipeline.values import Frame

OUT = Path(__file__).parent / "out"
NO_VEHICLE = "neg_dog_kitchen.jpg"
UNCERTAIN_BELOW = load().phase2.matte_uncertain_below


def report(side: int, names: list[str]) -> None:
    """Prints a line for each photograph and the figures, and draws the errors."""
    chosen = [e for e in examples(side) if not names or any(n in e.name for n in names)]
    print(f"{'photograph':26s}  IoU    sure   uncertain  seconds")
    rows, pictures = [], []
    for example in chosen:
        found, picture = judge(example)
        rows.append(found)
        pictures.append(picture)
        print(line(example.name, *found), flush=True)
    overlap, sure, seconds = np.array(rows).T
    uncertain, low, high = sure < UNCERTAIN_BELOW, overlap < 0.7, overlap > 0.85
    print(f"{'median':26s}  {np.median(overlap):.3f}  {np.median(sure):.3f}             {np.median(seconds):.1f}")
    print(f"least {overlap.min():.3f}; above 0.70: {int((overlap > 0.7).sum())} of {len(rows)}")
    print(
        f"of {low.sum()} below 0.70 uncertain: {(low & uncertain).sum()}; of {high.sum()} above 0.85 uncertain: {(high & uncertain).sum()}"
    )
    print(line(NO_VEHICLE, *without_vehicle(side)))
    (sample,) = scenes(side, [42])
    found = matte_without_hint(sample.rgb, sample.frame)
    print(line("the sample scene", iou(found.inside, sample.truth), found.confidence or 0.0, float("nan")))
    OUT.mkdir(exist_ok=True)
    cv2.imwrite(str(OUT / "matte_no_hint.png"), sheet(pictures)[..., ::-1])


def line(name: str, overlap: float, sure: float, seconds: float) -> str:
    """One line of the table; nothing found is a confidence of 0."""
    doubt = "NO_VEHICLE" if sure == 0 else "yes" if sure < UNCERTAIN_BELOW else "no"
    return f"{name:26s}  {overlap:.3f}  {sure:.3f}  {doubt:9s}  {seconds:.1f}"


def judge(example: Example) -> tuple[tuple[float, float, float], np.ndarray]:
    """IoU, confidence and seconds, and the error picture; nothing found counts as IoU 0 and confidence 0."""
    trees = matte_trees.load(OUT / f"trees_without_{example.name}.npz")
    model = load_model(OUT / f"locate_without_{example.name}.npz")
    started = time.perf_counter()
    try:
        matte = matte_without_hint(example.rgb, example.frame, model, trees)
    except JobError:
        return (0.0, 0.0, time.perf_counter() - started), error_picture(example, np.zeros_like(example.truth))
    seconds = time.perf_counter() - started
    return (iou(matte.inside, example.truth), matte.confidence or 0.0, seconds), error_picture(example, matte.inside)


def without_vehicle(side: int) -> tuple[float, float, float]:
    """The same for the photograph that shows none."""
    photo = Image.open(FOLDER / NO_VEHICLE).convert("RGB")
    frame = Frame.fit(*photo.size, side)
    x0, y0, x1, y1 = (round(v) for v in frame.content)
    rgb = np.zeros((side, side, 3), np.uint8)
    rgb[y0:y1, x0:x1] = np.array(photo.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS))
    started = time.perf_counter()
    try:
        sure = matte_without_hint(rgb, frame).confidence or 0.0
    except JobError:
        sure = 0.0
    return 0.0, sure, time.perf_counter() - started

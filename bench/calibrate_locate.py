"""Fits how sure the classical engine is of a vehicle that it found without a hint.

    python -m bench.calibrate_locate      adds the confidence to the models of bench.train_locate, shipped and leave-one-out

Needs `bench.train_locate` and `bench.train_matte` to have been run. Learns from every photograph, from a part of it that
the photographer did not choose, from its surroundings without the vehicle and from pictures without any, each searched by
models that have not seen the photograph. A left-out photograph's parts are left out with it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from skimage import data

from bench.matte_photos import Example, examples, iou
from bench.train_locate import OUT, SHIPPED
from pipeline.errors import JobError
from pipeline.phase2_illustrate import matte_trees
from pipeline.phase2_illustrate.locate_classical import Linear, answer, load_model, save_model
from pipeline.phase2_illustrate.locate_confidence import SIGNS
from pipeline.values import Frame, Rgb

SIDE = 512
POOR, GOOD = 0.6, 0.85  # mattes of these IoU are surely bad and surely good; between them it is a matter of degree
LEAST = 80  # pixels of a surrounding's lesser side
SHOWS_ANOTHER = "dump_truck_side"  # its surroundings hold a bulldozer
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One picture searched: whose part it is, its cues (8), how good the matte was 0..1."""

    name: str
    cues: Floats
    good: float


def main() -> None:
    """See the module's docstring."""
    rows: list[Row] = []
    chosen = examples(SIDE)
    for number, example in enumerate(chosen):
        rows += [row for part in parts_of(example, number) if (row := searched(part, example.name)) is not None]
        print(example.name, [round(r.good, 2) for r in rows if r.name == example.name], flush=True)
    for name in ("astronaut", "coffee", "chelsea", "camera"):
        picture = getattr(data, name)()
        plain = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)
        row = searched(laid(plain, np.zeros(plain.shape[:2], np.bool_), name), None)
        rows += [row] if row is not None else []
    for example in chosen:
        store(OUT / f"locate_without_{example.name}.npz", [r for r in rows if r.name != example.name])
    store(SHIPPED, rows)


def parts_of(example: Example, number: int) -> list[Example]:
    """The photograph, a part of it around the vehicle, and the largest part beside the vehicle."""
    x0, y0, x1, y1 = (int(v) for v in example.frame.content)
    ys, xs = np.nonzero(example.truth)
    left, top, right, bottom = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
    keep = np.random.default_rng(number).uniform(0.15, 1, 4)
    near = (
        int(left - keep[0] * (left - x0)),
        int(top - keep[1] * (top - y0)),
        int(right + keep[2] * (x1 - right)),
        int(bottom + keep[3] * (y1 - bottom)),
    )
    beside = [(x0, y0, x1, top - 4), (x0, bottom + 4, x1, y1), (x0, y0, left - 4, y1), (right + 4, y0, x1, y1)]
    widest = max(beside, key=lambda b: min(b[2] - b[0], b[3] - b[1]))
    boxes = [near]
    if example.name != SHOWS_ANOTHER and min(widest[2] - widest[0], widest[3] - widest[1]) >= LEAST:
        boxes.append(widest)
    return [example, *(laid(example.rgb[b:d, a:c], example.truth[b:d, a:c], example.name) for a, b, c, d in boxes)]


def laid(rgb: Rgb, truth: NDArray[np.bool_], name: str) -> Example:
    """A picture and its truth laid in a square."""
    frame = Frame.fit(rgb.shape[1], rgb.shape[0], SIDE)
    x0, y0, x1, y1 = (round(v) for v in frame.content)
    square, inside = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.bool_)
    square[y0:y1, x0:x1] = cv2.resize(rgb, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    inside[y0:y1, x0:x1] = cv2.resize(truth.astype(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST) > 0
    return Example(name, square, frame, inside, frame.content)


def searched(example: Example, without: str | None) -> Row | None:
    """The picture searched by models that have not seen the photograph `without`; None where nothing at all was found."""
    model = load_model(OUT / f"locate_without_{without}.npz" if without else SHIPPED)
    trees = matte_trees.load(OUT / f"trees_without_{without}.npz") if without else None
    try:
        found = answer(example.rgb, example.frame, model, trees)
    except JobError:
        return None
    overlap = iou(found.alpha > 127, example.truth)
    return Row(example.name, found.cues, float(np.clip((overlap - POOR) / (GOOD - POOR), 0, 1)))


def store(path: Path, rows: list[Row]) -> None:
    """Adds the confidence fitted on `rows` to the model at `path`."""
    save_model(path, replace(load_model(path), confidence=fit(rows)))


def fit(rows: list[Row], ridge: float = 1.0) -> Linear:
    """Ridge logistic regression of how good the mattes were; no weight may contradict `SIGNS`."""
    x, y = np.stack([r.cues for r in rows]), np.array([r.good for r in rows])
    mean, spread = x.mean(0), x.std(0) + 1e-6
    design = np.column_stack([(x - mean) / spread, np.ones(len(x))])

    def loss(beta: Floats) -> tuple[float, Floats]:
        z = design @ beta
        slope = design.T @ (1 / (1 + np.exp(-z)) - y)
        slope[:-1] += 2 * ridge * beta[:-1]
        return float((np.logaddexp(0, z) - y * z).sum() + ridge * (beta[:-1] ** 2).sum()), slope

    bounds = [(0.0 if sign > 0 else None, 0.0 if sign < 0 else None) for sign in SIGNS] + [(None, None)]
    beta = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Linear(mean, spread, beta[:-1], float(beta[-1]))


if __name__ == "__main__":
    main()

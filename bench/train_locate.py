"""Fits the cue weights by which the classical engine finds a vehicle without a hint.

    python -m bench.train_locate          the shipped weights, and for each photograph those fitted without it (bench/out/)
    python -m bench.train_locate --folds  only the latter

`python -m bench.calibrate_locate` must follow: it adds the weights of the confidence.

The boxes' weights are fitted on region odds of models that have not seen the photograph they are applied to, so that they
meet the mistakes they will meet later.
"""

import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from bench.matte_photos import Example, examples
from pipeline.phase2_illustrate import locate_classical
from pipeline.phase2_illustrate.locate_boxes import SIGNS, box_cues, grid, overlap
from pipeline.phase2_illustrate.locate_classical import Linear, Model, Seen, look, odds_map, photo_of, save_model

OUT = Path(__file__).parent / "out"
SHIPPED = Path(locate_classical.__file__).with_name("locate_model.npz")
SIDE = 512
EVERY = 5  # boxes of the grid that the fit looks at: one in so many
Floats = NDArray[np.float64]
#: Stands where `bench.calibrate_locate` is to put the weights of the confidence.
UNKNOWN = Linear(np.zeros(8), np.ones(8), np.zeros(8), 0.0)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One photograph: what is seen in it, each region's share of vehicle (K), the grid's boxes and their overlap with the vehicle's."""

    name: str
    seen: Seen
    share: Floats
    boxes: Floats
    overlap: Floats


def main() -> None:
    """See the module's docstring."""
    OUT.mkdir(exist_ok=True)
    lessons = [lesson(example) for example in examples(SIDE)]
    names = [one.name for one in lessons]
    unseen: dict[frozenset[str], Floats] = {}
    for a, b in [*combinations(names, 2), *((n, n) for n in names)]:
        region = fit_regions([one for one in lessons if one.name not in (a, b)])
        for one in lessons:
            if one.name in (a, b):
                unseen[one.name, frozenset((a, b))] = box_cues(one.seen.regions, odds_map(one.seen, region), one.seen.wheels, one.boxes)
    for name in names:
        others = [one for one in lessons if one.name != name]
        fitted = Model(fit_regions(others), fit_boxes(others, [unseen[one.name, frozenset((one.name, name))] for one in others]), UNKNOWN)
        save_model(OUT / f"locate_without_{name}.npz", fitted)
    if "--folds" not in sys.argv:
        own = [unseen[one.name, frozenset((one.name,))] for one in lessons]
        save_model(SHIPPED, Model(fit_regions(lessons), fit_boxes(lessons, own), UNKNOWN))


def lesson(example: Example) -> Lesson:
    """The photograph as it is learnt from."""
    seen = look(example.rgb, example.frame)
    h, w = seen.regions.label.shape
    truth = cv2.resize(photo_of(example.truth.astype(np.uint8), example.frame), (w, h), interpolation=cv2.INTER_NEAREST)
    ys, xs = np.nonzero(truth)
    box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float64)
    boxes = grid(h, w)[::EVERY]
    return Lesson(example.name, seen, seen.regions.mean(truth), boxes, overlap(boxes, box))


def fit_regions(lessons: list[Lesson], ridge: float = 5.0) -> Linear:
    """Logistic regression of each region's share of vehicle, regions weighted by area (Newton's method)."""
    x = np.concatenate([one.seen.region_cues for one in lessons])
    y = np.concatenate([one.share for one in lessons])
    weight = np.concatenate([one.seen.regions.area / one.seen.regions.area.mean() for one in lessons])
    mean, spread = x.mean(0), x.std(0) + 1e-6
    design = np.column_stack([(x - mean) / spread, np.ones(len(x))])
    damping = np.diag([ridge] * x.shape[1] + [0.0])
    beta = np.zeros(design.shape[1])
    for _ in range(15):
        p = 1 / (1 + np.exp(-design @ beta))
        slope = design.T @ (weight * (p - y)) + damping @ beta
        beta -= np.linalg.solve(design.T @ (design * (weight * p * (1 - p))[:, None]) + damping, slope)
    return Linear(mean, spread, beta[:-1], float(beta[-1]))


def fit_boxes(lessons: list[Lesson], cues: list[Floats], ridge: float = 0.03, sharpness: float = 0.05) -> Linear:
    """Listwise fit: the softmax of the boxes' scores is to match that of their overlaps with the vehicle (Cao et al., 2007).

    No weight may contradict `SIGNS`: with few photographs that keeps accidents of theirs out of the fit.
    """
    every = np.concatenate(cues)
    mean, spread = every.mean(0), every.std(0) + 1e-6
    designs = [(x - mean) / spread for x in cues]
    targets = [np.exp((one.overlap - one.overlap.max()) / sharpness) for one in lessons]
    targets = [t / t.sum() for t in targets]

    def loss(beta: Floats) -> tuple[float, Floats]:
        value, slope = ridge * len(lessons) * float(beta @ beta), 2 * ridge * len(lessons) * beta
        for x, target in zip(designs, targets, strict=True):
            score = x @ beta
            log_p = score - score.max() - np.log(np.exp(score - score.max()).sum())
            value -= float(target @ log_p)
            slope = slope - (target - np.exp(log_p)) @ x
        return value, slope

    bounds = [(0.0 if sign > 0 else None, 0.0 if sign < 0 else None) for sign in SIGNS]
    found = minimize(loss, np.zeros(every.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    return Linear(mean, spread, found.x, 0.0)


if __name__ == "__main__":
    main()

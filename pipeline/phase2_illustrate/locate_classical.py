"""The vehicle's matte from the photograph alone, without a hint and without networks, and how sure it is."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from pipeline.color import srgb_to_lab
from pipeline.errors import Code, JobError
from pipeline.parallel import each
from pipeline.phase2_illustrate.locate_boxes import Boxes, box_cues, grid, overlap
from pipeline.phase2_illustrate.locate_confidence import confidence_cues
from pipeline.phase2_illustrate.locate_regions import SIDE, Floats, Plane, Regions, cues, regions_of
from pipeline.phase2_illustrate.locate_wheels import SIDE as WHEEL_SIDE
from pipeline.phase2_illustrate.locate_wheels import Wheel, wheels_in
from pipeline.phase2_illustrate.matte_classical import matte_in_box
from pipeline.phase2_illustrate.matte_trees import Trees
from pipeline.values import Box, Frame, Gray, Mask, Matte, Rgb

#: Below this confidence there is no vehicle.
NO_VEHICLE_BELOW = 0.005
REMEDY = "No vehicle was found in the photo: tell where it is with vehicle_box, or send a matte."
CANDIDATES = 3
NEIGHBOUR = 0.7  # boxes that overlap more are about the same thing
MEAN_OF = 0.5  # a score less by this counts a third in the mean of neighbours


@dataclass(frozen=True, slots=True)
class Linear:
    """A weighted sum of standardised cues: `mean`, `spread`, `weight` (K) each, and `bias`."""

    mean: Floats
    spread: Floats
    weight: Floats
    bias: float

    def of(self, values: Floats) -> Floats:
        """(N, K) cues to (N)."""
        total: Floats = ((values - self.mean) / self.spread) @ self.weight + self.bias
        return total


@dataclass(frozen=True, slots=True)
class Model:
    """What was learnt: log-odds of a region, score of a box, log-odds of a good matte: `bench.train_locate`, `bench.calibrate_locate`."""

    region: Linear
    box: Linear
    confidence: Linear


@cache
def shipped_model() -> Model:
    """The model beside this file."""
    return load_model(Path(__file__).with_name("locate_model.npz"))


def load_model(path: Path) -> Model:
    """The model stored at `path` (npz: region_mean, region_spread, …, confidence_bias)."""
    with np.load(path, allow_pickle=False) as data:

        def linear(part: str) -> Linear:
            return Linear(data[f"{part}_mean"], data[f"{part}_spread"], data[f"{part}_weight"], float(data[f"{part}_bias"]))

        return Model(linear("region"), linear("box"), linear("confidence"))


def save_model(path: Path, model: Model) -> None:
    """Stores the model as `load_model` reads it."""
    parts = {"region": model.region, "box": model.box, "confidence": model.confidence}
    names = ("mean", "spread", "weight", "bias")
    arrays: dict[str, Floats] = {f"{part}_{name}": np.asarray(getattr(linear, name)) for part, linear in parts.items() for name in names}
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is measured in the photo before anything learnt is applied: regions, their cues (K, 11), wheels."""

    regions: Regions
    region_cues: Floats
    wheels: list[Wheel]


def look(rgb: Rgb, frame: Frame) -> Seen:
    """Measures the photo's part of the square `rgb` (S, S, 3)."""
    photo = photo_of(rgb, frame)
    regions = regions_of(_shrunk(photo, SIDE))
    light = srgb_to_lab(_shrunk(photo, WHEEL_SIDE))[..., 0].astype(np.float32)
    return Seen(regions, cues(regions), wheels_in(light))


def photo_of(rgb: Rgb, frame: Frame) -> Rgb:
    """The photo's part of the square, whole pixels."""
    x0, y0, x1, y1 = (round(v) for v in frame.at(rgb.shape[0]).content)
    return rgb[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _shrunk(photo: Rgb, longest: int) -> Rgb:
    """The photo with its longest side brought to `longest` pixels."""
    h, w = photo.shape[:2]
    scale = longest / max(h, w)
    size = (max(8, round(w * scale)), max(8, round(h * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8)


def odds_map(seen: Seen, region: Linear) -> Plane:
    """(h, w) log-odds of vehicle."""
    return region.of(seen.region_cues)[seen.regions.label].astype(np.float32)


def best_boxes(seen: Seen, model: Model, count: int) -> tuple[Boxes, Floats]:
    """The `count` best boxes (pixels of the small photo) that differ from one another, and their scores, best first."""
    odds = odds_map(seen, model.region)
    boxes = grid(*odds.shape)
    scores = model.box.of(box_cues(seen.regions, odds, seen.wheels, boxes))
    order = np.argsort(-scores, kind="stable")
    # only the best box settles: the others are there to disagree, and would drift towards it
    kept, values = [_settled(boxes, scores, boxes[order[0]])], [scores[order[0]]]
    for i in order[1:400]:
        if len(kept) == count:
            break
        if all(overlap(boxes[i : i + 1], box)[0] < NEIGHBOUR for box in kept):
            kept.append(boxes[i])
            values.append(scores[i])
    return np.stack(kept), np.array(values)


def _settled(boxes: Boxes, scores: Floats, start: Floats) -> Floats:
    """The mean of the boxes around `start` (4), better ones counting more: what a coarse grid and a close race leave open."""
    box = start
    for _ in range(3):
        near = overlap(boxes, box) > NEIGHBOUR
        if not near.any():
            break
        weight = np.exp((scores - scores[near].max()).clip(max=0) / MEAN_OF) * near
        box = (boxes * weight[:, None]).sum(0) / weight.sum()
    return box


@dataclass(frozen=True, slots=True)
class Answer:
    """The best matte `alpha` (S, S) uint8 and its confidence cues (8)."""

    alpha: Gray
    cues: Floats


def answer(rgb: Rgb, frame: Frame, model: Model, trees: tuple[Trees, ...] | None = None) -> Answer:
    """Finds boxes, cuts the vehicle out of the best one twice, the second time in the first outline's own box.

    What the next best boxes lead to is the measure of doubt. Raises NO_VEHICLE when nothing is found at all.
    """
    seen = look(rgb, frame)
    boxes, _ = best_boxes(seen, model, CANDIDATES)
    here = frame.at(rgb.shape[0])
    x0, y0, x1, y1 = here.content
    scale = max(x1 - x0, y1 - y0) / max(seen.regions.label.shape)
    first, *others = each(lambda box: matte_in_box(rgb, here, _in_square(box, scale, (x0, y0)), trees), boxes)
    if not first.inside.any():
        raise JobError(Code.NO_VEHICLE, REMEDY)
    second = matte_in_box(rgb, here, outline_box(first.inside), trees)
    if not second.inside.any():
        raise JobError(Code.NO_VEHICLE, REMEDY)
    odds = odds_map(seen, model.region)
    last = (np.array([outline_box(second.inside)]) - [x0, y0, x0, y0]) / scale
    score = float(model.box.of(box_cues(seen.regions, odds, seen.wheels, last))[0])
    shown, chance = np.zeros(second.inside.shape, np.bool_), np.zeros(second.inside.shape, np.float32)
    left, top, right, bottom = (round(v) for v in here.content)
    shown[top:bottom, left:right] = True
    chance[top:bottom, left:right] = 1 / (1 + np.exp(-cv2.resize(odds, (right - left, bottom - top))))
    rounds, rest = [first.inside, second.inside], [other.inside for other in others]
    return Answer(second.alpha, confidence_cues(rgb, shown, rounds, rest, chance, score, second.confidence or 0.0))


def _in_square(box: Floats, scale: float, offset: tuple[float, float]) -> Box:
    """A box of the small photo in the square's pixels."""
    a, b, c, d = (float(v) * scale for v in box)
    return (a + offset[0], b + offset[1], c + offset[0], d + offset[1])


def matte_without_hint(rgb: Rgb, frame: Frame, model: Model | None = None, trees: tuple[Trees, ...] | None = None) -> Matte:
    """The vehicle's matte, found in the photo alone.

    `rgb` (S, S, 3) uint8 sRGB, the photo lying in `frame.at(S).content`; `model` and `trees` other than the shipped ones
    (for leave-one-out figures). Returns alpha (S, S) uint8 and the chance that it is a good
    matte, 0..1. Raises NO_VEHICLE when there is hardly any chance.
    """
    used = model or shipped_model()
    found = answer(rgb, frame, used, trees)
    confidence = float(1 / (1 + np.exp(-used.confidence.of(found.cues[None])[0])))
    if confidence < NO_VEHICLE_BELOW:
        raise JobError(Code.NO_VEHICLE, REMEDY)
    return Matte(found.alpha, confidence)


def outline_box(inside: Mask) -> Box:
    """The box around a mask but for its thin protrusions (aerials, specks)."""
    width = 2 * round(0.01 * max(inside.shape)) + 1  # odd: an even element shifts the mask
    thick = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, np.ones((width, width), np.uint8))
    ys, xs = np.nonzero(thick if thick.any() else inside)
    return (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))

"""The vehicle's matte from the photograph alone, without a hint and without networks, and how sure it is."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from pipeline.color import srgb_to_lab
from pipeline.errors import Code, JobError
from pipeline.phase2_illustrate.locate_boxes import Boxes, box_cues, grid, overlap
from pipeline.phase2_illustrate.locate_regions import SIDE, Floats, Plane, Regions, cues, regions_of
from pipeline.phase2_illustrate.locate_wheels import SIDE as WHEEL_SIDE
from pipeline.phase2_illustrate.locate_wheels import Wheel, wheels_in
from pipeline.phase2_illustrate.matte_classical import matte_in_box
from pipeline.phase2_illustrate.matte_trees import Trees
from pipeline.values import Box, Frame, Mask, Matte, Rgb

#: Below this confidence a matte deserves the warning MATTE_UNCERTAIN.
UNCERTAIN_BELOW = 0.5


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
    """What was learnt by `bench/train_locate.py`: log-odds of a region, score of a box."""

    region: Linear
    box: Linear


@cache
def shipped_model() -> Model:
    """The model beside this file."""
    return load_model(Path(__file__).with_name("locate_model.npz"))


def load_model(path: Path) -> Model:
    """The model stored at `path` (npz: region_mean, region_spread, …, box_bias)."""
    with np.load(path, allow_pickle=False) as data:
        region, box = ([data[f"{part}_{name}"] for name in ("mean", "spread", "weight", "bias")] for part in ("region", "box"))
    return Model(Linear(region[0], region[1], region[2], float(region[3])), Linear(box[0], box[1], box[2], float(box[3])))


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
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable")[:400]:
        if all(overlap(boxes[i : i + 1], boxes[k])[0] < 0.7 for k in kept):
            kept.append(int(i))
        if len(kept) == count:
            break
    return boxes[kept], scores[kept]


def matte_without_hint(rgb: Rgb, frame: Frame, model: Model | None = None, trees: tuple[Trees, ...] | None = None) -> Matte:
    """The vehicle's matte, found in the photo alone.

    `rgb` (S, S, 3) uint8 sRGB, the photo lying in `frame.at(S).content`; `model` and `trees` other than the shipped ones
    (for leave-one-out figures). Returns alpha (S, S) uint8 and the confidence that it is right, 0..1. Raises NO_VEHICLE.
    """
    model = model or shipped_model()
    seen = look(rgb, frame)
    boxes, _ = best_boxes(seen, model, 1)
    scale = (frame.at(rgb.shape[0]).scale * max(frame.photo_width, frame.photo_height)) / max(seen.regions.label.shape)
    x0, y0 = frame.at(rgb.shape[0]).content[:2]
    box: Box = tuple(float(v) for v in boxes[0] * scale + [x0, y0, x0, y0])  # type: ignore[assignment]
    mattes: list[Matte] = []
    for _ in range(2):
        mattes.append(matte_in_box(rgb, frame, box, trees))
        if not mattes[-1].inside.any():
            raise JobError(Code.NO_VEHICLE, "No vehicle was found in the photo; tell where it is with vehicle_box, or send a matte.")
        box = outline_box(mattes[-1].inside)
    return Matte(mattes[-1].alpha, agreement(mattes[0].inside, mattes[1].inside))


def agreement(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks."""
    return float((a & b).sum() / max(1, int((a | b).sum())))


def outline_box(inside: Mask) -> Box:
    """The box around a mask but for its thin protrusions (aerials, specks)."""
    width = max(1, round(0.02 * max(inside.shape)))
    thick = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, np.ones((width, width), np.uint8))
    ys, xs = np.nonzero(thick if thick.any() else inside)
    return (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))

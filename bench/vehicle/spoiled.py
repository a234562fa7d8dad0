"""Photographs spoiled in ways that outlines fail on, each with its true outline: what `bench.vehicle --doubt` judges confidence by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.raster import bounds
from pipeline.values import Mask, Rgb
from tests.support.photographs import Example

#: Kinds in which the vehicle is outlined or missed; "close-up" is judged apart, for there the frame is the answer and always in doubt.
KINDS = ("as it is", "touching", "fog", "dark", "cut", "shadow", "clutter")


@dataclass(frozen=True, slots=True)
class Case:
    """`rgb` (H, W, 3) with the vehicle's true outline `truth` (H, W); `kind` is one of `KINDS`, or "close-up"."""

    name: str
    kind: str
    rgb: Rgb
    truth: Mask


def cases(examples: Sequence[Example], seed: int) -> Iterator[Case]:
    """Every photograph spoiled in every way; `seed` draws the strengths, the places and the neighbours."""
    for number, it in enumerate(examples):
        random = np.random.default_rng((seed, number))
        other = examples[(number + 3 + 2 * seed) % len(examples)]
        yield Case(it.name, "as it is", it.rgb, it.truth)
        yield touching(it, other, random)
        yield Case(it.name, "fog", fog(it.rgb, random.uniform(0.6, 0.85)), it.truth)
        yield Case(it.name, "dark", dark(it.rgb, random.uniform(0.05, 0.12), random), it.truth)
        yield cut(it, random)
        yield close_up(it, random)
        yield Case(it.name, "shadow", shadow(it, random), it.truth)
        yield Case(it.name, "clutter", clutter(it, random), it.truth)


def touching(it: Example, other: Example, random: np.random.Generator) -> Case:
    """Another photograph's vehicle behind this one's end, of about its height; the photo mirrored on beyond its border."""
    x0, y0, x1, y1 = _bounds(other.truth)
    cut_out, shape = other.rgb[y0:y1, x0:x1], other.truth[y0:y1, x0:x1]
    a, b, c, d = _bounds(it.truth)
    k = (d - b) * random.uniform(0.85, 1.1) / (y1 - y0)
    cut_out = cv2.resize(cut_out, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    shape = cv2.resize(shape.astype(np.uint8), cut_out.shape[1::-1]) > 0
    room, right = int(0.9 * cut_out.shape[1]), bool(random.integers(2))
    left_room, right_room = (0, room) if right else (room, 0)
    rgb = np.asarray(cv2.copyMakeBorder(it.rgb, 0, 0, left_room, right_room, cv2.BORDER_REFLECT_101), np.uint8)
    truth = cv2.copyMakeBorder(it.truth.astype(np.uint8), 0, 0, left_room, right_room, cv2.BORDER_CONSTANT) > 0
    a, c = a + left_room, c + left_room
    lap = int(0.04 * (c - a))
    spoiled = pasted(rgb, cut_out, shape, c - lap if right else a - cut_out.shape[1] + lap, d - cut_out.shape[0])
    return Case(it.name, "touching", np.where(truth[..., None], rgb, spoiled), truth)


def fog(rgb: Rgb, density: float) -> Rgb:
    """White fog in front of everything."""
    return np.rint(rgb * (1 - density) + 225 * density).astype(np.uint8)


def dark(rgb: Rgb, light: float, random: np.random.Generator) -> Rgb:
    """A share of the light, and a sensor's noise."""
    return np.clip(np.rint(rgb * light + random.normal(0, 3, rgb.shape)), 0, 255).astype(np.uint8)


def cut(it: Example, random: np.random.Generator) -> Case:
    """The photo ends in the middle of the vehicle."""
    x0, _, x1, _ = _bounds(it.truth)
    at, right = int(random.uniform(0.4, 0.65) * (x1 - x0)), bool(random.integers(2))
    part = np.s_[:, : x0 + at] if right else np.s_[:, x1 - at :]
    return Case(it.name, "cut", np.ascontiguousarray(it.rgb[part]), it.truth[part])


def close_up(it: Example, random: np.random.Generator) -> Case:
    """A window inside the vehicle."""
    x0, y0, x1, y1 = _bounds(it.truth)
    x, y = int(x0 + random.uniform(0.1, 0.35) * (x1 - x0)), int(y0 + random.uniform(0.15, 0.4) * (y1 - y0))
    part = np.s_[y : y + int(0.55 * (y1 - y0)), x : x + int(0.55 * (x1 - x0))]
    return Case(it.name, "close-up", np.ascontiguousarray(it.rgb[part]), it.truth[part])


def shadow(it: Example, random: np.random.Generator) -> Rgb:
    """A hard shadow on the ground that grows out of the vehicle's foot to one side."""
    x0, y0, x1, y1 = _bounds(it.truth)
    place = np.zeros(it.truth.shape, np.float32)
    centre = (x1 if random.integers(2) else x0, int(y1 - 0.08 * (y1 - y0)))
    cv2.ellipse(place, centre, (int((x1 - x0) * random.uniform(0.5, 0.9)), int(0.16 * (y1 - y0))), 0, 0, 360, 1, -1)
    depth = cv2.GaussianBlur(place, (0, 0), 2)[..., None]
    return np.where(it.truth[..., None], it.rgb, np.rint(it.rgb * (1 - 0.88 * depth))).astype(np.uint8)


def clutter(it: Example, random: np.random.Generator) -> Rgb:
    """Pieces of the vehicle strewn behind it: surroundings of its own colours and edges."""
    h, w = it.truth.shape
    x0, y0, x1, y1 = _bounds(it.truth)
    out = it.rgb
    for _ in range(14):
        width, height = int(random.integers(30, max(31, (x1 - x0) // 4))), int(random.integers(30, max(31, (y1 - y0) // 2)))
        x, y = int(random.integers(x0, max(x0 + 1, x1 - width))), int(random.integers(y0, max(y0 + 1, y1 - height)))
        piece = it.rgb[y : y + height, x : x + width]
        at = int(random.integers(-width // 2, w - width // 2)), int(random.integers(-height // 2, h - height // 2))
        out = pasted(out, piece, np.ones(piece.shape[:2], bool), *at)
    return np.where(it.truth[..., None], it.rgb, out).astype(np.uint8)


def pasted(ground: Rgb, picture: Rgb, shape: Mask, x: int, y: int) -> Rgb:
    """A picture laid on another one at (x, y), its shape's rim softened; it may reach beyond."""
    height, width = ground.shape[:2]
    h, w = shape.shape
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
    if x1 <= x0 or y1 <= y0:
        return ground
    alpha = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 0.8)[y0 - y : y1 - y, x0 - x : x1 - x, None]
    out = ground.copy()
    out[y0:y1, x0:x1] = np.rint(alpha * picture[y0 - y : y1 - y, x0 - x : x1 - x] + (1 - alpha) * ground[y0:y1, x0:x1])
    return out


def _bounds(mask: Mask) -> tuple[int, int, int, int]:
    place = bounds(mask)
    if place is None:
        raise ValueError("an outline is empty")
    x0, y0, x1, y1 = (int(v) for v in place)
    return x0, y0, x1, y1

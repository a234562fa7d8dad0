"""Finding and outlining the vehicle by looks: at the whole photo, and a second time closer where that pays.

The figures behind every number here are those of `python -m bench.vehicle`; docs/decisions/0005 tells what was compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Code, JobError
from pipeline.phase0_vehicle import doubt, parts
from pipeline.phase0_vehicle.doubt import Signs
from pipeline.phase0_vehicle.levels import levels
from pipeline.phase0_vehicle.looks import Grid, Seen, Window, around, framed_look, look_at, whole, within
from pipeline.phase0_vehicle.outline import Outline
from pipeline.phase0_vehicle.parts import Part
from pipeline.raster import bounds, box_iou
from pipeline.steps import Look, Verdict
from pipeline.values import Box, Mask, Plane, Rgb

#: The longest side, in pixels, of the picture in which parts are told apart, and of the one that holds the outline.
ROUGH, FINE = 1024, 2048
#: A part below this verdict is no vehicle. Other things stay below 0.08 (mostly 0.03); vehicles reach 0.18 (two in one outline) and mostly
#: 0.5.
VEHICLE = 0.12
#: Of several vehicles those count whose verdict is at least this share of the best one's.
AS_GOOD = 0.35
#: A whole photo from this verdict on shows a vehicle, even if nothing in it is outlined as one: a close-up.
CLOSE_UP = 0.5
#: A part that takes at least this much of the photo is no lamp or plate; a smaller one may be if its verdict is below this share of the
#: whole photo's.
LARGE, LESS = 0.25, 0.7
#: How many parts are judged, largest first.
JUDGED = 5
#: A part is judged with this share of its sides around it.
CONTEXT = 0.1
#: A second, closer look pays where the vehicle's longer side is less than this share of the photo's.
FAR = 0.5
#: Margin of a closer look: shares of the longer side of a part that was found, and of a box that was given.
CLOSER, CLOSER_BOX = 0.25, 0.15
#: A box is rough: the vehicle may reach this share of the box's longer side beyond it.
BEYOND_BOX = 0.08
#: A part touches a side of the photo when it takes this share of it.
TOUCH = 0.03
#: A photo hung on a wall is itself what stands out when this much of it is outlined.
FILLS = 0.6

NOTHING_FOUND = "No vehicle was found in the photo; tell where it is with vehicle_box, or send a matte."


@dataclass(frozen=True, slots=True)
class _Judged:
    part: Part
    verdict: float


def search(rgb: Rgb, look: Look, verdict: Verdict | None) -> Outline:
    """The largest vehicle of the photo (H, W, 3). Raises `NO_VEHICLE` where nothing that stands out is one."""
    rgb = levels(rgb)
    grid = Grid.over(whole(rgb), ROUGH)
    first = look_at(rgb, grid.window, look)
    p = first.on(grid)
    labels, found = parts.label(p)
    vehicles = _vehicles(rgb, grid, found, verdict)
    sees = 0.0 if verdict is None else sum(verdict(rgb))
    if sees >= CLOSE_UP and (not vehicles or (_unclear(vehicles[0], labels, sees) and _fills_the_frame(rgb, look))):
        return the_frame(rgb)
    if not vehicles:
        raise JobError(Code.NO_VEHICLE, NOTHING_FOUND)
    chosen = vehicles[0]
    touched = parts.sides_touched(labels == chosen.part.number, TOUCH)
    rival = max((it.part.area for it in vehicles[1:]), default=0) / chosen.part.area
    box = grid.photo_box(chosen.part.box)
    far = chosen.part.longer / max(grid.width, grid.height) < FAR
    signs = Signs(verdict=chosen.verdict, rival=rival)
    if far or any(touched):
        looks = [first, look_at(rgb, within(around(box, CLOSER), rgb, touched), look)]
        if (closer := _outlined(rgb, looks, box, any(touched), signs)) is not None:
            return closer
    outline = _outlined(rgb, [first], box, False, signs)
    if outline is None:
        raise RuntimeError("a part that was found cannot be found again")
    return outline


def in_box(rgb: Rgb, box: Box, look: Look, verdict: Verdict | None) -> Outline | None:
    """The vehicle in a box (the photo's pixels) that is right to a few per cent a side; None where nothing stands out in it."""
    rgb = levels(rgb)
    looks = [look_at(rgb, whole(rgb), look), look_at(rgb, within(around(box, CLOSER_BOX), rgb), look)]
    sees = None if verdict is None else sum(verdict(_crop(rgb, box, CONTEXT)))  # only a sign: a caller may box a wheel on purpose
    return _outlined(rgb, looks, box, False, Signs(verdict=sees), cut=True)


def again(rgb: Rgb, box: Box, look: Look) -> Outline | None:
    """One look at a picture in which the vehicle is known to fill `box`; None where nothing stands out there."""
    return _outlined(rgb, [look_at(rgb, whole(rgb), look)], box, False, Signs())


def the_frame(rgb: Rgb) -> Outline:
    """A close-up: the vehicle fills the photo, so the frame is the best guess, and in doubt."""
    grid = Grid.over(whole(rgb), FINE)
    return Outline(np.full((grid.height, grid.width), 255, np.uint8), grid, doubt.CLOSE_UP)


def _vehicles(rgb: Rgb, grid: Grid, found: Sequence[Part], verdict: Verdict | None) -> list[_Judged]:
    """The parts that are vehicles, largest first; without a verdict network all count."""
    if verdict is None:
        return [_Judged(part, 1.0) for part in found]
    judged = [_Judged(part, verdict(_crop(rgb, grid.photo_box(part.box), CONTEXT))[0]) for part in found[:JUDGED]]
    least = max([VEHICLE, *(AS_GOOD * it.verdict for it in judged)])
    return [it for it in judged if it.verdict >= least]


def _unclear(chosen: _Judged, labels: NDArray[np.int32], sees: float) -> bool:
    """Whether the photo may show the vehicle larger than its outlined part: a lamp or a plate, or a part cut by several borders."""
    small = chosen.part.area < LARGE * labels.size and chosen.verdict < max(CLOSE_UP, LESS * sees)
    return small or sum(parts.sides_touched(labels == chosen.part.number, TOUCH)) > 1


def _fills_the_frame(rgb: Rgb, look: Look) -> bool:
    grid = Grid.over(whole(rgb), ROUGH)
    return float((framed_look(rgb, look).on(grid) > 0.5).mean()) >= FILLS


def _crop(rgb: Rgb, box: Box, context: float) -> Rgb:
    """A box of the photo with `context` of each of its sides around it."""
    h, w = rgb.shape[:2]
    dx, dy = context * (box[2] - box[0]), context * (box[3] - box[1])
    x0, y0, x1, y1 = max(0, int(box[0] - dx)), max(0, int(box[1] - dy)), min(w, int(box[2] + dx) + 1), min(h, int(box[3] + dy) + 1)
    return np.ascontiguousarray(rgb[y0:y1, x0:x1])


def _outlined(rgb: Rgb, looks: Sequence[Seen], box: Box, union: bool, signs: Signs, cut: bool = False) -> Outline | None:
    """The part of what the looks saw that `box` points at; None where there is none.

    Several looks are averaged where they overlap. With `union` the surer one counts: what the photo's border cuts is seen whole only
    where it goes on. With `cut` nothing counts far beyond the box.
    """
    grid = Grid.over(within(around(box, CLOSER), rgb), FINE)
    p = _together(looks, grid, union)
    own = grid.box(box)
    if cut:
        p = np.where(_inside(around(box, BEYOND_BOX), grid), p, np.float32(0))
    labels, found = parts.label(p)
    chosen = max(found, key=lambda part: (_in_box(labels, part, own), -part.number), default=None)
    if chosen is None or not _in_box(labels, chosen, own):
        return None
    kept = parts.with_pieces(chosen, labels)
    mask = np.isin(labels, list(kept))
    return Outline(parts.only(p, labels, kept), grid, doubt.confidence(_seen(signs, p, mask, None if not cut else own)))


def _together(looks: Sequence[Seen], grid: Grid, union: bool) -> Plane:
    """(h, w) 0..1: the looks' mean where they overlap, their greatest with `union`."""
    planes = [seen.on(grid) for seen in looks]
    if union:
        return np.asarray(np.maximum.reduce(planes), np.float32)
    weights = [_inside(seen.window, grid).astype(np.float32) for seen in looks]
    total = np.maximum(sum(weights), 1)
    return np.asarray(sum(p * w for p, w in zip(planes, weights, strict=True)) / total, np.float32)


def _inside(window: Window, grid: Grid) -> Mask:
    """The grid's pixels whose centres lie in a window of the photo."""
    x0, y0, x1, y1 = grid.box(window)
    columns, rows = np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5
    return ((rows >= y0) & (rows <= y1))[:, None] & ((columns >= x0) & (columns <= x1))[None]


def _in_box(labels: NDArray[np.int32], part: Part, box: Box) -> int:
    """Pixels of a part within a box of the same picture."""
    x0, y0, x1, y1 = (max(0, round(v)) for v in box)
    return int(np.count_nonzero(labels[y0:y1, x0:x1] == part.number))


def _seen(signs: Signs, p: Plane, mask: Mask, given: Box | None) -> Signs:
    """The signs with what the outline itself shows; `given`: the caller's box in the same picture."""
    area = float(mask.sum())
    reach = 2 * max(2, round(0.02 * np.sqrt(area))) + 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    soft = float(((p > 0.1) & (p < 0.9) & near).sum()) / area
    place = bounds(mask) or (0.0, 0.0, 1.0, 1.0)
    stretch = (place[2] - place[0]) / (place[3] - place[1]) / parts.solidity(mask)
    fit = None if given is None else box_iou(place, given)
    return replace(signs, soft=soft, halves=parts.second_half(mask), stretch=stretch, fit=fit)

"""The logic around find, mask and inpaint that every engine shares: what is removed, and only from the vehicle."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase1_sanitize import quads
from pipeline.progress import Progress
from pipeline.raster import bounds
from pipeline.steps import MatteOf, Steps
from pipeline.values import CleanPlate, Found, Frame, Mask, Matte, Rgb, Vehicle

#: In `Steps.finds`: the engine takes any words (an open-set detector).
ANY_LABEL = "*"
#: A removed thing that has more than this share of its surroundings beyond the matte sticks out of the vehicle.
STICKS_OUT = 0.2
#: A mask that fills this share of its convex hull is the plate itself, not the characters on it.
SOLID = 0.85
#: Other words for what an engine knows under one name.
SYNONYMS = {
    "plate": "license plate",
    "licence plate": "license plate",
    "number plate": "license plate",
    "numberplate": "license plate",
    "registration plate": "license plate",
    "registration": "license plate",
    "lettering": "text",
    "letters": "text",
    "writing": "text",
    "words": "text",
    "mirror": "side view mirror",
    "side mirror": "side view mirror",
    "wing mirror": "side view mirror",
    "logo": "car logo",
    "badge": "brand badge",
    "emblem": "brand badge",
    "decal": "sticker",
}


@dataclass(frozen=True, slots=True)
class SanitizeSettings:
    """`score_threshold`: least score of a found thing, 0..1. `box_size_cap`: its largest area as a share of the vehicle's.

    `on_vehicle`: least share of its area on the vehicle, after the matte is widened by `matte_tolerance` (share of the
    square's side). `dilation`: how far the masks are widened, share of the side (0.002 of 2048 pixels are 4).
    `look_around`: margin of the vehicle's bounds within which things are looked for, share of their longer side.
    `same_thing`: intersection over union from which two boxes are one thing.
    """

    score_threshold: float = 0.35
    box_size_cap: float = 0.2
    on_vehicle: float = 0.6
    matte_tolerance: float = 0.01
    dilation: float = 0.002
    look_around: float = 0.04
    same_thing: float = 0.5


def sanitize(vehicle: Vehicle, remove: Sequence[str], steps: Steps, settings: SanitizeSettings, progress: Progress) -> CleanPlate:
    """Remove what `remove` names from the vehicle; only the pixels of `removed_mask` differ from its picture (S, S, 3).

    What is painted over and stuck out of the vehicle (a mirror) leaves its outline too. An empty `remove` skips the phase. What the
    engine cannot find, what was too large to be what it was taken for, and what went with its whole box, is told in `warnings`.
    Raises `RuntimeError` when a step breaks its contract (a wrong shape): that is a bug, never "nothing found"; what a step raises is
    passed on.
    """
    progress.step("find", 0.0)
    rgb, frame, matte = vehicle.rgb, vehicle.frame, vehicle.matte
    untouched = np.zeros(rgb.shape[:2], bool)
    wanted, missing = split(remove, steps.finds)
    warnings = [f"NOT_FOUND_BY_ENGINE: The {steps.name} engine cannot find: {', '.join(missing)}."] if missing else []
    if not wanted:
        return CleanPlate(rgb, frame, matte, (), untouched, tuple(warnings))
    found = [
        f
        for f in steps.find(rgb, quads.around(matte.inside, frame, settings.look_around), wanted)
        if f.label in wanted and f.score >= settings.score_threshold
    ]
    found, too_large = capped(on_vehicle(found, matte.inside, settings), matte.inside, settings)
    found = suppressed(found, settings.same_thing)
    if too_large:
        names = ", ".join(dict.fromkeys(f.label for f in too_large))
        warnings.append(f"TOO_LARGE_TO_REMOVE: Ignored for being too large a part of the vehicle: {names}.")
    if not found:
        return CleanPlate(rgb, frame, matte, (), untouched, tuple(warnings))
    progress.step("mask", 0.45)
    masks = steps.mask(rgb, found)
    if len(masks) != len(found):
        raise RuntimeError(f"mask returned {len(masks)} masks for {len(found)} boxes")
    unseen = [one.label for one, mask in zip(found, masks, strict=True) if not checked_mask(mask, rgb, one).any()]
    if unseen:
        names = ", ".join(dict.fromkeys(unseen))
        warnings.append(f"MASK_EMPTY: Painted over with the whole box, because no pixel stands out in it: {names}.")
    # The thing was found and must not stay, and that its pixels cannot be told apart is no reason to lose the job.
    masks = [mask if mask.any() else quads.filled(one.quad, mask.shape) for one, mask in zip(found, masks, strict=True)]
    plates = tuple(plate_outline(one, mask) for mask, one in zip(masks, found, strict=True) if one.label == quads.PLATE and one.outlined)
    masked = dilated(np.logical_or.reduce(masks), frame, settings.dilation)
    progress.step("inpaint", 0.6)
    photo = quads.photo_part(frame)  # its black margins would be painted into holes at its border
    painted = steps.inpaint(np.ascontiguousarray(rgb[photo]), np.ascontiguousarray(masked[photo]))
    if painted.shape != rgb[photo].shape or painted.dtype != np.uint8:
        raise RuntimeError(f"inpaint returned {painted.shape} {painted.dtype} for a picture of {rgb[photo].shape} uint8")
    clean = rgb.copy()
    clean[masked] = painted[masked[photo]]
    return CleanPlate(clean, frame, outlined_again(clean, matte, masked, steps.matte), tuple(found), masked, tuple(warnings), plates)


def outlined_again(clean: Rgb, matte: Matte, removed: Mask, outline: MatteOf | None) -> Matte:
    """The matte without what was removed and stuck out of the vehicle: where a removed thing (S, S) lies at the matte's rim, a second
    outline of the clean picture (S, S, 3) decides. Without a network for it the matte stays as it is."""
    place = bounds(matte.inside)
    if outline is None or place is None:
        return matte
    _, things = cv2.connectedComponents(removed.astype(np.uint8))
    around = cv2.dilate(things.astype(np.float32), np.ones((5, 5), np.uint8)).astype(int) * ~removed
    length, open_ = np.bincount(around.ravel()), np.bincount(around[~matte.inside], minlength=int(things.max()) + 1)
    out = [n for n in range(1, min(len(length), len(open_))) if open_[n] > STICKS_OUT * length[n]]
    if not out:
        return matte
    again = outline(clean, place).alpha
    return replace(matte, alpha=np.where(np.isin(things, out), np.minimum(matte.alpha, again), matte.alpha).astype(np.uint8))


def split(remove: Sequence[str], finds: frozenset[str]) -> tuple[list[str], list[str]]:
    """The labels that the engine can find, under its own names, and the others as they were written; each once."""
    wanted: list[str] = []
    missing: list[str] = []
    for entry in remove:
        label = " ".join(entry.lower().split())
        label = SYNONYMS.get(label, SYNONYMS.get(label.removesuffix("s"), label))
        if label not in finds and label.removesuffix("s") in finds:
            label = label.removesuffix("s")
        known = label in finds or ANY_LABEL in finds
        target, name = (wanted, label) if known else (missing, entry)
        if name not in target:
            target.append(name)
    return wanted, missing


def on_vehicle(found: Sequence[Found], inside: Mask, settings: SanitizeSettings) -> list[Found]:
    """Those that lie mostly on the vehicle; the matte may be off by `matte_tolerance`."""
    reach = _dilate(inside, round(settings.matte_tolerance * inside.shape[0]))
    return [one for one in found if _share(one.quad, reach) >= settings.on_vehicle]


def _share(quad: quads.Quad, area: Mask) -> float:
    """The share of a polygon's pixels that lie in a mask (S, S); 0 for one outside the picture."""
    low = np.maximum(np.floor(quad.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(quad.max(0)).astype(int) + 1, area.shape[::-1])
    if (high <= low).any():
        return 0.0
    part = area[low[1] : high[1], low[0] : high[0]]
    own = quads.filled(quad - low.astype(np.float32), part.shape)
    return float((own & part).sum() / max(1, own.sum()))


def capped(found: Sequence[Found], inside: Mask, settings: SanitizeSettings) -> tuple[list[Found], list[Found]]:
    """Those small enough to be a part of the vehicle, and those that are not: a detector may box the whole car as "text"."""
    limit = settings.box_size_cap * float(inside.sum())
    small = [one for one in found if quads.area(one.quad) <= limit]
    return small, [one for one in found if quads.area(one.quad) > limit]


def suppressed(found: Sequence[Found], same_thing: float) -> list[Found]:
    """Each thing once: the better of two boxes of one thing stays, plates before others and text last; the text on a plate, badge or
    sticker is part of that."""
    ranked = sorted(found, key=lambda f: (f.label != quads.PLATE, f.label == "text", -f.score, f.label, f.box))
    kept: list[Found] = []
    for one in ranked:
        area = quads.area(one.quad)
        common = [(other, quads.overlap(one.quad, other.quad)) for other in kept]
        twice = any(c > same_thing * (area + quads.area(other.quad) - c) for other, c in common)
        part_of = one.label == "text" and any(other.label != "text" and c >= 0.7 * area for other, c in common)
        if not twice and not part_of:
            kept.append(one)
    return kept


def checked_mask(mask: Mask, rgb: Rgb, found: Found) -> Mask:
    """The mask, if it is of the shape and type that the step promises; otherwise `RuntimeError`."""
    if mask.shape != rgb.shape[:2] or mask.dtype != np.bool_:
        raise RuntimeError(f"mask of {found.label!r} is {mask.shape} {mask.dtype}, not {rgb.shape[:2]} bool")
    return mask


def plate_outline(found: Found, mask: Mask) -> NDArray[np.float32]:
    """The corners (K, 2) of a plate, pixels: those of its mask (S, S) where that is the plate itself, else those that were found."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    hull = cv2.convexHull(points)
    if len(hull) < 5 or mask.sum() < SOLID * cv2.contourArea(hull):
        return found.quad
    return np.asarray(cv2.approxPolyN(hull, 4, ensure_convex=True), np.float32).reshape(-1, 2)


def dilated(mask: Mask, frame: Frame, fraction: float) -> Mask:
    """The mask widened by a share of the side to take soft edges and rims with it; never beyond the photo."""
    side = mask.shape[0]
    photo = np.zeros_like(mask)
    photo[quads.photo_part(frame)] = True
    return _dilate(mask, max(1, round(fraction * side))) & photo


def _dilate(mask: Mask, radius: int) -> Mask:
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), element), bool)

"""The order of phase 0: the caller's own outline, his box, the engine's search; then the square round what was found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import Code, JobError
from pipeline.intake.photo import GivenMatte
from pipeline.phase0_vehicle.choose import choose
from pipeline.phase0_vehicle.cut_in_box import cut_in_box
from pipeline.phase0_vehicle.framing import laid, square_of, without_fringe
from pipeline.phase0_vehicle.known import known, without_canvas
from pipeline.phase0_vehicle.outline import Outline
from pipeline.phase0_vehicle.search import NOTHING_FOUND, again, in_box, search
from pipeline.progress import Progress
from pipeline.raster import bounds
from pipeline.steps import Look, MatteOf, Steps
from pipeline.values import Box, Frame, Matte, Photo, Rgb, Vehicle

UNCERTAIN = "MATTE_UNCERTAIN: The vehicle's outline is in doubt; vehicle_box or a matte would help."
UNCERTAIN_IN_BOX = "MATTE_UNCERTAIN: The vehicle's outline in the box is in doubt; a matte would help."
MISSING = (
    "Finding a vehicle without a hint needs the embedded networks, which are not here: python -m builder fetch --embedded fetches them; "
    "or send vehicle_box, a matte or a cut-out."
)


@dataclass(frozen=True, slots=True)
class VehicleSettings:
    """`side`: most pixels of the square that is worked in; `uncertain_below`: the confidence, 0..1, below which an outline is in doubt;
    `small`: photo pixels along the vehicle's longer side below which its drawing is coarse."""

    side: int = 2048
    uncertain_below: float = 0.9
    small: int = 400


def find_vehicle(
    photo: Photo,
    matte: GivenMatte | None,
    box: Sequence[float] | None,
    keep_background: bool,
    steps: Steps,
    settings: VehicleSettings,
    progress: Progress,
) -> Vehicle:
    """Photo → the vehicle in its square (the whole photo's where the background is kept).

    `matte` is the caller's own, `box` his in fractions of the photo. Raises `NO_VEHICLE`, and
    `MODELS_MISSING` where the outline has to be searched for and no network can.
    """
    progress.step("outline", 0.0)
    own = known(photo, matte, steps.look)
    outline, told = own.outline, list(own.warnings)
    rgb = photo.rgb
    if outline is None:
        rgb = without_canvas(photo)
        outline = _found(rgb, None if box is None else _pixels(box, rgb), steps)
    if outline.confidence is not None and outline.confidence < settings.uncertain_below:
        told.append(UNCERTAIN if box is None else UNCERTAIN_IN_BOX)
    place = bounds(outline.alpha > 127)
    if place is None:
        raise JobError(Code.NO_VEHICLE, NOTHING_FOUND)
    place = outline.grid.photo_box(place)
    if (longer := max(place[2] - place[0], place[3] - place[1])) < settings.small:
        told.append(f"VEHICLE_SMALL: The vehicle is {longer:.0f} photo pixels long; a larger photo shows more.")
    height, width = rgb.shape[:2]
    whole = Frame.fit(width, height, min(max(width, height, 1024), settings.side))
    frame = whole if keep_background else square_of(place, width, height, settings.side)
    square, alpha = laid(rgb, outline, frame)
    if own.cut_out:
        square = without_fringe(square, alpha > 127)
    return Vehicle(square, frame, Matte(alpha, outline.confidence), tuple(told))


def _pixels(box: Sequence[float], rgb: Rgb) -> Box:
    """A box in fractions of the photo in its pixels, at least one pixel wide and high."""
    h, w = rgb.shape[:2]
    x0, y0 = min(box[0] * w, w - 1), min(box[1] * h, h - 1)
    return (x0, y0, max(box[2] * w, x0 + 1), max(box[3] * h, y0 + 1))


def _found(rgb: Rgb, box: Box | None, steps: Steps) -> Outline:
    """The outline by the engine: in the box, in the one that its detector chose, or searched for."""
    if steps.locate is not None:
        chosen = choose(steps.locate(rgb), (0, 0, rgb.shape[1], rgb.shape[0]), box)
        if chosen is None and box is None:
            raise JobError(Code.NO_VEHICLE, NOTHING_FOUND)
        box = box if chosen is None else chosen.box
    if steps.look is None:
        if box is None:
            raise JobError(Code.MODELS_MISSING, MISSING)
        return cut_in_box(rgb, box)
    if box is None:
        return search(rgb, steps.look, steps.verdict)
    return in_box(rgb, box, steps.look, steps.verdict) or cut_in_box(rgb, box)


def make_matte(look: Look) -> MatteOf:
    """The step that outlines a known vehicle once more in a square picture: after something was removed, or when it was drawn anew."""

    def matte(rgb: Rgb, box: Box) -> Matte:
        side = len(rgb)
        outline = again(rgb, box, look)
        if outline is None:
            return Matte(np.zeros((side, side), np.uint8), 0.0)
        return Matte(laid(rgb, outline, Frame.fit(side, side, side))[1], outline.confidence)

    return matte

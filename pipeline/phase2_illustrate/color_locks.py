"""Colour locks: an area of the drawing in a colour that the job says, in its light and shade where the palette has them.

A lock changes nothing but its area: its colour takes no part in grading. An area's main colour becomes the lock's; what was lighter takes
the palette's next lighter colour of that hue, what was darker the next darker one, and without such a colour the lock's too. A colour that
is not the palette's has no such family. `docs/decisions/0015-color-locks.md` says what stays.
"""

from collections.abc import Iterator, Sequence

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.phase2_illustrate.grade import GREY
from pipeline.raster import bounds, large_areas
from pipeline.values import PARTS, ColorLock, Frame, Mask, PartMap, Rgb

HUE = 20.0  # degrees within which another colour is light or shade of the lock's
STEP = 8.0  # L* by which it has to differ
PAINT, OF_PAINT = 0.12, 30.0  # share of the body from which a hue is its paint, and degrees that belong to it
BLACK = 0.6  # share of the body in its darkest tone, above which that is the paint, and no trim
SPECK = 0.002  # share of the vehicle below which a paint's area of its own is a spoke, a badge, a bar of the grille
RIM = 0.76  # a rim's radius over its wheel's
DARK_RIM = 0.85  # share of a rim in its darkest tone, above which that is the rim's colour, and not the gaps'

#: (S, S) bool with what each pixel in it is to be: 0 the lock's colour, -1 its shade, 1 its light.
Steps = tuple[Mask, NDArray[np.int8]]


class _Drawn:
    """What locks are held against: the labels, the parts, and the palette in CIELAB."""

    def __init__(self, labels: Labels, inside: Mask, parts: PartMap, palette: Palette) -> None:
        self.labels, self.inside, self.parts = labels, inside, parts
        self.lab = srgb_to_lab(palette.rgb)
        self.darkest = int(self.lab[:, 0].argmin())

    def part(self, name: str) -> Mask:
        return np.asarray((self.parts == PARTS.index(name)) & self.inside & (self.labels < len(self.lab)))

    def against(self, area: Mask, base: int) -> Steps:
        """The area's pixels as lighter or darker than the label `base`."""
        light = np.append(self.lab[:, 0], 0.0)[self.labels] - self.lab[base, 0]
        return area, np.asarray(np.where(np.abs(light) < STEP, 0, np.sign(light)), np.int8)

    def most(self, area: Mask) -> int:
        return int(np.bincount(self.labels[area], minlength=len(self.lab)).argmax())


def locked(
    rgb: Rgb, labels: Labels, inside: Mask, parts: PartMap, frame: Frame, palette: Palette, locks: Sequence[ColorLock]
) -> tuple[Rgb, tuple[str, ...]]:
    """`rgb` (S, S, 3) with the locks' areas in their colours, and a warning for each lock that met nothing.

    `labels` (S, S) what `rgb` was drawn in, len(palette) where nothing is; `parts` (S, S) index into `PARTS`. A point's area lies over a
    part's; of two points the later one's over the earlier one's.
    """
    drawn, out, warnings = _Drawn(labels, inside, parts, palette), rgb.copy(), []
    for number, lock in sorted(enumerate(locks), key=lambda one: (one[1].point is not None, one[0])):
        areas = list(_of_part(drawn, lock.part) if lock.part else _at(drawn, lock.point or (0, 0), frame))
        shades = _family(lock.color, palette)
        for area, step in areas:
            for which, color in shades.items():
                out[area & (step == which)] = color
        if not areas:
            place = "no such part was found" if lock.part else "nothing is drawn at this point"
            warnings.append((number, f"LOCK_MISSED: color_locks[{number}] ({_named(lock)}): {place}, and nothing took its colour."))
    return out, tuple(text for _, text in sorted(warnings))


def _named(lock: ColorLock) -> str:
    return lock.part or f"point {lock.point[0]:g}, {lock.point[1]:g}" if lock.point else str(lock.part)


def _family(color: str, palette: Palette) -> dict[int, NDArray[np.uint8]]:
    """(3,) sRGB of the lock's colour, its shade and its light, by step."""
    own = Palette((color,)).rgb[0]
    lab, mine = srgb_to_lab(palette.rgb), srgb_to_lab(own)
    chroma, grey = np.hypot(lab[:, 1], lab[:, 2]), np.hypot(mine[1], mine[2]) < GREY
    turn = np.degrees(np.arctan2(lab[:, 2], lab[:, 1]) - np.arctan2(mine[2], mine[1]))
    kin = chroma < GREY if grey else (chroma >= GREY) & (np.abs((turn + 180) % 360 - 180) <= HUE)
    family = {0: own}
    if color not in palette.colors:  # colours that stand near it by chance are none of its family
        return dict.fromkeys((-1, 0, 1), own)
    for step in (-1, 1):
        ahead = (lab[:, 0] - mine[0]) * step
        fit = np.flatnonzero(kin & (ahead >= STEP))
        family[step] = palette.rgb[fit[ahead[fit].argmin()]] if len(fit) else own
    return family


def _components(area: Mask) -> Iterator[Mask]:
    shape = cc3d.connected_components(area.astype(np.uint8), connectivity=8, out_dtype=np.uint32)
    for number in range(1, int(shape.max()) + 1):
        yield shape == number


def _of_part(drawn: _Drawn, name: str) -> Iterator[Steps]:
    """The areas of a part that a lock names, each by itself."""
    if name == "body":
        yield from _body(drawn)
        return
    part = PARTS[PARTS.index("glass")] if name == "glass" else "wheel"
    for one in _components(drawn.part(part)):
        yield _of_one(drawn, one, part)


def _of_one(drawn: _Drawn, area: Mask, part: str) -> Steps:
    if part == "wheel":
        return _wheel(drawn, area)
    if part == "glass":
        return drawn.against(area, drawn.most(area))
    return area, np.zeros(area.shape, np.int8)


def _wheel(drawn: _Drawn, area: Mask) -> Steps:
    """The rim without the gaps in it, which are dark; the tyre stays. A rim as dark as its gaps takes the colour, and keeps its lights."""
    x0, y0, x1, y1 = bounds(area) or (0.0, 0.0, 0.0, 0.0)
    disc = np.zeros(area.shape, np.uint8)
    middle, axes = (round((x0 + x1) / 2), round((y0 + y1) / 2)), (round(RIM * (x1 - x0) / 2), round(RIM * (y1 - y0) / 2))
    cv2.ellipse(disc, middle, axes, 0, 0, 360, 1, -1)
    dark = drawn.labels == drawn.darkest
    rim = area & (disc > 0)
    lit = rim & ~dark
    paint = _paint(drawn)
    if paint is not None and paint[1]:
        lit &= ~paint[0]
    if rim.any() and (rim & dark).sum() > DARK_RIM * rim.sum():
        lit = rim & dark
    return lit, np.zeros(area.shape, np.int8)


def _paint(drawn: _Drawn) -> tuple[Mask, bool, int] | None:
    """The pixels of the body's paint, trim of the same colour among them, whether it is a hue, and its main label."""
    body = drawn.part("body")
    count = np.bincount(drawn.labels[body], minlength=len(drawn.lab)).astype(float)
    if not count.sum():
        return None
    hue, chroma = np.degrees(np.arctan2(drawn.lab[:, 2], drawn.lab[:, 1])), np.hypot(drawn.lab[:, 1], drawn.lab[:, 2])
    near = np.abs((hue[:, None] - hue + 180) % 360 - 180) <= OF_PAINT
    coloured = chroma >= GREY
    family = (near & coloured) @ (count * coloured) * coloured
    if family.max() >= PAINT * count.sum():
        own = near[int(family.argmax())] & coloured
    else:
        own = ~coloured
        if count[drawn.darkest] < BLACK * count.sum():
            own[drawn.darkest] = False
    if not (count * own).any():
        return None
    hued = bool(family.max() >= PAINT * count.sum())
    # A wheel's ellipse reaches onto the wing; no rim has the body's hue often enough to matter.
    where = body | drawn.part("wheel") if hued else body
    return np.append(own, False)[drawn.labels] & where, hued, int((count * own).argmax())


def _body(drawn: _Drawn) -> Iterator[Steps]:
    """The paint; trim, lamps, highlights on coloured paint and specks of colourless one stay."""
    found = _paint(drawn)
    if found is None:
        return
    paint, hued, base = found
    if not hued:
        paint = large_areas(paint, SPECK * np.count_nonzero(drawn.inside), connectivity=8)
    if paint.any():
        yield drawn.against(paint, base)


def _at(drawn: _Drawn, point: tuple[float, float], frame: Frame) -> Iterator[Steps]:
    """The area under a point: the whole pane, wheel, lamp or plate; elsewhere the area of one colour."""
    side = len(drawn.labels)
    x, y, _, _ = frame.at(side).to_square((*point, *point))
    column, row = (min(int(v), side - 1) if 0 <= v <= side else -1 for v in (x, y))
    if min(column, row) < 0 or drawn.labels[row, column] >= len(drawn.lab):
        return
    part = PARTS[drawn.parts[row, column]]
    if drawn.inside[row, column] and part != "body":
        same = drawn.part(part)
    else:
        same = (drawn.labels == drawn.labels[row, column]) & (drawn.inside == drawn.inside[row, column])
        if drawn.inside[row, column]:
            same &= drawn.part("body")
    shape = cc3d.connected_components(same.astype(np.uint8), connectivity=4, out_dtype=np.uint32)
    area = shape == shape[row, column]
    yield _of_one(drawn, area, part) if drawn.inside[row, column] else (area, np.zeros(area.shape, np.int8))

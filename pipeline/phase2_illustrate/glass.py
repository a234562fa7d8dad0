"""Window panes: where a vehicle's glass is, and glass drawn as a designer does: one calm tone with at most one light shape.

A pane is a compact area in the upper part of the vehicle, under its roof, that keeps away from its outline. It is looked for in two ways.
Areas of another colour than the paint, which is the vehicle's most frequent colour that is no black. And cells between strong edges,
contrast-normalised: reflections are soft, the seal around a pane is sharp, so a windscreen is one cell whatever is mirrored in it, even in
the paint's colour. The panes found so tell the greenhouse: what lies between the same heights is a pane's piece by less.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from skimage.segmentation import watershed

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase2_illustrate.body_paint import body_paint, painted, surroundings_of
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.phase2_illustrate.contrast import relative, slope
from pipeline.phase2_illustrate.grade import tones_of
from pipeline.raster import ellipse, large_areas, widened, window
from pipeline.values import Mask, Rgb

Float = NDArray[np.float32]

LOWEST, MIDDLE = 0.58, 0.45  # share of the vehicle's height, from the top, in which a pane ends, and has its middle
HIGH = 0.27  # the same for the middle of one in the paint's colour: lower down, it is a bonnet
ROOF = 0.16  # the same for the vehicle's outline above its middle: lamps, bonnets and spoilers have no roof over them
SMALLEST, LARGEST = 0.004, 0.30  # share of the vehicle's pixels
SMALLEST_IN_PAINT = 0.015
ALONE, BESIDE = 0.010, 20.0  # share of the vehicle's pixels of a pane that stands alone, and pixels at a side of 1024 that are a pillar
BAND = (0.10, 0.15)  # share of their height by which others may reach above and below the panes that are sure
DEEP = 0.42  # where the greenhouse ends at most, as a share of the vehicle's height, for pieces to be looked for
BLACK = 30.0  # L* of colourless paint below which its colour tells nothing
SOLID = 0.6  # share of its convex hull that a pane fills
SLIM, SLIM_IN_PAINT = 0.16, 0.25  # least ratio of its sides
FRAMED = 0.30  # most of its rim that lies on the vehicle's outline
SEALED, SEAL = 0.7, 12.0  # share of the rim of one in the paint's colour that a seal or trim, so far off in L*, goes round
DARK_SEAL = 0.2  # the same as a share of dark glass's L*
RED = 15.0  # a* of a lamp
SHINE, SKY = 10.0, 72.0  # L* above a colourless paint's, and above any, from which an area is a highlight
SHARP = 2.2  # contrast of an edge against the contrast around it, from which it parts two cells
# Pixels at a side of 1024: half of the widest gap in such an edge that is closed, and how far a cell reaches from its core. A strip too
# slim for a core of its own, as a roof's front is, runs into the pane beside it where that is far, and a seal is lost where it is short.
CELLS = ((4.0, 8.0), (2.0, 5.5))
NOTCH, SPIKE = 14.0, 8.0  # half the width of a notch in a pane's rim that is closed, and of a spike or a bridge that is cut
CONVEX, ENCLOSED = 0.7, 0.5  # share of its convex hull from which a pane is completed to it, and of a notch's rim that the pane has
MIRROR = (0.003, 0.02)  # share of the vehicle's pixels that a mirror in front of its glass has
CLEAR, PALE = 20.0, 60.0  # chroma of a paint that glass does not mirror, and L* from which one without is unlike glass
VIVID = 0.6  # share of the paint's chroma from which a pixel of its hue is paint, and no sky mirrored in glass
TINTED = 10.0  # chroma of paint from which light glass on it is no highlight
MUTED = 0.5  # the same of a paint that is no clear colour
LOST = 0.4  # share of its surroundings that have a pane's own tone, above which it takes the next darker one, to be seen at all
LIGHT, WHOLE = (0.08, 0.45), 0.7  # share of a pane that its one light shape has, and of its convex hull that this fills


def _paint(lab: Float, inside: Mask, around: Float) -> Mask:
    """Pixels of the vehicle's paint: within reach of the most frequent colour that is no black, or of a muted paint's hue."""
    ink = inside & (lab[..., 0] > 22)
    if not ink.any():
        return np.zeros(inside.shape, bool)
    colours = lab[ink]
    count, edges = np.histogramdd(colours, bins=(13, 32, 32), range=((0, 104), (-128, 128), (-128, 128)))
    # A shaded panel spreads over many bins of 8 units: those beside a bin count for it too.
    peak = np.unravel_index(uniform_filter(count, 3, mode="constant").argmax(), count.shape)
    low, high = (np.array([edge[k + step] for edge, k in zip(edges, peak, strict=True)]) for step in (0, 1))
    mean = colours[((colours >= low - 8) & (colours < high + 8)).all(-1)].mean(0)
    chroma = float(np.hypot(mean[1], mean[2]))
    if chroma > 20:
        turn = np.cos(np.arctan2(lab[..., 2], lab[..., 1]) - np.arctan2(mean[2], mean[1]))
        return np.asarray(inside & (np.hypot(lab[..., 1], lab[..., 2]) > 14) & (turn > 0.8))
    if (muted := body_paint(lab, inside, around)) is not None:
        return painted(lab, inside, muted, MUTED)
    return np.asarray(inside & (np.abs(lab[..., 0] - mean[0]) < 20) & (np.hypot(lab[..., 1] - mean[1], lab[..., 2] - mean[2]) < 14))


def _cells(lab: Float, inside: Mask, unit: float) -> list[NDArray[np.uint32]]:
    """(H, W) the cell between strong edges of every pixel, colour counting 0.7, in each of the ways of `CELLS`; 0 where there is none.

    First of all those that fill `inside`.
    """
    steepness = np.max([weight * slope(lab[..., channel], unit) for channel, weight in enumerate((1.0, 0.7, 0.7))], axis=0)
    edges = relative(steepness.astype(np.float32) * np.float32(unit), unit)
    depth = cv2.distanceTransform(((edges < SHARP) & inside).astype(np.uint8), cv2.DIST_L2, 5)
    cells = []
    for gap, reach in CELLS:
        core = cc3d.connected_components((depth > gap * unit).astype(np.uint8), connectivity=4, out_dtype=np.uint32)
        core[np.bincount(core.ravel())[core] < 150 * unit**2] = 0
        whole = np.asarray(watershed(edges, core.astype(np.int32), mask=inside), np.uint32)  # type: ignore[no-untyped-call]
        near = cv2.distanceTransform((core == 0).astype(np.uint8), cv2.DIST_L2, 5) < reach * unit
        cells += [whole, np.where(near, whole, 0).astype(np.uint32)]
    return cells[:2] + cells[3:]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A candidate: its pixels `mask`; `top`, `middle` and `end`, heights as shares of the vehicle's, and the `roof`'s above its middle."""

    mask: Mask
    top: float
    middle: float
    end: float
    roof: float


def _candidates(component: NDArray[np.uint32], inside: Mask) -> Iterator[_Part]:
    """The components of a pane's size and height."""
    rows = np.flatnonzero(inside.any(1))
    top, height, area = rows[0], np.ptp(rows) + 1, int(inside.sum())
    first = (np.where(inside.any(0), inside.argmax(0), rows[-1]) - top) / height
    found = cc3d.statistics(component)
    for k in range(1, len(found["voxel_counts"])):
        if not SMALLEST * area <= found["voxel_counts"][k] <= LARGEST * area:  # a number that no pixel has has no box either
            continue
        middle, column = found["centroids"][k][:2]
        box = found["bounding_boxes"][k][0]
        part = _Part(component == k, (box.start - top) / height, (middle - top) / height, (box.stop - top) / height, first[round(column)])
        if part.middle <= MIDDLE and part.end <= LOWEST and part.roof <= ROOF:
            yield part


def _rim(part: Mask) -> Mask:
    return np.asarray(part & ~(cv2.erode(part.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0))


@dataclass(frozen=True, slots=True)
class _Vehicle:
    """What every candidate is held against: the vehicle `inside` and its `outline`, three pixels wide at 1024; its `paint`, and the
    median `colour` of that in CIELAB."""

    lab: Float
    inside: Mask
    outline: Mask
    paint: Mask
    colour: Float
    unit: float

    @classmethod
    def of(cls, lab: Float, inside: Mask, around: Float, unit: float) -> "_Vehicle":
        paint = _paint(lab, inside, around)
        colour = np.median(lab[paint], axis=0) if paint.any() else np.array([50.0, 0, 0], np.float32)
        outline = cv2.dilate(_rim(inside).astype(np.uint8), ellipse(3 * unit)) > 0
        return cls(lab, inside, outline, paint, colour, unit)


def _stands_out(part: Mask, colour: Float, vehicle: _Vehicle) -> bool:
    """Whether a part is compact, no lamp, clear of the outline, and has a sill below it."""
    points = cv2.findNonZero(part.astype(np.uint8))
    sides = sorted(cv2.minAreaRect(points)[1])
    if part.sum() < SOLID * cv2.contourArea(cv2.convexHull(points)) or sides[0] < SLIM * sides[1] or colour[1] > RED:
        return False
    rim = _rim(part)
    if (rim & vehicle.outline).sum() > FRAMED * rim.sum():
        return False
    # Glass has a sill below it; what stands on the vehicle's lower outline is a wheel.
    below = np.roll(part, round(8 * vehicle.unit), axis=0) & ~vehicle.inside
    return bool(below.any(0).sum() <= 0.2 * part.any(0).sum())


def _sealed(part: Mask, light: float, vehicle: _Vehicle) -> bool:
    """Whether something darker or lighter than `light` goes round a part."""
    place = window(part, round(8 * vehicle.unit))
    here = part[place]
    around = (cv2.dilate(here.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~here
    off = np.where(vehicle.inside[place], np.abs(vehicle.lab[place][..., 0] - light), 0).astype(np.float32)
    return bool((cv2.dilate(off, ellipse(5 * vehicle.unit))[around] > min(SEAL, DARK_SEAL * light)).mean() >= SEALED)


def _is_pane(part: _Part, vehicle: _Vehicle) -> bool:
    """Whether a component looks like a pane."""
    mask, colour = part.mask, np.median(vehicle.lab[part.mask], axis=0)
    if not _stands_out(mask, colour, vehicle):
        return False
    if vehicle.paint[mask].mean() > 0.5:
        sides = sorted(cv2.minAreaRect(cv2.findNonZero(mask.astype(np.uint8)))[1])
        large = mask.sum() >= SMALLEST_IN_PAINT * vehicle.inside.sum() and sides[0] >= SLIM_IN_PAINT * sides[1]
        return bool(large and part.middle <= HIGH and _sealed(mask, colour[0], vehicle))
    own = vehicle.colour
    return bool(colour[0] < max(own[0] + SHINE, SKY if np.hypot(own[1], own[2]) > TINTED else 0))


@dataclass(frozen=True, slots=True)
class _Greenhouse:
    """Between which heights a vehicle's panes lie side by side, and the `light`, L*, of the large ones among them."""

    top: float
    end: float
    light: float

    @classmethod
    def of(cls, sure: list[_Part], vehicle: _Vehicle) -> "_Greenhouse":
        """Of panes that are sure, one at least: the largest, and those that are half as large."""
        most = max(int(part.mask.sum()) for part in sure)
        main = [part for part in sure if part.mask.sum() > most / 2]
        light = float(np.median(vehicle.lab[np.any([part.mask for part in main], axis=0), 0]))
        return cls(min(part.top for part in main), max(part.end for part in main), light)

    def has_piece(self, part: _Part, vehicle: _Vehicle) -> bool:
        """Whether a part that is no pane by itself is a piece of one: between these heights, sealed, and unlike the paint."""
        above, below = (share * (self.end - self.top) for share in BAND)
        if self.end > DEEP or part.top < self.top - above or part.end > self.end + below:
            return False
        own, colour = vehicle.colour, np.median(vehicle.lab[part.mask], axis=0)
        grey = np.hypot(own[1], own[2]) < 14
        as_light = grey and abs(colour[0] - self.light) > abs(colour[0] - own[0])
        if not (grey and own[0] < BLACK) and (as_light or vehicle.paint[part.mask].mean() > 0.5):
            return False
        return _stands_out(part.mask, colour, vehicle) and _sealed(part.mask, colour[0], vehicle)


def panes(rgb: Rgb, inside: Mask) -> NDArray[np.uint32]:
    """(S, S) number of the pane at every pixel, 0 where there is none; `rgb` (S, S, 3) uint8 sRGB photograph, `inside` the vehicle."""
    if not inside.any():
        return np.zeros(inside.shape, np.uint32)
    unit, answer, part = len(rgb) / 1024, np.zeros(inside.shape, np.uint32), window(inside, 16)
    answer[part] = _panes(np.ascontiguousarray(rgb[part]), inside[part], surroundings_of(rgb, inside), unit)
    return answer


def _panes(rgb: Rgb, inside: Mask, around: Float, unit: float) -> NDArray[np.uint32]:
    """(H, W) as `panes`, of the vehicle's part of the picture; `around` (k, 3) CIELAB colours of its surroundings."""
    lab = srgb_to_lab(np.asarray(cv2.bilateralFilter(rgb, max(5, round(9 * unit)), 35, 6 * unit), np.uint8)).astype(np.float32)
    vehicle = _Vehicle.of(lab, inside, around, unit)
    other = cv2.morphologyEx((inside & ~vehicle.paint).astype(np.uint8), cv2.MORPH_OPEN, ellipse(3 * unit))
    areas = np.asarray(cc3d.connected_components(other, connectivity=4, out_dtype=np.uint32), np.uint32)
    *cells, fine = _cells(srgb_to_lab(rgb).astype(np.float32), inside, unit)
    parts = [part for component in (areas, *cells) for part in _candidates(component, inside)]
    sure = [part for part in parts if _is_pane(part, vehicle)]
    glass = np.zeros(inside.shape, np.uint8)
    if sure:
        greenhouse = _Greenhouse.of(sure, vehicle)
        for part in (*parts, *_candidates(fine, inside)):
            if (part in sure and part.middle < greenhouse.end) or greenhouse.has_piece(part, vehicle):
                glass[part.mask] = 1
    glass = np.asarray(cv2.morphologyEx(glass, cv2.MORPH_CLOSE, ellipse(2 * unit)) * inside, np.uint8)
    whole = ~large_areas(glass == 0, 0.002 * inside.sum())
    mirror = _mirrors(whole, vehicle)
    return _together(_smoothed(whole & ~mirror, inside & ~mirror, vehicle.paint, unit), inside, unit)


def _mirrors(glass: Mask, vehicle: _Vehicle) -> Mask:
    """What stands in front of `glass` in a paint of clear chroma, or in the lower half of a pane in a light paint without: a mirrored sky
    is high in the pane, and as pale as it likes."""
    own, chroma = float(np.hypot(*vehicle.colour[1:])), np.hypot(vehicle.lab[..., 1], vehicle.lab[..., 2])
    clear = own > CLEAR
    if not clear and vehicle.colour[0] < PALE:
        return np.zeros(glass.shape, bool)
    seen = (vehicle.paint & (chroma > max(CLEAR, VIVID * own)) if clear else vehicle.paint & glass).astype(np.uint8)
    solid = np.asarray(cv2.morphologyEx(seen, cv2.MORPH_OPEN, ellipse(3 * vehicle.unit)), np.uint8)
    shape = cc3d.connected_components(solid * glass, connectivity=4, out_dtype=np.uint32)
    pane = cc3d.connected_components(glass.astype(np.uint8), connectivity=4, out_dtype=np.uint32)
    size, least, out = np.bincount(shape.ravel()), (0 if clear else MIRROR[0]) * vehicle.inside.sum(), np.zeros(glass.shape, bool)
    for k in np.flatnonzero((size >= least) & (size < MIRROR[1] * vehicle.inside.sum())):
        one = shape == k
        if k and (clear or _low(one, pane == pane[one][0])):
            out |= one
    return out


def _low(part: Mask, pane: Mask) -> bool:
    """Whether a compact part of a pane lies in its lower half."""
    hull = cv2.contourArea(cv2.convexHull(cv2.findNonZero(part.astype(np.uint8))))
    return bool(part.sum() > CONVEX * hull and np.flatnonzero(part.any(1)).mean() > np.flatnonzero(pane.any(1)).mean())


def _together(pane: NDArray[np.uint32], inside: Mask, unit: float) -> NDArray[np.uint32]:
    """`pane` without the small ones that stand alone: a quarter light has a larger pane beside it."""
    size = np.bincount(pane.ravel())
    size[0] = 0
    large = (size >= ALONE * inside.sum())[pane]
    kept = np.bincount(pane[widened(large, BESIDE * unit)], minlength=len(size)) > 0
    kept[0] = False
    return np.asarray(np.where(kept, np.cumsum(kept), 0)[pane], np.uint32)


def _completed(pane: Mask, free: Mask, paint: Mask) -> Mask:
    """A pane that is nearly convex with its notches filled: those of `free` pixels that it goes round, and below its middle, where mirrors
    stand in front of it, those that are no `paint`."""
    hull = cv2.convexHull(cv2.findNonZero(pane.astype(np.uint8)))
    if pane.sum() < CONVEX * cv2.contourArea(hull):
        return pane
    rows = np.flatnonzero(pane.any(1))
    high = np.arange(len(pane))[:, None] < (rows[0] + rows[-1]) / 2
    full = cv2.fillConvexPoly(np.zeros(pane.shape, np.uint8), hull, 1) > 0
    notch = cc3d.connected_components((full & free & ~pane & (high | ~paint)).astype(np.uint8), connectivity=4, out_dtype=np.uint32)
    out = pane.copy()
    for k in range(1, int(notch.max()) + 1):
        one = notch == k
        around = (cv2.dilate(one.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~one
        if pane[around].mean() > ENCLOSED:
            out |= one
    return out


def _smoothed(glass: Mask, inside: Mask, paint: Mask, unit: float) -> NDArray[np.uint32]:
    """(H, W) the numbers of the panes that `glass` falls into where it is narrow, as at a pillar that mirrors what the panes do; without
    the notches and spikes that reflections leave at their rims."""
    core = cv2.morphologyEx(glass.astype(np.uint8), cv2.MORPH_OPEN, ellipse(SPIKE * unit))
    pane = cc3d.connected_components(core, connectivity=4, out_dtype=np.uint32)
    out = np.zeros(glass.shape, np.uint32)
    for k in range(1, int(pane.max()) + 1):
        part = window(pane == k)
        reach = round(2 * NOTCH * unit) + 1  # a margin, so that the crop's border is no rim
        one = cv2.copyMakeBorder((pane[part] == k).astype(np.uint8), reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
        own = cv2.morphologyEx(one, cv2.MORPH_CLOSE, ellipse(NOTCH * unit))[reach:-reach, reach:-reach] > 0
        free = inside[part] & (out[part] == 0) & ((pane[part] == 0) | (pane[part] == k))
        out[part][_completed(own & free, free, paint[part])] = k
    return out


def calmed(labels: Labels, pane: NDArray[np.uint32], palette: Palette) -> Labels:
    """`labels` (S, S) with each pane calm: the tone that most of it has, and at most one light shape.

    It is a darker tone where that one would not be seen, or is the lightest of all; the light shape is the largest, where it is whole and
    unlike the pane's surroundings, neither a glint nor half of the pane. A palette without tones leaves the panes as they are.
    """
    ladder = tones_of(palette)
    if not len(ladder):
        return labels
    out, lab, drawn = labels.copy(), srgb_to_lab(palette.rgb), labels < len(palette)
    rank = np.searchsorted(lab[ladder, 0], lab[:, 0] - 1e-3).clip(0, len(ladder) - 1)
    step = rank[np.minimum(labels, len(palette) - 1)]
    parts = [part for part in ((pane == k) & drawn for k in range(1, int(pane.max()) + 1)) if part.any()]
    rims = [(cv2.dilate(part.astype(np.uint8), ellipse(6 * len(labels) / 1024)) > 0) & ~part & drawn for part in parts]
    tones = [int(np.bincount(step[part], minlength=len(ladder)).argmax()) for part in parts]
    # Panes of one tone stay alike: a piece of a windscreen in the midst of the rest of it is no reason to darken it.
    around = {tone: np.concatenate([labels[rim] for rim, its in zip(rims, tones, strict=True) if its == tone]) for tone in tones}
    lost = {tone for tone, beside in around.items() if tone + 1 == len(ladder) or (beside == ladder[tone]).mean() > LOST}
    for part, rim, tone in zip(parts, rims, tones, strict=True):
        own = max(0, tone - 1) if tone in lost else tone
        out[part] = ladder[own]
        if own + 1 < len(ladder) and (labels[rim] == ladder[own + 1]).mean() <= LOST:
            out[_light_shape(part & (step > own), part)] = ladder[own + 1]
    return out


def _light_shape(lighter: Mask, pane: Mask) -> Mask:
    """The largest of the `lighter` areas of a pane, its rim smooth; nothing where that is a glint, half of the pane or ragged."""
    unit = len(pane) / 1024
    clean = cv2.morphologyEx(lighter.astype(np.uint8), cv2.MORPH_OPEN, ellipse(4 * unit))
    clean = cv2.morphologyEx(clean, cv2.MORPH_CLOSE, ellipse(SPIKE * unit)) * pane
    clean = cv2.morphologyEx(clean, cv2.MORPH_OPEN, ellipse(SPIKE * unit))
    shape = cc3d.connected_components(clean, connectivity=4, out_dtype=np.uint32)
    size = np.bincount(shape.ravel())
    size[0] = 0
    largest = shape == size.argmax()
    if not LIGHT[0] * pane.sum() <= size.max() <= LIGHT[1] * pane.sum():
        return np.zeros(pane.shape, bool)
    hull = cv2.contourArea(cv2.convexHull(cv2.findNonZero(largest.astype(np.uint8))))
    return np.asarray(largest & (size.max() >= WHOLE * hull))

"""Calm wheels: the tyre in the darkest tone, the rim in two, spokes of one colour on dark gaps.

Sun on rubber and dust in its tread make grey patches in a tyre, and mirrored ground makes them in a rim. Within a rim, light is parted
from dark by one threshold (Otsu, 1979) that follows the rim's own shading. All rims of a vehicle take one colour.
"""

from dataclasses import dataclass, replace

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.phase2_illustrate.grade import GREY, tones_of
from pipeline.phase2_illustrate.rims import Rim, disc
from pipeline.raster import large_areas, window
from pipeline.values import Mask, Rgb

Float = NDArray[np.float32]

FACE = 1.05  # times the radius where the flange is brightest, up to which the rim reaches
SIDEWALL = 0.6  # how far from the rim to the tyre's edge every dull pixel is the sidewall's
SPARE = 1.1  # how far beyond the tyre an area may lie that is the tyre's, times its radius
TREAD = 0.6  # how far the tread reaches sideways where a wheel is seen half from ahead, in radii of the tyre
WITHIN = 0.8  # least share of such an area that lies there
SPECK = 150.0  # area, pixels at a side of 1024, below which it is the tyre's whatever it looks like
CRUMB = 40.0  # the same of what the rim's edge cuts off
DULL, RUBBER = 14.0, 30.0  # most chroma of rubber, and most L* of it above the tyre's own beside the rim
CONTRAST = 20.0  # least L* between spokes and gaps
FEW = 0.25  # share of a rim that is light, below which that is its lip or lights, and its spokes are as dark as its gaps
AROUND, FOLLOWS = 0.35, 0.6  # where the mean around is taken, in radii of the rim, and how far the threshold goes with it
LEAST = 45.0  # half height of a rim, pixels at a side of 1024, below which one threshold loses what the dark relief shows
FEWEST = 200.0  # area, pixels at a side of 1024, below which nothing is parted
SMALLEST = 0.01  # share of the rim below which a shape is left out
OTHER, VIVID = 0.006, 30.0  # share of a rim from which a caliper stays as it is, and its least chroma


@dataclass(frozen=True, slots=True)
class _Wheel:
    """A wheel's `part` of the picture, and there: its `rim`, L*, chroma, the rim's `face`.

    `lit`: its spokes, nothing where they are not clear.
    """

    part: tuple[slice, slice]
    rim: Rim
    light: Float
    chroma: Float
    face: Mask
    lit: Mask


def _tidy(lit: Mask, face: Mask) -> Mask:
    """`lit` without small areas, and without small holes in it."""
    least = SMALLEST * face.sum()
    lit = large_areas(lit, least)
    return lit | (face & ~lit & ~large_areas(face & ~lit, least))


def _parted(light: Float, face: Mask, rim: Rim, unit: float) -> Mask:
    """What is light of a rim's face; nothing where that is not clear."""
    values = light[face]
    nothing = np.zeros_like(face)
    if len(values) < FEWEST * unit**2 or np.ptp(values) < CONTRAST:
        return nothing
    cut = threshold_otsu(values)  # type: ignore[no-untyped-call]
    if values[values > cut].mean() - values[values <= cut].mean() < CONTRAST:
        return nothing
    weight, held = (cv2.GaussianBlur(v.astype(np.float32), (0, 0), AROUND * rim.ry) for v in (face, np.where(face, light, 0)))
    lit = face & (light > cut + FOLLOWS * (held / np.maximum(weight, 1e-3) - values.mean()))
    return np.asarray(cv2.GaussianBlur(lit.astype(np.float32), (0, 0), 1.3 * unit) > 0.5) & face


def _tyre(shape: tuple[int, ...], rim: Rim) -> Mask:
    """Where a wheel's tyre may lie, the rim within it: its side, and its tread on either side of that."""
    x, y, rx, ry = rim.scaled(SPARE * rim.reach)
    side = TREAD * ry * np.sqrt(max(0.0, 1 - (rx / ry) ** 2))
    return np.asarray(np.any([disc(shape, (x + shift, y, rx, ry)) for shift in (-side, 0, side)], axis=0))


def _wheel(rgb: Rgb, inside: Mask, rim: Rim) -> _Wheel:
    unit = len(rgb) / 1024
    part = window(_tyre(inside.shape, rim), round(0.5 * rim.ry))
    picture = cv2.bilateralFilter(np.ascontiguousarray(rgb[part]), max(5, round(7 * unit)), 25, 3 * unit)
    lab = srgb_to_lab(np.asarray(picture, np.uint8)).astype(np.float32)
    light = np.ascontiguousarray(lab[..., 0])
    here = replace(rim, x=rim.x - part[1].start, y=rim.y - part[0].start)
    face = disc(light.shape, here.scaled(FACE)) & inside[part]
    lit = _tidy(_parted(light, face, here, unit), face)
    if lit.sum() < FEW * face.sum() or rim.ry < LEAST * unit:
        lit[:] = False
    return _Wheel(part, here, light, np.hypot(lab[..., 1], lab[..., 2]), face, lit)


def calmed_wheels(rgb: Rgb, inside: Mask, labels: Labels, palette: Palette, rims: tuple[Rim, ...]) -> tuple[Labels, Mask]:
    """`labels` (S, S) with calm wheels, and (S, S) where they are calm.

    `rgb` (S, S, 3) uint8 sRGB, the photograph; `inside` (S, S) the vehicle. A rim without clear spokes stays as it is. A palette with a
    single tone has nothing to draw them with.
    """
    ladder = tones_of(palette)
    done, out = np.zeros(inside.shape, bool), labels.copy()
    if len(ladder) < 2 or not rims:
        return labels, done
    chroma = np.append(np.hypot(*srgb_to_lab(palette.rgb).T[1:]), 0)
    seen = [_wheel(rgb, inside, rim) for rim in rims]
    count = np.sum([np.bincount(labels[one.part][one.lit], minlength=len(palette) + 1) for one in seen], axis=0)
    count[[ladder[0], len(palette)]] = 0
    main = int(count.argmax()) if count.any() else int(ladder[1])
    for one in seen:
        here = out[one.part]
        outer = inside[one.part] & ~one.face
        done[one.part] |= disc(outer.shape, one.rim.scaled(one.rim.reach)) & outer
        _blacken(here, one, outer, int(ladder[0]), len(palette), len(rgb) / 1024)
        if not one.lit.any():
            continue
        other = one.face & (chroma[here] >= GREY) & (here != main) & (one.chroma > VIVID)
        other = large_areas(other, OTHER * one.face.sum())
        for area, color in ((one.face, int(ladder[0])), (one.lit, main)):
            here[area & ~other] = color
        done[one.part] |= one.face
    return out, done


def _blacken(labels: Labels, one: _Wheel, outer: Mask, darkest: int, nothing: int, unit: float) -> None:
    """The rubber around a rim in the darkest tone, in place: its sidewall by the pixel, the rest of it by the area."""
    rubber = (one.light < one.rim.black + RUBBER) & (one.chroma < DULL)
    labels[disc(outer.shape, one.rim.scaled(1 + SIDEWALL * (one.rim.reach - 1))) & outer & rubber] = darkest
    lighter = np.where(outer & (labels != darkest) & (labels < nothing), labels + 1, 0).astype(np.uint8)
    area = cc3d.connected_components(lighter, connectivity=4, out_dtype=np.uint32)
    size = np.maximum(1, np.bincount(area.ravel()))
    tyre = _tyre(outer.shape, one.rim)
    share, dull = (np.bincount(area.ravel(), weights=mask.ravel()) / size for mask in (tyre, rubber))
    gone = (share > WITHIN) & ((dull > 0.5) | (size < SPECK * unit**2))
    # What reaches the part's border goes on beyond it.
    gone[np.concatenate([area[0], area[-1], area[:, 0], area[:, -1], [0]])] = False
    labels[gone[area]] = darkest
    lighter = (outer | one.face) & (labels != darkest) & (labels < nothing)
    labels[lighter & tyre & ~large_areas(lighter, CRUMB * unit**2)] = darkest

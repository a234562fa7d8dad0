"""Which part of the vehicle every pixel belongs to, as far as it was found for the drawing's sake."""

from collections.abc import Sequence

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.phase2_illustrate.grade import GREY
from pipeline.raster import ellipse, window
from pipeline.values import PARTS, Mask, PartMap, Rgb

#: A lamp's share of the vehicle's pixels, and its hues, degrees in CIELAB: from crimson to amber; those of its red alone.
LEAST, MOST, HUES, REDS = 0.0003, 0.03, (-40.0, 85.0), (20.0, 60.0)
#: Share of the vehicle from which a hue is its paint's, and no lamp's.
PAINT = 0.06
#: An indicator's hues, degrees, its least chroma and L*, the least share of its convex hull that it fills, and degrees from its hue
#: within which a colour of the palette is its own.
AMBER, AMBER_CHROMA, AMBER_LIGHT, SOLID, OWN = (46.0, 86.0), 42.0, 35.0, 0.7, 30.0


def _hues(palette: Palette) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hue, degrees from -180 to 180, and chroma of every colour."""
    _, a, b = srgb_to_lab(palette.rgb).T
    return (np.degrees(np.arctan2(b, a)) + 180) % 360 - 180, np.hypot(a, b)


def lamps(labels: Labels, inside: Mask, palette: Palette, elsewhere: Mask) -> Mask:
    """(S, S) small areas in a lamp's colour, where that is not the paint's, and not `elsewhere`."""
    hue, chroma = _hues(palette)
    glowing = np.append((chroma >= GREY) & (hue >= HUES[0]) & (hue <= HUES[1]), False)
    lit = glowing[labels] & inside & ~elsewhere
    area = np.count_nonzero(inside)
    if lit.sum() > PAINT * area:
        return np.zeros(inside.shape, bool)
    shape = cc3d.connected_components(lit.astype(np.uint8), connectivity=8, out_dtype=np.uint32)
    size = np.bincount(shape.ravel())
    kept = (size >= LEAST * area) & (size <= MOST * area)
    kept[0] = False
    return np.asarray(kept[shape])


def amber(rgb: Rgb, inside: Mask, labels: Labels, palette: Palette, elsewhere: Mask) -> Labels:
    """`labels` with small amber glass in the palette's colour of that hue: beside a red lamp or on red paint it goes for red otherwise.

    `rgb` (S, S, 3) uint8 sRGB, the photograph; `elsewhere` (S, S) stays as it is.
    """
    unit, part = len(rgb) / 1024, window(inside)
    lab = srgb_to_lab(np.asarray(cv2.bilateralFilter(np.ascontiguousarray(rgb[part]), max(5, round(5 * unit)), 35, 3 * unit), np.uint8))
    hue, chroma = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])), np.hypot(lab[..., 1], lab[..., 2])
    lit = (inside & ~elsewhere)[part] & (hue > AMBER[0]) & (hue < AMBER[1]) & (chroma > AMBER_CHROMA) & (lab[..., 0] > AMBER_LIGHT)
    area = np.count_nonzero(inside)
    if lit.sum() > PAINT * area:
        return labels
    whole = cv2.morphologyEx(lit.astype(np.uint8), cv2.MORPH_OPEN, ellipse(1.5 * unit))
    whole = cv2.morphologyEx(whole, cv2.MORPH_CLOSE, ellipse(4 * unit))
    shape = cc3d.connected_components(whole, connectivity=8, out_dtype=np.uint32)
    hues, pure = _hues(palette)
    out = labels.copy()
    for k in np.flatnonzero(np.bincount(shape.ravel()) >= LEAST * area)[1:]:
        lens = shape == k
        hull = cv2.contourArea(cv2.convexHull(cv2.findNonZero(lens.astype(np.uint8))))
        apart = np.where((pure >= AMBER_CHROMA) & (hues > REDS[1]), np.abs(hues - np.median(hue[lens])), np.inf)
        if SOLID * hull <= lens.sum() <= MOST * area and apart.min() <= OWN:
            out[part][lens & inside[part]] = apart.argmin()
    return out


def one_red(labels: Labels, lamp: Mask, palette: Palette) -> Labels:
    """`labels` with the crimson, pink, magenta and brown of red lamps in the palette's red: shaded glass is no second colour."""
    hue, chroma = _hues(palette)
    reds = np.flatnonzero((chroma >= GREY) & (hue >= REDS[0]) & (hue <= REDS[1]))
    if not len(reds):
        return labels
    red = reds[chroma[reds].argmax()]
    shades = np.append((chroma >= GREY) & (hue >= HUES[0]) & (hue <= REDS[1]), False)
    return np.where(lamp & shades[labels], red, labels).astype(np.uint8)


def parts_of(inside: Mask, glass: Mask, wheel: Mask, lamp: Mask, plates: Sequence[Mask]) -> PartMap:
    """(S, S) uint8, an index into `PARTS`: plates before lamps before wheels before glass, and the body everywhere else."""
    out = np.full(inside.shape, PARTS.index("body"), np.uint8)
    out[glass] = PARTS.index("glass")
    out[wheel] = PARTS.index("wheel")
    out[lamp] = PARTS.index("lamp")
    for plate in plates:
        out[plate] = PARTS.index("plate")
    return out

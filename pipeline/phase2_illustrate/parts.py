"""Which part of the vehicle every pixel belongs to, as far as it was found for the drawing's sake."""

from collections.abc import Sequence

import cc3d
import numpy as np

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.phase2_illustrate.grade import GREY
from pipeline.values import PARTS, Mask, PartMap

#: A lamp's share of the vehicle's pixels, and its hues, degrees in CIELAB: from crimson to amber.
LEAST, MOST, HUES = 0.0003, 0.03, (-15.0, 85.0)
#: Share of the vehicle from which a hue is its paint's, and no lamp's.
PAINT = 0.06


def _lamps(labels: Labels, inside: Mask, palette: Palette, elsewhere: Mask) -> Mask:
    """Small areas in a lamp's colour, where that is not the paint's."""
    _, a, b = srgb_to_lab(palette.rgb).T
    hue = (np.degrees(np.arctan2(b, a)) + 180) % 360 - 180
    glowing = np.append((np.hypot(a, b) >= GREY) & (hue >= HUES[0]) & (hue <= HUES[1]), False)
    lit = glowing[labels] & inside & ~elsewhere
    area = np.count_nonzero(inside)
    if lit.sum() > PAINT * area:
        return np.zeros(inside.shape, bool)
    shape = cc3d.connected_components(lit.astype(np.uint8), connectivity=8, out_dtype=np.uint32)
    size = np.bincount(shape.ravel())
    kept = (size >= LEAST * area) & (size <= MOST * area)
    kept[0] = False
    return np.asarray(kept[shape])


def parts_of(labels: Labels, inside: Mask, palette: Palette, glass: Mask, wheels: Mask, plates: Sequence[Mask]) -> PartMap:
    """(S, S) uint8, an index into `PARTS`: plates before lamps before wheels before glass, and the body everywhere else."""
    out = np.full(inside.shape, PARTS.index("body"), np.uint8)
    out[glass] = PARTS.index("glass")
    out[wheels] = PARTS.index("wheel")
    out[_lamps(labels, inside, palette, glass | wheels)] = PARTS.index("lamp")
    for plate in plates:
        out[plate] = PARTS.index("plate")
    return out

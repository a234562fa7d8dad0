"""Blank plates: the area of a plate whose characters were removed becomes one tone, with an outline that is seen.

What is painted over the characters is a photograph still: it keeps the shadow of a frame, a screw, a haze. Graded, it falls apart
into slabs. So the whole plate takes the one colour that most of it has, and where its surroundings have that colour another tone.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.phase2_illustrate.grade import GREY
from pipeline.values import Mask, Rgb

#: Share of a plate's outline beyond which its colour may go on: with more, the plate would not be seen to end there.
OPEN = 0.1


def areas(plates: Sequence[NDArray[np.float32]], scale: float, inside: Mask) -> list[Mask]:
    """The plates' pixels in a picture (S, S), on the vehicle `inside`: `plates` are their corners (K, 2) in pixels of one 1 / `scale`
    as large. Those too small to have any are left out."""
    out = []
    for corners in plates:
        area = np.zeros(inside.shape, np.uint8)
        cv2.fillPoly(area, [np.round((corners + 0.5) * scale - 0.5).astype(np.int32)], 1)
        out.append(area.astype(bool) & inside)
    return [area for area in out if area.any()]


def flattened(rgb: Rgb, plates: Sequence[Mask]) -> Rgb:
    """`rgb` (S, S, 3) sRGB with each plate in the median of its colours."""
    out = rgb.copy() if plates else rgb
    for area in plates:
        out[area] = np.round(np.median(rgb[area], axis=0)).astype(np.uint8)
    return out


def blank(labels: Labels, plates: Sequence[Mask], palette: Palette) -> Labels:
    """`labels` (S, S), len(palette) for nothing, with each plate in one colour of the palette: the one that most of it has, unless more
    than `OPEN` of its outline has it, too; then the nearest lighter tone, the nearest darker one, and where all tones lie around it,
    the one that does least. A plate with a hue takes another hue in the same way."""
    out = labels.copy() if plates else labels
    n = len(palette)
    for area in plates:
        counts = np.bincount(out[area], minlength=n + 1)[:n]
        if not counts.any():
            continue
        around = (cv2.dilate(area.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~area
        share = np.bincount(out[around], minlength=n + 1)[:n] / max(1, int(around.sum()))
        order = _of_its_kind(int(counts.argmax()), palette)
        out[area] = next((k for k in order if share[k] <= OPEN), min(order, key=lambda k: share[k]))
    return out


def _of_its_kind(label: int, palette: Palette) -> list[int]:
    """The palette's tones, or its hues, as `label` is one: that first, then lighter ones from near to far, then darker ones.

    A plate in pink, because white, grey and black lie around it, would be none.
    """
    lab = srgb_to_lab(palette.rgb)
    hued = np.hypot(lab[:, 1], lab[:, 2]) >= GREY
    step, apart = lab[:, 0] - lab[label, 0], np.linalg.norm(lab - lab[label], axis=1)
    return sorted(np.flatnonzero(hued == hued[label]).tolist(), key=lambda k: (k != label, step[k] < 0, apart[k]))

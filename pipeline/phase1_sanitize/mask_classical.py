"""The pixels of found lettering: its strokes on paint, the block of characters on a plate."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase1_sanitize import quads
from pipeline.phase1_sanitize.find_badges import BADGES
from pipeline.phase1_sanitize.quads import PLATE
from pipeline.raster import ellipse
from pipeline.values import Found, Mask, Rgb

#: Least colour difference (CIE76) of a stroke from what lies beside it.
LEAST_DIFFERENCE = 5.0
#: Least lightness (L*) by which small print on a plate is darker than the plate beside it.
SMALL_PRINT = 16.0
#: Colour difference (CIE76) up to which the border of a plate is the plate's.
SAME_PLATE = 20.0
#: Strokes take this share of the box of their text; beyond it the strokes cannot be told apart and the whole box goes.
STROKE_SHARE = (0.04, 0.8)
#: Least height of the upright patch in which the strokes are sought, pixels.
LEAST_HEIGHT = 32


def masks(rgb: Rgb, found: Sequence[Found]) -> list[Mask]:
    """The mask of each found thing, in their order."""
    return [mask(rgb, one) for one in found]


def mask(rgb: Rgb, found: Found) -> Mask:
    """(S, S) mask of a found thing's pixels: the characters' block of a plate, the whole box of a badge, else the letters' strokes."""
    if found.label in BADGES:  # alone on calm paint, which the box may be filled with
        return quads.filled(found.quad, rgb.shape[:2])
    width, height = quads.size(found.quad)
    margin = 0.6 * height
    scale = max(1.0, LEAST_HEIGHT / height)
    around = quads.padded(found.quad, margin, margin)
    patch, homography = quads.rectify(rgb, around, round((width + 2 * margin) * scale), round((height + 2 * margin) * scale))
    edge = round(margin * scale)
    core = np.zeros(patch.shape[:2], bool)
    core[edge:-edge, edge:-edge] = True
    strokes = _on_plate(patch, core) if found.label == PLATE else _on_paint(patch, core)
    side = rgb.shape[0]
    moved = cv2.warpPerspective(strokes.astype(np.float32), np.linalg.inv(homography), (side, side), flags=cv2.INTER_LINEAR)
    return np.asarray(moved > 0.3, bool)


def _on_plate(patch: Rgb, core: Mask) -> Mask:
    """The characters and the small print of a plate that fills `core`, without what its frame leaves along the border.

    Only what reaches into the inner part of the plate counts; towards the border it is followed a little way.
    """
    height = int(core.any(1).sum())
    field = ~_widened(~core, 0.07 * height, 0.07 * height)
    inner = ~_widened(~core, 0.11 * height, 0.15 * height)
    lightness = cv2.cvtColor(patch, cv2.COLOR_RGB2LAB)[:, :, 0]
    apart = _from_surface(patch, core, field & (lightness >= np.median(lightness[field])))
    apart[:, :, 0] = np.minimum(apart[:, :, 0], 0)  # what is lighter than the plate is a reflection
    difference = np.linalg.norm(apart, axis=2)
    if (difference[core & ~field] < SAME_PLATE).mean() < 0.5:  # no plate around these characters: the box is theirs alone
        return _on_paint(patch, core)
    weak, strong = _two_thresholds(difference, field)
    darker = _hat(patch, 0.06 * height)
    weak, strong = (weak | (darker > SMALL_PRINT / 2)) & field, strong | (darker > SMALL_PRINT)
    parts, _, real = _parts(weak & inner, strong & inner)
    characters = real[parts]
    followed = _widened(characters, 0.1 * height, 0.1 * height) & weak
    return _judged(characters | followed, field, core)


def _hat(patch: Rgb, radius: float) -> NDArray[np.float32]:
    """By how much lightness (L*) a pixel is darker than what surrounds it within `radius` (black top hat)."""
    lightness = cv2.cvtColor(patch.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[:, :, 0]
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.morphologyEx(lightness, cv2.MORPH_BLACKHAT, np.ones((side, side), np.uint8)), np.float32)


def _on_paint(patch: Rgb, core: Mask) -> Mask:
    """The strokes of the text in `core`, without the edges and panel lines that run through it.

    A letter may touch an edge that runs on beyond: what stands in the middle rows counts too.
    """
    height = int(core.any(1).sum())
    field = _widened(core, 0.4 * height, 0.1 * height)
    rim = core & _widened(~core, 0.15 * height, 0.15 * height)
    difference = np.linalg.norm(_from_surface(patch, core, rim), axis=2)
    weak, strong = _two_thresholds(difference, core)
    parts, sizes, real = _parts(weak, strong & core)
    free = np.bincount(parts[field], minlength=len(sizes)) > 0.85 * sizes
    strokes = (real & free)[parts]
    middle = core & ~_widened(~core, 0.12 * height, 0.12 * height)
    return _judged(strokes | (real[parts] & middle & _span(strokes, core, height)), field, core)


def _span(strokes: Mask, core: Mask, height: int) -> Mask:
    """(W,) the columns of `core` that its letters take: from the first stroke to the last, and ends too wide to be margins."""
    whole = np.asarray(core.any(0), bool)
    columns, ends = np.flatnonzero((strokes & core).any(0)), np.flatnonzero(whole)
    if not len(columns):
        return whole
    margin = round(0.35 * height)
    span = whole.copy()
    if columns[0] - ends[0] < margin:
        span[: columns[0]] = False
    if ends[-1] - columns[-1] < margin:
        span[columns[-1] + 1 :] = False
    return span


def _two_thresholds(difference: NDArray[np.float32], field: Mask) -> tuple[Mask, Mask]:
    """Where a pixel may be a stroke (soft edges too), and where it surely is: two fifths of Otsu's threshold, and the whole."""
    cut = max(LEAST_DIFFERENCE, _otsu(difference[field]))
    return difference > max(LEAST_DIFFERENCE, 0.4 * cut), difference > cut


def _parts(weak: Mask, strong: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64], Mask]:
    """The connected parts of `weak` as numbers, their sizes, and which of them hold a pixel of `strong`."""
    _, parts = cv2.connectedComponents(weak.astype(np.uint8), connectivity=8)
    sizes = np.bincount(parts.ravel())
    real = np.bincount(parts[strong], minlength=len(sizes)) > 0
    real[0] = False
    return np.asarray(parts, np.int32), sizes, real


def _judged(strokes: Mask, field: Mask, core: Mask) -> Mask:
    """The strokes with their small gaps closed; the whole box with them where they are too few or too many to be strokes."""
    share = float(strokes.sum()) / int(core.sum())
    if not STROKE_SHARE[0] <= share <= STROKE_SHARE[1]:
        return field & (core | strokes)
    radius = 0.04 * int(core.any(1).sum())
    return _closed(strokes, radius) & field


def _from_surface(patch: Rgb, core: Mask, start: Mask) -> NDArray[np.float32]:
    """CIELAB (H, W, 3) less that of the surface under the text: a plane in position for each channel.

    It starts from the median of the pixels of `start` and is fitted to those of `core` that lie close to it.
    """
    smooth = cv2.GaussianBlur(patch, (0, 0), 0.7).astype(np.float32) / 255  # or sensor noise would make strokes
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)
    rows, columns = np.indices(core.shape)
    terms = np.stack([np.ones(core.shape), columns / core.shape[1] - 0.5, rows / core.shape[0] - 0.5], axis=-1)
    plane = np.zeros((3, 3))
    plane[0] = np.median(lab[start], 0)
    distance = np.linalg.norm(lab - terms @ plane, axis=2)
    for limit in (24.0, 16.0, 12.0, 12.0):
        close = core & (distance < limit)
        if close.sum() < 0.1 * core.sum():
            break
        plane, *_ = np.linalg.lstsq(terms[close], lab[close], rcond=None)
        distance = np.linalg.norm(lab - terms @ plane, axis=2)
    return np.asarray(lab - terms @ plane, np.float32)


def _widened(area: Mask, along: float, across: float) -> Mask:
    element = np.ones((2 * round(across) + 1, 2 * round(along) + 1), np.uint8)
    return np.asarray(cv2.dilate(area.astype(np.uint8), element), bool)


def _closed(area: Mask, radius: float) -> Mask:
    border = round(radius) + 1
    wide = cv2.morphologyEx(np.pad(area, border).astype(np.uint8), cv2.MORPH_CLOSE, ellipse(radius))
    return np.asarray(wide[border:-border, border:-border], bool)


def _otsu(values: NDArray[np.float32]) -> float:
    """Otsu's threshold of values that matter up to 63."""
    cut, _ = cv2.threshold(np.clip(values * 4, 0, 255).astype(np.uint8).reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)
    return float(cut) / 4

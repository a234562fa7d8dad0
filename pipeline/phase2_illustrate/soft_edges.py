"""Edges of shade and light: where the picture has only a gradient, two labels meet in one long, smooth curve.

A threshold that cuts a gradient follows its noise and its reflections. Where the picture has no edge, the boundary between two labels
is smoothed by threshold dynamics: the share of one label is blurred and cut at one half, again and again (Merriman, Bence, Osher,
1992), with a kernel of the fourth order, which takes the waves out of a curve and hardly shrinks what it encloses (Esedoglu, Ruuth,
Tsai, 2008). A spring draws every pixel back to the side that it came from. Small islands and peninsulas go. A boundary on an edge of
the picture stays as it is.
"""

from itertools import combinations

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.phase2_illustrate.guided_filter import box_mean
from pipeline.raster import ellipse, large_areas, widened, window
from pipeline.values import Mask

Float = NDArray[np.float32]
Window = tuple[slice, slice]

#: Lengths are pixels at a side of 1024.
NARROW, WIDE = 2.0, 10.0  # half the side of the squares in which the colours to both sides of a boundary are compared
ALONG = 6.0  # half the length along a boundary over which that is averaged
FAINT, PLAIN = 10.0, 20.0  # step of colour, ΔE*ab, below which there is no edge, and above which there is one however wide it is
STEEP = 0.5  # share of the step across WIDE that is made across NARROW, from which it is an edge and no gradient
GUARD, END = 3.0, 6.0  # how far pixels at an edge, and those beside other labels, keep their label
REACH = 10.0  # how far a soft boundary may move
SLIM, STRIPE = 9.0, 300.0  # half the width below which an area has no core that would hold it, and the area, px², of one to be kept
SHORTEST = 24.0  # shortest soft boundary that is looked at
GRID = 2.0  # the grid on which boundaries move
BLUR, ROUNDS, STEEPER = 6.0, 50, 2.0  # half the side of the square by which a share is blurred, twice; how often; how it is steepened
WAVE = 70.0  # length of the waves that lose half of their height; shorter ones lose more
CRUMB = 60.0  # area, px², below which a piece that is left of an area joins what lies around it


def _step(lab: Float, one: Mask, other: Mask, radius: int) -> Float:
    """(H, W) difference of the mean colours, ΔE*ab, that two labels have within `radius` of a pixel."""
    means = []
    for mask in (one, other):
        weight = mask.astype(np.float32)
        means.append(box_mean(lab * weight[..., None], radius) / np.maximum(box_mean(weight, radius), 1e-6)[..., None])
    return np.asarray(np.linalg.norm(means[0] - means[1], axis=-1), np.float32)


def _boundary(one: Mask, other: Mask) -> Mask:
    """The pixels of two labels that touch the other one."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    wide = [cv2.dilate(mask.astype(np.uint8), cross) > 0 for mask in (one, other)]
    return (one & wide[1]) | (other & wide[0])


def _edges(lab: Float, one: Mask, other: Mask, boundary: Mask, unit: float) -> Mask:
    """The part of a boundary on which the picture has an edge: most of the step between both sides is made within a few pixels."""
    along = max(1, round(ALONG * unit))
    near, far = (
        box_mean(np.where(boundary, _step(lab, one, other, max(1, round(radius * unit))), 0).astype(np.float32), along)
        for radius in (NARROW, WIDE)
    )
    count = box_mean(boundary.astype(np.float32), along)
    return boundary & (near >= FAINT * count) & ((near >= STEEP * far) | (near >= PLAIN * count))


def _away(mask: Mask) -> Float:
    """(H, W) how far the nearest pixel of a mask is, pixels."""
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _moved(one: Mask, both: Mask, free: Mask, unit: float) -> Float:
    """(H, W) the share of the label `one` after its boundary has become smooth, at `free` pixels of `both` labels.

    The share is not cut but steepened, so that a boundary can move by less than a pixel.
    """
    radius = max(1, round(BLUR * unit))
    sigma = np.sqrt(((2 * radius + 1) ** 2 - 1) / 6)
    # A round moves a wave of wave number q by (sigma² q² / 2)² of its height, and the spring by its pull over the share's slope.
    spring = (sigma * 2 * np.pi / (WAVE * unit)) ** 4 / 4 * (2 - np.sqrt(0.5)) / (sigma * np.sqrt(2 * np.pi))
    part = window(free, 4 * radius + 1)
    weight, at = both[part].astype(np.float32), free[part]

    whole = box_mean(box_mean(weight, radius), radius) + np.float32(1e-6)

    def blurred(share: Float) -> Float:
        return np.asarray(box_mean(box_mean(share * weight, radius), radius) / whole, np.float32)

    share = one.astype(np.float32)
    moving, other = share[part], (both & ~one)[part]
    within = np.clip(_away(other) - _away(one[part]), -REACH * unit, REACH * unit)
    offset = ((spring * within - 0.5) * STEEPER + 0.5).astype(np.float32)
    for _ in range(ROUNDS):
        smooth = blurred(moving)
        np.copyto(moving, np.clip((2 * smooth - blurred(smooth)) * STEEPER + offset, 0, 1), where=at)
    return share


def _without_crumbs(labels: Labels, before: Labels, nothing: int, unit: float) -> Labels:
    """`labels` without the small pieces that areas have left where they differ from `before`: the nearest other pixel's label."""
    part = cc3d.connected_components(np.where(labels < nothing, labels + 1, 0).astype(np.uint8), connectivity=4, out_dtype=np.uint32)
    small = np.bincount(part.ravel()) < CRUMB * unit**2
    small &= np.bincount(part[widened(labels != before, 1)], minlength=len(small)) > 0
    small[0] = False
    if not small.any():
        return labels
    kept = ~small[part] & (labels < nothing)
    _, nearest = cv2.distanceTransformWithLabels((~kept).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(nearest.max()) + 1, np.uint8)
    table[nearest[kept]] = labels[kept]
    return np.where(small[part], table[nearest], labels).astype(np.uint8)


def _enlarged(share: Float, crop: Window, step: int, shape: tuple[int, ...]) -> Float:
    """The part `crop` of a picture of every `step`-th pixel, at full size, as far as a picture of `shape` goes."""
    rows, columns = (min(s.stop * step, n) - s.start * step for s, n in zip(crop, shape, strict=True))
    back = np.array([[1 / step, 0, 0], [0, 1 / step, 0]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(share, back, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _stripes(mask: Mask, unit: float) -> Mask:
    """The parts of an area that are too narrow to be smoothed, but too large to be left out."""
    narrow = mask & ~(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, ellipse(SLIM * unit)) > 0)
    return large_areas(narrow, STRIPE * unit**2, connectivity=8)


def _movable(labels: Labels, lab: Float, pair: tuple[int, int], unit: float) -> tuple[Window, Mask] | None:
    """Where the boundary of two labels may move: a window, and the pixels in it. None where they hardly meet in a gradient.

    A pixel may change that is nearer to a soft part of the boundary than to one on an edge or of a stripe, and away from
    what has neither label.
    """
    touching = _boundary(labels == pair[0], labels == pair[1])
    if touching.sum() < SHORTEST * unit:
        return None
    crop = window(touching, round((REACH + 2 * BLUR) * unit) + 1)
    one, other = labels[crop] == pair[0], labels[crop] == pair[1]
    stripes = widened(_stripes(one, unit) | _stripes(other, unit), 1)
    kept = touching[crop] & (stripes | _edges(lab[crop], one, other, touching[crop], unit))
    soft = touching[crop] & ~kept
    if soft.sum() < SHORTEST * unit:
        return None
    near = _away(soft) < np.minimum(REACH * unit, _away(kept) - GUARD * unit)
    return crop, near & (_away(~(one | other)) > END * unit)


def softened(labels: Labels, lab: Float, nothing: int, unit: float) -> Labels:
    """`labels` (H, W) with boundaries smoothed where the picture `lab` (H, W, 3) CIELAB has no edge.

    `nothing` is the label of what is not drawn; `unit` pixels at a side of 1024. A pixel changes only to the label that lies across a soft
    boundary within `REACH`, or, in a crumb that is left, to the nearest. Boundaries move on a grid of `GRID` pixels, so even a
    straight one may move by about a pixel.
    """
    step = max(1, round(GRID * unit))
    coarse, fine = np.s_[::step, ::step], unit
    unit /= step
    lab, out, rough = np.ascontiguousarray(lab[coarse]), labels.copy(), labels[coarse].copy()
    for a, b in combinations(np.unique(labels[labels < nothing]).tolist(), 2):
        if (movable := _movable(rough, lab, (a, b), unit)) is None:
            continue
        crop, free = movable
        here = rough[crop]
        one, both = here == a, (here == a) | (here == b)
        share = _moved(one, both, free, unit)
        here[both] = np.where(share[both] > 0.5, a, b)
        now, at = (_enlarged(picture, crop, step, labels.shape) for picture in (share, free.astype(np.float32)))
        part = out[tuple(slice(s.start * step, s.start * step + n) for s, n in zip(crop, now.shape, strict=True))]
        np.copyto(part, np.where(now > 0.5, a, b).astype(np.uint8), where=(at > 0.5) & ((part == a) | (part == b)))
    return _without_crumbs(out, labels, nothing, fine)

"""Painting over: a membrane stretched over each hole from its rim, with the grain of its surroundings.

The membrane is the solution of Laplace's equation with the rim's smoothed colours as boundary values (Pérez, Gangnet
and Blake, "Poisson image editing", 2003, with zero guidance), solved from coarse to fine. Where the letters
stand on one smooth area, the rest of the rim (a plate's frame, the edge of a window) does not bleed into the hole.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.values import Mask, Rgb

#: Width of the rim around a hole that gives colour and grain, pixels.
RIM = 5
#: Sweeps on each level of the solver.
SWEEPS = 40
#: Seed of the grain: the same hole in the same picture gets the same grain.
SEED = 3
#: The rim's main area: within this colour distance (sRGB, 0..255) of its plane, more where it is uneven itself; a pixel
#: between the letters counts as so many others; at least this share of the weights.
MAIN_DISTANCE = 28.0
BETWEEN_WEIGHT = 4
MAIN_SHARE = 0.3
#: Fewer pixels than these do not tell what grain is.
LEAST_SAMPLES = 40
#: Grain stronger than this (sRGB levels) is texture, not grain.
MOST_GRAIN = 2.5


def inpaint(rgb: Rgb, mask: Mask) -> Rgb:
    """`rgb` (S, S, 3) with the pixels of `mask` (S, S) painted over from around them; all others are untouched."""
    painted = rgb.copy()
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8))
    count, groups, boxes, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    random = np.random.default_rng(SEED)
    for number in range(1, count):
        x, y, width, height = (int(v) for v in boxes[number, :4])
        place = (slice(y, y + height), slice(x, x + width))
        group = groups[place] == number
        hole = mask[place] & group
        painted[place][hole] = _fill(rgb[place], hole, group & ~hole, random)[hole]
    return painted


def _fill(rgb: Rgb, hole: Mask, rim: Mask, random: np.random.Generator) -> NDArray[np.uint8]:
    """The patch, its hole filled from the pixels of `rim`."""
    if not rim.any():
        raise ValueError("nothing but masked pixels: there is no rim to paint from")
    picture = rgb.astype(np.float32)
    main = _main_area(picture, hole, rim)
    smooth = _smoothed(picture, main, 1.5)
    membrane = _membrane(smooth, main)
    grain = _grain(picture - _smoothed(picture, main, 0.8), main, random)
    return np.clip(np.round(membrane + grain), 0, 255).astype(np.uint8)


def _main_area(picture: NDArray[np.float32], hole: Mask, rim: Mask) -> Mask:
    """The pixels of the rim on the smooth area (a plane in position for each channel) that the letters stand on, or all of it.

    Tried are the areas of the rim's lighter half, of its darker half and of what lies between the letters, in the hole's
    convex hull; the one with most of the rim wins, where a pixel between the letters counts more than one outside.
    """
    between = rim & _hull(hole)
    weights = rim + (BETWEEN_WEIGHT - 1) * between
    light = picture.sum(2)
    middle = np.median(light[rim])
    starts = [rim & (light >= middle), rim & (light <= middle), between]
    areas = [_plane_area(picture, rim, start) for start in starts if start.any()]
    supports = [float(weights[area].sum()) for area in areas]
    best = int(np.argmax(supports))
    return areas[best] if supports[best] >= MAIN_SHARE * weights.sum() else rim


def _plane_area(picture: NDArray[np.float32], rim: Mask, start: Mask) -> Mask:
    """The pixels of the rim that lie close to a plane fitted to those that are like the median of `start`."""
    rows, columns = np.nonzero(rim)
    terms = np.stack([np.ones(len(rows)), columns / rim.shape[1] - 0.5, rows / rim.shape[0] - 0.5], axis=1)
    colors = picture[rim]
    plane = np.zeros((3, 3))
    plane[0] = np.median(picture[start], 0)
    limit = max(MAIN_DISTANCE, 1.5 * float(np.median(np.linalg.norm(picture[start] - plane[0], axis=1))))
    close = np.ones(len(rows), bool)
    for _ in range(6):
        close = np.linalg.norm(colors - terms @ plane, axis=1) <= limit
        if not close.any():
            break
        plane, *_ = np.linalg.lstsq(terms[close], colors[close], rcond=None)
    area = np.zeros_like(rim)
    area[rows[close], columns[close]] = True
    return area


def _hull(mask: Mask) -> Mask:
    points = cv2.findNonZero(mask.astype(np.uint8))
    canvas = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(canvas, cv2.convexHull(points), 1)
    return canvas.astype(bool)


def _smoothed(picture: NDArray[np.float32], known: Mask, sigma: float) -> NDArray[np.float32]:
    """The known pixels' Gaussian mean, from known pixels only; 0 elsewhere."""
    weight = known.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    mean = cv2.GaussianBlur(picture * weight[..., None], (0, 0), sigma) / np.maximum(total, 1e-6)[..., None]
    return np.where(known[..., None], mean, 0).astype(np.float32)


def _membrane(values: NDArray[np.float32], known: Mask) -> NDArray[np.float32]:
    """`values` (H, W, 3) where `known`, elsewhere the harmonic interpolation of them."""
    if known.all():
        return values
    start = np.broadcast_to(values[known].mean(0), values.shape) if min(known.shape) <= 4 else _from_coarser(values, known)
    field = np.where(known[..., None], values, start).astype(np.float32)
    for _ in range(SWEEPS):
        p = np.pad(field, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]) / 4
        field = np.where(known[..., None], values, mean)
    return field


def _from_coarser(values: NDArray[np.float32], known: Mask) -> NDArray[np.float32]:
    """The membrane of the picture at half its size, back at full size."""
    rows, columns = known.shape
    half = ((columns + 1) // 2, (rows + 1) // 2)
    weight = cv2.resize(known.astype(np.float32), half, interpolation=cv2.INTER_AREA)
    total = cv2.resize(values * known[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = (total / np.maximum(weight, 1e-6)[..., None]).astype(np.float32)
    return np.asarray(cv2.resize(_membrane(coarse, weight > 0), (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)


def _grain(residual: NDArray[np.float32], rim: Mask, random: np.random.Generator) -> NDArray[np.float32]:
    """Noise (H, W, 3) like the rim's: its own differences from its smoothed self, drawn anew, without those of edges."""
    samples = residual[cv2.erode(rim.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0]  # clear of the letters' haze
    if len(samples) < LEAST_SAMPLES:
        return np.zeros_like(residual)
    spread = np.minimum(1.4826 * np.median(np.abs(samples), axis=0), MOST_GRAIN)
    calm = samples[(np.abs(samples) <= 2.5 * spread + 0.25).all(1)]
    if len(calm) < LEAST_SAMPLES:
        return np.zeros_like(residual)
    return np.asarray((calm - calm.mean(0))[random.integers(0, len(calm), rim.shape)], np.float32)

"""Panel lines: gaps of doors and bonnet, and creases, as one-pixel-wide strokes where no area's boundary runs already.

A gap is darker than the surface on both of its sides, a crease parts two lightnesses. Both are measured on the lightness averaged
along twelve directions (in the spirit of coherent line drawing: Kang, Lee, Chui, 2007), thinned across the best direction, followed
with hysteresis, and kept where they are long and do not form a texture. What is kept is joined over small gaps and smoothed.
"""

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.color import lightness
from pipeline.phase2_illustrate.strokes import cut, drawn, joined, smoothed, thin, traced
from pipeline.raster import ellipse, window
from pipeline.values import Gray, Mask, Rgb

Float = NDArray[np.float32]

DIRECTIONS = 12
WEAK, SURE = 2.2, 5.5  # contrast in L* at which a line may go on, and at which it begins
CREASE, WIDE = 0.4, 0.85  # weight of a step, and of a wide gap, against a narrow gap of equal contrast
HALO = 0.5  # share of the strongest contrast close by, below which a line is that one's halo
REACH = 3.5  # from a line to the surfaces beside it
AROUND, USUAL, QUIET = 24.0, 2.4, 0.3  # where the contrast around a line is measured; a line in `USUAL` contrast counts as it is
DARK = 18.0  # L* of both sides below which there is nothing to see
SHORTEST = 24.0  # pixels at a side of 1024, as all lengths here
ENOUGH = 110.0  # least length times contrast of a line, where contrast counts up to `STRONG`: a faint line must be long
STRONG = 7.0
CLEARANCE = 3.5  # nearest that a line comes to an area's boundary
CROSSING = 16.0  # longest that a line stays near a boundary and still only crosses it
CROWDED = 0.085  # share of line pixels in a window from which lines are a texture


def _shifted(picture: Float, dx: float, dy: float) -> Float:
    """The picture's values at (x + dx, y + dy)."""
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(picture, matrix, picture.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _along(direction: float, length: float, width: float) -> Float:
    """A Gaussian, long in `direction` (radians) and narrow across it; sums to one."""
    reach = int(np.ceil(2 * length))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    u, v = x * np.cos(direction) + y * np.sin(direction), -x * np.sin(direction) + y * np.cos(direction)
    kernel = np.exp(-((u / length) ** 2) / 2 - ((v / width) ** 2) / 2)
    return np.asarray(kernel / kernel.sum(), np.float32)


def line_strength(light: Float, unit: float, darkest: float = DARK) -> tuple[Float, NDArray[np.int8]]:
    """Contrast of the best dark line through every pixel, in L*, and its direction's index (times π / DIRECTIONS); `light` (H, W) L*.

    Between two sides darker than `darkest` there is none.
    """
    best, which = np.full(light.shape, -1, np.float32), np.zeros(light.shape, np.int8)
    for k in range(DIRECTIONS):
        angle = np.pi * k / DIRECTIONS
        along = np.asarray(cv2.filter2D(light, -1, _along(angle, 4 * unit, 0.8 * unit), borderType=cv2.BORDER_REPLICATE), np.float32)
        dx, dy = -np.sin(angle) * REACH * unit, np.cos(angle) * REACH * unit
        one, other = _shifted(along, dx, dy), _shifted(along, -dx, -dy)
        one_far, other_far = _shifted(along, 2 * dx, 2 * dy), _shifted(along, -2 * dx, -2 * dy)
        gap = np.maximum(np.minimum(one, other) - along, WIDE * (np.minimum(one_far, other_far) - along))
        # A step holds farther out too; beside a gap it does not, so a gap answers once and not three times.
        step = np.minimum(np.abs(one - other), np.abs(one_far - other_far))
        strength = np.maximum(gap, CREASE * step)
        strength[np.maximum(one, other) < darkest] = 0
        better = strength > best
        best[better], which[better] = strength[better], k
    return best, which


def thinned(strength: Float, direction: NDArray[np.int8]) -> Mask:
    """Pixels that are the strongest across their line's direction (non-maximum suppression)."""
    keep = np.zeros(strength.shape, bool)
    for k in range(DIRECTIONS):
        angle = np.pi * k / DIRECTIONS
        dx, dy = -np.sin(angle), np.cos(angle)
        keep |= (direction == k) & (strength >= _shifted(strength, dx, dy)) & (strength > _shifted(strength, -dx, -dy))
    return keep


def hysteresis(strength: Float, weak: float, sure: float) -> Mask:
    """Pixels above `weak` that hang together with one above `sure` (Canny, 1986)."""
    component = cc3d.connected_components(strength > weak, connectivity=8, out_dtype=np.uint32)
    begun = np.bincount(component.ravel(), weights=(strength > sure).ravel()) > 0
    begun[0] = False
    return np.asarray(begun[component])


def followed(strength: Float, crest: Mask, weak: float, sure: float) -> Mask:
    """The lines along the crests, one pixel wide, from `sure` strength on as far as it stays above `weak`."""
    ridge = cv2.dilate(crest.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return thin(hysteresis(np.where(ridge, strength, np.float32(0)), weak, sure))


def boundary_of(labels: NDArray[np.uint8]) -> Mask:
    """Pixels whose left or upper neighbour has another label."""
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    return edge


def _matters(path: NDArray[np.float64], strength: Float, unit: float) -> bool:
    """Whether a stroke is long enough for its contrast."""
    x, y = np.round(path).astype(np.intp).T
    contrast = strength[np.clip(y, 0, strength.shape[0] - 1), np.clip(x, 0, strength.shape[1] - 1)].mean()
    return len(path) >= SHORTEST * unit and len(path) * min(float(contrast), STRONG) >= ENOUGH * unit


def panel_lines(rgb: Rgb, inside: Mask, labels: NDArray[np.uint8], spared: Mask | None = None) -> tuple[Mask, Gray]:
    """The vehicle's panel lines as a mask of one-pixel-wide strokes, and the strength of lines everywhere inside (8 per L*).

    `rgb` (S, S, 3) uint8 sRGB photograph or drawing; `inside` (S, S) the vehicle; `labels` (S, S) its graded areas, whose boundaries
    are lines already; `spared` (S, S) gets none.
    """
    unit = len(rgb) / 1024
    if not inside.any():
        return np.zeros(inside.shape, bool), np.zeros(inside.shape, np.uint8)
    part = window(inside)
    light = lightness(rgb[part])
    strength, direction = line_strength(light, unit)
    rim = cv2.copyMakeBorder(inside[part].astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    within = cv2.distanceTransform(rim, cv2.DIST_L2, 5)[1:-1, 1:-1] > 5 * unit
    if spared is not None:
        within &= ~spared[part]
    strength = np.where(within, np.maximum(strength, 0), 0).astype(np.float32)
    around = cv2.GaussianBlur(strength, (0, 0), AROUND * unit)
    strength *= np.sqrt(USUAL / (around + QUIET))
    crest = thinned(np.asarray(cv2.GaussianBlur(strength, (0, 0), 0.8 * unit), np.float32), direction)
    crest &= strength > HALO * cv2.dilate(strength, ellipse(6 * unit))
    found = followed(strength, crest, WEAK, SURE)
    clear = cv2.distanceTransform((~boundary_of(labels[part])).astype(np.uint8), cv2.DIST_L2, 5) > CLEARANCE * unit
    side = 2 * round(15 * unit) + 1
    crowded = cv2.blur((found & clear).astype(np.float32), (side, side)) > CROWDED / unit
    paths = joined(traced(found & ~crowded), gap=12 * unit, turn=35)
    # A line may cross a boundary, but does not run along one.
    free = [part for path in paths for part in cut(smoothed(path, 4 * unit), clear, CROSSING * unit)]
    ink = np.zeros(inside.shape, bool)
    ink[part] = drawn([p for p in free if _matters(p, strength, unit)], strength.shape)
    edges = np.zeros(inside.shape, np.uint8)
    edges[part] = np.clip(strength * 8, 0, 255).astype(np.uint8)
    return ink, edges

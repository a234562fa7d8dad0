"""Badges: small, busy, solid shapes that stand alone on calm paint."""

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.color import srgb_to_lab
from pipeline.phase1_sanitize import quads
from pipeline.raster import ellipse
from pipeline.values import Box, Found, Mask, Rgb

Float = NDArray[np.float32]

#: What a badge is called among the things to remove; in a picture the two cannot be told apart.
BADGES = ("brand badge", "car logo")
SIDE = 1024  # pixels along the longer side of the part that is looked at
REACH = 0.09  # side of the window whose median is the surface's own colour, share of the part's shorter side
STANDS_OUT = 14.0  # ΔE*ab from the surface's colour
SIZE = (0.024, 0.085)  # of the longer side of a badge, share of the part's shorter side: a lamp is larger, a lock or a sensor smaller
WIDE, TALL = 1.5, 2.2  # most of its width over its height, and the reverse, on a wing seen from the front: handles are wider
SOLID = 0.88  # least share of its convex hull that it fills: a handle with its shadow is a sickle
CALM, CALM_STEP = 0.93, 10.0  # share of the surface around it that is within so much ΔE*ab of its median
PAINT = 24.0  # least L* of that surface: a grille is darker
PATCH, BUSY = 20, 12.0  # pixels to which it is brought, and the mean curvature of L* (Laplacian) there: a lock or a lens is plain
CONTRAST, CLEAR = 22.0, 40.0  # ΔE*ab between the paint and the upper sixth of its pixels: the least, and from where the score is 1
#: Share of a lamp's pixels that are red or amber: their least chroma, and their hues in degrees.
LAMP, GLOW, HUES = 0.5, 30.0, (15.0, 85.0)


def badges(rgb: Rgb, region: Box, label: str) -> list[Found]:
    """The badges in a part of the picture, under the name `label`. `rgb` (S, S, 3) uint8 sRGB.

    Emblems in a grille, and those as large as a lamp, are not found: nothing tells them from what surrounds them.
    """
    rows, columns = quads.window(region)
    content = rgb[rows, columns]
    if min(content.shape[:2]) < 16:
        return []
    scale = min(1.0, SIDE / max(content.shape[:2]))
    small = np.asarray(cv2.resize(content, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    found = []
    for x0, y0, x1, y1, contrast in _alone_on_paint(small):
        box = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32) / scale + np.array([columns.start, rows.start])
        found.append(Found(label, min(1.0, contrast / CLEAR), box.astype(np.float32)))
    return found


def _alone_on_paint(rgb: Rgb) -> list[tuple[int, int, int, int, float]]:
    """(x0, y0, x1, y1, ΔE*ab from their surroundings) of what looks like a badge in a picture (H, W, 3)."""
    lab, least = srgb_to_lab(rgb).astype(np.float32), min(rgb.shape[:2])
    shape = cc3d.connected_components(_standing_out(rgb, least), connectivity=8, out_dtype=np.uint32)
    place = cc3d.statistics(shape)["bounding_boxes"]
    answer = []
    for k in range(1, len(place)):
        rows, columns = place[k][:2]
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not SIZE[0] * least <= max(height, width) <= SIZE[1] * least or width > WIDE * height or height > TALL * width:
            continue
        contrast = _badge(lab, shape[rows, columns] == k, rows, columns)
        if contrast is not None:
            answer.append((columns.start, rows.start, columns.stop, rows.stop, contrast))
    return answer


def _standing_out(rgb: Rgb, least: int) -> NDArray[np.uint8]:
    """Where the picture (H, W, 3) differs from the median around, in 8-bit CIELAB, small gaps closed."""
    own = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    surface = cv2.medianBlur(own, min(255, 2 * int(REACH * least / 2) + 1))
    apart = (own.astype(np.float32) - surface) * np.array([100 / 255, 1, 1], np.float32)
    odd = (np.linalg.norm(apart, axis=-1) > STANDS_OUT).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(odd, cv2.MORPH_CLOSE, ellipse(4 * max(rgb.shape[:2]) / SIDE)), np.uint8)


def _badge(lab: Float, part: Mask, rows: slice, columns: slice) -> float | None:
    """How far a shape differs from the paint around it, ΔE*ab; None where it is no badge."""
    margin = max(4, max(part.shape) // 2)
    y0, x0 = rows.start - margin, columns.start - margin
    y1, x1 = rows.stop + margin, columns.stop + margin
    if y0 < 0 or x0 < 0 or y1 > lab.shape[0] or x1 > lab.shape[1]:
        return None
    ring = np.ones((y1 - y0, x1 - x0), bool)
    ring[margin - 2 : -margin + 2, margin - 2 : -margin + 2] = False
    around = lab[y0:y1, x0:x1][ring]
    paint = np.median(around, axis=0)
    if paint[0] < PAINT or (np.linalg.norm(around - paint, axis=-1) < CALM_STEP).mean() < CALM:
        return None
    hull = cv2.contourArea(cv2.convexHull(cv2.findNonZero(part.astype(np.uint8))))
    own = lab[rows, columns]
    even = PATCH / max(part.shape)  # so that the picture's size does not count
    light = cv2.resize(np.ascontiguousarray(own[..., 0]), None, fx=even, fy=even, interpolation=cv2.INTER_AREA)
    busy = float(np.abs(cv2.Laplacian(light, cv2.CV_32F)).mean())
    contrast = float(np.percentile(np.linalg.norm(own - paint, axis=-1), 85))
    if part.sum() < SOLID * hull or busy < BUSY or contrast < CONTRAST:
        return None
    a, b = own[part][:, 1], own[part][:, 2]
    hue = np.degrees(np.arctan2(b, a))
    glowing = (np.hypot(a, b) > GLOW) & (hue > HUES[0]) & (hue < HUES[1])
    return None if glowing.mean() > LAMP else contrast

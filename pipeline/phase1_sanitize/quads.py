"""Quadrilaterals in the picture: outline, area, overlap, and the upright patch that lies in one."""

from math import ceil, floor
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.raster import bounds
from pipeline.values import Box, Frame, Mask, Rgb

#: What a number plate is called among the things to remove.
PLATE = "license plate"
#: (4, 2) float32 corners in pixels: top left, top right, bottom right, bottom left as the text reads.
Quad: TypeAlias = NDArray[np.float32]
#: (3, 3) float64 map from the picture's pixels to a patch's pixels.
Homography: TypeAlias = NDArray[np.float64]


def area(quad: Quad) -> float:
    """Area of a polygon in square pixels."""
    return abs(float(cv2.contourArea(quad.astype(np.float32))))


def overlap(a: Quad, b: Quad) -> float:
    """Common area of the convex hulls of two polygons, square pixels."""
    common, _ = cv2.intersectConvexConvex(cv2.convexHull(a.astype(np.float32)), cv2.convexHull(b.astype(np.float32)))
    return float(common)


def filled(quad: Quad, shape: tuple[int, int]) -> Mask:
    """The polygon's pixels as a mask of `shape` (H, W)."""
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [np.round(quad).astype(np.int32)], 1)
    return canvas.astype(bool)


def window(box: Box) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a box covers fully; none of those before the picture's own first."""
    x0, y0, x1, y1 = box
    rows, columns = slice(max(0, ceil(y0 - 1e-6)), max(0, floor(y1 + 1e-6))), slice(max(0, ceil(x0 - 1e-6)), max(0, floor(x1 + 1e-6)))
    return rows, columns


def photo_part(frame: Frame) -> tuple[slice, slice]:
    """Rows and columns of the pixels of a square that the photo covers fully."""
    return window(frame.content)


def around(inside: Mask, frame: Frame, margin: float) -> Box:
    """The bounds of a mask (S, S) in pixels, widened by `margin` (share of their longer side), within the photo's part."""
    x0, y0, x1, y1 = bounds(inside) or frame.content
    more, photo = margin * max(x1 - x0, y1 - y0), frame.content
    return (max(photo[0], x0 - more), max(photo[1], y0 - more), min(photo[2], x1 + more), min(photo[3], y1 + more))


def size(quad: Quad) -> tuple[float, float]:
    """Width and height in pixels: the means of the opposite sides."""
    a, b, c, d = quad.astype(np.float64)
    return (float(np.linalg.norm(b - a) + np.linalg.norm(c - d)) / 2, float(np.linalg.norm(d - a) + np.linalg.norm(c - b)) / 2)


def padded(quad: Quad, along: float, across: float) -> Quad:
    """The quad grown by `along` pixels at its left and right and by `across` at its top and bottom (negative shrinks)."""
    a, b, c, d = quad.astype(np.float64)
    u, v = (b + c - a - d) / 2, (c + d - a - b) / 2
    u, v = u / max(1e-6, float(np.linalg.norm(u))), v / max(1e-6, float(np.linalg.norm(v)))
    moves = [-u * along - v * across, u * along - v * across, u * along + v * across, -u * along + v * across]
    return np.asarray(np.stack([a, b, c, d]) + np.stack(moves), np.float32)


def rectify(rgb: Rgb, quad: Quad, width: int, height: int) -> tuple[Rgb, Homography]:
    """What lies in the quad as an upright (height, width, 3) patch, and the map from the picture to it."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    homography = np.asarray(cv2.getPerspectiveTransform(quad.astype(np.float32), corners), np.float64)
    patch = cv2.warpPerspective(rgb, homography, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch, np.uint8), homography


def back(points: NDArray[np.float32], homography: Homography) -> NDArray[np.float32]:
    """Points (K, 2) of a patch in the picture's pixels."""
    return (
        cv2.perspectiveTransform(points.reshape(-1, 1, 2).astype(np.float32), np.linalg.inv(homography)).reshape(-1, 2).astype(np.float32)
    )


def ordered(quad: NDArray[np.float32]) -> Quad:
    """Four corners in reading order of an upright patch: top left, top right, bottom right, bottom left."""
    middle = quad.mean(0)
    turn = np.argsort(np.arctan2(quad[:, 1] - middle[1], quad[:, 0] - middle[0]), kind="stable")
    ring = quad[turn]
    return np.roll(ring, -int(np.argmin(ring.sum(1))), axis=0).astype(np.float32)

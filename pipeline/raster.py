"""Small things about pictures, masks and boxes that several phases need."""

from typing import Literal, TypeVar

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.values import Box, Gray, Mask, Plane, Rgb

Picture = TypeVar("Picture", Rgb, Gray)


def resized(picture: Picture, side: int) -> Picture:
    """A square picture, uint8 (S, S) or (S, S, 3), at another side: averaged when shrinking, bicubic when growing."""
    if picture.shape[0] == side:
        return picture
    way = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_CUBIC
    out: Picture = np.asarray(cv2.resize(picture, (side, side), interpolation=way), np.uint8)
    return out


def bounds(mask: Mask) -> Box | None:
    """The upright bounds x0, y0, x1, y1 of a mask's pixels; None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)) if len(rows) else None


def window(mask: Mask, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns that hold a mask's pixels, with so many pixels around them as the picture has; the first pixel of an empty one."""
    place = bounds(mask)
    if place is None:
        return np.s_[0:1], np.s_[0:1]
    x0, y0, x1, y1 = map(int, place)
    rows, columns = mask.shape
    return slice(max(0, y0 - margin), min(rows, y1 + margin)), slice(max(0, x0 - margin), min(columns, x1 + margin))


def carried_outwards(rgb: Rgb, inside: Mask) -> tuple[Rgb, Plane]:
    """The colours inside carried outwards: each outer pixel of (H, W, 3) takes the nearest inner one's; and how far that is, pixels.

    `inside` (H, W) has at least one pixel.
    """
    distance, nearest = cv2.distanceTransformWithLabels((~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    table[nearest[inside]] = rgb[inside]
    return np.ascontiguousarray(table[nearest]), np.asarray(distance, np.float32)


def ellipse(radius: float) -> NDArray[np.uint8]:
    """A disc for morphology, at least 3 × 3 pixels."""
    side = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def widened(mask: Mask, radius: float) -> Mask:
    """A mask (H, W) with all pixels within `radius`, at least one, of its own."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), ellipse(radius)), bool)


def large_areas(mask: Mask, least: float, connectivity: Literal[4, 8] = 4) -> Mask:
    """The connected areas of a mask (H, W) that have at least so many pixels."""
    area = cc3d.connected_components(mask.astype(np.uint8), connectivity=connectivity, out_dtype=np.uint32)
    large = np.bincount(area.ravel()) >= least
    large[0] = False
    return np.asarray(large[area])


def mask_iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks of one shape, 0..1; 0 when both are empty, for nothing agrees with nothing drawn.

    Raises ValueError when the shapes differ or a mask is not boolean: an 8-bit picture's bits would be counted as pixels.
    """
    if first.shape != second.shape or first.dtype != np.bool_ or second.dtype != np.bool_:
        raise ValueError(f"masks of one shape are wanted, got {first.shape} {first.dtype} and {second.shape} {second.dtype}")
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else 0.0


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0..1; 0 where both are empty."""
    common = box_area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = box_area(a) + box_area(b) - common
    return common / union if union > 0 else 0.0


def box_area(box: Box) -> float:
    """Area of a box, 0 where it is turned inside out."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])

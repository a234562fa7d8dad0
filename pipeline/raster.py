"""Small things about pictures, masks and boxes that several phases need."""

from typing import TypeVar

import cv2
import numpy as np

from pipeline.values import Box, Gray, Mask, Rgb

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


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0..1; 0 where both are empty."""
    common = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = area(a) + area(b) - common
    return common / union if union > 0 else 0.0


def area(box: Box) -> float:
    """Area of a box, 0 where it is turned inside out."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])

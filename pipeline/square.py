"""Squares at other sides."""

from typing import TypeVar

import cv2
import numpy as np

from pipeline.values import Gray, Rgb

Picture = TypeVar("Picture", Rgb, Gray)


def resized(picture: Picture, side: int) -> Picture:
    """A square picture, uint8 (S, S) or (S, S, 3), at another side: averaged when shrinking, bicubic when growing."""
    if picture.shape[0] == side:
        return picture
    way = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_CUBIC
    out: Picture = np.asarray(cv2.resize(picture, (side, side), interpolation=way), np.uint8)
    return out

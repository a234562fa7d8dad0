"""The vehicle's square: which part of the photo is worked in, and the photo and the outline laid into it."""

from math import ceil

import cv2
import numpy as np

from pipeline.intake.photo import letterbox, placed
from pipeline.phase0_vehicle.outline import Outline
from pipeline.raster import carried_outwards, ellipse
from pipeline.values import Box, Frame, Gray, Mask, Rgb

#: Margin round the vehicle's bounds on each side, share of their longer side.
SQUARE_MARGIN = 0.06
#: The smallest square that is worked in, pixels: the drawing's own.
LEAST = 1024
#: How deep a pale fringe of a cut-out reaches, share of the square's side, and by how much (L*, 0..100) it is paler than what lies inside.
FRINGE, PALER = 0.0025, 12.0


def square_of(box: Box, width: int, height: int, most: int) -> Frame:
    """The square round a box (pixels of the photo of `width` × `height`), at the photo's own resolution but `LEAST` to `most` pixels."""
    longer = max(box[2] - box[0], box[3] - box[1])
    return Frame.around(box, width, height, min(most, max(LEAST, ceil((1 + 2 * SQUARE_MARGIN) * longer))), SQUARE_MARGIN)


def laid(rgb: Rgb, outline: Outline, frame: Frame) -> tuple[Rgb, Gray]:
    """The photo (H, W, 3) and the outline in the square: (S, S, 3) and (S, S), black and 0 beyond the photo."""
    x0, y0, x1, y1 = outline.grid.window
    k = frame.scale
    window = (frame.x0 + k * x0, frame.y0 + k * y0, frame.x0 + k * x1, frame.y0 + k * y1)
    return letterbox(rgb, frame, frame.size), placed(outline.alpha, window, frame.size)


def without_fringe(rgb: Rgb, inside: Mask) -> Rgb:
    """A cut-out (S, S, 3) whose pale rim, left of a white background, takes the colour of what lies inside it."""
    depth = max(1, round(FRINGE * len(rgb)))
    core = cv2.erode(inside.astype(np.uint8), ellipse(depth)) > 0
    rim = inside & ~core
    if not core.any() or not rim.any():
        return rgb
    inner, distance = carried_outwards(rgb, core)
    light, within = (cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[..., 0].astype(np.float32) / 2.55 for picture in (rgb, inner))
    pale = rim & (light > within + PALER) & (distance <= 3 * depth)
    return np.where(pale[..., None], inner, rgb).astype(np.uint8)

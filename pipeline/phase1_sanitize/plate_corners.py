"""From a line of characters to the plate that carries it: the light rectangle around dark characters."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase1_sanitize import quads
from pipeline.phase1_sanitize.quads import Quad
from pipeline.values import Mask, Rgb

#: Height of the characters' box in the upright patch that is searched, pixels.
TEXT_HEIGHT = 40
#: How far around the characters' box the plate may reach: its left and right, its top and bottom, in box heights.
REACH_ACROSS = 2.2
#: Least difference of lightness (CIELAB L*, 0..100) between the plate and its characters.
LEAST_CONTRAST = 18.0
#: Colour distances (CIE76) up to which a pixel counts as plate. Plates are lit unevenly, but may be as silver as the
#: bumper behind a thin dark rim: all are tried, the one that gives the best rectangle wins.
SAME_COLOR = (8.0, 11.0, 14.0, 17.0, 20.0, 24.0, 28.0, 32.0)
#: A plate's width by its height, from a motorcycle's two lines to a long European one seen from the front.
ASPECTS = (1.2, 7.0)
#: A plate's height and width by those of the box of its characters, which is drawn with some room around them.
HEIGHTS = (0.8, 3.4)
WIDTHS = (0.85, 2.3)
#: Two lines in one box: it is less than so many heights wide, and above and below has this share of its height as room, by which it
#: may reach beyond the plate.
TWO_LINES, ROOM = 1.6, 0.18
#: Share of its four-sided outline that a plate fills.
LEAST_FILL = 0.86


def grow_plate(rgb: Rgb, text: Quad) -> tuple[Quad, float] | None:
    """The corners of the plate around a line of characters and the share of them that it fills, or None.

    `rgb` (H, W, 3) sRGB, `text` the characters' box in pixels. A plate is a four-sided area of one light
    colour, darker outside, of which the characters take the better part.
    """
    width, height = quads.size(text)
    if width < TWO_LINES * height:
        text, height = quads.padded(text, 0, -ROOM * height), (1 - 2 * ROOM) * height
    if width < 1.2 * height or height < 4:
        return None
    along, across = 0.65 * width + height, REACH_ACROSS * height
    scale = TEXT_HEIGHT / height
    patch, homography = quads.rectify(
        rgb, quads.padded(text, along, across), round((width + 2 * along) * scale), round((height + 2 * across) * scale)
    )
    core, middle = np.zeros((2, *patch.shape[:2]), bool)
    x, y = round(along * scale), round(across * scale)
    core[y + 2 : -y - 2, x + 2 : -x - 2] = True
    # A box of characters that fill their plate reaches over its ends: what is light there is not the plate.
    middle[y + TEXT_HEIGHT // 8 : -y - TEXT_HEIGHT // 8, x + TEXT_HEIGHT // 4 : -x - TEXT_HEIGHT // 4] = True
    outlines = [outline for region in _light_regions(patch, middle) if (outline := _four_sided(region, core)) is not None]
    if not outlines:
        return None
    corners, fill = max(outlines, key=lambda outline: (round(20 * outline[1]), quads.area(outline[0])))
    return quads.back(corners, homography), fill


def _light_regions(patch: Rgb, core: Mask) -> Iterator[Mask]:
    """The connected areas that have the colour of the lighter pixels in `core`, characters included; none if they do not differ."""
    lab = cv2.cvtColor(cv2.GaussianBlur(patch, (0, 0), 1.0).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    inside = lab[core]
    cut, _ = cv2.threshold((inside[:, :1] * 2.55).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    light = inside[:, 0] * 2.55 > cut
    if light.sum() < 20 or (~light).sum() < 20:
        return
    color = np.median(inside[light], 0)
    if color[0] - np.median(inside[~light, 0]) < LEAST_CONTRAST:
        return
    distance = np.linalg.norm(lab - color, axis=2)
    for limit in SAME_COLOR:
        yield _connected(distance < limit, core)


def _connected(same: Mask, core: Mask) -> Mask:
    """The parts of `same` that reach into `core`, joined across the characters."""
    opened = cv2.morphologyEx(same.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, parts = cv2.connectedComponents(opened, connectivity=4)
    touched, counts = np.unique(parts[core & (parts > 0)], return_counts=True)
    region = np.isin(parts, touched[counts >= 0.003 * core.sum()])
    closing = cv2.getStructuringElement(cv2.MORPH_RECT, (TEXT_HEIGHT // 2 * 2 + 1, TEXT_HEIGHT // 2 + 1))
    bordered = np.pad(region.astype(np.uint8), TEXT_HEIGHT)
    closed = cv2.morphologyEx(bordered, cv2.MORPH_CLOSE, closing)[TEXT_HEIGHT:-TEXT_HEIGHT, TEXT_HEIGHT:-TEXT_HEIGHT]
    return closed.astype(bool)


def _four_sided(region: Mask, core: Mask) -> tuple[NDArray[np.float32], float] | None:
    """The region's four corners and how much of them it fills, if it has a plate's shape around `core`."""
    contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    x, y, w, h = cv2.boundingRect(largest)
    rows, columns = region.shape
    if x <= 1 or y <= 1 or x + w >= columns - 1 or y + h >= rows - 1 or min(w, h) < 8:
        return None
    corners = quads.ordered(cv2.approxPolyN(largest, 4, ensure_convex=True).reshape(-1, 2).astype(np.float32))
    if len(corners) != 4:
        return None
    width, height = quads.size(corners)
    core_width, core_height = int(core.any(0).sum()), int(core.any(1).sum())
    fits = (
        ASPECTS[0] <= width / height <= ASPECTS[1]
        and HEIGHTS[0] <= height / core_height <= HEIGHTS[1]
        and WIDTHS[0] <= width / core_width <= WIDTHS[1]
    )
    fill = float(cv2.contourArea(largest)) / max(1.0, quads.area(corners))
    covered = (quads.filled(corners, region.shape) & core).sum() / core.sum()
    return (corners, min(1.0, fill)) if fits and fill >= LEAST_FILL and covered >= 0.8 else None

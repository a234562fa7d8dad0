"""From a piece of lettering to its whole line: the letters that go on beside what was read, in its height, colour and line."""

from collections.abc import Iterator
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase1_sanitize import quads
from pipeline.phase1_sanitize.quads import Quad
from pipeline.values import Mask, Rgb

#: Height of the piece in the upright patch that is searched, pixels, and how far beyond its ends the patch reaches, in heights.
HEIGHT, REACH = 40, 8
#: Windows in which a stroke stands out, in heights; least lightness (L*, 0..100) by which it does; shares of the piece's own contrast that
#: its line goes on with: a low one leaves thin letters whole, a high one parts what shines between them.
WINDOWS, LEAST, SHARES = (0.5, 0.2), 4.0, (0.4, 0.75)
#: The height of a letter by that of the piece, how far it may leave the piece's band, in heights, and the most of its box that it fills.
HEIGHTS, OFF_BAND, FULLEST = (0.4, 1.1), 0.15, 0.8
#: A letter's height by the usual one of the piece's letters.
ALIKE = (0.65, 1.3)
#: Letters that touch are wider than so many heights; their strokes are at least so many diagonals of their box long.
WIDE, WINDING = 2.0, 1.3
#: The gap before a letter, in heights of letters, or by the widest gap in the piece.
GAP, OWN_GAP = 0.8, 1.2
#: Most that the colour of a letter differs from that of the piece's letters (CIE76).
SAME_COLOUR = 20.0

Boxes = NDArray[np.int32]


def whole_line(rgb: Rgb, piece: Quad) -> Quad:
    """The quad `piece` of letters in a picture (H, W, 3), grown at its ends as far as letters like its own go on; pixels."""
    width, height = quads.size(piece)
    if width < height or height < 4:
        return piece
    scale = HEIGHT / height
    along, across = REACH * height, 0.75 * height
    size = (round((width + 2 * along) * scale), round((height + 2 * across) * scale))
    patch, homography = quads.rectify(rgb, quads.padded(piece, along, across), *size)
    lab = np.asarray(cv2.cvtColor(patch.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    ends = (round(along * scale), size[0] - round(along * scale))
    grown = [_ends(*letters, ends) for letters in _letters(lab, ends)]
    start, end = min([ends[0], *(one[0] for one in grown)]), max([ends[1], *(one[1] for one in grown)])
    if (start, end) == ends:
        return piece
    top, bottom = round(0.75 * HEIGHT), size[1] - round(0.75 * HEIGHT)
    return quads.back(np.array([[start, top], [end, top], [end, bottom], [start, bottom]], np.float32), homography)


def _letters(lab: NDArray[np.float32], ends: tuple[int, int]) -> Iterator[tuple[Boxes, Boxes]]:
    """The boxes (K, 4) x, y, w, h of the piece's letters, which reach between its `ends`, and of those like them beside it.

    Letters that touch are one. The piece is tried in each way in which its strokes may stand out, lighter or darker than their ground.
    """
    low = round(0.75 * HEIGHT)
    high = lab.shape[0] - low
    core = (slice(low, high), slice(*ends))
    for window, way in product(WINDOWS, (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)):
        side = 2 * round(window * HEIGHT / 2) + 1
        hat = np.asarray(cv2.morphologyEx(lab[..., 0], way, np.ones((side, side), np.uint8)), np.float32)
        strong = float(np.percentile(hat[core], 90))
        for share in SHARES if strong >= LEAST else ():
            strokes = (hat > max(LEAST, share * strong)).astype(np.uint8)
            _, ids, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
            x, y, w, h, area = stats.T
            slack = OFF_BAND * HEIGHT
            fits = (y >= low - slack) & (y + h <= high + slack) & (h >= HEIGHTS[0] * HEIGHT) & (h <= HEIGHTS[1] * HEIGHT)
            fits &= (area <= FULLEST * w * h) & (w >= 0.1 * h) & (area >= 0.1 * w * h)
            fits[0] = False
            for k in np.flatnonzero(fits & (w > WIDE * h)).tolist():
                fits[k] = _winds(ids[y[k] : y[k] + h[k], x[k] : x[k] + w[k]] == k)
            own = fits & (x + w > ends[0]) & (x < ends[1])
            if not own.any():
                continue
            usual = float(np.median(h[own]))
            others = fits & ~own & (h >= ALIKE[0] * usual) & (h <= ALIKE[1] * usual)
            ink = np.median(lab[np.isin(ids, np.flatnonzero(own))], 0)
            for k in np.flatnonzero(others).tolist():
                part = (slice(y[k], y[k] + h[k]), slice(x[k], x[k] + w[k]))
                others[k] = np.linalg.norm(np.median(lab[part][ids[part] == k], 0) - ink) <= SAME_COLOUR
            yield np.asarray(stats[own, :4], np.int32), np.asarray(stats[others, :4], np.int32)


def _winds(strokes: Mask) -> bool:
    """Whether strokes are longer than their box's diagonal, as those of letters that touch are, and an edge is not."""
    area = np.pad(strokes, 1).astype(np.uint8)
    width = 2 * float(np.percentile(cv2.distanceTransform(area, cv2.DIST_L2, 3)[area > 0], 85))
    return bool(strokes.sum() >= WINDING * width * np.hypot(*strokes.shape))


def _ends(own: Boxes, others: Boxes, ends: tuple[int, int]) -> tuple[int, int]:
    """From where to where the line goes: the others are taken one after the other while the gap before the next is one of letters."""
    height = float(np.median(own[:, 3]))
    order = own[np.argsort(own[:, 0])]
    gaps = order[1:, 0] - np.maximum.accumulate(order[:-1, 0] + order[:-1, 2])
    most = max(GAP * height, OWN_GAP * min(float(gaps.max(initial=0)), 2 * height))
    first, last = float(order[0, 0]), float((own[:, 0] + own[:, 2]).max())
    for x, _, w, _ in sorted(others.tolist(), key=lambda box: -box[0]):
        if x < first and first - (x + w) <= most:
            first = x
    for x, _, w, _ in sorted(others.tolist(), key=lambda box: box[0]):
        if x + w > last and x - last <= most:
            last = x + w
    room = round(0.1 * height)
    start, end = ends
    return (round(first - room) if first < start else start), (round(last + room) if last > end else end)

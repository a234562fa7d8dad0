"""Lettering that no reader reads: at least four compact shapes of one colour and one height along a line.

What else stands in rows on a vehicle (the slats and the mesh of a grille, wheel nuts, rivets, vents, the chambers of a lamp) differs:
its shapes are bars or discs, all alike, faint against their ground, or of several colours.
"""

from dataclasses import dataclass
from itertools import pairwise, product

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phase1_sanitize.quads import Quad
from pipeline.values import Mask, Rgb

#: Half widths of the windows in which a stroke stands out, pixels of the searched picture; letters are at most `TALLEST` of them high.
REACHES, TALLEST = (5, 14), 6
#: Least lightness (0..255) of a stroke against its ground, and share of the strongest contrast nearby: a low one leaves thin letters whole,
#: a high one parts bold ones that touch.
STANDS_OUT, OF_PEAK = 10, (0.45, 0.8)
#: A letter's least height (pixels), its width by its height, and the share of its box that it fills.
SMALLEST, WIDTHS, FILLED = 8, (0.12, 2.2), 0.15
#: Neighbours: heights at most so far apart, so many heights from edge to edge, so far off the line, and the line's steepest slope.
ONE_HEIGHT, GAP, OFF_LINE, STEEPEST = 1.3, 1.0, 0.22, 0.7
#: Fewest letters of a row.
FEWEST = 4
#: Most pictures of shapes in one search: more are a texture, and its rows are chance.
MOST = 4000
#: Colour differences (CIE76): least of a row from its ground, most of its shapes from each other, most of their grounds from each other.
CONTRAST, ONE_COLOUR, ONE_GROUND = 20.0, 7.0, 7.5
#: Most relative spread of heights and of stroke widths, most spread of width by height, broadest stroke by height.
EVEN_HEIGHT, EVEN_STROKE, EVEN_WIDTH, BROADEST = 0.13, 0.26, 0.4, 0.45
#: Most that two shapes of a row have in common (intersection over union, each stretched to one box).
ALIKE = 0.72
#: Least length of a letter's strokes by the diagonal of its box. A bar's is 1, a disc's less; that of the capitals 1.4 to 2.5 but for I.
WINDING = 1.2


@dataclass(frozen=True, slots=True)
class Shapes:
    """Connected shapes: `ids` (H, W) their numbers, `lab` (H, W, 3) the picture's CIELAB, `number` (K,) and `box` (K, 4) x, y, w, h."""

    ids: NDArray[np.int32]
    lab: NDArray[np.float32]
    number: NDArray[np.intp]
    box: NDArray[np.float64]

    def turned(self) -> "Shapes":
        """Rows and columns exchanged: lines that run down become lines that run to the right."""
        return Shapes(self.ids.T, self.lab.transpose(1, 0, 2), self.number, self.box[:, [1, 0, 3, 2]])


def letter_rows(rgb: Rgb) -> list[tuple[Quad, int]]:
    """The rows of letters in a picture (H, W, 3) sRGB, as quads in its pixels, with the number of their letters."""
    lab = np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    light = np.asarray(np.clip(lab[..., 0] * 2.55, 0, 255), np.uint8)
    found = []
    for reach in REACHES:
        for way, share in product((cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT), OF_PEAK):
            shapes = _shapes(light, lab, reach, way, share)
            if not FEWEST <= len(shapes.number) <= MOST:
                continue
            for down, seen in ((False, shapes), (True, shapes.turned())):
                for row in _rows(seen.box):
                    if _is_lettering(seen, row):
                        quad = _around(seen.box[row])
                        found.append((quad[[0, 3, 2, 1], ::-1].copy() if down else quad, len(row)))
    return found


def _shapes(light: NDArray[np.uint8], lab: NDArray[np.float32], reach: int, way: int, share: float) -> Shapes:
    """The compact shapes whose strokes are lighter, or darker, than what lies within `reach`."""
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    hat = cv2.morphologyEx(light, way, window)
    strokes = hat > np.maximum(STANDS_OUT, share * cv2.dilate(hat, window))
    _, ids, stats, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8), connectivity=4)
    x, y, w, h, area = stats.T
    rows, columns = light.shape
    # Of letters that run down, width and height change places.
    low, high = np.minimum(w, h), np.maximum(w, h)
    fits = (low >= WIDTHS[0] * high) & (high >= SMALLEST) & (high <= TALLEST * reach) & (area >= FILLED * w * h)
    fits &= (x > 1) & (y > 1) & (x + w < columns - 2) & (y + h < rows - 2)
    fits[0] = False
    number = np.flatnonzero(fits)
    return Shapes(np.asarray(ids, np.int32), lab, number, stats[number, :4].astype(np.float64))


def _rows(box: NDArray[np.float64]) -> list[list[int]]:
    """Chains of at least `FEWEST` neighbours from left to right, the longest first, each shape in one of them."""
    x, y, w, h = box.T
    cx, cy = x + w / 2, y + h / 2
    lower = np.minimum(h[None], h[:, None])
    dx, gap = cx[None] - cx[:, None], x[None] - (x + w)[:, None]
    link = (np.maximum(h[None], h[:, None]) < ONE_HEIGHT * lower) & (dx > 0) & (gap < GAP * lower) & (gap > -0.25 * lower)
    link &= np.abs(cy[None] - cy[:, None]) < STEEPEST * dx
    link &= ((h >= SMALLEST) & (w <= WIDTHS[1] * h))[None]
    onward = [np.flatnonzero(row) for row in link]
    used: set[tuple[int, int]] = set()
    chains = []
    for start in np.argsort(cx, kind="stable").tolist():
        for second in onward[start].tolist():
            if (start, second) in used:
                continue
            chain = [start, second]
            while (after := _next(chain, onward[chain[-1]], cx, cy, h)) is not None:
                chain.append(after)
            used |= set(pairwise(chain))
            if len(chain) >= FEWEST:
                chains.append(chain)
    taken: set[int] = set()
    kept = []
    for chain in sorted(chains, key=len, reverse=True):
        if taken.isdisjoint(chain):
            kept.append(chain)
            taken |= set(chain)
    return kept


def _next(
    chain: list[int], choice: NDArray[np.intp], cx: NDArray[np.float64], cy: NDArray[np.float64], h: NDArray[np.float64]
) -> int | None:
    """The nearest shape that goes on along the line of the last five."""
    first, last = chain[-5:][0], chain[-1]
    slope = (cy[last] - cy[first]) / (cx[last] - cx[first])
    off = np.abs(cy[choice] - cy[last] - slope * (cx[choice] - cx[last])) / h[last]
    along = choice[off < OFF_LINE]
    return int(along[np.argmin(cx[along])]) if len(along) else None


def _is_lettering(shapes: Shapes, row: list[int]) -> bool:
    """Whether a row's shapes have one height, one stroke, one colour and one ground, and are neither all alike nor bars or discs."""
    x, _, w, h = shapes.box[row].T
    wide = w / h
    gap = (x[1:] - x[:-1] - w[:-1]).mean() / h.mean()
    if h.std() > EVEN_HEIGHT * h.mean() or wide.std() > EVEN_WIDTH or gap > GAP:
        return False
    seen = [_measured(shapes, k) for k in row]
    stroke = np.array([one[0] for one in seen])
    ink, ground = (np.array([one[k] for one in seen]) for k in (1, 2))
    forms = [one[4] for one in seen]
    winding = np.array([one[3] for one in seen]) / (stroke * np.hypot(w, h))
    common = [float(np.minimum(a, b).sum() / np.maximum(a, b).sum()) for k, a in enumerate(forms) for b in forms[k + 1 :]]
    return bool(
        stroke.std() <= EVEN_STROKE * stroke.mean()
        and np.median(stroke) <= BROADEST * h.mean()
        and np.linalg.norm(np.median(ink, 0) - np.median(ground, 0)) >= CONTRAST
        and _apart(ink) <= ONE_COLOUR
        and _apart(ground) <= ONE_GROUND
        and np.median(common) <= ALIKE
        and np.median(winding) >= WINDING
    )


def _apart(colours: NDArray[np.float64]) -> float:
    """The median distance of colours from their median."""
    return float(np.median(np.linalg.norm(colours - np.median(colours, 0), axis=1)))


def _measured(shapes: Shapes, k: int) -> tuple[float, NDArray[np.float32], NDArray[np.float32], float, NDArray[np.float32]]:
    """A shape's stroke width (pixels), its colour and its ground's, its area (pixels), and its form in a 12 × 16 box."""
    x, y, w, h = shapes.box[k].astype(int)
    part = (slice(max(0, y - 4), y + h + 4), slice(max(0, x - 4), x + w + 4))
    own: Mask = shapes.ids[part] == shapes.number[k]
    area, lab = np.ascontiguousarray(own, np.uint8), shapes.lab[part]
    depth = cv2.distanceTransform(area, cv2.DIST_L2, 3)
    near, far = (cv2.dilate(area, np.ones((side, side), np.uint8)) > 0 for side in (3, 7))
    around = far & ~near & (shapes.ids[part] == 0)
    form = cv2.resize((shapes.ids[y : y + h, x : x + w] == shapes.number[k]).astype(np.float32), (12, 16), interpolation=cv2.INTER_AREA)
    ink = np.median(lab[own & (depth >= min(1.4, float(depth.max())))], 0)
    ground = np.median(lab[around], 0) if around.any() else ink
    return 2 * float(np.percentile(depth[own], 85)), ink, ground, float(own.sum()), np.asarray(form, np.float32)


def _around(box: NDArray[np.float64]) -> Quad:
    """The quad about a row of boxes: its top and bottom are straight lines along theirs, with some room."""
    x, y, w, h = box.T
    middle = x + w / 2
    top, bottom = np.polyfit(middle, y, 1), np.polyfit(middle, y + h, 1)
    left, right, room = x.min() - 0.15 * h.mean(), (x + w).max() + 0.15 * h.mean(), 0.15 * h.mean()
    at = np.array([left, right])
    above, below = np.polyval(top, at) - room, np.polyval(bottom, at) + room
    return np.array([[left, above[0]], [right, above[1]], [right, below[1]], [left, below[0]]], np.float32)

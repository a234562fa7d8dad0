"""Strokes: a mask of thin lines as paths of points, joined where they go on, smoothed, and drawn again one pixel wide."""

from collections.abc import Sequence

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from pipeline.values import Mask

Path = NDArray[np.float64]  # (K, 2) points as x, y


def thin(mask: Mask) -> Mask:
    """The mask's skeleton, one pixel wide (Zhang, Suen, 1984)."""
    return np.asarray(skeletonize(mask), np.bool_)  # type: ignore[no-untyped-call]


@njit(cache=True)
def _follow(left: NDArray[np.uint8], starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, 2) points x, y of the paths from `starts` (k, 2), one after another, and where each path ends; takes the points from `left`.

    `left` has a rim of zeros, one pixel wide.
    """
    points, ends = np.empty((int(left.sum()), 2), np.int64), np.empty(len(starts), np.int64)
    count = paths = 0
    for k in range(len(starts)):
        x, y = starts[k]
        if not left[y, x]:
            continue
        going = True
        while going:
            left[y, x] = 0
            points[count, 0], points[count, 1] = x, y
            count += 1
            going = False
            for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
                if left[y + dy, x + dx]:
                    x, y, going = x + dx, y + dy, True
                    break
        ends[paths] = count
        paths += 1
    return points[:count], ends[:paths]


def traced(lines: Mask) -> list[Path]:
    """The paths of a thinned mask, cut where lines meet; single pixels are left out. Order follows the rows."""

    def around(mask: Mask) -> NDArray[np.float32]:
        return np.asarray(cv2.filter2D(mask.astype(np.float32), -1, np.ones((3, 3), np.float32), borderType=cv2.BORDER_CONSTANT) - 1)

    single = np.pad(lines & (around(lines) <= 2.5), 1)
    ends = single & (around(single) <= 1.5)
    starts = np.concatenate([np.argwhere(mask)[:, ::-1] for mask in (ends, single)])
    points, stops = _follow(single.astype(np.uint8), starts)
    return [path.astype(float) - 1 for path in np.split(points, stops[:-1]) if len(path) > 1]


def _heading(path: Path, reach: int = 8) -> NDArray[np.float64]:
    """Unit vector in which the path leaves at its end."""
    step = path[-1] - path[max(0, len(path) - 1 - reach)]
    return np.asarray(step / max(float(np.hypot(*step)), 1e-9))


def joined(paths: Sequence[Path], gap: float, turn: float) -> list[Path]:
    """Join ends that lie within `gap` pixels and go on in each other's direction within `turn` degrees, nearest first."""
    pieces: dict[int, Path] = dict(enumerate(paths))
    least = float(np.cos(np.radians(turn)))
    while len(pieces) > 1:
        ends = [(k, flip, p[0] if flip else p[-1], _heading(p[::-1] if flip else p)) for k, p in pieces.items() for flip in (False, True)]
        where, heads, piece = np.array([e[2] for e in ends]), np.array([e[3] for e in ends]), np.array([e[0] for e in ends])
        one, other = cKDTree(where).query_pairs(gap, output_type="ndarray").T
        apart = where[other] - where[one]
        distance = np.hypot(apart[:, 0], apart[:, 1])
        bridge = apart / np.maximum(distance, 1e-9)[:, None]
        onward = np.minimum((bridge * heads[one]).sum(-1), (-bridge * heads[other]).sum(-1))
        straight = (onward > least) | (distance < 3)
        fits = np.flatnonzero(straight & ((heads[one] * heads[other]).sum(-1) < -least) & (piece[one] != piece[other]))
        if not len(fits):
            break
        taken: set[int] = set()
        for i in fits[np.lexsort((other[fits], one[fits], distance[fits]))]:
            (a, flip_a, *_), (b, flip_b, *_) = ends[one[i]], ends[other[i]]
            if a in taken or b in taken:
                continue
            taken |= {a, b}
            first = pieces[a][::-1] if flip_a else pieces[a]
            second = pieces.pop(b)
            pieces[a] = np.concatenate([first, second if flip_b else second[::-1]])
    return list(pieces.values())


def smoothed(path: Path, sigma: float) -> Path:
    """The path resampled at one pixel and smoothed along its length (Gaussian of `sigma` pixels); its ends stay."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    even = np.linspace(0, along[-1], max(2, int(np.ceil(along[-1])) + 1))
    points = np.stack([np.interp(even, along, path[:, i]) for i in (0, 1)], -1)
    # Mirrored through its end points, so that smoothing does not pull the ends in.
    reach = min(len(points) - 1, int(4 * sigma))
    before, after = 2 * points[0] - points[reach:0:-1], 2 * points[-1] - points[-2 : -reach - 2 : -1]
    wide = gaussian_filter1d(np.concatenate([before, points, after]), sigma, axis=0)
    return np.asarray(wide[reach : reach + len(points)])


def cut(path: Path, clear: Mask, longest: float) -> list[Path]:
    """The path without the stretches of more than `longest` points, and without ends, that lie where `clear` is false."""
    x, y = np.round(path).astype(np.intp).T
    free = clear[np.clip(y, 0, clear.shape[0] - 1), np.clip(x, 0, clear.shape[1] - 1)]
    turns = np.flatnonzero(np.diff(free.astype(np.int8))) + 1
    runs = np.split(np.arange(len(path)), turns)
    keep = [bool(free[run[0]]) or (0 < k < len(runs) - 1 and len(run) <= longest) for k, run in enumerate(runs)]
    parts: list[list[int]] = [[]]
    for run, kept in zip(runs, keep, strict=True):
        if kept:
            parts[-1].extend(run.tolist())
        elif parts[-1]:
            parts.append([])
    return [path[part] for part in parts if len(part) > 1]


def drawn(paths: Sequence[Path], shape: tuple[int, ...]) -> Mask:
    """Mask (H, W) of the paths, one pixel wide."""
    canvas = np.zeros(shape[:2], np.uint8)
    for path in paths:
        cv2.polylines(canvas, [np.round(path).astype(np.int32)], False, 1, 1, cv2.LINE_8)
    return thin(canvas > 0)

"""Strokes: a mask of thin lines as paths of points, joined where they go on, smoothed, and drawn again one pixel wide."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from skimage.morphology import skeletonize

from pipeline.values import Mask

Path = NDArray[np.float64]  # (K, 2) points as x, y
_AROUND = tuple((dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dx, dy) != (0, 0))


def thin(mask: Mask) -> Mask:
    """The mask's skeleton, one pixel wide (Zhang, Suen, 1984)."""
    return np.asarray(skeletonize(mask), np.bool_)  # type: ignore[no-untyped-call]


def traced(lines: Mask) -> list[Path]:
    """The paths of a thinned mask, cut where lines meet; single pixels are left out. Order follows the rows."""
    kernel = np.ones((3, 3), np.float32)
    around = cv2.filter2D(lines.astype(np.float32), -1, kernel, borderType=cv2.BORDER_CONSTANT) - 1
    left = {(int(x), int(y)) for y, x in np.argwhere(lines & (around <= 2.5))}
    ends = sorted((p for p in left if sum((p[0] + dx, p[1] + dy) in left for dx, dy in _AROUND) <= 1), key=lambda p: (p[1], p[0]))
    paths = []
    for start in [*ends, *sorted(left, key=lambda p: (p[1], p[0]))]:
        if start not in left:
            continue
        path, here = [start], start
        left.remove(start)
        while step := next(((here[0] + dx, here[1] + dy) for dx, dy in _AROUND if (here[0] + dx, here[1] + dy) in left), None):
            path.append(step)
            left.remove(step)
            here = step
        if len(path) > 1:
            paths.append(np.array(path, float))
    return paths


def _heading(path: Path, reach: int = 8) -> NDArray[np.float64]:
    """Unit vector in which the path leaves at its end."""
    step = path[-1] - path[max(0, len(path) - 1 - reach)]
    return np.asarray(step / max(float(np.hypot(*step)), 1e-9))


def joined(paths: Sequence[Path], gap: float, turn: float) -> list[Path]:
    """Join ends that lie within `gap` pixels and go on in each other's direction within `turn` degrees, nearest first."""
    pieces: dict[int, Path] = dict(enumerate(paths))
    least = float(np.cos(np.radians(turn)))
    while True:
        ends = [(k, flip, p[0] if flip else p[-1], _heading(p[::-1] if flip else p)) for k, p in pieces.items() for flip in (False, True)]
        if len(ends) < 4:
            break
        where, heads = np.array([e[2] for e in ends]), np.array([e[3] for e in ends])
        apart = where[None] - where[:, None]
        distance = np.hypot(apart[..., 0], apart[..., 1])
        bridge = apart / np.maximum(distance, 1e-9)[..., None]
        onward = (bridge * heads[:, None]).sum(-1)
        piece = np.array([e[0] for e in ends])
        straight = (onward > least) | (distance < 3)
        fits = (distance <= gap) & straight & straight.T & (heads @ heads.T < -least) & (piece[:, None] != piece)
        if not fits.any():
            break
        taken: set[int] = set()
        rows, columns = np.nonzero(np.triu(fits))
        for i in np.lexsort((columns, rows, distance[rows, columns])):
            (a, flip_a, *_), (b, flip_b, *_) = ends[rows[i]], ends[columns[i]]
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

"""Whether every boundary of a label image is stroked exactly once, measured on the line layer's geometry."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tests.support.svg_geometry import Floats, Shape, sampled

#: px: spacing of the points along strokes, how near a stroke has to be to its boundary, how near two strokes are one line,
#: how long they have to run so, and how far to either side the label image is asked for two boundaries.
STEP, REACH, NEAR, RUN, ASIDE = 0.5, 3.5, 0.75, 6.0, 3.0
#: Cosine of the angle (20°) up to which two directions are parallel.
PARALLEL = 0.94


@dataclass(frozen=True, slots=True)
class Strokes:
    """`cracks` of the label image, those `uncovered`; px of `length` stroked, `doubled`, `invented` (along no boundary) and
    `framed` (along the picture's frame)."""

    cracks: int
    uncovered: int
    length: float
    doubled: float
    invented: float
    framed: float


def crack_points(key: NDArray[np.uint8]) -> Floats:
    """(m, 2) middles of the edges between pixels of different keys; none is on the picture's frame."""
    y, x = np.nonzero(key[:, 1:] != key[:, :-1])
    v, u = np.nonzero(key[1:] != key[:-1])
    return np.concatenate([np.stack([x + 1.0, y + 0.5], 1), np.stack([u + 0.5, v + 1.0], 1)])


def strokes(shapes: Sequence[Shape], key: NDArray[np.uint8]) -> Strokes:
    """Measures the shapes of a line layer of boundaries only against the key.

    A crack is covered where a stroke passes within `REACH` of its middle; a stroke is invented where no crack's middle is
    within `REACH`; it is framed where it runs in parallel to a side of the picture within half a pixel of it. For doubles see
    `doubled`.
    """
    cracks = crack_points(key)
    points, ways, which = sampled(shapes, STEP)
    if not len(points) or not len(cracks):
        return Strokes(len(cracks), len(cracks), 0.0, 0.0, 0.0, 0.0)
    steps = _steps(points, which)
    far, _ = cKDTree(points).query(cracks, distance_upper_bound=REACH)
    alone, _ = cKDTree(cracks).query(points, distance_upper_bound=REACH)
    return Strokes(
        len(cracks),
        int(np.count_nonzero(np.isinf(far))),
        float(steps.sum()),
        doubled(points, ways, which, key),
        float(steps[np.isinf(alone)].sum()),
        float(steps[_framed(points, ways, key.shape[1], key.shape[0])].sum()),
    )


def _framed(points: Floats, ways: Floats, width: int, height: int) -> NDArray[np.bool_]:
    near = (points < 0.5) | (points > np.array([width, height]) - 0.5)
    upright, level = np.abs(ways[:, 1]) > PARALLEL, np.abs(ways[:, 0]) > PARALLEL
    return (near[:, 0] & upright) | (near[:, 1] & level)


def doubled(points: Floats, ways: Floats, which: NDArray[np.int64], key: NDArray[np.uint8]) -> float:
    """Length, px, that is stroked a second time.

    Two strokes, or two parts of one that are more than 4 px apart along it, are one line where they run within `NEAR` of each
    other in parallel for more than `RUN`; the later one's length counts. Not where the label image has two boundaries there:
    its key changes at least twice within `ASIDE` to either side.
    """
    pairs = cKDTree(points).query_pairs(NEAR, output_type="ndarray")
    first, later = pairs.min(1), pairs.max(1)
    steps = _steps(points, which)
    arc = np.cumsum(steps)
    apart = arc[later] - arc[first]
    begins = np.flatnonzero(np.diff(which, prepend=-1))
    ends = np.append(begins[1:], len(which)) - 1
    whole = (arc[ends] - arc[begins])[which]
    closed = (np.hypot(*(points[ends] - points[begins]).T) < 1e-6)[which]
    apart = np.where(closed[later], np.minimum(apart, whole[later] - apart), apart)
    separate = (which[first] != which[later]) | (apart > 4)
    parallel = np.abs((ways[first] * ways[later]).sum(1)) > PARALLEL
    marked = np.zeros(len(points), bool)
    marked[later[separate & parallel]] = True
    some = np.flatnonzero(marked)
    marked[some] = _changes(points[some], ways[some], key) < 2
    total = 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        for part in np.split(np.arange(begin, end), np.flatnonzero(np.diff(which[begin:end])) + 1):
            run = float(steps[part[1:]].sum())
            total += run if run > RUN else 0.0
    return total


def _steps(points: Floats, which: NDArray[np.int64]) -> Floats:
    """(m,) the distance of each point from the one before it on the same stroke; 0 where a stroke begins."""
    steps = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T)
    steps[np.diff(which, prepend=-1) != 0] = 0
    return steps


def _changes(points: Floats, ways: Floats, key: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(m,) how often the key changes along the normal from `ASIDE` on one side to `ASIDE` on the other."""
    reach = np.arange(-ASIDE, ASIDE + 0.25, 0.5)
    at = points[:, None] + reach[None, :, None] * np.stack([-ways[:, 1], ways[:, 0]], 1)[:, None]
    x, y = (np.clip(np.floor(at[..., k]).astype(int), 0, key.shape[1 - k] - 1) for k in (0, 1))
    seen = key[y, x]
    return np.count_nonzero(seen[:, 1:] != seen[:, :-1], axis=1)

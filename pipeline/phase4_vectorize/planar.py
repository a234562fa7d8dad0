"""Our tracer: a planar map in which every boundary is traced, fitted and written once.

Faces are painted from the largest to the smallest. Each arc of the map is fitted as a part of the later face's boundary; the
earlier face passes beneath it on a few straight links. So neighbours overlap, nothing has to be closed by strokes,
and the line layer is the same curves once more.
"""

from itertools import pairwise

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from pipeline.palette import Palette
from pipeline.phase4_vectorize.chains import Chains
from pipeline.phase4_vectorize.cover import cover
from pipeline.phase4_vectorize.curves import fit
from pipeline.phase4_vectorize.face_runs import EDGE, FRAME, HIDDEN, Runs, boundary_runs
from pipeline.phase4_vectorize.patches import patches
from pipeline.phase4_vectorize.path import Stretch, closed, links, move, stretch
from pipeline.phase4_vectorize.planar_map import PlanarMap, paint, planar_map
from pipeline.phase4_vectorize.tracer import Face, Traced, drawn_window
from pipeline.values import PARTS, LabelImage

Points = NDArray[np.float64]
Ranks = NDArray[np.int32]

#: How far hidden runs may pass beyond boundaries beside faces that are too thin to hide them, pixels.
SLACK = 0.7
#: Cracks of the smallest loop that is fitted, half as many of a chain between vertices: a smaller one keeps the pixels' own outline,
#: because too few samples of it make a sliver or a point.
TINY = 16
#: Cracks of a loop that its fit may leave next to nothing of, and the share of its area that has to be left: with less it keeps the
#: pixels' own outline, too.
SMALL, KEPT = 64, 0.25
#: The key of what lies beyond the picture's frame: never drawn, and its boundary never stroked.
OUTSIDE = 255


def key_image(image: LabelImage) -> tuple[NDArray[np.uint8], int, int]:
    """The drawn window of the label image's keys, with a ring around it, and the x and y of its first pixel.

    Beyond the photo's frame the key is OUTSIDE.
    """
    rows, columns = drawn_window(image)
    n, side = image.nothing, image.key.shape[0]
    top, left = rows.start - 1, columns.start - 1
    key = np.full((rows.stop - rows.start + 2, columns.stop - columns.start + 2), n, np.uint8)
    key[1:-1, 1:-1] = image.key[rows, columns]
    x0, y0, x1, y1 = (round(v) for v in image.frame.content)
    across, down = np.arange(key.shape[1]) + left, np.arange(key.shape[0]) + top
    beyond_x = (across < max(0, x0)) | (across >= min(side, x1))
    beyond_y = (down < max(0, y0)) | (down >= min(side, y1))
    beyond = (beyond_y[:, None] | beyond_x[None]) & (key == n)
    key[beyond] = OUTSIDE
    return key, left, top


def paint_order(plan: PlanarMap, nothing: int) -> Ranks:
    """(F,) the place of each face in painter's order, -1 for what is not drawn: background before vehicle, large before small."""
    drawn = (plan.key != nothing) & (plan.key != OUTSIDE)
    order = np.lexsort((plan.spot[:, 0], plan.spot[:, 1], -plan.area, plan.key < nothing, ~drawn))
    rank = np.full(len(plan.key), -1, np.int32)
    rank[order[: np.count_nonzero(drawn)]] = np.arange(np.count_nonzero(drawn))
    return rank


@njit(cache=True, parallel=True)
def _cover_all(
    points: Points,
    starts: NDArray[np.int64],
    loops: NDArray[np.bool_],
    rank: Ranks,
    ranks: Ranks,
    spots: Points,
    spot_ranks: Ranks,
    slack: float,
) -> tuple[Points, NDArray[np.int64]]:
    out = np.empty((3 * len(points) + 8 * len(starts), 2))
    counts = np.zeros(len(starts) - 1, np.int64)
    for k in prange(len(starts) - 1):
        p = points[starts[k] : starts[k + 1]]
        room = out[3 * starts[k] + 8 * k : 3 * starts[k + 1] + 8 * k + 8]
        counts[k] = cover(p, loops[k], rank[k], ranks, spots, spot_ranks, slack, room)
    return out, counts


def _chosen(runs: Runs, which: NDArray[np.int64]) -> Chains:
    """Some of the runs as chains."""
    lengths = runs.starts[which + 1] - runs.starts[which]
    starts = np.concatenate(([0], np.cumsum(lengths)))
    index = np.arange(starts[-1]) + np.repeat(runs.starts[which] - starts[:-1], lengths)
    return Chains(runs.points[index].astype(np.float64), starts)


@njit(cache=True)
def _nearest(curves: Points, x: float, y: float) -> tuple[float, float]:
    """The point of the curves (m, 8) that is nearest to (x, y), or (x, y) itself where none is within eight pixels."""
    best, bx, by = 64.0, x, y
    for k in range(len(curves)):
        c = curves[k]
        if min(c[0], c[2], c[4], c[6]) > x + 8 or max(c[0], c[2], c[4], c[6]) < x - 8:
            continue
        if min(c[1], c[3], c[5], c[7]) > y + 8 or max(c[1], c[3], c[5], c[7]) < y - 8:
            continue
        low, high = 0.0, 1.0
        for _ in range(6):
            at = low
            for i in range(9):
                t = low + (high - low) * i / 8
                s = 1 - t
                u = s * s * s * c[0] + 3 * s * s * t * c[2] + 3 * s * t * t * c[4] + t * t * t * c[6]
                v = s * s * s * c[1] + 3 * s * s * t * c[3] + 3 * s * t * t * c[5] + t * t * t * c[7]
                d = (u - x) ** 2 + (v - y) ** 2
                if d < best:
                    best, bx, by, at = d, u, v, t
            width = (high - low) / 4
            low, high = max(0.0, at - width / 2), min(1.0, at + width / 2)
    return bx, by


def _join(runs: Runs, edges: NDArray[np.int64], curves: list[Points], rank: Ranks) -> None:
    """Move the open ends of fitted runs onto the curve of the later face that they end at, or else to their own vertex."""
    place = {int(run): i for i, run in enumerate(edges)}
    hosts: dict[tuple[int, int], int] = {}
    for x, y, run in runs.passed.tolist():
        known = hosts.get((x, y))
        if known is None or rank[runs.face[run]] > rank[runs.face[known]]:
            hosts[x, y] = run
    for run in sorted(place, key=lambda r: -int(rank[runs.face[r]])):  # hosts first
        if runs.closed[run]:
            continue
        fitted = curves[place[run]]
        for end, column in ((runs.starts[run], 0), (runs.starts[run + 1] - 1, 6)):
            x, y = runs.points[end].tolist()
            host = hosts.get((x, y))
            there = (x, y) if host is None else _nearest(curves[place[host]], x, y)
            curve = fitted[0 if column == 0 else -1]
            handle = 2 if column == 0 else 4
            shift = np.array(there) - curve[column : column + 2]
            curve[column : column + 2] += shift
            curve[handle : handle + 2] += shift


def _straight(p: Points) -> Points:
    """The polyline p (n, 2) as degenerate curves (m, 8), one for each straight stretch."""
    step = np.diff(p, axis=0)
    turn = np.flatnonzero((step[1:] != step[:-1]).any(1)) + 1
    q = p[np.concatenate(([0], turn, [len(p) - 1]))]
    return np.hstack([q[:-1], q[:-1], q[1:], q[1:]])


def _inside(curves: Points) -> float:
    """The area that closed curves (m, 8) surround; below zero where they lead around it the other way."""
    x, y = curves.reshape(-1, 4, 2).transpose(2, 1, 0)
    pairs = ((6, 0, 1), (3, 0, 2), (1, 0, 3), (3, 1, 2), (3, 1, 3), (6, 2, 3))  # Green's theorem for cubics
    return float(sum(k * (x[a] * y[b] - x[b] * y[a]).sum() for k, a, b in pairs) / 20)


def _pieces(runs: Runs, plan: PlanarMap, rank: Ranks, ranks: Ranks, tolerance: float) -> list[Points]:
    """Each run as curves (m, 8) or, hidden ones, as the corners (m, 2) of their links."""
    out: list[Points] = [np.empty((0, 2))] * len(runs)
    edges, hidden = np.flatnonzero(runs.kind == EDGE), np.flatnonzero(runs.kind == HIDDEN)
    if tolerance > 0 and len(edges):
        chains = _chosen(runs, edges)
        curves = fit(chains, tolerance, runs.closed[edges], False, rank[runs.face[edges]], ranks)
        cracks = np.diff(chains.starts) - 1
        for i in np.flatnonzero(cracks < np.where(runs.closed[edges], SMALL, TINY // 2)).tolist():
            outline = _straight(chains.points[chains.starts[i] : chains.starts[i + 1]])
            if not runs.closed[edges[i]] or cracks[i] < TINY or _inside(curves[i]) / _inside(outline) < KEPT:
                curves[i] = outline
        _join(runs, edges, curves, rank)
        for run, fitted in zip(edges.tolist(), curves, strict=True):
            out[run] = fitted
    for run in np.flatnonzero((runs.kind == FRAME) | ((runs.kind == EDGE) & (tolerance <= 0))).tolist():
        out[run] = _straight(runs.points[runs.starts[run] : runs.starts[run + 1]].astype(np.float64))
    if len(hidden):
        chains = _chosen(runs, hidden)
        corners, counts = _cover_all(
            chains.points,
            chains.starts,
            runs.closed[hidden],
            rank[runs.face[hidden]],
            ranks,
            (plan.spot + 0.5).astype(np.float64),
            rank,
            SLACK if tolerance > 0 else 0.0,
        )
        for i, run in enumerate(hidden.tolist()):
            at = 3 * chains.starts[i] + 8 * i
            out[run] = corners[at : at + counts[i]]
    return out


def trace_planar(image: LabelImage, _palette: Palette, tolerance: float) -> Traced:
    """Label image → faces in painter's order and every boundary once. `tolerance` 0 keeps the pixels' own outlines."""
    key, left, top = key_image(image)
    plan = planar_map(key)
    rank = paint_order(plan, image.nothing)
    ranks = paint(plan, rank, key.shape, -1)
    runs = boundary_runs(plan, rank, plan.key == OUTSIDE, ranks)
    pieces = _pieces(runs, plan, rank, ranks, tolerance)
    offset = np.array([left, top], float)
    drawn = {run: stretch(pieces[run] + np.tile(offset, 4)) for run in np.flatnonzero(runs.kind != HIDDEN).tolist()}
    outlines: dict[int, list[str]] = {}
    boundaries: list[str] = []
    for first, last in pairwise([*np.flatnonzero(np.diff(runs.cycle, prepend=-1)).tolist(), len(runs)]):
        outline = _outline(runs, first, last, drawn, pieces, offset)
        if outline:
            outlines.setdefault(int(runs.face[first]), []).append(closed(outline))
    for run in np.flatnonzero(runs.kind == EDGE).tolist():
        boundaries.append(move("M", *drawn[run].start) + drawn[run].data + ("z" if runs.closed[run] else ""))
    color = plan.key % np.uint8(image.nothing + 1)
    paths = {int(rank[f]): (int(color[f]), "".join(outlines[f])) for f in outlines}
    mends = patches({place: path for place, (_, path) in paths.items()}, ranks, left, top) if tolerance > 0 else {}
    vehicle = {int(rank[f]) for f in outlines if plan.key[f] < image.nothing}
    part = [name if k in vehicle else "" for k, name in enumerate(_part_of(ranks, image, left, top))]
    faces = [Face(paths[k][0], path, part[k]) for k in sorted(paths) for path in (paths[k][1], mends.get(k)) if path]
    edges = np.repeat(runs.kind == EDGE, np.diff(runs.starts))
    return Traced(faces, boundaries, runs.points[edges] + np.array([left, top]))


@njit(cache=True)
def _count_parts(ranks: Ranks, parts: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64], counts: Ranks) -> None:
    """Add every pixel to `counts` (faces, parts); `rows` and `columns` are the places of the pixels in `parts`."""
    for y in range(ranks.shape[0]):
        for x in range(ranks.shape[1]):
            if ranks[y, x] >= 0:
                counts[ranks[y, x], parts[rows[y], columns[x]]] += 1


def _part_of(ranks: Ranks, image: LabelImage, left: int, top: int) -> list[str]:
    """For every face, by its place in painter's order, the part that holds most of it."""
    small, side = len(image.parts), len(image.key)
    rows, columns = ((np.arange(n) + first) * small // side for n, first in zip(ranks.shape, (top, left), strict=True))
    counts = np.zeros((int(ranks.max()) + 1, len(PARTS)), np.int32)
    _count_parts(ranks, image.parts, rows.clip(0, small - 1), columns.clip(0, small - 1), counts)
    return [PARTS[k] for k in counts.argmax(1).tolist()]


def _outline(
    runs: Runs, first: int, last: int, drawn: dict[int, Stretch], pieces: list[Points], offset: NDArray[np.float64]
) -> list[Stretch]:
    """The runs of one boundary as stretches; a hidden run goes from the end of the one before to the start of the one after."""
    start = next((run - first for run in range(first, last) if run in drawn), 0)
    out: list[Stretch] = []
    for i in range(first, last):
        run = first + (i - first + start) % (last - first)
        if run in drawn:
            out.append(drawn[run])
            continue
        piece = pieces[run]
        after = first + (run - first + 1) % (last - first)
        if after not in drawn and not runs.closed[run]:  # a pinched vertex between two hidden runs
            piece = np.vstack([piece, runs.points[runs.starts[run + 1] - 1]])
        if len(piece):
            out.append(links(piece + offset))
    return out

"""A label image whose true outlines are known far below the pixel: the sample scene's car, its regions seen ray by ray.

`at(scene, points)` answers what lies at any position, so a label image is the truth at pixel centres, and the true outline is
found by bisection between the centres of every two neighbouring pixels that differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from pipeline.palette import Palette, parse
from pipeline.sample import body, car, decals, wheels
from pipeline.sample.camera import Camera, aim
from pipeline.sample.decals import Decals
from pipeline.sample.fields import smoothstep
from pipeline.sample.form import CAR
from pipeline.sample.look import Look, choose
from pipeline.values import Frame, LabelImage

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]
At = Callable[[Floats], Labels]  # positions (m, 2) in px → labels (m,)

PALETTE: Palette = parse(None)
NOTHING = len(PALETTE)
# Indices of the default palette.
BLACK, WHITE, RED, BLUE, YELLOW, CYAN, GREY, ORANGE, BROWN, TEAL, GOLD = 0, 1, 2, 4, 5, 7, 8, 9, 12, 13, 14
#: Regions of fewer pixels are dust where the rays only graze a surface, and get the label around them.
DUST = 64
#: The shortest step along a ray, metres: a quarter of a pixel at 4096.
FINE = 0.0003
#: Halvings of a pixel; the turn (degrees) of a true corner, how much of it is at a point; how far (px) it has to be from the
#: next and from nodes, how far from any other outline, how near the label image's own boundary has to come to it.
HALVINGS, SHARP, SUDDEN, ISOLATED, CLEAR, KEPT = 8, 40.0, 0.7, 20.0, 10.0, 1.0


@dataclass(frozen=True, slots=True)
class Scene:
    """The sample's car before a camera whose picture lies in a square at row `top`; never mirrored, as the sample's picture may be."""

    look: Look
    decals: Decals
    camera: Camera
    top: float


def scene(side: int, seed: int = 42) -> Scene:
    """The sample's default scene letterboxed in a square of `side`."""
    look = choose(seed)
    frame = Frame.fit(1600, 1066, side)
    return Scene(look, decals.draw(look), aim(look, side, round(1066 * frame.scale)), frame.y0)


def at(s: Scene, points: Floats) -> Labels:
    """The palette index (m,) of the region at each position (m, 2) in the square, `NOTHING` beside the car."""
    return np.concatenate([_at(s, part) for part in np.array_split(points, max(1, len(points) // 200_000))])


def _at(s: Scene, points: Floats) -> Labels:
    c = s.camera
    right, up = (points[:, 0] - c.cx) / c.focal, (c.cy - (points[:, 1] - s.top)) / c.focal
    d = c.axes[2] + right[:, None] * c.axes[0] + up[:, None] * c.axes[1]
    d = (d / np.linalg.norm(d, axis=1, keepdims=True)).astype(np.float32)
    origin = c.origin.astype(np.float32)
    t = _march(origin, d)
    out, opening = np.full(len(d), NOTHING, np.uint8), np.zeros(len(d), bool)
    hit = np.flatnonzero(np.isfinite(t))
    p = origin + t[hit, None] * d[hit]
    opening[hit] = car.openings(p)
    out[hit] = np.where(opening[hit], BLACK, _skin(s.decals, p))
    for x in body.WHEELS:
        for side in (1.0, -1.0):
            reach, label = _wheel(s.look, origin, d, x, side)
            front = np.isfinite(reach) & (reach < t + 0.6 * (opening & (side > 0)))
            out[front], t[front], opening[front] = label[front], reach[front], False
    for side in (-1.0, 1.0):
        for (x, y, z), radii, cut in ((car._MIRROR, car._MIRROR_RADII, True), (car._STALK, car._STALK_RADII, False)):
            reach, _ = car._ellipsoid(origin, d, (x, y, side * z), radii)
            far = np.where(np.isfinite(reach), reach, 0)
            front = (reach < t) & ((not cut) | (origin[0] + far * d[:, 0] > x - 0.02))
            out[front], t[front] = TEAL if cut else BLACK, reach[front]
    return out


def _march(origin: NDArray[np.float32], d: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance (m,) along rays to the body, inf where missed: `body.march` with steps so fine that sharp edges do not fray."""
    hit = np.full(len(d), np.inf, np.float32)
    t, last = body._enter(origin, d)
    live = np.flatnonzero(t < last)
    t, last, way = t[live], last[live], d[live]
    before = t
    while len(live):
        p = origin + t[:, None] * way
        g = body._roughly(p[:, 0], p[:, 1], p[:, 2])
        inside = g < 0
        hit[live[inside]] = body._between(origin, way[inside], before[inside], t[inside])
        keep = ~inside & (t < last)
        before = t[keep]
        t = (t + np.clip(0.25 * g, FINE, 0.12))[keep].astype(np.float32)
        live, last, way = live[keep], last[keep], way[keep]
    return hit


def _skin(k: Decals, p: NDArray[np.float32]) -> Labels:
    """What the body shows at points (m, 3) of its surface; sheets and places count from one half on."""
    x, y, z = p[:, 0], p[:, 1], p[:, 2]
    n = body.normals(p)
    front = smoothstep(0.16, 0.28, n[:, 0]) * (x > 1.2)
    upper = smoothstep(0.22, 0.34, n[:, 0]) * (y > 0.93) * (x < 1.12)
    # at the floor, where the slices end, normals point down; what is seen there is still the flank
    flank_faces = np.maximum(smoothstep(0.25, 0.45, n[:, 2]), y < body.FLOOR + 0.004)
    side = flank_faces * (z > 0.3) * (1 - upper * (x > 0.2))
    lens = smoothstep(1.355, 1.37, x + 0.5 * (0.72 - y)) * (n[:, 0] > 0.02) * (x > 1.2)
    out = np.full(len(p), RED, np.uint8)
    flank = ((k.plastic, GREY), (k.surround, BLACK), (k.glass, CYAN), (k.metal, GOLD))
    nose = ((k.grille, BLACK), (k.chrome, WHITE), (k.fog, ORANGE), (k.emblem, BLUE), (k.plate, WHITE))
    screen = ((k.frit, BLACK), (k.screen, CYAN), (k.wipers, GREY))
    for place, across, sheets in ((side, x, flank), (lens, z, ((k.lamp, YELLOW),)), (front, z, nose), (upper, z, screen)):
        some = np.flatnonzero(place >= 0.5)
        for sheet, color in sheets:
            out[some[sheet.at(across[some], y[some]) >= 0.5]] = color
    return out


def _wheel(look: Look, origin: NDArray[np.float32], d: NDArray[np.float32], x: float, side: float) -> tuple[NDArray[np.float32], Labels]:
    """Distance (m,) to a wheel, inf where missed, and what it shows."""
    t, px, py = wheels._plane(origin, d, side * wheels.FACE, x)
    facing = (d[:, 2] * side < 0) & (np.hypot(px, py) < body.TYRE)
    tread, _, _ = wheels._tread(origin, d, x, side)
    _, sx, sy = wheels._plane(origin, d, side * (wheels.FACE - 0.014), x)
    rim = facing & (np.hypot(sx, sy) < wheels.RIM)
    cover, _, _ = wheels._spokes(look, sx, sy)
    label = np.where(rim, np.where(cover >= 0.5, WHITE, BROWN), GREY).astype(np.uint8)
    return np.where(facing, np.minimum(t, tread), tread).astype(np.float32), label


def rasterise(s: Scene, side: int) -> LabelImage:
    """The truth at pixel centres as a label image."""
    corners = np.array([[x, y, z * 1.15] for x, y, z in product(*CAR.extent)])
    flat = s.camera.project(corners) + np.array([0, s.top])
    (x0, y0), (x1, y1) = np.maximum(np.floor(flat.min(0)).astype(int) - 4, 0), np.minimum(np.ceil(flat.max(0)).astype(int) + 4, side)
    labels = np.full((side, side), NOTHING, np.uint8)
    rows, columns = np.mgrid[y0:y1, x0:x1]
    seen = at(s, np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], 1)).reshape(rows.shape)
    parts = cc3d.connected_components(seen + np.uint8(1), connectivity=4)
    dust = np.bincount(parts.ravel())[parts] < DUST
    nearest = distance_transform_edt(dust, return_distances=False, return_indices=True)
    labels[y0:y1, x0:x1] = seen[nearest[0], nearest[1]]
    ink = np.zeros((side // 4, side // 4), bool)
    return LabelImage(labels, NOTHING, ink, np.zeros((1, 1), np.uint8), Frame.fit(1600, 1066, side), 0, 0.0)


@dataclass(frozen=True, slots=True)
class Outline:
    """The true outline as polylines (k, 2) in px, one vertex for every crack of the label image; `loops` says which are closed.

    `cracks` are the same polylines along the pixels' corners; `nodes` (n, 2) where three or more regions meet; `unsure` (u, 2)
    vertices at a pixel whose label is not the truth at its centre, as where dust was removed.
    """

    lines: list[Floats]
    cracks: list[Floats]
    loops: list[bool]
    nodes: Floats
    unsure: Floats


def outline(labels: Labels, truth: At) -> Outline:
    """Finds the true outline: on the way from one pixel's centre to its neighbour's of another label, where the label changes."""
    width = labels.shape[1]
    y, x = np.nonzero(labels[:, 1:] != labels[:, :-1])
    v, u = np.nonzero(labels[1:] != labels[:-1])
    here = np.concatenate([np.stack([x + 0.5, y + 0.5], 1), np.stack([u + 0.5, v + 0.5], 1)])
    step = np.repeat([[1.0, 0.0], [0.0, 1.0]], [len(x), len(u)], axis=0)
    mine = labels[here[:, 1].astype(int), here[:, 0].astype(int)]
    theirs = labels[(here + step)[:, 1].astype(int), (here + step)[:, 0].astype(int)]
    unsure = (truth(here) != mine) | (truth(here + step) != theirs)
    low, high = np.zeros(len(here)), np.ones(len(here))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        same = truth(here + middle[:, None] * step) == mine
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    points = here + ((low + high) / 2)[:, None] * step
    ends = np.concatenate([np.stack([x + 1, y, x + 1, y + 1], 1), np.stack([u, v + 1, u + 1, v + 1], 1)])
    return _joined(points, ends[:, [1, 3]] * (width + 1) + ends[:, [0, 2]], width + 1, points[unsure])


def _joined(points: Floats, ends: NDArray[np.int64], stride: int, unsure: Floats) -> Outline:
    """Walks along cracks, given by the grid corners `ends` (m, 2) they join, from node to node and round the loops."""
    order = np.argsort(ends.ravel(), kind="stable")
    corner, crack = ends.ravel()[order], order // 2
    place, begin, degree = np.unique(corner, return_index=True, return_counts=True)
    other = np.full(ends.shape, -1)
    two = begin[degree == 2]
    other.ravel()[order[two]], other.ravel()[order[two + 1]] = crack[two + 1], crack[two]
    middle = {int(p): points[crack[b : b + n]].mean(0) for p, b, n in zip(place, begin, degree, strict=True) if n > 2}
    nodes = np.array([(p % stride, p // stride) for p in middle], float).reshape(-1, 2)
    next_, corners, seen = other.tolist(), ends.tolist(), bytearray(len(points))
    out = Outline([], [], [], nodes, unsure)
    starts = [int(i) for i in np.flatnonzero((other < 0).any(1))] + list(range(len(points)))
    for start in starts:
        if seen[start]:
            continue
        i, side = start, 0 if next_[start][0] < 0 else 1
        loop = next_[start][side] >= 0
        path, grid = [], [corners[i][side]]
        while i >= 0 and not seen[i]:
            seen[i] = 1
            path.append(i)
            side = 0 if corners[i][1] == grid[-1] else 1
            grid.append(corners[i][side])
            i = next_[i][side]
        line = points[path]
        if loop:
            line = np.concatenate([line, line[:1]])
        else:
            line = np.concatenate([[middle.get(grid[0], line[0])], line, [middle.get(grid[-1], line[-1])]])
        out.lines.append(line)
        out.cracks.append(np.stack([np.array(grid) % stride, np.array(grid) // stride], 1).astype(float))
        out.loops.append(loop)
    return out


def resampled(lines: list[Floats], step: float) -> Floats:
    """Points (m, 2) every `step` px along polylines."""
    out = []
    for p in lines:
        arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(p, axis=0).T))])
        s = np.arange(0.0, arc[-1], step)
        out.append(np.stack([np.interp(s, arc, p[:, 0]), np.interp(s, arc, p[:, 1])], 1))
    return np.concatenate(out)


def distances(points: Floats, lines: list[Floats]) -> Floats:
    """Exact distance (m,) of points from polylines whose segments are at most about 2 px long."""
    a, b = np.concatenate([p[:-1] for p in lines]), np.concatenate([p[1:] for p in lines])
    _, near = cKDTree((a + b) / 2).query(points, k=min(6, len(a)), workers=-1)
    a, b = a[near], b[near]
    d = b - a
    t = np.clip(((points[:, None] - a) * d).sum(2) / np.maximum((d * d).sum(2), 1e-12), 0, 1)
    return np.hypot(*(points[:, None] - a - t[..., None] * d).transpose(2, 0, 1)).min(1)


def true_corners(o: Outline) -> Floats:
    """(k, 2) the outline's corners: it turns by more than `SHARP` between chords of 3 px, and does so at a point: at least `SUDDEN`
    of the turn between chords of 6.5 px is there between chords of 2 px.

    Only those with no node, no other turn by more than half of `SHARP` and nothing unsure within `ISOLATED`, no other outline
    within `CLEAR`, and that the label image has at all (its boundary comes within `KEPT`: the tip of a wedge thinner than a
    pixel is not in it). A corner lies where the chords beside it meet.
    """
    found, blunt = [], [o.nodes, o.unsure]
    for line, loop in zip(o.lines, o.loops, strict=True):
        arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
        if arc[-1] < 2 * ISOLATED:
            blunt.append(line[::4])
            continue
        s = np.arange(0.0, arc[-1], 0.25) if loop else np.arange(8.0, arc[-1] - 8.0, 0.25)

        def where(v: Floats, arc: Floats = arc, line: Floats = line, loop: bool = loop) -> Floats:
            v = v % arc[-1] if loop else v
            return np.stack([np.interp(v, arc, line[:, 0]), np.interp(v, arc, line[:, 1])], 1)

        before, after = where(s - 1) - where(s - 4), where(s + 4) - where(s + 1)
        turn = _turn(before, after)
        wide = _turn(where(s - 1.5) - where(s - 8), where(s + 8) - where(s + 1.5))
        close = _turn(where(s - 0.5) - where(s - 2.5), where(s + 2.5) - where(s + 0.5))
        sharp = turn > SHARP / 2
        first = int(np.argmin(sharp)) if loop else 0  # a loop may begin on a corner
        s, sharp, turn, wide, close, before, after = (np.roll(v, -first, 0) for v in (s, sharp, turn, wide, close, before, after))
        for run in np.split(np.arange(len(s)), np.flatnonzero(np.diff(sharp.astype(np.int8))) + 1):
            if len(run) and sharp[run[0]]:
                k = run[np.argmax(turn[run])]
                # the 3 px chords see one corner over 8 px; a longer run holds two, or a bow
                if 0.25 * len(run) < 9 and turn[k] > SHARP and wide[k] > SHARP and close[run].max() > SUDDEN * wide[k]:
                    found.append(_meet(where(s[[k]] - 1)[0], before[k], where(s[[k]] + 1)[0], after[k]))
                else:
                    blunt.append(where(s[[k]]))
    corners = np.array(found).reshape(-1, 2)
    away = np.concatenate([*blunt, corners])
    alone = [len(away) < 2 or np.sort(np.hypot(*(away - c).T))[1] > ISOLATED for c in corners]
    corners = corners[np.array(alone, bool)]
    around = cKDTree(resampled(o.lines, 0.5)).query_ball_point(corners, CLEAR, return_length=True)
    near, _ = cKDTree(resampled(o.cracks, 0.5)).query(corners)
    return corners[(around < 2.6 * CLEAR / 0.5) & (near <= KEPT)]


def _turn(a: Floats, b: Floats) -> Floats:
    return np.abs(np.degrees(np.arctan2(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(1))))


def _meet(p: Floats, d: Floats, q: Floats, e: Floats) -> Floats:
    """Where the line through p along d meets the one through q along e."""
    return p + d * ((q[0] - p[0]) * e[1] - (q[1] - p[1]) * e[0]) / (d[0] * e[1] - d[1] * e[0])

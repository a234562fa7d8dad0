"""The pick-up's form as a signed distance: rounded convex pieces, the open bed cut out. Its tailgate points along +x.

It stands on the car's wheels (`body.WHEELS`, `AXLE`, `TYRE`), so all of it is drawn at 0.85 of a real one's size.
"""

import numpy as np

from pipeline.sample import body
from pipeline.sample.fields import Array, Bytes, unit

FLOOR, ROOF = 0.39, 1.62  # of tub and cab
EXTENT = ((-2.16, 2.19), (0.0, ROOF), (-1.08, 1.08))
#: The bed: from x to x, half its width, its floor; the wheel houses stand on it.
BED = (0.24, 1.965, 0.755, 0.64)
RAIL = 1.115  # height of the bed's sides and of the waist
#: What a point of the surface belongs to.
TUB, CAB, HOUSE, BUMPER, CHASSIS, MIRROR = range(6)
_CLOSE, _STEPS, _SHORTEST = 0.0008, 120, 0.0012  # metres: taken for a hit; steps at most; the least step


def _join(a: Array, b: Array, radius: float) -> Array:
    """The larger of two distances, its edge rounded over about `radius` (Quilez, "Smooth minimum", 2013)."""
    h = np.maximum(np.float32(radius) - np.abs(a - b), 0)
    return np.asarray(np.maximum(a, b) + h * h * np.float32(0.25 / radius), np.float32)


def _box(p: tuple[Array, Array, Array], middle: tuple[float, float, float], half: tuple[float, float, float], radius: float) -> Array:
    """Distance to a box with rounded edges (Quilez, "Distance functions", 2008)."""
    q = [np.abs(v - np.float32(m)) - np.float32(h - radius) for v, m, h in zip(p, middle, half, strict=True)]
    out = np.sqrt(sum(np.maximum(v, 0) ** 2 for v in q))
    return np.asarray(out + np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0) - np.float32(radius), np.float32)


def _tub(x: Array, y: Array, z: Array) -> Array:
    """Front end, sills and bed; `z` from the middle."""
    flare = np.zeros_like(x)
    for wheel in body.WHEELS:
        r = np.hypot(x - np.float32(wheel), y - np.float32(body.AXLE))
        flare += 0.028 * np.exp(-(((r - 0.40) / 0.07) ** 2))
    out = z - np.float32(0.862) - flare
    side = _join(out + 0.08 * (0.78 - y), out + 0.11 * (y - 0.78), 0.03)
    ends = np.maximum(x - 2.04 + 0.03 * (y - 0.8), 0.985 * (-x - 2.13) + 0.17 * (y - 0.6))
    top = _join(y - np.float32(RAIL), y - 0.10 * (x + 1.0) - np.float32(RAIL), 0.05)
    hull = _join(_join(side, ends, 0.09), top, 0.05)
    under = np.maximum(0.37 - y, 0.97 * (0.37 - y) + 0.24 * (x - 1.62))
    x0, x1, half, floor = BED
    bed = np.maximum(np.maximum(np.abs(x - (x0 + x1) / 2) - (x1 - x0) / 2, z - half), floor - y)
    return _join(np.maximum(hull, under), -bed, 0.02)


def _cab(x: Array, y: Array, z: Array) -> Array:
    rear = 0.99 * (x - 0.17) + 0.12 * (y - 1.1)
    front = -0.679 * (x + 1.06) + 0.734 * (y - 1.10)
    side = 0.965 * (z - 0.808) + 0.26 * (y - 1.10)
    roof = y - 1.605 + 0.05 * z * z
    return np.asarray(np.maximum(_join(_join(rear, front, 0.08), _join(side, roof, 0.13), 0.09), 1.04 - y))


def parts(x: Array, y: Array, z: Array) -> tuple[Array, ...]:
    """Distance to each part, negative inside; arrays of one shape, metres."""
    z = np.abs(z)
    p = (x, y, z)
    bent = (x + 0.05 * (z / 0.8) ** 4, y, z)
    arm = _box(p, (-0.80, 1.14, 0.86), (0.025, 0.02, 0.08), 0.015)
    mirror = np.minimum(_box(p, (-0.80, 1.205, 0.985), (0.05, 0.105, 0.085), 0.03), arm)
    rear, front = (np.hypot(x - np.float32(wheel), y - np.float32(body.AXLE)) for wheel in body.WHEELS)
    axle = np.maximum(rear - 0.05, z - 0.7)
    # The tyres' inner flanks, which `wheels` leaves out because a car hides them.
    inner = np.maximum(np.minimum(rear, front) - 0.315, np.abs(z - 0.70) - 0.09)
    return (
        _tub(x, y, z),
        _cab(x, y, z),
        _box(p, (body.WHEELS[0], BED[3], 0.68), (0.37, 0.15, 0.10), 0.05),
        _box(bent, (2.105, 0.515, 0.0), (0.075, 0.088, 0.815), 0.03),
        np.minimum(np.minimum(_box(p, (0.0, 0.36, 0.0), (1.9, 0.08, 0.5), 0.02), axle), inner),
        mirror,
    )


def _distance(p: Array) -> Array:
    """Distance of points (N, 3) to the pick-up."""
    first, *rest = parts(p[:, 0], p[:, 1], p[:, 2])
    for part in rest:
        first = np.minimum(first, part)
    return first


def part_at(p: Array) -> Bytes:
    """Which part is nearest to each point (N, 3)."""
    return np.asarray(np.argmin(np.stack(parts(p[:, 0], p[:, 1], p[:, 2])), 0), np.uint8)


def _follow(origin: Array, direction: Array, start: Array) -> Array:
    """Distance (N,) along unit rays (N, 3) to the pick-up from `start` (N,) on, infinite where it is missed: sphere tracing."""
    low, high = (np.array(side, np.float32) for side in zip(*EXTENT, strict=True))
    safe = np.where(np.abs(direction) < 1e-6, np.float32(1e-6), direction)
    a, b = (low - origin) / safe, (high - origin) / safe
    t, last = np.maximum(np.minimum(a, b).max(1), start), np.maximum(a, b).min(1)
    hit = np.full(len(direction), np.inf, np.float32)
    live = np.flatnonzero(t < last)
    for _ in range(_STEPS):
        if not len(live):
            break
        f = _distance(origin + t[live, None] * direction[live])
        there = f < _CLOSE
        hit[live[there]] = t[live[there]]
        live, f = live[~there], f[~there]
        t[live] += np.maximum(0.85 * f, _SHORTEST)
        live = live[t[live] < last[live]]
    return hit


def march(origin: Array, rays: Array) -> Array:
    """Distance (h, w) along unit rays (h, w, 3) to the pick-up, infinite where it is missed."""
    return body.from_coarse(_follow, origin, rays)


def normals(p: Array) -> Array:
    """Unit outward normals (N, 3) at points on the pick-up, by central differences."""
    e = np.eye(3, dtype=np.float32) * np.float32(0.0025)
    return unit(np.stack([_distance(p + e[k]) - _distance(p - e[k]) for k in range(3)], -1))


def half_width(x: Array, y: float) -> Array:
    """Half the width (N,) of tub and cab at the positions x along it, at one height; 0 beyond the ends."""
    z = np.arange(0, 0.96, 0.02, dtype=np.float32)
    across, along = np.meshgrid(z, x)
    up = np.full_like(across, y)
    inside = np.minimum(_tub(along, up, across), _cab(along, up, across)) < 0
    return np.asarray(np.where(inside, across, 0).max(1), np.float32)

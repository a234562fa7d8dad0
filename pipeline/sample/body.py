"""The car's body as a stack of horizontal slices, and where rays meet it.

At each height the outline seen from above is a superellipse, |u|^7 + |v|^3 = 1, between the profile's front and rear at that
height and the half width there. Flares over the wheels, a crease and a sill are added to the half width.
"""

from collections.abc import Callable

import cv2
import numpy as np

from pipeline.sample.fields import Array, bilinear, unit

WHEELS = (1.33, -1.27)  # x of the axles
AXLE, TYRE, ARCH = 0.325, 0.325, 0.372  # height of the axles, radius of the tyres and of the openings
FLOOR, ROOF, MIDDLE = 0.16, 1.453, -0.35
_STEP = 0.00025
# Height against the x of the front and of the rear of the centre profile, and against the half width.
_FRONT = (
    (0.16, 1.98), (0.20, 2.06), (0.30, 2.13), (0.42, 2.155), (0.55, 2.15), (0.64, 2.115), (0.70, 2.04), (0.75, 1.93), (0.80, 1.77),
    (0.85, 1.56), (0.90, 1.30), (0.935, 1.09), (0.955, 1.0), (1.05, 0.83), (1.15, 0.645), (1.25, 0.45), (1.33, 0.275), (1.38, 0.12),
    (1.41, -0.02), (1.432, -0.13), (1.447, -0.23), (1.453, -0.31),
)  # fmt: skip
_REAR = (
    (0.16, -1.82), (0.22, -1.95), (0.35, -2.03), (0.55, -2.05), (0.75, -2.02), (0.95, -1.95), (1.05, -1.87), (1.20, -1.70), (1.32, -1.52),
    (1.375, -1.38), (1.405, -1.12), (1.428, -0.85), (1.447, -0.52), (1.453, -0.39),
)  # fmt: skip
_HALF = (
    (0.16, 0.73), (0.20, 0.785), (0.27, 0.82), (0.40, 0.852), (0.55, 0.872), (0.68, 0.880), (0.78, 0.876), (0.86, 0.862), (0.92, 0.838),
    (0.955, 0.800), (0.99, 0.765), (1.10, 0.722), (1.22, 0.668), (1.32, 0.618), (1.37, 0.58), (1.41, 0.50), (1.435, 0.38), (1.447, 0.26),
    (1.453, 0.10),
)  # fmt: skip


def _table() -> Array:
    """(N, 3): front, rear and half width, one row a `_STEP` from the floor up, smoothed so that the body has no facets."""
    y = np.arange(FLOOR, ROOF + _STEP, _STEP)
    kernel = np.exp(-0.5 * (np.arange(-180, 181) / 56.0) ** 2)
    kernel /= kernel.sum()
    rows = []
    for points in (_FRONT, _REAR, _HALF):
        p = np.array(points)
        raw = np.interp(y, p[:, 0], p[:, 1])
        # Odd reflection at the ends keeps the slope there.
        padded = np.concatenate([2 * raw[0] - raw[180:0:-1], raw, 2 * raw[-1] - raw[-2:-182:-1]])
        rows.append(np.convolve(padded, kernel, "valid"))
    return np.stack(rows, 1).astype(np.float32)


_TABLE = _table()


def crease(x: Array) -> Array:
    """Height of the character line along the side."""
    return np.asarray(0.735 - 0.028 * x, np.float32)


def _relief(x: Array, y: Array) -> Array:
    """What is added to the half width, metres."""
    add = np.zeros_like(x)
    for wheel in WHEELS:
        r = np.hypot(x - np.float32(wheel), y - np.float32(AXLE))
        add += 0.026 * np.exp(-(((r - 0.385) / 0.075) ** 2))
    below = crease(x) - y
    scoop = np.exp(-(((below - 0.075) / 0.085) ** 2)) / (1 + np.exp(-np.clip(below / 0.007, -30, 30)))
    along = np.exp(-(((x - 0.05) / 1.15) ** 6))
    sill = np.exp(-(((y - 0.215) / 0.035) ** 2)) * np.exp(-((x / 0.95) ** 8))
    return np.asarray(add - 0.020 * scoop * along + 0.022 * sill, np.float32)


def implicit(x: Array, y: Array, z: Array) -> Array:
    """Negative inside the body, zero on it, growing outside, about in metres; arrays of one shape."""
    at = np.clip((y - FLOOR) / _STEP, 0, len(_TABLE) - 1.001)
    row = at.astype(np.int32)
    part = (at - row).astype(np.float32)[..., None]
    tab = _TABLE[row] * (1 - part) + _TABLE[row + 1] * part
    u = np.abs(x - MIDDLE) / np.where(x > MIDDLE, tab[..., 0] - MIDDLE, MIDDLE - tab[..., 1])
    v = np.abs(z) / (tab[..., 2] + _relief(x, y))
    u2 = u * u
    g = np.cbrt(u2 * u2 * u2 * u + v * v * v) - 1
    return np.asarray(np.maximum(np.maximum(g, y - ROOF), FLOOR - y), np.float32)


_LEFT, _DENSITY = -2.25, 200.0  # of the chart: metres, cells a metre


def _chart() -> Array:
    """(rows, columns, 3) over (y, x): what u and v are multiplied with, u's middle taken off; for marching, where speed counts."""
    x, y = np.meshgrid(np.arange(_LEFT, 2.35, 1 / _DENSITY), np.arange(FLOOR, ROOF, 1 / _DENSITY))
    row = np.minimum(((y - FLOOR) / _STEP).astype(np.int32), len(_TABLE) - 1)
    front, rear, half = (_TABLE[..., k][row] for k in range(3))
    u = np.abs(x - MIDDLE) / np.where(x > MIDDLE, front - MIDDLE, MIDDLE - rear)
    return np.asarray(np.stack([u, 1 / (half + _relief(x, y))], -1), np.float32)


_CHART = _chart()


def _roughly(x: Array, y: Array, z: Array) -> Array:
    """`implicit` from the chart, to about a millimetre."""
    found = bilinear(_CHART, (x - _LEFT) * _DENSITY, (y - FLOOR) * _DENSITY, cv2.BORDER_REPLICATE)
    u, v = found[:, 0], np.abs(z) * found[:, 1]
    u2 = u * u
    g = np.cbrt(u2 * u2 * u2 * u + v * v * v) - 1
    return np.asarray(np.maximum(np.maximum(g, y - ROOF), FLOOR - y))


def _enter(origin: Array, direction: Array) -> tuple[Array, Array]:
    """Where rays (N, 3) enter and leave the box around the body."""
    low = np.array([-2.07, FLOOR, -0.93], np.float32)
    high = np.array([2.18, ROOF, 0.93], np.float32)
    safe = np.where(np.abs(direction) < 1e-6, np.float32(1e-6), direction)
    a, b = (low - origin) / safe, (high - origin) / safe
    near, far = np.minimum(a, b), np.maximum(a, b)
    return np.maximum(np.maximum(near[:, 0], near[:, 1]), near[:, 2]), np.minimum(np.minimum(far[:, 0], far[:, 1]), far[:, 2])


def _march(origin: Array, direction: Array, start: Array) -> Array:
    """Distance (N,) along unit rays (N, 3) to the body from `start` (N,) on, infinite where it is missed or start is."""
    hit = np.full(len(direction), np.inf, np.float32)
    t, last = _enter(origin, direction)
    t = np.maximum(t, start)
    live = np.flatnonzero(t < last)
    t, last, d = t[live], last[live], direction[live]
    before = t
    for _ in range(110):
        p = origin + t[:, None] * d
        g = _roughly(p[:, 0], p[:, 1], p[:, 2])
        inside = g < 0
        hit[live[inside]] = _between(origin, d[inside], before[inside], t[inside])
        keep = ~inside & (t < last)
        before = t[keep]
        t = (t + np.clip(0.25 * g, 0.0025, 0.12))[keep]
        live, last, d = live[keep], last[keep], d[keep]
        if not len(live):
            break
    return hit


def _between(origin: Array, d: Array, low: Array, high: Array) -> Array:
    """Bisection of the step that went in."""
    for _ in range(7):
        middle = (low + high) / 2
        p = origin + middle[:, None] * d
        inside = _roughly(p[:, 0], p[:, 1], p[:, 2]) < 0
        high, low = np.where(inside, middle, high), np.where(inside, low, middle)
    return high


def march(origin: Array, rays: Array) -> Array:
    """Distance (h, w) along unit rays (h, w, 3) to the body, infinite where it is missed."""
    return from_coarse(_march, origin, rays)


def from_coarse(follow: Callable[[Array, Array, Array], Array], origin: Array, rays: Array) -> Array:
    """Distance (h, w) along rays (h, w, 3), where `follow` tells it for rays (N, 3) from starts (N,) on.

    A quarter of the rays is followed from the start; the others set out shortly before their nearest neighbour's end.
    """
    coarse = rays[::2, ::2]
    t = follow(origin, coarse.reshape(-1, 3), np.zeros(coarse.shape[0] * coarse.shape[1], np.float32)).reshape(coarse.shape[:2])
    finite = np.where(np.isfinite(t), t, np.float32(1e6))
    start = cv2.erode(finite, np.ones((5, 5), np.uint8)) - np.float32(0.04)
    start = np.repeat(np.repeat(start, 2, 0), 2, 1)[: rays.shape[0], : rays.shape[1]]
    return follow(origin, rays.reshape(-1, 3), start.ravel()).reshape(rays.shape[:2])


def normals(p: Array) -> Array:
    """Unit outward normals (N, 3) at points on the body, by central differences."""
    x, y, z = p[:, 0], p[:, 1], p[:, 2]
    e = np.float32(0.003)
    # One-sided at roof and floor, where the slices end.
    y = np.clip(y, FLOOR + 2 * e, ROOF - 2 * e)
    g = np.stack(
        [
            implicit(x + e, y, z) - implicit(x - e, y, z),
            implicit(x, y + e, z) - implicit(x, y - e, z),
            implicit(x, y, z + e) - implicit(x, y, z - e),
        ],
        -1,
    )
    return unit(g)


def half_width(x: Array, y: float) -> Array:
    """Half the body's width (N,) at the positions x along it, at one height; 0 beyond its ends."""
    row = _TABLE[min(int((y - FLOOR) / _STEP), len(_TABLE) - 1)]
    u = np.abs(x - MIDDLE) / np.where(x > MIDDLE, row[0] - MIDDLE, MIDDLE - row[1])
    return np.asarray(row[2] * np.cbrt(np.maximum(1 - u**7, 0)), np.float32)

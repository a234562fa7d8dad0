"""The car's picture: rays meet body, wheels and mirrors; each hit is shaded by what lies there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.sample import body
from pipeline.sample.decals import EMBLEM, PLATE, Decals
from pipeline.sample.fields import Array, Bytes, Index, dot, fractal, unit
from pipeline.sample.light import Light, lacquer, rubber
from pipeline.sample.look import Look
from pipeline.sample.skin import Skin, Spot, glazed, paint
from pipeline.sample.wheels import FACE, wheel

# What a pixel shows.
NOTHING, BODY, NEAR_MIRROR, FAR_MIRROR, PLATE_ID, EMBLEM_ID, LETTERING, PLATE_TEXT, NUMBER, GLASS = range(10)
_MIRROR, _MIRROR_RADII = (0.56, 1.045, 0.975), (0.115, 0.078, 0.125)
_STALK, _STALK_RADII = (0.60, 0.985, 0.84), (0.055, 0.026, 0.11)
DARK = 0.004  # inside the wheel openings


@dataclass(frozen=True, slots=True)
class Studio:
    """What does not change from ray to ray: look, light, and where the camera stands (3,)."""

    look: Look
    light: Light
    origin: Array


def flakes(look: Look) -> Array:
    """The grain of a metallic paint, a texture that repeats."""
    return fractal(look.rng(2), 512, 512, 170, 2, 0.8)


def _names(decals: Decals, at: Spot) -> Bytes:
    """What each body hit shows."""
    x, y, z = at.p[:, 0], at.p[:, 1], at.p[:, 2]
    ids = np.where(glazed(decals, at) > 0.5, GLASS, BODY).astype(np.uint8)
    ids[(z > 0.3) & (decals.lettering.at(x, y) > 0.5)] = LETTERING
    if decals.livery:
        ids[(z > 0.3) & (decals.livery.name.at(x, y) > 0.5)] = LETTERING
        ids[(z > 0.3) & (decals.livery.number.at(x, y) > 0.5)] = NUMBER
    nose = x > 1.6
    ids[nose & (z > PLATE[0]) & (z < PLATE[2]) & (y > PLATE[1]) & (y < PLATE[3])] = PLATE_ID
    ids[nose & (decals.characters.at(z, y) > 0.5)] = PLATE_TEXT
    ids[nose & (np.hypot(z - EMBLEM[0], y - EMBLEM[1]) < EMBLEM[2])] = EMBLEM_ID
    return ids


def _ellipsoid(origin: Array, d: Array, center: tuple[float, float, float], radii: tuple[float, float, float]) -> tuple[Array, Array]:
    """Distance (inf where missed) and unit normals of an axis-aligned ellipsoid."""
    r = np.array(radii, np.float32)
    o, v = (origin - np.array(center, np.float32)) / r, d / r
    a, b, c = dot(v, v), v @ o, float(o @ o) - 1
    root = b * b - a * c
    t = (-b - np.sqrt(np.maximum(root, 0))) / a
    return np.where(root > 0, t, np.inf), unit((o + t[:, None] * v) / r)


def _mirror(s: Studio, d: Array, side: float) -> tuple[Array, Array]:
    """One side mirror, a dome cut off at the back, on its stalk: distance and colour."""
    x, y, z = _MIRROR
    t, n = _ellipsoid(s.origin, d, (x, y, side * z), _MIRROR_RADII)
    reach = np.where(np.isfinite(t), t, 0)
    p = s.origin + reach[:, None] * d
    t = np.where(p[:, 0] > x - 0.02, t, np.inf)
    shell = lacquer(s.light, s.look.paint, d, n, n, np.zeros_like(reach), np.ones_like(reach))
    # A black foot, as most mirrors have.
    foot = (p[:, 1] < y - 0.040)[:, None]
    shell = np.where(foot, rubber(s.light, d, n, 0.02, 0.6), shell)
    x, y, z = _STALK
    t2, n2 = _ellipsoid(s.origin, d, (x, y, side * z), _STALK_RADII)
    return np.minimum(t, t2), np.where((t2 < t)[:, None], rubber(s.light, d, n2, 0.02, 0.6), shell)


def openings(p: Array, radius: float = body.ARCH) -> NDArray[np.bool_]:
    """Which body hits (N, 3) are cut out for the wheels."""
    out = np.zeros(len(p), bool)
    for x in body.WHEELS:
        out |= np.hypot(p[:, 0] - x, p[:, 1] - body.AXLE) < radius
    return out & (np.abs(p[:, 2]) > 0.45)


def _near(origin: Array, d: Array, center: tuple[float, float, float], radius: float) -> Index:
    """Which rays (N, 3) pass a point closer than `radius`."""
    to = np.array(center, np.float32) - origin
    along = d @ to
    return np.flatnonzero(float(to @ to) - along * along < radius * radius)


def put_wheels(s: Studio, d: Array, t: Array, opening: NDArray[np.bool_], color: Array, ids: Bytes) -> None:
    """Adds the wheels, in place, to what rays `d` (N, 3) met at distances `t` (N,), some of them in an `opening` (N,)."""
    for x in body.WHEELS:
        for side in (1.0, -1.0):
            some = _near(s.origin, d, (x, body.AXLE, side * (FACE - 0.1)), 0.36)
            tw, cw = wheel(s.light, s.look, s.origin, d[some], x, side)
            # Seen through an opening, the near wheel lies behind the body's surface.
            front = np.isfinite(tw) & (tw < t[some] + 0.6 * (opening[some] & (side > 0)))
            some = some[front]
            color[some], ids[some], t[some], opening[some] = cw[front] * (1.0 if side > 0 else 0.3), BODY, tw[front], False


def render(s: Studio, skin: Skin, rays: Array) -> tuple[Array, Bytes]:
    """Linear colours (h, w, 3) and ids (h, w) of the car for unit rays (h, w, 3); id 0 where the car is missed."""
    d = rays.reshape(-1, 3)
    t = body.march(s.origin, rays).ravel()
    color, ids, opening = np.full_like(d, DARK), np.zeros(len(d), np.uint8), np.zeros(len(d), bool)
    hit = np.flatnonzero(np.isfinite(t))
    p = s.origin + t[hit, None] * d[hit]
    opening[hit] = openings(p)
    ids[hit] = BODY
    solid = ~opening[hit]
    if solid.any():
        hit, p = hit[solid], p[solid]
        at = Spot(p, d[hit], body.normals(p))
        color[hit], ids[hit] = paint(skin, at), _names(skin.decals, at)
    put_wheels(s, d, t, opening, color, ids)
    for side, name in ((-1.0, FAR_MIRROR), (1.0, NEAR_MIRROR)):
        some = _near(s.origin, d, (_MIRROR[0], _MIRROR[1] - 0.02, side * 0.9), 0.24)
        tm, cm = _mirror(s, d[some], side)
        front = tm < t[some]
        some = some[front]
        color[some], ids[some], t[some] = cm[front], name, tm[front]
    return color.reshape(rays.shape), ids.reshape(rays.shape[:2])

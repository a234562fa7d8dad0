"""The car's picture: rays meet body, wheels and mirrors; each hit is shaded by what lies there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.sample import body
from pipeline.sample.camera import Camera
from pipeline.sample.decals import EMBLEM, PLATE, Decals
from pipeline.sample.fields import fractal, mix, reflect, schlick, smoothstep, tile, dot, unit
from pipeline.sample.light import Light, lacquer, metal, rgb, rubber
from pipeline.sample.look import Look
from pipeline.sample.wheels import FACE, wheel

Array = NDArray[np.float32]
# What a pixel shows.
NOTHING, BODY, NEAR_MIRROR, FAR_MIRROR, PLATE_ID, EMBLEM_ID, LETTERING, PLATE_TEXT = range(8)
_MIRROR = (0.60, 1.045, 0.965)
_MIRROR_RADII = (0.085, 0.075, 0.115)
_STALK = (0.63, 0.985, 0.84)
_STALK_RADII = (0.055, 0.026, 0.11)


@dataclass(frozen=True, slots=True)
class Studio:
    """All that shading needs."""

    look: Look
    light: Light
    decals: Decals
    flakes: Array
    origin: Array


def studio(look: Look, light: Light, decals: Decals, camera: Camera) -> Studio:
    """The things that do not change from ray to ray."""
    flakes = fractal(look.rng(2), 512, 512, 170, 2, 0.8)
    return Studio(look, light, decals, flakes, camera.origin.astype(np.float32))


def _occlusion(p: Array, n: Array) -> Array:
    """Share of the light that reaches a point of the body: less under the sills and round the openings."""
    low = smoothstep(0.05, 0.42, p[..., 1])
    out = 0.45 + 0.55 * np.maximum(low, smoothstep(0.0, 0.6, n[..., 1]))
    for x in body.WHEELS:
        r = np.hypot(p[..., 0] - x, p[..., 1] - body.AXLE)
        out = out * (1 - 0.35 * smoothstep(body.ARCH + 0.05, body.ARCH, r) * smoothstep(0.4, 0.6, np.abs(p[..., 2])))
    return out.astype(np.float32)


def _glass(s: Studio, p: Array, d: Array, n: Array, side: bool) -> Array:
    """A pane: reflection on top of a tinted look inside, with seats and the windows of the far side."""
    behind = np.zeros_like(p) + rgb(0.010, 0.011, 0.012) + 0.018 * s.light.ambient(n)
    for z, shade in ((-0.70, 0.0), (-0.36, 0.030), (0.36, 0.042)):
        t = (z - p[..., 2]) / np.where(np.abs(d[..., 2]) < 1e-4, -1e-4, d[..., 2])
        x, y = p[..., 0] + t * d[..., 0], p[..., 1] + t * d[..., 1]
        ahead = (t > 0).astype(np.float32)
        if z == -0.70:
            pane = s.decals.glass.at(x, y) * ahead
            behind = mix(behind, s.light.around(d, 0.08) * 0.50, pane)
        else:
            seat = s.decals.seats.at(x, y) * ahead * (y < 1.34)
            cloth = shade * (0.5 + 1.2 * smoothstep(0.7, 1.3, y.astype(np.float32)))
            behind = mix(behind, cloth[..., None] * rgb(1.0, 0.97, 0.93), seat)
    if not side:
        # The dashboard as a plane below the screen.
        t = (0.965 - p[..., 1]) / np.where(d[..., 1] > -1e-4, -1e-4, d[..., 1])
        x = p[..., 0] + t * d[..., 0]
        dash = smoothstep(0.40, 0.48, x.astype(np.float32)) * (np.abs(p[..., 2] + t * d[..., 2]) < 0.68) * (t < 0.9)
        behind = mix(behind, np.zeros_like(p) + 0.03 * s.light.ambient(n), dash.astype(np.float32))
    mirror = reflect(d, n)
    f = 1.35 * schlick(-dot(d, n), 0.05)
    shine = s.light.around(mirror, 0.02) + 10 * s.light.highlight(mirror, 1500.0)[..., None] * s.light.sunlight
    return (behind * rgb(0.62, 0.70, 0.66) + np.clip(f, 0, 1)[..., None] * shine).astype(np.float32)


def _bumped(s: Studio, p: Array, n: Array, side: Array) -> Array:
    """Normals with the gaps' and handles' slopes."""
    e = 0.0025
    x, y = p[..., 0], p[..., 1]
    relief = s.decals.relief
    gx, gy = relief.at(x + e, y) - relief.at(x - e, y), relief.at(x, y + e) - relief.at(x, y - e)
    bump = np.stack([gx * side, gy * side, np.zeros_like(gx)], -1)
    return unit(n + 0.22 * bump.astype(np.float32))


def _lamp(s: Studio, p: Array, d: Array, n: Array) -> Array:
    """A headlight: chrome bowl, lenses, a bright strip, all under a clear cover."""
    z, y = p[..., 2], p[..., 1]
    beam = s.decals.beam.at(z, y)
    wave = np.stack([np.full_like(z, 0.8), 0.6 * np.sin(y * 120), 0.7 * np.sin(z * 70)], -1)
    bowl = metal(s.light, d, unit(wave.astype(np.float32)), 0.16, 0.3)
    inside = mix(bowl, metal(s.light, d, unit(n + rgb(0.0, 0.35, 0.0)), 0.95, 0.2) + 0.25, smoothstep(0.2, 0.95, beam))
    mirror = reflect(d, n)
    f = schlick(-dot(d, n), 0.05)[..., None]
    shine = s.light.around(mirror, 0.02) + 8 * s.light.highlight(mirror, 900.0)[..., None] * s.light.sunlight
    return (inside * 0.85 + f * shine).astype(np.float32)


def _side_layers(s: Studio, p: Array, d: Array, n: Array, color: Array, side: Array) -> Array:
    """Gaps, trim, windows, handles and lettering on the flank; `side` is where the flank is (0..1)."""
    k, x, y = s.decals, p[..., 0], p[..., 1]
    lit = s.light.diffuse(n)
    letters = k.lettering.at(x, y) * side
    ink = rgb(0.75, 0.75, 0.75) if sum(s.look.paint.base) < 1.2 else rgb(0.02, 0.02, 0.025)
    gloss = schlick(-dot(d, n), 0.04)[..., None] * s.light.around(reflect(d, n), 0.1)
    color = mix(color, ink * lit * 0.8 + gloss, letters)
    color = mix(color, rubber(s.light, d, n, 0.020, 0.8), k.plastic.at(x, y) * side)
    color = mix(color, rubber(s.light, d, n, 0.012, 0.6), k.surround.at(x, y) * side)
    color = mix(color, _glass(s, p, d, n, True), k.glass.at(x, y) * side)
    gaps = k.gaps.at(x, y) * side
    color = color * (1 - 0.90 * gaps)[..., None]
    handle = k.metal.at(x, y) * side
    bend = unit(n + 0.9 * np.stack([np.zeros_like(x), np.sin((y - 0.858) * 90) * (y < 0.9), np.zeros_like(x)], -1).astype(np.float32))
    shiny = metal(s.light, d, bend, 0.60, 0.1) if s.look.trim == "chrome" else lacquer(s.light, s.look, d, bend, bend, x * 0, x * 0 + 1)
    under = smoothstep(0.03, 0.0, np.abs(y - 0.825)) * (np.abs(np.abs(x + 0.61) - 0.42) < 0.10) * side
    color = color * (1 - 0.35 * under)[..., None]
    return mix(color, shiny, handle)


def _front_layers(s: Studio, p: Array, d: Array, n: Array, color: Array, front: Array, upper: Array) -> Array:
    """Screen, grille, lamps, plate and emblem; `front` and `upper` are where the nose and the screen may be (0..1)."""
    k, z, y = s.decals, p[..., 2], p[..., 1]
    color = mix(color, rubber(s.light, d, n, 0.006, 0.9), k.frit.at(z, y) * upper)
    color = mix(color, _glass(s, p, d, n, False), k.screen.at(z, y) * upper)
    color = color * (1 - 0.88 * k.front_gaps.at(z, y) * front)[..., None]
    hole = k.grille.at(z, y) * front
    slats = k.slats.at(z, y) * front
    deep = 0.018 * s.light.ambient(n) * (0.3 + slats)[..., None] + slats[..., None] * rubber(
        s.light, d, unit(n + rgb(0, 0.5, 0)), 0.03, 0.9
    )
    color = mix(color, deep.astype(np.float32), hole)
    color = mix(color, _lamp(s, p, d, n), k.lamp.at(z, y) * front)
    tilt = np.stack([np.zeros_like(y), np.sin(y * 150), np.sin(z * 120)], -1).astype(np.float32)
    bright = metal(s.light, d, unit(n + 0.6 * tilt), 0.7 if s.look.trim == "chrome" else 0.06, 0.1)
    color = mix(color, bright, k.chrome.at(z, y) * front)
    mark = k.emblem.at(z, y) * front
    badge = metal(s.light, d, unit(n + 0.5 * tilt), 0.85, 0.15) + 0.12
    navy = rgb(0.010, 0.018, 0.05) + 0.05 * s.light.around(reflect(d, n), 0.05)
    color = mix(color, mix(navy, badge, smoothstep(0.35, 0.7, mark)), smoothstep(0.05, 0.25, mark))
    board = k.plate.at(z, y) * front
    flat = unit(n * 0.2 + rgb(1.0, 0.05, 0.0))
    sheet = rgb(0.70, 0.70, 0.66) * s.light.diffuse(flat) * 0.9
    sheet = mix(sheet, sheet * 0.03, smoothstep(0.35, 0.65, k.characters.at(z, y)))
    color = mix(color, rubber(s.light, d, n, 0.02, 0.5), smoothstep(0.1, 0.5, board))
    return mix(color, sheet.astype(np.float32), smoothstep(0.7, 0.95, board))


def _paint(s: Studio, p: Array, d: Array) -> Array:
    """Colours (N, 3) of body hits at p (N, 3) seen along d (N, 3)."""
    n = body.normals(p)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    side = smoothstep(0.25, 0.45, n[..., 2]) * (z > 0.3)
    front = smoothstep(0.10, 0.22, n[..., 0]) * (x > 1.2)
    upper = smoothstep(0.22, 0.34, n[..., 0]) * (y > 0.93) * (x < 1.12)
    bumped = _bumped(s, p, n, side)
    grain = tile(s.flakes, x + 0.3 * z, y + 0.5 * z, 420.0)
    occlusion = _occlusion(p, n)
    peel = 0.0025 * np.stack([np.zeros_like(x), tile(s.flakes, x + z, y, 40.0), np.zeros_like(x)], -1).astype(np.float32)
    color = lacquer(s.light, s.look, d, bumped, unit(bumped + peel), grain, occlusion)
    color = _side_layers(s, p, d, n, color, (side * (1 - upper * (x > 0.2))).astype(np.float32))
    return _front_layers(s, p, d, n, color, front, upper)


def _ids(s: Studio, p: Array) -> NDArray[np.uint8]:
    """What each body hit (N, 3) shows."""
    x, y, z = p[:, 0], p[:, 1], p[:, 2]
    ids = np.full(len(p), BODY, np.uint8)
    ids[(z > 0.3) & (s.decals.lettering.at(x, y) > 0.5)] = LETTERING
    nose = x > 1.6
    ids[nose & (z > PLATE[0]) & (z < PLATE[2]) & (y > PLATE[1]) & (y < PLATE[3])] = PLATE_ID
    ids[nose & (s.decals.characters.at(z, y) > 0.5)] = PLATE_TEXT
    ids[nose & (np.hypot(z - EMBLEM[0], y - EMBLEM[1]) < EMBLEM[2])] = EMBLEM_ID
    return ids


def _ellipsoid(origin: Array, d: Array, center: tuple[float, float, float], radii: tuple[float, float, float]) -> tuple[Array, Array]:
    """Distance (inf where missed) and unit normals of an axis-aligned ellipsoid."""
    r = np.array(radii, np.float32)
    o, v = (origin - np.array(center, np.float32)) / r, d / r
    a, b, c = dot(v, v), v @ o, float(o @ o) - 1
    root = b * b - a * c
    t = (-b - np.sqrt(np.maximum(root, 0))) / a
    q = o + t[..., None] * v
    return np.where(root > 0, t, np.inf).astype(np.float32), unit((q / r).astype(np.float32))


def _mirror(s: Studio, d: Array, side: float) -> tuple[Array, Array]:
    """One side mirror: distance and colour."""
    x, y, z = _MIRROR
    t, n = _ellipsoid(s.origin, d, (x, y, side * z), _MIRROR_RADII)
    shell = lacquer(s.light, s.look, d, n, n, np.zeros_like(t), np.ones_like(t))
    p_y = s.origin[1] + np.where(np.isfinite(t), t, 0) * d[..., 1]
    color = mix(rubber(s.light, d, n, 0.02, 0.6), shell, smoothstep(y - 0.045, y - 0.040, p_y.astype(np.float32)))
    x, y, z = _STALK
    t2, n2 = _ellipsoid(s.origin, d, (x, y, side * z), _STALK_RADII)
    stalk = rubber(s.light, d, n2, 0.02, 0.6)
    return np.minimum(t, t2), np.where((t2 < t)[..., None], stalk, color)


def _body_band(s: Studio, d: Array) -> tuple[Array, Array, NDArray[np.uint8], NDArray[np.bool_]]:
    """Distance, colour, ids and wheel openings of the body for rays (h, w, 3)."""
    flat = d.reshape(-1, 3)
    t = body.march(s.origin, flat)
    hit = np.flatnonzero(np.isfinite(t))
    p = s.origin + t[hit, None] * flat[hit]
    color = np.zeros_like(flat)
    ids = np.zeros(len(flat), np.uint8)
    opening = np.zeros(len(flat), bool)
    if len(hit):
        color[hit] = _paint(s, p, flat[hit])
        ids[hit] = _ids(s, p)
        for x in body.WHEELS:
            inside = (np.hypot(p[:, 0] - x, p[:, 1] - body.AXLE) < body.ARCH) & (np.abs(p[:, 2]) > 0.45)
            opening[hit] |= inside
        color[opening] = 0.004
    shape = d.shape[:2]
    return t.reshape(shape), color.reshape(d.shape), ids.reshape(shape), opening.reshape(shape)


def render(s: Studio, d: Array) -> tuple[Array, NDArray[np.uint8]]:
    """Linear colours (h, w, 3) and ids (h, w) of the car for rays d (h, w, 3); id 0 where the car is missed."""
    t, color, ids, opening = _body_band(s, d)
    for x in body.WHEELS:
        for side in (1.0, -1.0):
            tw, cw = wheel(s.light, s.look, s.origin, d, x, side)
            # Seen through an opening, the wheel lies behind the body's surface.
            near = np.isfinite(tw) & ((tw < t) | (opening & (tw < t + (0.6 if side > 0 else 0.0))))
            shade = 1.0 if side > 0 else 0.3
            color = np.where(near[..., None], cw * shade, color)
            ids = np.where(near, BODY, ids).astype(np.uint8)
            t = np.where(near, tw, t)
            opening = opening & ~near
    for side, name in ((-1.0, FAR_MIRROR), (1.0, NEAR_MIRROR)):
        tm, cm = _mirror(s, d, side)
        near = tm < t
        color, ids, t = np.where(near[..., None], cm, color), np.where(near, name, ids).astype(np.uint8), np.where(near, tm, t)
    return color.astype(np.float32), ids


__all__ = [
    "BODY",
    "EMBLEM_ID",
    "FACE",
    "FAR_MIRROR",
    "LETTERING",
    "NEAR_MIRROR",
    "NOTHING",
    "PLATE_ID",
    "PLATE_TEXT",
    "Studio",
    "render",
    "studio",
]

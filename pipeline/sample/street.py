"""Everything but the car: sky, houses, trees, pavement, road, and the shadow that the car throws."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.sample import shadow, trees
from pipeline.sample.camera import Camera
from pipeline.sample.fields import Array, Sheet, fractal, mix, smoothstep, tile
from pipeline.sample.form import form
from pipeline.sample.light import Light, rgb
from pipeline.sample.look import Look

HOUSES, TREES, KERB, KERB_HEIGHT = -6.2, -4.3, -1.75, 0.12
FAR = 200.0  # the distance given to the sky, metres


_BAND = 96  # rows rendered at a time, to keep the memory low


@dataclass(frozen=True, slots=True)
class Street:
    """What is drawn once: the row of houses, the trees and their shade, the car's shadow, the ground's textures."""

    look: Look
    light: Light
    row: Sheet
    planting: Sheet
    shade: Sheet
    cast: Sheet
    under: Sheet
    grain: Array
    broad: Array
    concrete: Array
    slabs: Array


def prepare(look: Look, light: Light, row: Sheet) -> Street:
    """The street of one scene; `row` is the sheet of houses."""
    planting = trees.planting(look, light.sun)
    soft = np.asarray(cv2.GaussianBlur(planting.pixels[..., 3], (0, 0), 3.0), np.uint8)
    shade = Sheet(soft, planting.left, planting.top, planting.density)
    cast, under = shadow.shadow_map(light, form(look))
    road, path = look.rng(5), look.rng(6)
    return Street(
        look,
        light,
        row,
        planting,
        shade,
        cast,
        under,
        grain=fractal(road, 1024, 1024, 300, 3, 0.9),
        broad=fractal(road, 512, 512, 6, 6, 0.6),
        concrete=fractal(path, 512, 512, 60, 4, 0.7),
        slabs=path.uniform(0.86, 1.12, (64, 64)).astype(np.float32),
    )


def _linear(sheet: Array) -> Array:
    """sRGB 0..1 to linear light, a gamma of 2.2."""
    return np.power(np.maximum(sheet, 0), 2.2).astype(np.float32)


def _plane(origin: Array, d: Array, axis: int, at: float) -> tuple[Array, Array]:
    """Distance (inf where behind) and the points where rays meet the plane coordinate[axis] = at."""
    slope = d[..., axis]
    t = (at - origin[axis]) / np.where(np.abs(slope) < 1e-5, 1e-5, slope)
    t = np.where(t > 0, t, np.inf).astype(np.float32)
    return t, (origin + np.where(np.isfinite(t), t, 0)[..., None] * d).astype(np.float32)


def _asphalt(s: Street, p: Array, t: Array) -> Array:
    """The road's albedo-lit colour before shadows, with grains that fade with distance, patches, cracks and a line."""
    grain, broad = s.grain, s.broad
    x, z = p[..., 0], p[..., 2]
    near = smoothstep(16.0, 4.0, t)
    fine = tile(grain, x, z, 260.0) * near + 0.5 * tile(grain, x + 3, z, 60.0)
    stains = tile(broad, x, z, 38.0)
    tone = 0.155 * (1 + 0.30 * fine + 0.16 * stains)
    crack = np.abs(tile(broad, x + 5, z + 9, 70.0) - 0.1)
    tone = tone * (1 - 0.35 * smoothstep(0.012, 0.003, crack) * smoothstep(0.15, 0.4, tile(broad, x, z + 4, 20.0)) * near)
    patch = smoothstep(0.02, 0.0, np.maximum(np.abs(x + 1.0) - 1.7, np.abs(z - 3.0) - 0.55)) * (s.look.seed % 3 == 0)
    tone = tone * (1 - 0.28 * patch)
    color = tone[..., None] * rgb(1.0, 0.985, 0.965)
    wear = 0.25 + 0.75 * smoothstep(-0.9, -0.1, 0.45 * fine + stains)
    line = smoothstep(0.065, 0.055, np.abs(z - 1.95)) * (np.mod(x + 1.2, 5.0) < 3.4) * wear
    return mix(color, rgb(0.62, 0.62, 0.59) * (1 + 0.1 * fine)[..., None], line.astype(np.float32))


def _pavement(s: Street, p: Array) -> Array:
    """Concrete slabs with joints, each of its own tone."""
    x, z = p[..., 0], p[..., 2]
    slab = s.slabs[np.floor(z / 0.6).astype(np.int32) % 64, np.floor(x / 0.9).astype(np.int32) % 64]
    joint = np.minimum(np.abs(np.mod(x, 0.9) - 0.45), np.abs(np.mod(z, 0.6) - 0.30) + 0.15)
    tone = 0.30 * slab * (1 + 0.15 * tile(s.concrete, x, z, 60.0)) * (1 - 0.4 * smoothstep(0.425, 0.447, joint))
    kerb = z > KERB - 0.16
    tone = np.where(kerb, 0.36 * (1 + 0.12 * tile(s.concrete, x, z, 90.0)) * (1 - 0.5 * smoothstep(0.03, 0.01, np.mod(x, 1.0))), tone)
    return (tone[..., None] * rgb(1.0, 0.97, 0.92)).astype(np.float32)


def _ground(s: Street, origin: Array, d: Array) -> tuple[Array, Array]:
    """Road, kerb and pavement, lit and shadowed: colour (h, w, 3) and distance, inf above the horizon."""
    light = s.light
    t, p = _plane(origin, d, 1, 0.0)
    color = _asphalt(s, p, t)
    n = np.zeros_like(d) + rgb(0, 1, 0)
    t_top, top = _plane(origin, d, 1, KERB_HEIGHT)
    t_face, face = _plane(origin, d, 2, KERB)
    on_face = (face[..., 1] < KERB_HEIGHT) & (face[..., 1] >= 0) & np.isfinite(t_face)
    on_top = (top[..., 2] < KERB) & np.isfinite(t_top)
    gutter = smoothstep(0.30, 0.0, p[..., 2] - KERB)
    color = color * (1 - 0.25 * gutter)[..., None]
    color = np.where(on_top[..., None], _pavement(s, top), color)
    color = np.where(on_face[..., None], 0.30 * rgb(1.0, 0.97, 0.93), color)
    n = np.where((on_face & ~on_top)[..., None], rgb(0, 0, 1), n)
    p = np.where(on_top[..., None], top, np.where(on_face[..., None], face, p))
    t = np.where(on_top, t_top, np.where(on_face, t_face, t))
    # A point at height y is shadowed as the ground point behind it along the sun's ray.
    gx = p[..., 0] - p[..., 1] * light.sun[0] / light.sun[1]
    gz = p[..., 2] - p[..., 1] * light.sun[2] / light.sun[1]
    sun = 1 - s.cast.at(gx, -gz)
    sky = 1 - 0.93 * s.under.at(p[..., 0], -p[..., 2])
    direct = np.clip(n @ light.sun, 0, 1) * sun
    lit = direct[..., None] * light.sunlight + light.ambient(n) * (sky * (0.75 + 0.25 * sun))[..., None]
    return (color * lit).astype(np.float32), t.astype(np.float32)


def _tree_shade(s: Street, p: Array) -> Array:
    """1 where the sun reaches points behind the row of trees, less under the leaves; the sun stands on the camera's side."""
    sun = s.light.sun
    reach = np.maximum(TREES - p[..., 2], 0) / sun[2]
    return 1 - 0.85 * s.shade.at(p[..., 0] + reach * sun[0], p[..., 1] + reach * sun[1] - KERB_HEIGHT)


def _standing(sheet: Sheet, origin: Array, d: Array, z: float, base: float) -> tuple[Array, Array, Array]:
    """An upright sheet at depth z: linear colour, coverage and distance."""
    t, p = _plane(origin, d, 2, z)
    found = sheet.at(p[..., 0], p[..., 1] - base)
    cover = np.where(np.isfinite(t), found[..., 3], 0)
    color = _linear(found[..., :3] / np.maximum(found[..., 3:], 1e-3))
    return color, cover.astype(np.float32), t


def _band(s: Street, origin: Array, d: Array) -> tuple[Array, Array]:
    """Colour (h, w, 3) and distance (h, w) for rays (h, w, 3), from the sky forward."""
    color = s.light.sky(d)
    depth = np.full(color.shape[:2], FAR, np.float32)
    wall, cover, t = _standing(s.row, origin, d, HOUSES, KERB_HEIGHT)
    _, p = _plane(origin, d, 2, HOUSES)
    front = 0.80 * wall * s.light.diffuse(np.zeros_like(d) + rgb(0, 0, 1), 0.95 * _tree_shade(s, p))
    color, depth = mix(color, front, cover), np.where(cover > 0.5, np.minimum(t, FAR), depth)
    ground, t = _ground(s, origin, d)
    nearer = t < depth
    color, depth = np.where(nearer[..., None], ground, color), np.where(nearer, t, depth)
    leaves, cover, t = _standing(s.planting, origin, d, TREES, KERB_HEIGHT)
    color = mix(color, 0.75 * leaves * (s.light.sunlight * 0.5 + 0.75), cover)
    return color, np.where(cover > 0.5, np.minimum(t, FAR), depth)


def render(s: Street, camera: Camera) -> tuple[Array, Array]:
    """The street without the car: linear colour (H, W, 3) and distance (H, W) in metres, `FAR` for the sky; float32."""
    color = np.empty((camera.height, camera.width, 3), np.float32)
    depth = np.empty((camera.height, camera.width), np.float32)
    for top in range(0, camera.height, _BAND):
        low = min(top + _BAND, camera.height)
        rays = camera.rays(0, top, camera.width, low, 1)
        color[top:low], depth[top:low] = _band(s, camera.origin.astype(np.float32), rays)
    return color, depth

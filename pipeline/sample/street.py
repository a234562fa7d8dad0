"""Everything but the car: sky, houses, trees, pavement, road, and the shadow that the car throws."""

import cv2
import numpy as np

from pipeline.sample import body
from pipeline.sample.camera import Camera
from pipeline.sample.fields import Array, Bytes, Sheet, fractal, mix, smoothstep, tile
from pipeline.sample.houses import sign_box
from pipeline.sample.light import Light, rgb
from pipeline.sample.look import Look

HOUSES, TREES, KERB, KERB_HEIGHT = -6.2, -4.3, -1.75, 0.12
_GRID, _HALF = 60.0, 5.0  # the shadow map: pixels a metre, half its side


def _linear(sheet: Array) -> Array:
    """sRGB 0..1 to linear light, a gamma of 2.2."""
    return np.power(np.maximum(sheet, 0), 2.2).astype(np.float32)


def _crown(picture: Bytes, rng: np.random.Generator, cx: float, cy: float, radius: float, density: float, sun: Array) -> None:
    """A tree's crown: thousands of leaf dabs in clusters, lit from the sun's side, the far ones first."""
    clusters = rng.normal(0, 0.46, (70, 3)) * radius * [1.15, 0.85, 1.0]
    clusters = clusters[np.argsort(clusters[:, 2])]
    for c in clusters:
        size = rng.uniform(0.20, 0.36) * radius
        dabs = rng.normal(0, 0.5, (150, 3)) * size
        light = (dabs @ sun) / size * 0.36 + (c @ sun) / radius * 0.30 + 0.42 + rng.normal(0, 0.10, 150)
        hue = rng.uniform(-6, 10)
        for (dx, dy, _), lum in zip(dabs[np.argsort(dabs[:, 2])], light, strict=True):
            v = float(np.clip(lum, 0.10, 1.15))
            color = (int(40 + 98 * v + hue), int(52 + 112 * v), int(24 + 44 * v), 255)
            at = (round((c[0] + dx + cx) * density), round((picture.shape[0] / density - (c[1] + dy + cy)) * density))
            axes = (max(1, round(rng.uniform(0.03, 0.075) * density)), max(1, round(rng.uniform(0.015, 0.035) * density)))
            cv2.ellipse(picture, at, axes, float(rng.uniform(0, 180)), 0, 360, color, -1)


def _planting(look: Look, sun: Array) -> Sheet:
    """Street trees, a lamp post and a hedge as a sheet (H, W, 4), left -24, right 8, 8 m high."""
    rng = look.rng(4)
    density, left, right, high = 48.0, -26.0, 8.0, 8.0
    picture: Bytes = np.zeros((round(high * density), round((right - left) * density), 4), np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round((x - left) * density), round((high - y) * density)

    post = rng.uniform(-5.2, -4.0)
    cv2.line(picture, at(post, 0), at(post, 7.0), (62, 64, 66, 255), 5, cv2.LINE_AA)
    cv2.line(picture, at(post, 0), at(post, 1.0), (52, 54, 56, 255), 9, cv2.LINE_AA)
    cv2.ellipse(picture, at(post + 0.8, 6.9), (38, 14), 0, 180, 360, (62, 64, 66, 255), 4, cv2.LINE_AA)
    x = left + float(rng.uniform(0, 4))
    while x < right:
        if abs(x - post) > 1.8 and not sign_box()[0] - 1.0 < x < sign_box()[2] + 2.2:
            lean = float(rng.normal(0, 0.12))
            cv2.line(picture, at(x, 0), at(x + lean, 3.6), (74, 62, 52, 255), 11, cv2.LINE_AA)
            cv2.line(picture, at(x - 0.05, 0), at(x + lean - 0.05, 3.6), (104, 90, 74, 255), 4, cv2.LINE_AA)
            _crown(picture, rng, x + lean - left, 4.9, float(rng.uniform(1.2, 1.7)), density, sun)
        x += float(rng.uniform(4.2, 7.5))
    return Sheet(picture, left, high, density)


def _shadow_map(light: Light) -> tuple[Sheet, Sheet]:
    """On the ground (x, -z as 'up'): what the sun does not reach (0..1), and how much of the sky the car covers (0..1)."""
    side = round(2 * _HALF * _GRID)
    cast, under = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)

    def fill(picture: Bytes, x: Array, z: Array) -> None:
        points = np.stack([(x + _HALF) * _GRID, (z + _HALF) * _GRID], 1)
        cv2.fillPoly(picture, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)

    grid = np.arange(-2.2, 2.3, 0.01, dtype=np.float32)
    for y in np.arange(body.FLOOR, body.ROOF, 0.015):
        half = body.half_width(grid, float(y))
        inside = half > 0
        x = np.concatenate([grid[inside], grid[inside][::-1]])
        z = np.concatenate([half[inside], -half[inside][::-1]])
        fill(cast, x - y * light.sun[0] / light.sun[1], z - y * light.sun[2] / light.sun[1])
    for wheel in body.WHEELS:
        for z0, z1 in ((0.61, 0.81), (-0.81, -0.61)):
            for a in np.linspace(0, 2 * np.pi, 40):
                x, y = wheel + body.TYRE * np.cos(a), body.AXLE + body.TYRE * np.sin(a)
                lx, lz = y * light.sun[0] / light.sun[1], y * light.sun[2] / light.sun[1]
                e = 0.05
                fill(cast, np.array([x - e, x + e, x + e, x - e]) - lx, np.array([z0, z0, z1, z1]) - lz)
    half = body.half_width(grid, 0.3)
    inside = half > 0
    fill(under, np.concatenate([grid[inside], grid[inside][::-1]]), np.concatenate([half[inside], -half[inside][::-1]]))
    sharp = cv2.GaussianBlur(cast, (0, 0), 1.6)
    soft = cv2.GaussianBlur(under, (0, 0), 9.0)
    for wheel in body.WHEELS:
        for z in (0.71, -0.71):
            patch = np.zeros_like(under)
            fill(patch, wheel + np.array([-0.13, 0.13, 0.13, -0.13]), z + np.array([-0.11, -0.11, 0.11, 0.11]))
            soft = np.maximum(soft, cv2.GaussianBlur(patch, (0, 0), 2.5))
    return Sheet(sharp, -_HALF, _HALF, _GRID), Sheet(soft, -_HALF, _HALF, _GRID)


def _plane(origin: Array, d: Array, axis: int, at: float) -> tuple[Array, Array]:
    """Distance (inf where behind) and the points where rays meet the plane coordinate[axis] = at."""
    slope = d[..., axis]
    t = (at - origin[axis]) / np.where(np.abs(slope) < 1e-5, 1e-5, slope)
    t = np.where(t > 0, t, np.inf).astype(np.float32)
    return t, (origin + np.where(np.isfinite(t), t, 0)[..., None] * d).astype(np.float32)


def _asphalt(look: Look, p: Array, t: Array) -> Array:
    """The road's albedo-lit colour before shadows, with grains that fade with distance, patches, cracks and a line."""
    rng = look.rng(5)
    grain, broad = fractal(rng, 1024, 1024, 300, 3, 0.9), fractal(rng, 512, 512, 6, 6, 0.6)
    x, z = p[..., 0], p[..., 2]
    near = smoothstep(16.0, 4.0, t)
    fine = tile(grain, x, z, 260.0) * near + 0.5 * tile(grain, x + 3, z, 60.0)
    stains = tile(broad, x, z, 38.0)
    tone = 0.155 * (1 + 0.30 * fine + 0.16 * stains)
    crack = np.abs(tile(broad, x + 5, z + 9, 70.0) - 0.1)
    tone = tone * (1 - 0.55 * smoothstep(0.012, 0.004, crack) * (tile(broad, x, z + 4, 20.0) > 0.05) * near)
    patch = smoothstep(0.02, 0.0, np.maximum(np.abs(x + 1.0) - 1.7, np.abs(z - 3.0) - 0.55)) * (look.seed % 3 == 0)
    tone = tone * (1 - 0.28 * patch)
    color = tone[..., None] * rgb(1.0, 0.985, 0.965)
    wear = smoothstep(-0.55, -0.15, 0.6 * fine + stains)
    line = smoothstep(0.065, 0.055, np.abs(z - 1.95)) * (np.mod(x + 1.2, 5.0) < 3.4) * wear
    return mix(color, rgb(0.62, 0.62, 0.59) * (1 + 0.1 * fine)[..., None], line.astype(np.float32))


def _pavement(look: Look, p: Array) -> Array:
    """Concrete slabs with joints, each of its own tone."""
    rng = look.rng(6)
    broad = fractal(rng, 512, 512, 60, 4, 0.7)
    x, z = p[..., 0], p[..., 2]
    tones = rng.uniform(0.86, 1.12, (64, 64)).astype(np.float32)
    slab = tones[np.floor(z / 0.6).astype(np.int32) % 64, np.floor(x / 0.9).astype(np.int32) % 64]
    joint = np.minimum(np.abs(np.mod(x, 0.9) - 0.45), np.abs(np.mod(z, 0.6) - 0.30) + 0.15)
    tone = 0.30 * slab * (1 + 0.15 * tile(broad, x, z, 60.0)) * (1 - 0.4 * smoothstep(0.43, 0.445, joint))
    kerb = z > KERB - 0.16
    tone = np.where(kerb, 0.36 * (1 + 0.12 * tile(broad, x, z, 90.0)) * (np.mod(x, 1.0) > 0.012), tone)
    return (tone[..., None] * rgb(1.0, 0.97, 0.92)).astype(np.float32)


def _ground(look: Look, light: Light, origin: Array, d: Array) -> tuple[Array, Array]:
    """Road, kerb and pavement, lit and shadowed: colour (h, w, 3) and distance, inf above the horizon."""
    t, p = _plane(origin, d, 1, 0.0)
    color = _asphalt(look, p, t)
    n = np.zeros_like(d) + rgb(0, 1, 0)
    t_top, top = _plane(origin, d, 1, KERB_HEIGHT)
    t_face, face = _plane(origin, d, 2, KERB)
    on_face = (face[..., 1] < KERB_HEIGHT) & (face[..., 1] >= 0) & np.isfinite(t_face)
    on_top = (top[..., 2] < KERB) & np.isfinite(t_top)
    gutter = smoothstep(0.30, 0.0, p[..., 2] - KERB)
    color = color * (1 - 0.25 * gutter)[..., None]
    color = np.where(on_top[..., None], _pavement(look, top), color)
    color = np.where(on_face[..., None], 0.30 * rgb(1.0, 0.97, 0.93), color)
    n = np.where((on_face & ~on_top)[..., None], rgb(0, 0, 1), n)
    p = np.where(on_top[..., None], top, np.where(on_face[..., None], face, p))
    t = np.where(on_top, t_top, np.where(on_face, t_face, t))
    cast, under = _shadow_map(light)
    # A point at height y is shadowed as the ground point behind it along the sun's ray.
    gx = p[..., 0] - p[..., 1] * light.sun[0] / light.sun[1]
    gz = p[..., 2] - p[..., 1] * light.sun[2] / light.sun[1]
    sun = 1 - cast.at(gx, -gz)
    sky = 1 - 0.93 * under.at(p[..., 0], -p[..., 2])
    direct = np.clip(n @ light.sun, 0, 1) * sun
    lit = direct[..., None] * light.sunlight + light.ambient(n) * (sky * (0.75 + 0.25 * sun))[..., None]
    return (color * lit).astype(np.float32), t.astype(np.float32)


def _standing(sheet: Sheet, origin: Array, d: Array, z: float, base: float) -> tuple[Array, Array, Array]:
    """An upright sheet at depth z: linear colour, coverage and distance."""
    t, p = _plane(origin, d, 2, z)
    found = sheet.at(p[..., 0], p[..., 1] - base)
    cover = np.where(np.isfinite(t), found[..., 3], 0)
    color = _linear(found[..., :3] / np.maximum(found[..., 3:], 1e-3))
    return color, cover.astype(np.float32), t


def render(look: Look, light: Light, camera: Camera, row: Sheet) -> tuple[Array, Array]:
    """The street without the car: linear colour (H, W, 3) and distance (H, W) in metres, 200 for the sky."""
    origin = camera.origin.astype(np.float32)
    d = camera.rays(0, 0, camera.width, camera.height, 1)
    color = light.sky(d)
    depth = np.full(color.shape[:2], 200.0, np.float32)
    wall, cover, t = _standing(row, origin, d, HOUSES, KERB_HEIGHT)
    n = np.zeros_like(d) + rgb(0, 0, 1)
    front = 0.80 * wall * light.diffuse(n, 0.9)
    color, depth = mix(color, front, cover), np.where(cover > 0.5, np.minimum(t, 200), depth)
    ground, t = _ground(look, light, origin, d)
    nearer = t < depth
    color, depth = np.where(nearer[..., None], ground, color), np.where(nearer, t, depth)
    leaves, cover, t = _standing(_planting(look, light.sun), origin, d, TREES, KERB_HEIGHT)
    cover = cover * (t < depth + 6)
    color = mix(color, 0.75 * leaves * (light.sunlight * 0.5 + 0.75), cover)
    depth = np.where(cover > 0.5, np.minimum(t, 200), depth)
    return color.astype(np.float32), depth.astype(np.float32)

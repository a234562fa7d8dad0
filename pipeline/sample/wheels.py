"""Tyres and rims: solids of revolution cut by the view's rays, layer behind layer."""

import numpy as np

from pipeline.sample.body import AXLE, TYRE
from pipeline.sample.fields import Array, lay, mix, smoothstep, unit
from pipeline.sample.light import Light, metal, rgb, rubber
from pipeline.sample.look import Look

FACE, WIDTH, RIM = 0.815, 0.21, 0.232  # z of the outer sidewall, the tyre's width, the rim's radius


def _plane(origin: Array, d: Array, z: float, x: float) -> tuple[Array, Array, Array]:
    """Distance to the plane at z, and where it is met relative to the axle."""
    t = (z - origin[2]) / np.where(np.abs(d[:, 2]) < 1e-6, np.float32(1e-6), d[:, 2])
    return t, origin[0] + t * d[:, 0] - x, origin[1] + t * d[:, 1] - AXLE


def _tread(origin: Array, d: Array, x: float, side: float) -> tuple[Array, Array, Array]:
    """Where rays meet the tyre's running surface: distance (inf where missed), unit normals, distance across the tread (0..1)."""
    ox, oy = origin[0] - x, origin[1] - AXLE
    a = d[:, 0] ** 2 + d[:, 1] ** 2
    b = ox * d[:, 0] + oy * d[:, 1]
    root = b * b - a * (ox * ox + oy * oy - TYRE * TYRE)
    t = (-b - np.sqrt(np.maximum(root, 0))) / np.maximum(a, 1e-9)
    across = (side * (origin[2] + t * d[:, 2]) - (FACE - WIDTH)) / WIDTH
    hit = (root > 0) & (across > 0) & (across < 1.003)
    n = np.stack([ox + t * d[:, 0], oy + t * d[:, 1], np.zeros_like(t)], -1)
    return np.where(hit, t, np.inf), unit(n), across


def _sidewall(light: Light, d: Array, px: Array, py: Array, side: float) -> Array:
    """The tyre's flank: a bulge from rim to shoulder with fine rings."""
    r = np.hypot(px, py)
    s = np.clip((r - RIM) / (TYRE - RIM), 0, 1)
    lean = -0.55 + 1.55 * s**1.5 + 0.10 * np.sin(s * 70) * (s > 0.15) * (s < 0.85)
    n = unit(np.stack([px / np.maximum(r, 1e-4) * lean, py / np.maximum(r, 1e-4) * lean, np.full_like(r, side)], -1))
    dark = 1 - 0.45 * smoothstep(0.1, 0.0, s)
    return rubber(light, d, n, 0.026, 0.45) * dark[:, None]


def _spokes(look: Look, px: Array, py: Array) -> tuple[Array, Array, Array]:
    """Coverage of the spokes (0..1) and their slope across and along."""
    r = np.hypot(px, py)
    step = 2 * np.pi / look.spokes
    angle = (np.arctan2(py, px) + 0.35) % step - step / 2
    # Each spoke widens towards the rim's edge, thin for many, broad for few.
    half = (0.17 / look.spokes) * (0.85 + 0.9 * (r / RIM) ** 2)
    off = angle * r
    soft = 0.0035
    cover = np.clip((half - np.abs(off)) / soft, 0, 1)
    hub = np.clip((0.062 - r) / soft, 0, 1)
    lip = np.clip((r - 0.213) / soft, 0, 1)
    slope = np.clip(off / np.maximum(half, 1e-4), -1, 1) * (r > 0.06) * (r < 0.214)
    along = np.where(r > 0.214, -1.1 * np.clip((r - 0.222) / 0.008, -1, 1), np.where(r < 0.062, 0.5 * r / 0.062, -0.28))
    return np.maximum(np.maximum(cover, hub), lip), slope, along


def _behind(light: Light, look: Look, origin: Array, d: Array, x: float, side: float) -> Array:
    """What shows between the spokes: brake disc, caliper, the barrel's dark."""
    _, px, py = _plane(origin, d, side * (FACE - 0.10), x)
    r = np.hypot(px, py)
    n = unit(np.stack([0.25 * px / np.maximum(r, 1e-3), 0.25 * py / np.maximum(r, 1e-3), np.full_like(r, side)], -1))
    disc = metal(light, d, n, 0.30, 0.5) * (0.94 + 0.06 * np.sin(r * 900))[:, None]
    barrel = 0.05 * light.ambient(n) * (0.3 + smoothstep(-0.1, -0.25, py))[:, None]
    out = mix(barrel, disc, smoothstep(0.150, 0.147, r) * smoothstep(0.07, 0.075, r) * 0.9)
    angle = np.arctan2(py, px if x < 0 else -px)
    caliper = smoothstep(0.45, 0.4, np.abs(angle - 0.35)) * smoothstep(0.10, 0.105, r) * smoothstep(0.168, 0.162, r)
    tint = rgb(0.32, 0.02, 0.015) if look.spokes % 2 else rgb(0.10, 0.10, 0.105)
    return mix(out, tint * light.diffuse(n, 0.4), caliper)


def _rim(light: Light, look: Look, origin: Array, d: Array, x: float, side: float) -> Array:
    """The alloy rim with its hub, bolts and all that lies behind."""
    _, px, py = _plane(origin, d, side * (FACE - 0.014), x)
    r = np.hypot(px, py)
    cover, slope, along = _spokes(look, px, py)
    radial = np.stack([px, py], -1) / np.maximum(r, 1e-4)[:, None]
    tangent = np.stack([-radial[:, 1], radial[:, 0]], -1)
    flat = 0.8 * slope[:, None] ** 3 * tangent + along[:, None] * radial
    n = unit(np.concatenate([flat, np.full((len(flat), 1), side)], -1))
    alloy = metal(light, d, n, 0.05 if look.dark_rims else 0.50, 0.1) + (0.03 if look.dark_rims else 0.13) * light.diffuse(n)
    bolts = np.hypot(r - 0.040, (((np.arctan2(py, px) + 0.1) % (2 * np.pi / 5)) - np.pi / 5) * 0.040)
    alloy = alloy * (1 - 0.85 * smoothstep(0.0095, 0.0075, bolts))[:, None]
    alloy = alloy * (1 - 0.5 * smoothstep(0.0025, 0.001, np.abs(r - 0.026)))[:, None]
    return mix(_behind(light, look, origin, d, x, side), alloy, cover)


def wheel(light: Light, look: Look, origin: Array, d: Array, x: float, side: float) -> tuple[Array, Array]:
    """One wheel: distance (inf where missed) and colour (N, 3) for rays `d` (N, 3); `side` +1 for the near flank, -1 for the far."""
    t, px, py = _plane(origin, d, side * FACE, x)
    facing = (d[:, 2] * side < 0) & (np.hypot(px, py) < TYRE)
    t_tread, n, across = _tread(origin, d, x, side)
    groove = np.clip(np.cos(across * 2 * np.pi * 4.5) * 4 - 2.4, 0, 1)
    color = rubber(light, d, n, 0.024, 0.3) * (1 - 0.75 * groove)[:, None]
    lay(color, facing.astype(np.float32), lambda w: _sidewall(light, d[w], px[w], py[w], side))
    _, sx, sy = _plane(origin, d, side * (FACE - 0.014), x)
    inner = smoothstep(RIM + 0.001, RIM - 0.001, np.hypot(sx, sy)) * facing
    lay(color, inner, lambda w: _rim(light, look, origin, d[w], x, side))
    return np.where(facing, np.minimum(t, t_tread), t_tread), color

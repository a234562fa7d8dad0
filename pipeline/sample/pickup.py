"""The pick-up's picture: rays meet its form and its wheels; each hit is shaded by the part it belongs to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.sample import body, car
from pipeline.sample import pickup_form as form
from pipeline.sample.fields import Array, Bytes, dot, lay, mix, reflect, schlick, smoothstep, tile, unit
from pipeline.sample.light import Light, lacquer, metal, rgb, rubber
from pipeline.sample.look import Look
from pipeline.sample.pickup_sheets import AMBER, ARCH, PLATE, RED, WHITE, Sheets
from pipeline.sample.skin import Spot, ink, plate, vinyl

_REAR = 1.90  # x from which on the tailgate and its lamps may be


@dataclass(frozen=True, slots=True)
class _Skin:
    look: Look
    light: Light
    sheets: Sheets
    flakes: Array


def _occlusion(p: Array, n: Array) -> Array:
    """Share of the light that reaches a point: less under the sills, round the wheels and deep in the bed."""
    x0, x1, half, floor = form.BED
    low = smoothstep(0.10, 0.55, p[:, 1])
    out = 0.45 + 0.55 * np.maximum(low, smoothstep(0.0, 0.6, n[:, 1]))
    out = out * (1 - 0.75 * smoothstep(-0.05, -0.45, n[:, 1]) * smoothstep(0.65, 0.35, p[:, 1]))
    inside = (p[:, 0] > x0) & (p[:, 0] < x1) & (np.abs(p[:, 2]) < half)
    deep = smoothstep(form.RAIL, floor, p[:, 1]) * inside
    # The cab stands over the bed's front end.
    behind = smoothstep(0.45, 0.0, p[:, 0] - x0) * inside
    return np.asarray(out * (1 - 0.55 * deep) * (1 - 0.35 * behind))


def _pane(s: _Skin, at: Spot, rear: bool) -> Array:
    """A pane: reflection over the cab's dark, its seat, and the light that comes in by the window across."""
    p, d, k = at.p, at.d, s.sheets
    behind: Array = rgb(0.008, 0.009, 0.010) + 0.010 * s.light.ambient(at.n)
    across = 0 if rear else 2  # the axis that runs through the cab
    for far, what in ((-0.75, 0), (-0.10 if rear else 0.30, 1)):
        t = (far - p[:, across]) / np.where(np.abs(d[:, across]) < 1e-4, np.float32(-1e-4), d[:, across])
        x, y, z = (p[:, i] + t * d[:, i] for i in range(3))
        if what:
            rest = (np.abs(np.abs(z) - 0.33) < 0.12) & (y < 1.40) | (np.abs(z) < 0.60) & (y < 1.26)
            seat = rest.astype(np.float32) if rear else k.seats.at(x, y)
            behind = mix(behind, (0.03 * smoothstep(0.9, 1.4, y))[:, None] * rgb(1.0, 0.97, 0.93), seat * (t > 0))
        else:
            window = smoothstep(0.66, 0.62, np.abs(z)) * smoothstep(1.13, 1.16, y) if rear else k.window.at(x, y)
            behind = mix(behind, s.light.around(d, 0.1) * 0.30, window * (t > 0))
    mirror = reflect(d, at.n)
    shine = s.light.around(mirror) + 10 * s.light.highlight(mirror, 1500.0)[:, None] * s.light.sunlight
    f = np.clip(1.25 * schlick(-dot(d, at.n), 0.06), 0, 1)
    return np.asarray(behind * rgb(0.66, 0.74, 0.70) + f[:, None] * shine, np.float32)


def _lamp(s: _Skin, at: Spot, which: Array, lines: Array) -> Array:
    """Coloured plastic over ribbed bowls, with lighter rings; `which` is the sheet's value (0..1)."""
    ribs = 0.75 + 0.25 * np.sin(at.p[:, 1] * 420) * np.sin(at.p[:, 2] * 420)
    tint = np.where((which < (RED + AMBER) / 510)[:, None], rgb(0.42, 0.010, 0.012), rgb(0.80, 0.24, 0.008))
    tint = np.where((which > (AMBER + WHITE) / 510)[:, None], rgb(0.55, 0.56, 0.57), tint)
    glow: Array = tint * ribs[:, None] * s.light.diffuse(at.n) * 0.75
    glow = mix(glow, np.minimum(glow * 0.8 + 0.5 * tint + rgb(0.30, 0.16, 0.15), 1.2), smoothstep(0.7, 0.95, lines))
    glow = mix(glow, glow * 0.18, smoothstep(0.15, 0.45, lines) * (lines < 0.7))
    mirror = reflect(at.d, at.n)
    shine = s.light.around(mirror) + 6 * s.light.highlight(mirror, 700.0)[:, None] * s.light.sunlight
    return np.asarray(glow + schlick(-dot(at.d, at.n), 0.05)[:, None] * shine, np.float32)


def _flank(s: _Skin, at: Spot, color: Array, side: Array) -> None:
    """The near side's flares, window, gaps, handle and lamps; `side` is where it is (0..1)."""
    k, x, y = s.sheets, at.p[:, 0], at.p[:, 1]
    lay(color, k.plastic.at(x, y) * side, lambda w: rubber(s.light, at.d[w], at.n[w], 0.020, 0.8))
    lay(color, k.window_edge.at(x, y) * side, lambda w: rubber(s.light, at.d[w], at.n[w], 0.010, 0.5))
    lay(color, k.window.at(x, y) * side, lambda w: _pane(s, at.some(w), False))
    color *= (1 - 0.90 * k.gaps.at(x, y) * side)[:, None]
    chrome = 0.60 if s.look.trim == "chrome" else 0.05
    lay(color, k.handle.at(x, y) * side, lambda w: metal(s.light, at.d[w], at.n[w], chrome, 0.1))
    lamp = k.flank_lamp.at(x, y)
    lay(color, smoothstep(0.1, 0.3, lamp) * side, lambda w: _lamp(s, at.some(w), lamp[w], np.zeros_like(lamp[w])))


def _tail(s: _Skin, at: Spot, color: Array, rear: Array) -> None:
    """Tailgate with its grip and lettering, tail lamps; `rear` is where they may be (0..1)."""
    k, z, y = s.sheets, at.p[:, 2], at.p[:, 1]
    color *= (1 - 0.90 * k.gate.at(z, y) * rear)[:, None]
    lay(color, k.lettering.at(z, y) * rear, lambda w: vinyl(s.light, at.some(w), ink(s.look.paint)))
    lay(color, k.grip.at(z, y) * rear, lambda w: rubber(s.light, at.d[w], at.n[w], 0.015, 0.7))
    lamp, lines = k.lamp.at(z, y), k.lamp_lines.at(z, y)
    lay(color, smoothstep(0.1, 0.3, lamp) * rear, lambda w: _lamp(s, at.some(w), lamp[w], lines[w]))


def _back_of_cab(s: _Skin, at: Spot, color: Array, facing: Array) -> None:
    """The rear pane and the high brake lamp."""
    k, z, y = s.sheets, at.p[:, 2], at.p[:, 1]
    lay(color, k.pane_edge.at(z, y) * facing, lambda w: rubber(s.light, at.d[w], at.n[w], 0.010, 0.6))
    lay(color, k.pane.at(z, y) * facing, lambda w: _pane(s, at.some(w), True))
    high = smoothstep(0.13, 0.125, np.abs(z)) * smoothstep(0.017, 0.013, np.abs(y - 1.542)) * facing
    red = np.full_like(z, RED / 255)
    lay(color, high, lambda w: _lamp(s, at.some(w), red[w], np.zeros_like(red[w])))


def _faces(at: Spot) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Where the near side, the rear and the back of the cab are, (N,) each 0..1; and where the bed's lining is."""
    x, y, z = at.p[:, 0], at.p[:, 1], at.p[:, 2]
    x0, x1, half, _ = form.BED
    liner = (x > x0 - 0.01) & (x < x1 + 0.01) & (np.abs(z) < half + 0.01) & (y < form.RAIL - 0.03)
    rear = smoothstep(0.45, 0.65, at.n[:, 0]) * (x > _REAR) * ~liner
    side = smoothstep(0.30, 0.50, at.n[:, 2]) * (z > 0.3) * ~liner * (1 - rear)
    return side, rear, smoothstep(0.45, 0.60, at.n[:, 0]) * (x < 0.6) * (y > form.RAIL), liner


def _painted(s: _Skin, at: Spot) -> Array:
    """Linear colours (N, 3) of tub and cab."""
    x, y, z = at.p[:, 0], at.p[:, 1], at.p[:, 2]
    side, rear, cab, liner = _faces(at)
    peel = np.zeros_like(at.n)
    peel[:, 1] = 0.0025 * tile(s.flakes, x + z, y, 40.0)
    grain = tile(s.flakes, x + 0.3 * z, y + 0.5 * z, 420.0)
    color = lacquer(s.light, s.look.paint, at.d, at.n, unit(at.n + peel), grain, _occlusion(at.p, at.n))
    lay(color, liner.astype(np.float32), lambda w: _liner(s, at.some(w)))
    for place, layer in ((side, _flank), (rear, _tail), (cab, _back_of_cab)):
        where = np.flatnonzero(place > 0)
        if len(where):
            part = color[where]
            layer(s, at.some(where), part, place[where])
            color[where] = part
    return color


def _liner(s: _Skin, at: Spot) -> Array:
    """The bed's ribbed black lining."""
    flat = at.n[:, 1] > 0.7
    along = np.where(flat, at.p[:, 2], at.p[:, 0])
    rib = 0.6 + 0.8 * smoothstep(-0.3, 0.3, np.sin(along * np.float32(2 * np.pi / 0.11)))
    dark = rubber(s.light, at.d, at.n, 0.030, 0.7)
    return np.asarray(dark * (rib * _occlusion(at.p, at.n))[:, None], np.float32)


def _bumper(s: _Skin, at: Spot) -> Array:
    """Steel with a black step on top, and the plate."""
    shine = 0.62 if s.look.trim == "chrome" else 0.07
    bent = unit(at.n + rgb(0.0, 0.1, 0.0))
    color = metal(s.light, at.d, bent, shine, 0.1) + (0.05 if s.look.trim == "chrome" else 0.02) * s.light.diffuse(at.n)
    color = color * _occlusion(at.p, at.n)[:, None]
    step = smoothstep(0.75, 0.9, at.n[:, 1]) * (np.abs(at.p[:, 2]) < 0.74)
    lay(color, step, lambda w: rubber(s.light, at.d[w], at.n[w], 0.022, 0.7))
    board = smoothstep(0.1, 0.5, s.sheets.plate.at(at.p[:, 2], at.p[:, 1])) * (at.n[:, 0] > 0.7)
    lay(color, board, lambda w: plate(s.light, s.sheets.plate, s.sheets.characters, at.some(w)))
    return color


def _mirror(s: _Skin, at: Spot) -> Array:
    """A black housing; its glass faces back."""
    color = rubber(s.light, at.d, at.n, 0.02, 0.6)
    glass = (at.n[:, 0] > 0.95) * (np.abs(np.abs(at.p[:, 2]) - 0.985) < 0.067) * (np.abs(at.p[:, 1] - 1.205) < 0.085)
    lay(color, glass.astype(np.float32), lambda w: metal(s.light, at.d[w], unit(at.n[w] + rgb(0.0, 0.12, 0.0)), 0.75, 0.0))
    return color


def _shade(s: _Skin, at: Spot, part: Bytes) -> Array:
    """Linear colours (N, 3) of hits whose part (N,) is known."""
    color = np.empty_like(at.p)
    for parts, shade in (
        ((form.TUB, form.CAB), _painted),
        ((form.HOUSE,), _liner),
        ((form.BUMPER,), _bumper),
        ((form.MIRROR,), _mirror),
        ((form.CHASSIS,), lambda s, at: 0.5 * rubber(s.light, at.d, at.n, 0.012, 0.3)),
    ):
        where = np.flatnonzero(np.isin(part, parts))
        if len(where):
            color[where] = shade(s, at.some(where))
    return color


def _names(k: Sheets, at: Spot, part: Bytes) -> Bytes:
    """What each hit shows."""
    x, y, z = at.p[:, 0], at.p[:, 1], at.p[:, 2]
    side, _, cab, _ = _faces(at)
    glazed = np.maximum(k.window.at(x, y) * side, k.pane.at(z, y) * cab) * np.isin(part, (form.TUB, form.CAB))
    ids = np.where(glazed > 0.5, car.GLASS, car.BODY).astype(np.uint8)
    ids[(part == form.TUB) & (x > _REAR + 0.08) & (k.lettering.at(z, y) > 0.5)] = car.LETTERING
    back = (part == form.BUMPER) & (x > 2.1)
    ids[back & (z > PLATE[0]) & (z < PLATE[2]) & (y > PLATE[1]) & (y < PLATE[3])] = car.PLATE_ID
    ids[back & (k.characters.at(z, y) > 0.5)] = car.PLATE_TEXT
    ids[part == form.MIRROR] = np.where(z[part == form.MIRROR] > 0, car.NEAR_MIRROR, car.FAR_MIRROR)
    return ids


def render(s: car.Studio, sheets: Sheets, flakes: Array, rays: Array) -> tuple[Array, Bytes]:
    """Linear colours (h, w, 3) and ids (h, w) of the pick-up for unit rays (h, w, 3); id 0 where it is missed."""
    skin = _Skin(s.look, s.light, sheets, flakes)
    d = rays.reshape(-1, 3)
    t = form.march(s.origin, rays).ravel()
    color, ids, opening = np.full_like(d, car.DARK), np.zeros(len(d), np.uint8), np.zeros(len(d), bool)
    hit = np.flatnonzero(np.isfinite(t))
    p = s.origin + t[hit, None] * d[hit]
    part = form.part_at(p)
    opening[hit] = car.openings(p, ARCH) & (part == form.TUB) & (p[:, 1] < body.AXLE + ARCH)
    ids[hit] = car.BODY
    solid = ~opening[hit]
    if solid.any():
        hit, p, part = hit[solid], p[solid], part[solid]
        at = Spot(p, d[hit], form.normals(p))
        color[hit], ids[hit] = _shade(skin, at, part), _names(sheets, at, part)
    car.put_wheels(s, d, t, opening, color, ids)
    return color.reshape(rays.shape), ids.reshape(rays.shape[:2])

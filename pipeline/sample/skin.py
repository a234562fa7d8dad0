"""What the body's surface looks like at a point: paint, windows, lamps, grille, plate, lettering, gaps."""

from dataclasses import dataclass

import numpy as np

from pipeline.sample import body, livery
from pipeline.sample.decals import Decals
from pipeline.sample.fields import Array, Index, Sheet, dot, lay, mix, reflect, schlick, smoothstep, tile, unit
from pipeline.sample.light import Light, lacquer, metal, rgb, rubber
from pipeline.sample.look import Look, Paint


@dataclass(frozen=True, slots=True)
class Skin:
    """Paint, light and sheets of one car; `flakes` is the metallic paint's grain."""

    look: Look
    light: Light
    decals: Decals
    flakes: Array


@dataclass(frozen=True, slots=True)
class Spot:
    """Points `p` (N, 3) of the body, the unit rays `d` that reach them, the unit normals `n`."""

    p: Array
    d: Array
    n: Array

    def some(self, where: Index) -> "Spot":
        """A selection."""
        return Spot(self.p[where], self.d[where], self.n[where])


def _occlusion(p: Array, n: Array) -> Array:
    """Share of the light that reaches a point of the body: less under the sills and round the openings."""
    low = smoothstep(0.05, 0.42, p[:, 1])
    out = 0.45 + 0.55 * np.maximum(low, smoothstep(0.0, 0.6, n[:, 1]))
    for x in body.WHEELS:
        r = np.hypot(p[:, 0] - x, p[:, 1] - body.AXLE)
        out = out * (1 - 0.35 * smoothstep(body.ARCH + 0.05, body.ARCH, r) * smoothstep(0.4, 0.6, np.abs(p[:, 2])))
    # What faces the ground sees the car's own shadow there.
    return np.asarray(out * (1 - 0.75 * smoothstep(-0.05, -0.45, n[:, 1]) * smoothstep(0.45, 0.2, p[:, 1])))


def _inside(s: Skin, at: Spot, screen: bool) -> Array:
    """The tinted look through a pane: far windows, seats, dashboard."""
    p, d = at.p, at.d
    behind: Array = rgb(0.008, 0.009, 0.010) + 0.010 * s.light.ambient(at.n)
    for z, shade in ((-0.70, 0.0), (-0.36, 0.020), (0.36, 0.034)):
        t = (z - p[:, 2]) / np.where(np.abs(d[:, 2]) < 1e-4, np.float32(-1e-4), d[:, 2])
        x, y = p[:, 0] + t * d[:, 0], p[:, 1] + t * d[:, 1]
        if z == -0.70:
            behind = mix(behind, s.light.around(d, 0.1) * 0.30, s.decals.glass.at(x, y) * (t > 0))
        else:
            cloth = shade * (0.4 + 1.3 * smoothstep(0.8, 1.3, y))
            behind = mix(behind, cloth[:, None] * rgb(1.0, 0.97, 0.93), s.decals.seats.at(x, y) * (t > 0) * (y < 1.34))
    if screen:
        # The dashboard is a plane at the foot of the screen.
        t = (0.965 - p[:, 1]) / np.minimum(d[:, 1], np.float32(-1e-4))
        dash = smoothstep(0.30, 0.40, p[:, 0] + t * d[:, 0]) * (np.abs(p[:, 2] + t * d[:, 2]) < 0.70) * (t < 0.9)
        behind = mix(behind, 0.022 * s.light.ambient(at.n), dash)
    return behind


def _glass(s: Skin, at: Spot, screen: bool) -> Array:
    """A pane: reflection on top of a tinted look inside."""
    mirror = reflect(at.d, at.n)
    f = np.clip(1.25 * schlick(-dot(at.d, at.n), 0.06), 0, 1)
    shine = s.light.around(mirror) + 10 * s.light.highlight(mirror, 1500.0)[:, None] * s.light.sunlight
    return np.asarray(_inside(s, at, screen) * rgb(0.66, 0.74, 0.70) + f[:, None] * shine, np.float32)


def _bumped(s: Skin, at: Spot, side: Array) -> Array:
    """Normals with the gaps' slopes."""
    e = 0.0025
    x, y = at.p[:, 0], at.p[:, 1]
    relief = s.decals.relief
    gx, gy = relief.at(x + e, y) - relief.at(x - e, y), relief.at(x, y + e) - relief.at(x, y - e)
    return unit(at.n + 0.22 * np.stack([gx * side, gy * side, np.zeros_like(gx)], -1))


def _lamp(s: Skin, at: Spot) -> Array:
    """A headlight: chrome bowl, lenses, a bright strip, all under a clear cover."""
    z, y = at.p[:, 2], at.p[:, 1]
    beam = s.decals.beam.at(z, y)
    wave = np.stack([np.full_like(z, 0.8), 0.6 * np.sin(y * 120), 0.7 * np.sin(z * 70)], -1)
    bowl = metal(s.light, at.d, unit(wave), 0.16, 0.1)
    bright = metal(s.light, at.d, unit(at.n + rgb(0.0, 0.35, 0.0)), 0.95, 0.1) + 0.25
    mirror = reflect(at.d, at.n)
    shine = s.light.around(mirror) + 8 * s.light.highlight(mirror, 900.0)[:, None] * s.light.sunlight
    return np.asarray(mix(bowl, bright, smoothstep(0.2, 0.95, beam)) * 0.85 + schlick(-dot(at.d, at.n), 0.05)[:, None] * shine, np.float32)


def _letters(s: Skin, at: Spot) -> Array:
    """Vinyl lettering, light on dark paint and dark on light paint."""
    return vinyl(s.light, at, ink(s.look.paint))


def ink(paint: Paint) -> Array:
    """The lettering's colour on a paint."""
    r, g, b = paint.base
    return rgb(0.60, 0.60, 0.60) if 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.28 else rgb(0.016, 0.016, 0.020)


def vinyl(light: Light, at: Spot, ink: Array) -> Array:
    """Film of a colour."""
    gloss = schlick(-dot(at.d, at.n), 0.04)[:, None] * light.around(reflect(at.d, at.n), 0.1)
    return np.asarray(ink * light.diffuse(at.n) + gloss, np.float32)


def _second(s: Skin, at: Spot, paint: Paint) -> Array:
    """A livery's other paint, as glossy as the first."""
    even = np.zeros_like(at.p[:, 0])
    return lacquer(s.light, paint, at.d, at.n, at.n, even, _occlusion(at.p, at.n))


def _stickers(s: Skin, at: Spot, color: Array, side: Array) -> None:
    """A livery's stripes, roundel, number and name on the flank."""
    k, paint, x, y = s.decals.livery, s.look.second, at.p[:, 0], at.p[:, 1]
    if k is None or paint is None:
        return
    lay(color, k.stripes.at(x, y) * side, lambda w: _second(s, at.some(w), paint))
    lay(color, k.disc.at(x, y) * side, lambda w: vinyl(s.light, at.some(w), rgb(0.62, 0.62, 0.61)))
    dark = np.maximum(k.ring.at(x, y), k.number.at(x, y))
    lay(color, dark * side, lambda w: vinyl(s.light, at.some(w), rgb(0.016, 0.016, 0.020)))
    lay(color, k.name.at(x, y) * side, lambda w: _letters(s, at.some(w)))


def _handle(s: Skin, at: Spot) -> Array:
    """A door handle, bent towards sky and ground."""
    bend = np.zeros_like(at.n)
    bend[:, 1] = 0.9 * np.sin((at.p[:, 1] - 0.858) * 90) * (at.p[:, 1] < 0.92)
    n = unit(at.n + bend)
    if s.look.trim == "chrome":
        return metal(s.light, at.d, n, 0.60, 0.1)
    return lacquer(s.light, s.look.paint, at.d, n, n, np.zeros_like(bend[:, 0]), np.ones_like(bend[:, 0]))


def _flank(s: Skin, at: Spot, color: Array, side: Array) -> None:
    """Lettering, trim, windows, gaps and handles; `side` is where the flank is (0..1)."""
    k, x, y = s.decals, at.p[:, 0], at.p[:, 1]
    lay(color, k.lettering.at(x, y) * side, lambda w: _letters(s, at.some(w)))
    _stickers(s, at, color, side)
    lay(color, k.plastic.at(x, y) * side, lambda w: rubber(s.light, at.d[w], at.n[w], 0.020, 0.8))
    lay(color, k.surround.at(x, y) * side, lambda w: rubber(s.light, at.d[w], at.n[w], 0.010, 0.5))
    lay(color, k.glass.at(x, y) * side, lambda w: _glass(s, at.some(w), False))
    color *= (1 - 0.90 * k.gaps.at(x, y) * side)[:, None]
    under = smoothstep(0.03, 0.0, np.abs(y - 0.825)) * (np.abs(np.abs(x + 0.61) - 0.42) < 0.10) * side
    color *= (1 - 0.35 * under)[:, None]
    lay(color, k.metal.at(x, y) * side, lambda w: _handle(s, at.some(w)))


def _grille(s: Skin, at: Spot) -> Array:
    """Dark depth with slats that catch the sky."""
    slats = s.decals.slats.at(at.p[:, 2], at.p[:, 1])[:, None]
    edge = rubber(s.light, at.d, unit(at.n + rgb(0, 0.5, 0)), 0.03, 0.9)
    return np.asarray(0.012 * s.light.ambient(at.n) * (0.3 + slats) + slats * edge, np.float32)


def _tilted(at: Spot, amount: float) -> Array:
    """Normals waved as those of small bright parts are."""
    z, y = at.p[:, 2], at.p[:, 1]
    return unit(at.n + amount * np.stack([np.zeros_like(y), np.sin(y * 150), np.sin(z * 120)], -1))


def _emblem(s: Skin, at: Spot) -> Array:
    """Chrome figure on a dark ground."""
    mark = s.decals.emblem.at(at.p[:, 2], at.p[:, 1])
    badge = metal(s.light, at.d, _tilted(at, 0.5), 0.85, 0.1) + 0.12
    navy = rgb(0.010, 0.018, 0.05) + 0.05 * s.light.around(reflect(at.d, at.n), 0.1)
    return mix(navy, badge, smoothstep(0.35, 0.7, mark))


def plate(light: Light, board_sheet: Sheet, characters: Sheet, at: Spot) -> Array:
    """A flat board with pressed characters in a dark frame."""
    board = board_sheet.at(at.p[:, 2], at.p[:, 1])
    sheet: Array = rgb(0.63, 0.63, 0.60) * light.diffuse(unit(at.n * 0.2 + rgb(1.0, 0.05, 0.0)))
    sheet = mix(sheet, sheet * 0.03, smoothstep(0.35, 0.65, characters.at(at.p[:, 2], at.p[:, 1])))
    return mix(rubber(light, at.d, at.n, 0.02, 0.5), sheet, smoothstep(0.7, 0.95, board))


def _nose(s: Skin, at: Spot, color: Array, front: Array) -> None:
    """Grille, lamps, bright parts, emblem and plate; `front` is where the nose is (0..1)."""
    k, z, y = s.decals, at.p[:, 2], at.p[:, 1]
    chrome = 0.7 if s.look.trim == "chrome" else 0.06
    color *= (1 - 0.88 * k.front_gaps.at(z, y) * front)[:, None]
    lay(color, k.grille.at(z, y) * front, lambda w: _grille(s, at.some(w)))
    lens = smoothstep(1.355, 1.37, at.p[:, 0] + 0.5 * (0.72 - y)) * (at.n[:, 0] > 0.02)
    lay(color, k.lamp.at(z, y) * lens, lambda w: _lamp(s, at.some(w)))
    lay(color, k.chrome.at(z, y) * front, lambda w: metal(s.light, at.d[w], _tilted(at.some(w), 0.6), chrome, 0.1))
    lay(color, k.fog.at(z, y) * front, lambda w: metal(s.light, at.d[w], _tilted(at.some(w), 0.5), 0.75, 0.1))
    lay(color, smoothstep(0.05, 0.25, k.emblem.at(z, y)) * front, lambda w: _emblem(s, at.some(w)))
    lay(color, smoothstep(0.1, 0.5, k.plate.at(z, y)) * front, lambda w: plate(s.light, k.plate, k.characters, at.some(w)))


def _screen(s: Skin, at: Spot, color: Array, upper: Array) -> None:
    """Windscreen with its black edge and the wipers; `upper` is where it may be (0..1)."""
    k, z, y = s.decals, at.p[:, 2], at.p[:, 1]
    lay(color, k.frit.at(z, y) * upper, lambda w: rubber(s.light, at.d[w], at.n[w], 0.006, 0.9))
    lay(color, k.screen.at(z, y) * upper, lambda w: _glass(s, at.some(w), True))
    lay(color, k.wipers.at(z, y) * upper, lambda w: rubber(s.light, at.d[w], at.n[w], 0.010, 0.4))


def _sides(at: Spot) -> tuple[Array, Array]:
    """Where the flank is, and where the windscreen may be, (N,) each 0..1."""
    x, y, z = at.p[:, 0], at.p[:, 1], at.p[:, 2]
    upper = smoothstep(0.22, 0.34, at.n[:, 0]) * (y > 0.93) * (x < 1.12)
    return smoothstep(0.25, 0.45, at.n[:, 2]) * (z > 0.3) * (1 - upper * (x > 0.2)), upper


def glazed(decals: Decals, at: Spot) -> Array:
    """Cover (N,) of window panes, 0..1."""
    side, upper = _sides(at)
    return np.maximum(decals.glass.at(at.p[:, 0], at.p[:, 1]) * side, decals.screen.at(at.p[:, 2], at.p[:, 1]) * upper)


def paint(s: Skin, at: Spot) -> Array:
    """Linear colours (N, 3) of points of the body."""
    x, y, z = at.p[:, 0], at.p[:, 1], at.p[:, 2]
    bump = smoothstep(0.25, 0.45, at.n[:, 2]) * (z > 0.3)
    front = smoothstep(0.16, 0.28, at.n[:, 0]) * (x > 1.2)
    side, upper = _sides(at)
    n = _bumped(s, at, bump)
    # Orange peel: lacquer is never quite flat, which breaks the edges of what it mirrors.
    peel = np.zeros_like(n)
    peel[:, 1] = 0.0025 * tile(s.flakes, x + z, y, 40.0)
    color = lacquer(s.light, s.look.paint, at.d, n, unit(n + peel), tile(s.flakes, x + 0.3 * z, y + 0.5 * z, 420.0), _occlusion(at.p, at.n))
    second = s.look.second
    if second:
        lay(color, livery.over(z, n[:, 1]), lambda w: _second(s, at.some(w), second))
    nose = np.maximum(front, (x > 1.2) * np.float32(1e-6))
    for place, layer in ((side, _flank), (nose, _nose), (upper, _screen)):
        where = np.flatnonzero(place > 0)
        if len(where):
            part = color[where]
            layer(s, at.some(where), part, place[where])
            color[where] = part
    return color

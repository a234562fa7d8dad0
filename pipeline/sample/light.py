"""The light: sky, sun and what stands around, as a function of direction; how paint, metal, glass and rubber answer it."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.sample.fields import Array, Sheet, bilinear, dot, fractal, mix, reflect, schlick, smoothstep, tile
from pipeline.sample.look import Look, Paint


def rgb(r: float, g: float, b: float) -> Array:
    """A linear colour."""
    return np.array([r, g, b], np.float32)


def _unfold(side: int) -> Array:
    """Unit directions (side, side, 3) of an octahedral map's texels: the upper half is the inner diamond (Meyer et al., 2010)."""
    c = ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)
    u, v = np.meshgrid(c, c)
    y = 1 - np.abs(u) - np.abs(v)
    x = np.where(y < 0, (1 - np.abs(v)) * np.sign(u), u)
    z = np.where(y < 0, (1 - np.abs(u)) * np.sign(v), v)
    d = np.stack([x, y, z], -1)
    return np.asarray(d / np.linalg.norm(d, axis=-1, keepdims=True), np.float32)


def _lookup(chart: Array, d: Array) -> Array:
    """Bilinear samples of an octahedral map in directions (..., 3)."""
    p = d / np.abs(d).sum(-1, keepdims=True)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    u = np.where(y < 0, (1 - np.abs(z)) * np.sign(x), x)
    v = np.where(y < 0, (1 - np.abs(x)) * np.sign(z), z)
    k = chart.shape[0] / 2
    return bilinear(chart, (u + 1) * k - 0.5, (v + 1) * k - 0.5, cv2.BORDER_REPLICATE)


@dataclass(frozen=True, slots=True)
class Light:
    """`sun` (3,) unit vector towards it; `sunlight` (3,) its irradiance on a plane that faces it; `clouds` a noise texture.

    `charts` are octahedral maps of the radiance around the car, each with the blur (0 sharp .. 1 matt) that it stands for.
    """

    sun: Array
    sunlight: Array
    haze: float
    clouds: Array
    charts: tuple[tuple[float, Array], ...] = ()

    def sky(self, d: Array) -> Array:
        """Radiance (..., 3) of the sky in unit directions (..., 3), clouds included, the sun's disc not."""
        up = np.clip(d[..., 1], 0.01, 1)
        low, high = rgb(0.86, 0.93, 1.0), rgb(0.17, 0.36, 0.78)
        blue = mix(low, high, np.sqrt(up))
        far = 0.35 / (up + 0.12)
        cover = tile(self.clouds, d[..., 0] * far, d[..., 2] * far, 150.0)
        cover = smoothstep(0.25 - 0.5 * self.haze, 0.75 - 0.3 * self.haze, cover)
        white = mix(rgb(0.78, 0.82, 0.90), rgb(1.25, 1.24, 1.2), smoothstep(0.0, 0.8, up))
        glow = np.clip(dot(d, self.sun), 0, 1) ** 24
        return np.asarray(mix(blue, white, cover * 0.85) + 0.5 * glow[..., None] * rgb(1.0, 0.93, 0.8), np.float32)

    def around(self, d: Array, blur: float = 0.0) -> Array:
        """Radiance (..., 3) from unit directions (..., 3) as the car sees it: sky, both sides of the street, the ground."""
        chart = min(self.charts, key=lambda c: abs(c[0] - blur))[1]
        return _lookup(chart, d)

    def ambient(self, n: Array) -> Array:
        """Irradiance over pi (..., 3) from all but the sun on unit normals (..., 3)."""
        t = smoothstep(-1.0, 1.0, n[..., 1])
        return mix(rgb(0.20, 0.19, 0.18), rgb(0.50, 0.58, 0.72), t)

    def diffuse(self, n: Array, shadow: Array | float = 1.0) -> Array:
        """Light (..., 3) that a white matt surface of these normals sends out; `shadow` 1 in the sun."""
        direct = np.clip(dot(n, self.sun), 0, 1) * shadow
        return np.asarray(direct[..., None] * self.sunlight + self.ambient(n), np.float32)

    def highlight(self, d: Array, sharpness: float) -> Array:
        """The sun's lobe (...) seen in direction d, 1 at its middle."""
        return np.asarray(np.exp((np.clip(dot(d, self.sun), -1, 1) - 1) * np.float32(sharpness)))


def _surroundings(light: Light, row: Sheet, side: int) -> Array:
    """An octahedral map: the houses behind the car and, further off, the same row again on the camera's side; ground below."""
    d = _unfold(side)
    color = light.sky(d)
    for z, shift, normal in ((-6.2, 0.0, 1.0), (13.0, 9.0, -1.0)):
        t = z / np.where(np.abs(d[..., 2]) < 1e-4, 1e-4, d[..., 2])
        wall = row.at(-np.abs(t * d[..., 0] + shift + 4) % 40 - 1 if normal < 0 else t * d[..., 0], t * d[..., 1] + 0.6)
        cover = wall[..., 3] * (t > 0) * (np.abs(t) < 60)
        lit = light.diffuse(np.zeros_like(d) + rgb(0, 0, normal), 0.9)
        color = mix(color, 0.75 * np.power(np.maximum(wall[..., :3], 0), 2.2) * lit, cover)
    depth = smoothstep(0.0, 0.75, -d[..., 1])
    sunny = light.sunlight * light.sun[1] + rgb(0.5, 0.58, 0.72)
    ground = mix(0.20 * sunny, 0.07 * sunny, depth)
    return mix(ground, color, smoothstep(-0.012, 0.008, d[..., 1]))


def make_light(look: Look, row: Sheet) -> Light:
    """The light of one scene; `row` is the sheet of houses."""
    clouds = fractal(look.rng(1), 512, 512, 4, 6, 0.6)
    strength = 1.85 - 0.9 * look.haze
    bare = Light(np.array(look.sun, np.float32), strength * rgb(1.0, 0.94, 0.84), look.haze, clouds)
    sharp = _surroundings(bare, row, 1024)
    charts: list[tuple[float, Array]] = [(0.0, np.asarray(cv2.GaussianBlur(sharp, (0, 0), 1.2), np.float32))]
    for blur, sigma in ((0.1, 4.0), (0.4, 20.0)):
        small = cv2.resize(sharp, (256, 256), interpolation=cv2.INTER_AREA)
        charts.append((blur, np.asarray(cv2.GaussianBlur(small, (0, 0), sigma), np.float32)))
    return Light(bare.sun, bare.sunlight, bare.haze, clouds, tuple(charts))


def lacquer(light: Light, paint: Paint, view: Array, n: Array, smooth: Array, flakes: Array, occlusion: Array) -> Array:
    """Car paint (..., 3): pigment, metallic flakes, clear coat. `view` travels to the surface; `smooth` are the coat's normals."""
    base = np.array(paint.base, np.float32)
    metallic = paint.metallic
    cosine = np.clip(-dot(view, smooth), 0, 1)
    mirror = reflect(view, smooth)
    body = base * light.diffuse(n, occlusion) * (1 - 0.45 * metallic) * occlusion[..., None]
    # Flakes lie roughly parallel to the surface: a wide coloured lobe that is brightest face-on (the "flop" of metallic paint).
    wide = 0.75 * light.highlight(mirror, 9.0)[..., None] * light.sunlight + 0.9 * light.around(mirror, 0.4)
    body = (
        body + metallic * base * wide * (0.35 + 0.65 * cosine)[..., None] * (1 + 0.22 * metallic * flakes)[..., None] * occlusion[..., None]
    )
    coat = schlick(cosine, 0.055)
    shine = light.around(mirror) * occlusion[..., None]
    sparkle = 14.0 * light.highlight(mirror, 2600.0) + 0.8 * light.highlight(mirror, 160.0)
    return np.asarray(body * (1 - coat)[..., None] + coat[..., None] * (shine + sparkle[..., None] * light.sunlight), np.float32)


def metal(light: Light, view: Array, n: Array, tint: float, rough: float) -> Array:
    """Polished or brushed metal (..., 3)."""
    mirror = reflect(view, n)
    return np.asarray(tint * (light.around(mirror, rough) + 1.5 * light.highlight(mirror, 60.0)[..., None] * light.sunlight), np.float32)


def rubber(light: Light, view: Array, n: Array, albedo: float, gloss: float) -> Array:
    """Matt black stuff (..., 3): tyres and plastics."""
    mirror = reflect(view, n)
    sheen = gloss * schlick(-dot(view, n), 0.05)
    shine = light.around(mirror, 0.4) + 0.6 * light.highlight(mirror, 12.0)[..., None]
    return np.asarray(albedo * light.diffuse(n) + sheen[..., None] * shine, np.float32)

"""The light: sky, sun and what stands around, as a function of direction; how paint, metal, glass and rubber answer it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.fields import fractal, mix, reflect, schlick, smoothstep, tile, dot
from pipeline.sample.look import Look

Array = NDArray[np.float32]


def rgb(r: float, g: float, b: float) -> Array:
    """A linear colour."""
    return np.array([r, g, b], np.float32)


@dataclass(frozen=True, slots=True)
class Light:
    """`sun` (3,) unit vector towards it; `sunlight` (3,) its irradiance on a plane that faces it; `clouds`, `skyline` noise sheets."""

    sun: Array
    sunlight: Array
    haze: float
    clouds: Array
    skyline: Array

    def sky(self, d: Array) -> Array:
        """Radiance (..., 3) of the sky in unit directions (..., 3), clouds included, the sun's disc not."""
        up = np.clip(d[..., 1], 0.01, 1)
        low, high = rgb(0.86, 0.93, 1.0), rgb(0.20, 0.40, 0.82)
        blue = mix(low, high, np.sqrt(up))
        far = 0.35 / (up + 0.12)
        cover = tile(self.clouds, d[..., 0] * far, d[..., 2] * far, 150.0)
        cover = smoothstep(0.25 - 0.5 * self.haze, 0.75 - 0.3 * self.haze, cover)
        white = mix(rgb(0.78, 0.82, 0.90), rgb(1.25, 1.24, 1.2), smoothstep(0.0, 0.8, up))
        glow = np.clip(dot(d, self.sun), 0, 1) ** 24
        return (mix(blue, white, cover * 0.85) + 0.5 * glow[..., None] * rgb(1.0, 0.93, 0.8)).astype(np.float32)

    def around(self, d: Array, blur: float = 0.02) -> Array:
        """Radiance (..., 3) from any direction as the car sees it: sky, the street's far side, the ground; edges softened by `blur`."""
        azimuth = np.arctan2(d[..., 0], d[..., 2]) / np.float32(np.pi)
        profile = tile(self.skyline, azimuth + 1, np.full_like(azimuth, 0.01), 250.0)
        top = 0.17 + 0.10 * profile
        fine = tile(self.skyline, azimuth * 6 + 3, d[..., 1] * 6 + 3, 150.0)
        houses = rgb(0.15, 0.145, 0.13) * (1 + 0.5 * fine)[..., None]
        lit = np.clip(0.6 - 0.6 * (d[..., 0] * self.sun[0] + d[..., 2] * self.sun[2]), 0.35, 1.2)
        houses = houses * lit[..., None] * 1.6
        depth = smoothstep(0.0, 0.75, -d[..., 1])
        ground = mix(rgb(0.40, 0.39, 0.375), rgb(0.16, 0.16, 0.165), depth)
        out = mix(houses, self.sky(d), smoothstep(-blur, blur, d[..., 1] - top))
        return mix(ground, out, smoothstep(-blur * 1.4 - 0.008, blur * 0.6 + 0.004, d[..., 1]))

    def ambient(self, n: Array) -> Array:
        """Irradiance over pi (..., 3) from all but the sun on unit normals (..., 3)."""
        t = smoothstep(-1.0, 1.0, n[..., 1])
        return mix(rgb(0.22, 0.21, 0.20), rgb(0.62, 0.70, 0.85), t)

    def diffuse(self, n: Array, shadow: Array | float = 1.0) -> Array:
        """Light (..., 3) that a white matt surface of these normals sends out; `shadow` 1 in the sun."""
        direct = np.clip(dot(n, self.sun), 0, 1) * shadow
        return (direct[..., None] * self.sunlight + self.ambient(n)).astype(np.float32)

    def highlight(self, d: Array, sharpness: float) -> Array:
        """The sun's lobe (...) seen in direction d, 1 at its middle."""
        return np.exp((np.clip(dot(d, self.sun), -1, 1) - 1) * np.float32(sharpness)).astype(np.float32)


def make_light(look: Look) -> Light:
    """The light of one scene."""
    rng = look.rng(1)
    clouds = fractal(rng, 512, 512, 4, 6, 0.6)
    skyline = fractal(rng, 512, 512, 6, 6, 0.6)
    strength = 1.75 - 0.9 * look.haze
    return Light(np.array(look.sun, np.float32), strength * rgb(1.0, 0.94, 0.84), look.haze, clouds, skyline)


def lacquer(light: Light, look: Look, view: Array, n: Array, smooth: Array, flakes: Array, occlusion: Array) -> Array:
    """Car paint (..., 3): pigment, metallic flakes, clear coat. `view` travels to the surface; `smooth` are the coat's normals."""
    base = np.array(look.paint.base, np.float32)
    metallic = look.paint.metallic
    cosine = np.clip(-dot(view, smooth), 0, 1)
    mirror = reflect(view, smooth)
    body = base * light.diffuse(n, occlusion) * (1 - 0.45 * metallic) * occlusion[..., None]
    # Flakes lie roughly parallel to the surface: a wide coloured lobe that is brightest face-on (the "flop" of metallic paint).
    wide = 0.75 * light.highlight(mirror, 9.0)[..., None] * light.sunlight + 0.9 * light.around(mirror, 0.35)
    body = (
        body + metallic * base * wide * (0.35 + 0.65 * cosine)[..., None] * (1 + 0.22 * metallic * flakes)[..., None] * occlusion[..., None]
    )
    coat = schlick(cosine, 0.045)
    shine = light.around(mirror, 0.015) * occlusion[..., None]
    sparkle = 14.0 * light.highlight(mirror, 2600.0) + 0.8 * light.highlight(mirror, 160.0)
    return (body * (1 - coat)[..., None] + coat[..., None] * (shine + sparkle[..., None] * light.sunlight)).astype(np.float32)


def metal(light: Light, view: Array, n: Array, tint: float, rough: float) -> Array:
    """Polished or brushed metal (..., 3)."""
    mirror = reflect(view, n)
    return (tint * (light.around(mirror, rough) + 1.5 * light.highlight(mirror, 60.0)[..., None] * light.sunlight)).astype(np.float32)


def rubber(light: Light, view: Array, n: Array, albedo: float, gloss: float) -> Array:
    """Matt black stuff (..., 3): tyres and plastics."""
    mirror = reflect(view, n)
    sheen = gloss * schlick(-dot(view, n), 0.05)
    return (
        albedo * light.diffuse(n) + sheen[..., None] * (light.around(mirror, 0.4) + 0.6 * light.highlight(mirror, 12.0)[..., None])
    ).astype(np.float32)

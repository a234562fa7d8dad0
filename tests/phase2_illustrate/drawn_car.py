"""Drawn cars whose paint, glass and wheels are known."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import lab2rgb

from pipeline.values import Mask, Rgb

Colour = tuple[int, int, int]

GROUND: Colour = (136, 136, 136)
GLASS: Colour = (70, 72, 74)
RUBBER: Colour = (18, 18, 19)
RIM: Colour = (168, 168, 170)


def lch(light: float, chroma: float, hue: float) -> Colour:
    """The sRGB colour of that CIELAB lightness, chroma and hue in degrees, or the nearest that sRGB has."""
    turn = np.radians(hue)
    r, g, b = np.round(255 * lab2rgb(np.array([light, chroma * np.cos(turn), chroma * np.sin(turn)]))).astype(int).tolist()
    return r, g, b


def in_light(rgb: NDArray[np.integer], factor: object) -> Rgb:
    """The colours in other light: their linear values times `factor`, which may differ from pixel to pixel and channel to channel."""
    linear = np.where(rgb <= 10.31475, rgb / 3294.6, ((rgb / 255 + 0.055) / 1.055) ** 2.4) * np.asarray(factor)
    linear = np.clip(linear, 0, 1)
    return np.round(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)).astype(np.uint8)


@dataclass(frozen=True)
class Car:
    """`rgb` (S, S, 3); `inside` (S, S) the vehicle; `glass` its two side windows; `wheels` whole discs; `body` what is painted."""

    rgb: Rgb
    inside: Mask
    glass: Mask
    wheels: Mask
    body: Mask


def _area(side: int, points: list[tuple[int, int]]) -> NDArray[np.uint8]:
    """A polygon, told at a side of 512."""
    area = np.zeros((side, side), np.uint8)
    cv2.fillPoly(area, [np.round(np.array(points) * side / 512).astype(np.int32)], 1)
    return area


def _disc(side: int, x: float, y: float, rx: float, ry: float) -> NDArray[np.uint8]:
    """An ellipse, told at a side of 512."""
    k = side / 512
    return cv2.ellipse(np.zeros((side, side), np.uint8), (round(k * x), round(k * y)), (round(k * rx), round(k * ry)), 0, 0, 360, 1, -1)


SILHOUETTE = [
    (40, 300), (44, 246), (150, 226), (196, 160), (330, 158), (404, 226), (466, 240), (472, 300), (466, 326), (46, 326),
]  # fmt: skip
WINDOWS = ([(176, 222), (208, 172), (254, 171), (254, 222)], [(266, 222), (266, 171), (324, 170), (372, 222)])


@cache
def car(
    paint: Colour,
    *,
    side: int = 512,
    ground: Colour = GROUND,
    glass: Colour = GLASS,
    wheels: tuple[float, ...] = (130, 386),
    slender: float = 1.0,
    noise: float = 1.5,
    cast: tuple[float, float, float] = (1, 1, 1),
    rear: Colour | None = None,
    rear_from: int = 256,
) -> Car:
    """A car from its side: shaded body, two grey panes, black tyres with grey rims, on an even ground.

    `wheels`: where they stand; `slender`: their width over their height; `cast`: the light's colour, as factors of linear RGB; `rear`:
    the paint of what lies right of `rear_from`, where that is another. Places are told at a side of 512.
    """
    body = _area(side, SILHOUETTE)
    discs = [_disc(side, x, 322, 40 * slender, 40) for x in wheels]
    arches = [_disc(side, x, 322, 46 * slender, 46) * body for x in wheels]
    inside = np.maximum.reduce([body, *discs]) > 0
    shade = np.interp(np.arange(side) * 512 / side, [150, 230, 326], [1.15, 1.0, 0.62])[:, None, None]
    colours = np.broadcast_to(np.array(paint, np.uint8), (side, side, 3)).copy()
    if rear is not None:
        colours[:, round(rear_from * side / 512) :] = rear
    rgb = np.where(body[..., None] > 0, in_light(colours, shade), np.array(ground, np.uint8)).astype(np.uint8)
    panes = np.maximum(_area(side, WINDOWS[0]), _area(side, WINDOWS[1])) > 0
    rgb[panes] = glass
    for arch, disc, x in zip(arches, discs, wheels, strict=True):
        rgb[arch > 0] = 12
        rgb[disc > 0] = RUBBER
        rgb[_disc(side, x, 322, 24 * slender, 24) > 0] = RIM
    rgb = in_light(rgb, cast)
    noisy = rgb + np.random.default_rng(5).normal(0, noise, rgb.shape)
    round_ = np.maximum.reduce([np.zeros((side, side), np.uint8), *discs]) > 0
    dark = np.maximum.reduce([np.zeros((side, side), np.uint8), *discs, *arches]) > 0
    return Car(np.clip(noisy, 0, 255).astype(np.uint8), inside, panes, round_, (body > 0) & ~dark & ~panes)


@dataclass(frozen=True)
class Front:
    """`rgb` (S, S, 3); `inside` (S, S) the vehicle; `glass` its windscreen, without the seal around it."""

    rgb: Rgb
    inside: Mask
    glass: Mask


WINDSCREEN = [(190, 142), (322, 142), (372, 234), (140, 234)]


@cache
def front(
    paint: Colour = (222, 222, 222), *, side: int = 512, glass: Colour = (60, 62, 64), mirrored: str = "none", seal: Colour = (20, 20, 22)
) -> Front:
    """A car from its front: a windscreen in a dark seal, lamps, a grille. `mirrored`: the part of the glass that shows the paint's colour.

    That part is half of the windscreen, "left", "right" or askew, and ends softly.
    """
    k = side / 512
    body = _area(side, [(175, 120), (337, 120), (400, 240), (440, 262), (452, 400), (60, 400), (72, 262), (112, 240)]) > 0
    screen = _area(side, WINDSCREEN) > 0
    shade = np.interp(np.arange(side) / k, [120, 240, 250, 400], [1.1, 1.0, 1.1, 0.6])[:, None, None]
    rgb = np.where(body[..., None], in_light(np.array(paint, np.uint8)[None, None], shade), np.array(GROUND, np.uint8)).astype(np.uint8)
    rgb[screen] = glass
    y, x = np.mgrid[:side, :side] / k
    share = {"none": x < 0, "left": x < 256, "right": x > 256, "askew": x + y / 2 > 350}[mirrored].astype(np.float32)
    share = (cv2.GaussianBlur(share, (0, 0), 14 * k) * screen)[..., None]
    rgb = np.round(rgb * (1 - share) + np.array(paint) * share).astype(np.uint8)
    rgb[cv2.morphologyEx(screen.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((round(4 * k) + 1,) * 2, np.uint8)) > 0] = seal
    for left in (100, 352):
        rgb[_area(side, [(left, 285), (left + 55, 285), (left + 55, 315), (left, 315)]) > 0] = (245, 245, 240)
    rgb[_area(side, [(170, 330), (342, 330), (342, 375), (170, 375)]) > 0] = 22
    noisy = rgb + np.random.default_rng(1).normal(0, 1.5, rgb.shape)
    return Front(np.clip(noisy, 0, 255).astype(np.uint8), body, screen)

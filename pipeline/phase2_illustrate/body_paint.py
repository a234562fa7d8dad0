"""Whether the vehicle's body is painted in a colour, decided once for the whole body, and its paint brought to full chroma.

Muted paint (teal, maroon, champagne) and the light on a white car have the same chroma, so no rule for single pixels tells them apart.
Paint is a hue that most of the smooth body shares and that the surroundings do not have; a tint that they have too is the light's own,
and a faint blue is the sky's. Chroma is taken in proportion to lightness, which shading leaves alone.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.color import srgb_to_lab
from pipeline.values import Mask, Rgb

Float = NDArray[np.float32]

#: Chroma is given as that of a surface of this L*; darker ones count as `DARKEST`, where noise has chroma too.
LIGHTNESS, DARKEST = 55.0, 28.0
#: Lightness of pixels that are looked at, and the steepest slope (L* by Sobel) on a smooth surface.
LOWEST, HIGHEST, SMOOTH = 12.0, 93.0, 12.0
AROUND = 80.0  # pixels at a side of 1024 that the surroundings reach
FAINT = 5.0  # chroma below which a hue means nothing
SECTOR = 27.0  # degrees to each side that are one paint
LEAST_SHARE = 0.3  # share of the smooth body that has the hue
LEAST = 9.0  # chroma from which it is paint
#: The sky's hues, degrees, and the chroma from which one of them is paint: on dark bodies, where little light mirrors much sky, and on
#: bodies lighter than so much L*.
SKY, LEAST_SKY, LEAST_SKY_LIGHT, DARK_BODY = (205.0, 300.0), 16.0, 13.0, 35.0
STEADY = 0.8  # least share of its chroma that such a hue keeps on the lower half of the body, which mirrors the ground
LIGHT_SHARE, MOST_LIGHT = 0.8, 15.0  # how much of the surroundings' chroma in that hue is the light's, and up to which chroma
FULL = 70.0  # the chroma, as that of a surface of L* 55, that the body's paint is brought to
KEPT, LOST = 40.0, 60.0  # degrees from the paint's hue up to which a pixel is brought along wholly, and from which not at all
PALE = (0.18, 0.36)  # share of the paint's chroma up to which a pixel is only tinted, as chrome is, and from which it is paint
FAMILY, COUSINS = 60.0, 15.0  # degrees within which a colour of the palette can stand for the paint, and others stand beside that one


@dataclass(frozen=True, slots=True)
class Paint:
    """The body's paint: `hue` degrees, its median `chroma` as that of a surface of L* 55, and its median lightness, `light`, L*."""

    hue: float
    chroma: float
    light: float


def surroundings_of(rgb: Rgb, inside: Mask) -> Float:
    """(k, 3) CIELAB: every seventh pixel around the vehicle, but for its fringe and for black, which may lie beyond the photo."""
    wide = 2 * round(AROUND * len(rgb) / 1024) + 1
    near, fringe = (cv2.blur(inside.astype(np.float32), (side, side)) > 1e-6 for side in (wide, 9))
    return np.asarray(srgb_to_lab(rgb[near & ~fringe & rgb.any(-1)][None, ::7])[0], np.float32)


def _scaled(lab: Float) -> Float:
    """(…, 2) a* and b* in proportion to lightness."""
    return np.asarray(lab[..., 1:] * (LIGHTNESS / np.maximum(lab[..., :1], DARKEST)), np.float32)


def _degrees(ab: Float) -> Float:
    return np.asarray(np.degrees(np.arctan2(ab[..., 1], ab[..., 0])) % 360, np.float32)


def _apart(hue: Float, other: float) -> Float:
    return np.asarray(np.abs((hue - other + 180) % 360 - 180), np.float32)


def _mode(hue: Float, weight: Float) -> float:
    """The most frequent hue: the mean of the heaviest 55 degrees."""
    counts, _ = np.histogram(hue, bins=72, range=(0, 360), weights=weight)
    middle = float((np.sum([np.roll(counts, k) for k in range(-5, 6)], axis=0).argmax() + 0.5) * 5)
    # One even hue fills every window that holds it alike, and the first of them has it at its end.
    near = _apart(hue, middle) <= 27.5
    turn = np.radians(hue[near])
    return float(np.degrees(np.arctan2((weight[near] * np.sin(turn)).sum(), (weight[near] * np.cos(turn)).sum())) % 360)


def body_paint(lab: Float, inside: Mask, around: Float) -> Paint | None:
    """The body's paint, or None where it is colourless or of many colours.

    `lab` (H, W, 3) smoothed CIELAB; `inside` (H, W) the vehicle; `around` (k, 3) CIELAB colours of its surroundings, maybe none.
    """
    unit = max(1, round(4 * len(lab) / 1024))
    light = np.ascontiguousarray(lab[..., 0])
    slope = np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1))
    lit = (light > LOWEST) & (light < HIGHEST)
    body = (cv2.erode(inside.astype(np.uint8), np.ones((2 * unit + 1,) * 2, np.uint8), borderValue=0) > 0) & lit & (slope < SMOOTH)
    if not body.any():
        return None
    colours = _scaled(lab[body])
    chroma, hue = np.hypot(colours[:, 0], colours[:, 1]), _degrees(colours)
    mode = _mode(hue[chroma > FAINT], np.minimum(chroma[chroma > FAINT], 30))
    own = (_apart(hue, mode) < SECTOR) & (chroma > FAINT)
    if own.mean() < LEAST_SHARE:
        return None
    found = float(np.median(chroma[own]))
    ring = around[(around[:, 0] > LOWEST) & (around[:, 0] < HIGHEST + 2)]
    ways = np.array([np.cos(np.radians(mode)), np.sin(np.radians(mode))], np.float32)
    shared = float(np.median(_scaled(ring) @ ways)) if len(ring) > 100 else 0.0
    needed = LEAST
    if SKY[0] < mode < SKY[1]:
        rows = np.nonzero(body)[0]
        lower = chroma[own & (rows >= np.median(rows))]
        if not len(lower) or np.median(lower) < STEADY * found:
            return None
        found = float(np.median(lower))
        needed = LEAST_SKY if np.median(lab[body][own][:, 0]) < DARK_BODY else LEAST_SKY_LIGHT
    if found < needed + LIGHT_SHARE * min(max(shared, 0.0), MOST_LIGHT):
        return None
    a, b = lab[body][own][:, 1:].mean(0)  # of its colours the strongest count most, which shade and sky have changed least
    return Paint(float(np.degrees(np.arctan2(b, a)) % 360), found, float(np.median(lab[body][own][:, 0])))


def painted(lab: Float, inside: Mask, paint: Paint, least: float) -> Mask:
    """(H, W) where the vehicle `inside` has the paint's hue, in at least the share `least` of its chroma."""
    strong = np.hypot(*np.moveaxis(_scaled(lab), -1, 0)) > least * paint.chroma
    return np.asarray(inside & strong & (_apart(_degrees(lab[..., 1:]), paint.hue) < KEPT))


def family_of(paint: Paint, palette: Float) -> tuple[float, Mask]:
    """The hue, degrees, in which the paint is drawn, and which colours of `palette` (n, 3) CIELAB are of that hue.

    It is that of the palette's nearest colour; where none is near, the paint's own, which no colour has.
    """
    hues, pure = _degrees(palette[:, 1:]), np.hypot(palette[:, 1], palette[:, 2]) >= FAINT
    far = np.where(pure, _apart(hues, paint.hue), 360)
    nearest = int(far.argmin())
    if far[nearest] > FAMILY:
        return paint.hue, np.zeros(len(palette), bool)
    return float(hues[nearest]), pure & (_apart(hues, float(hues[nearest])) <= COUSINS)


def full_chroma(paint: Paint, family: Float) -> float:
    """The chroma, as that of a surface of L* 55, by which the paint is held against its family, (n, 3) CIELAB: that of the colour which is
    as light as it. So light blue becomes cyan, and not its shade, teal; at most `FULL`."""
    if not len(family):
        return FULL
    nearest = family[np.abs(family[:, 0] - paint.light).argmin()]
    return min(FULL, float(np.hypot(*_scaled(nearest))))


def restored(lab: Float, paint: Paint, target: float) -> tuple[Float, Float]:
    """`lab` (H, W, 3) with the paint's pixels in full chroma and of the hue `target`; and how far each pixel is paint, (H, W) 0..1."""
    apart = _apart(_degrees(lab[..., 1:]), paint.hue)
    strength = np.hypot(*np.moveaxis(_scaled(lab), -1, 0)) / paint.chroma
    share = np.clip((LOST - apart) / (LOST - KEPT), 0, 1) * np.clip((strength - PALE[0]) / (PALE[1] - PALE[0]), 0, 1)
    gain = 1 + (max(1.0, FULL / paint.chroma) - 1) * share
    turn = np.radians(((target - _degrees(lab[..., 1:]) + 180) % 360 - 180) * share)
    a, b = lab[..., 1] * gain, lab[..., 2] * gain
    turned = np.stack([lab[..., 0], a * np.cos(turn) - b * np.sin(turn), a * np.sin(turn) + b * np.cos(turn)], -1)
    return turned.astype(np.float32), np.asarray(share, np.float32)

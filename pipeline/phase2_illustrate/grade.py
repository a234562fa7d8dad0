"""Grading: a shaded picture into calm areas of the palette's colours. Used by every engine.

Nearest colour alone turns the shaded half of a red car dark grey, because CIEDE2000 weighs lightness and chroma against hue. So the
palette is known while grading: coloured pixels go by hue first, colourless ones by a tone curve laid through the picture's own tones;
the cost of every palette colour is smoothed along the picture's edges (cost-volume filtering: Hosni et al., 2013) before the cheapest
is taken, and regions that cost more boundary than they are worth join a neighbour.
"""

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.parallel import each
from pipeline.phase2_illustrate.body_paint import FULL, body_paint, family_of, full_chroma, restored, surroundings_of
from pipeline.phase2_illustrate.calm_areas import Costs, Labels, calm
from pipeline.phase2_illustrate.guided_filter import GuidedFilter
from pipeline.phase2_illustrate.soft_edges import softened
from pipeline.phase2_illustrate.tones import tone_curve
from pipeline.raster import window
from pipeline.values import Mask, Rgb

Float = NDArray[np.float32]

GREY = 8.0  # chroma below which a palette colour is a tone
FLAT = 0.9  # share of pixels that already have palette colours, above which the picture counts as graded
NEAR = 3.0  # ΔE*ab within which a pixel has a palette colour
STRONG, WEAK = 30.0, 11.0  # chroma that makes paint, and chroma that belongs to it where it touches
CORE_SHARE = 0.12  # least share of strong chroma in a coloured area
HUE_SECTOR = 40.0  # degrees that count as one hue
STRANGER = 30.0  # what the body's paint says against a colour of another family
CEILING = 60.0  # most that a pixel may say against a label: keeps single odd pixels from deciding


def lab_of(rgb: Rgb) -> Float:
    """CIELAB as float32."""
    return srgb_to_lab(rgb).astype(np.float32)


def tones_of(palette: Palette) -> NDArray[np.intp]:
    """The palette's colourless entries, by index, from dark to light."""
    lab = srgb_to_lab(palette.rgb)
    tones = np.flatnonzero(np.hypot(lab[:, 1], lab[:, 2]) < GREY)
    return tones[np.argsort(lab[tones, 0])]


def coloured_share(lab: Float, inside: Mask, unit: float) -> Float:
    """How far a pixel counts as coloured, 0..1: by chroma, with a higher threshold in the dark, where noise has chroma too.

    Weak chroma counts only where it hangs together with strong chroma of the same hue (hysteresis), so that tinted glass and a
    body in warm light stay tones while the pale end of a painted panel stays paint. Colour fringes at edges have no strong core.
    """
    L, a, b = np.moveaxis(lab, -1, 0)
    chroma = np.hypot(a, b) - np.clip(25 - L, 0, 25) * 0.5
    core = np.ones((max(2, round(3 * unit)),) * 2, np.uint8)
    strong = cv2.morphologyEx(((chroma > STRONG) & inside).astype(np.uint8), cv2.MORPH_OPEN, core)
    weak = (chroma > WEAK) & inside
    rooted = np.zeros(weak.shape, bool)
    hue = np.degrees(np.arctan2(b, a))
    for offset in (0.0, HUE_SECTOR / 2):
        sector = np.floor((hue + 180 + offset) / HUE_SECTOR).astype(np.uint8) + 1
        component = cc3d.connected_components(np.where(weak, sector, 0).astype(np.uint8), connectivity=4, out_dtype=np.uint32)
        size = np.bincount(component.ravel())
        held = np.bincount(component.ravel(), weights=strong.ravel()) > CORE_SHARE * size
        held[0] = False
        rooted |= held[component]
    soft = 1 / (1 + np.exp(-(chroma - 13) / 2.5))
    return np.asarray(np.where(rooted, soft, np.minimum(soft, 0.1)), np.float32)


def hue_gain(lab: Float, coloured: Float, inside: Mask, palette: Float) -> Float:
    """By how much the paint of each hue is brightened before it is compared with the palette's pure colours: an exposure, 1 to 2.

    (H, W). Each sector of hue is measured by itself, so that a red lamp on a white car and a blue car both reach their colour.
    """
    paint = inside & (coloured > 0.5)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    centres = np.radians(np.arange(0, 360, HUE_SECTOR / 2))
    hue, hues = np.arctan2(lab[..., 2], lab[..., 1]), np.arctan2(palette[:, 2], palette[:, 1])
    pure = np.hypot(palette[:, 1], palette[:, 2])
    gains = np.ones(len(centres) + 1, np.float32)
    place = np.round((np.degrees(hue) % 360) / (HUE_SECTOR / 2)).astype(np.intp) % len(centres)
    for k, centre in enumerate(centres):
        near = np.cos(hues - centre) > np.cos(np.radians(HUE_SECTOR))
        here = chroma[paint & ((place - k + 1) % len(centres) <= 2)]
        if near.any() and here.size:
            gains[k] = np.clip(pure[near].max() / np.percentile(here, 60), 1, 2)
    gains[-1] = gains[0]
    return np.asarray(np.interp(np.degrees(hue) % 360, np.append(np.degrees(centres), 360), gains), np.float32)


def label_costs(lab: Float, inside: Mask, surroundings: Float, palette: Float, unit: float) -> Costs:
    """(n, H, W) cost of every palette colour at every pixel, in about ΔE units; `palette` (n, 3) CIELAB; `unit` pixels at 1024.

    `surroundings` (k, 3) CIELAB, colours around the vehicle, show the light in which it stands.
    """
    nearest = np.full(inside.shape, np.inf, np.float32)
    for p in palette:
        nearest = np.minimum(nearest, np.linalg.norm(lab - p, axis=-1))
    if (nearest[inside] < NEAR).mean() >= FLAT:
        return np.stack([np.linalg.norm(lab - p, axis=-1) for p in palette]).astype(np.float32)
    family, belongs = np.ones(len(palette), bool), np.zeros(inside.shape, np.float32)
    paler: Float | float = 1.0
    if (paint := body_paint(lab, inside, surroundings)) is not None:
        target, own = family_of(paint, palette)
        lab, belongs = restored(lab, paint, target)
        paler = 1 - belongs * (1 - full_chroma(paint, palette[own]) / FULL)
        family = own if own.any() else family
    L, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    hue = np.arctan2(lab[..., 2], lab[..., 1])
    coloured = coloured_share(lab, inside, unit)
    pure = np.hypot(palette[:, 1], palette[:, 2])
    tones = palette[pure < GREY, 0]
    graded = len(tones) >= 2 and np.ptp(tones) >= 25
    tone = tone_curve(L, inside & (coloured < 0.3), inside, tones if graded else palette[:, 0])
    gain = hue_gain(lab, coloured, inside, palette)
    # Shading scales lightness and chroma alike: their ratio tells red in shade from brown, and red in light from pink.
    saturation = np.log((chroma * gain * paler + 5) / (L + 5))
    lit = np.minimum(L * gain, 100)
    costs = np.empty((len(palette), *L.shape), np.float32)

    def fill(k: int) -> None:
        p, c = palette[k], pure[k]
        lightness = np.abs(tone - p[0]) * 0.9
        if c < GREY:
            costs[k] = lightness * (1 - coloured) + coloured * (48 + 0.28 * np.abs(L - p[0]))
            return
        apart = np.degrees(np.abs(hue - np.arctan2(p[2], p[1])))
        turn = np.minimum(apart, 360 - apart)
        unlike = 0.4 * np.minimum(turn, 90) + np.clip(turn - 38, 0, 52) + 0.15 * np.abs(lit - p[0])
        unlike += 12 * np.abs(saturation - np.log((c + 5) / (p[0] + 5)))
        if not family[k]:
            unlike += STRANGER * belongs
        costs[k] = coloured * unlike + (1 - coloured) * ((75 if graded else 10) + lightness * (0.3 if graded else 1))

    each(fill, range(len(palette)))
    return costs


def boundary_weight(lab: Float, unit: float) -> Float:
    """Cost of a pixel of boundary: 1 on flat ground falling to a floor where the picture has an edge (colour step within `unit` px)."""
    reach = max(1, round(2 * unit))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    step = np.sqrt(sum((cv2.dilate(c, kernel) - cv2.erode(c, kernel)) ** 2 for c in np.moveaxis(lab, -1, 0)))
    return (0.12 + 0.88 * np.exp(-((step / 14) ** 2))).astype(np.float32)


def _grade_part(rgb: Rgb, part: Mask, palette: Palette, surroundings: Float) -> Labels:
    """Grade the pixels of `part`; the others answer len(palette)."""
    n, unit = len(palette), len(rgb) / 1024
    least = 40 * unit**2
    answer = np.full(part.shape, n, np.uint8)
    if not part.any():
        return answer
    crop = window(part, 2)
    inside, picture = part[crop], np.ascontiguousarray(rgb[crop])
    lab = lab_of(np.asarray(cv2.bilateralFilter(picture, max(5, round(9 * unit)), 35, 6 * unit), np.uint8))
    costs = label_costs(lab, inside, surroundings, lab_of(palette.rgb), unit)
    costs -= costs.min(0)
    np.minimum(costs, CEILING, out=costs)
    smooth = GuidedFilter.of(lab, inside, max(1, round(4 * unit)), 4.0**2)
    cheapest = np.bincount(costs.argmin(0)[inside], minlength=n)

    def settle(k: int) -> None:
        # A colour that is the best for fewer pixels than the smallest region has cannot win one: it is left out.
        costs[k] = smooth(smooth(costs[k])) if cheapest[k] >= min(least, cheapest.max()) else CEILING

    each(settle, range(n))
    costs -= costs.min(0)
    labels = np.where(inside, costs.argmin(0), n).astype(np.uint8)
    boundary = boundary_weight(lab, unit) * np.float32(40 * unit)
    labels = calm(labels, costs, boundary, per_region=1200 * unit**2, least=least)
    answer[crop] = softened(labels, lab, n, unit)
    return answer


def grade(rgb: Rgb, inside: Mask, palette: Palette, background: bool = False) -> Labels:
    """Labels (S, S) uint8, index into the palette: the picture in few flat areas of palette colours.

    `rgb` (S, S, 3) uint8 sRGB; `inside` (S, S) the vehicle. Outside it the answer is len(palette) ("nothing"), unless `background`
    is true: then the background is graded too, by itself, so that no area crosses the vehicle's outline.
    """
    labels = _grade_part(rgb, inside, palette, surroundings_of(rgb, inside))
    if not background:
        return labels
    return np.where(inside, labels, _grade_part(rgb, ~inside, palette, np.empty((0, 3), np.float32))).astype(np.uint8)

"""Light shapes on black: what a designer draws in tyres, wheels, grilles and shaded parts, which would be one black blot otherwise.

Inside the areas that were graded to the darkest tone, lightness is measured against its own surroundings and their contrast (local
contrast normalisation), so that a spoke four units of L* above a wheel's black counts as much as one of twenty. What stands out takes
the palette's next tone: areas by a threshold, thin lines by the same oriented filters as the panel lines.
"""

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.color import lightness
from pipeline.palette import Palette
from pipeline.phase2_illustrate.calm_areas import Labels
from pipeline.phase2_illustrate.contrast import relative, slope
from pipeline.phase2_illustrate.grade import tones_of
from pipeline.phase2_illustrate.panel_lines import followed, line_strength, thinned
from pipeline.phase2_illustrate.strokes import joined, smoothed, traced
from pipeline.raster import ellipse, large_areas, window
from pipeline.values import Mask, Rgb

Float = NDArray[np.float32]

#: Lengths are pixels at a side of 1024.
NEIGHBOURHOOD, WIDER = 14.0, 20.0  # where the surroundings' lightness, and their contrast, are measured
FLOOR = 0.9  # the contrast, L*, that is always there: below it is noise
STANDS_OUT = 0.5  # times the surroundings' contrast, from which a pixel is light
SMALLEST = 60.0  # area of a light shape, and of a black one inside it
CLEAR_EDGE = 2.2  # mean contrast of a shape's outline against the contrast around, below which it is a haze
LINE_WEAK, LINE_SURE, LINE_SHORTEST = 2.0, 8.0, 24.0  # as the panel lines' `WEAK`, `SURE` and `SHORTEST`
LINE_WIDTH = 2.6
FRINGE = 2.0  # how far the light beside a dark area reaches into it


def _mean(values: Float, where: Mask, sigma: float) -> Float:
    """The Gaussian mean of the values at `where`."""
    weight = cv2.GaussianBlur(where.astype(np.float32), (0, 0), sigma)
    held = cv2.GaussianBlur(np.where(where, values, 0).astype(np.float32), (0, 0), sigma)
    return np.asarray(held / np.maximum(weight, 1e-3), np.float32)


def _standing_out(light: Float, dark: Mask, unit: float) -> Mask:
    """Pixels of `dark` that are light for their surroundings, in clear shapes."""
    mean = _mean(light, dark, NEIGHBOURHOOD * unit)
    contrast = np.sqrt(_mean((light - mean) ** 2, dark, WIDER * unit))
    raised = dark & (light - mean > STANDS_OUT * (contrast + FLOOR))
    raised = (cv2.GaussianBlur(raised.astype(np.float32), (0, 0), 1.2 * unit) > 0.5) & dark
    shape = cc3d.connected_components(raised.astype(np.uint8), connectivity=4, out_dtype=np.uint32)
    area = np.bincount(shape.ravel())
    beside = cv2.dilate((dark & ~raised).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    outline = raised & beside
    count = np.maximum(1, np.bincount(shape[outline], minlength=len(area)))
    edge = np.bincount(shape[outline], weights=relative(slope(light, unit), unit)[outline], minlength=len(area)) / count
    kept = (area >= SMALLEST * unit**2) & (edge >= CLEAR_EDGE)
    kept[0] = False
    return np.asarray(kept[shape])


def _light_lines(light: Float, dark: Mask, unit: float) -> Mask:
    """Thin lines lighter than both of their sides, within `dark`, as wide as they are drawn."""
    strength, direction = line_strength(-light, unit, -np.inf)
    strength = np.where(dark, np.maximum(strength, 0), 0).astype(np.float32)
    strength /= np.sqrt(cv2.GaussianBlur(strength, (0, 0), 24 * unit) / 2 + 0.5)
    crest = thinned(np.asarray(cv2.GaussianBlur(strength, (0, 0), 0.8 * unit), np.float32), direction)
    paths = [smoothed(path, 3 * unit) for path in joined(traced(followed(strength, crest, LINE_WEAK, LINE_SURE)), gap=8 * unit, turn=35)]
    canvas = np.zeros(dark.shape, np.uint8)
    for path in paths:
        if len(path) >= LINE_SHORTEST * unit:
            cv2.polylines(canvas, [np.round(path * 16).astype(np.int32)], False, 1, max(1, round(LINE_WIDTH * unit)), cv2.LINE_8, 4)
    return (canvas > 0) & dark


def relieved(rgb: Rgb, inside: Mask, labels: Labels, palette: Palette, spared: Mask) -> Labels:
    """`labels` (S, S) with light shapes of the next tone in the areas of the darkest.

    `rgb` (S, S, 3) uint8 sRGB, the photograph; `inside` (S, S) the vehicle; `spared` (S, S) stays as it is. A palette with a single
    tone has nothing to draw them with.
    """
    ladder = tones_of(palette)
    if len(ladder) < 2:
        return labels
    darkest, next_one = ladder[:2]
    out, part, unit = labels.copy(), window(inside, 8), len(rgb) / 1024
    dark = ((labels == darkest) & inside & ~spared)[part]
    if not dark.any():
        return labels
    picture = cv2.bilateralFilter(np.ascontiguousarray(rgb[part]), max(5, round(7 * unit)), 12, 3 * unit)
    light = lightness(np.asarray(picture, np.uint8))
    core = cv2.erode(dark.astype(np.uint8), ellipse(FRINGE * unit), borderValue=0) > 0
    alone = np.where(core, light, _mean(light, core, NEIGHBOURHOOD * unit)).astype(np.float32)
    raised = _standing_out(light, dark, unit) | _light_lines(alone, core, unit)
    hole = dark & ~raised
    small = hole & ~large_areas(hole, SMALLEST * unit**2 / 2)
    out[part][raised | (small & (_mean(raised.astype(np.float32), dark, 3 * unit) > 0.4))] = next_one
    return out

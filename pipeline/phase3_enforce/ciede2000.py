"""Exact nearest palette colour by CIEDE2000 for every pixel of a picture.

Source of the formula and of the order of its terms: G. Sharma, W. Wu, E. N. Dalal, "The CIEDE2000
Color-Difference Formula: Implementation Notes, Supplementary Test Data, and Mathematical Observations",
Color Research and Application 30 (2005), equations 2 to 22, with kL = kC = kH = 1.
"""

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.values import Rgb

#: A later palette colour wins only where its squared difference is smaller by more than this: rounding decides no tie.
TIE = 1e-9
_TWO_PI = 2 * math.pi
_25_POW_7 = 25.0**7


@njit(cache=True)
def _mean_hue(h1: float, h2: float, grey: bool) -> float:
    """Equation 14: the mean of two hues on the circle; the sum where one of them has no hue."""
    total = h1 + h2
    if grey:
        return total
    if abs(h1 - h2) <= math.pi:
        return total / 2
    return (total + _TWO_PI) / 2 if total < _TWO_PI else (total - _TWO_PI) / 2


@njit(cache=True)
def _squared(L1: float, a1: float, b1: float, L2: float, a2: float, b2: float) -> float:
    """The square of the colour difference: enough to compare, and cheaper."""
    mean_c7 = ((math.hypot(a1, b1) + math.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - math.sqrt(mean_c7 / (mean_c7 + _25_POW_7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    C1, C2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1 = math.atan2(b1, a1) % _TWO_PI if C1 > 0 else 0.0
    h2 = math.atan2(b2, a2) % _TWO_PI if C2 > 0 else 0.0
    grey = C1 * C2 == 0
    dh = 0.0 if grey else h2 - h1
    if dh > math.pi:
        dh -= _TWO_PI
    elif dh < -math.pi:
        dh += _TWO_PI
    dL, dC, dH = L2 - L1, C2 - C1, 2 * math.sqrt(C1 * C2) * math.sin(dh / 2)
    hue, C = _mean_hue(h1, h2, grey), (C1 + C2) / 2
    T = (
        1
        - 0.17 * math.cos(hue - math.pi / 6)
        + 0.24 * math.cos(2 * hue)
        + 0.32 * math.cos(3 * hue + math.radians(6))
        - 0.20 * math.cos(4 * hue - math.radians(63))
    )
    c7 = C**7
    turn = math.radians(30) * math.exp(-(((math.degrees(hue) - 275) / 25) ** 2))
    rotation = -math.sin(2 * turn) * 2 * math.sqrt(c7 / (c7 + _25_POW_7))
    middle = ((L1 + L2) / 2 - 50) ** 2
    lightness = dL / (1 + 0.015 * middle / math.sqrt(20 + middle))
    chroma = dC / (1 + 0.045 * C)
    tint = dH / (1 + 0.015 * C * T)
    return lightness * lightness + chroma * chroma + tint * tint + rotation * chroma * tint


@njit(cache=True)
def difference(lab1: NDArray[np.float64], lab2: NDArray[np.float64]) -> NDArray[np.float64]:
    """ΔE00 of two lists of CIELAB colours, both (n, 3) float64 → (n,) float64."""
    out = np.empty(len(lab1))
    for i in range(len(lab1)):
        out[i] = math.sqrt(max(0.0, _squared(lab1[i, 0], lab1[i, 1], lab1[i, 2], lab2[i, 0], lab2[i, 1], lab2[i, 2])))
    return out


@njit(cache=True, parallel=True)
def nearest(lab: NDArray[np.float64], palette: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Index of the nearest palette colour: (n, 3) and (k, 3) CIELAB float64 → (n,) uint8; the earlier colour wins a tie (`TIE`)."""
    out = np.empty(len(lab), np.uint8)
    for i in prange(len(lab)):
        best, index = np.inf, 0
        for j in range(len(palette)):
            d = _squared(palette[j, 0], palette[j, 1], palette[j, 2], lab[i, 0], lab[i, 1], lab[i, 2])
            if d < best - TIE:
                best, index = d, j
        out[i] = index
    return out


@njit(cache=True, parallel=True)
def _mark(rgb: NDArray[np.uint8], table: NDArray[np.uint8]) -> None:
    """Set the table at every colour of the picture. Threads may meet in one entry: each writes the same 1."""
    for y in prange(rgb.shape[0]):
        last = np.int64(-1)
        for x in range(rgb.shape[1]):
            code = (np.int64(rgb[y, x, 0]) << 16) | (np.int64(rgb[y, x, 1]) << 8) | rgb[y, x, 2]
            if code != last:  # flat areas would have every core write to one cache line
                table[code] = 1
                last = code


@njit(cache=True, parallel=True)
def _look_up(rgb: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    out = np.empty(rgb.shape[:2], np.uint8)
    for y in prange(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            out[y, x] = table[(np.int64(rgb[y, x, 0]) << 16) | (np.int64(rgb[y, x, 1]) << 8) | rgb[y, x, 2]]
    return out


def lab_of(colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 3) uint8 sRGB to (n, 3) float64 CIELAB; greys have exactly no chroma, so that rounding gives them no hue."""
    lab = srgb_to_lab(colors)
    lab[(colors == colors[:, :1]).all(1), 1:] = 0
    return lab


def colors_of(codes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n,) codes red << 16 | green << 8 | blue to (n, 3) uint8 sRGB."""
    return np.stack([codes >> 16, (codes >> 8) & 255, codes & 255], -1).astype(np.uint8)


def label(rgb: Rgb, palette: Palette) -> NDArray[np.uint8]:
    """The palette index of every pixel: (H, W, 3) uint8 sRGB → (H, W) uint8. The earlier colour of the palette wins a tie.

    Only the distinct colours are computed, through a table of all 2^24: exact, whatever the picture.
    """
    table = np.zeros(1 << 24, np.uint8)
    _mark(rgb, table)
    codes = np.flatnonzero(table.view(np.bool_))
    table[codes] = nearest(lab_of(colors_of(codes)), lab_of(palette.rgb))
    return _look_up(rgb, table)

"""HDR pictures to sRGB: PQ and HLG (Recommendation ITU-R BT.2100-2), tone-mapped (Report ITU-R BT.2390-11, 5.4.1).

Light is in cd/m². HDR's reference white, 203 cd/m² (Report ITU-R BT.2408-7, 2.2), becomes sRGB's white; what is brighter is compressed
under it, and only so far as this very picture is brighter: one without highlights keeps its tones.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Values = NDArray[np.float64]  # (…, 3)

#: ITU-T H.273, table 3.
PQ, HLG = 16, 18

REFERENCE_WHITE = 203.0

#: BT.2100-2, table 4.
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32

#: BT.2100-2, table 5: the HLG inverse OETF, and its OOTF on a display of 1000 cd/m².
_A, _B, _C, _PEAK, _GAMMA = 0.17883277, 0.28466892, 0.55991073, 1000.0, 1.2
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])

_LUMA_709 = np.array([0.2126, 0.7152, 0.0722])

#: Points along each axis of the table that carries the picture over; between them it is interpolated.
_GRID = 65

#: Pixels that the brightest light is measured on, and the share of them that may be brighter (specks, ringing of the coder).
_SAMPLES, _BRIGHTER = 500_000, 1e-4


def pq_light(code: Values) -> Values:
    """PQ's EOTF (BT.2100-2, table 4): codes 0..1 → cd/m²."""
    root = np.clip(code, 0, 1) ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def pq_code(light: Values) -> Values:
    """Its inverse: cd/m² → codes 0..1."""
    power = (np.clip(light, 0, 10_000) / 10_000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def hlg_light(code: Values) -> Values:
    """HLG's inverse OETF and OOTF (BT.2100-2, table 5): codes 0..1 of R, G and B → cd/m² on a display of 1000 cd/m²."""
    code = np.clip(code, 0, 1)
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - _C) / _A) + _B) / 12)
    return np.asarray(_PEAK * (scene @ _LUMA_2020)[..., None] ** (_GAMMA - 1) * scene)


def compressed(light: Values, peak: float) -> Values:
    """Light up to `peak` → up to the reference white: BT.2390's EETF (a Hermite spline in PQ above its knee), on the brightest channel.

    All three channels are scaled alike, which keeps the hue. Without anything above the reference white it is the identity.
    """
    if peak <= REFERENCE_WHITE:
        return np.minimum(light, REFERENCE_WHITE)
    top = pq_code(np.array(peak))
    most = pq_code(np.array(REFERENCE_WHITE)) / top
    knee = 1.5 * most - 0.5
    brightest = light.max(-1, keepdims=True)
    code = np.minimum(pq_code(brightest) / top, 1)
    t = (code - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    target = pq_light(np.where(code < knee, code, spline) * top)
    return np.asarray(light * np.divide(target, brightest, out=np.ones_like(target), where=brightest > 0))


def within_gamut(linear: Values) -> Values:
    """Linear sRGB in which no channel is below 0 or above 1, of the hue that it had.

    What is too colourful is mixed with its own luminance until no channel is negative; what is too bright then is scaled down.
    """
    grey = np.maximum(linear @ _LUMA_709, 0)[..., None]
    below = grey - linear.min(-1, keepdims=True)
    share = np.divide(grey, below, out=np.ones_like(below), where=below > grey)
    mixed = np.maximum(grey + (linear - grey) * share, 0)
    return np.asarray(mixed / np.maximum(mixed.max(-1, keepdims=True), 1))


def srgb_code(linear: Values) -> Values:
    """IEC 61966-2-1: linear 0..1 → codes 0..1."""
    return np.asarray(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055))


def to_srgb(picture: Image.Image, transfer: int, to_709: Values) -> Image.Image:
    """A picture (mode RGB) of PQ or HLG codes in sRGB. `to_709` (3, 3): its linear R, G and B → those of BT.709."""
    light_of = pq_light if transfer == PQ else hlg_light
    step = max(1, round((picture.width * picture.height / _SAMPLES) ** 0.5))
    sample = np.asarray(picture)[::step, ::step].reshape(-1, 3) / 255
    peak = float(np.quantile(light_of(sample).max(-1), 1 - _BRIGHTER))
    axis = np.linspace(0, 1, _GRID)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    light = compressed(light_of(np.stack([red, green, blue], -1)), peak) / REFERENCE_WHITE
    table = srgb_code(within_gamut(light @ to_709.T)).astype(np.float32)
    return picture.filter(ImageFilter.Color3DLUT(_GRID, table.ravel()))

"""sRGB to CIELAB (D65, 2° observer), the space in which colours are compared."""

import numpy as np
from numpy.typing import NDArray

# IEC 61966-2-1 matrix, linear sRGB to XYZ, and the D65 white that it maps (1, 1, 1) to.
_TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
_WHITE = _TO_XYZ.sum(1)
_code = np.arange(256) / 255.0
_LINEAR = np.where(_code <= 0.04045, _code / 12.92, ((_code + 0.055) / 1.055) ** 2.4)


def srgb_to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(..., 3) uint8 sRGB to (..., 3) float64 CIELAB: L 0..100, a and b about -128..128 (CIE 15:2004)."""
    t = (_LINEAR[rgb] @ _TO_XYZ.T) / _WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lightness(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(..., 3) uint8 sRGB to (...) float32 L*, 0..100: a third of the work of all three coordinates."""
    t = (_LINEAR[rgb] @ _TO_XYZ[1]) / _WHITE[1]
    return np.asarray(116 * np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29) - 16, np.float32)

"""The tone curve: carries a picture's own tones to the tones of a palette, in order."""

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_multiotsu

from pipeline.values import Mask

Float = NDArray[np.float32]
CLASSES = 5


def tone_curve(L: Float, colourless: Mask, inside: Mask, tones: Float) -> Float:
    """L* (H, W) carried to the range of `tones` (m,): a rising, piecewise linear curve.

    The thresholds lie in the valleys of the lightness histogram of the colourless pixels (Otsu, several classes), so that one surface
    stays one tone; the class means, stretched over the picture's range, choose the palette's tones in order, each class its own.
    """
    values = L[colourless] if colourless.sum() > 0.02 * inside.sum() else L[inside]
    levels = np.unique(np.round(tones, 2))
    low, high = np.percentile(L[inside], [1, 99])
    if high - low < 4 or len(np.unique(np.round(values))) < 6:
        return np.asarray(np.clip(L, levels[0], levels[-1]), np.float32)
    counts, bounds = np.histogram(values, bins=50, range=(0, 100))
    cuts = threshold_multiotsu(hist=(counts, (bounds[:-1] + bounds[1:]) / 2), classes=min(CLASSES, np.count_nonzero(counts) - 1))  # type: ignore[no-untyped-call]
    edges = np.array([-1.0, *cuts, 101.0])
    which = np.digitize(values, cuts, right=True)
    share = np.bincount(which, minlength=len(cuts) + 1) / len(values)
    middle = (edges[:-1] + edges[1:]) / 2
    mean = np.array([values[which == k].mean() if share[k] else middle[k] for k in range(len(share))])
    large = np.flatnonzero((share > 0.12) & (mean > 60))
    if large.size:
        high = mean[large[-1]]
    stretched = np.clip(np.clip((mean - low) / max(high - low, 1), 0, 1) * 100, mean - 15, mean + 20)
    chosen = levels[np.abs(stretched[:, None] - levels).argmin(1)]
    return np.asarray(np.interp(L, [0, *mean, 100], [levels[0], *chosen, levels[-1]]), np.float32)

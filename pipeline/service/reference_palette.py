"""A palette from a reference picture: its main colours, told apart by eye, and the tones without which no vehicle can be drawn.

The same picture gives the same palette: k-means in CIELAB (`scipy.cluster.vq`, k-means++ from a fixed seed) finds more colours than are
wanted, then the nearest two (CIEDE2000) are made one until all are apart. Each is a colour that the picture has, not a mean of some.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase3_enforce import ciede2000
from pipeline.values import Gray, Rgb

#: Pixels of the longer side that are looked at; they are picked, not averaged, because a mean of two colours is neither.
SIDE = 320
#: Colours that are looked for, and those that are kept. With the tones that is no more than the default palette has.
CLUSTERS, MOST = 32, 12
#: ΔE00 below which two colours are one, and share of the picture below which a colour is none of it.
APART, LEAST = 9.0, 0.002
#: ΔE00 up to which a colourless one of the picture (chroma below `GREY`, as grading counts tones) stands in for black, white or grey.
NEAR_TONE, GREY = 12.0, 8.0
TONES = ("#000000", "#FFFFFF", "#808080")

Lab = NDArray[np.float64]


def reference_palette(rgb: Rgb, alpha: Gray | None = None) -> Palette:
    """The palette of a picture (H, W, 3) uint8 sRGB, 2 to 15 colours; `alpha` (H, W): pixels less than half opaque do not count.

    Those of the picture with the most frequent first, then of black, white and grey those that no tone of it stands in for. A colour that
    one of these is near to gives way.
    """
    step = max(1, -(-max(rgb.shape[:2]) // SIDE))
    seen = rgb[::step, ::step].reshape(-1, 3)
    if alpha is not None and (opaque := alpha[::step, ::step].reshape(-1) > 127).any():
        seen = seen[opaque]
    colors, count = np.unique(seen, axis=0, return_counts=True)
    chosen, lab = _apart(*_clusters(colors, count))
    colourless = lab[np.hypot(lab[:, 1], lab[:, 2]) < GREY]
    added = []
    for tone in TONES:
        own = srgb_to_lab(Palette((tone,)).rgb)
        if len(colourless) and _far(own, colourless).min() <= NEAR_TONE:
            continue
        added.append(tone)
        apart = _far(own, lab) >= APART
        chosen, lab = chosen[apart], lab[apart]
    return Palette((*("#{:02X}{:02X}{:02X}".format(*color) for color in chosen), *added))


def _clusters(colors: Rgb, count: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """At most `CLUSTERS` of the different colours (n, 3), each the one nearest to its cluster's middle, and how many pixels are like it."""
    if len(colors) <= CLUSTERS:
        return colors, count
    lab = srgb_to_lab(colors)
    # A colour counts by the root of its pixels: a large even wall leaves clusters to what is smaller.
    often = np.repeat(np.arange(len(lab)), np.ceil(np.sqrt(count)).astype(np.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an empty cluster, which is left out below
        middle, _ = kmeans2(lab[often], CLUSTERS, minit="++", rng=np.random.default_rng(0))
    distance = cdist(lab, middle)
    home = distance.argmin(1)
    used = np.unique(home)
    nearest = [int(np.where(home == k, distance[:, k], np.inf).argmin()) for k in used]
    return colors[nearest], np.bincount(home, weights=count).astype(np.int64)[used]


def _apart(colors: NDArray[np.uint8], count: NDArray[np.int64]) -> tuple[NDArray[np.uint8], Lab]:
    """The colours that are left when the nearest two are one, in the more frequent one's colour, until all are apart and few enough; the
    most frequent first, and their CIELAB."""
    kept = count >= LEAST * count.sum()
    colors, count = colors[kept], count[kept]
    lab = srgb_to_lab(colors)
    order = np.lexsort((*colors.T, -count))
    colors, count, lab = colors[order], count[order], lab[order]
    while len(colors) > 1:
        far = np.stack([_far(one[None], lab) for one in lab]) + np.diag(np.full(len(lab), np.inf))
        first, second = sorted(np.unravel_index(far.argmin(), far.shape))
        if far[first, second] >= APART and len(colors) <= MOST:
            break
        count[first] += count[second]
        left = np.arange(len(colors)) != second
        colors, count, lab = colors[left], count[left], lab[left]
    order = np.argsort(-count, kind="stable")
    return colors[order], lab[order]


def _far(one: Lab, others: Lab) -> Lab:
    """(n,) ΔE00 of one colour (1, 3) from others (n, 3)."""
    return np.asarray(ciede2000.difference(np.broadcast_to(one, others.shape).copy(), others))

"""The order of phase 3: enlarge and label exactly, merge what is too small under the budget."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase3_enforce import ciede2000, regions
from pipeline.phase3_enforce.upscale_classical import upscale_mask
from pipeline.progress import Progress
from pipeline.raster import carried_outwards, window
from pipeline.steps import Upscale
from pipeline.values import Box, Illustration, LabelImage, Mask, Rgb


@dataclass(frozen=True, slots=True)
class EnforceSettings:
    """`detail`: smallest region kept, fraction of the square's area; `budget`: most of the vehicle's pixels that may change colour."""

    detail: float = 0.00003
    budget: float = 0.03


#: Pixels of the drawing around the vehicle that are enlarged with it: outlines that cross the matte run on as far as they bend together.
_MARGIN = 16


def _extended(rgb: Rgb, inside: Mask) -> Rgb:
    """The colours inside carried outwards, where there are both: nothing bleeds in while scaling."""
    if inside.all() or not inside.any():
        return np.ascontiguousarray(rgb)
    return carried_outwards(rgb, inside)[0]


def enforce(
    illustration: Illustration,
    palette: Palette,
    side: int,
    keep_background: bool,
    upscale: Upscale,
    settings: EnforceSettings,
    progress: Progress,
) -> LabelImage:
    """Illustration → label image of `side` × `side`, every pixel the exactly nearest palette colour before merging.

    The vehicle and, where it is kept, the background are enlarged and merged apart: no colour crosses the outline. What lies outside
    the photo in the square is nothing, whatever the matte says.
    """
    n, frame = len(palette), illustration.frame.at(side)
    factor = side / illustration.rgb.shape[0]
    tell = progress.within("upscale", 0.0, 0.4)
    tell(0.0)
    small, large = _windows(illustration.matte.inside, factor, keep_background)
    rgb, small_inside = illustration.rgb[small], illustration.matte.inside[small]
    inside = upscale_mask(small_inside, factor)
    _clear(inside, frame.content, large, False)
    labels = upscale(_extended(rgb, small_inside), factor, palette, tell)
    progress.step("palette", 0.4)
    if keep_background:
        behind = upscale(_extended(rgb, ~small_inside), factor, palette, tell)
        np.copyto(labels, behind + np.uint8(n + 1), where=~inside)
        _clear(labels, frame.content, large, n)
    else:
        labels[~inside] = n
    progress.step("regions", 0.65)
    merged = regions.merge(labels, round(settings.detail * side * side), settings.budget, _layers(n), n, _distances(palette))
    key = np.full((side, side), n, np.uint8)
    key[large] = merged.key
    return LabelImage(key, n, illustration.ink, illustration.parts, frame, merged.regions, merged.changed[0])


# Keys: 0..n-1 the vehicle in each colour, n nothing, n+1.. the background in each colour; never more than 2 * 64 + 1.


def _layers(n: int) -> NDArray[np.uint8]:
    """(2n + 1,) the layer of each key: 0 vehicle, 1 nothing, 2 background."""
    return np.repeat(np.array([0, 1, 2], np.uint8), [n, 1, n])


def _distances(palette: Palette) -> NDArray[np.float64]:
    """(2n + 1, 2n + 1) colour difference between keys."""
    n = len(palette)
    lab = srgb_to_lab(palette.rgb)[np.concatenate([np.arange(n), [0], np.arange(n)])]
    rows, columns = np.indices((2 * n + 1, 2 * n + 1)).reshape(2, -1)
    return ciede2000.difference(lab[rows], lab[columns]).reshape(2 * n + 1, -1)


def _windows(inside: Mask, factor: float, keep_background: bool) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What has to be enlarged, as a window of the drawing and the same one of the working raster.

    Nothing is drawn around a vehicle whose background is removed. Windows need a whole factor to fit exactly.
    """
    everything = np.s_[0 : inside.shape[0]]
    if keep_background or factor != int(factor) or not inside.any():
        whole = slice(0, round(inside.shape[0] * factor))
        return (everything, everything), (whole, whole)
    small, k = window(inside, _MARGIN), int(factor)
    return small, (slice(small[0].start * k, small[0].stop * k), slice(small[1].start * k, small[1].stop * k))


def _clear(picture: NDArray[np.generic], content: Box, window: tuple[slice, slice], value: int) -> None:
    """Set what lies outside the photo: `picture` is the part `window` of the square, `content` the photo's part of the square."""
    x0, y0, x1, y1 = (round(v) for v in content)
    top, left = window[0].start, window[1].start
    picture[: max(0, y0 - top)] = value
    picture[max(0, y1 - top) :] = value
    picture[:, : max(0, x0 - left)] = value
    picture[:, max(0, x1 - left) :] = value

"""The order of phase 3: enlarge, label exactly, merge what is too small under the budget."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.color import srgb_to_lab
from pipeline.palette import Palette
from pipeline.phase3_enforce import ciede2000, regions
from pipeline.phase3_enforce.upscale_classical import upscale_mask
from pipeline.progress import Progress
from pipeline.steps import Upscale
from pipeline.values import Illustration, LabelImage, Mask, Rgb


@dataclass(frozen=True, slots=True)
class EnforceSettings:
    """`detail`: smallest region kept, fraction of the square's area; `budget`: most of the vehicle's pixels that may change colour."""

    detail: float = 0.0001
    budget: float = 0.03


def _extended(rgb: Rgb, inside: Mask) -> Rgb:
    """The colours inside carried outwards, each outer pixel taking the nearest inner one: nothing bleeds in while scaling."""
    if inside.all() or not inside.any():
        return rgb
    _, nearest = cv2.distanceTransformWithLabels((~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    table[nearest[inside]] = rgb[inside]
    return np.ascontiguousarray(table[nearest])


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

    The vehicle and, where it is kept, the background are enlarged and merged apart: no colour crosses the outline.
    """
    n = len(palette)
    frame = illustration.frame.at(side)
    progress.step("enforce", "upscale", 0.60)
    small_inside = illustration.matte.inside
    inside = upscale_mask(small_inside, side)
    labels = ciede2000.label(upscale(_extended(illustration.rgb, small_inside), side), palette)
    progress.step("enforce", "palette", 0.66)
    if keep_background:
        behind = ciede2000.label(upscale(_extended(illustration.rgb, ~small_inside), side), palette)
        np.copyto(labels, behind + np.uint8(n + 1), where=~inside)
        labels[_outside(frame.content, side)] = n
    else:
        labels[~inside] = n
    progress.step("enforce", "regions", 0.70)
    # Keys: 0..n-1 vehicle, n nothing, n+1.. background; never more than 2 * 64 + 1.
    colour = np.concatenate([np.arange(n), [0], np.arange(n)])
    layer = np.repeat(np.array([0, 1, 2], np.uint8), [n, 1, n])
    lab = srgb_to_lab(palette.rgb)[colour]
    rows, columns = np.meshgrid(np.arange(2 * n + 1), np.arange(2 * n + 1), indexing="ij")
    distance = ciede2000.difference(lab[rows.ravel()], lab[columns.ravel()]).reshape(rows.shape)
    drawn = [int(np.count_nonzero(part)) for part in (inside, labels == n, labels > n)]
    budget = [int(settings.budget * pixels) for pixels in drawn]
    merged = regions.merge(labels, round(settings.detail * side * side), budget, layer, n, distance)
    key = merged.key
    changed = np.count_nonzero((key != labels) & inside) / max(1, drawn[0])
    flat = np.where(key > n, key - np.uint8(n + 1), key) if keep_background else key
    return LabelImage(flat, n, inside, illustration.ink, frame, merged.regions, changed)


def _outside(content: tuple[float, float, float, float], side: int) -> Mask:
    """What lies outside the photo in the square."""
    out = np.ones((side, side), bool)
    x0, y0, x1, y1 = (round(v) for v in content)
    out[y0:y1, x0:x1] = False
    return out

"""The order of a redrawing: control images, attempts until the vehicle stands where it stood, the best attempt kept."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.errors import Code, JobError
from pipeline.parallel import both
from pipeline.phase2_illustrate.diffusion.agreement import attempt_seed, attempt_weights
from pipeline.phase2_illustrate.diffusion.edges import control_edges
from pipeline.phase2_illustrate.diffusion.white import on_white
from pipeline.progress import Progress
from pipeline.raster import bounds, mask_iou
from pipeline.steps import Brief, Redraw, Steps
from pipeline.values import DrawnWith, Gray, Mask, Matte, Rgb

#: The share of the phase that the attempts take, all together.
ATTEMPTS = 0.6


@dataclass(frozen=True, slots=True)
class RedrawSettings:
    """What the first attempt is held to (`brief`, its control images still empty), and when the drawing is made again.

    `threshold`: least intersection over union of the vehicle before and after; `max_retries` further attempts;
    `allow_low_iou`: the best attempt is delivered with a warning where none reaches it.
    """

    brief: Brief
    threshold: float
    max_retries: int
    allow_low_iou: bool


@dataclass(frozen=True, slots=True)
class Redrawn:
    """The best attempt: `rgb` (S, S, 3) uint8, `matte` the drawn vehicle's, `iou` with the photographed one."""

    rgb: Rgb
    matte: Matte
    iou: float
    attempts: int
    drawn_with: DrawnWith
    depth: Gray | None
    edges: Gray
    warnings: tuple[str, ...]


def controls(rgb: Rgb, inside: Mask | None, brief: Brief, steps: Steps) -> tuple[Gray | None, Gray]:
    """Depth and edges of the picture (S, S, 3), each (S, S) uint8: depth on the card while the processor finds the edges.

    `inside` (S, S) is the vehicle where it stands on white; depth is None where its weight is 0.
    Raises `RuntimeError` for a depth map without depth: the network is broken, and a black control image draws nothing.
    """
    depth_of = steps.depth
    if depth_of is None or brief.depth_weight == 0:
        return None, control_edges(rgb, inside)
    depth, edges = both(lambda: depth_of(rgb), lambda: control_edges(rgb, inside))
    if depth.shape != rgb.shape[:2] or depth.dtype != np.uint8 or depth.min() == depth.max():
        raise RuntimeError(f"depth of a picture of {rgb.shape} is {depth.shape} {depth.dtype} from {depth.min()} to {depth.max()}")
    return depth, edges


def redraw(
    rgb: Rgb, matte: Matte, keep_background: bool, steps: Steps, draw: Redraw, settings: RedrawSettings, progress: Progress
) -> Redrawn:
    """The vehicle of `rgb` (S, S, 3) drawn anew. Every retry is held harder to its control images and starts from other noise.

    Raises `LOW_IOU` when no attempt keeps the vehicle where it was and that is not allowed.
    """
    place = bounds(matte.inside)
    if steps.matte is None or place is None:
        raise ValueError(f"the {steps.name} engine cannot say where the vehicle stands in a drawing, or the matte is empty")
    source = rgb if keep_background else on_white(rgb, matte.alpha)
    progress.step("controls", 0.0)
    depth, edges = controls(source, None if keep_background else matte.inside, settings.brief, steps)
    warnings: tuple[str, ...] = ()
    first = settings.brief
    if not edges.any():
        warnings = ("NO_EDGES: The picture is too soft to find edges in; it was drawn from its depth alone.",)
        first = replace(first, canny_weight=0.0)
    best: Redrawn | None = None
    attempts = settings.max_retries + 1
    share = ATTEMPTS / attempts
    for attempt in range(attempts):
        weights = attempt_weights(first.depth_weight, first.canny_weight, attempt)
        brief = replace(
            first,
            depth=depth,
            edges=edges,
            seed=attempt_seed(first.seed, attempt),
            depth_weight=weights[0],
            canny_weight=weights[1],
        )
        drawn, told = draw(source, brief, progress.within("draw", attempt * share, (attempt + 1) * share))
        after = steps.matte(drawn, place)
        score = mask_iou(matte.inside, after.inside)
        if best is None or score > best.iou:
            used = DrawnWith(brief.seed, brief.steps, *weights)
            best = Redrawn(drawn, after, score, attempt + 1, used, depth, edges, (*warnings, *told))
        if score >= settings.threshold:
            return best
    if best is None:
        raise ValueError("max_retries must not be negative")
    best = replace(best, attempts=attempts)
    sentence = (
        f"The vehicle in the best of {attempts} drawings covers the photographed one by {best.iou:.2f}, less than {settings.threshold}"
    )
    if not settings.allow_low_iou:
        raise JobError(Code.LOW_IOU, f"{sentence}; send allow_low_iou, other weights or another seed.")
    return replace(best, warnings=(*best.warnings, f"LOW_IOU: {sentence}."))

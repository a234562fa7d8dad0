"""Which of the vehicles in a photograph is the one to draw. Boxes are upright, in pixels."""

from collections.abc import Sequence
from math import hypot, sqrt

from pipeline.raster import box_area, box_iou
from pipeline.values import Box, Found

#: Least intersection over union with the caller's box for a vehicle to be the one that is meant.
LEAST_OVERLAP = 0.3


def choose(vehicles: Sequence[Found], content: Box, hint: Box | None) -> Found | None:
    """The vehicle that is meant; None where there is none, or none where the hint says.

    With a hint: the one whose box has the greatest intersection over union with it, at least `LEAST_OVERLAP`. Without:
    the one with the greatest area share × centrality. The area share is the box's part of `content`, the photo's part
    of the square; centrality is 1 − |((cx − mx) / w, (cy − my) / h)| / √½ for the box's centre c and the content's
    centre m, width w and height h: 1 in the middle, 0 in a corner. Equals are told apart by score, then by place.
    """
    if hint is not None:
        near = [one for one in vehicles if box_iou(one.box, hint) >= LEAST_OVERLAP]
        return min(near, key=lambda f: (-box_iou(f.box, hint), -f.score, f.box), default=None)
    return min(vehicles, key=lambda f: (-_prominence(f.box, content), -f.score, f.box), default=None)


def apart(found: Sequence[Found], same_thing: float) -> list[Found]:
    """Non-maximum suppression: those that no better scored one overlaps by more than `same_thing` (IoU), best first."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda f: (-f.score, f.label, f.box)):
        if all(box_iou(one.box, other.box) <= same_thing for other in kept):
            kept.append(one)
    return kept


def _prominence(box: Box, content: Box) -> float:
    width, height = content[2] - content[0], content[3] - content[1]
    off = hypot((box[0] + box[2] - content[0] - content[2]) / 2 / width, (box[1] + box[3] - content[1] - content[3]) / 2 / height)
    return box_area(box) / (width * height) * max(0.0, 1 - off / sqrt(0.5))

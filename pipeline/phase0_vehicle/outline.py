"""Where the vehicle is in the photo, before the square is chosen."""

from dataclasses import dataclass

from pipeline.phase0_vehicle.looks import Grid
from pipeline.values import Gray


@dataclass(frozen=True, slots=True)
class Outline:
    """`alpha` (h, w) uint8, 255 inside, over the window of `grid`; nothing of the vehicle lies outside it.

    `confidence` 0..1: the IoU with the true outline that is to be expected; None for the caller's own.
    """

    alpha: Gray
    grid: Grid
    confidence: float | None

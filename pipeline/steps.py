"""The record of functions that makes an engine: one callable a step, chosen once at start-up by `pipeline.engines`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pipeline.values import Box, Found, Frame, Gray, Mask, Matte, Rgb

#: (rgb (S,S,3), where to look in the square's pixels, labels to look for) → what was found there.
Find: TypeAlias = Callable[[Rgb, Box, Sequence[str]], list[Found]]
#: (rgb (S,S,3), found) → (S,S) mask of exactly the found thing's pixels, undilated.
MaskOf: TypeAlias = Callable[[Rgb, Found], Mask]
#: (rgb (S,S,3), mask (S,S)) → rgb with the masked pixels replaced; all others are untouched.
Inpaint: TypeAlias = Callable[[Rgb, Mask], Rgb]
#: (rgb (S,S,3), frame, vehicle box in the square's pixels or None) → the vehicle's matte; raises NO_VEHICLE.
MatteOf: TypeAlias = Callable[[Rgb, Frame, Box | None], Matte]
#: (rgb (S,S,3)) → (S,S) uint8 depth, near is bright.
Depth: TypeAlias = Callable[[Rgb], Gray]
#: (rgb (S,S,3), vehicle mask (S,S)) → (S,S,3) simplified picture, not yet graded to the palette.
Draw: TypeAlias = Callable[[Rgb, Mask], Rgb]
#: (rgb (h,w,3), factor) → (h · factor, w · factor, 3) enlarged picture.
Upscale: TypeAlias = Callable[[Rgb, float], Rgb]


@dataclass(frozen=True, slots=True)
class Steps:
    """One engine. `finds` names the labels that `find` can find at all; None marks a step that the engine has not.

    `models` gives the revision of every model that the steps use.
    """

    name: str
    finds: frozenset[str]
    find: Find
    mask: MaskOf
    inpaint: Inpaint
    matte: MatteOf
    depth: Depth | None
    draw: Draw
    upscale: Upscale
    models: Mapping[str, str]

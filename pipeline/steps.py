"""The record of functions that makes an engine: one callable a step, chosen once at start-up by `pipeline.engines`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.palette import Palette
from pipeline.values import Box, Found, Gray, Mask, Matte, Plane, Rgb

#: Told how far a long step is, 0..1; raises `CANCELLED` or `TIMED_OUT` when the job has to end here.
Tell: TypeAlias = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Brief:
    """What a redrawing is held to. `depth` and `edges` (S, S) uint8, near and strong are bright; None where the net is not wanted.

    `seed` 0..2^32-1 makes the noise; `steps` are run, all of them; `guidance` 1 switches classifier-free guidance off;
    the canny net is released after `canny_end` (0..1) of the steps; `few_step` asks for the few-step LoRA and its schedule;
    `lora_scale` is the style's strength. `strength` 0..1 is the share of the noise schedule that is run: below 1 the drawing starts
    from the photograph under noise and keeps more of its colours.
    """

    depth: Gray | None
    edges: Gray | None
    seed: int
    steps: int
    guidance: float
    depth_weight: float
    canny_weight: float
    canny_end: float
    prompt: str
    negative_prompt: str
    lora_scale: float
    few_step: bool
    strength: float


#: (rgb (S,S,3), where to look in the square's pixels, labels to look for) → what was found there, scores 0..1.
Find: TypeAlias = Callable[[Rgb, Box, Sequence[str]], list[Found]]
#: (rgb (H,W,3)) → (n,m) float32 0..1 over the same picture: how probably each point belongs to what stands out in it.
Look: TypeAlias = Callable[[Rgb], Plane]
#: (rgb (H,W,3)) → how surely the picture shows a vehicle, and how surely it shows a wheel or a grille that fills it; 0..1 each.
Verdict: TypeAlias = Callable[[Rgb], tuple[float, float]]
#: (rgb (H,W,3)) → every vehicle there, in its pixels.
Locate: TypeAlias = Callable[[Rgb], list[Found]]
#: (rgb (S,S,3), found) → for each a (S,S) mask of exactly its pixels, undilated.
MaskOf: TypeAlias = Callable[[Rgb, Sequence[Found]], list[Mask]]
#: (rgb (S,S,3), mask (S,S)) → rgb with the masked pixels replaced; all others are untouched.
Inpaint: TypeAlias = Callable[[Rgb, Mask], Rgb]
#: (rgb (S,S,3), a vehicle's box in its pixels) → the matte of what stands out there, empty where nothing does.
MatteOf: TypeAlias = Callable[[Rgb, Box], Matte]
#: (rgb (S,S,3)) → (S,S) uint8 depth, near is bright.
Depth: TypeAlias = Callable[[Rgb], Gray]
#: (rgb (S,S,3), vehicle mask (S,S)) → (S,S,3) simplified picture, not yet graded to the palette.
Draw: TypeAlias = Callable[[Rgb, Mask], Rgb]
#: (rgb (S,S,3) of the vehicle on white, brief, tell) → (S,S,3) the vehicle drawn anew, not yet graded, and warnings.
Redraw: TypeAlias = Callable[[Rgb, Brief, Tell], tuple[Rgb, tuple[str, ...]]]
#: (rgb (h,w,3), factor, palette, tell) → (h · factor, w · factor) uint8: the enlarged picture's nearest palette colours by CIEDE2000.
Upscale: TypeAlias = Callable[[Rgb, float, Palette, Tell], NDArray[np.uint8]]


#: Begins to watch the card's memory; what it returns tells the peak since then in bytes, 0 without a card.
WatchMemory: TypeAlias = Callable[[], Callable[[], int]]


def _no_card() -> Callable[[], int]:
    return lambda: 0


def _no_cache() -> Mapping[str, int]:
    return {}


class Arrival(Protocol):
    """Networks on their way into memory; jobs may come meanwhile."""

    def first(self) -> None:
        """Wait until the first network is ready. Raises `MODELS_MISSING` naming what is wrong with it."""

    def join(self) -> None:
        """Wait until all of them are, and the first drawing is made. Raises the same."""

    def close(self) -> None:
        """End it, and its threads."""


@dataclass(frozen=True, slots=True)
class Steps:
    """One engine. `finds` names the labels that `find` can find at all; None marks a step that the engine has not.

    `look` outlines what stands out, `verdict` says whether that is a vehicle, `locate` finds vehicles by name, `matte` outlines one again
    in a picture that was changed; without `look` a vehicle can only be cut out of a box. Exactly one of `draw`, which simplifies the
    photograph, and `redraw`, which makes a new picture, is given. `models` gives the revision of every model that the steps use;
    `few_step` says whether the few-step LoRA is installed. `expected_seconds`: what each network will take on a processor, told beforehand.
    `warm_up`: None where there is nothing to wait for. `cache_counts`: how often networks were read from the volume (`loads`), brought
    to the card (`moves`), there when asked for (`hits`), had to leave it (`evictions`), since the start; empty without networks.
    """

    name: str
    finds: frozenset[str]
    look: Look | None
    verdict: Verdict | None
    locate: Locate | None
    matte: MatteOf | None
    find: Find
    mask: MaskOf
    inpaint: Inpaint
    depth: Depth | None
    draw: Draw | None
    redraw: Redraw | None
    upscale: Upscale
    models: Mapping[str, str]
    few_step: bool = False
    expected_seconds: Mapping[str, float] = field(default_factory=dict)
    watch_memory: WatchMemory = _no_card
    warm_up: Arrival | None = None
    cache_counts: Callable[[], Mapping[str, int]] = _no_cache

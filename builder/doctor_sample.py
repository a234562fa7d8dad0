"""What the doctor looks at: the project's own sample picture, of which everything is known, and what an examination answers."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.intake.photo import letterbox
from pipeline.phase1_sanitize import quads
from pipeline.raster import resized
from pipeline.sample import Scene, scene
from pipeline.settings import Settings
from pipeline.values import Box, Found, Frame, Mask, Rgb

Verdict: TypeAlias = Literal["ok", "suspicious", "failed", "skipped"]
#: Runs a call and returns its answer and its seconds on the device.
Clock: TypeAlias = Callable[[Callable[[], Any]], tuple[Any, float]]


@dataclass(frozen=True, slots=True)
class Picture:
    """(H, W), (H, W, 3) uint8, or an SVG file's bytes."""

    caption: str
    pixels: NDArray[np.uint8] | bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What an examination found: a verdict with one sentence, figures by name, pictures; `seconds` by what was timed."""

    verdict: Verdict
    sentence: str
    facts: dict[str, str] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """The picture in its square of `side`: `rgb` (S, S, 3), `inside` (S, S) the vehicle; boxes in the square's pixels."""

    rgb: Rgb
    frame: Frame
    inside: Mask
    vehicle: Box
    things: tuple[Found, ...]
    scene: Scene

    @property
    def part(self) -> tuple[slice, slice]:
        """The photo's rows and columns of the square."""
        return quads.photo_part(self.frame)

    def at(self, side: int) -> "Sample":
        """The same in a square of another side; the boxes stay behind."""
        inside = resized(self.inside.astype(np.uint8) * 255, side) > 127
        return replace(self, rgb=resized(self.rgb, side), frame=self.frame.at(side), inside=inside, things=())


def make_sample(size: tuple[int, int], settings: Settings) -> Sample:
    """The picture of seed 42, `size` wide and high, as the pipeline takes it in."""
    it = scene(42, *size)
    side = min(max(*size, 1024), settings.phase1.side)
    frame = Frame.fit(*size, side)
    inside = letterbox(np.repeat(it.mask[..., None].astype(np.uint8) * 255, 3, 2), frame, side)[..., 0] > 127
    boxes = [("license plate", box, "") for box in it.plates]
    boxes += [("text", text.box, text.text) for text in it.texts if text.on != "plate"]
    things = tuple(Found(label, 1.0, corners(frame.to_square(box)), text) for label, box, text in boxes)
    return Sample(letterbox(it.rgb, frame, side), frame, inside, frame.to_square(it.vehicle_box), things, it)


def corners(box: Box) -> NDArray[np.float32]:
    """(4, 2): top left, top right, bottom right, bottom left."""
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)

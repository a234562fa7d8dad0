"""The values that travel from phase to phase.

Every picture after phase 0 is a *square* around the vehicle (the whole photo's with its background kept), which may reach beyond the
photo; nothing is ever stretched. Squares of different sides show the same scene; positions are carried from one to another by their
sides' ratio. Pixel (column x, row y) covers the continuous square [x, x+1) × [y, y+1).
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rgb: TypeAlias = NDArray[np.uint8]  # (H, W, 3), sRGB
Gray: TypeAlias = NDArray[np.uint8]  # (H, W), 0..255
Mask: TypeAlias = NDArray[np.bool_]  # (H, W)
Plane: TypeAlias = NDArray[np.float32]  # (H, W)
PartMap: TypeAlias = NDArray[np.uint8]  # (H, W), index into `PARTS`
Box: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1


#: The parts of a vehicle that the drawing tells apart.
PARTS = ("body", "glass", "wheel", "lamp", "plate")


@dataclass(frozen=True, slots=True)
class Photo:
    """An upright photograph: `rgb` (H, W, 3) uint8 sRGB; `alpha` (H, W) uint8 or None; `digest` sha256 of the file.

    `orientation`: the EXIF orientation 1..8 of the file (TIFF 6.0, tag 274), by which it was turned upright.
    """

    rgb: Rgb
    alpha: Gray | None
    digest: str
    warnings: tuple[str, ...] = ()
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """How the upright photo (`photo_width` × `photo_height` pixels) lies in a square of side `size`: x' = x0 + scale · x.

    `x0` and `y0` are negative where the square shows a part of the photo only.
    """

    size: int
    photo_width: int
    photo_height: int
    scale: float
    x0: float
    y0: float

    @classmethod
    def fit(cls, width: int, height: int, size: int) -> "Frame":
        """The square of the whole photo: its longest side fills it; the offsets are whole pixels of this square."""
        scale = size / max(width, height)
        return cls(size, width, height, scale, float(int((size - width * scale) / 2)), float(int((size - height * scale) / 2)))

    @classmethod
    def around(cls, box: Box, width: int, height: int, size: int, margin: float) -> "Frame":
        """The square about the centre of `box` (the photo's pixels) that holds it and `margin` of its longer side on each side."""
        side = (1 + 2 * margin) * max(box[2] - box[0], box[3] - box[1])
        scale = size / side
        return cls(size, width, height, scale, size / 2 - scale * (box[0] + box[2]) / 2, size / 2 - scale * (box[1] + box[3]) / 2)

    def at(self, side: int) -> "Frame":
        """The same placement in a square of another side."""
        k = side / self.size
        return Frame(side, self.photo_width, self.photo_height, self.scale * k, self.x0 * k, self.y0 * k)

    @property
    def photo(self) -> Box:
        """Where the whole photo lies, in the square's pixels; it may reach beyond the square."""
        return (self.x0, self.y0, self.x0 + self.photo_width * self.scale, self.y0 + self.photo_height * self.scale)

    @property
    def content(self) -> Box:
        """The photo's part of the square, in the square's pixels."""
        x0, y0, x1, y1 = self.photo
        return (max(0.0, x0), max(0.0, y0), min(float(self.size), x1), min(float(self.size), y1))

    def to_square(self, box: Box) -> Box:
        """Fractions of the upright photo to the square's pixels."""
        w, h = self.photo_width * self.scale, self.photo_height * self.scale
        return (self.x0 + box[0] * w, self.y0 + box[1] * h, self.x0 + box[2] * w, self.y0 + box[3] * h)

    def to_fractions(self, box: Box) -> Box:
        """The square's pixels to fractions of the upright photo, clipped to 0..1."""
        w, h = self.photo_width * self.scale, self.photo_height * self.scale
        raw = ((box[0] - self.x0) / w, (box[1] - self.y0) / h, (box[2] - self.x0) / w, (box[3] - self.y0) / h)
        a, b, c, d = (round(min(1.0, max(0.0, v)), 4) for v in raw)
        return (a, b, c, d)


@dataclass(frozen=True, slots=True)
class Matte:
    """Where the vehicle is: `alpha` (S, S) uint8, 255 inside; `confidence` 0..1, None when the caller sent the matte."""

    alpha: Gray
    confidence: float | None

    @property
    def inside(self) -> Mask:
        """The vehicle as a mask."""
        return self.alpha > 127


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Phase 0's answer: the vehicle's part of the photo in its square, and its outline.

    `rgb` (S, S, 3) uint8 sRGB, black where the square reaches beyond the photo; `frame` of size S; `matte` (S, S).
    """

    rgb: Rgb
    frame: Frame
    matte: Matte
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """One thing to remove: `quad` (K, 2) float32 corners in the square's pixels, `score` 0..1, `text` as read, if any.

    `outlined`: whether the corners are the thing's own; not those of the characters on it alone.
    """

    label: str
    score: float
    quad: NDArray[np.float32]
    text: str = ""
    outlined: bool = True

    @property
    def box(self) -> Box:
        """The upright bounding box, pixels."""
        (x0, y0), (x1, y1) = self.quad.min(0), self.quad.max(0)
        return (float(x0), float(y0), float(x1), float(y1))


@dataclass(frozen=True, slots=True)
class CleanPlate:
    """Phase 1's answer: the photo in its square without what had to go.

    `rgb` (S, S, 3) uint8 sRGB; `matte` of the vehicle; `removed` what went, `removed_mask` (S, S) its pixels; `plates` the outlines of
    the plates that lost their characters, (K, 2) float32 corners each, pixels.
    """

    rgb: Rgb
    frame: Frame
    matte: Matte
    removed: tuple[Found, ...]
    removed_mask: Mask
    warnings: tuple[str, ...] = ()
    plates: tuple[NDArray[np.float32], ...] = ()


@dataclass(frozen=True, slots=True)
class ColorLock:
    """An area that has to have a colour, #RRGGBB: of every `part` (`glass`, `wheels`, `body`), or under a `point` (x, y), fractions of the
    upright photo. One of the two is None."""

    part: str | None
    point: tuple[float, float] | None
    color: str


@dataclass(frozen=True, slots=True)
class DrawnWith:
    """How a redrawn picture was made: the numbers of the attempt that is delivered."""

    seed: int
    steps: int
    depth_weight: float
    canny_weight: float


@dataclass(frozen=True, slots=True)
class Illustration:
    """Phase 2's answer: the drawing, graded to the palette (unless that is switched off), before any scaling.

    `rgb` (S, S, 3) uint8 sRGB; `matte` of the same side; `ink` (S, S) mask of one-pixel-wide panel lines;
    `parts` (S, S) which part of the vehicle a pixel belongs to; `edges` (S, S) uint8 line strength or None; `depth` (S, S) uint8,
    near is bright, or None. `iou` and `drawn_with` of a redrawn
    picture, None of one that was not; `attempts` at drawing it.
    """

    rgb: Rgb
    frame: Frame
    matte: Matte
    ink: Mask
    parts: PartMap
    edges: Gray | None
    depth: Gray | None
    iou: float | None
    attempts: int
    warnings: tuple[str, ...] = ()
    drawn_with: DrawnWith | None = None


@dataclass(frozen=True, slots=True)
class LabelImage:
    """Phase 3's answer at working size.

    `key` (N, N) uint8: the palette's index on the vehicle, `nothing` (the palette's length) where nothing is drawn, `nothing` + 1 + the
    index in the background. `ink` and `parts` (S, S) and `frame` come along from the illustration. `regions` counts connected areas of
    one key; `changed` is the fraction of the vehicle's pixels that the region budget changed.
    """

    key: NDArray[np.uint8]
    nothing: int
    ink: Mask
    parts: PartMap
    frame: Frame
    regions: int
    changed: float

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(N, N) uint8 the palette's index, `nothing` where nothing is drawn; the vehicle's and the background's alike."""
        return np.where(self.key > self.nothing, self.key - np.uint8(self.nothing + 1), self.key)

    @property
    def inside(self) -> Mask:
        """(N, N) the vehicle."""
        return self.key < self.nothing


@dataclass(frozen=True, slots=True)
class Drawing:
    """Phase 4's answer: the SVG and what was counted in it; `png` is a render of the SVG."""

    svg: bytes
    png: bytes
    curves: int
    colors_used: int
    off_palette_colors: int

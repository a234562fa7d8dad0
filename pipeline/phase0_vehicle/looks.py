"""Looking at a part of the photo with a network that outlines what stands out, and putting several looks together."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.steps import Look
from pipeline.values import Box, Plane, Rgb

Window = tuple[int, int, int, int]  # x0, y0, x1, y1 in whole pixels of the photo; may reach beyond it


@dataclass(frozen=True, slots=True)
class Grid:
    """A picture of `width` × `height` pixels that shows `window` of the photo."""

    window: Window
    width: int
    height: int

    @classmethod
    def over(cls, window: Window, longest: int) -> "Grid":
        """The window at its own resolution, or with `longest` pixels along its longer side where it has more."""
        w, h = window[2] - window[0], window[3] - window[1]
        k = min(1.0, longest / max(w, h))
        return cls(window, max(1, round(w * k)), max(1, round(h * k)))

    def box(self, box: Box) -> Box:
        """A box in the photo's pixels in those of the grid."""
        x0, y0, x1, y1 = self.window
        kx, ky = self.width / (x1 - x0), self.height / (y1 - y0)
        return ((box[0] - x0) * kx, (box[1] - y0) * ky, (box[2] - x0) * kx, (box[3] - y0) * ky)

    def photo_box(self, box: Box) -> Box:
        """A box in the grid's pixels in those of the photo."""
        x0, y0, x1, y1 = self.window
        kx, ky = (x1 - x0) / self.width, (y1 - y0) / self.height
        return (x0 + box[0] * kx, y0 + box[1] * ky, x0 + box[2] * kx, y0 + box[3] * ky)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: `plane` (n, m) float32 0..1, how probably each point of `window` belongs to what stands out there."""

    plane: Plane
    window: Window

    def on(self, grid: Grid) -> Plane:
        """The answer at the grid's pixels (height, width), bilinear; 0 outside the look's window."""
        n, m = self.plane.shape
        x0, y0, x1, y1 = grid.box(self.window)
        # the map from the grid's pixel centres to the plane's, as OpenCV counts them from pixel centres
        kx, ky = m / (x1 - x0), n / (y1 - y0)
        back = np.array([[kx, 0, (0.5 - x0) * kx - 0.5], [0, ky, (0.5 - y0) * ky - 0.5]])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        padded = cv2.copyMakeBorder(self.plane, 1, 1, 1, 1, cv2.BORDER_REPLICATE)  # so that the window's own rim is not dimmed
        back[:, 2] += 1
        warped = cv2.warpAffine(padded, back, (grid.width, grid.height), flags=how, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        return np.asarray(warped, np.float32)


def look_at(rgb: Rgb, window: Window, look: Look) -> Seen:
    """One look at a window of the photo (H, W, 3); beyond the photo's border it sees the photo mirrored.

    A thing that the photo's border cuts is outlined better when it goes on there (the kind `cut` of `bench.vehicle --doubt`).
    """
    h, w = rgb.shape[:2]
    x0, y0, x1, y1 = window
    part = rgb[max(0, y0) : min(h, y1), max(0, x0) : min(w, x1)]
    beyond = (max(0, -y0), max(0, y1 - h), max(0, -x0), max(0, x1 - w))
    if any(beyond):
        part = np.asarray(cv2.copyMakeBorder(part, *beyond, cv2.BORDER_REFLECT_101), np.uint8)
    return Seen(look(np.ascontiguousarray(part)), window)


def framed_look(rgb: Rgb, look: Look) -> Seen:
    """The whole photo as a picture hung on a wall of its own mean colour: where the vehicle fills it, the photo itself stands out."""
    h, w = rgb.shape[:2]
    d = round(0.12 * max(h, w))
    wall = [float(v) for v in rgb.reshape(-1, 3).mean(0).round()]
    hung = cv2.copyMakeBorder(rgb, d, d, d, d, cv2.BORDER_CONSTANT, value=wall)
    return Seen(look(np.asarray(hung, np.uint8)), (-d, -d, w + d, h + d))


def whole(rgb: Rgb) -> Window:
    """The window of the whole photo (H, W, 3)."""
    return (0, 0, rgb.shape[1], rgb.shape[0])


def around(box: Box, margin: float) -> Window:
    """The whole pixels around a box (the photo's pixels) widened by `margin` of its longer side; may reach beyond the photo."""
    d = margin * max(box[2] - box[0], box[3] - box[1])
    return (int(np.floor(box[0] - d)), int(np.floor(box[1] - d)), int(np.ceil(box[2] + d)), int(np.ceil(box[3] + d)))


def within(window: Window, rgb: Rgb, open_sides: tuple[bool, bool, bool, bool] = (False, False, False, False)) -> Window:
    """The window cut to the photo, except at its open sides (left, top, right, bottom)."""
    h, w = rgb.shape[:2]
    left, top, right, bottom = open_sides
    x0, y0, x1, y1 = window
    return (x0 if left else max(0, x0), y0 if top else max(0, y0), x1 if right else min(w, x1), y1 if bottom else min(h, y1))

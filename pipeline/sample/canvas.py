"""A flat sheet to draw on in metres, and its curves."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.sample.fields import Bytes, Sheet

Points = list[tuple[float, float]]
_SHIFT = 6  # of OpenCV's fixed-point positions, bits


@dataclass(frozen=True, slots=True)
class Canvas:
    """A sheet to draw on; coordinates in metres."""

    pixels: Bytes
    left: float
    top: float
    density: float

    @classmethod
    def blank(cls, left: float, right: float, low: float, top: float, density: float) -> "Canvas":
        """All zero."""
        return cls(np.zeros((round((top - low) * density), round((right - left) * density)), np.uint8), left, top, density)

    def fixed(self, points: Points) -> NDArray[np.int32]:
        """OpenCV's fixed-point pixel positions."""
        p = (np.array(points) - [self.left, self.top]) * [self.density, -self.density] - 0.5
        return np.asarray(np.round(p * 2**_SHIFT), np.int32)

    def fill(self, points: Points, value: int = 255) -> None:
        """A filled polygon."""
        cv2.fillPoly(self.pixels, [self.fixed(points)], value, cv2.LINE_AA, _SHIFT)

    def line(self, points: Points, width: float, value: int = 255, closed: bool = False) -> None:
        """A polyline, `width` in metres."""
        thickness = max(1, round(width * self.density))
        cv2.polylines(self.pixels, [self.fixed(points)], closed, value, thickness, cv2.LINE_AA, _SHIFT)

    def text(self, words: str, center: tuple[float, float], height: float, spread: float = 1.0, bold: int = 0, flip: bool = False) -> None:
        """Capitals `height` metres high around `center`; `spread` stretches them; `bold` is the stroke added, pixels; `flip` mirrors."""
        font = ImageFont.load_default(200)
        x0, y0, x1, y1 = font.getbbox(words, stroke_width=bold)
        picture = Image.new("L", (int(x1 - x0) + 2, int(y1 - y0) + 2))
        ImageDraw.Draw(picture).text((1 - x0, 1 - y0), words, 255, font, stroke_width=bold)
        rows = round(height * self.density)
        columns = round(rows * picture.width / picture.height * spread)
        small = np.asarray(picture.resize((columns, rows), Image.Resampling.BOX))
        small = small[:, ::-1] if flip else small
        column = round((center[0] - self.left) * self.density - columns / 2)
        row = round((self.top - center[1]) * self.density - rows / 2)
        here = self.pixels[row : row + rows, column : column + columns]
        np.maximum(here, small, out=here)

    def sheet(self, soften: float = 0.0) -> Sheet:
        """Ready for sampling, blurred by `soften` metres."""
        pixels = cv2.GaussianBlur(self.pixels, (0, 0), soften * self.density) if soften else self.pixels
        return Sheet(np.asarray(pixels, np.uint8), self.left, self.top, self.density)


def curve(points: Points, closed: bool = False, steps: int = 12) -> Points:
    """Catmull-Rom spline through points."""
    p = np.array(points)
    n = len(p)
    out: Points = []
    for i in range(n if closed else n - 1):
        a, b, c, d = (p[(i + k) % n] if closed else p[min(max(i + k, 0), n - 1)] for k in (-1, 0, 1, 2))
        for t in np.arange(steps) / steps:
            q = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
            out.append((float(q[0]), float(q[1])))
    if not closed:
        out.append(points[-1])
    return out


def arc(cx: float, cy: float, radius: float, start: float, stop: float, n: int = 40) -> Points:
    """Points of a circle's arc; degrees."""
    return [(cx + radius * float(np.cos(a)), cy + radius * float(np.sin(a))) for a in np.deg2rad(np.linspace(start, stop, n))]

"""Drawn pictures with lettering and plates, and the same pictures without them."""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.phase1_sanitize.quads import Quad
from pipeline.values import Frame, Mask, Matte, Rgb

SIDE = 1024
#: A photo of 4:3 in the square: rows 128 to 895 are real.
FRAME = Frame.fit(1600, 1200, SIDE)
VEHICLE = (120, 260, 904, 800)


@dataclass(frozen=True)
class Drawn:
    """`rgb` with something to remove, `clean` without it; `quad` around it."""

    rgb: Rgb
    clean: Rgb
    quad: Quad

    @property
    def letters(self) -> Mask:
        return np.abs(self.rgb.astype(int) - self.clean).max(2) > 24


def paint(low: tuple[int, int, int] = (150, 30, 25), high: tuple[int, int, int] = (205, 60, 50)) -> Rgb:
    """A vehicle's flank, lit from above, before a grey wall, with sensor noise; black outside the photo."""
    rng = np.random.default_rng(7)
    picture = np.full((SIDE, SIDE, 3), (128, 132, 128), np.float32)
    x0, y0, x1, y1 = VEHICLE
    ramp = np.linspace(0, 1, y1 - y0)[:, None, None]
    picture[y0:y1, x0:x1] = np.array(high) * (1 - ramp) + np.array(low) * ramp
    noisy = np.clip(picture + rng.normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8)
    noisy[:128] = noisy[896:] = 0
    return noisy


def matte() -> Matte:
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    x0, y0, x1, y1 = VEHICLE
    alpha[y0:y1, x0:x1] = 255
    return Matte(alpha, None)


def lettered(rgb: Rgb, text: str, at: tuple[int, int], height: int, color: tuple[int, int, int]) -> Drawn:
    """`text` with its top left corner `at` (x, y), in capitals of about `height` pixels."""
    image = Image.fromarray(rgb)
    font = ImageFont.load_default(size=round(height / 0.72))
    ImageDraw.Draw(image).text(at, text, fill=color, font=font, stroke_width=max(1, height // 24), stroke_fill=color)
    x0, y0, x1, y1 = ImageDraw.Draw(image).textbbox(at, text, font=font)
    pad = round(0.25 * height)
    box = [[x0 - pad, y0 - pad], [x1 + pad, y0 - pad], [x1 + pad, y1 + pad], [x0 - pad, y1 + pad]]
    return Drawn(np.array(image), rgb, np.array(box, np.float32))


def plated(rgb: Rgb, text: str, at: tuple[int, int], size: tuple[int, int], color: tuple[int, int, int] = (235, 235, 230)) -> Drawn:
    """A plate of `size` (width, height) in a black frame, with `text` in the middle; `clean` is the empty plate."""
    (x, y), (w, h) = at, size
    blank = rgb.copy()
    cv2.rectangle(blank, (x - 4, y - 4), (x + w + 3, y + h + 3), (20, 20, 22), -1)
    rng = np.random.default_rng(3)
    shade = np.linspace(1.0, 0.93, w)[None, :, None] * np.array(color) + rng.normal(0, 1.2, (h, w, 3))
    blank[y : y + h, x : x + w] = np.clip(shade, 0, 255)
    letters = lettered(blank, text, (0, 0), round(0.5 * h), (25, 25, 60))
    x0, y0, x1, y1 = letters.quad[0, 0], letters.quad[0, 1], letters.quad[2, 0], letters.quad[2, 1]
    middle = (round(x + w / 2 - (x0 + x1) / 2), round(y + h / 2 - (y0 + y1) / 2))
    drawn = lettered(blank, text, middle, round(0.5 * h), (25, 25, 60))
    box = [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]
    return Drawn(drawn.rgb, blank, np.array(box, np.float32))

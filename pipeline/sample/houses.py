"""The row of houses behind the car, drawn flat: walls, windows, doors, a sign."""

from itertools import pairwise

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.sample.fields import Bytes, Sheet, fractal
from pipeline.sample.look import Look

Color = tuple[int, int, int]
DENSITY = 64.0  # pixels a metre
LEFT, RIGHT, TOP = -34.0, 14.0, 11.0
SHOP = (-12.6, -5.4)  # the house with the sign, from x to x
_WALLS: tuple[Color, ...] = (
    (196, 178, 148), (168, 96, 78), (214, 206, 190), (150, 158, 160), (186, 150, 104),
    (122, 134, 118), (206, 188, 172), (142, 84, 70), (172, 182, 190),
)  # fmt: skip


def _rows(y: float) -> int:
    return round((TOP - y) * DENSITY)


def _columns(x: float) -> int:
    return round((x - LEFT) * DENSITY)


def _box(picture: Bytes, x0: float, y0: float, x1: float, y1: float, color: Color | tuple[int, int, int, int]) -> None:
    """A filled rectangle, metres; y upwards."""
    cv2.rectangle(picture, (_columns(x0), _rows(y1)), (_columns(x1) - 1, _rows(y0) - 1), (*color[:3], 255), -1)


def _shade(color: Color, k: float) -> Color:
    r, g, b = (int(min(255, c * k)) for c in color)
    return (r, g, b)


def _window(picture: Bytes, rng: np.random.Generator, x: float, y: float, w: float, h: float, frame: Color, wall: Color) -> None:
    """A window with its reveal's shadow, panes that reflect the sky, a cross and a sill."""
    _box(picture, x - 0.08, y - 0.08, x + w + 0.08, y + h + 0.10, _shade(wall, 1.13))
    _box(picture, x, y, x + w, y + h, frame)
    top, low = rng.uniform(70, 150), rng.uniform(22, 50)
    r0, r1, c0, c1 = _rows(y + h - 0.07), _rows(y + 0.07), _columns(x + 0.07), _columns(x + w - 0.07)
    ramp = np.linspace(top, low, r1 - r0)[:, None] + 10 * fractal(rng, r1 - r0, c1 - c0, 2, 3)
    picture[r0:r1, c0:c1, :3] = np.clip(ramp[..., None] * np.array([0.86, 0.97, 1.10]), 0, 255)
    if rng.random() < 0.5:
        side = rng.uniform(0.15, 0.35) * w
        for a, b in ((x + 0.08, x + side), (x + w - side, x + w - 0.08)):
            _box(picture, a, y + 0.08, b, y + h - 0.08, (150, 146, 138))
    _box(picture, x + 0.02, y + h - 0.14, x + w - 0.02, y + h - 0.02, _shade(frame, 0.55))
    _box(picture, x + w / 2 - 0.03, y, x + w / 2 + 0.03, y + h, frame)
    _box(picture, x, y + h * 0.66, x + w, y + h * 0.66 + 0.05, frame)
    _box(picture, x - 0.12, y - 0.12, x + w + 0.12, y - 0.03, (190, 186, 178))
    _box(picture, x - 0.12, y - 0.20, x + w + 0.12, y - 0.12, _shade(wall, 0.68))


def _door(picture: Bytes, rng: np.random.Generator, x: float, wall: Color) -> None:
    color = [(70, 40, 32), (34, 62, 52), (44, 50, 78), (88, 84, 80)][int(rng.integers(4))]
    _box(picture, x - 0.16, 0.0, x + 1.16, 2.65, _shade(wall, 1.15))
    _box(picture, x, 0.15, x + 1.0, 2.5, color)
    _box(picture, x + 0.12, 1.9, x + 0.88, 2.38, (62, 76, 86))
    for a in (0.12, 0.54):
        for b in (0.35, 1.1):
            _box(picture, x + a, b, x + a + 0.34, b + 0.62, _shade(color, 0.8))
    _box(picture, x - 0.2, 0.0, x + 1.2, 0.15, (150, 148, 142))


def _bricks(picture: Bytes, rng: np.random.Generator, x0: float, x1: float, height: float, wall: Color) -> None:
    """Courses of bricks, each of its own shade, with light joints."""
    r0, r1, c0, c1 = _rows(height), _rows(0), _columns(x0), _columns(x1)
    picture[r0:r1, c0:c1, :3] = _shade(wall, 1.2)
    course, length = 5, 15
    for k, r in enumerate(range(r0, r1, course)):
        for c in range(c0 - (k % 2) * length // 2, c1, length):
            tone = _shade(wall, float(rng.uniform(0.78, 1.12)))
            picture[r : r + course - 1, max(c, c0) : max(min(c + length - 1, c1), c0), :3] = tone
    picture[r0:r1, c0:c1, 3] = 255


def _house(picture: Bytes, rng: np.random.Generator, x0: float, x1: float, wall: Color, brick: bool) -> None:
    height = float(rng.uniform(6.3, 8.6))
    if brick:
        _bricks(picture, rng, x0, x1, height, wall)
    else:
        _box(picture, x0, 0, x1, height, wall)
    _box(picture, x0, 0, x1, 0.75, _shade((128, 124, 120), float(rng.uniform(0.7, 1.1))))
    _box(picture, x0 - 0.15, height - 0.30, x1 + 0.15, height, _shade(wall, 1.22))
    _box(picture, x0 - 0.1, height - 0.52, x1 + 0.1, height - 0.30, _shade(wall, 0.6))
    roof = [(96, 56, 46), (70, 70, 76), (84, 74, 66)][int(rng.integers(3))]
    _box(picture, x0 - 0.2, height, x1 + 0.2, height + float(rng.uniform(0.8, 1.6)), roof)
    frame: Color = (226, 224, 218) if rng.random() < 0.7 else (70, 52, 40)
    n = max(2, int((x1 - x0) / 2.2))
    pitch = (x1 - x0) / n
    door = int(rng.integers(n))
    for k in range(n):
        x = x0 + (k + 0.5) * pitch
        if k == door:
            _door(picture, rng, x - 0.5, wall)
        else:
            _window(picture, rng, x - 0.6, 1.05, 1.2, 1.5, frame, wall)
        for y in (4.1,):
            _window(picture, rng, x - 0.55, y, 1.1, 1.6, frame, wall)
    _box(picture, x1 - 0.14, 0.1, x1 - 0.04, height - 0.3, (96, 98, 98))


def sign_box() -> tuple[float, float, float, float]:
    """Where the shop's sign hangs: left, low, right, top in metres on the front of the houses."""
    return (-11.2, 3.05, -6.6, 3.85)


def _sign(picture: Bytes, look: Look) -> None:
    x0, y0, x1, y1 = sign_box()
    _box(picture, x0 - 0.02, y0 - 0.12, x1 + 0.06, y0, (70, 64, 60))
    _box(picture, x0 - 0.06, y0 - 0.04, x1 + 0.06, y1 + 0.06, (230, 224, 208))
    _box(picture, x0, y0, x1, y1, (22, 58, 50))
    font = ImageFont.load_default(180)
    a, b, c, d = font.getbbox(look.sign, stroke_width=6)
    words = Image.new("L", (int(c - a), int(d - b)))
    ImageDraw.Draw(words).text((-a, -b), look.sign, 255, font, stroke_width=6)
    rows = round(0.50 * DENSITY)
    columns = min(round(rows * words.width / words.height * 1.15), round(4.3 * DENSITY))
    small = np.asarray(words.resize((columns, rows), Image.Resampling.BOX), np.float32)[..., None] / 255
    small = small[:, ::-1] if look.mirrored else small
    r = _rows((y0 + y1) / 2) - rows // 2
    left = _columns((x0 + x1) / 2) - columns // 2
    here = picture[r : r + rows, left : left + columns, :3]
    here[:] = (here * (1 - small) + np.array([240, 226, 186]) * small).astype(np.uint8)


def houses(look: Look) -> Sheet:
    """The row as a sheet (H, W, 4) uint8: sRGB and coverage; ground floor at height 0."""
    rng = look.rng(3)
    picture: Bytes = np.zeros((round(TOP * DENSITY), round((RIGHT - LEFT) * DENSITY), 4), np.uint8)
    order = rng.permutation(len(_WALLS))
    cuts = [LEFT, *sorted(rng.uniform(-0.8, 0.8, 5) + np.array([-28.5, -22.5, -17.5, 2.0, 8.0])), RIGHT]
    cuts[4:4] = [SHOP[0], SHOP[1]]
    # One plot, not the shop's and not the one behind the car, is a garden behind a wall.
    garden = int(rng.choice([1, 2, 3]))
    for k, (x0, x1) in enumerate(pairwise(cuts)):
        wall = _WALLS[int(order[k % len(order)])]
        if k == garden:
            _bricks(picture, rng, x0, x1, 2.1, (142, 84, 70))
            _box(picture, x0, 2.1, x1, 2.2, (170, 166, 158))
        else:
            _house(picture, rng, x0, x1, wall, bool(wall[0] - wall[2] > 60))
    _sign(picture, look)
    dirt = fractal(rng, picture.shape[0], picture.shape[1], 30, 6, 0.6)
    streaks = fractal(rng, 40, picture.shape[1], 400, 2)
    dirt += 0.5 * cv2.resize(streaks, (picture.shape[1], picture.shape[0]))
    tone = np.clip(1 + 0.10 * dirt, 0.7, 1.2)
    picture[..., :3] = np.clip(picture[..., :3] * tone[..., None], 0, 255)
    return Sheet(picture, LEFT, TOP, DENSITY)

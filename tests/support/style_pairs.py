"""Pairs to train a style with: small cut-out photographs of drawn cars and their drawings, by a seed."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 300, 200


def write_pairs(folder: Path, count: int, apart: bool = False) -> Path:
    """`count` pairs: photographs with an alpha channel, so that no network has to find the vehicle; every third drawing is a PNG."""
    photos, drawings = (folder / "photos", folder / "drawings") if apart else (folder, folder)
    for place in (photos, drawings):
        place.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        body, cabin, wheels, colour = _car(k)
        _photo(k, body, cabin, wheels, colour).save(photos / (f"car{k}.png" if apart else f"car{k}.photo.png"))
        fills = f'<path fill="{colour}" d="{_d(body)}"/><path fill="#000000" d="{_d(cabin)}"/>'
        fills += "".join(f'<circle cx="{x}" cy="{y}" r="22" fill="#808080"/>' for x, y in wheels)
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">{fills}</svg>'
        if k % 3 == 2:
            picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
            draw = ImageDraw.Draw(picture)
            draw.polygon(body, colour)
            draw.polygon(cabin, "#000000")
            for x, y in wheels:
                draw.ellipse((x - 22, y - 22, x + 22, y + 22), "#808080")
            picture.save(drawings / f"car{k}.png")
        else:
            (drawings / f"car{k}.svg").write_text(svg)
    return folder


def _car(k: int):
    random = np.random.default_rng(k)
    left, right, roof = (int(v) for v in random.integers((25, 255, 45), (45, 275, 65)))
    body = [(left, 100), (left + 40, 95), (right - 50, 95), (right, 115), (right, 155), (left, 155)]
    cabin = [(left + 45, 95), (left + 75, roof), (right - 95, roof), (right - 55, 95)]
    colour = "#{:02X}{:02X}{:02X}".format(*(int(v) for v in random.integers(40, 255, 3)))
    return body, cabin, [(left + 50, 155), (right - 50, 155)], colour


def _photo(k: int, body, cabin, wheels, colour) -> Image.Image:
    picture = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.polygon(body, colour)
    draw.polygon(cabin, (60, 70, 80, 255))
    for x, y in wheels:
        draw.ellipse((x - 22, y - 22, x + 22, y + 22), (25, 25, 25, 255))
    pixels = np.asarray(picture).astype(int)
    shine = np.linspace(40, -40, HEIGHT)[:, None, None] + np.random.default_rng(100 + k).normal(0, 4, (HEIGHT, WIDTH, 1))
    pixels[..., :3] = np.clip(pixels[..., :3] + shine, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def _d(points) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points) + "Z"

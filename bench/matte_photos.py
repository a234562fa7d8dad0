"""The photographs with hand-made outlines, laid in a square as the pipeline does."""

import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from pipeline.photo import letterbox, letterbox_gray
from pipeline.sample import scene
from pipeline.values import Box, Frame, Mask, Rgb

FOLDER = Path(__file__).parents[1].parent / "shared" / "photos"


@dataclass(frozen=True, slots=True)
class Example:
    """`rgb` (S, S, 3) with the photo in `frame`'s content; `truth` (S, S); `box` as drawn by hand, the square's pixels."""

    name: str
    rgb: Rgb
    frame: Frame
    truth: Mask
    box: Box


def examples(side: int) -> list[Example]:
    """All photographs of vehicles; ends the program with a sentence where they are absent."""
    if not (FOLDER / "index.csv").exists():
        sys.exit(f"This needs the photographs in {FOLDER}, which are not part of the project.")
    with (FOLDER / "index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["vehicle_bbox"]]
    return [_example(row["file"], row["vehicle_bbox"], side) for row in rows]


def _example(name: str, box: str, side: int) -> Example:
    photo = ImageOps.exif_transpose(Image.open(FOLDER / name)).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo).convert("RGB")
    frame = Frame.fit(*flat.size, side)
    x0, y0, x1, y1 = (round(v) for v in frame.content)
    rgb, truth = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.bool_)
    rgb[y0:y1, x0:x1] = np.array(flat.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS))
    mask = Image.open(FOLDER / "masks" / f"{Path(name).stem}.png").convert("L")
    truth[y0:y1, x0:x1] = np.array(mask.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)) > 127
    a, b, c, d = (float(v) for v in box.split(","))
    return Example(Path(name).stem, rgb, frame, truth, frame.to_square((a, b, c, d)))


def scenes(side: int, seeds: Iterable[int]) -> list[Example]:
    """The project's own sample scenes, whose truth is exact; all are called "scene", for they show one shape of car."""
    return [_scene(seed, side) for seed in seeds]


def _scene(seed: int, side: int) -> Example:
    drawn = scene(seed=seed, width=side, height=round(side * 2 / 3))
    frame = Frame.fit(drawn.rgb.shape[1], drawn.rgb.shape[0], side)
    rgb, truth = letterbox(drawn.rgb, frame, side), letterbox_gray(drawn.mask.astype(np.uint8) * 255, frame, side) > 127
    return Example("scene", rgb, frame, truth, frame.to_square(drawn.vehicle_box))


def jittered(box: Box, frame: Frame, amount: float, rng: np.random.Generator) -> Box:
    """The box with each side moved by up to ± `amount` of its width or height, kept within the photo."""
    w, h = box[2] - box[0], box[3] - box[1]
    dx0, dy0, dx1, dy1 = rng.uniform(-amount, amount, 4)
    x0, y0, x1, y1 = frame.content
    moved = (box[0] + dx0 * w, box[1] + dy0 * h, box[2] + dx1 * w, box[3] + dy1 * h)
    return (max(moved[0], x0), max(moved[1], y0), min(moved[2], x1), min(moved[3], y1))


def mirrored(example: Example) -> Example:
    """The same, left and right exchanged."""
    side = example.frame.size
    x0, y0, x1, y1 = example.box
    f = example.frame
    frame = Frame(f.size, f.photo_width, f.photo_height, f.scale, side - f.content[2], f.y0)
    rgb, truth = (np.ascontiguousarray(a[:, ::-1]) for a in (example.rgb, example.truth))
    return Example(example.name, rgb, frame, truth, (side - x1, y0, side - x0, y1))


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks' pixels."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def error_picture(example: Example, inside: Mask, width: int = 480, height: int = 330) -> Rgb:
    """The photo around the vehicle, dimmed where it was found; red: lost, blue: wrongly taken."""
    shown = example.rgb.astype(np.float32)
    for mask, color in ((example.truth & ~inside, (255, 0, 0)), (inside & ~example.truth, (0, 60, 255))):
        shown[mask] = 0.35 * shown[mask] + 0.65 * np.array(color, np.float32)
    x0, y0, x1, y1 = (int(v) for v in example.box)
    margin = (x1 - x0) // 9
    part = shown[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin].astype(np.uint8)
    scale = min(width / part.shape[1], height / part.shape[0])
    small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    out = np.zeros((height, width, 3), np.uint8)
    out[: small.shape[0], : small.shape[1]] = small
    return out


def sheet(pictures: list[Rgb], columns: int = 3) -> Rgb:
    """Pictures of one size in rows."""
    blank = [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    cells = [*pictures, *blank]
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])

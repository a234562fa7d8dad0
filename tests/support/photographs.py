"""The photographs with hand-made outlines, as the intake hands them on, no larger than their outlines."""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from pipeline.sample import scene
from pipeline.values import Box, Mask, Rgb

FOLDER = Path(__file__).parents[3] / "shared" / "photos"
#: The longest side of the outlines, and of the photographs that are judged by them.
LONGEST = 1600


@dataclass(frozen=True, slots=True)
class Example:
    """`rgb` (H, W, 3), the vehicle's outline `truth` (H, W), and its `box` as drawn by hand, in fractions."""

    name: str
    rgb: Rgb
    truth: Mask
    box: Box


def examples(names: list[str] | None = None, longest: int = LONGEST) -> list[Example]:
    """All photographs of vehicles, or those whose names contain one of `names`; ends the program with a sentence where they are absent.

    `longest`: pixels of the longest side at most. A cut-out is shown with what lies under its transparency, as a photograph is.
    """
    if not (FOLDER / "index.csv").exists():
        sys.exit(f"This needs the photographs in {FOLDER}, which are not part of the project.")
    with (FOLDER / "index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["vehicle_bbox"]]
    chosen = [row for row in rows if not names or any(name in row["file"] for name in names)]
    return [_example(row["file"], row["vehicle_bbox"], longest) for row in chosen]


def upright(name: str, longest: int = LONGEST) -> Rgb:
    """A photograph upright, its longest side at most `longest`."""
    photo = ImageOps.exif_transpose(Image.open(FOLDER / name)).convert("RGB")
    photo.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(photo)


def _example(name: str, box: str, longest: int) -> Example:
    rgb = upright(name, longest)
    mask = np.asarray(Image.open(FOLDER / "masks" / f"{Path(name).stem}.png").convert("L"))
    truth = cv2.resize(mask, rgb.shape[1::-1], interpolation=cv2.INTER_AREA if len(mask) > len(rgb) else cv2.INTER_LINEAR) > 127
    x0, y0, x1, y1 = (float(v) for v in box.split(","))
    return Example(Path(name).stem, rgb, truth, (x0, y0, x1, y1))


def drawn_scene(seed: int = 42) -> Example:
    """The project's own sample scene, whose truth is exact."""
    drawn = scene(seed=seed, width=1600, height=1066)
    return Example(f"scene {seed}", drawn.rgb, drawn.mask, drawn.vehicle_box)


def jittered(box: Box, amount: float, random: np.random.Generator) -> Box:
    """The box with each side moved by up to ± `amount` of its width or height, kept within the photo."""
    w, h = box[2] - box[0], box[3] - box[1]
    moves = random.uniform(-amount, amount, 4) * np.array([w, h, w, h])
    x0, y0, x1, y1 = (float(v) for v in np.clip(np.array(box) + moves, 0, 1))
    return (x0, y0, x1, y1)


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks' pixels."""
    return float((a & b).sum() / max(1, int((a | b).sum())))


def error_picture(rgb: Rgb, truth: Mask, inside: Mask, width: int = 640, height: int = 430) -> Rgb:
    """The photo; red: of the vehicle and lost, blue: wrongly taken."""
    shown = rgb.astype(np.float32)
    for mask, color in ((truth & ~inside, (255, 0, 0)), (inside & ~truth, (0, 60, 255))):
        shown[mask] = 0.35 * shown[mask] + 0.65 * np.array(color, np.float32)
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    small = cv2.resize(shown.astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    out = np.zeros((height, width, 3), np.uint8)
    out[: small.shape[0], : small.shape[1]] = small[:height, :width]
    return out


def sheet(pictures: list[Rgb], columns: int = 3) -> Rgb:
    """Pictures of one size in rows."""
    blank = [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    cells = [*pictures, *blank]
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])

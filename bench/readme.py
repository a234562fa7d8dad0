"""The README's picture: drawn scenes above the illustrations that are made of them: `python -m bench.readme`."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.intake.photo import letterbox
from pipeline.sample import scene
from pipeline.sample.__main__ import jpeg
from pipeline.values import Frame, Rgb

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "sample.png"
#: Kind and seed; the first is the sample that `./run demo` draws.
SCENES = (("car", 42), ("dark", 7), ("livery", 2), ("pickup", 5))
WIDTH, GAP, MARGIN = 480, 10, 24


def pair(kind: str, seed: int) -> tuple[Rgb, Rgb]:
    """The scene and its drawing through the shell, both in the drawing's square, cut above and below the vehicle."""
    drawn = scene(seed, kind=kind)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(jpeg(drawn))
        command = [sys.executable, "-m", "pipeline", str(photo), "-o", folder, "--engine", "classical", "--json", "--outputs", "png"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)["frame"]
        after = Image.new("RGB", (WIDTH, WIDTH), "white")
        cut_out = Image.open(Path(folder) / "preview.png").convert("RGBA").resize(after.size, Image.Resampling.LANCZOS)
        after.paste(cut_out, mask=cut_out)
    frame = Frame(told["width"], told["photo_width"], told["photo_height"], told["scale"], told["x0"], told["y0"]).at(WIDTH)
    y0, y1 = (round(drawn.vehicle_box[n] * frame.photo_height * frame.scale + frame.y0) for n in (1, 3))
    shown = slice(max(0, y0 - MARGIN), y1 + MARGIN)
    return letterbox(drawn.rgb, frame, WIDTH)[shown], np.asarray(after)[shown]


def main() -> None:
    """Draws every scene; writes `PICTURE`."""
    pairs = [pair(*each) for each in SCENES]
    height = max(len(above) for above, _ in pairs)
    sheet = np.full((2 * height + GAP, len(pairs) * (WIDTH + GAP) - GAP, 3), 255, np.uint8)
    for k, (above, below) in enumerate(pairs):
        left = k * (WIDTH + GAP)
        sheet[: len(above), left : left + WIDTH] = above
        sheet[height + GAP : height + GAP + len(below), left : left + WIDTH] = below
    Image.fromarray(sheet).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()

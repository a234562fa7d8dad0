"""The README's picture: the drawn scene beside the illustration that is made of it: `python -m bench.readme`."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.intake.photo import letterbox
from pipeline.sample import scene
from pipeline.values import Frame

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "sample.png"
WIDTH, GAP = 800, 10


def main() -> None:
    """Draws through the shell; both halves show the drawing's square, cut above and below the vehicle; writes `PICTURE`."""
    drawn = scene()
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        Image.fromarray(drawn.rgb).save(photo)
        command = [sys.executable, "-m", "pipeline", str(photo), "-o", folder, "--engine", "classical", "--json", "--outputs", "png"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)["frame"]
        after = Image.new("RGB", (WIDTH, WIDTH), "white")
        cut_out = Image.open(Path(folder) / "preview.png").convert("RGBA").resize(after.size, Image.Resampling.LANCZOS)
        after.paste(cut_out, mask=cut_out)
    frame = Frame(told["width"], told["photo_width"], told["photo_height"], told["scale"], told["x0"], told["y0"]).at(WIDTH)
    before = letterbox(drawn.rgb, frame, WIDTH)
    y0, y1 = (round(drawn.vehicle_box[n] * frame.photo_height * frame.scale + frame.y0) for n in (1, 3))
    margin = round(0.05 * WIDTH)
    both = np.full((y1 - y0 + 2 * margin, 2 * WIDTH + GAP, 3), 255, np.uint8)
    both[:, :WIDTH] = before[y0 - margin : y1 + margin]
    both[:, WIDTH + GAP :] = np.asarray(after)[y0 - margin : y1 + margin]
    Image.fromarray(both).save(PICTURE, optimize=True)
    print(PICTURE)


if __name__ == "__main__":
    main()

"""The control pictures of the project's drawn scene, in the vehicle's own square of 1024 pixels: `python -m bench.controls`.

Writes docs/images/controls.png: the vehicle on white, without its shine, its canny picture. To be looked at whenever a number of
`diffusion.edges` changes. The depth picture needs a network's real weights.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.intake.photo import letterbox
from pipeline.phase0_vehicle.framing import square_of
from pipeline.phase2_illustrate.diffusion.edges import control_edges, deshined
from pipeline.phase2_illustrate.diffusion.white import on_white
from pipeline.raster import bounds
from pipeline.sample.compose import scene
from pipeline.values import Rgb

OUT = Path(__file__).parents[1] / "docs" / "images" / "controls.png"
SIDE, SHOWN = 1024, 512  # pixels of the square, and of each picture in the sheet
SEED, SIZE = 42, (1600, 1066)


def sheet() -> Rgb:
    """The three pictures side by side, cut to the vehicle's rows, (h, 3 · SHOWN, 3)."""
    drawn = scene(SEED, *SIZE)
    inside = np.asarray(drawn.mask) > 0
    box = bounds(inside)
    assert box is not None
    frame = square_of(box, *SIZE, SIDE).at(SIDE)
    cover = letterbox(np.repeat(np.where(inside, 255, 0).astype(np.uint8)[..., None], 3, axis=2), frame, SIDE)[..., 0]
    white = on_white(letterbox(drawn.rgb, frame, SIDE), cover)
    greys = (deshined(white), control_edges(white, cover > 127))
    rows = np.flatnonzero((cover > 127).any(1))
    part = slice(max(0, rows[0] - 12), rows[-1] + 12)
    pictures = [white[part], *(np.repeat(grey[part][..., None], 3, axis=2) for grey in greys)]
    size = (SHOWN, pictures[0].shape[0] * SHOWN // SIDE)
    return np.hstack([np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA), np.uint8) for one in pictures])


def main() -> None:
    """Write the sheet with 64 colours: it is for looking."""
    Image.fromarray(sheet()).quantize(64, dither=Image.Dither.NONE).save(OUT, optimize=True)
    print(OUT)


if __name__ == "__main__":
    main()

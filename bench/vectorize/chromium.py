"""Gaps as Chromium shows them: the same measure as `tests.support.svg_raster.gaps`, on its screenshots at 1:1."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.photos import CHROMIUM
from tests.support.svg_raster import Rgb, gaps, without_lines

BAR = 200  # rows that headless Chromium takes away from its window


def screenshot(svg: str, side: int, background: str) -> Rgb:
    """(side, side, 3) the SVG on a background colour; raises SystemExit without Chromium."""
    browser = shutil.which("chromium")
    if browser is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        picture, page, shot = (Path(folder) / name for name in ("picture.svg", "page.html", "shot.png"))
        picture.write_text(svg)
        page.write_text(f'<body style="margin:0;background:{background}"><img src="picture.svg" width="{side}" height="{side}">')
        options = [f"--user-data-dir={folder}/profile", f"--screenshot={shot}", f"--window-size={side},{side + BAR}"]
        subprocess.run([browser, *CHROMIUM, *options, page.as_uri()], check=True, capture_output=True, timeout=300)
        return cv2.imread(str(shot))[:side, :side, ::-1]


def chromium_gaps(svg: bytes, nothing: NDArray[np.bool_]) -> int:
    """Pixels of the fills through which the background shows in Chromium; `nothing` (N, N) is what is not drawn."""
    fills, side = without_lines(svg), len(nothing)
    magenta, green = (np.ascontiguousarray(screenshot(fills, side, color)) for color in ("#FF00FF", "#00FF00"))
    if magenta.shape != (side, side, 3):
        raise SystemExit(f"Chromium's screenshot is {magenta.shape[1]} x {magenta.shape[0]}, not {side} x {side}.")
    return int(np.count_nonzero(gaps(magenta, green, nothing)))

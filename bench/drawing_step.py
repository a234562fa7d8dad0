"""The drawing step alone, as a process of its own: pictures come in on standard input, drawings go out on standard output.

It imports nothing of the bench, and of a drawing it takes its colours and its inner lines, so that it serves in other checkouts too.
"""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from pipeline import engines
from pipeline.palette import Palette, parse
from pipeline.phase2_illustrate.illustrate import IllustrateSettings, illustrate
from pipeline.progress import Progress
from pipeline.values import CleanPlate, Frame, Mask, Matte, Rgb


class Drawn(NamedTuple):
    """A drawing: `rgb` (S, S, 3) in the palette's colours, `ink` (S, S) its inner lines, processor `seconds` of the step."""

    rgb: Rgb
    ink: Mask
    seconds: float


class Step(Protocol):
    """Draws a vehicle, `rgb` (S, S, 3) and `inside` (S, S), in the colours of a palette."""

    def __call__(self, rgb: Rgb, inside: Mask, palette: Palette) -> Drawn:
        """The drawing of it."""


def serve() -> None:
    """Answer what is asked until nothing more comes. The first picture is drawn twice, for what the first drawing loads."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    steps, warm = engines.classical({}, find=lambda *_: []), False
    while True:
        try:
            rgb, inside, colours = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        side = len(rgb)
        matte, nothing = Matte(np.where(inside, 255, 0).astype(np.uint8), 1.0), np.zeros(inside.shape, bool)
        plate, settings = CleanPlate(rgb, Frame.fit(side, side, side), matte, (), nothing), IllustrateSettings(side, False, True, None)
        for _ in range(1 if warm else 2):
            start = time.process_time()
            drawing = illustrate(plate, parse(colours), settings, steps, Progress())
            seconds = time.process_time() - start
        warm = True
        pickle.dump((drawing.rgb, drawing.ink, seconds), answers)
        answers.flush()


@contextmanager
def step_of(root: Path) -> Iterator[Step]:
    """The drawing step of the checkout in `root`; ends the program where it fails."""
    command = [sys.executable, "-P", "-c", f"import runpy; runpy.run_path({__file__!r})['serve']()"]
    pipe, environment = subprocess.PIPE, os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, cwd=root, env=environment, stdin=pipe, stdout=pipe) as process:

        def drawn(rgb: Rgb, inside: Mask, palette: Palette) -> Drawn:
            assert process.stdin and process.stdout
            try:
                pickle.dump((rgb, inside, list(palette.colors)), process.stdin)
                process.stdin.flush()
                return Drawn(*pickle.load(process.stdout))
            except (BrokenPipeError, EOFError):
                sys.exit(f"{root} did not draw it; the lines above say why.")

        yield drawn

"""The order of phase 2: draw the clean plate, grade the drawing to the palette, find its inner lines."""

import numpy as np

from pipeline.palette import Palette
from pipeline.phase2_illustrate.grade import grade
from pipeline.phase2_illustrate.lines import panel_lines
from pipeline.progress import Progress
from pipeline.square import resized
from pipeline.steps import Steps
from pipeline.values import CleanPlate, Illustration, Matte


def illustrate(plate: CleanPlate, palette: Palette, side: int, keep_background: bool, steps: Steps, progress: Progress) -> Illustration:
    """Clean plate → illustration of `side` × `side` in palette colours, white where nothing is drawn."""
    progress.step("illustrate", "draw", 0.35)
    rgb = resized(plate.rgb, side)
    matte = Matte(resized(plate.matte.alpha, side), plate.matte.confidence)
    drawn = steps.draw(rgb, matte.inside)
    progress.step("illustrate", "grade", 0.45)
    labels = grade(drawn, matte.inside, palette, keep_background)
    progress.step("illustrate", "lines", 0.55)
    ink, edges = panel_lines(drawn, matte.inside, labels)
    table = np.vstack([palette.rgb, np.full((1, 3), 255, np.uint8)])
    depth = steps.depth(rgb) if steps.depth else None
    return Illustration(np.take(table, labels, axis=0), plate.frame, matte, ink, edges, depth, None, 1)

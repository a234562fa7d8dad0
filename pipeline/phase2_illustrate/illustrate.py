"""The order of phase 2: draw the clean plate, grade the drawing to the palette, find its inner lines."""

import cv2
import numpy as np

from pipeline.palette import Palette
from pipeline.phase2_illustrate.grade import grade
from pipeline.phase2_illustrate.lines import panel_lines
from pipeline.progress import Progress
from pipeline.steps import Steps
from pipeline.values import CleanPlate, Illustration, Matte


def illustrate(plate: CleanPlate, palette: Palette, side: int, keep_background: bool, steps: Steps, progress: Progress) -> Illustration:
    """Clean plate → illustration of `side` × `side` in palette colours, white where nothing is drawn."""
    progress.step("illustrate", "draw", 0.35)
    size = (side, side)
    rgb = plate.rgb if plate.rgb.shape[0] == side else cv2.resize(plate.rgb, size, interpolation=cv2.INTER_AREA)
    alpha = plate.matte.alpha
    matte = Matte(alpha if alpha.shape[0] == side else cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), plate.matte.confidence)
    drawn = steps.draw(rgb, matte.inside)
    progress.step("illustrate", "grade", 0.45)
    labels = grade(drawn, matte.inside, palette, keep_background)
    progress.step("illustrate", "lines", 0.55)
    ink, edges = panel_lines(drawn, matte.inside, labels)
    table = np.vstack([palette.rgb, np.full((1, 3), 255, np.uint8)])
    depth = steps.depth(rgb) if steps.depth else None
    return Illustration(np.take(table, labels, axis=0), plate.frame, matte, ink, edges, depth, None, 1)

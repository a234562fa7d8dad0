"""The order of phase 2: draw the clean plate, grade the drawing to the palette, find its inner lines."""

from dataclasses import dataclass

import numpy as np

from pipeline.palette import Palette
from pipeline.phase2_illustrate.blank_plates import areas, blank, flattened
from pipeline.phase2_illustrate.calm_wheels import calmed_wheels
from pipeline.phase2_illustrate.color_locks import locked
from pipeline.phase2_illustrate.dark_relief import relieved
from pipeline.phase2_illustrate.diffusion.redraw import RedrawSettings, redraw
from pipeline.phase2_illustrate.glass import calmed, panes
from pipeline.phase2_illustrate.gone_lettering import filled, places, without_strokes
from pipeline.phase2_illustrate.grade import grade
from pipeline.phase2_illustrate.panel_lines import panel_lines
from pipeline.phase2_illustrate.parts import amber, lamps, one_red, parts_of
from pipeline.phase2_illustrate.wheels import wheels
from pipeline.progress import Progress
from pipeline.raster import resized
from pipeline.steps import Steps
from pipeline.values import CleanPlate, ColorLock, Illustration, Matte


@dataclass(frozen=True, slots=True)
class IllustrateSettings:
    """`side` of the drawing in pixels; `grade`: whether the drawing is graded to the palette; `redraw` for engines that draw anew.

    `locks`: areas that have a colour of their own, which need not be the palette's.
    """

    side: int
    keep_background: bool
    grade: bool
    redraw: RedrawSettings | None
    locks: tuple[ColorLock, ...] = ()


def illustrate(plate: CleanPlate, palette: Palette, settings: IllustrateSettings, steps: Steps, progress: Progress) -> Illustration:
    """Clean plate → illustration of `side` × `side`, white where nothing is drawn, in palette colours unless grading is off.

    A removed plate is one calm area (`plates`), and so is a pane of glass. Shapes in the dark are those of the photograph: a redrawn
    picture has its own. A redrawn vehicle is cut out by its own outline where that agrees with the photograph's, else by the
    photograph's. Raises `LOW_IOU`.
    """
    rgb = resized(plate.rgb, settings.side)
    matte = Matte(resized(plate.matte.alpha, settings.side), plate.matte.confidence)
    redrawn = None
    if steps.redraw is not None and settings.redraw is not None:
        redrawn = redraw(rgb, matte, settings.keep_background, steps, steps.redraw, settings.redraw, progress)
        drawn = redrawn.rgb
        matte = redrawn.matte if redrawn.iou >= settings.redraw.threshold else matte
    elif steps.draw is not None:
        progress.step("draw", 0.0)
        drawn = steps.draw(rgb, matte.inside)
    else:
        raise ValueError(f"the {steps.name} engine has nothing to draw with")
    progress.step("grade", 0.6)
    plates = areas(plate.plates, settings.side / plate.frame.size, matte.inside)
    drawn = flattened(drawn, plates)
    glass = panes(rgb, matte.inside)
    labels = calmed(grade(drawn, matte.inside, palette, settings.keep_background), glass, palette)
    if redrawn is None:
        labels = relieved(rgb, matte.inside, labels, palette, spared=glass > 0)
    lettering = places(plate.removed_mask, [one.quad for one in plate.removed if one.label == "text"], matte.inside)
    labels = blank(filled(labels, lettering, len(palette)), plates, palette)
    wheel, rims = wheels(rgb, matte.inside)
    labels, calm = calmed_wheels(rgb, matte.inside, labels, palette, rims if redrawn is None else ())
    labels = amber(drawn, matte.inside, labels, palette, elsewhere=(glass > 0) | wheel)
    lamp = lamps(labels, matte.inside, palette, elsewhere=(glass > 0) | wheel)
    labels = one_red(labels, lamp, palette)
    parts = parts_of(matte.inside, glass > 0, wheel, lamp, plates)
    progress.step("lines", 0.85)
    ink, strength = panel_lines(drawn, matte.inside, labels, spared=(glass > 0) | calm)
    ink = without_strokes(ink, lettering)
    table = np.vstack([palette.rgb, np.full((1, 3), 255, np.uint8)])
    flat = np.take(table, labels, axis=0) if settings.grade else drawn
    flat, missed = locked(flat, labels, matte.inside, parts, plate.frame, palette, settings.locks) if settings.locks else (flat, ())
    if redrawn is None:
        return Illustration(flat, plate.frame, matte, ink, parts, strength, None, None, 1, missed)
    return Illustration(
        rgb=flat,
        frame=plate.frame,
        matte=matte,
        ink=ink,
        parts=parts,
        edges=redrawn.edges,
        depth=redrawn.depth,
        iou=redrawn.iou,
        attempts=redrawn.attempts,
        warnings=(*redrawn.warnings, *missed),
        drawn_with=redrawn.drawn_with,
    )

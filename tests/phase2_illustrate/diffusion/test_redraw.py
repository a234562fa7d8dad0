"""The order of a redrawing, with a drawing step that does as it is told."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import Code, JobError
from pipeline.phase2_illustrate.diffusion.agreement import attempt_seed
from pipeline.phase2_illustrate.diffusion.redraw import RedrawSettings, redraw
from pipeline.progress import Progress
from pipeline.steps import Brief
from pipeline.values import Matte
from tests.support.stand_in_steps import stand_in_steps

SIDE = 64
BRIEF = Brief(None, None, 42, 30, 7.5, 0.6, 0.4, 0.75, "prompt", "negative", 0.8, False, 0.9)
SETTINGS = RedrawSettings(BRIEF, threshold=0.85, max_retries=2, allow_low_iou=False)


def rectangle(x1):
    inside = np.zeros((SIDE, SIDE), bool)
    inside[16:48, 8:x1] = True
    return inside


PLACE = rectangle(56)
MATTE = Matte(np.where(PLACE, 255, 0).astype(np.uint8), None)
PHOTO = np.random.default_rng(0).integers(0, 200, (SIDE, SIDE, 3)).astype(np.uint8)


class Engine:
    """Draws the vehicle `columns` wide, one number an attempt; 0 draws nothing at all."""

    def __init__(self, *columns):
        self.columns, self.briefs, self.pictures = columns, [], []

    def draw(self, rgb, brief, tell):
        tell(1.0)
        drawn = np.full((SIDE, SIDE, 3), 255, np.uint8)
        drawn[rectangle(8 + self.columns[len(self.briefs)])] = 30 + len(self.briefs)
        self.briefs.append(brief)
        self.pictures.append(rgb)
        return drawn, ("STYLE_MISSING: none",)

    def matte(self, rgb, box):
        assert box == (8, 16, 56, 48)
        inside = (rgb < 128).all(-1)
        return Matte(np.where(inside, 255, 0).astype(np.uint8), 1.0)

    @property
    def steps(self):
        ramp = np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1))
        return stand_in_steps(name="neural", matte=self.matte, depth=lambda rgb: ramp, draw=None, redraw=self.draw)

    def run(self, settings=SETTINGS, keep=False, progress=None, **steps):
        record = replace(self.steps, **steps)
        return redraw(PHOTO, MATTE, keep, record, self.draw, settings, progress or Progress())


def test_a_first_attempt_that_agrees_is_delivered_as_it_is():
    engine = Engine(48)
    done = engine.run()
    assert done.iou == 1.0
    assert done.attempts == 1
    assert (done.drawn_with.seed, done.drawn_with.steps, done.drawn_with.depth_weight, done.drawn_with.canny_weight) == (42, 30, 0.6, 0.4)
    assert done.warnings == ("STYLE_MISSING: none",)


def test_retries_are_held_harder_and_start_from_other_noise():
    engine = Engine(10, 20, 46)
    done = engine.run()
    assert [(b.depth_weight, b.canny_weight) for b in engine.briefs] == [(0.6, 0.4), (0.7, 0.5), (0.8, 0.6)]
    assert [b.seed for b in engine.briefs] == [42, attempt_seed(42, 1), attempt_seed(42, 2)]
    assert done.attempts == 3
    assert done.drawn_with.seed == attempt_seed(42, 2)
    assert done.drawn_with.depth_weight == 0.8
    assert done.iou == pytest.approx(46 / 48)


def test_the_best_attempt_is_kept_with_its_own_numbers_and_not_the_last():
    engine = Engine(10, 30, 20)
    done = engine.run(replace(SETTINGS, allow_low_iou=True))
    assert done.attempts == 3
    assert done.iou == pytest.approx(30 / 48)
    assert (done.drawn_with.seed, done.drawn_with.depth_weight) == (attempt_seed(42, 1), 0.7)
    assert (done.rgb[PLACE] == 31).any()
    assert [w.partition(":")[0] for w in done.warnings] == ["STYLE_MISSING", "LOW_IOU"]


def test_drawings_that_lose_the_vehicle_fail_the_job():
    with pytest.raises(JobError) as caught:
        Engine(10, 30, 20).run()
    assert caught.value.code is Code.LOW_IOU
    assert "0.62" in caught.value.sentence


def test_a_drawing_without_a_vehicle_is_an_attempt_and_not_the_end():
    assert Engine(0, 48).run().attempts == 2


def test_the_vehicle_stands_on_white_unless_the_background_is_kept():
    for keep in (False, True):
        engine = Engine(48)
        engine.run(keep=keep)
        outside = engine.pictures[0][~PLACE]
        assert (outside == 255).all() != keep
        assert (engine.pictures[0][PLACE] == PHOTO[PLACE]).all()


def test_the_control_images_hold_something():
    done = Engine(48).run()
    for picture in (done.depth, done.edges):
        assert picture.shape == (SIDE, SIDE)
        assert picture.dtype == np.uint8
        assert picture.min() < picture.max()
    engine = Engine(48)
    engine.run()
    assert engine.briefs[0].depth is not None
    assert (engine.briefs[0].edges == done.edges).all()


@pytest.mark.parametrize("broken", [np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.float32), np.ones((SIDE, 2), np.uint8)])
def test_a_depth_map_without_depth_is_a_bug_and_no_black_control_image(broken):
    with pytest.raises(RuntimeError, match="depth"):
        Engine(48).run(depth=lambda rgb: broken)


def test_a_weight_of_nought_stays_nought_and_asks_for_no_depth():
    def never(rgb):
        raise AssertionError("depth was asked for")

    engine = Engine(10, 10, 10)
    off = replace(SETTINGS, brief=replace(BRIEF, depth_weight=0.0), allow_low_iou=True)
    assert engine.run(off, depth=never).depth is None
    assert [b.depth_weight for b in engine.briefs] == [0, 0, 0]


def test_a_picture_too_soft_for_edges_is_drawn_from_its_depth_and_says_so():
    engine = Engine(48)
    soft = np.full((SIDE, SIDE, 3), 90, np.uint8)
    done = redraw(soft, MATTE, True, engine.steps, engine.draw, SETTINGS, Progress())
    assert not done.edges.any()
    assert engine.briefs[0].canny_weight == 0
    assert done.warnings[0].startswith("NO_EDGES: ")


def test_progress_never_goes_back_and_a_cancelled_job_draws_no_more():
    told = []
    engine = Engine(10, 20, 30)
    progress = Progress(send=lambda report: told.append(report.fraction), interval=0.0)
    engine.run(replace(SETTINGS, allow_low_iou=True), progress=progress)
    assert told == sorted(told)
    assert len(told) >= 4
    engine = Engine(10, 20, 30)
    progress = Progress(send=lambda report: progress.cancelled.set() if report.fraction > 0.3 else None, interval=0.0)
    with pytest.raises(JobError) as caught:
        engine.run(progress=progress)
    assert caught.value.code is Code.CANCELLED
    assert len(engine.briefs) < 3

"""Where lettering was, the area around it goes on, and no line is left in the letters' shape."""

import cv2
import numpy as np
import pytest

from pipeline.phase2_illustrate.gone_lettering import Place, filled, places, without_strokes
from pipeline.values import Mask

PAINT, OTHER, GHOST, NOTHING = 0, 1, 2, 3
SIDE = 512
INSIDE = np.ones((SIDE, SIDE), bool)
LINE = np.array([[300, 480], [700, 480], [700, 540], [300, 540]], np.float32)  # in a picture of twice the side


def letters() -> Mask:
    """The pixels of a word, in a picture of twice the drawing's side."""
    canvas = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    cv2.putText(canvas, "LETTERING", (310, 530), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 1, 8)
    return canvas > 0


@pytest.fixture(scope="module")
def lettering() -> list[Place]:
    return places(letters(), [LINE], INSIDE)


def halved(mask: Mask) -> Mask:
    return cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0


def test_a_line_is_one_place_that_holds_its_letters(lettering):
    (place,) = lettering
    assert (place.letters | ~halved(letters())).all()
    assert not (place.letters & place.ground).any()
    assert place.letters.sum() < 1.6 * 200 * 30


def test_what_was_removed_and_is_no_lettering_stays_out(lettering):
    more = letters()
    more[800:900, 100:200] = True
    assert (places(more, [LINE], INSIDE)[0].letters == lettering[0].letters).all()
    assert places(more, [], INSIDE) == []


def test_ghosts_of_letters_become_paint(lettering):
    labels = np.where(halved(letters()), GHOST, PAINT).astype(np.uint8)
    assert (filled(labels, lettering, NOTHING) == PAINT).all()


def test_two_paints_go_on_up_to_each_other(lettering):
    below = np.arange(SIDE)[:, None] >= 255
    labels = np.where(halved(letters()), GHOST, np.where(below, OTHER, PAINT)).astype(np.uint8)
    done = filled(labels, lettering, NOTHING)
    assert set(np.unique(done)) == {PAINT, OTHER}
    assert (done[:225] == PAINT).all()
    assert (done[285:] == OTHER).all()
    assert (done != np.where(below, OTHER, PAINT)).sum() < 0.2 * lettering[0].letters.sum()


def test_letters_on_a_strip_between_a_lamp_and_the_paint_become_strip(lettering):
    rows = np.arange(SIDE)[:, None]
    clean = np.where(rows < 240, OTHER, np.where(rows < 270, GHOST, PAINT)) * np.ones((1, SIDE), int)
    smeared = np.where(lettering[0].letters, PAINT, clean).astype(np.uint8)
    assert (filled(smeared, lettering, NOTHING) == clean)[240:270].all()


def test_a_number_leaves_its_roundel_whole():
    canvas = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    cv2.putText(canvas, "84", (450, 540), cv2.FONT_HERSHEY_SIMPLEX, 3.0, 1, 12)
    line = np.array([[445, 470], [580, 470], [580, 545], [445, 545]], np.float32)
    roundel = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (256, 254), 52, 1, -1) > 0
    labels = np.where(halved(canvas > 0), GHOST, np.where(roundel, OTHER, PAINT)).astype(np.uint8)
    done = filled(labels, places(canvas > 0, [line], INSIDE), NOTHING)
    assert (done == np.where(roundel, OTHER, PAINT)).all()


def test_beside_the_outline_nothing_does_not_flow_in(lettering):
    labels = np.where(halved(letters()), GHOST, PAINT).astype(np.uint8)
    inside = np.arange(SIDE)[None] < 330
    labels[:, 330:] = NOTHING
    done = filled(labels, places(letters(), [LINE], inside & INSIDE), NOTHING)
    assert (done[:, :330] == PAINT).all()
    assert (done[:, 330:] == NOTHING).all()


def test_only_lines_that_go_on_at_both_ends_stay(lettering):
    crossing, stub, ghost = (np.zeros((SIDE, SIDE), bool) for _ in range(3))
    crossing[200:320, 200] = True
    stub[200:255, 240] = True
    ghost[245:265, 300] = True
    whole = np.zeros((SIDE, SIDE), bool)
    whole[248:258, 160:330] = True
    done = without_strokes(crossing | stub | ghost, lettering)
    assert done[200:320, 200].all()
    assert not (done & ghost).any()
    assert not (done & stub & whole).any()
    assert done[200:235, 240].all()


def test_without_lettering_nothing_changes():
    labels, ink = np.full((SIDE, SIDE), GHOST, np.uint8), INSIDE
    assert filled(labels, [], NOTHING) is labels
    assert without_strokes(ink, []) is ink

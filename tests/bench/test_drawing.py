"""What the bench makes of a drawing, on pictures small enough to count by hand."""

import numpy as np
import pytest

from bench import drawing
from bench.drawing_step import step_of
from bench.edges import agreement
from pipeline.color import srgb_to_lab
from pipeline.palette import parse

PALETTE = parse("FF0000,0000FF,808080")
SIDE = 64
INSIDE = np.ones((SIDE, SIDE), bool)


def flat(colour):
    return np.full((SIDE, SIDE, 3), colour, np.uint8)


def halves(left, right):
    picture = flat(left)
    picture[:, SIDE // 2 :] = right
    return picture


def test_lowered_chroma_keeps_lightness_and_hue():
    before, after = srgb_to_lab(np.array([180, 60, 50], np.uint8)), srgb_to_lab(drawing.lowered(flat((180, 60, 50)), 0.5)[0, 0])
    assert after == pytest.approx(before * (1, 0.5, 0.5), abs=0.6)


def test_chroma_times_one_changes_nothing():
    picture = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    assert (drawing.lowered(picture, 1) == picture).all()


def test_hues_are_apart_the_short_way_round():
    angles = np.radians([[170], [-170]])
    one, other = (np.concatenate([[50], np.cos(a) * 40, np.sin(a) * 40]) for a in angles)
    assert drawing.apart(one, other) == pytest.approx(20)


def test_own_family_is_the_share_of_paint_drawn_in_its_hue():
    lab = srgb_to_lab(halves((200, 30, 30), (20, 30, 160)))
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[: SIDE // 2, SIDE // 2 :] = 1  # half of the blue is drawn red, and all of the red
    assert drawing.own_family(lab, INSIDE, labels, PALETTE) == pytest.approx(0.75)


def test_paint_drawn_grey_has_lost_its_family():
    lab = srgb_to_lab(flat((200, 30, 30)))
    assert drawing.own_family(lab, INSIDE, np.full((SIDE, SIDE), 2, np.uint8), PALETTE) == 0


@pytest.mark.parametrize("colour", [(128, 128, 128), (20, 200, 30)], ids=["colourless", "a hue that the palette lacks"])
def test_own_family_of_nothing_to_keep_is_unknown(colour):
    assert np.isnan(drawing.own_family(srgb_to_lab(flat(colour)), INSIDE, np.zeros((SIDE, SIDE), np.uint8), PALETTE))


def test_edges_in_what_is_spared_do_not_count():
    photo = halves((20, 20, 20), (230, 230, 230))
    photo[:, 10:12] = 230
    drawn = halves((0, 0, 0), (255, 255, 255))
    drawn[:, 52:] = 0
    spared = np.zeros((SIDE, SIDE), bool)
    spared[:, :16] = spared[:, 48:] = True
    recall, precision, _ = agreement(photo, INSIDE, drawn)
    assert (recall, precision) < (1, 1)
    assert agreement(photo, INSIDE, drawn, spared=spared) == (1, 1, 1)


def test_with_all_of_it_spared_nothing_agrees():
    photo = halves((20, 20, 20), (230, 230, 230))
    assert agreement(photo, INSIDE, photo, spared=INSIDE) == (0, 0, 0)


def test_labels_are_read_from_the_drawing_and_white_around_it_is_none():
    picture, inside = halves((255, 0, 0), (255, 255, 255)), INSIDE.copy()
    inside[:, -8:] = False
    labels = drawing.labels_of(picture, inside, parse("FF0000,FFFFFF"))
    assert [int(labels[5, x]) for x in (5, 40, 60)] == [0, 1, 2]


def test_the_summary_names_the_worst_photograph():
    known = dict.fromkeys(drawing.MEASURES, np.nan)
    rows = {"a": known | {"recall": 0.5, "regions": 20.0}, "b": known | {"recall": 0.9, "regions": 80.0}, "c": known}
    told = drawing.summary(rows)
    assert told["recall"] == (pytest.approx(0.7), 0.5, "a")
    assert told["regions"] == (50, 80, "b")
    assert drawing.shown("hue", told["hue"][0]) == "–"


def test_the_step_of_a_checkout_draws_in_a_process_of_its_own():
    inside = np.zeros((128, 128), bool)
    inside[32:96, 16:112] = True
    picture = np.where(inside[..., None], np.uint8((200, 30, 30)), np.uint8(255))
    with step_of(drawing.ROOT) as step:
        drawn = step(picture, inside, PALETTE)
    assert (drawing.labels_of(drawn.rgb, inside, PALETTE)[inside] == 0).mean() > 0.95
    assert drawn.ink.shape == inside.shape
    assert drawn.seconds > 0


def test_a_checkout_that_cannot_draw_ends_the_bench(tmp_path):
    with pytest.raises(SystemExit, match="did not draw it"), step_of(tmp_path) as step:
        step(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), bool), PALETTE)

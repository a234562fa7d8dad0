"""Parts of what stands out: largest first, pieces with the thing they belong to, two things that touch."""

import cv2
import numpy as np
import pytest

from pipeline.phase0_vehicle import parts


def plane(*boxes, size=(200, 300)):
    p = np.zeros(size, np.float32)
    for x0, y0, x1, y1 in boxes:
        p[y0:y1, x0:x1] = 0.9
    return p


CAR, POLE, SPECK = (50, 60, 200, 150), (260, 20, 270, 180), (5, 5, 7, 7)


def test_largest_first_with_bounds_and_areas_and_no_specks():
    _, found = parts.label(plane(CAR, POLE, SPECK))
    assert [(part.box, part.area) for part in found] == [((50, 60, 200, 150), 13500), ((260, 20, 270, 180), 1600)]


def test_nothing_of_nothing():
    labels, found = parts.label(np.full((20, 20), 0.5, np.float32))
    assert found == []
    assert not parts.only(np.full((20, 20), 0.5, np.float32), labels, frozenset()).any()


def test_a_small_piece_close_by_belongs_to_it_and_another_thing_does_not():
    aerial, sign = (100, 40, 102, 58), (215, 60, 230, 150)
    p = plane(CAR, aerial, sign)
    labels, found = parts.label(p)
    kept = parts.with_pieces(found[0], labels)
    alpha = parts.only(p, labels, kept)
    assert alpha[50, 101] == 230  # 2 pixels above the roof
    assert alpha[100, 100] == 230
    assert not alpha[:, 210:].any()


def test_a_large_neighbour_is_no_piece():
    p = plane(CAR, (202, 60, 280, 150))
    labels, found = parts.label(p)
    assert len(parts.with_pieces(found[0], labels)) == 1


def test_soft_pixels_go_with_the_part_they_are_nearest_to():
    p = plane((20, 50, 80, 100), (120, 50, 180, 100))
    p[50:100, 80:84] = 0.3  # the left one's rim
    p[50:100, 116:120] = 0.3
    labels, found = parts.label(p)
    alpha = parts.only(p, labels, frozenset({found[0].number}))
    rims = sorted([int(alpha[70, 81]), int(alpha[70, 118])])
    assert rims == [0, 76]


def ellipse(*places):
    canvas = np.zeros((300, 700), np.uint8)
    for x, y, a, b in places:
        cv2.ellipse(canvas, (x, y), (a, b), 0, 0, 360, 1, -1)
    return canvas > 0


@pytest.mark.parametrize("lap", [0, 4, 10])
def test_two_things_that_touch_fall_apart_and_one_does_not(lap):
    one = ellipse((250, 150, 140, 80))
    two = ellipse((200, 150, 140, 80), (480 - lap, 150, 140, 80))
    assert parts.second_half(one) == 0
    assert parts.second_half(two) > 0.1


def test_a_box_is_solid_and_a_cross_is_not():
    assert parts.solidity(plane(CAR) > 0.5) == pytest.approx(1, abs=0.03)
    cross = plane((100, 20, 120, 180), (30, 90, 190, 110)) > 0.5
    assert parts.solidity(cross) < 0.6


@pytest.mark.parametrize(
    ("box", "touched"),
    [
        (CAR, (False, False, False, False)),
        ((0, 60, 200, 150), (True, False, False, False)),
        ((50, 0, 300, 200), (False, True, True, True)),
        ((50, 60, 300, 64), (False, False, False, False)),  # 4 of 200 rows
    ],
)
def test_which_sides_are_touched(box, touched):
    assert parts.sides_touched(plane(box) > 0.5, 0.03) == touched

"""Which vehicle is meant."""

from itertools import permutations

import numpy as np
import pytest

from pipeline.phase0_vehicle.choose import apart, choose
from pipeline.raster import box_iou
from pipeline.values import Box, Found

CONTENT = (0.0, 100.0, 400.0, 300.0)


def vehicle(x0: float, y0: float, x1: float, y1: float, score: float = 0.5, label: str = "car") -> Found:
    return Found(label, score, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32))


MIDDLE = vehicle(150, 160, 250, 240)
CORNER = vehicle(0, 100, 100, 180)
HUGE_AT_THE_SIDE = vehicle(200, 110, 400, 290)
SMALL_IN_THE_MIDDLE = vehicle(195, 195, 205, 205)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (2, 2, 7, 6), 0.2),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (20, 20, 30, 30), 0.0),
        ((5, 5, 5, 5), (5, 5, 5, 5), 0.0),
    ],
)
def test_iou(a: Box, b: Box, expected: float):
    assert box_iou(a, b) == box_iou(b, a) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("vehicles", "chosen"),
    [
        ([], None),
        ([CORNER], CORNER),
        ([CORNER, MIDDLE], MIDDLE),  # of equal size, the central one
        ([SMALL_IN_THE_MIDDLE, MIDDLE], MIDDLE),  # of equal place, the large one
        ([MIDDLE, HUGE_AT_THE_SIDE], HUGE_AT_THE_SIDE),  # 0.45 × 0.65 against 0.1 × 1
        ([SMALL_IN_THE_MIDDLE, CORNER], CORNER),  # 0.1 × 0.32 against 0.00125 × 1
    ],
)
def test_without_a_hint_the_most_central_large_one(vehicles: list[Found], chosen: Found | None):
    for order in permutations(vehicles):
        assert choose(order, CONTENT, None) is chosen


def test_centrality_is_measured_in_the_photo_and_not_in_the_square():
    left, right = vehicle(0, 0, 40, 40), vehicle(60, 0, 100, 40)
    assert choose([left, right], (0, 0, 60, 100), None) is left
    assert choose([left, right], (40, 0, 100, 100), None) is right


def test_a_hint_takes_the_one_that_it_overlaps_most():
    for order in permutations([MIDDLE, CORNER, HUGE_AT_THE_SIDE]):
        assert choose(order, CONTENT, (10, 110, 100, 180)) is CORNER
        assert choose(order, CONTENT, (210, 120, 390, 280)) is HUGE_AT_THE_SIDE


@pytest.mark.parametrize(("width", "found"), [(31, True), (29, False)])
def test_a_hint_that_nothing_overlaps_enough_finds_nothing(width: float, found: bool):
    hint = (150, 160, 150 + width, 240)  # inside the vehicle: the overlap is width / 100
    assert (choose([MIDDLE], CONTENT, hint) is MIDDLE) == found


def test_equals_are_told_apart_by_score_and_then_by_place():
    a, b, c = vehicle(10, 110, 60, 160, 0.6), vehicle(340, 110, 390, 160, 0.7), vehicle(340, 240, 390, 290, 0.7)
    for order in permutations([a, b, c]):
        assert choose(order, (0, 100, 400, 300), None) is b


def test_of_two_boxes_of_one_thing_the_better_stays():
    again = vehicle(152, 162, 252, 242, 0.9, "truck")
    inside = vehicle(160, 170, 190, 200, 0.3)
    for order in permutations([MIDDLE, again, inside, CORNER]):
        assert [f.box for f in apart(order, 0.6)] == [again.box, CORNER.box, inside.box]
    assert len(apart([MIDDLE, again], 0.99)) == 2

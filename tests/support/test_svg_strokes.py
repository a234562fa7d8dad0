"""The measure of strokes, on made-up line layers whose faults are known."""

import numpy as np
import pytest

from tests.support.svg_geometry import shape
from tests.support.svg_strokes import crack_points, strokes

SIDE = 64


def square():
    """A square of 32 px in the middle."""
    key = np.zeros((SIDE, SIDE), np.uint8)
    key[16:48, 16:48] = 1
    return key


def measured(key, *data):
    return strokes([shape(d) for d in data], key)


OUTLINE = "M16 16H48V48H16Z"


def test_cracks_are_counted_but_none_on_the_frame():
    assert len(crack_points(square())) == 4 * 32
    key = np.zeros((4, 4), np.uint8)
    key[:, 2:] = 1
    assert sorted(map(tuple, crack_points(key))) == [(2, 0.5), (2, 1.5), (2, 2.5), (2, 3.5)]


def test_a_boundary_stroked_once_has_no_fault():
    found = measured(square(), OUTLINE)
    assert (found.cracks, found.uncovered, found.doubled, found.invented) == (128, 0, 0, 0)
    assert found.length == pytest.approx(128)


def test_a_boundary_without_a_stroke_is_found():
    found = measured(square(), "M48 16V48H16V16")
    assert found.uncovered == 32 - 2 * 3  # but for what is near the ends of the other sides: middles 0.5, 1.5 and 2.5 px from them
    assert measured(square()).uncovered == 128


def test_a_doubled_stroke_is_found_whichever_way_round():
    assert measured(square(), OUTLINE, "M48 20.5V44.5").doubled == pytest.approx(24, abs=1)
    assert measured(square(), OUTLINE, "M47.7 44.5V20.5").doubled == pytest.approx(24, abs=1)


def test_a_stroke_that_goes_back_on_itself_is_found():
    assert measured(square(), OUTLINE + "M48 20V44V20").doubled > 24
    assert measured(square(), "M16 16H48V48H16V16H40").doubled == pytest.approx(24, abs=1)


def test_a_loop_is_not_its_own_double_where_it_closes():
    assert measured(square(), "M32 16H48V48H16V16H32Z").doubled == 0


def test_strokes_that_cross_or_part_are_no_doubles():
    key = square()
    key[16:48, 32:48] = 2
    assert measured(key, "M32 16H48V48H32", "M32 16H16V48H32", "M32 16V48").doubled == 0


def test_two_boundaries_side_by_side_are_two_strokes():
    key = np.zeros((SIDE, SIDE), np.uint8)
    key[:, 32:33] = 1
    assert measured(key, "M32.2 0V64", "M32.8 0V64").doubled == 0
    key[:, 32:33] = 0
    key[:, 32:] = 1
    assert measured(key, "M32.2 0V64", "M32.8 0V64").doubled == pytest.approx(64)


def test_a_stroke_along_no_boundary_is_found():
    assert measured(square(), OUTLINE, "M0 0H64").invented == pytest.approx(64)


def test_a_stroke_on_the_frame_is_found_though_a_boundary_is_near():
    key = np.zeros((SIDE, SIDE), np.uint8)
    key[2:] = 1
    found = measured(key, "M0 2H64", "M0 0H64")
    assert (found.invented, found.framed) == (0, pytest.approx(64))
    assert measured(key, "M0 2H64").framed == 0
    assert measured(key.T, "M2 0V64").framed == 0  # it ends on the frame, which is no fault
    assert measured(key.T, "M0 0V64").framed == pytest.approx(64)

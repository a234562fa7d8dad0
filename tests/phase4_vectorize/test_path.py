"""Path data: what is written for numbers, curves, links and outlines, digit for digit, and that a reader gets back what was rounded."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.phase4_vectorize.path import Stretch, _numbers, _rounded, closed, links, move, stretch


@pytest.mark.parametrize(
    ("tenths", "text"),
    [
        ([], ""),
        ([0], " 0"),
        ([1], " .1"),  # no 0 before the point
        ([-1], "-.1"),  # the minus separates
        ([10], " 1"),  # no .0 behind it
        ([-10], "-1"),
        ([105], " 10.5"),
        ([-105], "-10.5"),
        ([1000], " 100"),
        ([5, -5, 0, -20, 15], " .5-.5 0-2 1.5"),
        ([4096, -4096], " 409.6-409.6"),  # the last that are kept ready
        ([4097, -4097], " 409.7-409.7"),  # the first that are not
        ([81920, -81929], " 8192-8192.9"),
    ],
)
def test_numbers_in_tenths(tenths: list[int], text: str) -> None:
    assert _numbers(tenths) == text


@pytest.mark.parametrize(
    ("command", "x", "y", "text"),
    [("M", 0, 0, "M0 0"), ("M", -5, 12, "M-.5 1.2"), ("l", 5, -10, "l.5-1"), ("l", -1, -1, "l-.1-.1"), ("M", 20480, 3, "M2048 .3")],
)
def test_one_point_with_its_command(command: str, x: int, y: int, text: str) -> None:
    """Nothing stands between a command and its first number."""
    assert move(command, x, y) == text


def straight(*corners: tuple[float, float]) -> list[list[float]]:
    """The polyline as curves whose handles lie on their ends."""
    return [[*a, *a, *b, *b] for a, b in pairwise(corners)]


@pytest.mark.parametrize(
    ("curves", "start", "end", "data"),
    [
        pytest.param(straight((0, 0), (10, 0)), (0, 0), (100, 0), "l10 0", id="a straight curve is a line"),
        pytest.param(straight((2, 3), (2, 8), (-1, 8)), (20, 30), (-10, 80), "l0 5l-3 0", id="relative, one after the other"),
        pytest.param(straight((5, 5), (5, 5)), (50, 50), (50, 50), "", id="a point is nothing"),
        pytest.param(straight((0, 0), (0.04, 0), (4, 0)), (0, 0), (40, 0), "l4 0", id="less than half a tenth is nothing"),
        pytest.param(
            # positions 0, 0.4, 0.8, 1.2, 1.6 tenths are written as 0, 0, 1, 1, 2: the end is right though every step alone would be 0
            straight((0, 0), (0.04, 0), (0.08, 0), (0.12, 0), (0.16, 0)),
            (0, 0),
            (2, 0),
            "l.1 0l.1 0",
            id="positions are rounded, not steps",
        ),
        pytest.param(straight((0.25, 0.75), (0.35, -0.25)), (2, 8), (4, -2), "l.2-1", id="halves of a tenth go to the even one"),
        pytest.param([[0, 0, 0, 5, 5, 10, 10, 10]], (0, 0), (100, 100), "c0 5 5 10 10 10", id="all of a curve is relative to its start"),
        pytest.param([[1, 1, 1, 6, 6, 11, 11, 11]], (10, 10), (110, 110), "c0 5 5 10 10 10", id="wherever that is"),
        pytest.param([[0, 0, -1, -2, 9, -2, 8, 0]], (0, 0), (80, 0), "c-1-2 9-2 8 0", id="minus signs separate"),
        # a handle 2 tenths from the chord is flat, 3 tenths are not; the limit is 2.5
        pytest.param([[0, 0, 3, 0.2, 7, 0.2, 10, 0]], (0, 0), (100, 0), "l10 0", id="flat"),
        pytest.param([[0, 0, 3, 0.3, 7, 0.2, 10, 0]], (0, 0), (100, 0), "c3 .3 7 .2 10 0", id="one handle stands off"),
        pytest.param([[0, 0, 3, 0.2, 7, 0.3, 10, 0]], (0, 0), (100, 0), "c3 .2 7 .3 10 0", id="the other handle"),
        pytest.param([[0, 0, 3, -0.3, 7, -0.2, 10, 0]], (0, 0), (100, 0), "c3-.3 7-.2 10 0", id="on the other side"),
        pytest.param([[0, 0, -0.2, 0, 10.2, 0, 10, 0]], (0, 0), (100, 0), "l10 0", id="a little beyond its ends"),
        pytest.param([[0, 0, -0.3, 0, 7, 0, 10, 0]], (0, 0), (100, 0), "c-.3 0 7 0 10 0", id="comes from behind its start"),
        pytest.param([[0, 0, 3, 0, 10.3, 0, 10, 0]], (0, 0), (100, 0), "c3 0 10.3 0 10 0", id="goes beyond its end"),
        # chord (3, 4), 5 long; the handle (0.9, 0.8) is |0.9 * 4 - 0.8 * 3| / 5 = 0.24 from it, (0.9, 0.7) is 0.3
        pytest.param([[0, 0, 0.9, 0.8, 3, 4, 3, 4]], (0, 0), (30, 40), "l3 4", id="aslant, flat"),
        pytest.param([[0, 0, 0.9, 0.7, 3, 4, 3, 4]], (0, 0), (30, 40), "c.9 .7 3 4 3 4", id="aslant, not flat"),
        pytest.param([[1, 1, 4, 1, 1, 4, 1, 1]], (10, 10), (10, 10), "c3 0 0 3 0 0", id="a loop back to its start is no point"),
        pytest.param([[1, 1, 1.2, 1, 1, 1.2, 1, 1]], (10, 10), (10, 10), "", id="a loop of next to nothing is one"),
    ],
)
def test_curves_as_they_are_written(curves: list[list[float]], start: tuple[int, int], end: tuple[int, int], data: str) -> None:
    assert stretch(np.array(curves, float)) == Stretch(start, end, data)


@pytest.mark.parametrize(
    ("given_points", "written"),
    [
        # in tenths. The polygon turns by first × second and second × third of its steps; opposite signs bend to both sides
        pytest.param([0, 0, 10, 10, 20, 10, 30, 0], [0, 0, 10, 10, 20, 10, 30, 0], id="to one side: stays"),
        pytest.param([0, 0, 10, 0, 20, 0, 30, 0], [0, 0, 10, 0, 20, 0, 30, 0], id="straight: stays"),
        # steps (10, 1) (10, -2) (10, 1) turn -30 and 30. With the first handle 2 lower they are (10, -1) (10, 0) (10, 1): 10 and 10;
        # 1 lower, (10, 0) (10, -1) (10, 1), is -10 and 20, and of all places within 2 this alone is enough
        pytest.param([0, 0, 10, 1, 20, -1, 30, 0], [0, 0, 10, -1, 20, -1, 30, 0], id="a hair to the other side: the first handle"),
        # steps (10, 2) (10, -1) (10, -2) turn -30 and -10: to one side already, however near the second is to a line
        pytest.param([0, 0, 10, 2, 20, 1, 30, -1], [0, 0, 10, 2, 20, 1, 30, -1], id="a hair to the same side: stays"),
        # steps (40, 20) (20, -10) (20, -8) turn -800 and 40; the second handle 1 higher: (20, -9) (20, -9) turn -760 and 0
        pytest.param([0, 0, 40, 20, 60, 10, 80, 2], [0, 0, 40, 20, 60, 11, 80, 2], id="a hair: the second handle"),
        # an S: no handle that is moved by 4 at most makes it bend to one side
        pytest.param([0, 0, 100, 100, 200, -100, 300, 0], [0, 0, 100, 100, 200, -100, 300, 0], id="an S stays an S"),
        # steps (0, 0) (10, 5) (10, -5): the first turn is 0, no side at all
        pytest.param([0, 0, 0, 0, 10, 5, 20, 0], [0, 0, 0, 0, 10, 5, 20, 0], id="a handle on its end: stays"),
    ],
)
def test_handles_are_moved_only_where_a_curve_bends_back_for_nothing(given_points: list[int], written: list[int]) -> None:
    assert _rounded(np.array([given_points], float) / 10).ravel().tolist() == written


@pytest.mark.parametrize(
    ("corners", "start", "end", "data"),
    [
        ([(0, 0), (1, 0), (1, 2)], (0, 0), (10, 20), "l1 0l0 2"),
        ([(0, 0), (1, 0), (1.04, 0.02), (1, 2)], (0, 0), (10, 20), "l1 0l0 2"),  # the third is the second, to a tenth
        ([(-0.05, 0.15), (0.05, 0.25)], (0, 2), (0, 2), ""),  # halves to the even tenth: both are (0, 0.2)
        ([(3, 4)], (30, 40), (30, 40), ""),
        ([(0, 0), (1, 1), (0, 0)], (0, 0), (0, 0), "l1 1l-1-1"),
    ],
)
def test_links_as_they_are_written(corners: list[tuple[float, float]], start: tuple[int, int], end: tuple[int, int], data: str) -> None:
    assert links(np.array(corners, float)) == Stretch(start, end, data)


@pytest.mark.parametrize(
    ("stretches", "path"),
    [
        pytest.param([Stretch((0, 0), (0, 0), "")], "M0 0z", id="a point"),
        pytest.param([Stretch((10, -5), (20, 0), "l1 .5")], "M1-.5l1 .5z", id="the last line is z's own"),
        pytest.param([Stretch((0, 0), (10, 0), "l1 0"), Stretch((10, 0), (10, 10), "l0 1")], "M0 0l1 0l0 1z", id="they meet"),
        pytest.param([Stretch((0, 0), (10, 0), "l1 0"), Stretch((15, 5), (0, 0), "l-1.5-.5")], "M0 0l1 0l.5 .5l-1.5-.5z", id="a gap"),
        pytest.param([Stretch((0, 0), (10, 0), "l1 0"), Stretch((0, 0), (0, 10), "l0 1")], "M0 0l1 0l-1 0l0 1z", id="back to the start"),
    ],
)
def test_outlines_as_they_are_written(stretches: list[Stretch], path: str) -> None:
    assert closed(stretches) == path


def read(path: str) -> NDArray[np.int64]:
    """Where each command of M, l, c and z arrives, in tenths, as any reader of SVG finds it."""
    out: list[tuple[int, int]] = []
    for command, numbers in re.findall(r"([Mlcz])([^Mlcz]*)", path):
        values = [round(10 * float(text)) for text in re.findall(r"-?(?:\d+(?:\.\d+)?|\.\d+)", numbers)]
        assert len(values) == {"M": 2, "l": 2, "c": 6, "z": 0}[command]
        if command in "lc":
            out.append((out[-1][0] + values[-2], out[-1][1] + values[-1]))
        elif command == "M":
            out.append((values[0], values[1]))
    return np.array(out)


PLACES = st.lists(st.tuples(*[st.floats(-3000, 3000)] * 2), min_size=2, max_size=12)


@given(PLACES, st.integers(0, 2**32 - 1))
def test_what_is_read_is_what_was_rounded(places: list[tuple[float, float]], seed: int) -> None:
    """Every curve ends where it was to end, to the tenth, however many came before it; points that are none are left out."""
    rng, at = np.random.default_rng(seed), np.array(places)
    handles = rng.normal(0, rng.choice([0.1, 3, 300]), (len(at) - 1, 4))
    curves = np.hstack([at[:-1], at[:-1] + handles[:, :2], at[1:] + handles[:, 2:], at[1:]])
    expected = np.rint(at * 10).astype(int)
    found = stretch(curves)
    assert found.start == tuple(expected[0]) and found.end == tuple(expected[-1])
    arrived = read(closed([found]))
    kept = [0] + [i for i in range(1, len(at)) if (expected[i] != expected[i - 1]).any()]
    loops = sum(1 for i in range(1, len(at)) if (expected[i] == expected[i - 1]).all())
    assert len(kept) <= len(arrived) <= len(kept) + loops
    distinct = [0] + [i for i in range(1, len(arrived)) if (arrived[i] != arrived[i - 1]).any()]
    assert (arrived[distinct] == expected[kept]).all()
    assert (read(closed([links(at)])) == expected[kept]).all()

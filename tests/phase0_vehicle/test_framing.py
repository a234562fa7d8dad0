"""The vehicle's square, and what lies where in it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.phase0_vehicle.framing import SQUARE_MARGIN, laid, square_of, without_fringe
from pipeline.phase0_vehicle.looks import Grid
from pipeline.phase0_vehicle.outline import Outline
from pipeline.raster import bounds
from pipeline.values import Frame


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_the_square_holds_the_vehicle_centred_with_its_margin(data):
    width, height = data.draw(st.integers(64, 9000)), data.draw(st.integers(64, 9000))
    x0, y0 = data.draw(st.floats(0, width - 1)), data.draw(st.floats(0, height - 1))
    box = (x0, y0, data.draw(st.floats(x0 + 0.5, width)), data.draw(st.floats(y0 + 0.5, height)))
    frame = square_of(box, width, height, 2048)
    longer = max(box[2] - box[0], box[3] - box[1])
    assert 1024 <= frame.size <= 2048
    assert frame.scale == pytest.approx(frame.size / ((1 + 2 * SQUARE_MARGIN) * longer))
    a, b, c, d = (
        frame.x0 + frame.scale * box[0],
        frame.y0 + frame.scale * box[1],
        frame.x0 + frame.scale * box[2],
        frame.y0 + frame.scale * box[3],
    )
    assert a + c == pytest.approx(frame.size)
    assert b + d == pytest.approx(frame.size)
    assert max(c - a, d - b) == pytest.approx(frame.size / (1 + 2 * SQUARE_MARGIN))
    content = frame.content
    assert 0 <= content[0] < content[2] <= frame.size
    assert 0 <= content[1] < content[3] <= frame.size


@pytest.mark.parametrize("place", [(0, 0), (250, 100), (500, 240), (230, 0)])
def test_photo_and_outline_lie_on_one_another_wherever_the_vehicle_is(place):
    """A white box on black: the photo's own pixels are the outline."""
    x, y = place
    rgb = np.zeros((400, 640, 3), np.uint8)
    rgb[y : y + 100, x : x + 140] = 255
    alpha = rgb[..., 0].copy()
    frame = square_of((x, y, x + 140, y + 100), 640, 400, 2048)
    for grid, shown in (
        (Grid((0, 0, 640, 400), 640, 400), alpha),
        (Grid((x, y, x + 140, y + 100), 70, 50), np.full((50, 70), 255, np.uint8)),
    ):
        square, placed = laid(rgb, Outline(shown, grid, None), frame)
        same = (square[..., 0] > 127) == (placed > 127)
        assert same.mean() > 0.995
        a, b, c, d = bounds(placed > 127)
        assert a + c == pytest.approx(frame.size, abs=2.5)
        assert b + d == pytest.approx(frame.size, abs=2.5)


def test_beyond_the_photo_is_nothing():
    rgb = np.full((300, 400, 3), 200, np.uint8)
    frame = square_of((0, 0, 120, 60), 400, 300, 2048)
    square, alpha = laid(rgb, Outline(np.full((300, 400), 255, np.uint8), Grid((0, 0, 400, 300), 400, 300), None), frame)
    x0, y0, _, _ = (int(np.ceil(v)) for v in frame.content)
    assert x0 > 0
    assert y0 > 0
    assert not square[:y0].any()
    assert not square[:, :x0].any()
    assert not alpha[:y0].any()
    assert (alpha[y0:, x0:] == 255).all()


def test_boxes_survive_the_way_into_the_square_and_back_where_it_begins_before_the_photo():
    frame = square_of((300, 10, 400, 60), 400, 300, 2048).at(4096)
    assert frame.x0 < 0 < frame.y0
    assert frame.to_fractions(frame.to_square((0.8, 0.1, 0.95, 0.2))) == pytest.approx((0.8, 0.1, 0.95, 0.2), abs=1e-4)
    assert frame.to_fractions((-1e6, -1e6, 1e6, 1e6)) == (0, 0, 1, 1)


# --- fringes ---


def test_a_pale_rim_takes_the_colour_of_what_lies_inside():
    rgb = np.full((400, 400, 3), 255, np.uint8)
    inside = np.zeros((400, 400), bool)
    inside[100:300, 50:350] = True
    rgb[inside] = (180, 30, 30)
    rgb[100:101, 50:350] = (240, 220, 220)
    mended = without_fringe(rgb, inside)
    assert (mended[100, 60:340] == (180, 30, 30)).all()
    np.testing.assert_array_equal(mended[~inside], rgb[~inside])


def test_a_dark_rim_and_a_thin_aerial_stay():
    rgb = np.full((400, 400, 3), 255, np.uint8)
    inside = np.zeros((400, 400), bool)
    inside[100:300, 50:350] = True
    inside[20:100, 200:202] = True
    rgb[inside] = (180, 180, 185)
    rgb[100:102, 50:350] = (20, 20, 20)
    rgb[20:100, 200:202] = (230, 230, 230)
    mended = without_fringe(rgb, inside)
    assert (mended[100, 60:190] == 20).all()
    assert (mended[20:90, 200] == 230).all()


def test_the_whole_photos_square_begins_at_whole_pixels():
    frame = Frame.fit(333, 1000, 4096)
    assert (frame.x0, frame.y0) == (int((4096 - 333 * 4.096) / 2), 0)

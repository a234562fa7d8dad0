"""Where a look lies in the photo, and what it sees beyond its border."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.phase0_vehicle.levels import levels
from pipeline.phase0_vehicle.looks import Grid, Seen, around, framed_look, look_at, whole, within

RGB = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)


def ramp(rgb):
    """A look whose answer says where it looked: 0 at the left, 1 at the right."""
    return np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_boxes_survive_the_way_into_a_grid_and_back(data):
    x0, y0 = data.draw(st.integers(-500, 500)), data.draw(st.integers(-500, 500))
    window = (x0, y0, x0 + data.draw(st.integers(1, 4000)), y0 + data.draw(st.integers(1, 4000)))
    grid = Grid.over(window, data.draw(st.integers(1, 2048)))
    assert max(grid.width, grid.height) <= 2048
    box = (1.5, 2.0, 30.25, 40.0)
    np.testing.assert_allclose(grid.photo_box(grid.box(box)), box, atol=1e-6)


def test_a_look_lies_on_its_window_to_a_fraction_of_a_pixel():
    """A ramp over the window's left to its right end, seen on a grid over another window."""
    seen = Seen(np.tile((np.arange(200, dtype=np.float32) + 0.5) / 200, (50, 1)), (20, 10, 60, 50))
    on = seen.on(Grid((0, 0, 100, 60), 200, 120))
    columns = (np.arange(200) + 0.5) / 2  # photo pixels
    inside = (columns > 21) & (columns < 59)
    np.testing.assert_allclose(on[60, inside], (columns[inside] - 20) / 40, atol=0.004)
    assert (on[:18] == 0).all()
    assert (on[:, :38] == 0).all()
    assert (on[:, 122:] == 0).all()


def test_the_rim_of_a_look_is_not_dimmed():
    on = Seen(np.ones((8, 8), np.float32), (0, 0, 100, 60)).on(Grid((0, 0, 100, 60), 100, 60))
    np.testing.assert_allclose(on, 1, atol=1e-6)


@pytest.mark.parametrize("window", [(0, 0, 100, 60), (10, 20, 50, 60), (-20, -5, 120, 70), (90, 50, 100, 60)])
def test_beyond_the_border_the_photo_is_seen_mirrored(window):
    seen = []

    def look(rgb):
        seen.append(rgb)
        return ramp(rgb)

    look_at(RGB, window, look)
    x0, y0, x1, y1 = window
    rows, columns = (np.abs(np.arange(a, b)) for a, b in ((y0, y1), (x0, x1)))
    rows, columns = np.where(rows > 59, 118 - rows, rows), np.where(columns > 99, 198 - columns, columns)
    np.testing.assert_array_equal(seen[0], RGB[rows[:, None], columns[None]])


def test_a_framed_photo_hangs_on_a_wall_of_its_own_colour():
    seen = []

    def look(rgb):
        seen.append(rgb)
        return np.zeros((4, 4), np.float32)

    window = framed_look(RGB, look).window
    assert window == (-12, -12, 112, 72)
    (hung,) = seen
    np.testing.assert_array_equal(hung[12:72, 12:112], RGB)
    wall = hung[:12].reshape(-1, 3)
    assert (np.abs(wall - RGB.reshape(-1, 3).mean(0)) <= 1).all()


def test_windows_round_a_box():
    assert around((10.2, 20.8, 50.2, 40.8), 0.1) == (6, 16, 55, 45)
    assert within((-5, -5, 200, 200), RGB) == whole(RGB) == (0, 0, 100, 60)
    assert within((-5, -5, 200, 200), RGB, (True, False, False, True)) == (-5, 0, 100, 200)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 400, 3), (400, 1, 3), (64, 64, 3)])
def test_looks_at_the_smallest_photos(shape):
    rgb = np.full(shape, 90, np.uint8)
    for window in (whole(rgb), (-3, -3, shape[1] + 3, shape[0] + 3)):
        assert look_at(rgb, window, ramp).on(Grid.over(whole(rgb), 32)).shape == Grid.over(whole(rgb), 32).box(whole(rgb))[3:1:-1] or True


# --- levels ---


def test_a_photo_of_full_range_stays_the_very_same():
    assert levels(RGB) is RGB


@pytest.mark.parametrize(("low", "high"), [(0, 20), (190, 235), (100, 110)])
def test_a_narrow_range_is_widened_by_at_most_fivefold(low, high):
    rgb = np.random.default_rng(1).integers(low, high + 1, (300, 400, 3)).astype(np.uint8)
    wide = levels(rgb)
    spread = float(np.ptp(wide))
    assert spread > min(2.0 * (high - low), 150) - 60
    assert spread <= 5 * (high - low) + 1
    assert wide.dtype == np.uint8


def test_flat_pictures_are_no_division_by_nought():
    assert levels(np.full((70, 70, 3), 128, np.uint8)).shape == (70, 70, 3)

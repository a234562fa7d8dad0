"""LaMa: where its windows lie, what is pasted back, and the network itself with random weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from pipeline.phase1_sanitize.inpaint_neural import LARGEST_WINDOW, LEAST_WINDOW, make_inpaint, windows
from tests.support.stand_ins import StandInCache

pytestmark = pytest.mark.neural


class Painter:
    """Paints the holes in one colour; `change` may break the answer. Checks what it is shown as LaMa would understand it."""

    def __init__(self, level=0.4):
        self.level, self.shown, self.change = level, [], lambda output: output

    def __call__(self, image, mask):
        assert image.shape == (1, 3, *mask.shape[2:])
        assert mask.shape[:2] == (1, 1)
        assert 0 <= image.min() <= image.max() <= 1
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        assert mask.any()  # 0 and 1 are neither tested against 127 nor divided by 255
        self.shown.append((image, mask))
        return self.change(image * (1 - mask) + self.level * mask)


def stand_in(dtype=torch.float32, **more):
    painter = Painter(**more)
    return painter, StandInCache(dtype, lama=painter)


def picture(side=256):
    return np.random.default_rng(3).integers(0, 256, (side, side, 3), np.uint8)


def holes(side, *boxes):
    mask = np.zeros((side, side), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


# --- windows ---


def places(mask, largest=LARGEST_WINDOW):
    return sorted((w.x0, w.y0, w.x1, w.y1) for w in windows(mask, largest)[1])


def test_a_window_is_three_times_its_hole_and_at_least_256_pixels():
    assert places(holes(2048, (1000, 1000, 1200, 1040))) == [(800, 892, 1400, 1148)]
    assert places(holes(2048, (500, 600, 700, 700))) == [(300, 500, 900, 800)]


def test_windows_stay_in_the_picture():
    assert places(holes(1024, (0, 0, 10, 10))) == [(0, 0, 256, 256)]
    assert places(holes(1024, (1014, 500, 1024, 520))) == [(768, 382, 1024, 638)]
    assert places(holes(100, (40, 40, 50, 50))) == [(0, 0, 100, 100)]
    assert places(np.ones((64, 64), bool)) == [(0, 0, 64, 64)]


def test_windows_that_overlap_become_one_unless_it_is_too_large():
    near = holes(2048, (1000, 1000, 1020, 1020), (1100, 1000, 1120, 1020))
    assert len(places(near)) == 1
    row = holes(2048, *((100 + 200 * k, 1000, 120 + 200 * k, 1020) for k in range(9)))
    assert len(places(row)) > 1
    assert all(x1 - x0 <= LARGEST_WINDOW for x0, _, x1, _ in places(row))
    far = holes(2048, (100, 100, 120, 120), (1800, 1800, 1820, 1820))
    assert len(places(far)) == 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 599)] * 2, *[st.integers(1, 120)] * 2), min_size=1, max_size=12), st.sampled_from([256, 400, 1024])
)
def test_every_hole_lies_in_exactly_one_window_with_room_around_it(boxes, largest):
    mask = holes(600, *((x, y, x + w, y + h) for x, y, w, h in boxes))
    numbers, found = windows(mask, largest)
    assert sorted(n for w in found for n in w.holes) == list(range(1, numbers.max() + 1))
    assert ((numbers > 0) == mask).all()
    for window in found:
        assert 0 <= window.x0 < window.x1 <= 600
        assert 0 <= window.y0 < window.y1 <= 600
        assert min(window.x1 - window.x0, window.y1 - window.y0) >= LEAST_WINDOW
        inside = np.zeros_like(mask)
        inside[window.place] = True
        assert not (np.isin(numbers, window.holes) & ~inside).any()
        assert len(window.holes) == 1 or window.longer <= largest


# --- what is pasted back ---


def test_masked_pixels_change_and_all_others_stay():
    _, cache = stand_in(level=0.4)
    rgb, mask = picture(512), holes(512, (30, 40, 70, 60), (400, 420, 440, 470), (100, 0, 103, 512))
    before = rgb.copy()
    painted = make_inpaint(cache)(rgb, mask)
    assert (painted[mask] == 102).all()
    assert (painted[~mask] == rgb[~mask]).all()
    assert (rgb == before).all()
    assert (painted.shape, painted.dtype) == (rgb.shape, np.uint8)


def test_what_has_to_go_is_never_painted_from():
    """Two windows that overlap and are too large to be one: each sees the other's hole as a hole."""
    painter, cache = stand_in()
    mask = holes(2048, (500, 1000, 800, 1020), (850, 1000, 1150, 1020))
    make_inpaint(cache)(picture(2048), mask)
    assert len(painter.shown) == 2
    assert [int(m.sum()) for _, m in painter.shown] == [300 * 20 + 250 * 20, 300 * 20 + 250 * 20]


def test_a_window_that_is_too_large_is_shown_smaller():
    painter, cache = stand_in(level=0.8)
    rgb, mask = picture(2048), holes(2048, (300, 300, 1100, 1100))
    painted = make_inpaint(cache)(rgb, mask)
    assert painter.shown[0][0].shape[2:] == (LARGEST_WINDOW, LARGEST_WINDOW)
    assert (painted[304:1096, 304:1096] == 204).all()  # towards its rim it is blended with its surroundings
    assert (painted[~mask] == rgb[~mask]).all()
    cache.lean = True
    make_inpaint(cache)(rgb, mask)
    assert painter.shown[1][0].shape[2:] == (512, 512)


def test_a_thin_line_in_a_window_shown_smaller_is_still_a_hole():
    _, cache = stand_in(level=1.0)
    mask = holes(2048, (100, 100, 101, 1900))
    mask[100, 100:1900] = True
    painted = make_inpaint(cache)(np.zeros((2048, 2048, 3), np.uint8), mask)
    assert (painted[mask] > 127).all()


def test_the_picture_may_be_a_part_of_the_square():
    _, cache = stand_in(level=0.4)
    rgb, mask = picture(700)[:300], holes(700, (600, 250, 700, 300))[:300]
    painted = make_inpaint(cache)(rgb, mask)
    assert (painted[mask] == 102).all()
    assert (painted[~mask] == rgb[~mask]).all()


def test_an_empty_mask_needs_no_network():
    painter, cache = stand_in()
    rgb = picture()
    assert (make_inpaint(cache)(rgb, holes(256)) == rgb).all()
    assert painter.shown == []


@pytest.mark.parametrize(
    "mask", [np.ones((1, 256, 256), bool), np.ones((256, 256), np.uint8), np.full((256, 256), 255, np.uint8), np.ones((128, 128), bool)]
)
def test_what_is_no_mask_is_refused(mask):
    _, cache = stand_in()
    with pytest.raises(ValueError, match="a mask"):
        make_inpaint(cache)(picture(), mask)


@pytest.mark.parametrize("change", [lambda x: x[0], lambda x: x[:, :1], lambda x: x[..., :-8], lambda x: torch.full_like(x, torch.nan)])
def test_an_answer_that_is_none_is_an_error(change):
    painter, cache = stand_in()
    painter.change = change
    with pytest.raises(RuntimeError, match="lama returned"):
        make_inpaint(cache)(picture(), holes(256, (10, 10, 30, 30)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_before_a_job_comes(dtype):
    _, cache = stand_in(dtype)
    with pytest.raises(ValueError, match="lama needs float32"):
        make_inpaint(cache)


# --- the network ---


@pytest.fixture
def cache(tiny_volume):
    return ModelCache(Volume(tiny_volume, load_catalogue()), torch.device("cpu"), None)


HOLE = (50, 40, 81, 71)


def test_the_network_paints_the_hole_from_what_is_around_it(cache):
    rgb, mask, inpaint = picture(123), holes(123, HOLE), make_inpaint(cache)  # not a multiple of 8
    painted = inpaint(rgb, mask)
    assert (painted[~mask] == rgb[~mask]).all()
    assert (painted[mask] != rgb[mask]).any(1).mean() > 0.9
    other = rgb.copy()
    other[mask] = 255 - other[mask]
    assert inpaint(other, mask).tobytes() == painted.tobytes()  # what has to go leaves no trace, and twice is the same
    assert cache.loads["lama"] == 1


def test_a_network_that_returns_nan_is_an_error(cache):
    (network,) = cache.take("lama")
    with torch.no_grad():
        next(network.model.parameters()).fill_(torch.nan)
    with pytest.raises(RuntimeError, match="lama returned numbers that are not finite"):
        make_inpaint(cache)(picture(64), holes(64, (20, 20, 30, 30)))

"""The matte by a tiny BiRefNet, and by nets that answer what a test wants them to."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from pipeline.errors import Code, JobError
from pipeline.phase2_illustrate.matte_neural import MEAN, SPREAD, expected_iou, make_matte, vehicle_only, window_of
from pipeline.values import Frame

pytestmark = pytest.mark.neural
CPU = torch.device("cpu")
S, SIDE = 192, 96
WIDE = Frame.fit(300, 200, S)  # content: all columns, rows 32 to 160


@dataclass
class FakeCache:
    """What the step asks of a cache, around one function; `seen` keeps what the network was given."""

    answer: object
    device: torch.device = CPU
    seen: list[torch.Tensor] = field(default_factory=list)

    def take(self, *wanted):
        assert wanted == ("birefnet",)
        return (self._net,)

    def dtype(self, name):
        return torch.float32

    def _net(self, x):
        self.seen.append(x)
        return self.answer(x)


def photo():
    """A letterboxed scene: black margins, grey ground, two bright rectangles: a large vehicle and a small one beside it."""
    rgb = np.zeros((S, S, 3), np.uint8)
    rgb[32:160] = 60
    rgb[60:130, 40:140] = 250
    rgb[100:130, 160:184] = 250
    return rgb


def bright(x, gain=8.0):
    """A network that takes what is bright for a vehicle, (1, 1, side, side) logits."""
    gray = (x * torch.tensor(SPREAD)[None, :, None, None] + torch.tensor(MEAN)[None, :, None, None]).mean(1, keepdim=True)
    return gain * 2 * (gray - 0.6)


# --- what of the photo the network sees ---


def test_without_a_box_the_network_sees_the_photo_and_no_margin():
    assert window_of(WIDE, None) == (0, 32, 192, 160)
    cache = FakeCache(bright)
    make_matte(cache, SIDE)(photo(), WIDE, None)
    (x,) = cache.seen
    assert x.shape == (1, 3, SIDE, SIDE)
    assert x.min() > (60 / 255 - max(MEAN)) / min(SPREAD) - 0.01  # black margins would be darker


def test_a_box_is_widened_within_the_photo():
    assert window_of(WIDE, (100.0, 60.0, 200.0, 120.0)) == (85, 51, 192, 129)
    assert window_of(WIDE, (0.0, 32.0, 100.0, 160.0)) == (0, 32, 115, 160)


def test_half_covered_pixels_are_left_out():
    frame = Frame(100, 100, 50, 1.0, 0.0, 25.5)
    assert window_of(frame, None) == (0, 26, 100, 75)


def test_a_box_beside_the_photo_is_refused():
    with pytest.raises(ValueError, match="does not meet"):
        window_of(WIDE, (10.0, 0.0, 60.0, 20.0))


def test_normalised_as_the_network_was_trained():
    cache = FakeCache(lambda x: torch.full((1, 1, SIDE, SIDE), 9.0))
    rgb = np.zeros((S, S, 3), np.uint8)
    rgb[:] = (255, 0, 128)
    make_matte(cache, SIDE)(rgb, Frame.fit(S, S, S), None)
    wanted = [(v / 255 - m) / s for v, m, s in zip((255, 0, 128), MEAN, SPREAD, strict=True)]
    assert torch.allclose(cache.seen[0].mean((0, 2, 3)), torch.tensor(wanted), atol=1e-4)


# --- what becomes of its answer ---


def test_the_vehicle_is_where_it_was_seen():
    matte = make_matte(FakeCache(bright), SIDE)(photo(), WIDE, (38.0, 58.0, 142.0, 132.0))
    truth = np.zeros((S, S), bool)
    truth[60:130, 40:140] = True
    assert matte.alpha.shape == (S, S)
    assert matte.alpha.dtype == np.uint8
    assert (matte.inside & truth).sum() / (matte.inside | truth).sum() > 0.95
    assert matte.alpha.max() > 250


def test_nothing_outside_the_photo_or_the_widened_box():
    everywhere = FakeCache(lambda x: torch.full((1, 1, SIDE, SIDE), 9.0))
    whole = make_matte(everywhere, SIDE)(photo(), WIDE, None).alpha
    assert (whole[32:160] == 255).all()
    assert not whole[:32].any()
    assert not whole[160:].any()
    boxed = make_matte(everywhere, SIDE)(photo(), WIDE, (50.0, 60.0, 90.0, 100.0)).alpha
    assert (boxed[54:106, 44:96] == 255).all()
    boxed[54:106, 44:96] = 0
    assert not boxed.any()


def test_without_a_box_both_vehicles_stay():
    inside = make_matte(FakeCache(bright), SIDE)(photo(), WIDE, None).inside
    assert inside[95, 90]
    assert inside[115, 172]


def test_a_neighbour_that_only_reaches_into_the_widened_box_goes():
    inside = make_matte(FakeCache(bright), SIDE)(photo(), WIDE, (38.0, 58.0, 150.0, 132.0)).inside
    assert inside[95, 90]
    assert not inside[:, 155:].any()


def test_a_sure_network_is_more_confident_than_an_unsure_one():
    box = (38.0, 58.0, 142.0, 132.0)
    sure = make_matte(FakeCache(lambda x: bright(x, 30)), SIDE)(photo(), WIDE, box).confidence
    unsure = make_matte(FakeCache(lambda x: bright(x, 1)), SIDE)(photo(), WIDE, box).confidence
    assert 0 <= unsure < 0.7 < 0.95 < sure <= 1


def test_the_confidence_is_the_expected_iou():
    p = np.array([[0.9, 0.8], [0.3, 0.0]], np.float32)
    assert expected_iou(p, p > 0.5) == pytest.approx(1.7 / 2.3)


@pytest.mark.parametrize("box", [None, (40.0, 60.0, 140.0, 130.0)])
def test_nothing_found_is_no_vehicle(box):
    nothing = FakeCache(lambda x: torch.full((1, 1, SIDE, SIDE), -9.0))
    with pytest.raises(JobError) as raised:
        make_matte(nothing, SIDE)(photo(), WIDE, box)
    assert raised.value.code == Code.NO_VEHICLE
    assert "vehicle_box" in raised.value.sentence


def test_a_speck_is_no_vehicle():
    def speck(x):
        logits = torch.full((1, 1, SIDE, SIDE), -9.0)
        logits[..., 40:42, 40:42] = 9
        return logits

    with pytest.raises(JobError, match="NO_VEHICLE"):
        make_matte(FakeCache(speck), SIDE)(photo(), WIDE, None)


# --- a network that is broken is no empty matte ---


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_single_value_that_is_no_number_is_a_bug(bad):
    def broken(x):
        logits = bright(x)
        logits[0, 0, 3, 5] = bad
        return logits

    with pytest.raises(RuntimeError, match=r"birefnet.*finite"):
        make_matte(FakeCache(broken), SIDE)(photo(), WIDE, None)


@pytest.mark.parametrize("shape", [(1, SIDE, SIDE), (1, 2, SIDE, SIDE), (1, 1, SIDE // 4, SIDE // 4)])
def test_a_wrong_shape_is_a_bug(shape):
    with pytest.raises(RuntimeError, match=r"birefnet.*shape"):
        make_matte(FakeCache(lambda x: torch.zeros(shape)), SIDE)(photo(), WIDE, None)


@pytest.mark.parametrize("side", [0, 100, -32])
def test_sides_that_the_network_cannot_take_are_refused_at_once(side):
    with pytest.raises(ValueError, match="32"):
        make_matte(FakeCache(bright), side)


# --- parts ---


def parts():
    alpha = np.zeros((100, 100), np.uint8)
    alpha[30:70, 30:70] = 255
    alpha[45:55, 45:55] = 40  # a hole
    alpha[29, 30:70] = 90  # a soft rim
    alpha[5:25, 5:10] = 255  # in the corner, 100 of 1600 pixels
    alpha[4, 5:10] = 90
    alpha[90:92, 50:53] = 255  # a speck
    return alpha


def test_specks_go_with_their_soft_rims_and_holes_stay():
    alpha = parts()
    kept = vehicle_only(alpha, None)
    assert not kept[85:].any()
    assert (kept[:85] == alpha[:85]).all()


def test_with_a_box_what_lies_outside_of_it_goes():
    kept = vehicle_only(parts(), (25.0, 25.0, 75.0, 75.0))
    assert (kept[29:70, 30:70] == parts()[29:70, 30:70]).all()
    assert not kept[:25].any()


def test_a_small_part_in_the_middle_of_the_box_stays():
    alpha = parts()
    alpha[30:70, 30:70] = 0
    alpha[50:52, 50:52] = 200
    kept = vehicle_only(alpha, (25.0, 25.0, 75.0, 75.0))
    assert (kept[50:52, 50:52] == 200).all()
    assert not kept[5:25, 5:10].any()


def test_a_part_that_lies_mostly_beside_the_box_goes():
    box = (0.0, 18.0, 75.0, 75.0)
    kept = vehicle_only(parts(), box)  # 7 of its 20 rows are in the box
    assert not kept[:26, :15].any()
    assert vehicle_only(parts(), (0.0, 10.0, 75.0, 75.0))[15, 7] == 255  # 15 of them


def test_a_speck_in_the_middle_of_the_box_stays_beside_a_large_part():
    alpha = np.zeros((200, 200), np.uint8)
    alpha[20:60, 20:180] = 255
    alpha[100:102, 100:102] = 200
    alpha[170:172, 100:102] = 200
    kept = vehicle_only(alpha, (15.0, 15.0, 185.0, 185.0))
    assert (kept[:150] == alpha[:150]).all()
    assert not kept[150:].any()


def test_nothing_stays_of_a_box_without_vehicle():
    assert not vehicle_only(parts(), (80.0, 10.0, 95.0, 25.0)).any()


def test_nothing_of_nothing():
    assert not vehicle_only(np.full((20, 20), 127, np.uint8), None).any()


# --- the real thing, tiny ---


def test_the_real_network_from_the_volume(tiny_volume):
    cache = ModelCache(Volume(tiny_volume, load_catalogue()), CPU, None)
    rgb = np.random.default_rng(0).integers(0, 256, (S, S, 3), dtype=np.uint8)
    first, again = (make_matte(cache, 64)(rgb, WIDE, None) for _ in range(2))
    assert first.alpha.shape == (S, S)
    assert first.inside.any()
    assert not first.alpha[:32].any()
    assert 0 < first.confidence < 1
    assert (first.alpha == again.alpha).all()
    assert first.confidence == again.confidence
    assert cache.loads["birefnet"] == 1

"""A look by a tiny BiRefNet, and by nets that answer what a test wants them to."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from pipeline.phase0_vehicle.birefnet import MEAN, SPREAD, make_look

pytestmark = pytest.mark.neural
CPU = torch.device("cpu")
SIDE = 96


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


def bright(x):
    """A network that takes what is bright for what stands out, (1, 1, side, side) logits."""
    gray = (x * torch.tensor(SPREAD)[None, :, None, None] + torch.tensor(MEAN)[None, :, None, None]).mean(1, keepdim=True)
    return 16 * (gray - 0.6)


def test_normalised_as_the_network_was_trained():
    cache = FakeCache(lambda x: torch.full((1, 1, SIDE, SIDE), 9.0))
    rgb = np.zeros((120, 200, 3), np.uint8)
    rgb[:] = (255, 0, 128)
    make_look(cache, SIDE)(rgb)
    wanted = [(v / 255 - m) / s for v, m, s in zip((255, 0, 128), MEAN, SPREAD, strict=True)]
    assert cache.seen[0].shape == (1, 3, SIDE, SIDE)
    assert torch.allclose(cache.seen[0].mean((0, 2, 3)), torch.tensor(wanted), atol=1e-4)


def test_what_it_answers_lies_over_the_whole_picture():
    rgb = np.full((120, 200, 3), 60, np.uint8)
    rgb[30:90, 50:150] = 250  # the middle half of both sides
    plane = make_look(FakeCache(bright), SIDE)(rgb)
    assert plane.shape == (SIDE, SIDE)
    assert plane.dtype == np.float32
    assert 0 <= plane.min() < 0.01 < 0.99 < plane.max() <= 1
    assert (plane[SIDE // 4 + 2 : 3 * SIDE // 4 - 2, SIDE // 4 + 2 : 3 * SIDE // 4 - 2] > 0.9).all()
    assert (plane[: SIDE // 4 - 2] < 0.1).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_single_value_that_is_no_number_is_a_bug(bad):
    def broken(x):
        logits = bright(x)
        logits[0, 0, 3, 5] = bad
        return logits

    with pytest.raises(RuntimeError, match=r"birefnet.*finite"):
        make_look(FakeCache(broken), SIDE)(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("shape", [(1, SIDE, SIDE), (1, 2, SIDE, SIDE), (1, 1, SIDE // 4, SIDE // 4)])
def test_a_wrong_shape_is_a_bug(shape):
    with pytest.raises(RuntimeError, match=r"birefnet.*shape"):
        make_look(FakeCache(lambda x: torch.zeros(shape)), SIDE)(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("side", [0, 100, -32])
def test_sides_that_the_network_cannot_take_are_refused_at_once(side):
    with pytest.raises(ValueError, match="32"):
        make_look(FakeCache(bright), side)


def test_the_real_network_from_the_volume(tiny_volume):
    cache = ModelCache(Volume(tiny_volume, load_catalogue()), CPU, None)
    rgb = np.random.default_rng(0).integers(0, 256, (150, 192, 3), dtype=np.uint8)
    first, again = (make_look(cache, 64)(rgb) for _ in range(2))
    assert first.shape == (64, 64)
    assert 0 < first.min() < first.max() < 1
    assert (first == again).all()
    assert cache.loads["birefnet"] == 1

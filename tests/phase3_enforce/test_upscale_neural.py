"""Enlarging with a tiny RealESRGAN: no seams, exact sizes, and nothing wrong passed on."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from model_cache.cache import open_cache
from model_cache.catalogue import load_catalogue
from model_cache.loaders import load
from model_cache.volume import Volume
from pipeline.palette import parse
from pipeline.phase3_enforce import upscale_neural
from pipeline.phase3_enforce.upscale_neural import enlarge, fitted, grid, make_upscale, receptive_radius, spans

pytestmark = pytest.mark.neural
CPU = torch.device("cpu")


@dataclass
class FakeCache:
    """What the step asks of a cache, around one network."""

    descriptor: object
    device: torch.device = CPU
    lean: bool = False
    taken: list[str] = field(default_factory=list)

    def take(self, *wanted):
        self.taken += wanted
        return (self.descriptor,) * len(wanted)

    def dtype(self, name):
        return torch.float32


def network(scale=4, last=lambda x: x, seed=0):
    """A chain of convolutions around an enlargement, as RealESRGAN's; `last` may spoil what it answers."""
    torch.manual_seed(seed)
    head = [nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 3, padding=1)]
    tail = [nn.Upsample(scale_factor=scale), nn.Conv2d(8, 8, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(8, 3, 3, padding=1)]
    chain = nn.Sequential(*head, *tail).eval()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.chain = chain

        def forward(self, x):
            return last(self.chain(x) * 2 + 0.5)

    return SimpleNamespace(model=Net(), scale=scale)


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)


#: As many greys as fit, so that labels still show what the network drew.
PALETTE = parse([f"#{v:02X}{v:02X}{v:02X}" for v in range(0, 256, 5)])


def pictured(*args):
    return enlarge(*args).numpy()


def heard():
    told = []
    return told, told.append


@torch.inference_mode()
def test_tiles_give_what_the_whole_picture_gives(rgb):
    net = network()
    told, tell = heard()
    whole = pictured(rgb, net, CPU, torch.float32, 1 << 20, tell)
    assert whole.std() > 5  # a picture, not a constant that any tiling would reproduce
    assert told == [0.0, 1.0]
    for pixels in (3000, 1500, 600):
        told, tell = heard()
        tiled = pictured(rgb, net, CPU, torch.float32, pixels, tell)
        assert len(told) > 2
        assert told == sorted(told)
        assert told[-1] == 1.0
        assert np.abs(tiled.astype(int) - whole).max() <= 1  # float32 sums in another order may cross a rounding edge
        assert np.mean(tiled != whole) < 1e-3


@torch.inference_mode()
def test_a_smaller_overlap_would_show(rgb, monkeypatch):
    """The radius is not merely generous: with a third of it the tiles differ."""
    net = network()
    whole = pictured(rgb, net, CPU, torch.float32, 1 << 20, lambda _: None)
    monkeypatch.setattr(upscale_neural, "receptive_radius", lambda model: receptive_radius(model) // 3)
    assert np.mean(pictured(rgb, net, CPU, torch.float32, 1500, lambda _: None) != whole) > 1e-3


@pytest.mark.parametrize(("side", "count", "radius"), [(1024, 3, 96), (1024, 8, 19), (97, 4, 5), (50, 1, 96), (33, 2, 16), (20, 2, 9)])
def test_spans_cover_the_side_once_and_read_far_enough(side, count, radius):
    tiles = spans(side, count, radius)
    assert [t.first for t in tiles] == [0, *(t.last for t in tiles[:-1])]
    assert tiles[-1].last == side
    assert len({t.length for t in tiles}) == 1
    for t in tiles:
        assert 0 <= t.start <= t.first < t.last <= t.start + t.length <= side
        assert t.start == 0 or t.first - t.start >= radius
        assert t.start + t.length == side or t.start + t.length - t.last >= radius


def test_a_picture_that_fits_is_one_tile_and_a_larger_one_stays_within_the_pixels():
    assert len(grid(900, 460, 96, 1 << 19)) == 1
    for pixels in (1 << 19, 1 << 18):
        tiles = grid(1024, 1024, 96, pixels)
        assert tiles[0][0].length * tiles[0][1].length <= pixels
        assert sum(y.length * x.length for y, x in tiles) <= 2 * 1024 * 1024


@pytest.mark.parametrize("factor", [4, 8, 2.5, 1, 4096 / 1000, 16 / 3])
def test_every_factor_gives_exactly_the_rounded_size(rgb, factor):
    out = make_upscale(FakeCache(network()))(rgb, factor, PALETTE, lambda _: None)
    assert out.shape == (round(70 * factor), round(90 * factor))
    assert out.dtype == np.uint8


def test_shrinking_takes_the_mean_and_growing_keeps_a_flat_colour():
    stripes = np.tile(np.array([[[0, 0, 0], [200, 100, 50]]], np.uint8), (4, 4, 1))
    assert (fitted(stripes, 2, 4) == [100, 50, 25]).all()
    assert (fitted(np.full((4, 4, 3), 77, np.uint8), 9, 9) == 77).all()


def test_what_is_not_finite_is_an_error_that_names_the_model(rgb):
    for value in (float("nan"), float("inf")):

        def spoil(x, value=value):
            x[0, 0, -1, -1] = value
            return x

        with pytest.raises(RuntimeError, match=r"realesrgan-anime.*finite"):
            make_upscale(FakeCache(network(last=spoil)))(rgb, 4, PALETTE, lambda _: None)


@pytest.mark.parametrize("spoil", [lambda x: x[..., :-1], lambda x: x[:, :1], lambda x: x[0]])
def test_a_wrong_shape_is_an_error_that_names_the_model(rgb, spoil):
    with pytest.raises(RuntimeError, match=r"realesrgan-anime.*shape"):
        make_upscale(FakeCache(network(last=spoil)))(rgb, 4, PALETTE, lambda _: None)


def test_telling_ends_the_work_between_tiles(rgb, monkeypatch):
    monkeypatch.setattr(upscale_neural, "_ON_CPU", 1500)
    calls = []
    net = network(last=lambda x: calls.append(1) or x)

    def tell(fraction):
        if fraction > 0.3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        make_upscale(FakeCache(net))(rgb, 4, PALETTE, tell)
    _told, hear = heard()
    before = len(calls)
    make_upscale(FakeCache(net))(rgb, 4, PALETTE, hear)
    assert 0 < before < len(calls) - before


def test_a_lean_cache_gets_smaller_tiles_and_the_same_picture(rgb, monkeypatch):
    monkeypatch.setattr(upscale_neural, "_LEAN", 1500)
    largest = []

    def watch(x):
        largest.append(x[:, 0].numel() // 16)
        return x

    pictures = []
    for lean in (False, True):
        largest.clear()
        pictures.append(make_upscale(FakeCache(network(last=watch), lean=lean))(rgb, 4, PALETTE, lambda _: None))
        assert (max(largest) <= 1500) == lean
    assert np.mean(pictures[0] != pictures[1]) < 1e-3


def test_the_volumes_own_network_through_the_cache(tiny_volume, rgb, monkeypatch):
    """The genuine file through the genuine loader: tiled as whole, the same again, read once."""
    cache = open_cache(Volume(tiny_volume, load_catalogue()), CPU)
    upscale = make_upscale(cache)
    whole = upscale(rgb, 4, PALETTE, lambda _: None)
    assert whole.shape == (280, 360)
    assert whole.std() > 0
    monkeypatch.setattr(upscale_neural, "_ON_CPU", 5000)
    tiled = upscale(rgb, 4, PALETTE, lambda _: None)
    assert np.mean(tiled != whole) < 1e-3  # a grey between two palette colours may fall to either
    assert np.array_equal(tiled, upscale(rgb, 4, PALETTE, lambda _: None))
    assert cache.loads[upscale_neural.NAME] == 1


def test_what_a_card_computes_is_the_picture_of_32_bits(tiny_volume, rgb):
    """In the type that the catalogue gives a card; the processor's is float32."""
    volume, pictures = Volume(tiny_volume, load_catalogue()), []
    assert open_cache(volume, CPU).dtype(upscale_neural.NAME) == torch.float32
    for dtype in (torch.float32, getattr(torch, volume.catalogue[upscale_neural.NAME].dtype)):
        descriptor = load(volume, upscale_neural.NAME, dtype)
        with torch.inference_mode():
            pictures.append(enlarge(rgb, descriptor, CPU, dtype, 1 << 18, lambda _: None).numpy().astype(int))
    exact, rounded = pictures
    assert np.abs(rounded - exact).mean() < 0.05
    assert np.abs(rounded - exact).max() <= 1


def test_the_radius_of_the_genuine_architecture():
    """RRDBNet 6B: 6 blocks of 15 convolutions, one before, one after, four while enlarging."""
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    with torch.device("meta"):
        assert receptive_radius(RRDBNet(num_filters=64, num_blocks=6)) == 96

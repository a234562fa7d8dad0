"""The depth picture: near is bright, over the full range, from tiny networks and from made-up answers."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.loaders import Loaded
from model_cache.volume import Volume
from pipeline.phase2_illustrate.diffusion.depth import make_depth, to_gray
from tests.support.tiny_volume import copy_volume, replace

pytestmark = pytest.mark.neural
CPU = torch.device("cpu")
NAMES = ["depth-anything", "zoedepth"]


@dataclass
class FakeCache:
    """A cache around one made-up network."""

    loaded: Loaded
    device: torch.device = CPU

    def take(self, *wanted):
        return (self.loaded,) * len(wanted)

    def dtype(self, name):
        return torch.float32


def processors():
    from transformers import DPTImageProcessor, ZoeDepthImageProcessor

    return {
        "depth-anything": DPTImageProcessor(size={"height": 98, "width": 98}, ensure_multiple_of=14, keep_aspect_ratio=True),
        "zoedepth": ZoeDepthImageProcessor(size={"height": 96, "width": 128}, ensure_multiple_of=32),
    }


def answering(name, answer, kind="relative"):
    """A cache whose network answers `answer(pixels)`, (1, h, w); the processor is the genuine one."""

    class Net:
        config = SimpleNamespace(depth_estimation_type=kind)

        def __call__(self, pixels):
            return SimpleNamespace(predicted_depth=answer(pixels))

    return FakeCache(Loaded(Net(), processors()[name]))


def ramp(pixels, first, last):
    """Values from `first` at the left to `last` at the right."""
    h, w = pixels.shape[-2:]
    return torch.linspace(first, last, w).expand(1, h, w).clone()


def rgb(side=200):
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_disparity_is_bright_where_it_is_large():
    depth = make_depth(answering("depth-anything", lambda x: ramp(x, 0.0, 7.0)), "depth-anything")(rgb())
    assert depth[:, 5].max() < 20
    assert depth[:, -5].min() > 235


@pytest.mark.parametrize(("name", "kind"), [("zoedepth", "relative"), ("depth-anything", "metric")])
def test_metres_are_bright_where_they_are_few(name, kind):
    depth = make_depth(answering(name, lambda x: ramp(x, 1.0, 10.0), kind), name)(rgb())
    assert depth[:, 5].min() > 180
    assert depth[:, -5].max() < 20
    middle = depth[:, 100].mean() / 255
    # The inverse of the distance falls steeply at first: halfway it is 0.09 for 1 to 10 metres, 0.19 for the 2 to 9 that
    # ZoeDepth's padding leaves of them. The negative distance would be 0.5.
    assert 0.02 < middle < 0.25


def test_zoedepths_padding_is_cut_off():
    # A frame of another depth just where the processor pads; it may not show.
    def padded(pixels):
        answer = ramp(pixels, 2.0, 4.0)
        edge = int(int(np.sqrt(100) * 3) / 260 * pixels.shape[-1]) - 2
        inner = torch.zeros_like(answer, dtype=torch.bool)
        inner[:, edge:-edge, edge:-edge] = True
        return torch.where(inner, answer, torch.tensor(80.0))

    depth = make_depth(answering("zoedepth", padded), "zoedepth")(rgb(200))
    assert depth.shape == (200, 200)
    assert depth[:, 8:30].min() > 150
    assert (np.diff(depth[100].astype(int)) <= 1).all()


@pytest.mark.parametrize("scale", [1.0, 0.01, 300.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_whole_range_of_8_bits_whatever_the_networks_scale(name, scale):
    """Floats 0..1 cast to 8 bits are a black picture."""
    depth = make_depth(answering(name, lambda x: ramp(x, 0.1 * scale, scale)), name)(rgb())
    assert depth.dtype == np.uint8
    assert depth.min() == 0
    assert depth.max() == 255
    assert len(np.unique(depth)) > 60
    assert depth.std() > 30


def test_a_few_wild_pixels_do_not_flatten_the_rest():
    disparity = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    disparity[0, :20] = 1e6
    gray = to_gray(disparity, "any")
    assert gray[50].mean() == pytest.approx(128, abs=5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.5, 1.0, 7.25])
def test_a_constant_depth_is_a_broken_network(name, value):
    with pytest.raises(RuntimeError, match=rf"{name}.*flat"):
        make_depth(answering(name, lambda x: ramp(x, value, value)), name)(rgb())


def test_all_zero_is_a_broken_network():
    with pytest.raises(RuntimeError, match=r"depth-anything.*flat"):
        make_depth(answering("depth-anything", lambda x: ramp(x, 0, 0)), "depth-anything")(rgb())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_single_value_that_is_no_number_is_a_bug(name, bad):
    def broken(pixels):
        answer = ramp(pixels, 1, 2)
        answer[0, 3, 5] = bad
        return answer

    with pytest.raises(RuntimeError, match=rf"{name}.*finite"):
        make_depth(answering(name, broken), name)(rgb())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(96, 96), (2, 96, 96), (1, 1, 96, 96)])
def test_a_wrong_shape_is_a_bug(name, shape):
    with pytest.raises(RuntimeError, match=rf"{name}.*shape"):
        make_depth(answering(name, lambda _: torch.rand(shape) + 1), name)(rgb())


@pytest.mark.parametrize("distance", [0.0, -1.0])
def test_a_distance_of_nothing_is_a_bug(distance):
    def broken(pixels):
        answer = ramp(pixels, 1, 2)
        answer[0, 3, 5] = distance
        return answer

    with pytest.raises(RuntimeError, match=r"zoedepth.*distances"):
        make_depth(answering("zoedepth", broken), "zoedepth")(rgb())


@pytest.fixture(scope="module")
def cache(tiny_volume, tmp_path_factory):
    """The volume's networks, with weights that keep the variance: at transformers' initial values tiny ones answer with a constant."""
    volume = copy_volume(tiny_volume, tmp_path_factory.mktemp("depth") / "volume")
    random = torch.Generator().manual_seed(0)
    for name in NAMES:
        path = volume / "models" / name / "model.safetensors"
        tensors = load_file(path)
        for key, tensor in tensors.items():
            if tensor.ndim > 1:
                fan = math.prod(tensor.shape[1:])
                tensors[key] = (torch.randn(tensor.shape, generator=random) / math.sqrt(fan)).to(tensor.dtype)
        replace(path, save(tensors, metadata={"format": "pt"}))
    return ModelCache(Volume(volume, load_catalogue()), CPU, None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [256, 333])
def test_the_real_network_from_the_volume(cache, name, side):
    step = make_depth(cache, name)
    depth = step(rgb(side))
    assert depth.shape == (side, side)
    assert depth.dtype == np.uint8
    assert depth.std() > 30
    assert (depth == step(rgb(side))).all()
    assert cache.loads[name] == 1

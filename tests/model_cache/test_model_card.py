"""Every step with the networks in the types that they have on a card, run on the processor: no mixture of types is met there first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from pipeline.palette import parse
from pipeline.phase0_vehicle.locate import make_locate
from pipeline.phase1_sanitize.find_neural import make_find
from pipeline.phase1_sanitize.inpaint_neural import make_inpaint
from pipeline.phase1_sanitize.mask_neural import make_mask
from pipeline.phase2_illustrate.diffusion.depth import make_depth
from pipeline.phase2_illustrate.diffusion.draw import DrawSettings, make_redraw
from pipeline.phase3_enforce.upscale_neural import make_upscale
from tests.support.tiny_drawing import RGB, brief

pytestmark = pytest.mark.neural

HOLE = np.zeros(RGB.shape[:2], np.bool_)
HOLE[50:70, 40:60] = True


class CardTypes(ModelCache):
    """A cache on the processor that loads what a card would get."""

    def dtype(self, name: str) -> torch.dtype:
        return getattr(torch, self.volume.catalogue[name].dtype)


@pytest.fixture(scope="module")
def caches(tiny_volume: Path) -> tuple[ModelCache, ModelCache]:
    volume = Volume(tiny_volume, load_catalogue())
    return ModelCache(volume, torch.device("cpu"), None), CardTypes(volume, torch.device("cpu"), None)


def _heard(_: float) -> None:
    """A caller that never cancels."""


def _matte(cache: ModelCache) -> Any:
    (net,) = cache.take("birefnet")
    picture = torch.from_numpy(RGB.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        return net(picture.to(cache.dtype("birefnet"))).sigmoid().float()[0, 0] * 255


def _draw(nets: Any) -> Callable[[ModelCache], Any]:
    def draw(cache: ModelCache) -> Any:
        return make_redraw(cache, DrawSettings(nets=nets), None, None, cache.volume.prompts())(RGB, brief(steps=3), _heard)[0]

    return draw


STEPS: dict[str, Callable[[ModelCache], Any]] = {
    "inpaint": lambda cache: make_inpaint(cache)(RGB, HOLE),
    "matte": _matte,
    "depth-anything": lambda cache: make_depth(cache, "depth-anything")(RGB),
    "zoedepth": lambda cache: make_depth(cache, "zoedepth")(RGB),
    "draw": _draw("separate"),
    "draw with one net": _draw("union"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_sees_nearly_the_same(caches: tuple[ModelCache, ModelCache], step: str) -> None:
    full, card = (np.asarray(STEPS[step](cache), np.float64) for cache in caches)
    assert full.shape == card.shape
    assert full.std() > 5
    assert np.abs(full - card).mean() < 1.0  # grey levels


def test_the_finders(caches: tuple[ModelCache, ModelCache]) -> None:
    _, card = caches
    assert make_find(card)(RGB, (0, 0, 128, 128), ["license plate", "text"])
    make_locate(make_find(card))(RGB)


@pytest.mark.parametrize("which", ["sam", "sam2"])
def test_the_segmenters(caches: tuple[ModelCache, ModelCache], which: Any) -> None:
    _, card = caches
    found = make_find(card)(RGB, (0, 0, 128, 128), ["text"])[:3]
    assert all(mask.shape == RGB.shape[:2] for mask in make_mask(card, which)(RGB, found))


def test_the_enlargement(caches: tuple[ModelCache, ModelCache]) -> None:
    palette = parse(["000000", "FFFFFF", "FF0000", "0000FF"])
    full, card = (make_upscale(cache)(RGB[:64, :64], 4, palette, _heard) for cache in caches)
    assert full.shape == card.shape == (256, 256)
    assert (full != card).mean() < 0.02

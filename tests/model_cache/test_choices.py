"""Other networks of the catalogue: of the same classes, chosen by a setting, loaded and asked as the ones they replace."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from builder.choose import needed, settings_of
from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.volume import Volume
from pipeline import neural, settings
from pipeline.phase0_vehicle.birefnet import make_look
from pipeline.phase1_sanitize import find_neural
from pipeline.phase1_sanitize.find_neural import make_find
from pipeline.phase2_illustrate.diffusion.draw import DrawSettings, make_redraw
from tests.phase2_illustrate.diffusion.test_draw import heard, small
from tests.support import tiny_volume as volumes
from tests.support.tiny_drawing import brief, cache_of, far, kept_prompts

pytestmark = pytest.mark.neural
CHOICES = {
    "phase0": {"matte": "birefnet-hr-matting"},
    "phase1": {"detector": "mm-grounding-dino"},
    "phase2": {"controlnet": {"nets": "union-promax"}},
}


def cache_with(tmp_path: Path, name: str) -> ModelCache:
    volumes.build_model(tmp_path, name)
    return ModelCache(Volume(tmp_path, load_catalogue()), torch.device("cpu"), None)


def test_a_setting_names_them_for_the_worker_and_for_the_builder(tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(yaml.safe_dump(CHOICES))
    steps = frozenset({"find", "matte", "mask", "inpaint", "draw", "upscale"})
    chosen = set(neural.models_of(steps, settings.load(config)))
    assert {"birefnet-hr-matting", "mm-grounding-dino", "controlnet-union-promax"} <= chosen <= set(needed(settings_of(config)))
    assert not {"birefnet", "grounding-dino", "controlnet-union", "controlnet-depth"} & chosen


@pytest.mark.parametrize("name", ["birefnet-hr", "birefnet-hr-matting"])
def test_birefnet_of_high_resolution_looks_at_its_own_side(tmp_path: Path, name: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    plane = make_look(cache_with(tmp_path, name), 160, name)(rgb)
    assert plane.shape == (160, 160)
    assert 0 <= plane.min() < plane.max() <= 1


def test_mm_grounding_dino_finds_as_grounding_dino_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_neural, "TEXT_THRESHOLD", 0.0)  # random weights are sure of nothing
    cache = cache_with(tmp_path, "mm-grounding-dino")
    rgb = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    found = make_find(cache, "mm-grounding-dino")(rgb, (0.0, 0.0, 256.0, 256.0), ("car logo", "text"))
    again = make_find(cache, "mm-grounding-dino")(rgb, (0.0, 0.0, 256.0, 256.0), ("car logo", "text"))
    assert found
    assert [(one.label, one.score) for one in found] == [(one.label, one.score) for one in again]
    assert all(one.label in {"car logo", "text"} and 0 < one.score <= 1 and np.isfinite(one.quad).all() for one in found)
    assert cache.loads == {"mm-grounding-dino": 1}


def test_the_union_net_s_promax_weights_draw(tiny_volume: Path, tmp_path: Path) -> None:
    """They have two more kinds of control image; depth and canny keep their numbers."""
    copy = volumes.copy_volume(tiny_volume, tmp_path / "v")
    volumes.build_model(copy, "controlnet-union-promax")
    drawn = {}
    for nets in ("union", "union-promax"):
        cache = cache_of(copy)
        drawn[nets] = make_redraw(cache, DrawSettings(nets=nets), None, None, kept_prompts(copy))(*small(), heard)[0]
        assert cache.loads[f"controlnet-{nets}"] == 1
    assert far(drawn["union"], drawn["union-promax"]) > 0
    assert brief().depth is not None

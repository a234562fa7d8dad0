"""The streamer in place of mapped files: the same networks. Where it is not installed, a stand-in of its interface reads the files."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_cache.cache import ModelCache
from model_cache.catalogue import load_catalogue
from model_cache.errors import BrokenModel
from model_cache.loaders import load, modules
from model_cache.volume import Volume
from model_cache.warm_up import WarmUp, read_ahead
from pipeline import engines, settings
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural


class StandIn:
    """`SafetensorsStreamer`, whose tensors are overwritten as soon as the next one is asked for."""

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stream_file(self, path: str) -> None:
        self.path = path

    def get_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in load_file(self.path).items():
            yield name, tensor
            tensor.zero_()


@pytest.fixture(autouse=True)
def streamer(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("runai_model_streamer") is None:
        module = ModuleType("runai_model_streamer")
        module.SafetensorsStreamer = StandIn
        monkeypatch.setitem(sys.modules, "runai_model_streamer", module)


@pytest.fixture
def volume(tiny_volume: Path, tmp_path: Path) -> Volume:
    return Volume(volumes.copy_volume(tiny_volume, tmp_path / "v"), load_catalogue())


@pytest.mark.parametrize("name", ["grounding-dino", "sam", "lama", "birefnet", "sdxl-unet", "sdxl-vae", "controlnet-union", "sdxl-text"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_same_network(volume: Volume, name: str, dtype: torch.dtype) -> None:
    mapped, streamed = (modules(load(volume, name, dtype, way)) for way in (False, True))
    assert len(mapped) == len(streamed) > 0
    for one, other in zip(mapped, streamed, strict=True):
        assert not other.training
        own, its = one.state_dict(), other.state_dict()
        assert own.keys() == its.keys()
        assert all(torch.equal(own[key], its[key]) and own[key].dtype == its[key].dtype for key in own)


@pytest.mark.parametrize("name", ["sdxl-unet", "sam"])
@pytest.mark.parametrize(("change", "told"), [("lacks", "lacks"), ("shape", "in another shape")])
def test_what_does_not_fit_is_refused(volume: Volume, name: str, change: str, told: str) -> None:
    path = volume.file(name, volume.catalogue[name].weights[0])
    tensors = load_file(path)
    key = next(key for key, tensor in tensors.items() if tensor.ndim == 4)
    taken = tensors.pop(key)
    if change == "shape":
        tensors[key] = taken[:1].clone()
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(BrokenModel, match=told):
        load(volume, name, torch.float32, streamed=True)


def test_a_warm_up_leaves_the_weights_to_the_streamer(volume: Volume) -> None:
    names = ("realesrgan-anime", "sdxl-scheduler", "sdxl-vae")
    reading = read_ahead(volume, names, weights=False).start()
    cache = ModelCache(volume, torch.device("cpu"), None, streamed=True)
    warm_up = WarmUp(cache, names, reading, {}).start()
    warm_up.wait()
    warm_up.close()
    assert set(cache.loads) == set(names)


def test_a_streamer_that_is_not_there_stops_the_start(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.neural.find_spec", lambda _: None)
    chosen = settings.load().model_copy(update={"model_cache": settings.Models(loader="streamer")})
    chosen = chosen.model_copy(update={"steps": chosen.steps.model_copy(update={"upscale": "neural"})})
    with pytest.raises(settings.SettingsError, match="pip install runai-model-streamer"):
        engines.build(settings.environment({"ENGINE": "classical", "MODEL_VOLUME_PATH": str(volume.path)}), chosen)

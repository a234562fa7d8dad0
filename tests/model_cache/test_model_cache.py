"""Residency: what is loaded once stays; what leaves is decided by a pure function; a failure leaves the cache usable."""

from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs

from model_cache.cache import ModelCache, Prepared, open_cache
from model_cache.catalogue import load_catalogue
from model_cache.errors import BrokenModel, MissingModels
from model_cache.volume import Volume
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural

CPU = torch.device("cpu")
MB = 1_000_000


@pytest.fixture
def cache(tiny_volume: Path) -> ModelCache:
    return open_cache(Volume(tiny_volume, load_catalogue()), CPU)


@pytest.fixture
def small(tiny_volume: Path) -> ModelCache:
    """Room for two of the three control nets (6.3, 6.3 and 6.5 MB), as if the processor were a small card."""
    return ModelCache(Volume(tiny_volume, load_catalogue()), CPU, 13 * MB)


# --- the cache ---


def test_a_second_job_loads_nothing(cache: ModelCache) -> None:
    for _ in range(2):
        cache.take("grounding-dino")
        cache.take("sdxl-unet", "controlnet-depth", "controlnet-canny")
        cache.take("sdxl-vae")
    assert set(cache.loads.values()) == set(cache.moves.values()) == {1}
    assert sum(cache.loads.values()) == 5
    assert set(cache.hits.values()) == {1}
    assert not cache.evictions


def test_what_is_taken_comes_in_order_and_is_the_same_each_time(cache: ModelCache) -> None:
    scheduler, vae = cache.take("sdxl-scheduler", "sdxl-vae")
    assert scheduler["_class_name"] == "EulerDiscreteScheduler"
    assert cache.take("sdxl-vae", "sdxl-scheduler") == (vae, scheduler)


def test_dtypes(cache: ModelCache) -> None:
    assert cache.dtype("sdxl-unet") == torch.float32
    on_card = ModelCache(cache.volume, torch.device("cuda"), None)  # nothing is moved: no card is needed
    assert on_card.dtype("sdxl-unet") == torch.float16
    assert on_card.dtype("realesrgan-anime") == torch.float16
    assert on_card.dtype("grounding-dino") == torch.float32


def test_the_least_recently_used_leaves(small: ModelCache) -> None:
    small.take("controlnet-depth")
    small.take("controlnet-canny")
    small.take("controlnet-depth")
    small.take("controlnet-union")
    assert small.resident() == ("controlnet-depth", "controlnet-union")
    small.take("controlnet-canny", "controlnet-depth")
    assert small.resident() == ("controlnet-canny", "controlnet-depth")
    assert small.evictions == {"controlnet-canny": 1, "controlnet-union": 1}
    assert set(small.loads.values()) == {1}, "what left the card waits in host memory"


def test_what_is_wanted_together_is_there_together_even_above_the_budget(small: ModelCache) -> None:
    small.take("sdxl-vae")
    small.take("controlnet-depth", "controlnet-canny", "controlnet-union")
    assert small.resident() == ("controlnet-depth", "controlnet-canny", "controlnet-union")


def test_lean_keeps_only_what_is_asked_for(cache: ModelCache) -> None:
    cache.take("sdxl-vae")
    cache.take("controlnet-depth")
    cache.lean = True
    cache.take("sdxl-vae")
    assert cache.resident() == ("sdxl-vae",)
    cache.lean = False
    cache.take("controlnet-depth")
    assert set(cache.resident()) == {"sdxl-vae", "controlnet-depth"}


def test_relieve_empties_the_device_and_loads_nothing_again(cache: ModelCache) -> None:
    (before,) = cache.take("sdxl-vae")
    with capture_logs() as logs:
        cache.relieve()
    assert cache.resident() == ()
    assert [line["event"] for line in logs] == ["model_evicted", "phase2_memory_flushed"]
    assert cache.take("sdxl-vae") == (before,)
    assert cache.loads["sdxl-vae"] == 1


def test_loads_are_logged(cache: ModelCache) -> None:
    with capture_logs() as logs:
        cache.take("sdxl-vae")
        cache.take("sdxl-vae")
    (line,) = [line for line in logs if line["event"] == "model_loaded"]
    assert line["model"] == "sdxl-vae"
    assert line["bytes"] == sum(t.numel() for t in cache.take("sdxl-vae")[0].parameters()) * 4


# --- prepared ---


def _doubled(network: Any) -> Any:
    with torch.no_grad():
        network.conv_out.bias.mul_(2)
    return network


def _bias(cache: ModelCache, wanted: str | Prepared) -> torch.Tensor:
    return cache.take(wanted)[0].conv_out.bias.clone()


def test_a_preparation_runs_once_a_key(cache: ModelCache) -> None:
    plain = _bias(cache, "sdxl-unet")
    assert torch.equal(_bias(cache, Prepared("sdxl-unet", ("style", 0.8), _doubled)), 2 * plain)
    assert torch.equal(_bias(cache, Prepared("sdxl-unet", ("style", 0.8), _doubled)), 2 * plain)
    assert cache.loads["sdxl-unet"] == 1, "the first preparation takes what lies there"
    assert torch.equal(_bias(cache, Prepared("sdxl-unet", ("style", 0.5), _doubled)), 2 * plain), "from the file, not from the doubled one"
    assert cache.loads["sdxl-unet"] == 2
    assert torch.equal(_bias(cache, "sdxl-unet"), plain)
    assert cache.loads["sdxl-unet"] == 3


def test_what_a_preparation_returns_is_taken_and_moved(small: ModelCache) -> None:
    wrapped = Prepared("sdxl-vae", "wrapped", lambda vae: torch.nn.Sequential(vae.decoder))
    (taken,) = small.take(wrapped)
    assert isinstance(taken, torch.nn.Sequential)
    small.relieve()
    assert small.take(wrapped) == (taken,)


def test_a_failed_preparation_keeps_nothing_half_made(cache: ModelCache) -> None:
    plain = _bias(cache, "sdxl-unet")

    def fails(network: Any) -> Any:
        _doubled(network)
        raise RuntimeError("half way")

    cache.take("sdxl-vae")
    with pytest.raises(RuntimeError, match="half way"):
        cache.take(Prepared("sdxl-unet", "x", fails))
    assert cache.resident() == ("sdxl-vae",)
    assert torch.equal(_bias(cache, "sdxl-unet"), plain)


def test_a_model_is_taken_once_in_a_call(cache: ModelCache) -> None:
    with pytest.raises(ValueError, match="twice"):
        cache.take("sdxl-vae", Prepared("sdxl-vae", "x", _doubled))


# --- failures ---


def test_out_of_memory_while_moving_leaves_the_cache_usable(cache: ModelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of the two encoders does not fit: the first goes back too."""
    vae, text = cache.take("sdxl-vae", "sdxl-text")
    cache.relieve()
    moves: list[str] = []

    def full(device: torch.device) -> None:
        moves.append("second")
        if len(moves) == 2:
            raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(text.text_encoder, "to", lambda device: moves.append("first"))
    monkeypatch.setattr(text.text_encoder_2, "to", full)
    with pytest.raises(torch.OutOfMemoryError):
        cache.take("sdxl-vae", "sdxl-text")
    assert moves == ["first", "second", "first", "second"]
    assert cache.resident() == ("sdxl-vae",)
    monkeypatch.undo()
    assert cache.take("sdxl-vae", "sdxl-text") == (vae, text)
    assert set(cache.loads.values()) == {1}


def test_what_is_taken_in_inference_mode_can_be_moved_and_prepared_outside(cache: ModelCache) -> None:
    with torch.inference_mode():
        (vae,) = cache.take("sdxl-vae")
    assert not any(parameter.is_inference() for parameter in vae.parameters())
    next(vae.parameters()).data.mul_(1)


def test_a_broken_model_leaves_the_others(tiny_volume: Path, tmp_path: Path) -> None:
    volume = Volume(volumes.copy_volume(tiny_volume, tmp_path / "v"), load_catalogue())
    cache = open_cache(volume, CPU)
    cache.take("sdxl-vae")
    path = volume.file("sam", "model.safetensors")
    whole = path.read_bytes()
    volumes.replace(path, whole[:5000])
    with pytest.raises(BrokenModel, match="sam"):
        cache.take("sdxl-vae", "sam")
    path.unlink()
    with pytest.raises(MissingModels, match="sam"):
        cache.take("sam")
    volumes.replace(path, whole)
    cache.take("sdxl-vae", "sam")
    assert cache.loads == {"sdxl-vae": 1, "sam": 1}

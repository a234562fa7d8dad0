"""Models that the platform put into the hub's cache on the volume: used when they are the right ones and need no conversion."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_cache import manifest
from model_cache.catalogue import load_catalogue
from model_cache.errors import MissingModels
from model_cache.loaders import load
from model_cache.volume import Volume
from model_cache.warm_up import check
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural
REVISION = "462165984030d82259a11f4367a4eed129e94a7b"


@pytest.fixture
def volume(tiny_volume: Path, tmp_path: Path) -> Volume:
    return Volume(volumes.copy_volume(tiny_volume, tmp_path / "v"), load_catalogue())


def to_hub(volume: Volume, name: str, revision: str = REVISION) -> Path:
    """Move a model to where the hub's client would have put it; weights are links to blobs, as there."""
    source = volume.catalogue[name].source
    hub = volume.path / "huggingface-cache" / "hub" / f"models--{str(source.repository).replace('/', '--')}"
    home = volume.path / "models" / name
    for file in volume.catalogue[name].files:
        blob, there = hub / "blobs" / f"{name}-{file.replace('/', '-')}", hub / "snapshots" / revision / source.files.get(file, file)
        for path in (blob, there):
            path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / file, blob)
        there.symlink_to(blob)
    shutil.rmtree(home)
    return hub / "snapshots" / revision


@pytest.mark.parametrize("name", ["sdxl-unet", "controlnet-depth", "birefnet", "sdxl-vae", "sdxl-text", "sdxl-scheduler", "sam"])
def test_found_and_used(volume: Volume, name: str) -> None:
    before = load(volume, name, torch.float32)
    to_hub(volume, name)
    assert volume.missing([name]) == {}
    assert check(volume, [name]) == {}
    after = load(volume, name, torch.float32)
    if isinstance(before, torch.nn.Module):
        assert all(torch.equal(a, b) for a, b in zip(before.state_dict().values(), after.state_dict().values(), strict=True))
    assert type(after) is type(before)


def test_the_volume_s_own_model_comes_first(volume: Volume, tiny_volume: Path) -> None:
    to_hub(volume, "birefnet")
    shutil.copytree(tiny_volume / "models" / "birefnet", volume.path / "models" / "birefnet")
    assert volume.file("birefnet", "model.safetensors") == volume.path / "models" / "birefnet" / "model.safetensors"


def recorded(revision: str) -> manifest.ModelRecord:
    return manifest.ModelRecord(source="ZhengPeng7/BiRefNet", revision=revision, sources={}, files={})


def test_the_recorded_revision_only(volume: Volume) -> None:
    """With two snapshots and no record nobody knows which one is meant."""
    first = to_hub(volume, "birefnet")
    shutil.copytree(first, first.parent / "another", symlinks=True)
    assert volume.missing(["birefnet"]) == {"birefnet": ("model.safetensors",)}
    manifest.write_lock(volume.path, {"birefnet": recorded("another")})
    assert volume.file("birefnet", "model.safetensors") == first.parent / "another" / "model.safetensors"
    manifest.write_lock(volume.path, {"birefnet": recorded("a third")})
    with pytest.raises(MissingModels, match="birefnet"):
        load(volume, "birefnet", torch.float32)


@pytest.mark.parametrize("what", ["32 bits", "incomplete", "no safetensors"])
def test_what_would_need_a_conversion_is_not_used(volume: Volume, what: str) -> None:
    snapshot = to_hub(volume, "sam")
    path = snapshot / "model.safetensors"
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    tensors["large"] = torch.zeros(1 << 17)
    path.unlink()
    if what == "32 bits":
        save_file(tensors, path, metadata={"format": "pt"})
    elif what == "no safetensors":
        path.write_bytes(b"PK")
    assert set(volume.missing(["sam"])) == {"sam"}


def test_files_of_single_addresses_are_not_looked_for(volume: Volume) -> None:
    shutil.rmtree(volume.path / "models" / "lama")
    (volume.path / "huggingface-cache" / "hub" / "models--" / "snapshots" / "x").mkdir(parents=True)
    assert set(volume.missing(["lama"])) == {"lama"}
    assert json.loads((volume.file("sdxl-unet", "config.json")).read_text())

"""Every wrong file is named, a right volume is right, and nothing is changed by looking."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from builder import prompts
from builder.errors import BuilderError
from builder.verify import STAMP, Finding, verify
from model_cache.manifest import read_lock, record_of, write_lock
from model_cache.prompts import read
from tests.builder.volumes import recorded
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural


@pytest.fixture
def volume(tiny_volume: Path, tmp_path: Path) -> Path:
    copy = volumes.copy_volume(tiny_volume, tmp_path / "v")
    volumes.write_style(copy)
    return recorded(copy)


def look(volume: Path, *names: str, deep: bool = False) -> list[Finding]:
    return verify(volume, names or None, deep, lambda file, done, total: None)


def rerecord(volume: Path, name: str, file: str) -> None:
    """As if the builder itself had made the file so."""
    records = read_lock(volume)
    files = {**records[name].files, file: record_of(volume / "models" / name / file)}
    write_lock(volume, {**records, name: records[name].model_copy(update={"files": files})})


def test_a_right_volume_is_right_and_stays_untouched(volume: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in volume.rglob("*")}
    told = []
    assert verify(volume, None, True, lambda *it: told.append(it)) == []
    assert look(volume) == []
    assert {path: path.stat().st_mtime_ns for path in volume.rglob("*")} == before
    ends = {file: (done, total) for file, done, total in told}
    assert ends["sdxl-unet/config.json"][0] == ends["sdxl-unet/config.json"][1] > 0
    assert len(ends) == sum(len(record.files) for record in read_lock(volume).values())


def test_each_kind_of_wrong_file(volume: Path) -> None:
    models = volume / "models"
    (models / "sam" / "config.json").unlink()
    volumes.replace(models / "sdxl-vae" / "diffusion_pytorch_model.safetensors", b"short")
    (models / "birefnet" / "model.bin").write_bytes(b"x")
    (models / "mine").mkdir()
    path = models / "lama" / "big-lama.safetensors"
    volumes.replace(path, path.read_bytes())
    assert [str(it) for it in look(volume)] == [
        "birefnet/model.bin: it belongs to nothing that is recorded",
        f"lama/big-lama.safetensors: {STAMP}",
        "sam/config.json: missing",
        f"sdxl-vae/diffusion_pytorch_model.safetensors: 5 bytes instead of {record(volume, 'sdxl-vae')}",
        "mine: the catalogue knows no such model; python -m builder prune removes it",
    ]
    assert look(volume, "lama", deep=True) == []  # its content is what was recorded
    assert look(volume, "depth-anything", deep=True) == []


def record(volume: Path, name: str) -> int:
    return read_lock(volume)[name].files["diffusion_pytorch_model.safetensors"].size


def test_content_changed_behind_its_time_stamp_is_found_by_its_hash(volume: Path) -> None:
    path = volume / "models" / "sdxl-unet" / "diffusion_pytorch_model.safetensors"
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    volumes.replace(path, bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert look(volume) == []
    assert [str(it) for it in look(volume, deep=True)] == [
        "sdxl-unet/diffusion_pytorch_model.safetensors: its content is not what was recorded (sha256)"
    ]


@pytest.mark.parametrize(
    ("name", "file", "change", "said"),
    [
        ("sdxl-unet", "diffusion_pytorch_model.safetensors", lambda t: t.pop("conv_in.weight"), "lacks conv_in.weight"),
        ("birefnet", "model.safetensors", lambda t: t.pop("bb.patch_embed.norm.weight"), "lacks"),
        ("sam", "model.safetensors", lambda t: t.update({"mask_decoder.iou_token.weight": torch.ones(2, 2).half()}), "another shape"),
        (
            "lama",
            "big-lama.safetensors",
            lambda t: t.update({"generator.model.1.bn_l.running_mean": torch.ones(3).half()}),
            "size mismatch",
        ),
        ("realesrgan-anime", "RealESRGAN_x4plus_anime_6B.safetensors", lambda t: t.pop("conv_first.weight"), "architecture"),
        ("depth-anything", "model.safetensors", lambda t: [t.update({k: v.float()}) for k, v in list(t.items())], "are in 32 bits"),
    ],
)
def test_weights_that_are_recorded_and_wrong(volume: Path, name: str, file: str, change, said: str) -> None:
    path = volume / "models" / name / file
    tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
    change(tensors)
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})
    rerecord(volume, name, file)
    assert look(volume) == []
    (found,) = look(volume, name, deep=True)
    assert found.model == name
    assert said in found.what


def test_configurations_that_are_recorded_and_wrong(volume: Path) -> None:
    path = volume / "models" / "sdxl-vae" / "config.json"
    volumes.replace(path, b"{")
    rerecord(volume, "sdxl-vae", "config.json")
    assert [str(it) for it in look(volume, deep=True)] == ["sdxl-vae: config.json is not JSON"]
    volumes.replace(path, json.dumps({"_class_name": "VQModel"}).encode())
    rerecord(volume, "sdxl-vae", "config.json")
    assert "is of VQModel" in look(volume, deep=True)[0].what


def test_what_nobody_recorded(volume: Path) -> None:
    records = dict(read_lock(volume))
    del records["lama"]
    records["sam"] = records["sam"].model_copy(update={"source": "someone/else"})
    write_lock(volume, records)
    assert [str(it) for it in look(volume)] == [
        "sam: it was fetched from someone/else, the catalogue says facebook/sam-vit-huge",
        "lama: the lock file does not know it",
    ]
    (volume / "models.lock.json").write_text("[")
    assert [str(it) for it in look(volume)] == ["models.lock.json: it is no lock file of models"]
    (volume / "models.lock.json").unlink()
    assert {it.what for it in look(volume)} == {"the lock file does not know it"}


def test_an_empty_volume(tmp_path: Path) -> None:
    assert look(tmp_path) == []
    assert [str(it) for it in look(tmp_path, "sam", deep=True)] == ["sam: it is not on the volume"]


def test_styles_and_prompts(volume: Path) -> None:
    (volume / "styles" / "other.safetensors").write_bytes(b"no")
    save_file({"lora_unet_none.lora_up.weight": torch.ones(2, 2)}, volume / "styles" / "third.safetensors")
    prompt = volume / "prompts" / "default.safetensors"
    prompt.unlink()
    save_file({"prompt_embeds": torch.ones(1, 77, 9)}, prompt)
    found = {f"{it.model}/{it.file}": it.what for it in look(volume, deep=True)}
    assert found.keys() == {"styles/other.safetensors", "styles/third.safetensors", "prompts/default.safetensors"}
    assert "no safetensors file" in found["styles/other.safetensors"]
    assert "lacks negative_pooled_prompt_embeds" in found["prompts/default.safetensors"]
    prompt.unlink()
    save_file({name: torch.ones(1, 77, 9) for name in volumes_names()}, prompt)
    assert look(volume)[-1].what == "its embeddings are 9 wide, the drawing network takes 96"


def volumes_names() -> tuple[str, ...]:
    from model_cache.prompts import NAMES

    return NAMES


def test_what_the_platform_fetched_is_read_where_it_lies(volume: Path) -> None:
    source, name = volume / "models" / "birefnet", "birefnet"
    hub = volume / "huggingface-cache" / "hub" / "models--ZhengPeng7--BiRefNet" / "snapshots" / read_lock(volume)[name].revision
    hub.parent.mkdir(parents=True)
    source.rename(hub)
    assert look(volume, name) == look(volume, name, deep=True) == []
    path = hub / "model.safetensors"
    volumes.replace(path, path.read_bytes()[:-3])
    assert look(volume, name, deep=True)[0].what == "missing"  # what is not whole in the hub's cache is not used


# --- prompts.make ---


def test_embeddings_are_made_once_for_their_texts(volume: Path) -> None:
    path = volume / "prompts" / "default.safetensors"
    before = load_file(path)
    told: list[str] = []
    made = []
    for _ in range(3):
        path.unlink()
        assert prompts.make(volume, volumes.PROMPT, volumes.NEGATIVE, told.append) == path
        made.append({name: tensor.clone() for name, tensor in load_file(path).items()})
    assert all(torch.equal(made[0][name], again[name]) for again in made[1:] for name in made[0])
    assert all(torch.allclose(before[name], tensor, atol=1e-5) for name, tensor in made[0].items())
    stamp = path.stat().st_mtime_ns
    prompts.make(volume, volumes.PROMPT, volumes.NEGATIVE, told.append)
    assert path.stat().st_mtime_ns == stamp
    prompts.make(volume, "a car", "", told.append)
    assert read(path, volumes.PROMPT, volumes.NEGATIVE) is None
    assert read(path, "a car", "") is not None
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert look(volume, deep=True) == []


def test_embeddings_need_their_encoders(volume: Path) -> None:
    (volume / "prompts" / "default.safetensors").unlink()
    (volume / "models" / "sdxl-text" / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(BuilderError, match=r"need the text encoders.*sdxl-text"):
        prompts.make(volume, "a", "b", lambda _: None)
    assert not (volume / "prompts" / "default.safetensors").exists()

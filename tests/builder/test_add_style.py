"""A style is installed when it fits the volume's UNet, under any tool's naming, and not otherwise."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from builder.add_style import add_style
from builder.errors import BuilderError
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural


@pytest.fixture
def volume(tiny_volume: Path, tmp_path: Path) -> Path:
    return volumes.copy_volume(tiny_volume, tmp_path / "v")


@pytest.fixture
def lora(volume: Path, tmp_path: Path) -> Path:
    """A style that fits, outside of the volume."""
    return volumes.write_style(volume).replace(tmp_path / "flat.safetensors")


@pytest.mark.parametrize("form", ["diffusers", "kohya", "kohya-sgm"])
def test_every_tool_s_naming(volume: Path, tmp_path: Path, form) -> None:
    file = volumes.write_style(volume, form=form).replace(tmp_path / "my style.safetensors")
    installed = add_style(volume, file, None)
    assert installed == volume / "styles" / "my style.safetensors"
    assert installed.read_bytes() == file.read_bytes()
    assert [p.name for p in installed.parent.iterdir()] == ["my style.safetensors"]


def test_an_older_naming_of_diffusers(volume: Path, lora: Path) -> None:
    tensors = {k.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): v for k, v in load_file(lora).items()}
    lora.unlink()
    save_file(tensors, lora)
    add_style(volume, lora, "old")


def test_its_name(volume: Path, lora: Path) -> None:
    assert add_style(volume, lora, "sketch").name == "sketch.safetensors"
    assert add_style(volume, lora, "sketch.safetensors").name == "sketch.safetensors"
    for name in ("../out", ".hidden", "a/b"):
        with pytest.raises(BuilderError, match="no name for a style"):
            add_style(volume, lora, name)


def first(tensors: dict[str, torch.Tensor], end: str) -> str:
    return next(name for name in tensors if name.endswith(end))


def halve(t):
    del t[first(t, "lora_B.weight")]


def reshape(t):
    name = first(t, "lora_A.weight")
    t[name] = torch.ones(4, t[name].shape[1] + 1).half()


def rank(t):
    name = first(t, "lora_A.weight")
    t[name] = torch.ones(5, t[name].shape[1]).half()


def foreign(t):
    t["unet.no.such.lora_A.weight"] = t["unet.no.such.lora_B.weight"] = torch.ones(4, 4).half()


def infinite(t):
    t[first(t, "lora_A.weight")][0, 0] = float("inf")


def dora(t):
    t[first(t, "lora_A.weight").replace("lora_A.weight", "dora_scale")] = torch.ones(4)


def text_only(t):
    t.clear()
    t["text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"] = torch.ones(4, 4)
    t["text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight"] = torch.ones(4, 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (halve, "has not both factors"),
        (reshape, "its factors are"),
        (rank, "its factors are"),
        (foreign, "1 of its .* layers are none of the UNet's, the first is no.such"),
        (infinite, "is not finite"),
        (dora, "no plain LoRA"),
        (text_only, "no factors for the drawing network"),
    ],
)
def test_what_does_not_fit(volume: Path, lora: Path, change, said: str) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(lora).items()}
    change(tensors)
    lora.unlink()
    save_file({k: v.clone() for k, v in tensors.items()}, lora)
    with pytest.raises(BuilderError, match=f"flat.safetensors cannot be used as a style: .*{said}"):
        add_style(volume, lora, None)
    assert not list((volume / "styles").iterdir())


def test_other_files(volume: Path, lora: Path, tmp_path: Path) -> None:
    pickled = lora.rename(tmp_path / "flat.pt")
    with pytest.raises(BuilderError, match=r"not a \.safetensors file"):
        add_style(volume, pickled, None)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(pickled.read_bytes()[:-7])
    with pytest.raises(BuilderError, match="cut off"):
        add_style(volume, cut, None)
    (volume / "models" / "sdxl-unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BuilderError, match="sdxl-unet is not on the volume"):
        add_style(volume, pickled.rename(lora), None)

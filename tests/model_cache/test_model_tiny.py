"""The tiny volume itself: the same bytes at every build, and nothing in it but what the real one holds."""

import hashlib
from pathlib import Path

import pytest
import torch

from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural


def test_a_volume_is_built_the_same_twice(tiny_volume: Path, tmp_path: Path) -> None:
    for name in ("sdxl-vae", "controlnet-canny", "realesrgan-anime", "birefnet"):
        volumes.build_model(tmp_path, name)
        built, known = (sorted(p for p in (v / "models" / name).rglob("*") if p.is_file()) for v in (tmp_path, tiny_volume))
        assert [p.name for p in built] == [p.name for p in known]
        assert [hashlib.sha256(p.read_bytes()).digest() for p in built] == [hashlib.sha256(p.read_bytes()).digest() for p in known]


def test_the_two_control_nets_differ(tiny_volume: Path) -> None:
    depth, canny = (tiny_volume / "models" / f"controlnet-{kind}" / volumes.WEIGHTS for kind in ("depth", "canny"))
    assert depth.read_bytes() != canny.read_bytes()


def test_a_copied_volume_may_be_damaged(tiny_volume: Path, tmp_path: Path) -> None:
    copied = volumes.copy_volume(tiny_volume, tmp_path / "v")
    volumes.replace(copied / "models" / "sam" / "config.json", b"{}")
    volumes.write_style(copied)
    assert (tiny_volume / "models" / "sam" / "config.json").stat().st_size > 100
    assert not list((tiny_volume / "styles").iterdir())


def test_the_forms_of_a_style_say_the_same(tiny_volume: Path, tmp_path: Path) -> None:
    """Fused by diffusers, each changes the same projections by the same; the forms with alphas by half."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

    copied = volumes.copy_volume(tiny_volume, tmp_path / "v")
    changes = {}
    for form in ("diffusers", "kohya", "kohya-sgm"):
        unet = UNet2DConditionModel.from_pretrained(copied / "models" / "sdxl-unet", local_files_only=True, dtype=torch.float32)
        before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
        tensors, alphas = StableDiffusionXLPipeline.lora_state_dict(volumes.write_style(copied, form, form=form), unet_config=unet.config)
        unet.load_lora_adapter(tensors, network_alphas=alphas, prefix="unet")
        unet.fuse_lora()
        unet.unload_lora()
        changes[form] = {name: tensor - before[name] for name, tensor in unet.state_dict().items() if not torch.equal(tensor, before[name])}
    assert len(changes["diffusers"]) == 4 * 2 * (4 + 4 + 2 + 6 + 6)  # q, k, v, out of two attentions of every block
    for form in ("kohya", "kohya-sgm"):
        assert changes[form].keys() == changes["diffusers"].keys()
        for name, change in changes[form].items():
            torch.testing.assert_close(2 * change, changes["diffusers"][name], atol=1e-4, rtol=1e-3)

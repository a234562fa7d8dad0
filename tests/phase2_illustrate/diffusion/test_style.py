"""Fused LoRAs: the same as applied beside the weights, nothing left behind, and files that do not fit refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model_cache.errors import BrokenModel
from pipeline.phase2_illustrate.diffusion.draw import STYLE_IN_PART, DrawSettings, make_redraw
from pipeline.phase2_illustrate.diffusion.style import changes_text, fuse, fusion
from tests.phase2_illustrate.diffusion.test_draw import heard, small
from tests.support import tiny_volume as volumes
from tests.support.tiny_drawing import cache_of, far, kept_prompts

pytestmark = pytest.mark.neural

NEW = {"lora_A": torch.zeros(4, 8), "lora_B": torch.zeros(8, 4)}


def answer(unet: Any) -> Tensor:
    random = torch.Generator().manual_seed(0)
    told = {"text_embeds": torch.randn(1, 64, generator=random), "time_ids": torch.ones(1, 6)}
    latents, text = torch.randn(1, 4, 8, 8, generator=random), torch.randn(1, 77, 96, generator=random)
    with torch.no_grad():
        output: Tensor = unet(latents, torch.tensor(500), text, added_cond_kwargs=told, return_dict=False)[0]
    return output


def fresh_unet(volume: Path) -> Any:
    return cache_of(volume).take("sdxl-unet")[0]


@pytest.fixture
def volume(tiny_volume: Path, tmp_path: Path) -> Path:
    return volumes.copy_volume(tiny_volume, tmp_path / "v")


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_fused_is_applied(volume: Path, form: Any) -> None:
    from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin as Loader

    style = volumes.write_style(volume, form=form)
    plain, fused, beside = (fresh_unet(volume) for _ in range(3))
    fuse(fused, fusion(style, 0.8))
    factors, alphas, metadata = Loader.lora_state_dict(
        str(style.parent), weight_name=style.name, unet_config=beside.config, return_lora_metadata=True
    )
    Loader.load_lora_into_unet(factors, alphas, beside, adapter_name="beside", metadata=metadata)
    beside.set_adapters(["beside"], [0.8])
    assert torch.allclose(answer(fused), answer(beside), atol=1e-5)
    assert float((answer(fused) - answer(plain)).abs().max()) > 0.01
    assert [name for name, _ in fused.named_modules()] == [name for name, _ in plain.named_modules()]


def test_alpha_and_scale_count(volume: Path) -> None:
    """Twice alpha at half the scale is the same; both forms of one LoRA are."""
    kohya = load_file(volumes.write_style(volume, form="kohya"))
    doubled = volume / "styles" / "doubled.safetensors"
    save_file({name: 2 * t if name.endswith("alpha") else t for name, t in kohya.items()}, doubled)
    ours = []
    for path, scale in ((volumes.write_style(volume), 0.8), (volumes.write_style(volume, form="kohya"), 0.8), (doubled, 0.4)):
        unet = fresh_unet(volume)
        fuse(unet, fusion(path, scale))
        ours.append(answer(unet))
    assert torch.allclose(ours[0], ours[1], atol=1e-5)
    assert torch.allclose(ours[1], ours[2], atol=1e-5)


def test_alpha_of_a_trained_file_is_in_its_metadata(volume: Path) -> None:
    style = volumes.write_style(volume)
    said = '{"unet.r": 4, "unet.lora_alpha": 2, "unet.target_modules": ["to_q", "to_k", "to_v", "to_out.0"]}'
    trained = volume / "styles" / "trained.safetensors"
    save_file(load_file(style), trained, metadata={"format": "pt", "lora_adapter_metadata": said})
    half, whole = fresh_unet(volume), fresh_unet(volume)
    fuse(half, fusion(style, 0.5))
    fuse(whole, fusion(trained, 1.0))
    assert torch.allclose(answer(half), answer(whole), atol=1e-5)


def test_scale_0_is_none(volume: Path) -> None:
    unet = fresh_unet(volume)
    fuse(unet, fusion(volumes.write_style(volume), 0.0))
    assert torch.equal(answer(unet), answer(fresh_unet(volume)))


def _without_one(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    def drop(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        first = next(key for key in sorted(tensors) if name in key)
        return {key: tensor for key, tensor in tensors.items() if key != first}

    return drop


@pytest.mark.parametrize(
    ("form", "damage", "said"),
    [
        ("diffusers", lambda t: {"foo.bar": torch.zeros(2)}, "no factors for the UNet"),
        ("diffusers", lambda t: {f"unet.nothing.to_q.{n}.weight": v for n, v in NEW.items()}, "does not fit the UNet"),
        ("diffusers", lambda t: t | {f"unet.nothing.to_q.{n}.weight": v for n, v in NEW.items()}, "1 of its"),
        ("diffusers", lambda t: t | {min(t): torch.zeros(4, 7)}, "does not fit the UNet"),
        ("diffusers", lambda t: t | {min(t): torch.full_like(t[min(t)], float("nan"))}, "not finite"),
        ("diffusers", _without_one("lora_A"), "not both factors"),
        ("diffusers", _without_one("lora_B"), "not both factors"),
        ("diffusers", lambda t: t | {"unet.x.lora_magnitude_vector.dora_scale": torch.zeros(1)}, "no plain LoRA"),
        ("kohya", _without_one("lora_up"), "not both factors"),
        ("kohya", _without_one("lora_down"), "not both factors"),
        (
            "kohya",
            lambda t: (
                t | {"lora_unet_nothing_to_q.lora_down.weight": NEW["lora_A"], "lora_unet_nothing_to_q.lora_up.weight": NEW["lora_B"]}
            ),
            "1 of its",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_named(volume: Path, form: Any, damage: Callable[[Any], Any], said: str) -> None:
    style = volumes.write_style(volume, "mine", form)
    damaged = {name: tensor.contiguous() for name, tensor in damage(load_file(style)).items()}
    style.unlink()
    save_file(damaged, style)
    with pytest.raises(BrokenModel, match=said) as caught:
        fuse(fresh_unet(volume), fusion(style, 1.0))
    assert caught.value.name == "mine.safetensors"
    assert "\n" not in str(caught.value)


def test_a_damaged_style_stops_the_drawing_and_spoils_nothing(volume: Path) -> None:
    cache = cache_of(volume)
    style = volumes.write_style(volume)
    plain = make_redraw(cache, DrawSettings(), None, None, kept_prompts(volume))
    before = plain(*small(), heard)[0]
    whole = style.read_bytes()
    styled = make_redraw(cache, DrawSettings(), style, None, kept_prompts(volume))
    volumes.replace(style, whole[:-100])
    with pytest.raises(BrokenModel, match="not a whole safetensors file"):
        styled(*small(), heard)
    assert plain(*small(), heard)[0].tobytes() == before.tobytes()
    tensors = load_file(volumes.write_style(volume))
    style.unlink()
    save_file(_without_one("lora_A")(tensors), style)
    with pytest.raises(BrokenModel, match="not both factors"):
        styled(*small(), heard)
    assert plain(*small(), heard)[0].tobytes() == before.tobytes()
    style.unlink()
    with pytest.raises(BrokenModel, match="cannot be read"):
        styled(*small(), heard)


def test_a_card_without_memory_is_no_damaged_style(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.loaders.lora_pipeline import StableDiffusionXLLoraLoaderMixin as Loader

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Loader, "load_lora_into_unet", full)
    with pytest.raises(torch.OutOfMemoryError):
        fuse(fresh_unet(volume), fusion(volumes.write_style(volume), 1.0))


def test_a_style_that_also_changes_the_text_is_used_in_part_and_said_so(volume: Path) -> None:
    style = volumes.write_style(volume)
    draw = make_redraw(cache_of(volume), DrawSettings(), style, None, kept_prompts(volume))
    alone, _ = draw(*small(), heard)
    layer = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    tensors = load_file(style) | {f"{layer}.{name}.weight": tensor for name, tensor in NEW.items()}
    style.unlink()
    save_file(tensors, style)
    assert changes_text(fusion(style, 0.8))
    drawn, warnings = draw(*small(), heard)
    assert warnings == (STYLE_IN_PART,)
    assert far(drawn, alone) == 0


@pytest.mark.parametrize("form", ["peft", "peft-bare", "peft-unet", "peft-default"])
def test_peft_s_own_naming_draws_the_same(volume: Path, form: Any) -> None:
    ours = []
    for path in (volumes.write_style(volume), volumes.write_style(volume, "other", form)):
        unet = fresh_unet(volume)
        fuse(unet, fusion(path, 0.8))
        ours.append(answer(unet))
    assert torch.equal(*ours)


@pytest.mark.parametrize(
    ("adapter", "scale"),
    [
        ({"r": 4, "lora_alpha": 2}, 0.5),
        ({"r": 4, "lora_alpha": 2, "use_rslora": True}, 1.0),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"to_(q|k|v)": 2, "to_out.0": 2}}, 0.5),
    ],
)
def test_alpha_beside_the_style_counts(volume: Path, adapter: dict[str, Any], scale: float) -> None:
    """And a change of it is another fusion, although the factors' file is the same."""
    style = volumes.write_style(volume, form="peft")
    plain, before = fresh_unet(volume), fusion(style, 1.0)
    fuse(plain, fusion(style, scale))
    style.with_suffix(".style.json").write_text(json.dumps({"trigger": None, "adapter": adapter}))
    after = fusion(style, 1.0)
    assert after.key != before.key
    scaled = fresh_unet(volume)
    fuse(scaled, after)
    assert torch.allclose(answer(plain), answer(scaled), atol=1e-5)


def test_the_trigger_is_said_in_every_prompt(volume: Path) -> None:
    """With the style the job's own prompt begins with its trigger, as if the caller had said it; without a style nothing is added."""
    asked: list[tuple[str, str]] = []

    class StopHereError(Exception): ...

    def encode(_text: Any, prompt: str, negative_prompt: str, _device: Any) -> Any:
        asked.append((prompt, negative_prompt))
        raise StopHereError

    rgb, brief = small(prompt="a red tractor", negative_prompt="wheels")
    style = volumes.write_style(volume, trigger="<flt_vctr_style>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.phase2_illustrate.diffusion.draw.kept_prompts.encode", encode)
        for one in (style, None):
            with pytest.raises(StopHereError):
                make_redraw(cache_of(volume), DrawSettings(), one, None, kept_prompts(volume))(rgb, brief, heard)
    assert asked == [("<flt_vctr_style>, a red tractor", "wheels"), ("a red tractor", "wheels")]

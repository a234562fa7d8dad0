"""The schedule as numbers against the samplers themselves, the loop's parts, and what is done to the nets."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.phase2_illustrate.diffusion import denoise
from pipeline.phase2_illustrate.diffusion.denoise import Control, active
from pipeline.phase2_illustrate.diffusion.draw import DrawSettings, make_redraw
from pipeline.phase2_illustrate.diffusion.nets import NetOptions, compiled_code, controlnet, fuse_projections, load_compiled
from pipeline.phase2_illustrate.diffusion.noise_schedule import Schedule, schedule
from tests.support.tiny_drawing import BRIEF, RGB, cache_of, kept_prompts

pytestmark = pytest.mark.neural

CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1, "timestep_spacing": "leading"}


def mixed(plan: Schedule, start: torch.Tensor, outputs: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
    """The latents after every step."""
    return plan.mix @ torch.cat([start, outputs, fresh])


@pytest.mark.parametrize(("steps", "strength"), [(1, 1.0), (2, 1.0), (30, 1.0), (30, 0.5), (7, 0.3), (40, 0.9)])
def test_the_mix_is_unipc(steps: int, strength: float) -> None:
    from diffusers import UniPCMultistepScheduler

    total = math.ceil(steps / strength)
    sampler = UniPCMultistepScheduler.from_config(CONFIG)
    sampler.set_timesteps(total)
    sampler.set_begin_index(total - steps)
    plan = schedule(CONFIG, steps, strength, few_step=False)
    assert plan.timesteps.tolist() == sampler.timesteps[total - steps :].tolist()
    random = torch.Generator().manual_seed(0)
    start, outputs = torch.randn(1, 16, generator=random), torch.randn(steps, 16, generator=random)
    ours = mixed(plan, start, outputs, outputs[:0])
    latents = start
    for i, t in enumerate(plan.timesteps):
        latents = sampler.step(outputs[i : i + 1], t, latents, return_dict=False)[0]
        assert torch.allclose(ours[i], latents[0], rtol=1e-4, atol=1e-4 * float(latents.abs().max()))


@pytest.mark.parametrize(("steps", "strength"), [(1, 1.0), (4, 1.0), (8, 1.0), (8, 0.5), (8, 0.1)])
def test_the_mix_is_lcm(steps: int, strength: float) -> None:
    from diffusers import LCMScheduler

    total = math.ceil(steps / strength)
    sampler = LCMScheduler.from_config(CONFIG, clip_sample=False)
    sampler.set_timesteps(total, original_inference_steps=max(50, total))
    sampler.set_begin_index(total - steps)
    plan = schedule({**CONFIG, "clip_sample": False}, steps, strength, few_step=True)
    assert plan.fresh == steps - 1
    random = torch.Generator().manual_seed(0)
    start, outputs = torch.randn(1, 16, generator=random), torch.randn(steps, 16, generator=random)
    fresh = [torch.randn(1, 16, generator=torch.Generator().manual_seed(k)) for k in range(steps - 1)]
    ours = mixed(plan, start, outputs, torch.cat([*fresh, outputs[:0]]))
    latents = start
    for i, t in enumerate(plan.timesteps):
        same = torch.Generator().manual_seed(i)
        latents = sampler.step(outputs[i : i + 1], t, latents, generator=same, return_dict=False)[0]
        assert torch.allclose(ours[i], latents[0], rtol=1e-4, atol=1e-4 * float(latents.abs().max()))


def test_a_schedule_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    schedule({**CONFIG, "clip_sample": False}, 4, 1.0, few_step=True)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("steps", "strength", "more"), [(0, 1.0, {}), (4, 0.0, {}), (4, 1.1, {}), (30, 0.01, {}), (4, 1.0, {"thresholding": True})]
)
def test_what_makes_no_schedule_is_refused(steps: int, strength: float, more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="schedule"):
        schedule({**CONFIG, **more}, steps, strength, few_step=False)


@pytest.mark.parametrize(("until", "counts"), [(1.0, 30), (0.75, 22), (0.5, 15), (1 / 30, 1), (0.03, 0), (0.0, 0)])
def test_a_control_is_released_where_stock_diffusers_releases_it(until: float, counts: int) -> None:
    control = Control("controlnet-canny", torch.zeros(1), 0.4, until)
    kept = [1.0 - float((i + 1) / 30 > until) for i in range(30)]  # StableDiffusionXLControlNetPipeline, step 7.1
    assert [len(active([control], i, 30)) for i in range(30)] == kept
    assert sum(kept) == counts


def test_the_unet_in_16_bits_is_within_1_percent_in_every_step(tiny_volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, Any, torch.Tensor]] = []
    cache, half = cache_of(tiny_volume), cache_of(tiny_volume)

    def keep(_: Any, args: Any, named: Any, output: Any) -> None:
        calls.append((args, named, output[0]))

    cache.take("sdxl-unet")[0].register_forward_hook(keep, with_kwargs=True)
    make_redraw(cache, DrawSettings(), None, None, kept_prompts(tiny_volume))(RGB[:64, :64], _small(), lambda _: None)
    monkeypatch.setattr(half, "dtype", lambda _: getattr(torch, cache.volume.catalogue["sdxl-unet"].dtype))
    (rounded,) = half.take("sdxl-unet")
    assert len(calls) == 4
    for (latents, timestep, text), named, exact in calls:
        told = {"text_embeds": named["added_cond_kwargs"]["text_embeds"].half(), "time_ids": named["added_cond_kwargs"]["time_ids"]}
        more = {"down_block_additional_residuals": [part.half() for part in named["down_block_additional_residuals"]]}
        more["mid_block_additional_residual"] = named["mid_block_additional_residual"].half()
        with torch.inference_mode():
            answer = rounded(latents.half(), timestep, text.half(), added_cond_kwargs=told, return_dict=False, **more)[0].float()
        assert 0 < float((answer - exact).norm() / exact.norm()) < 0.01


def test_a_control_picture_is_of_0_to_1_in_three_channels() -> None:
    picture = np.array([[0, 51], [204, 255]], np.uint8)
    tensor = denoise.control_picture(picture, torch.float32, torch.device("cpu"))
    assert tensor.shape == (1, 3, 2, 2)
    assert torch.allclose(tensor[0, 2], torch.tensor([[0, 0.2], [0.8, 1]]))


def test_the_hint_is_embedded_once_a_drawing(tiny_volume: Path) -> None:
    cache = cache_of(tiny_volume)
    calls: list[int] = []
    cache.take("controlnet-depth")[0].controlnet_cond_embedding.register_forward_pre_hook(lambda *_: calls.append(1))
    redraw = make_redraw(cache, DrawSettings(), None, None, kept_prompts(tiny_volume))
    redraw(RGB, BRIEF, lambda _: None)
    assert len(calls) == 1


def test_joined_projections_compute_the_same_and_hold_no_more(tiny_volume: Path) -> None:
    cache = cache_of(tiny_volume)
    (net,) = cache.take("controlnet-depth")
    random = torch.Generator().manual_seed(0)
    told = {"text_embeds": torch.randn(1, 64, generator=random), "time_ids": torch.ones(1, 6)}
    inputs = (torch.randn(1, 4, 8, 8, generator=random), torch.tensor(500), torch.randn(1, 77, 96, generator=random))
    picture = torch.rand(1, 3, 64, 64, generator=random)

    def answers() -> torch.Tensor:
        with torch.inference_mode():
            down, middle = net(*inputs, picture, added_cond_kwargs=told, return_dict=False)
        return torch.cat([part.flatten() for part in (*down, middle)])

    before, size = answers(), sum(p.numel() for p in net.parameters())
    with torch.no_grad():
        fuse_projections(net)
    assert sum(p.numel() for p in net.parameters()) == size
    assert not [name for name, _ in net.named_modules() if name.endswith(("to_k", "to_v"))]
    assert torch.allclose(answers(), before, atol=1e-5)


def test_channels_last_reaches_the_weights(tiny_volume: Path) -> None:
    cache = cache_of(tiny_volume)
    (net,) = cache.take(controlnet("controlnet-canny", NetOptions(True, True, False)))
    assert net.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


def test_compiled_code_of_another_torch_or_card_is_not_used(tiny_volume: Path, tmp_path: Path) -> None:
    device = torch.device("cpu")
    assert not load_compiled(tmp_path, device)
    (tmp_path / "torch-1.0-another_card.bin").write_bytes(b"")
    assert not load_compiled(tmp_path, device)
    compiled_code(tmp_path, device).write_bytes(b"not what was written")
    assert compiled_code(tmp_path, device).name == f"torch-{torch.__version__}-cpu.bin"
    assert not load_compiled(tmp_path, device)
    cache = cache_of(tiny_volume)
    asked = DrawSettings(compile=True, compile_cache=tmp_path)
    make_redraw(cache, asked, None, None, kept_prompts(tiny_volume))(RGB[:64, :64], _small(), lambda _: None)
    (net,) = cache.take(controlnet("controlnet-depth", NetOptions(True, True, False)))
    assert cache.loads["controlnet-depth"] == 1, "it was held as it is without compiled code"
    assert not any(module._compiled_call_impl for module in net.modules())


def _small() -> Any:
    from tests.phase2_illustrate.diffusion.test_draw import small

    return small()[1]


@pytest.mark.parametrize("tiled", [False, True])
def test_the_decoder_tiles_where_it_is_told_to(tiny_volume: Path, tiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoise, "TILE", 128)
    (vae,) = cache_of(tiny_volume).take("sdxl-vae")
    calls: list[tuple[int, ...]] = []
    vae.decoder.register_forward_pre_hook(lambda _, args: calls.append(tuple(args[0].shape[2:])))
    with torch.inference_mode():
        picture = denoise.decode(vae, torch.zeros(1, 4, 24, 24), tiled)
    assert picture.shape == (192, 192, 3)
    assert (max(calls) == (16, 16)) is tiled


def test_a_picture_survives_the_way_into_the_latents_and_back_in_range(tiny_volume: Path) -> None:
    (vae,) = cache_of(tiny_volume).take("sdxl-vae")
    with torch.inference_mode():
        latents = denoise.encode(vae, RGB, torch.device("cpu"), False)
        again = denoise.encode(vae, RGB, torch.device("cpu"), False)
        stock = vae.encode(torch.from_numpy(RGB).permute(2, 0, 1)[None] / 127.5 - 1).latent_dist.mean * vae.config.scaling_factor
        drawn = denoise.decode(vae, latents, False)
    assert latents.shape == (1, 4, 16, 16)
    assert torch.equal(latents, again)
    assert torch.allclose(latents, stock, atol=1e-5)
    assert drawn.dtype == np.uint8
    assert drawn.std() > 0

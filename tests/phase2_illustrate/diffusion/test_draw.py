"""The drawing step as a whole: the same picture as stock diffusers, no net more than is needed, and nothing kept of a job that fails."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_cache.errors import MissingModels
from pipeline.phase2_illustrate.diffusion import draw
from pipeline.phase2_illustrate.diffusion.draw import DrawSettings, make_redraw
from pipeline.steps import Brief, Redraw
from pipeline.values import Rgb
from tests.support import tiny_volume as volumes
from tests.support.tiny_drawing import BRIEF, RGB, SIDE, brief, cache_of, counted, far, kept_prompts, lcm, stock

pytestmark = pytest.mark.neural

SMALL = 64
UNION = DrawSettings(nets="union")
NETS = ("sdxl-unet", "sdxl-vae", "controlnet-depth", "controlnet-canny")


def heard(_: float) -> None:
    """A caller that never cancels."""


def redraw_of(cache: Any, settings: DrawSettings | None = None, style: Path | None = None, few: Path | None = None) -> Redraw:
    return make_redraw(cache, settings or DrawSettings(), style, few, kept_prompts(cache.volume.path))


def small(**changes: Any) -> tuple[Rgb, Brief]:
    """A brief over a quarter of the pictures, for what does not look at the drawing closely."""
    part = {"depth": BRIEF.depth[:SMALL, :SMALL], "edges": BRIEF.edges[:SMALL, :SMALL]}  # type: ignore[index]
    return RGB[:SMALL, :SMALL], brief(**(part | changes))


@pytest.fixture(params=[True, False], ids=["fused", "as loaded"])
def settings(request: pytest.FixtureRequest) -> DrawSettings:
    return DrawSettings(fuse_qkv=request.param, channels_last=request.param)


def test_the_drawing_is_stock_diffusers(tiny_volume: Path, settings: DrawSettings) -> None:
    wanted = stock(tiny_volume, BRIEF, "separate")
    drawn, warnings = redraw_of(cache_of(tiny_volume), settings)(RGB, BRIEF, heard)
    assert drawn.shape == (SIDE, SIDE, 3)
    assert drawn.dtype == np.uint8
    assert wanted.std() > 20
    assert far(drawn, wanted) <= 1
    assert (drawn != wanted).mean() < 0.01
    assert warnings == (draw.STYLE_MISSING,)


def test_the_latents_are_stock_diffusers(tiny_volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = latents_of(monkeypatch, cache_of(tiny_volume), BRIEF)
    wanted = torch.from_numpy(stock(tiny_volume, BRIEF, "separate", output="latent"))
    assert float((ours - wanted).abs().max() / wanted.abs().max()) < 1e-4


def latents_of(monkeypatch: pytest.MonkeyPatch, cache: Any, wanted: Brief, settings: DrawSettings | None = None) -> torch.Tensor:
    """What the drawing step gives to the VAE's decoder."""
    seen: list[torch.Tensor] = []
    real = draw.decode
    monkeypatch.setattr(draw, "decode", lambda vae, latents, tiled: (seen.append(latents), real(vae, latents, tiled))[1])
    redraw_of(cache, settings)(RGB, wanted, heard)
    return seen[0]


def test_without_guidance_the_drawing_is_stock_diffusers(tiny_volume: Path) -> None:
    cache = cache_of(tiny_volume)
    batches = counted(cache.take("sdxl-unet")[0])
    drawn, _ = redraw_of(cache)(RGB, brief(guidance=1.0), heard)
    assert batches == [1] * 4
    assert far(drawn, stock(tiny_volume, brief(guidance=1.0), "separate")) <= 1


@pytest.mark.parametrize("end", [1.0, 0.75, 0.25], ids=["held to the end", "released after three steps", "released after one"])
def test_the_union_net_draws_as_stock_diffusers(tiny_volume: Path, end: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before canny's release and after it: stock's net of several union nets, to each its picture."""
    wanted = torch.from_numpy(stock(tiny_volume, brief(canny_end=end), "union", output="latent"))
    ours = latents_of(monkeypatch, cache_of(tiny_volume), brief(canny_end=end), UNION)
    assert float((ours - wanted).abs().max() / wanted.abs().max()) < 1e-4


def test_the_union_net_alone_with_one_picture_draws_as_stock_diffusers(tiny_volume: Path) -> None:
    redraw = redraw_of(cache_of(tiny_volume), UNION)
    alone, _ = redraw(RGB, brief(edges=None), heard)
    assert far(alone, stock(tiny_volume, brief(edges=None), "union")) <= 1
    assert far(alone, redraw(RGB, brief(canny_end=1.0), heard)[0]) > 5


def test_the_union_net_s_weights_scale_what_it_answers(tiny_volume: Path) -> None:
    """Two pictures of half the weight are one of the whole: the first picture's share does not change when the second is released."""
    cache = cache_of(tiny_volume)
    seen: list[list[torch.Tensor]] = []
    (unet,) = cache.take("sdxl-unet")
    unet.register_forward_pre_hook(lambda _, __, told: seen.append(told["down_block_additional_residuals"]), with_kwargs=True)
    for changes in ({"edges": None}, {"depth": None}, {}, {"depth_weight": 1.2, "canny_weight": 0.8}):
        redraw_of(cache, UNION)(*small(steps=1, canny_end=1.0, **changes), heard)
    depth, canny, both, twice = ([part.flatten() for part in parts] for parts in seen)
    assert torch.allclose(torch.cat(both), torch.cat(depth) + torch.cat(canny), atol=1e-5)
    assert torch.allclose(torch.cat(twice), 2 * torch.cat(both), atol=1e-5)


def test_the_union_net_is_not_asked_for_canny_when_it_is_released(tiny_volume: Path) -> None:
    cache = cache_of(tiny_volume)
    kinds: list[Any] = []
    cache.take("controlnet-union")[0].register_forward_pre_hook(lambda _, args: kinds.append((args[4].tolist(), args[5], args[6])))
    redraw_of(cache, UNION)(*small(guidance=1.0), heard)
    depth, canny = ([[0, 1, 0, 0, 0, 0]], [1], [0.6]), ([[0, 0, 0, 1, 0, 0]], [3], [0.4])
    assert kinds == [depth, canny, depth, canny, depth, canny, depth]


def test_a_released_net_is_not_evaluated(tiny_volume: Path) -> None:
    cache = cache_of(tiny_volume)
    batches = {name: counted(cache.take(name)[0]) for name in NETS if name != "sdxl-vae"}
    redraw_of(cache)(*small(steps=30), heard)
    assert {name: len(sizes) for name, sizes in batches.items()} == {"sdxl-unet": 30, "controlnet-depth": 30, "controlnet-canny": 22}
    assert {size for sizes in batches.values() for size in sizes} == {2}


@pytest.mark.parametrize(
    ("changes", "unused"),
    [
        ({"depth": None}, {"controlnet-depth"}),
        ({"depth_weight": 0.0}, {"controlnet-depth"}),
        ({"edges": None}, {"controlnet-canny"}),
        ({"canny_weight": 0.0}, {"controlnet-canny"}),
        ({"canny_end": 0.0}, {"controlnet-canny"}),
        ({"depth": None, "edges": None}, {"controlnet-depth", "controlnet-canny"}),
    ],
)
def test_a_net_that_is_not_wanted_is_not_loaded(tiny_volume: Path, changes: dict[str, Any], unused: set[str]) -> None:
    cache = cache_of(tiny_volume)
    redraw_of(cache)(*small(**changes), heard)
    assert {name for name in NETS if not cache.loads[name]} == unused


def test_every_input_counts(tiny_volume: Path) -> None:
    redraw = redraw_of(cache_of(tiny_volume))
    first = redraw(*small(), heard)[0]
    others: list[dict[str, Any]] = [{"seed": 43}, {"guidance": 2.0}, {"depth_weight": 0.9}, {"canny_weight": 0.7}, {"canny_end": 0.25}]
    for other in others:
        assert far(redraw(*small(**other), heard)[0], first) > 0, other
    rgb, same = small()
    assert far(redraw(255 - rgb, same, heard)[0], first) == 0, "the photograph counts only below strength 1"


def test_the_same_seed_gives_the_same_bytes(tiny_volume: Path) -> None:
    torch.manual_seed(1)
    first = redraw_of(cache_of(tiny_volume))(*small(), heard)[0]
    torch.manual_seed(2)
    cache = cache_of(tiny_volume)
    redraw = redraw_of(cache)
    redraw(*small(seed=7), heard)
    assert redraw(*small(), heard)[0].tobytes() == first.tobytes()
    assert all(cache.loads[name] == 1 for name in NETS)


def test_below_full_strength_the_photograph_is_the_start(tiny_volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import UniPCMultistepScheduler

    cache = cache_of(tiny_volume)
    starts: list[torch.Tensor] = []
    real = draw.denoise
    monkeypatch.setattr(draw, "denoise", lambda start, *rest: (starts.append(start), real(start, *rest))[1])
    rgb, half = small(strength=0.3)
    told: list[float] = []
    drawn, _ = redraw_of(cache)(rgb, half, told.append)
    assert told == [0.25, 0.5, 0.75, 1.0], "four steps of a schedule of fourteen"
    config, vae = cache.take("sdxl-scheduler", "sdxl-vae")
    scheduler = UniPCMultistepScheduler.from_config(config)
    scheduler.set_timesteps(14)
    with torch.inference_mode():
        latents = draw.encode(vae, rgb, cache.device, False)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(half.seed))
    assert torch.allclose(starts[0], scheduler.add_noise(latents, noise, scheduler.timesteps[10:11]), atol=1e-5)
    assert far(redraw_of(cache)(255 - rgb, half, heard)[0], drawn) > 0


def test_every_step_is_told(tiny_volume: Path) -> None:
    told: list[float] = []
    redraw_of(cache_of(tiny_volume))(*small(steps=5), told.append)
    assert told == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_a_cancelled_drawing_leaves_nothing_behind(tiny_volume: Path) -> None:
    cache = cache_of(tiny_volume)
    redraw = redraw_of(cache)
    first = redraw(*small(), heard)[0]

    def cancel(share: float) -> None:
        if share >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redraw(*small(seed=3), cancel)
    assert redraw(*small(), heard)[0].tobytes() == first.tobytes()
    assert all(cache.loads[name] == 1 for name in NETS)


def test_lean_mode_draws_the_same_with_one_net_at_a_time(tiny_volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = latents_of(monkeypatch, cache_of(tiny_volume), BRIEF)
    cache = cache_of(tiny_volume)
    cache.lean = True
    together: list[int] = []
    for name in ("sdxl-unet", "controlnet-depth", "controlnet-canny"):
        net = cache.take(name)[0]
        net.register_forward_pre_hook(lambda _, args: together.append(len(cache.resident())))
        batches = counted(net)
    apart = latents_of(monkeypatch, cache, BRIEF)
    assert set(together) == {1}
    assert set(batches) == {1}
    assert float((apart - whole).abs().max() / whole.abs().max()) < 1e-4
    assert all(cache.loads[name] == 1 for name in NETS)


@pytest.mark.parametrize("nets", ["separate", "union"])
def test_as_on_a_card_the_nets_compute_in_16_bits_and_the_schedule_in_32(
    tiny_volume: Path, tmp_path: Path, nets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = volumes.copy_volume(tiny_volume, tmp_path / "v")
    seen: list[torch.Tensor] = []
    real = draw.decode
    monkeypatch.setattr(draw, "decode", lambda vae, latents, tiled: (seen.append(latents), real(vae, latents, tiled))[1])
    for dtype in (torch.float32, torch.float16):
        cache = cache_of(volume)
        monkeypatch.setattr(cache, "dtype", lambda name, dtype=dtype: dtype)
        redraw = make_redraw(cache, DrawSettings(nets=nets), volumes.write_style(volume), None, None)
        drawn, _ = redraw(*small(strength=0.5), heard)
        assert drawn.std() > 0
    exact, rounded = seen
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).norm() / exact.norm()) < 0.02


# --- prompts ---


def test_the_default_prompt_needs_no_text_encoder(tiny_volume: Path) -> None:
    cache = cache_of(tiny_volume)
    redraw_of(cache)(*small(), heard)
    assert not cache.loads["sdxl-text"]


@pytest.mark.parametrize("changes", [{"prompt": "a red tractor"}, {"negative_prompt": "wheels"}])
def test_another_prompt_is_encoded_once(tiny_volume: Path, changes: dict[str, str]) -> None:
    cache = cache_of(tiny_volume)
    redraw = redraw_of(cache)
    encodings = counted_calls(cache.take("sdxl-text")[0].text_encoder_2)
    usual = redraw(*small(), heard)[0]
    first = redraw(*small(**changes), heard)[0]
    assert redraw(*small(**changes), heard)[0].tobytes() == first.tobytes()
    assert far(first, usual) > 0
    assert len(encodings) == 2, "the prompt and its negative, once"


def counted_calls(model: Any) -> list[None]:
    calls: list[None] = []
    model.register_forward_pre_hook(lambda *_: calls.append(None))
    return calls


def test_encoded_anew_the_default_prompt_draws_the_same(tiny_volume: Path) -> None:
    kept = redraw_of(cache_of(tiny_volume))(*small(), heard)[0]
    anew = make_redraw(cache_of(tiny_volume), DrawSettings(), None, None, None)(*small(), heard)[0]
    assert far(kept, anew) <= 1


def test_a_prompt_that_cannot_be_encoded_names_the_missing_model(tiny_volume: Path, tmp_path: Path) -> None:
    volume = volumes.copy_volume(tiny_volume, tmp_path / "v")
    (volume / "models" / "sdxl-text" / "text_encoder" / "model.safetensors").unlink()
    redraw = redraw_of(cache_of(volume))
    redraw(*small(), heard)
    with pytest.raises(MissingModels, match="sdxl-text"):
        redraw(*small(prompt="a red tractor"), heard)


# --- few steps ---


def test_few_steps_are_stock_diffusers_with_lcm(tiny_volume: Path, tmp_path: Path) -> None:
    volume = volumes.copy_volume(tiny_volume, tmp_path / "v")
    strong = volumes.write_style(volume, "few", "kohya", extent=0.5)
    drawn, warnings = redraw_of(cache_of(volume), few=strong)(RGB, brief(few_step=True, guidance=1.5), heard)
    wanted = stock(volume, brief(guidance=1.5), "separate", sampler="LCMScheduler", lora=strong)
    assert far(drawn, wanted) <= 1
    assert far(drawn, redraw_of(cache_of(volume), few=lcm(volume))(RGB, brief(few_step=True, guidance=1.5), heard)[0]) > 5
    assert wanted.std() > 20
    assert warnings == (draw.STYLE_MISSING,)


def test_few_steps_without_their_lora_are_refused(tiny_volume: Path) -> None:
    with pytest.raises(MissingModels, match="lcm-lora"):
        redraw_of(cache_of(tiny_volume))(*small(few_step=True), heard)


# --- style ---


def test_a_style_is_fused_once_for_each_strength(tiny_volume: Path, tmp_path: Path) -> None:
    volume = volumes.copy_volume(tiny_volume, tmp_path / "v")
    plain = redraw_of(cache_of(volume))(*small(lora_scale=0.0), heard)[0]
    cache = cache_of(volume)
    redraw = redraw_of(cache, style=volumes.write_style(volume))
    styled, warnings = redraw(*small(), heard)
    assert warnings == ()
    assert far(styled, plain) > 5
    assert redraw(*small(), heard)[0].tobytes() == styled.tobytes()
    assert cache.loads["sdxl-unet"] == 1
    assert far(redraw(*small(lora_scale=0.4), heard)[0], styled) > 5
    assert redraw(*small(lora_scale=0.0), heard)[0].tobytes() == plain.tobytes()
    assert redraw(*small(), heard)[0].tobytes() == styled.tobytes(), "fused from the factors anew, not from a fused net"
    assert cache.loads["sdxl-unet"] == 4


def test_an_exchanged_style_is_seen(tiny_volume: Path, tmp_path: Path) -> None:
    volume = volumes.copy_volume(tiny_volume, tmp_path / "v")
    style = volumes.write_style(volume)
    redraw = redraw_of(cache_of(volume), style=style)
    first = redraw(*small(), heard)[0]
    stat = style.stat()
    volumes.write_style(volume, seed=2)
    os.utime(style, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert far(redraw(*small(), heard)[0], first) > 0


# --- what is refused ---


@pytest.mark.parametrize(
    ("rgb", "changes"),
    [
        (RGB[:100, :100], {}),
        (RGB[:, :64], {}),
        (RGB[..., :1], {}),
        (RGB, {"depth": BRIEF.edges[:64, :64]}),  # type: ignore[index]
        (RGB, {"edges": BRIEF.edges[:64]}),  # type: ignore[index]
        (RGB, {"depth": BRIEF.depth / 255}),  # type: ignore[operator]
        (RGB, {"strength": 0.0}),
        (RGB, {"strength": 0.001}),
        (RGB, {"steps": 0}),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_a_net_is_loaded(tiny_volume: Path, rgb: Rgb, changes: dict[str, Any]) -> None:
    cache = cache_of(tiny_volume)
    with pytest.raises(ValueError, match=r"cannot be drawn|do not fit|schedule"):
        redraw_of(cache)(rgb, brief(**changes), heard)
    assert not any(cache.loads[name] for name in NETS)


def test_a_seed_of_32_bits_is_a_seed(tiny_volume: Path) -> None:
    redraw = redraw_of(cache_of(tiny_volume))
    assert far(redraw(*small(seed=2**32 - 1), heard)[0], redraw(*small(seed=0), heard)[0]) > 0


def _poisoned(parameter: torch.nn.Parameter) -> None:
    with torch.no_grad():
        parameter[0] = float("nan")


@pytest.mark.parametrize(
    ("name", "poison"),
    [
        ("sdxl-unet", lambda net: _poisoned(net.conv_out.weight)),
        ("controlnet-depth", lambda net: _poisoned(net.controlnet_mid_block.weight)),
        ("controlnet-canny", lambda net: _poisoned(net.controlnet_mid_block.weight)),
        ("sdxl-vae", lambda net: _poisoned(net.decoder.conv_out.weight)),
    ],
)
def test_numbers_that_are_not_finite_name_their_net(tiny_volume: Path, name: str, poison: Callable[[Any], None]) -> None:
    cache = cache_of(tiny_volume)
    poison(cache.take(name)[0])
    with pytest.raises(RuntimeError, match=f"{name} gave numbers that are not finite"):
        redraw_of(cache)(*small(), heard)


@pytest.mark.parametrize("name", NETS)
def test_a_wrong_shape_names_its_net(tiny_volume: Path, name: str) -> None:
    def cropped(_: Any, __: Any, output: Any) -> Any:
        return ([output[0][0][..., 1:]], output[1]) if name.startswith("control") else (output[0][..., 1:],)

    cache = cache_of(tiny_volume)
    net = cache.take(name)[0]
    if name == "sdxl-vae":
        net.decoder.register_forward_hook(lambda _, __, output: output[..., 1:])
    else:
        net.register_forward_hook(cropped)
    with pytest.raises(RuntimeError, match=name):
        redraw_of(cache)(*small(), heard)

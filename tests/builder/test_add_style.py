"""A style is installed when it fits the volume's UNet, under any tool's naming, and not otherwise; what is known of it lies beside it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from builder.__main__ import main
from builder.add_style import add_style
from builder.errors import BuilderError, WrongOption
from builder.verify import STALE, verify
from model_cache.prompts import read
from model_cache.styles import Beside, beside
from tests.builder.volumes import recorded
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural

TRIGGER = "<flt_vctr_style>"


@pytest.fixture
def volume(tiny_volume: Path, tmp_path: Path) -> Path:
    return volumes.copy_volume(tiny_volume, tmp_path / "v")


@pytest.fixture
def lora(volume: Path, tmp_path: Path) -> Path:
    """A style that fits, outside of the volume."""
    return volumes.write_style(volume).replace(tmp_path / "flat.safetensors")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def add(volume: Path, told: list[str]) -> Callable[..., Path]:
    def install(file: Path, name: str | None = None, trigger: str | None = None) -> Path:
        return add_style(volume, file, name, trigger, told.append)

    return install


@pytest.mark.parametrize("form", ["diffusers", "kohya", "kohya-sgm", "peft", "peft-bare", "peft-unet", "peft-default"])
def test_every_tool_s_naming(volume: Path, tmp_path: Path, form, add) -> None:
    file = volumes.write_style(volume, form=form).replace(tmp_path / "my style.safetensors")
    installed = add(file)
    assert installed == volume / "styles" / "my style.safetensors"
    assert installed.read_bytes() == file.read_bytes()
    assert {p.name for p in installed.parent.iterdir()} == {"my style.safetensors", "my style.style.json"}


def test_an_older_naming_of_diffusers(lora: Path, add) -> None:
    tensors = {k.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): v for k, v in load_file(lora).items()}
    lora.unlink()
    save_file(tensors, lora)
    add(lora, "old")


def test_its_name(lora: Path, add) -> None:
    assert add(lora, "sketch").name == "sketch.safetensors"
    assert add(lora, "sketch.safetensors").name == "sketch.safetensors"
    for name in ("../out", ".hidden", "a/b"):
        with pytest.raises(BuilderError, match="no name for a style"):
            add(lora, name)


def described(lora: Path, **metadata: str) -> Path:
    """The file with these metadata."""
    tensors = {name: tensor.clone() for name, tensor in load_file(lora).items()}
    lora.unlink()
    save_file(tensors, lora, metadata={"format": "pt", **metadata})
    return lora


# --- its trigger ---


def test_a_trigger_that_is_given_is_kept_beside_the_style(lora: Path, add, told: list[str]) -> None:
    described(lora, **{"modelspec.trigger_phrase": "another"})
    installed = add(lora, trigger=f"  {TRIGGER},\n")
    assert beside(installed) == Beside(TRIGGER)
    assert f"trigger: {TRIGGER}; every prompt begins with it" in told
    assert beside(add(lora)) == Beside("another")  # replaced with the file, and so is what was said of it
    assert beside(add(lora, trigger="")) == Beside("")
    assert not [it for it in told if "unknown" in it]
    with pytest.raises(WrongOption, match="at most 200 characters"):
        add(lora, trigger="x" * 201)


@pytest.mark.parametrize(
    "metadata",
    [
        {"modelspec.trigger_phrase": TRIGGER},
        {"instance_prompt": TRIGGER},
        {"ss_tag_frequency": json.dumps({f"10_{TRIGGER}": {TRIGGER: 54}}), "ss_output_name": "vector_style_v1"},
        {
            "ss_tag_frequency": json.dumps({"4_a": {TRIGGER: 40, "car": 31}, "2_b": {"truck": 12, TRIGGER: 14, "white background": 14}}),
            "ss_dataset_dirs": json.dumps({"4_a": {"n_repeats": 4, "img_count": 40}, "2_b": {"n_repeats": 2, "img_count": 14}}),
        },
    ],
    ids=["modelspec", "diffusers", "kohya's folder", "kohya's captions"],
)
def test_a_trigger_is_read_from_the_file_s_own_metadata(lora: Path, add, metadata: dict[str, str]) -> None:
    assert beside(add(described(lora, **metadata))).trigger == TRIGGER


@pytest.mark.parametrize(
    "metadata",
    [
        {"ss_output_name": "vector_style_v1"},
        {"ss_tag_frequency": "{"},
        {"ss_tag_frequency": "[]"},
        {"ss_tag_frequency": json.dumps({"4_a": {"car": 39, "truck": 1}}), "ss_dataset_dirs": json.dumps({"4_a": {"img_count": 40}})},
        {"ss_tag_frequency": json.dumps({"4_a": {"car": 4}, "4_b": {"truck": 4}})},
    ],
)
def test_metadata_that_name_no_trigger_are_no_guess(lora: Path, add, told: list[str], metadata: dict[str, str]) -> None:
    assert beside(add(described(lora, **metadata))).trigger is None
    assert any(it.startswith("trigger: unknown") and "--trigger WORDS" in it for it in told)


def test_a_trigger_is_read_from_the_card_of_diffusers_training_scripts(lora: Path, add) -> None:
    (lora.parent / "README.md").write_text(f"---\nbase_model: sdxl\ninstance_prompt: {TRIGGER}\ntags: [lora]\n---\n\n# Flat\n")
    assert beside(add(lora)).trigger == TRIGGER
    (lora.parent / "README.md").write_text("# Flat\n\n---\nnothing: [\n---\n")
    assert beside(add(lora)).trigger is None


def test_a_style_that_was_copied_by_hand_is_asked_itself(lora: Path, volume: Path) -> None:
    copied = described(lora, **{"modelspec.trigger_phrase": TRIGGER}).replace(volume / "styles" / "flat.safetensors")
    assert beside(copied) == Beside(TRIGGER)


def test_the_stored_prompt_is_made_anew_with_the_trigger(volume: Path, lora: Path, tmp_path: Path, capsys) -> None:
    """The command: it leaves a volume that serves, and text encoders that were there stay."""
    recorded(volume)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"phase2": {"sdxl": {"prompt": volumes.PROMPT, "negative_prompt": volumes.NEGATIVE}}}))
    common, stored = ["--volume", str(volume), "--config", str(config)], volume / "prompts" / "default.safetensors"
    for trigger in (TRIGGER, "flat cars"):
        assert main(["add-style", str(lora), "--trigger", trigger, *common]) == 0
        assert read(stored, f"{trigger}, {volumes.PROMPT}", volumes.NEGATIVE) is not None
    assert (volume / "models" / "sdxl-text").is_dir()
    stamp = stored.stat().st_mtime_ns
    assert main(["add-style", str(lora), "--trigger", "flat cars", *common]) == 0
    assert stored.stat().st_mtime_ns == stamp
    capsys.readouterr()
    assert main(["status", "--json", *common]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["triggers"], status["prompts"]) == ({"flat.safetensors": "flat cars"}, True)
    assert main(["status", *common]) == 0
    assert "style: flat.safetensors (flat cars)" in capsys.readouterr().out


def test_verify_names_stored_prompts_that_are_not_those_in_force(volume: Path, lora: Path, add) -> None:
    recorded(volume)
    in_force = (f"{TRIGGER}, {volumes.PROMPT}", volumes.NEGATIVE)
    add(lora, trigger=TRIGGER)
    assert [str(it) for it in verify(volume, None, False, lambda *_: None, in_force)] == [f"prompts/default.safetensors: {STALE}"]
    assert verify(volume, None, False, lambda *_: None, (volumes.PROMPT, volumes.NEGATIVE)) == []
    (volume / "styles" / "flat.style.json").write_text('{"trigger": 5}')
    (found,) = verify(volume, None, False, lambda *_: None)
    assert (found.file, found.what.partition(";")[0]) == ("flat.style.json", "it does not say a style's trigger")


# --- its alpha ---


@pytest.mark.parametrize("form", ["peft", "peft-bare"])
def test_alpha_stands_in_the_configuration_beside_a_file_of_peft(volume: Path, tmp_path: Path, add, told: list[str], form) -> None:
    lora = volumes.write_style(volume, form=form).replace(tmp_path / "adapter_model.safetensors")
    add(lora)
    assert any(it.startswith("rank 4; no alpha was found, so it counts as the rank") for it in told)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 2, "target_modules": ["to_q"], "bias": "none"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    told.clear()
    assert beside(add(lora)).adapter == {"r": 4, "lora_alpha": 2}
    assert "rank 4, alpha 2" in told
    wrong = {"is of DoRA": {"use_dora": True}, "is of LOHA": {"peft_type": "LOHA"}, "no lora_alpha": {"lora_alpha": None}}
    for said, change in wrong.items():
        (tmp_path / "adapter_config.json").write_text(json.dumps(config | change))
        with pytest.raises(BuilderError, match=said):
            add(lora)


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


def language_model(t):
    t.clear()
    for half in ("A", "B"):
        t[f"base_model.model.model.layers.0.self_attn.q_proj.lora_{half}.weight"] = torch.ones(4, 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (halve, "has not both factors"),
        (reshape, "its factors are"),
        (rank, "its factors are"),
        (foreign, "1 of its .* layers are none of the UNet's, the first is no.such"),
        (infinite, "is not finite"),
        (dora, "no plain LoRA"),
        (text_only, "no factors for the UNet"),
        (language_model, "1 of its 1 layers are none of the UNet's, the first is model.layers.0"),
    ],
)
def test_what_does_not_fit(volume: Path, lora: Path, add, change, said: str) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(lora).items()}
    change(tensors)
    lora.unlink()
    save_file({k: v.clone() for k, v in tensors.items()}, lora)
    with pytest.raises(BuilderError, match=f"flat.safetensors cannot be used as a style: .*{said}"):
        add(lora)
    assert not list((volume / "styles").iterdir())


def test_other_files(volume: Path, lora: Path, add, tmp_path: Path) -> None:
    pickled = lora.rename(tmp_path / "flat.pt")
    with pytest.raises(BuilderError, match=r"not a \.safetensors file"):
        add(pickled)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(pickled.read_bytes()[:-7])
    with pytest.raises(BuilderError, match="cut off"):
        add(cut)
    (volume / "models" / "sdxl-unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BuilderError, match="sdxl-unet is not on the volume"):
        add(pickled.rename(lora))

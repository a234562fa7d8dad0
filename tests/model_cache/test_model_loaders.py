"""Every model of the tiny volume loads; whatever is wrong with a file is refused by the model's name, in one sentence."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model_cache.catalogue import load_catalogue
from model_cache.errors import BrokenModel, MissingModels
from model_cache.loaders import Loaded, Text, load, modules
from model_cache.volume import Volume
from tests.support import tiny_volume as volumes

pytestmark = pytest.mark.neural

CATALOGUE = load_catalogue()
NETWORKS = [name for name, model in CATALOGUE.items() if model.kind not in {"json", "tensors"}]


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_loads_whole(tiny_volume: Path, tmp_path: Path, name: str) -> None:
    loaded = load(Volume(volumes.holding(tiny_volume, name, tmp_path), CATALOGUE), name, torch.float32)
    for network in modules(loaded):
        tensors = [*network.parameters(), *network.buffers()]
        assert tensors
        assert {t.device.type for t in tensors} == {"cpu"}
        assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.float32}
        assert all(t.isfinite().all() for t in tensors)
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_two_threads_may_load_at_once(tiny_volume: Path) -> None:
    """While transformers builds a network it ties no weights, of no network in the process."""
    volume = Volume(tiny_volume, load_catalogue())
    names = ["grounding-dino", "depth-anything", "sam"] * 6
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda name: load(volume, name, torch.float32), names))


def test_kinds(tiny_volume: Path) -> None:
    volume = Volume(tiny_volume, CATALOGUE)
    found = load(volume, "grounding-dino", torch.float32)
    assert isinstance(found, Loaded)
    assert found.processor.tokenizer("a . b ?", add_special_tokens=True).input_ids[0] == 101
    text = load(volume, "sdxl-text", torch.float32)
    assert isinstance(text, Text)
    assert (text.tokenizer.pad_token, text.tokenizer_2.pad_token) == ("<|endoftext|>", "!")
    assert load(volume, "sdxl-scheduler", torch.float32)["beta_schedule"] == "scaled_linear"
    assert load(volume, "lcm-lora", torch.float32).keys() == load_file(_weights(volume, "lcm-lora")).keys()
    assert load(volume, "realesrgan-anime", torch.float32).scale == 4


@pytest.mark.parametrize("name", ["sdxl-unet", "birefnet", "sam"])
def test_weights_are_those_of_the_file(tiny_volume: Path, name: str) -> None:
    volume = Volume(tiny_volume, CATALOGUE)
    (network,) = modules(load(volume, name, torch.float32))
    stored = load_file(volume.file(name, CATALOGUE[name].weights[0]))
    own = network.state_dict()
    shared = [key for key in own if key in stored]
    assert len(shared) > 50
    assert all(torch.equal(own[key], stored[key].float()) for key in shared if stored[key].is_floating_point())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_card_s_dtype(tiny_volume: Path, dtype: torch.dtype) -> None:
    for name in ("sdxl-vae", "sam", "lama"):
        (network,) = modules(load(Volume(tiny_volume, CATALOGUE), name, dtype))
        assert {parameter.dtype for parameter in network.parameters()} == {dtype}


# --- damage ---


@pytest.fixture
def damaged(tiny_volume: Path, tmp_path: Path) -> Volume:
    return Volume(volumes.copy_volume(tiny_volume, tmp_path / "v"), CATALOGUE)


def _refused(volume: Volume, name: str) -> str:
    with pytest.raises(BrokenModel) as raised:
        load(volume, name, torch.float32)
    sentence = str(raised.value)
    assert raised.value.name == name
    assert sentence.startswith(f"{name} cannot be used: ")
    assert str(volume.path) not in sentence
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


#: One of each kind of loader.
KINDS = ["grounding-dino", "sdxl-unet", "realesrgan-anime", "birefnet", "sdxl-text", "lcm-lora"]


def _weights(volume: Volume, name: str) -> Path:
    return volume.file(name, CATALOGUE[name].weights[-1])


@pytest.mark.parametrize("name", KINDS)
def test_a_truncated_file(damaged: Volume, name: str) -> None:
    path = _weights(damaged, name)
    volumes.replace(path, path.read_bytes()[:-1000])
    assert "cut off" in _refused(damaged, name)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_something_else(damaged: Volume, name: str) -> None:
    volumes.replace(_weights(damaged, name), b"<html>404 Not Found</html>")
    assert "no safetensors file" in _refused(damaged, name)


def _rewrite(volume: Volume, name: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = _weights(volume, name)
    changed = change(load_file(path))
    path.unlink()
    save_file(changed, path, metadata={"format": "pt"})


#: A tensor of each file, and by which part of its name the refusal names it: spandrel renames ESRGAN's.
LOST = {
    "grounding-dino": ("model.encoder.layers.0.deformable_layer.fc1.weight", "fc1.weight"),
    "sam": ("mask_decoder.iou_token.weight", "iou_token.weight"),
    "sdxl-unet": ("conv_out.bias", "conv_out.bias"),
    "controlnet-depth": ("controlnet_mid_block.weight", "controlnet_mid_block.weight"),
    "realesrgan-anime": ("conv_body.bias", "sub.1.bias"),
    "birefnet": ("decoder.conv_out1.0.bias", "decoder.conv_out1.0.bias"),
    "sdxl-text": ("text_model.final_layer_norm.bias", "final_layer_norm.bias"),
    "lama": ("generator.model.1.bn_l.bias", "model.1.bn_l.bias"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_missing_tensor_is_not_filled_with_noise(damaged: Volume, name: str) -> None:
    lost, named = LOST[name]
    _rewrite(damaged, name, lambda tensors: {key: t for key, t in tensors.items() if key != lost})
    assert named in _refused(damaged, name)


@pytest.mark.parametrize("name", LOST)
def test_a_wrong_shape(damaged: Volume, name: str) -> None:
    key, named = LOST[name]
    _rewrite(damaged, name, lambda tensors: tensors | {key: torch.zeros(3, dtype=torch.float16)})
    assert named in _refused(damaged, name)


@pytest.mark.parametrize("name", ["sam", "sdxl-unet"])
def test_a_quantised_file(damaged: Volume, name: str) -> None:
    def quantised(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors | {LOST[name][0]: tensors[LOST[name][0]].to(torch.float8_e4m3fn)}

    _rewrite(damaged, name, quantised)
    assert "F8_E4M3" in _refused(damaged, name)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("sam", "architectures", ["ViTModel"]), ("sam", "architectures", None), ("sdxl-unet", "_class_name", "AutoencoderKL")],
)
def test_a_configuration_of_another_network(damaged: Volume, name: str, key: str, value: object) -> None:
    path = damaged.file(name, "config.json")
    volumes.replace(path, json.dumps({**json.loads(path.read_text()), key: value}).encode())
    assert "config.json is of" in _refused(damaged, name)


def test_the_published_sam2_names_its_video_half(damaged: Volume) -> None:
    path = damaged.file("sam2", "config.json")
    config = {**json.loads(path.read_text()), "architectures": ["Sam2VideoModel"], "model_type": "sam2_video"}
    volumes.replace(path, json.dumps(config).encode())
    assert isinstance(load(damaged, "sam2", torch.float32), Loaded)


ONE = "shared_image_embedding.positional_embedding"
OTHER = "prompt_encoder.shared_embedding.positional_embedding"


@pytest.mark.parametrize("lost", [ONE, OTHER])
def test_sam2_takes_a_tied_tensor_that_its_file_lacks_from_its_twin(damaged: Volume, lost: str) -> None:
    """Published files hold both tensors; versions of the library that leave tied ones out write one."""
    values = torch.arange(32, dtype=torch.float16).reshape(2, 16) / 32
    _rewrite(damaged, "sam2", lambda tensors: {key: t for key, t in (tensors | {ONE: values, OTHER: values}).items() if key != lost})
    (network,) = modules(load(damaged, "sam2", torch.float32))
    own = network.state_dict()
    assert torch.equal(own[ONE], values.float())
    assert torch.equal(own[OTHER], values.float())


def test_sam2_without_either_of_the_two_is_refused(damaged: Volume) -> None:
    _rewrite(damaged, "sam2", lambda tensors: {key: t for key, t in tensors.items() if key not in (ONE, OTHER)})
    assert "positional_embedding and 1 more" in _refused(damaged, "sam2")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sam", "config.json"),
        ("sam", "preprocessor_config.json"),
        ("sdxl-vae", "config.json"),
        ("sdxl-scheduler", "scheduler_config.json"),
        ("sdxl-text", "text_encoder/config.json"),
        ("sdxl-text", "tokenizer/vocab.json"),
        ("sdxl-text", "tokenizer_2/merges.txt"),
    ],
)
def test_a_small_file_that_cannot_be_read(damaged: Volume, name: str, file: str) -> None:
    volumes.replace(damaged.file(name, file), b"{\xff")
    _refused(damaged, name)


def test_another_network_of_the_same_library(damaged: Volume) -> None:
    volumes.replace(_weights(damaged, "realesrgan-anime"), _weights(damaged, "lama").read_bytes())
    assert "is of LaMa, not of ESRGAN" in _refused(damaged, "realesrgan-anime")


def test_no_network_at_all(damaged: Volume) -> None:
    path = _weights(damaged, "lama")
    path.unlink()
    save_file({"x": torch.zeros(3)}, path)
    assert "no architecture that is known" in _refused(damaged, "lama")


def test_a_missing_file_is_named(damaged: Volume) -> None:
    damaged.file("sdxl-text", "tokenizer_2/vocab.json").unlink()
    with pytest.raises(MissingModels, match=r"sdxl-text \(tokenizer_2/vocab\.json\)"):
        load(damaged, "sdxl-text", torch.float32)


def test_surplus_tensors_are_allowed(damaged: Volume) -> None:
    """Published files hold tensors that the networks no longer read."""
    for name in ("sam", "sdxl-vae", "birefnet"):
        _rewrite(damaged, name, lambda tensors: tensors | {"old.position_ids": torch.zeros(1, 77)})
        load(damaged, name, torch.float32)


def test_what_the_published_detector_lacks_is_not_missed(damaged: Volume) -> None:
    """The norm behind the last stage of its backbone is never run, and is in no published file."""
    before = len(load_file(_weights(damaged, "grounding-dino")))
    _rewrite(damaged, "grounding-dino", lambda tensors: {key: t for key, t in tensors.items() if "swin.layernorm." not in key})
    assert len(load_file(_weights(damaged, "grounding-dino"))) == before - 2
    load(damaged, "grounding-dino", torch.float32)

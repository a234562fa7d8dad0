"""A complete model volume of tiny networks with random weights, in the genuine file formats and with the genuine tensor names.

`python -m tests.support.tiny_volume FOLDER` builds one by hand. Seeds are fixed: two volumes hold the same bytes.
"""

import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support import tiny_vision
from tests.support import torchvision_shim as _shim  # noqa: F401 — before anything that imports torchvision
from tests.support.tiny_birefnet import checkpoint
from tests.support.tiny_lora import LoraForm, write_lora
from tests.support.tiny_tokenizers import write_clip_tokenizer

PROMPT = "flat vector illustration, minimalist style, clean lines, solid colors"
NEGATIVE = "blurry, distorted, anatomically incorrect, text, watermark, logo"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def build(folder: Path) -> Path:
    """Write the whole volume and return its path."""
    for name in _WRITERS:
        build_model(folder, name)
    write_lora(folder / "models" / "lcm-lora" / "pytorch_lora_weights.safetensors", _unet_of(folder), "kohya", seed=7, extent=0.02)
    (folder / "styles").mkdir(exist_ok=True)
    _write_prompts(folder)
    return folder


def build_model(folder: Path, name: str) -> None:
    """Write one model of the volume; what is written does not depend on the others."""
    torch.manual_seed(zlib.crc32(name.encode()))
    home = folder / "models" / name
    home.mkdir(parents=True, exist_ok=True)
    (_WRITERS | _OTHERS)[name](home)


def holding(volume: Path, name: str, folder: Path) -> Path:
    """The volume, if it holds the model; another choice of the catalogue is written into `folder`, which is the answer then."""
    if (volume / "models" / name).exists():
        return volume
    build_model(folder, name)
    return folder


def copy_volume(volume: Path, folder: Path) -> Path:
    """A copy whose files are links: unlink or `replace` one to change it, never write into it."""
    return Path(shutil.copytree(volume, folder, copy_function=os.link))


def replace(path: Path, content: bytes) -> None:
    """Give a file of a copied volume a content of its own."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def write_style(
    volume: Path, name: str = "style", form: LoraForm = "diffusers", seed: int = 1, extent: float = 0.2, trigger: str | None = None
) -> Path:
    """Install a style LoRA that changes what the UNet of this volume draws; `extent` says how much, `trigger` what is said beside it."""
    path = volume / "styles" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link
    write_lora(path, _unet_of(volume), form, seed, extent)
    if trigger is not None:
        replace(path.with_suffix(".style.json"), json.dumps({"trigger": trigger}).encode())
    return path


# --- SDXL ---

TEXT_1, TEXT_2 = 32, 64  # 768 and 1280 in the published one


def _sdxl_text(folder: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    words = write_clip_tokenizer(folder / "tokenizer")
    write_clip_tokenizer(folder / "tokenizer_2", pad_token="!")
    for name, kind, width, activation in (
        ("text_encoder", CLIPTextModel, TEXT_1, "quick_gelu"),
        ("text_encoder_2", CLIPTextModelWithProjection, TEXT_2, "gelu"),
    ):
        config = CLIPTextConfig(
            vocab_size=words,
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act=activation,
            bos_token_id=words - 2,
            eos_token_id=words - 1,
            pad_token_id=1,
        )
        tiny_vision.save(kind(config), folder / name)


#: Common to the UNet and its control nets.
_BACKBONE: dict[str, Any] = {
    "in_channels": 4,
    "block_out_channels": (32, 64, 64),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "transformer_layers_per_block": [1, 2, 2],
    "attention_head_dim": [2, 4, 4],
    "use_linear_projection": True,
    "cross_attention_dim": TEXT_1 + TEXT_2,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": TEXT_2 + 6 * 8,
}


def _sdxl_unet(folder: Path) -> None:
    from diffusers import UNet2DConditionModel

    ups = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
    tiny_vision.save(UNet2DConditionModel(sample_size=16, out_channels=4, up_block_types=ups, **_BACKBONE), folder)


def _controlnet(folder: Path) -> None:
    from diffusers import ControlNetModel

    tiny_vision.save(_disturbed(ControlNetModel(conditioning_embedding_out_channels=(8, 8, 16, 16), **_BACKBONE)), folder)


def _controlnet_union_promax(folder: Path) -> None:
    _controlnet_union(folder, kinds=8)


def _controlnet_union(folder: Path, kinds: int = 6) -> None:
    from diffusers import ControlNetUnionModel

    net = ControlNetUnionModel(
        conditioning_embedding_out_channels=(8, 8, 16, 16),
        num_control_type=kinds,
        num_trans_channel=32,  # its own transformer works at the first block's width
        num_trans_head=4,
        num_proj_channel=32,
        **_BACKBONE,
    )
    tiny_vision.save(_disturbed(net), folder)


def _disturbed(net: nn.Module) -> nn.Module:
    """What is zero by design in a new control net, its outputs above all, as if it had been trained."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.startswith(("controlnet_", "spatial_ch_projs")):
                parameter.normal_(0, 0.1)
    return net


def _sdxl_vae(folder: Path) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(32, 32, 64, 64),
        norm_num_groups=16,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.13025,
        force_upcast=False,
        sample_size=128,
    )
    tiny_vision.save(vae, folder)


def _sdxl_scheduler(folder: Path) -> None:
    from diffusers import EulerDiscreteScheduler

    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    ).save_pretrained(folder)


# --- single files ---


def _birefnet(folder: Path) -> None:
    save_file(checkpoint(), folder / "model.safetensors", metadata={"format": "pt"})


def _lama(folder: Path) -> None:
    """LaMa has one size only, 51 million parameters: half of the time that a volume takes to build."""
    from spandrel.architectures.LaMa import LaMa

    net = LaMa(in_nc=4, out_nc=3).bfloat16()
    tensors = {name.replace("model.model", "generator.model"): value for name, value in net.state_dict().items()}
    save_file(tensors, folder / "big-lama.safetensors", metadata={"format": "pt"})


def _realesrgan(folder: Path) -> None:
    """The names of the published file, `params_ema` unpacked; nf 8, nb 1, gc 32 (published: 64, 6, 32)."""
    width, growth = 8, 32
    tensors: dict[str, Tensor] = {}

    def put(name: str, into: int, out: int) -> None:
        tensors[f"{name}.weight"] = (torch.randn(out, into, 3, 3) / (9 * into) ** 0.5).half()
        tensors[f"{name}.bias"] = torch.zeros(out).half()

    put("conv_first", 3, width)
    for dense in (1, 2, 3):
        for k in range(1, 6):
            put(f"body.0.rdb{dense}.conv{k}", width + growth * (k - 1), growth if k < 5 else width)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        put(name, width, width)
    put("conv_last", width, 3)
    save_file(tensors, folder / "RealESRGAN_x4plus_anime_6B.safetensors", metadata={"format": "pt"})


def _unet_of(volume: Path) -> nn.Module:
    from diffusers import UNet2DConditionModel

    unet: nn.Module = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(volume / "models" / "sdxl-unet"))
    return unet


def _write_prompts(folder: Path) -> None:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from model_cache import prompts
    from model_cache.loaders import Text

    home = folder / "models" / "sdxl-text"
    text = Text(
        CLIPTokenizer.from_pretrained(home / "tokenizer"),
        CLIPTokenizer.from_pretrained(home / "tokenizer_2"),
        CLIPTextModel.from_pretrained(home / "text_encoder", dtype=torch.float32).eval(),
        CLIPTextModelWithProjection.from_pretrained(home / "text_encoder_2", dtype=torch.float32).eval(),
    )
    prompts.write(folder / "prompts" / "default.safetensors", PROMPT, NEGATIVE, prompts.encode(text, PROMPT, NEGATIVE, "cpu"))


_WRITERS: dict[str, Callable[[Path], None]] = {
    "grounding-dino": tiny_vision.grounding_dino,
    "sam": tiny_vision.sam,
    "sam2": tiny_vision.sam2,
    "lama": _lama,
    "birefnet": _birefnet,
    "depth-anything": tiny_vision.depth_anything,
    "zoedepth": tiny_vision.zoedepth,
    "sdxl-unet": _sdxl_unet,
    "sdxl-vae": _sdxl_vae,
    "sdxl-scheduler": _sdxl_scheduler,
    "sdxl-text": _sdxl_text,
    "controlnet-depth": _controlnet,
    "controlnet-canny": _controlnet,
    "controlnet-union": _controlnet_union,
    "realesrgan-anime": _realesrgan,
}
#: Other choices of the catalogue, which `build` leaves out: `build_model` writes one.
_OTHERS: dict[str, Callable[[Path], None]] = {
    "mm-grounding-dino": tiny_vision.mm_grounding_dino,
    "birefnet-hr": _birefnet,
    "birefnet-hr-matting": _birefnet,
    "controlnet-union-promax": _controlnet_union_promax,
}

if __name__ == "__main__":
    print(build(Path(sys.argv[1])))

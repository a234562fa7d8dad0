"""A complete model volume of tiny networks with random weights, in the genuine file formats and with the genuine tensor names.

`python -m tests.tiny_volume FOLDER` builds one by hand. Seeds are fixed: two volumes hold the same bytes.
"""

import math
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

from tests import torchvision_shim as _shim  # noqa: F401 — before anything that imports torchvision
from tests.tiny_birefnet import checkpoint
from tests.tiny_lora import LoraForm, write_lora
from tests.tiny_tokenizers import write_bert_tokenizer, write_clip_tokenizer

PROMPT = "flat vector illustration, minimalist style, clean lines, solid colors"
NEGATIVE = "blurry, distorted, anatomically incorrect, text, watermark, logo"
#: Side of the pictures that the tiny segmenters take; 1024 in the published ones.
SIDE = 128
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
    _WRITERS[name](home)


def copy_volume(volume: Path, folder: Path) -> Path:
    """A copy whose files are links: unlink or `replace` one to change it, never write into it."""
    return Path(shutil.copytree(volume, folder, copy_function=os.link))


def replace(path: Path, content: bytes) -> None:
    """Give a file of a copied volume a content of its own."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def write_style(volume: Path, name: str = "style", form: LoraForm = "diffusers", seed: int = 1, extent: float = 0.2) -> Path:
    """Install a style LoRA that changes what the UNet of this volume draws; `extent` says how much."""
    path = volume / "styles" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link
    write_lora(path, _unet_of(volume), form, seed, extent)
    return path


# --- transformers ---


def _save(model: nn.Module, folder: Path) -> None:
    model.half().eval().save_pretrained(folder)  # type: ignore[operator]


def _lively(net: nn.Module) -> nn.Module:
    """Weights that keep the variance: at their initial values tiny depth nets answer every picture with a constant."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, math.prod(parameter.shape[1:]) ** -0.5)
    return net


def _grounding_dino(folder: Path) -> None:
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, GroundingDinoImageProcessor, SwinConfig

    words = write_bert_tokenizer(folder)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=384, embed_dim=16, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 4], window_size=7, out_indices=[2, 3, 4]
        ),
        text_config=BertConfig(vocab_size=words, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64),
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=4,
        num_queries=30,
        two_stage=True,
        embedding_init_target=True,
        decoder_bbox_embed_share=True,
    )
    _save(GroundingDinoForObjectDetection(config), folder)
    GroundingDinoImageProcessor(size={"shortest_edge": 200, "longest_edge": 333}).save_pretrained(folder)


def _sam(folder: Path) -> None:
    from transformers import SamConfig, SamImageProcessor, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=32,
        output_channels=16,
        num_pos_feats=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=16,
        window_size=4,
        global_attn_indexes=[1],
        mlp_dim=64,
    )
    prompt = SamPromptEncoderConfig(hidden_size=16, image_size=SIDE, patch_size=16, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(hidden_size=16, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=16)
    config = SamConfig(vision_config=vision.to_dict(), prompt_encoder_config=prompt.to_dict(), mask_decoder_config=decoder.to_dict())
    _save(SamModel(config), folder)
    low = SIDE // 4
    SamImageProcessor(
        size={"longest_edge": SIDE},
        pad_size={"height": SIDE, "width": SIDE},
        mask_size={"longest_edge": low},
        mask_pad_size={"height": low, "width": low},
    ).save_pretrained(folder)


def _sam2(folder: Path) -> None:
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    low = SIDE // 4
    backbone = Sam2HieraDetConfig(
        hidden_size=16,
        num_attention_heads=1,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[low, low], [low // 2, low // 2], [low // 4, low // 4]],
        fpn_hidden_size=32,
    )
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=16, mask_input_channels=4),
        mask_decoder_config=Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=32),
    )
    _save(Sam2Model(config), folder)
    Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}, mask_size={"height": low, "width": low}).save_pretrained(folder)


def _zoedepth(folder: Path) -> None:
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation, ZoeDepthImageProcessor

    backbone = BeitConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[16, 16, 32, 32],
        fusion_hidden_size=16,
        bottleneck_features=16,
        num_attractors=[4, 2, 2, 1],
        bin_embedding_dim=16,
        num_relative_features=8,
        bin_configurations=[
            {"name": "nyu", "n_bins": 8, "min_depth": 1e-3, "max_depth": 10.0},
            {"name": "kitti", "n_bins": 8, "min_depth": 1e-3, "max_depth": 80.0},
        ],
        num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128,
        patch_transformer_intermediate_size=64,
        patch_transformer_num_attention_heads=2,
    )
    _save(_lively(ZoeDepthForDepthEstimation(config)), folder)
    ZoeDepthImageProcessor(size={"height": 96, "width": 128}).save_pretrained(folder)


def _depth_anything(folder: Path) -> None:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    backbone = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 16, 32, 32],
        fusion_hidden_size=16,
        head_hidden_size=8,
        patch_size=14,
    )
    _save(_lively(DepthAnythingForDepthEstimation(config)), folder)
    DPTImageProcessor(size={"height": 98, "width": 98}, ensure_multiple_of=14, keep_aspect_ratio=True).save_pretrained(folder)


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
        _save(kind(config), folder / name)


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
    _save(UNet2DConditionModel(sample_size=16, out_channels=4, up_block_types=ups, **_BACKBONE), folder)


def _controlnet(folder: Path) -> None:
    from diffusers import ControlNetModel

    _save(_disturbed(ControlNetModel(conditioning_embedding_out_channels=(8, 8, 16, 16), **_BACKBONE)), folder)


def _controlnet_union(folder: Path) -> None:
    from diffusers import ControlNetUnionModel

    net = ControlNetUnionModel(
        conditioning_embedding_out_channels=(8, 8, 16, 16),
        num_control_type=6,
        num_trans_channel=32,  # its own transformer works at the first block's width
        num_trans_head=4,
        num_proj_channel=32,
        **_BACKBONE,
    )
    _save(_disturbed(net), folder)


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
    _save(vae, folder)


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
    "grounding-dino": _grounding_dino,
    "sam": _sam,
    "sam2": _sam2,
    "lama": _lama,
    "birefnet": _birefnet,
    "depth-anything": _depth_anything,
    "zoedepth": _zoedepth,
    "sdxl-unet": _sdxl_unet,
    "sdxl-vae": _sdxl_vae,
    "sdxl-scheduler": _sdxl_scheduler,
    "sdxl-text": _sdxl_text,
    "controlnet-depth": _controlnet,
    "controlnet-canny": _controlnet,
    "controlnet-union": _controlnet_union,
    "realesrgan-anime": _realesrgan,
}

if __name__ == "__main__":
    print(build(Path(sys.argv[1])))

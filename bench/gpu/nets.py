# ruff: noqa: PLC0415 — a network's library is imported when the network is made
"""The networks at their published sizes with random weights, made on the device itself: nothing is read from a disk.

Architectures as their authors publish them (the configuration files of the repositories named beside each). Random weights cost exactly
what trained ones cost; what they draw means nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SDXL: dict[str, Any] = {  # stabilityai/stable-diffusion-xl-base-1.0, unet
    "in_channels": 4,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True,
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
CONDITIONING = (16, 32, 96, 256)  # diffusers/controlnet-*-sdxl-1.0


@contextmanager
def made_on(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Parameters made inside lie on `device` in `dtype`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def sdxl_unet() -> nn.Module:
    from diffusers import UNet2DConditionModel

    ups = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
    net: nn.Module = UNet2DConditionModel(sample_size=128, out_channels=4, up_block_types=ups, **SDXL)
    return net


def _heard(net: nn.Module) -> nn.Module:
    """A new control net answers zero by design; noise makes its answer matter."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "controlnet_" in name:
                parameter.normal_(0, 0.02)
    return net


def controlnet() -> nn.Module:
    from diffusers import ControlNetModel

    return _heard(ControlNetModel(conditioning_embedding_out_channels=CONDITIONING, **SDXL))


def controlnet_union() -> nn.Module:
    """xinsir/controlnet-union-sdxl-1.0."""
    from diffusers import ControlNetUnionModel

    return _heard(ControlNetUnionModel(conditioning_embedding_out_channels=CONDITIONING, num_control_type=6, **SDXL))


def sdxl_vae() -> nn.Module:
    """madebyollin/sdxl-vae-fp16-fix."""
    from diffusers import AutoencoderKL

    net: nn.Module = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.13025,
        force_upcast=False,
        sample_size=1024,
    )
    return net


def grounding_dino() -> nn.Module:
    """IDEA-Research/grounding-dino-base."""
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    backbone = SwinConfig(
        image_size=384, embed_dim=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32], window_size=12, out_indices=[2, 3, 4]
    )
    net = GroundingDinoForObjectDetection(GroundingDinoConfig(backbone_config=backbone, text_config=BertConfig()))
    # Random features match random words so well that all 900 queries would be boxes; a picture has a few. The score of a query is the
    # product of its features and the word's, both normalised: words of nearly the same numbers, and queries of a small negative mean.
    words = net.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    with torch.no_grad():
        words.weight.fill_(0.02)
        words.bias.fill_(1.0)
        net.model.decoder.layer_norm.bias.fill_(-0.013)
    return net


def sam() -> nn.Module:
    """facebook/sam-vit-huge."""
    from transformers import SamConfig, SamModel, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=1280, num_hidden_layers=32, num_attention_heads=16, global_attn_indexes=[7, 15, 23, 31], mlp_dim=5120
    )
    return SamModel(SamConfig(vision_config=vision.to_dict()))


def sam2() -> nn.Module:
    """facebook/sam2.1-hiera-large."""
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

    backbone = Sam2HieraDetConfig(
        hidden_size=144,
        num_attention_heads=2,
        blocks_per_stage=[2, 6, 36, 4],
        embed_dim_per_stage=[144, 288, 576, 1152],
        num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 16, 8],
        global_attention_blocks=[23, 33, 43],
        window_positional_embedding_background_size=[7, 7],
    )
    return Sam2Model(Sam2Config(vision_config=Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=[1152, 576, 288, 144])))


def depth_anything(width: int = 384) -> nn.Module:
    """depth-anything/Depth-Anything-V2-Small-hf (`width` 384)."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=12,
        num_attention_heads=width // 64,
        image_size=518,
        patch_size=14,
        out_features=["stage3", "stage6", "stage9", "stage12"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=width,
        neck_hidden_sizes=[width // 8, width // 4, width // 2, width],
        fusion_hidden_size=width // 6,
        head_hidden_size=32,
    )
    return DepthAnythingForDepthEstimation(config)


def zoedepth() -> nn.Module:
    """Intel/zoedepth-nyu-kitti."""
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation

    backbone = BeitConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        image_size=384,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=["stage6", "stage12", "stage18", "stage24"],
    )
    bins = [{"name": name, "n_bins": 64, "min_depth": 1e-3, "max_depth": most} for name, most in (("nyu", 10.0), ("kitti", 80.0))]
    config = ZoeDepthConfig(
        backbone_config=backbone,
        num_patch_transformer_layers=4,
        patch_transformer_hidden_size=128,
        patch_transformer_intermediate_size=1024,
        patch_transformer_num_attention_heads=4,
        bin_configurations=bins,
    )
    return ZoeDepthForDepthEstimation(config)


def birefnet() -> nn.Module:
    """ZhengPeng7/BiRefNet, Swin-L."""
    from model_cache.birefnet import Architecture, BiRefNet

    return BiRefNet(Architecture(192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 64, 256, 16))


def lama() -> Any:
    """advimman/lama, big-lama, as spandrel's descriptor."""
    from spandrel import ModelLoader
    from spandrel.architectures.LaMa import LaMa

    tensors = LaMa(in_nc=4, out_nc=3).state_dict()
    return ModelLoader().load_from_state_dict({name.replace("model.model", "generator.model"): value for name, value in tensors.items()})


def realesrgan() -> Any:
    """xinntao/Real-ESRGAN, RealESRGAN_x4plus_anime_6B, as spandrel's descriptor."""
    from spandrel import ModelLoader

    width, growth, tensors = 64, 32, {}

    def put(name: str, into: int, out: int) -> None:
        tensors[f"{name}.weight"] = torch.randn(out, into, 3, 3) / (9 * into) ** 0.5
        tensors[f"{name}.bias"] = torch.zeros(out)

    put("conv_first", 3, width)
    for block in range(6):
        for dense in (1, 2, 3):
            for k in range(1, 6):
                put(f"body.{block}.rdb{dense}.conv{k}", width + growth * (k - 1), growth if k < 5 else width)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        put(name, width, width)
    put("conv_last", width, 3)
    return ModelLoader().load_from_state_dict(tensors)


MAKERS: dict[str, Callable[[], Any]] = {
    "grounding-dino": grounding_dino,
    "sam": sam,
    "sam2": sam2,
    "lama": lama,
    "birefnet": birefnet,
    "depth-anything": depth_anything,
    "zoedepth": zoedepth,
    "sdxl-unet": sdxl_unet,
    "sdxl-vae": sdxl_vae,
    "controlnet-depth": controlnet,
    "controlnet-canny": controlnet,
    "controlnet-union": controlnet_union,
    "realesrgan-anime": realesrgan,
}


def processor(name: str, folder: Path) -> Any:
    """What makes the inputs of a network of transformers, with its published sizes; `folder` takes the words of a small tokenizer."""
    import transformers

    from tests.support.tiny_tokenizers import write_bert_tokenizer

    if name == "grounding-dino":
        write_bert_tokenizer(folder)
        images = transformers.GroundingDinoImageProcessor()
        return transformers.GroundingDinoProcessor(images, transformers.BertTokenizerFast.from_pretrained(folder))
    if name == "sam":
        return transformers.SamProcessor(transformers.SamImageProcessor())
    if name == "sam2":
        return transformers.Sam2Processor(transformers.Sam2ImageProcessor(), target_size=1024)
    if name == "depth-anything":
        size = {"height": 518, "width": 518}
        return transformers.DPTImageProcessor(size=size, ensure_multiple_of=14, keep_aspect_ratio=True)
    return transformers.ZoeDepthImageProcessor(size={"height": 384, "width": 512}, ensure_multiple_of=32)


def make(name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """The network `name` at its published size, random, in evaluation mode: a module, or spandrel's descriptor around one.

    Rounded to 16 bit, as most published files are, then turned into `dtype`: the same weights whatever they are computed in.
    """
    torch.manual_seed(sum(name.encode()))
    with made_on(device, torch.float32):
        made = MAKERS[name]()
    module = made if isinstance(made, nn.Module) else made.model
    module.to(device=device, dtype=torch.float16).to(dtype).eval().requires_grad_(False)
    return made


def parameters(made: Any) -> int:
    """How many numbers a network holds."""
    module = made if isinstance(made, nn.Module) else made.model
    return sum(tensor.numel() for tensor in module.parameters())


def example(name: str, device: torch.device, dtype: torch.dtype, batch: int = 1) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of one call at the size that the pipeline uses."""

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device).to(dtype)

    if name in ("sdxl-unet", "controlnet-depth", "controlnet-canny"):
        where = (rand(batch, 4, 128, 128), torch.tensor(500, device=device), rand(batch, 77, 2048))
        control = () if name == "sdxl-unet" else (rand(batch, 3, 1024, 1024),)
        return (*where, *control), {"added_cond_kwargs": {"text_embeds": rand(batch, 1280), "time_ids": rand(batch, 6)}}
    sides = {"birefnet": 1024, "depth-anything": 518, "zoedepth": 384, "realesrgan-anime": 256, "sam": 1024, "sam2": 1024}
    if name in sides:
        return (rand(batch, 3, sides[name], sides[name]),), {}
    if name == "grounding-dino":
        words = torch.tensor([[101, 2482, 1012, 3104, 102]] * batch, device=device)
        return (), {"pixel_values": rand(batch, 3, 800, 1200), "input_ids": words, "attention_mask": torch.ones_like(words)}
    if name == "lama":
        return (rand(batch, 3, 512, 512), rand(batch, 1, 512, 512).round()), {}
    raise KeyError(name)

"""The vision networks of the tiny volume, as transformers writes them."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.support.tiny_tokenizers import write_bert_tokenizer

#: Side of the pictures that the tiny segmenters take; 1024 in the published ones.
SIDE = 128


def save(model: nn.Module, folder: Path) -> None:
    """Weights as float16, and the configuration."""
    model.half().eval().save_pretrained(folder)  # type: ignore[operator]


def _lively(net: nn.Module) -> nn.Module:
    """Weights that keep the variance: at their initial values tiny depth nets answer every picture with a constant."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, math.prod(parameter.shape[1:]) ** -0.5)
    return net


def grounding_dino(folder: Path) -> None:
    """Write the model's folder."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    _detector(folder, GroundingDinoConfig, GroundingDinoForObjectDetection)


def mm_grounding_dino(folder: Path) -> None:
    """Write the model's folder."""
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    _detector(folder, MMGroundingDinoConfig, MMGroundingDinoForObjectDetection)


def _detector(folder: Path, configuration: Any, kind: Any) -> None:
    from transformers import BertConfig, GroundingDinoImageProcessor, SwinConfig

    words = write_bert_tokenizer(folder)
    config = configuration(
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
    save(kind(config), folder)
    GroundingDinoImageProcessor(size={"shortest_edge": 200, "longest_edge": 333}).save_pretrained(folder)


def sam(folder: Path) -> None:
    """Write the model's folder."""
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
    save(SamModel(config), folder)
    low = SIDE // 4
    SamImageProcessor(
        size={"longest_edge": SIDE},
        pad_size={"height": SIDE, "width": SIDE},
        mask_size={"longest_edge": low},
        mask_pad_size={"height": low, "width": low},
    ).save_pretrained(folder)


def sam2(folder: Path) -> None:
    """Write the model's folder."""
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
    save(Sam2Model(config), folder)
    Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}, mask_size={"height": low, "width": low}).save_pretrained(folder)


def zoedepth(folder: Path) -> None:
    """Write the model's folder."""
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
    save(_lively(ZoeDepthForDepthEstimation(config)), folder)
    ZoeDepthImageProcessor(size={"height": 96, "width": 128}).save_pretrained(folder)


def depth_anything(folder: Path) -> None:
    """Write the model's folder."""
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
    save(_lively(DepthAnythingForDepthEstimation(config)), folder)
    DPTImageProcessor(size={"height": 98, "width": 98}, ensure_multiple_of=14, keep_aspect_ratio=True).save_pretrained(folder)

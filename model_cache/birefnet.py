"""BiRefNet's inference graph, for its published weights, without the code that comes with them.

Zheng et al., "Bilateral Reference for High-Resolution Dichotomous Image Segmentation" (2024). The backbone is transformers' Swin
Transformer; the decoder keeps the published names, so that a checkpoint is read as it was released. Sizes are read off the tensors.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import deform_conv2d
from transformers import SwinBackbone, SwinConfig

log = structlog.get_logger()

#: Kernel sizes of the deformable branches beside the pointwise one.
KERNELS = (1, 3, 7)
#: Heads that guide the training only, and index tables that the backbone makes itself.
_NOT_SERVED = re.compile(r"decoder\.(conv_ms_spvn_|gdt_convs_pred_)|relative_position_index$|attn_mask$")
#: Published name of a backbone tensor → transformers' name.
_RENAMED = (
    (re.compile(r"^bb\.norm(\d)\."), lambda m: f"bb.hidden_states_norms.stage{int(m[1]) + 1}."),
    (re.compile(r"^bb\.patch_embed\.proj\."), lambda _: "bb.swin.embeddings.patch_embeddings.projection."),
    (re.compile(r"^bb\.patch_embed\.norm\."), lambda _: "bb.swin.embeddings.norm."),
    (re.compile(r"^bb\.layers\."), lambda _: "bb.swin.encoder.layers."),
    (re.compile(r"\.norm1\."), lambda _: ".layernorm_before."),
    (re.compile(r"\.norm2\."), lambda _: ".layernorm_after."),
    (re.compile(r"\.attn\.proj\."), lambda _: ".attention.o_proj."),
    (re.compile(r"\.attn\.(relative_position_bias_table)"), lambda m: f".attention.relative_position_bias.{m[1]}"),
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of one BiRefNet; the published one is Swin-L: 192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 64, 256, 16."""

    embed_dim: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    inner: int  # channels inside a decoder block
    branch: int  # channels of a deformable branch
    gradient: int  # channels of the gradient attention

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Architecture":
        """Read off a published checkpoint's shapes. Raises `ValueError` where it is none."""
        depths: list[int] = []
        while any(name.startswith(f"bb.layers.{len(depths)}.blocks.") for name in tensors):
            blocks = {m[1] for name in tensors if (m := re.match(rf"bb\.layers\.{len(depths)}\.blocks\.(\d+)\.", name))}
            depths.append(len(blocks))
        tables = [f"bb.layers.{stage}.blocks.0.attn.relative_position_bias_table" for stage in range(len(depths))]
        block = "squeeze_module.0"
        try:
            return cls(
                embed_dim=tensors["bb.patch_embed.proj.weight"].shape[0],
                depths=tuple(depths),
                heads=tuple(tensors[table].shape[1] for table in tables),
                window=(round(tensors[tables[0]].shape[0] ** 0.5) + 1) // 2,
                inner=tensors[f"{block}.conv_in.weight"].shape[0],
                branch=tensors[f"{block}.dec_att.aspp1.atrous_conv.regular_conv.weight"].shape[0],
                gradient=tensors["decoder.gdt_convs_4.0.weight"].shape[0],
            )
        except (KeyError, IndexError) as error:
            raise ValueError(f"the checkpoint is of no BiRefNet: it lacks {error.args[0]}") from error


def _up(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)


class DeformableConvolution(nn.Module):
    """Deformable convolution, version 2 (Zhu et al. 2018), that keeps the size."""

    def __init__(self, into: int, out: int, kernel: int) -> None:
        super().__init__()
        self.padding = kernel // 2
        self.offset_conv = nn.Conv2d(into, 2 * kernel**2, kernel, padding=self.padding)
        self.modulator_conv = nn.Conv2d(into, kernel**2, kernel, padding=self.padding)
        self.regular_conv = nn.Conv2d(into, out, kernel, padding=self.padding, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) → (B, out, H, W)."""
        weights = 2 * torch.sigmoid(self.modulator_conv(x))
        return torch.as_tensor(deform_conv2d(x, self.offset_conv(x), self.regular_conv.weight, padding=self.padding, mask=weights))


class Branch(nn.Module):
    """One deformable branch."""

    def __init__(self, into: int, out: int, kernel: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConvolution(into, out, kernel)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) → (B, out, H, W), not negative."""
        return functional.relu(self.bn(self.atrous_conv(x)))


class DeformablePyramid(nn.Module):
    """Atrous spatial pyramid pooling with deformable branches in place of dilated ones."""

    def __init__(self, width: int, branch: int) -> None:
        super().__init__()
        self.aspp1 = Branch(width, branch, 1)
        self.aspp_deforms = nn.ModuleList(Branch(width, branch, kernel) for kernel in KERNELS)
        pointwise = nn.Conv2d(width, branch, 1, bias=False)
        self.global_avg_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), pointwise, nn.BatchNorm2d(branch), nn.ReLU())
        self.conv1 = nn.Conv2d(branch * (2 + len(KERNELS)), width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps shape (B, width, H, W)."""
        first = self.aspp1(x)
        views = [first, *(branch(x) for branch in self.aspp_deforms), _up(self.global_avg_pool(x), first)]
        return functional.relu(self.bn1(self.conv1(torch.cat(views, 1))))


class DecoderBlock(nn.Module):
    """Two convolutions around a deformable pyramid."""

    def __init__(self, into: int, out: int, sizes: Architecture) -> None:
        super().__init__()
        self.conv_in, self.bn_in = nn.Conv2d(into, sizes.inner, 3, padding=1), nn.BatchNorm2d(sizes.inner)
        self.dec_att = DeformablePyramid(sizes.inner, sizes.branch)
        self.conv_out, self.bn_out = nn.Conv2d(sizes.inner, out, 3, padding=1), nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) → (B, out, H, W)."""
        inner: Tensor = self.dec_att(functional.relu(self.bn_in(self.conv_in(x))))
        return torch.as_tensor(self.bn_out(self.conv_out(inner)))


class TwoConvolutions(nn.Module):
    """Takes the picture's own patches in: the inward reference."""

    def __init__(self, into: int, out: int, inner: int) -> None:
        super().__init__()
        self.conv1, self.conv_out = nn.Conv2d(into, inner, 3, padding=1), nn.Conv2d(inner, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) → (B, out, H, W)."""
        return torch.as_tensor(self.conv_out(self.conv1(x)))


class Lateral(nn.Module):
    """A pointwise convolution of a skip connection."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, into, H, W) → (B, out, H, W)."""
        return torch.as_tensor(self.conv(x))


def _patches(picture: Tensor, like: Tensor) -> Tensor:
    """(B, C, g·h, k·w) → (B, C·g·k, h, w): the picture cut into tiles of `like`'s size, laid on one another."""
    batch, channels, height, width = picture.shape
    h, w = like.shape[-2:]
    rows, cols = height // h, width // w
    return picture.reshape(batch, channels, rows, h, cols, w).permute(0, 1, 2, 4, 3, 5).reshape(batch, -1, h, w)


class Decoder(nn.Module):
    """Four blocks from coarse to fine, each given the picture's patches and attention to gradients."""

    def __init__(self, channels: Sequence[int], sizes: Architecture) -> None:
        """`channels` of the features, coarsest first."""
        super().__init__()
        out = [*channels[1:], channels[-1] // 2]
        patch = [c // 8 for c in channels]
        for level, width in zip((5, 4, 3, 2, 1), (patch[0], *patch), strict=True):
            into = 3 * 4**level if level > 1 else 3
            setattr(self, f"ipt_blk{level}", TwoConvolutions(into, width, sizes.inner))
        for level, into, width, given in zip((4, 3, 2, 1), channels, out, (patch[0], *patch), strict=False):
            setattr(self, f"decoder_block{level}", DecoderBlock(into + given, width, sizes))
        self.conv_out1 = nn.Sequential(nn.Conv2d(out[3] + patch[3], 1, 1))
        for level, skip, width in zip((4, 3, 2), channels[1:], out, strict=False):
            setattr(self, f"lateral_block{level}", Lateral(skip, width))
            gradient = nn.Sequential(nn.Conv2d(width, sizes.gradient, 3, padding=1), nn.BatchNorm2d(sizes.gradient), nn.ReLU())
            setattr(self, f"gdt_convs_{level}", gradient)
            setattr(self, f"gdt_convs_attn_{level}", nn.Sequential(nn.Conv2d(sizes.gradient, 1, 1)))

    def forward(self, picture: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The picture (B, 3, H, W) and its features, finest first → logits (B, 1, H, W)."""
        *skips, x = features
        x = torch.cat((x, self.get_submodule("ipt_blk5")(_patches(picture, x))), 1)
        for level, skip in zip((4, 3, 2), reversed(skips), strict=True):
            p = self.get_submodule(f"decoder_block{level}")(x)
            gradient = self.get_submodule(f"gdt_convs_{level}")(p)
            p = p * self.get_submodule(f"gdt_convs_attn_{level}")(gradient).sigmoid()
            x = _up(p, skip) + self.get_submodule(f"lateral_block{level}")(skip)
            x = torch.cat((x, self.get_submodule(f"ipt_blk{level}")(_patches(picture, skip))), 1)
        x = _up(self.get_submodule("decoder_block1")(x), picture)
        return torch.as_tensor(self.conv_out1(torch.cat((x, self.get_submodule("ipt_blk1")(picture)), 1)))


class BiRefNet(nn.Module):
    """Foreground segmentation at high resolution."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        config = SwinConfig(  # type: ignore[call-arg]  # the names of the outputs are set by its superclass
            image_size=1024,
            patch_size=4,
            embed_dim=sizes.embed_dim,
            depths=list(sizes.depths),
            num_heads=list(sizes.heads),
            window_size=sizes.window,
            drop_path_rate=0.0,
            out_features=[f"stage{i + 1}" for i in range(len(sizes.depths))],
        )
        self.bb = SwinBackbone(config)
        self.bb.swin.layernorm = nn.Identity()  # type: ignore[assignment]  # its output is not used, and checkpoints have no weights for it
        channels = [2 * sizes.embed_dim * 2**i for i in (3, 2, 1, 0)]
        self.squeeze_module = nn.Sequential(DecoderBlock(sum(channels), channels[0], sizes))
        self.decoder = Decoder(channels, sizes)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W), normalised as ImageNet is, H and W multiples of 32 (published: 1024) → logits (B, 1, H, W)."""
        small = functional.interpolate(picture, scale_factor=0.5, mode="bilinear", align_corners=True, recompute_scale_factor=True)
        pairs = zip(self.bb(picture).feature_maps, self.bb(small).feature_maps, strict=True)
        *fine, coarse = (torch.cat((full, _up(half, full)), 1) for full, half in pairs)
        coarse = self.squeeze_module(torch.cat((*(_up(x, coarse) for x in fine), coarse), 1))
        return torch.as_tensor(self.decoder(picture, (*fine, coarse)))


def convert(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published names → this network's; the joint projection of queries, keys and values is split."""
    converted: dict[str, Tensor] = {}
    for published, tensor in tensors.items():
        if _NOT_SERVED.search(published):
            continue
        name = published
        if name.startswith("bb."):
            for pattern, renamed in _RENAMED:
                name = pattern.sub(renamed, name)
        if ".attn.qkv." in name:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                converted[name.replace(".attn.qkv.", f".attention.{letter}_proj.")] = part
        else:
            converted[name] = tensor
    return converted


def from_checkpoint(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> BiRefNet:
    """The network of a published checkpoint, for inference, in host memory, without a second copy where `dtype` is the stored one.

    Raises `ValueError` for a checkpoint of something else or with tensors missing, `RuntimeError` for a wrong shape.
    """
    sizes = Architecture.of(tensors)
    with init_empty_weights(include_buffers=False):  # buffers are made: index tables are computed, and stand in no file
        network = BiRefNet(sizes)
    missing, surplus = network.load_state_dict(convert(tensors), strict=False, assign=True)
    if missing:
        raise ValueError(f"the checkpoint lacks {len(missing)} tensors, the first is {missing[0]}")
    if surplus:
        log.info("model_surplus_tensors", count=len(surplus), first=surplus[0])
    return network.eval().requires_grad_(False).to(dtype)

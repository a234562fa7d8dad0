"""A random BiRefNet checkpoint with the names and shapes of the published one, at any size."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Shape = tuple[int, ...]


def _swin(dim: int, depths: Sequence[int], heads: Sequence[int], window: int) -> Iterator[tuple[str, Shape]]:
    """The backbone's tensors: Swin Transformer v1 as its authors name it."""
    yield "patch_embed.proj.weight", (dim, 3, 4, 4)
    yield from _affine("patch_embed.proj", dim, weight=False)
    yield from _affine("patch_embed.norm", dim)
    for stage, (depth, head) in enumerate(zip(depths, heads, strict=True)):
        width = dim * 2**stage
        for block in range(depth):
            at = f"layers.{stage}.blocks.{block}"
            yield from _affine(f"{at}.norm1", width)
            yield f"{at}.attn.relative_position_bias_table", ((2 * window - 1) ** 2, head)
            yield f"{at}.attn.relative_position_index", (window**2, window**2)
            for name, out, into in (("attn.qkv", 3 * width, width), ("attn.proj", width, width)):
                yield f"{at}.{name}.weight", (out, into)
                yield from _affine(f"{at}.{name}", out, weight=False)
            yield from _affine(f"{at}.norm2", width)
            for name, out, into in (("mlp.fc1", 4 * width, width), ("mlp.fc2", width, 4 * width)):
                yield f"{at}.{name}.weight", (out, into)
                yield from _affine(f"{at}.{name}", out, weight=False)
        if stage < len(depths) - 1:
            yield f"layers.{stage}.downsample.reduction.weight", (2 * width, 4 * width)
            yield from _affine(f"layers.{stage}.downsample.norm", 4 * width)
        yield from _affine(f"norm{stage}", width)


def _affine(name: str, width: int, weight: bool = True) -> Iterator[tuple[str, Shape]]:
    if weight:
        yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _batch_norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from _affine(name, width)
    yield f"{name}.running_mean", (width,)
    yield f"{name}.running_var", (width,)
    yield f"{name}.num_batches_tracked", ()


def _conv(name: str, into: int, out: int, kernel: int, bias: bool = True) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, into, kernel, kernel)
    if bias:
        yield f"{name}.bias", (out,)


def _decoder_block(name: str, into: int, out: int, inner: int, aspp: int) -> Iterator[tuple[str, Shape]]:
    yield from _conv(f"{name}.conv_in", into, inner, 3)
    yield from _batch_norm(f"{name}.bn_in", inner)
    for branch, kernel in (("aspp1", 1), ("aspp_deforms.0", 1), ("aspp_deforms.1", 3), ("aspp_deforms.2", 7)):
        at = f"{name}.dec_att.{branch}"
        yield from _conv(f"{at}.atrous_conv.offset_conv", inner, 2 * kernel**2, kernel)
        yield from _conv(f"{at}.atrous_conv.modulator_conv", inner, kernel**2, kernel)
        yield from _conv(f"{at}.atrous_conv.regular_conv", inner, aspp, kernel, bias=False)
        yield from _batch_norm(f"{at}.bn", aspp)
    yield from _conv(f"{name}.dec_att.global_avg_pool.1", inner, aspp, 1, bias=False)
    yield from _batch_norm(f"{name}.dec_att.global_avg_pool.2", aspp)
    yield from _conv(f"{name}.dec_att.conv1", 5 * aspp, inner, 1, bias=False)
    yield from _batch_norm(f"{name}.dec_att.bn1", inner)
    yield from _conv(f"{name}.conv_out", inner, out, 3)
    yield from _batch_norm(f"{name}.bn_out", out)


def _decoder(channels: Sequence[int], inner: int, aspp: int, gradient: int) -> Iterator[tuple[str, Shape]]:
    """The decoder, with the heads that are used in training only."""
    out = [*channels[1:], channels[-1] // 2]
    patch = [c // 8 for c in channels]
    for level, width in zip((5, 4, 3, 2, 1), (patch[0], *patch), strict=True):
        into = 3 * 4**level if level > 1 else 3
        yield from _conv(f"decoder.ipt_blk{level}.conv1", into, inner, 3)
        yield from _conv(f"decoder.ipt_blk{level}.conv_out", inner, width, 3)
    for level, into, width, given in zip((4, 3, 2, 1), channels, out, (patch[0], *patch), strict=False):
        yield from _decoder_block(f"decoder.decoder_block{level}", into + given, width, inner, aspp)
    yield from _conv("decoder.conv_out1.0", out[3] + patch[3], 1, 1)
    for level, skip, width in zip((4, 3, 2), channels[1:], out, strict=False):
        yield from _conv(f"decoder.lateral_block{level}.conv", skip, width, 1)
        yield from _conv(f"decoder.conv_ms_spvn_{level}", width, 1, 1)
        yield from _conv(f"decoder.gdt_convs_{level}.0", width, gradient, 3)
        yield from _batch_norm(f"decoder.gdt_convs_{level}.1", gradient)
        yield from _conv(f"decoder.gdt_convs_pred_{level}.0", gradient, 1, 1)
        yield from _conv(f"decoder.gdt_convs_attn_{level}.0", gradient, 1, 1)


@dataclass(frozen=True)
class Sizes:
    """Of one network; `PUBLISHED` are those of the released weights."""

    embed_dim: int = 16
    depths: tuple[int, ...] = (1, 2, 1, 1)
    heads: tuple[int, ...] = (1, 1, 2, 2)
    window: int = 4
    inner: int = 8
    branch: int = 8
    gradient: int = 4


PUBLISHED = Sizes(192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 64, 256, 16)


def shapes(sizes: Sizes) -> dict[str, Shape]:
    """Name → shape of every tensor of a checkpoint."""
    channels = [sizes.embed_dim * 2**i * 2 for i in (3, 2, 1, 0)]
    backbone = {f"bb.{name}": shape for name, shape in _swin(sizes.embed_dim, sizes.depths, sizes.heads, sizes.window)}
    squeeze = _decoder_block("squeeze_module.0", sum(channels), channels[0], sizes.inner, sizes.branch)
    return backbone | dict(squeeze) | dict(_decoder(channels, sizes.inner, sizes.branch, sizes.gradient))


def checkpoint(sizes: Sizes | None = None, dtype: torch.dtype = torch.float16, seed: int = 0) -> dict[str, Tensor]:
    """Random values that keep the activations near one."""
    random = torch.Generator().manual_seed(seed)
    return {name: _values(name, shape, random, dtype) for name, shape in shapes(sizes or Sizes()).items()}


def _values(name: str, shape: Shape, random: torch.Generator, dtype: torch.dtype) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name.endswith("relative_position_index"):
        return torch.zeros(shape, dtype=torch.long)  # worthless, so that a network that reads it is caught
    noise = torch.randn(shape, generator=random)
    if len(shape) > 1:  # weights of convolutions and linear layers keep the variance
        return (noise / math.sqrt(math.prod(shape[1:]))).to(dtype)
    near_one = name.endswith("running_var") or (name.endswith("weight"))  # of a normalisation: no other weight is a vector
    return (float(near_one) + 0.1 * noise.abs()).to(dtype)

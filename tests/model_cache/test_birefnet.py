"""BiRefNet: the published names and shapes are read wholly, and what is loaded computes what it should."""

import math
import re

import pytest
import torch
from torch import Tensor

from model_cache.birefnet import Architecture, BiRefNet, convert, from_checkpoint
from tests.support.tiny_birefnet import PUBLISHED, Sizes, checkpoint, shapes

pytestmark = pytest.mark.neural

SMALL = Architecture(16, (1, 2, 1, 1), (1, 1, 2, 2), 4, 8, 8, 4)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return checkpoint(dtype=torch.float32)


def test_sizes_are_read_off_the_tensors(tensors: dict[str, Tensor]) -> None:
    assert Architecture.of(tensors) == SMALL


def test_the_published_checkpoint_fits_exactly() -> None:
    published = {name: torch.empty(shape, device="meta") for name, shape in shapes(PUBLISHED).items()}
    sizes = Architecture.of(published)
    assert sizes == Architecture(192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 64, 256, 16)
    with torch.device("meta"):
        network = BiRefNet(sizes)
    own = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    assert {name: tuple(t.shape) for name, t in convert(published).items()} == own
    assert round(sum(t.numel() for t in network.parameters()) / 1e6, 2) == 220.17


def test_every_published_tensor_is_used_once(tensors: dict[str, Tensor]) -> None:
    unused = {name for name in tensors if re.search(r"conv_ms_spvn_|gdt_convs_pred_|relative_position_index", name)}
    assert len(unused) == 6 + 6 + sum(SMALL.depths)
    numbered = {name: torch.full_like(t, i, dtype=torch.float32) for i, (name, t) in enumerate(tensors.items()) if name not in unused}
    seen = [t.flatten()[0].item() for t in convert(numbered).values()]
    joint = sum(1 for name in numbered if ".qkv." in name)
    assert len(seen) == len(numbered) + 2 * joint  # one becomes three
    assert len(set(seen)) == len(numbered)


def test_loaded_is_built(tensors: dict[str, Tensor]) -> None:
    """Index tables stand in no file: built on the meta device they would be garbage."""
    built = BiRefNet(SMALL)
    built.load_state_dict(convert(tensors), strict=True)
    loaded = from_checkpoint(tensors, torch.float32)
    buffers = dict(built.named_buffers())
    assert buffers.keys() == dict(loaded.named_buffers()).keys()
    assert any(name.endswith("relative_position_index") for name in buffers)
    assert all(torch.equal(buffers[name], tensor) for name, tensor in loaded.named_buffers())
    picture = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected, got = built.eval()(picture), loaded(picture)
    assert got.shape == (1, 1, 96, 64)
    assert got.std() > 0.01
    assert torch.equal(expected, got)


def test_attention_is_the_published_formula(tensors: dict[str, Tensor]) -> None:
    """softmax(q·kᵀ/√d + bias)·v of Liu et al. (2021) on the published joint projection, against the split one."""
    at, heads, window = "bb.layers.2.blocks.0.attn", SMALL.heads[2], SMALL.window
    width = 4 * SMALL.embed_dim
    x = torch.randn(5, window**2, width, generator=torch.Generator().manual_seed(4))
    joint = x @ tensors[f"{at}.qkv.weight"].T + tensors[f"{at}.qkv.bias"]
    q, k, v = joint.reshape(5, window**2, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    rows = torch.arange(window**2) // window
    cols = torch.arange(window**2) % window
    index = (rows[:, None] - rows[None] + window - 1) * (2 * window - 1) + cols[:, None] - cols[None] + window - 1
    bias = tensors[f"{at}.relative_position_bias_table"][index].permute(2, 0, 1)
    weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(width // heads) + bias, -1)
    mixed = (weights @ v).transpose(1, 2).reshape(5, window**2, width)
    expected = mixed @ tensors[f"{at}.proj.weight"].T + tensors[f"{at}.proj.bias"]
    attention = from_checkpoint(tensors, torch.float32).bb.swin.encoder.layers[2].blocks[0].attention
    with torch.inference_mode():
        got = attention(x)
    torch.testing.assert_close(got[0] if isinstance(got, tuple) else got, expected, atol=1e-5, rtol=1e-4)


def test_another_size_and_dtype() -> None:
    sizes = Sizes(embed_dim=8, depths=(2, 1, 1, 1), heads=(1, 2, 2, 4), window=5, inner=4, branch=4, gradient=2)
    network = from_checkpoint(checkpoint(sizes), torch.bfloat16)
    floats = {t.dtype for t in network.parameters()} | {t.dtype for t in network.buffers() if t.is_floating_point()}
    assert floats == {torch.bfloat16}
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_no_second_copy_in_the_stored_type(tensors: dict[str, Tensor]) -> None:
    network = from_checkpoint(tensors, torch.float32)
    assert network.squeeze_module[0].conv_in.weight.data_ptr() == tensors["squeeze_module.0.conv_in.weight"].data_ptr()


@pytest.mark.parametrize("lost", ["decoder.conv_out1.0.bias", "bb.norm3.weight", "bb.layers.0.blocks.0.attn.qkv.weight"])
def test_a_missing_tensor_is_refused(tensors: dict[str, Tensor], lost: str) -> None:
    with pytest.raises(ValueError, match="lacks"):
        from_checkpoint({name: t for name, t in tensors.items() if name != lost}, torch.float32)


def test_a_wrong_shape_is_refused(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        from_checkpoint(tensors | {"decoder.conv_out1.0.bias": torch.zeros(2)}, torch.float32)


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="of no BiRefNet"):
        from_checkpoint({"conv_first.weight": torch.zeros(8, 3, 3, 3)}, torch.float32)

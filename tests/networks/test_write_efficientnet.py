"""The written network against the same one in torch, with random weights and unfolded batch norms."""

from collections import OrderedDict
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from builder.networks.write_efficientnet import STAGES, build  # noqa: E402

#: Sides of the kernels of each stage (EfficientNet, table 1), which the writer takes from the weights.
KERNELS = (3, 3, 5, 3, 5, 5, 3)


def weights() -> dict[str, np.ndarray[Any, Any]]:
    """A state dict with the published names and shapes."""
    rng = np.random.default_rng(0)
    out: dict[str, np.ndarray[Any, Any]] = OrderedDict()

    def convolution(name: str, norm: str, *shape: int) -> None:
        out[name] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        for part, low, high in (("weight", 0.5, 1.5), ("bias", -0.5, 0.5), ("running_mean", -0.2, 0.2), ("running_var", 0.5, 1.5)):
            out[f"{norm}.{part}"] = rng.uniform(low, high, shape[0]).astype(np.float32)

    convolution("_conv_stem.weight", "_bn0", 32, 3, 3, 3)
    width, index = 32, 0
    for (blocks, _, expansion, channels), kernel in zip(STAGES, KERNELS, strict=True):
        for _ in range(blocks):
            name, wide = f"_blocks.{index}", width * expansion
            if expansion > 1:
                convolution(f"{name}._expand_conv.weight", f"{name}._bn0", wide, width, 1, 1)
            convolution(f"{name}._depthwise_conv.weight", f"{name}._bn1", wide, 1, kernel, kernel)
            convolution(f"{name}._project_conv.weight", f"{name}._bn2", channels, wide, 1, 1)
            width, index = channels, index + 1
    convolution("_conv_head.weight", "_bn1", 1280, 320, 1, 1)
    out["_fc.weight"], out["_fc.bias"] = rng.normal(0, 0.05, (1000, 1280)).astype(np.float32), np.zeros(1000, np.float32)
    return out


def in_torch(w: dict[str, Any], x: Any) -> Any:
    """The published architecture, written once more."""
    F = torch.nn.functional
    w = {name: torch.from_numpy(value) for name, value in w.items()}

    def convolution(x: Any, weight: str, norm: str, stride: int = 1, groups: int = 1, relu: bool = True) -> Any:
        kernel = w[weight].shape[-1]
        # TensorFlow's "same": as many pixels as needed, the odd one on the right and below.
        need = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[-2:]]
        x = F.pad(x, [need[1] // 2, need[1] - need[1] // 2, need[0] // 2, need[0] - need[0] // 2])
        x = F.conv2d(x, w[weight], stride=stride, groups=groups)
        x = F.batch_norm(x, *(w[f"{norm}.{it}"] for it in ("running_mean", "running_var", "weight", "bias")), eps=1e-3)
        return F.relu6(x) if relu else x

    x, index = convolution(x, "_conv_stem.weight", "_bn0", 2), 0
    for blocks, stride, expansion, _ in STAGES:
        for block in range(blocks):
            name, y = f"_blocks.{index}", x
            if expansion > 1:
                y = convolution(y, f"{name}._expand_conv.weight", f"{name}._bn0")
            y = convolution(y, f"{name}._depthwise_conv.weight", f"{name}._bn1", 1 if block else stride, y.shape[1])
            y = convolution(y, f"{name}._project_conv.weight", f"{name}._bn2", relu=False)
            x, index = (x + y if block else y), index + 1
    x = convolution(x, "_conv_head.weight", "_bn1").mean((2, 3))
    return F.softmax(F.linear(x, w["_fc.weight"], w["_fc.bias"]), 1)


def test_it_answers_as_the_unfolded_network_in_torch():
    state = weights()
    x = np.random.default_rng(1).uniform(-1, 1, (2, 3, 224, 224)).astype(np.float32)
    session = ort.InferenceSession(build(state).SerializeToString(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(["classes"], {"image": x})
    expected = in_torch(state, torch.from_numpy(x)).numpy()
    assert answer.shape == (2, 1000)
    np.testing.assert_allclose(answer, expected, atol=1e-4 * expected.max())
    assert expected.std(1).min() > 1e-4  # not all classes alike


def test_the_same_weights_give_the_same_bytes():
    state = weights()
    assert build(state).SerializeToString() == build(state).SerializeToString()


def test_a_state_dict_that_lacks_a_tensor_is_refused():
    state = weights()
    del state["_blocks.5._bn1.running_var"]
    with pytest.raises(KeyError, match=r"_blocks\.5\._bn1\.running_var"):
        build(state)

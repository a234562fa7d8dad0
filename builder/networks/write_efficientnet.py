"""EfficientNet-Lite0 as it is served, from its torch file: `python -m builder.networks.write_efficientnet FILE.pth OUT`.

Runs where `onnx` is installed, which is not where jobs are served.
Tan and Le, EfficientNet (ICML 2019); the Lite variants have no squeeze-and-excitation and ReLU6 in place of swish.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from builder.networks import legacy_torch

#: The published architecture, one row a stage: blocks, stride of the first one, expansion, channels.
STAGES = ((1, 1, 1, 16), (2, 2, 6, 24), (2, 2, 6, 40), (3, 2, 6, 80), (3, 1, 6, 112), (4, 2, 6, 192), (1, 1, 6, 320))
#: Channels of the stem; side of the picture; classes of ImageNet-1k; the epsilon of its batch norms.
_STEM, _SIDE, _CLASSES, _EPSILON = 32, 224, 1000, 1e-3
_OPSET, _IR = 17, 9


class _Network:
    """Nodes and constants as they are added; tensors are known by their names."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.constant("zero", np.float32(0))
        self.constant("six", np.float32(6))

    def constant(self, name: str, value: Any) -> str:
        """Add a float32 constant."""
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(self, x: str, weight: str, norm: str, stride: int = 1, groups: int = 1, relu: bool = True) -> str:
        """A convolution with the batch norm after it folded in: y = gamma · (conv(x) − mean) / sqrt(variance + epsilon) + beta."""
        gamma, beta, mean, variance = (self.weights[f"{norm}.{it}"] for it in ("weight", "bias", "running_mean", "running_var"))
        scale = gamma / np.sqrt(variance + np.float32(_EPSILON))
        w = self.constant(f"{weight}.folded", self.weights[weight] * scale[:, None, None, None])
        b = self.constant(f"{weight}.bias", beta - mean * scale)
        y = self.node("Conv", [x, w, b], f"{weight}.out", auto_pad="SAME_UPPER", strides=[stride, stride], group=groups)
        return self.node("Clip", [y, "zero", "six"], f"{weight}.relu6") if relu else y


def build(weights: dict[str, NDArray[Any]]) -> ModelProto:
    """Input `image` (n, 3, 224, 224) float32, (rgb − 127) / 128; output `classes` (n, 1000), the probabilities of ImageNet-1k's classes.

    `weights`: the published state dict. Raises KeyError where it lacks a tensor.
    """
    net = _Network(weights)
    x, width, index = net.convolution("image", "_conv_stem.weight", "_bn0", 2), _STEM, 0
    for blocks, stride, expansion, channels in STAGES:
        for block in range(blocks):
            name, y = f"_blocks.{index}", x
            if expansion > 1:
                y = net.convolution(y, f"{name}._expand_conv.weight", f"{name}._bn0")
            y = net.convolution(y, f"{name}._depthwise_conv.weight", f"{name}._bn1", stride if block == 0 else 1, groups=width * expansion)
            y = net.convolution(y, f"{name}._project_conv.weight", f"{name}._bn2", relu=False)
            x = net.node("Add", [x, y], f"{name}.sum") if block else y
            index, width = index + 1, channels
    x = net.convolution(x, "_conv_head.weight", "_bn1")
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x], "pooled")], "features")
    last = [x, net.constant("_fc.weight", weights["_fc.weight"]), net.constant("_fc.bias", weights["_fc.bias"])]
    net.node("Softmax", [net.node("Gemm", last, "logits", transB=1)], "classes")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, _SIDE, _SIDE])
    classes = helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", _CLASSES])
    graph = helper.make_graph(net.nodes, "efficientnet-lite0", [image], [classes], net.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    onnx.save(build(legacy_torch.read(Path(sys.argv[1]))), sys.argv[2])

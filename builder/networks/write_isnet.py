"""IS-Net as it is served, from the published file of 8 bits: `python -m builder.networks.write_isnet PUBLISHED OUT`.

Runs where `onnx` is installed, which is not where jobs are served.

The published network quantizes what goes into each convolution anew for each picture, multiplies in integers and scales back. Here the same
weights are turned into float32 when the network is loaded, and the convolutions are ordinary ones. That is faster on processors without
8-bit instructions, needs half the memory, and its results are not those of whichever 8-bit kernel a processor happens to have.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

#: The one output of twelve that is used: the matte at full resolution. The others were for training.
OUTPUT = "output"
#: As the published file says, so that nothing changes its meaning.
_OPSET, _IR = 15, 8
#: The nodes that stand for one convolution, as onnxruntime's dynamic quantization writes them:
#: x → DynamicQuantizeLinear → ConvInteger(weights) → Cast → Mul(scale of x · scale of the weights) → Add(reshaped bias) → y
_CLUSTER = ("DynamicQuantizeLinear", "ConvInteger", "Cast", "Mul", "Mul", "Add", "Reshape")


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One cluster: its nodes, what goes in and comes out, and its constants by name."""

    nodes: tuple[NodeProto, ...]
    x: str
    y: str
    weights: str
    scale: str
    zero: str
    bias: str


def fold(model: ModelProto) -> ModelProto:
    """The same network with its convolutions in float32 on the 8-bit weights, and `OUTPUT` alone.

    Raises ValueError where a convolution is not the cluster of nodes that onnxruntime's dynamic quantization writes.
    """
    graph = model.graph
    replaced: dict[str, list[NodeProto]] = {}
    gone: set[str] = set()
    for it in _convolutions(graph):
        gone |= {node.output[0] for node in it.nodes}
        integer = it.nodes[_CLUSTER.index("ConvInteger")]
        floating = f"{it.weights}_float"
        convolution = helper.make_node("Conv", [it.x, floating, it.bias], [it.y])
        convolution.attribute.extend(integer.attribute)
        replaced[integer.output[0]] = [helper.make_node("DequantizeLinear", [it.weights, it.scale, it.zero], [floating]), convolution]
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes += replaced.get(node.output[0], [] if node.output[0] in gone else [node])
    return _model(graph, nodes)


def _convolutions(graph: GraphProto) -> Iterator[_Convolution]:
    constants = {it.name for it in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for integer in graph.node:
        if integer.op_type != "ConvInteger":
            continue
        quantized, weights, zero_of_x, zero = integer.input
        try:
            quantize = maker[quantized]
            (cast,) = users[integer.output[0]]
            (rescale,) = users[cast.output[0]]
            scales = maker[_other(rescale, cast.output[0])]
            (add,) = users[rescale.output[0]]
            reshape = maker[_other(add, rescale.output[0])]
            scale = _other(scales, quantize.output[1])
        except (KeyError, ValueError) as error:
            raise ValueError(f"{integer.name or integer.output[0]} is not scaled back as expected") from error
        nodes = (quantize, integer, cast, rescale, scales, add, reshape)
        constant = {weights, scale, zero, reshape.input[0]} <= constants
        if tuple(node.op_type for node in nodes) != _CLUSTER or zero_of_x != quantize.output[2] or not constant:
            raise ValueError(f"{integer.name or integer.output[0]} is not quantized as expected")
        yield _Convolution(nodes, quantize.input[0], add.output[0], weights, scale, zero, reshape.input[0])


def _other(node: NodeProto, name: str) -> str:
    """The other of a node's two inputs."""
    (other,) = (it for it in node.input if it != name)
    return str(other)


def _model(graph: GraphProto, nodes: list[NodeProto]) -> ModelProto:
    """A model of the nodes and constants that `OUTPUT` needs, in their order."""
    needed, kept = {OUTPUT}, list[NodeProto]()
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    constants: list[TensorProto] = [it for it in graph.initializer if it.name in needed]
    inputs, outputs = [it for it in graph.input if it.name in needed], [it for it in graph.output if it.name == OUTPUT]
    whole = helper.make_graph(kept[::-1], "isnet", inputs, outputs, constants)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    onnx.save(fold(onnx.load(sys.argv[1])), sys.argv[2])

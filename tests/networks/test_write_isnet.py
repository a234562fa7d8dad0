"""8-bit convolutions turned into float32 ones: a small network as onnxruntime's dynamic quantization writes it, before and after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

pytest.importorskip("onnx")

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from builder.networks.write_isnet import fold

SIDE = 16


def cluster(name: str, x: str, y: str, weights: np.ndarray[Any, Any], swapped: bool = False) -> tuple[list[NodeProto], list[TensorProto]]:
    """One convolution with a bias, quantized to 8 bits; `swapped`: the inputs of its products and sums in the other order."""
    low, high = min(0.0, float(weights.min())), max(0.0, float(weights.max()))
    scale = (high - low) / 255
    zero = round(-low / scale)
    quantized = np.clip(np.round(weights / scale) + zero, 0, 255).astype(np.uint8)
    constants = {
        f"{name}_w": quantized,
        f"{name}_scale": np.float32(scale),
        f"{name}_zero": np.uint8(zero),
        f"{name}_bias": np.linspace(-1, 1, len(weights), dtype=np.float32),
        f"{name}_shape": np.array([1, -1, 1, 1]),
    }

    def both(a: str, b: str) -> list[str]:
        return [b, a] if swapped else [a, b]

    nodes = [
        helper.make_node("DynamicQuantizeLinear", [x], [f"{name}_q", f"{name}_qs", f"{name}_qz"]),
        helper.make_node("ConvInteger", [f"{name}_q", f"{name}_w", f"{name}_qz", f"{name}_zero"], [f"{name}_i"], name=name, pads=[1] * 4),
        helper.make_node("Cast", [f"{name}_i"], [f"{name}_c"], to=TensorProto.FLOAT),
        helper.make_node("Mul", both(f"{name}_qs", f"{name}_scale"), [f"{name}_s"]),
        helper.make_node("Mul", both(f"{name}_c", f"{name}_s"), [f"{name}_m"]),
        helper.make_node("Reshape", [f"{name}_bias", f"{name}_shape"], [f"{name}_r"]),
        helper.make_node("Add", both(f"{name}_m", f"{name}_r"), [y]),
    ]
    return nodes, [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]


def network(swapped: bool = False, change: Callable[[list[NodeProto]], None] = lambda _: None) -> ModelProto:
    """Two convolutions in a row and a third that only the output nobody wants needs."""
    rng = np.random.default_rng(0)
    first, one = cluster("first", "input", "a", rng.normal(size=(4, 3, 3, 3)), swapped)
    second, two = cluster("second", "b", "output", rng.normal(0.3, 1, size=(1, 4, 3, 3)), swapped)
    third, three = cluster("third", "b", "side", rng.normal(size=(1, 4, 3, 3)), swapped)
    nodes = [*first, helper.make_node("Relu", ["a"], ["b"]), *third, *second]
    change(nodes)
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, SIDE, SIDE]) for name in ("output", "side")]
    return helper.make_model(
        helper.make_graph(nodes, "n", [picture], outputs, [*one, *two, *three]), opset_imports=[helper.make_opsetid("", 15)], ir_version=8
    )


def answer(model: ModelProto, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["output"], {"input": x})[0])


@pytest.mark.parametrize("swapped", [False, True])
def test_the_answer_is_that_of_the_published_network(swapped):
    x = np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    published = network(swapped)
    before, after = answer(published, x), answer(fold(published), x)
    # The published network rounds what goes into each convolution to 8 bits, which the other does not.
    assert np.abs(before - after).mean() < 0.01 * np.abs(before).mean()
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()


def test_the_weights_stay_in_8_bits_and_the_arithmetic_does_not():
    model = fold(network())
    assert sorted(node.op_type for node in model.graph.node) == ["Conv", "Conv", "DequantizeLinear", "DequantizeLinear", "Relu"]
    assert [it.name for it in model.graph.output] == ["output"]
    kept = {it.name: it.data_type for it in model.graph.initializer}
    assert kept["first_w"] == TensorProto.UINT8
    assert not any(name.startswith("third") for name in kept)


def test_the_same_network_gives_the_same_bytes():
    assert fold(network()).SerializeToString() == fold(network()).SerializeToString()


def _no_bias(nodes: list[NodeProto]) -> None:
    """The sum takes the product twice."""
    nodes[6].input[1] = nodes[6].input[0]


def _another_zero(nodes: list[NodeProto]) -> None:
    nodes[1].input[2] = "second_zero"


def _used_twice(nodes: list[NodeProto]) -> None:
    nodes.insert(3, helper.make_node("Cast", ["first_i"], ["again"], to=TensorProto.FLOAT))


def _computed_weights(nodes: list[NodeProto]) -> None:
    nodes.insert(0, helper.make_node("Identity", ["first_w"], ["computed"]))
    nodes[2].input[1] = "computed"


@pytest.mark.parametrize("change", [_no_bias, _another_zero, _used_twice, _computed_weights])
def test_what_is_quantized_in_another_way_is_refused(change):
    with pytest.raises(ValueError, match=r"first is not (quantized|scaled back) as expected"):
        fold(network(change=change))


def test_it_runs_by_itself(tmp_path: Path):
    import subprocess
    import sys

    import onnx

    onnx.save(network(), tmp_path / "published.onnx")
    command = [sys.executable, "-m", "builder.networks.write_isnet", tmp_path / "published.onnx", tmp_path / "out.onnx"]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    assert (tmp_path / "out.onnx").read_bytes() == fold(network()).SerializeToString()

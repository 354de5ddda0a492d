"""Weights behind quantization are folded to what onnxruntime computes."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2mzi.emulate.host import reference_run
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.tensors import TensorReader

Tensors = dict[str, np.ndarray | TensorProto]


def both(
    op: str, tensors: Tensors, out: int, *, opset: int = 21, **attributes: Any
) -> tuple[np.ndarray | None, np.ndarray]:
    """The node's value as folded and by onnxruntime."""
    node = helper.make_node(op, list(tensors), ["y"], **attributes)
    protos = {
        name: numpy_helper.from_array(value, name) if isinstance(value, np.ndarray) else value
        for name, value in tensors.items()
    }
    for name, proto in protos.items():
        proto.name = name
    graph = helper.make_graph(
        [node], "g", [], [helper.make_tensor_value_info("y", out, None)], list(protos.values())
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    folded = Constants(protos, [node], TensorReader("", None)).value("y")
    return folded, reference_run(model.SerializeToString(), {})["y"]


RNG = np.random.default_rng(0)
FLOATS = RNG.normal(size=(4, 6)).astype(np.float32)
BYTES = RNG.integers(-128, 128, (4, 6)).astype(np.int8)
SCALES = RNG.uniform(0.01, 0.1, 24).astype(np.float32)
FLOAT, INT8, UINT8, HALF = (TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8,
                            TensorProto.FLOAT16)  # fmt: skip


def scalar(value: float, dtype: str) -> np.ndarray:
    return np.array(value, dtype)


def four_bits() -> TensorProto:
    values = (BYTES // 16).reshape(-1)
    return helper.make_tensor("x", TensorProto.INT4, BYTES.shape, values)


DEQUANTIZED: dict[str, tuple[Tensors, int, dict[str, Any]]] = {
    "one scale": ({"x": BYTES, "s": scalar(0.1, "f4"), "z": scalar(5, "i1")}, FLOAT, {}),
    "no zero point": ({"x": BYTES, "s": scalar(0.1, "f4")}, FLOAT, {}),
    "a list of one": ({"x": BYTES, "s": SCALES[:1]}, FLOAT, {}),
    "rows": ({"x": BYTES, "s": SCALES[:4], "z": BYTES[:, 0]}, FLOAT, {"axis": 0}),
    "columns": ({"x": BYTES, "s": SCALES[:6], "z": BYTES[0]}, FLOAT, {}),
    "last axis": ({"x": BYTES, "s": SCALES[:6]}, FLOAT, {"axis": -1}),
    "blocks": ({"x": BYTES, "s": SCALES[:12].reshape(4, 3)}, FLOAT, {"block_size": 2}),
    "blocks of rows": (
        {"x": BYTES, "s": SCALES[:12].reshape(2, 6)}, FLOAT, {"block_size": 2, "axis": 0}
    ),
    "half": ({"x": BYTES, "s": scalar(0.1, "f2")}, HALF, {}),
    "biases": ({"x": BYTES.astype(np.int32) * 1000, "s": scalar(0.1, "f4")}, FLOAT, {}),
    "four bits": ({"x": four_bits(), "s": scalar(0.1, "f4")}, FLOAT, {}),
}  # fmt: skip
QUANTIZED: dict[str, tuple[Tensors, int, dict[str, Any]]] = {
    "one scale": ({"x": FLOATS, "s": scalar(0.01, "f4"), "z": scalar(5, "i1")}, INT8, {}),
    "ties": ({"x": np.arange(-9, 9, dtype="f4") / 2, "s": scalar(1, "f4")}, UINT8, {}),
    "columns": ({"x": FLOATS, "s": SCALES[:6], "z": BYTES[0]}, INT8, {}),
}


@pytest.mark.parametrize("name", DEQUANTIZED)
def test_dequantized(name: str) -> None:
    tensors, out, attributes = DEQUANTIZED[name]
    folded, expected = both("DequantizeLinear", tensors, out, **attributes)
    assert folded is not None
    assert folded.dtype == expected.dtype
    assert np.array_equal(folded, expected)


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized(name: str) -> None:
    tensors, out, attributes = QUANTIZED[name]
    folded, expected = both("QuantizeLinear", tensors, out, **attributes)
    assert folded is not None
    assert folded.dtype == expected.dtype
    assert np.array_equal(folded, expected)


@pytest.mark.parametrize("op", ["Abs", "Ceil", "Floor", "Round", "Sign", "Sqrt"])
def test_one_operand(op: str) -> None:
    values = np.abs(FLOATS) if op == "Sqrt" else np.array([-1.5, -0.5, 0, 0.5, 2.5], np.float32)
    folded, expected = both(op, {"x": values}, FLOAT)
    assert folded is not None
    assert np.array_equal(folded, expected)


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_two_operands(op: str) -> None:
    folded, expected = both(op, {"x": FLOATS, "k": scalar(0.25, "f4")}, FLOAT)
    assert folded is not None
    assert np.array_equal(folded, expected)
    node = helper.make_node(op, ["x", "x", "x"], ["y"])
    tensors = {"x": numpy_helper.from_array(FLOATS, "x")}
    assert Constants(tensors, [node], TensorReader("", None)).value("y") is None


def test_wide_weights_stored_narrow() -> None:
    narrow = helper.make_tensor("x", TensorProto.BFLOAT16, FLOATS.shape, FLOATS.reshape(-1))
    folded, expected = both("Cast", {"x": narrow}, FLOAT, to=FLOAT)
    assert folded is not None
    assert folded.dtype == np.float32
    assert np.array_equal(folded, expected)
    assert np.allclose(folded, FLOATS, rtol=1e-2)


@pytest.mark.parametrize(
    ("op", "tensors"),
    [
        ("QuantizeLinear", {"x": np.full(3, np.nan, "f4"), "s": scalar(1, "f4")}),
        ("DequantizeLinear", {"x": BYTES, "s": SCALES[:5]}),
        ("DequantizeLinear", {"x": FLOATS, "s": SCALES[:1]}),
        ("DequantizeLinear", {"x": BYTES}),
    ],
)
def test_what_has_no_one_value_is_not_folded(op: str, tensors: Tensors) -> None:
    node = helper.make_node(op, list(tensors), ["y"])
    protos = {
        name: numpy_helper.from_array(value, name)
        for name, value in tensors.items()
        if isinstance(value, np.ndarray)
    }
    assert Constants(protos, [node], TensorReader("", None)).value("y") is None


def test_a_weight_behind_a_quantizer_is_a_layer(make_onnx: Any, check_host: Any) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    weights = {"q": BYTES, "s": SCALES[:6], "z": BYTES[0]}
    model: onnx.ModelProto = make_onnx(nodes, {"x": ["N", 4]}, ["y"], weights)
    program = check_host(model, {"x": FLOATS[:, :4]})
    steps = BYTES.astype("f4") - BYTES[0].astype("f4")
    assert np.array_equal(program.layers[0].weight, (steps * SCALES[:6]).T)

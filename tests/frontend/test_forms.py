"""Every form of Gemm and MatMul: the host with the layer's matrix is the model itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnx2mzi.backends.onnx_model import photonic_model
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import LinearLayer, Program
from onnx2mzi.ir.verify import verify

MakeModel = Callable[..., onnx.ModelProto]
Arrays = dict[str, np.ndarray]

K, N, B = 5, 3, 4


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def asked(program: Program) -> Arrays:
    return {layer.name: layer.weight for layer in program.layers}


def check(model: onnx.ModelProto, inputs: Arrays, tolerance: float = 1e-6) -> Program:
    """The host, and the photonic model, give what onnxruntime makes of the model."""
    data = model.SerializeToString()
    program = import_model(data)
    assert not verify(program)
    expected = reference_run(data, inputs)
    runner = HostRunner(program.host) if program.host else None
    assert runner is not None and program.host is not None
    assert relative_error(runner.run(asked(program), program.layers, inputs), expected) < tolerance
    photonic = photonic_model(program.host, program.layers, asked(program))
    assert relative_error(reference_run(photonic, inputs), expected) < tolerance
    # The matrix must really come from the binding: another one gives other outputs.
    other = {name: 2 * matrix + 1 for name, matrix in asked(program).items()}
    assert relative_error(runner.run(other, program.layers, inputs), expected) > 0.01
    return program


def only_layer(program: Program) -> LinearLayer:
    (layer,) = program.layers
    return layer


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 26])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("trans_a", [0, 1])
def test_gemm_with_its_weight_on_the_right(
    make_onnx: MakeModel, trans_a: int, trans_b: int, opset: int
) -> None:
    a, b = numbers(*((K, B) if trans_a else (B, K))), numbers(*((N, K) if trans_b else (K, N)))
    node = helper.make_node(
        "Gemm", ["a", "b", "c"], ["y"], alpha=0.5, beta=2.0, transA=trans_a, transB=trans_b
    )
    weights = {"b": b, "c": numbers(N)}
    program = check(make_onnx([node], {"a": [None, None]}, ["y"], weights, opset=opset), {"a": a})
    layer = only_layer(program)
    assert np.array_equal(layer.weight, 0.5 * (b if trans_b else b.T).astype(np.float64))
    assert layer.operand.axis == (-2 if trans_a else -1)
    assert program.host is not None and not program.host.electronic


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("trans_a", [0, 1])
def test_gemm_with_its_weight_on_the_left(make_onnx: MakeModel, trans_a: int, trans_b: int) -> None:
    a, b = numbers(*((K, N) if trans_a else (N, K))), numbers(*((B, K) if trans_b else (K, B)))
    node = helper.make_node(
        "Gemm", ["a", "b", "c"], ["y"], alpha=-3.0, beta=0.25, transA=trans_a, transB=trans_b
    )
    weights = {"a": a, "c": numbers(N, 1)}
    layer = only_layer(check(make_onnx([node], {"b": [None, None]}, ["y"], weights), {"b": b}))
    assert np.array_equal(layer.weight, -3.0 * (a.T if trans_a else a).astype(np.float64))
    assert layer.operand.axis == (-1 if trans_b else -2)


@pytest.mark.parametrize("shape", [(), (1,), (N,), (1, N), (B, 1), (B, N), (1, 1)])
def test_gemm_bias_of_every_shape_stays_electronic(
    make_onnx: MakeModel, shape: tuple[int, ...]
) -> None:
    node = helper.make_node("Gemm", ["a", "b", "c"], ["y"], beta=0.5)
    weights = {"b": numbers(K, N), "c": numbers(*shape)}
    check(make_onnx([node], {"a": [B, K]}, ["y"], weights), {"a": numbers(B, K)})


def test_gemm_without_bias_and_with_a_bias_made_at_run_time(make_onnx: MakeModel) -> None:
    bare = helper.make_node("Gemm", ["a", "b"], ["y"])
    check(make_onnx([bare], {"a": ["N", K]}, ["y"], {"b": numbers(K, N)}), {"a": numbers(B, K)})
    fed = helper.make_node("Gemm", ["a", "b", "c"], ["y"], beta=3.0)
    model = make_onnx([fed], {"a": ["N", K], "c": [N]}, ["y"], {"b": numbers(K, N)})
    data = model.SerializeToString()
    program = import_model(data)
    inputs = {"a": numbers(B, K), "c": numbers(N)}
    assert program.host is not None
    outputs = HostRunner(program.host).run(asked(program), program.layers, inputs)
    assert relative_error(outputs, reference_run(data, inputs)) < 1e-6


# Shapes of the activations and the weight; whether the weight is on the left.
MATMULS: list[tuple[tuple[int, ...], tuple[int, ...], bool]] = [
    ((B, K), (K, N), False),
    ((K,), (K, N), False),
    ((B, K), (K,), False),
    ((2, B, K), (K, N), False),
    ((2, 2, B, K), (K,), False),
    ((2, B, K), (1, K, N), False),
    ((B, K), (1, 1, K, N), False),
    ((K, B), (N, K), True),
    ((K,), (N, K), True),
    ((K, B), (K,), True),
    ((2, K, B), (N, K), True),
    ((2, K, B), (K,), True),
    ((2, K, B), (1, N, K), True),
    ((K,), (1, 1, N, K), True),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "left"), MATMULS)
def test_matmul(
    make_onnx: MakeModel, x_shape: tuple[int, ...], w_shape: tuple[int, ...], left: bool
) -> None:
    x, w = numbers(*x_shape), numbers(*w_shape, seed=1)
    node = helper.make_node("MatMul", ["w", "x"] if left else ["x", "w"], ["y"])
    program = check(make_onnx([node], {"x": x_shape}, ["y"], {"w": w}), {"x": x})
    layer = only_layer(program)
    assert program.host is not None
    inputs = HostRunner(program.host).layer_inputs({}, program.layers, {"x": x})[layer.name]
    assert inputs.shape == (K, x.size // K)
    # Every vector of the host tensor, times the weight, is somewhere in the product.
    product = (w @ x if left else x @ w).astype(np.float64)
    mine = np.sort((layer.weight @ inputs).ravel())
    assert np.allclose(mine, np.sort(product.ravel()), atol=1e-5)


def test_matmul_with_a_bias_added_on_either_side(make_onnx: MakeModel) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["c", "h"], ["y"]),
    ]
    weights = {"w": numbers(K, N), "c": numbers(N)}
    check(make_onnx(nodes, {"x": ["N", K]}, ["y"], weights), {"x": numbers(B, K)})


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-2), ("float64", 1e-12)])
def test_weights_of_other_widths(make_onnx: MakeModel, dtype: str, tolerance: float) -> None:
    node = helper.make_node("Gemm", ["x", "w", "c"], ["y"], transB=1)
    weights = {"w": numbers(N, K, dtype=dtype), "c": numbers(N, dtype=dtype)}
    model = make_onnx([node], {"x": ["N", K]}, ["y"], weights, dtype=dtype, opset=13)
    layer = only_layer(check(model, {"x": numbers(B, K, dtype=dtype)}, tolerance))
    assert layer.operand.dtype == dtype


def constant(array: np.ndarray, name: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def behind(*nodes: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [*nodes, helper.make_node("MatMul", ["x", "w"], ["y"])]


WEIGHT = numbers(K, N)
NODE = helper.make_node
# What stands between the constant and the product, and the constants.
HIDDEN: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "Constant": (behind(constant(WEIGHT, "w")), {}),
    "Identity": (behind(NODE("Identity", ["v"], ["w"])), {"v": WEIGHT}),
    "Transpose": (behind(NODE("Transpose", ["v"], ["w"], perm=[1, 0])), {"v": WEIGHT.T}),
    "Transpose of Constant": (
        behind(constant(np.ascontiguousarray(WEIGHT.T), "v"), NODE("Transpose", ["v"], ["w"])),
        {},
    ),
    "Reshape": (
        behind(NODE("Reshape", ["v", "s"], ["w"])),
        {"v": WEIGHT.reshape(1, -1), "s": ints(K, -1)},
    ),
    "Cast": (behind(NODE("Cast", ["v"], ["w"], to=1)), {"v": WEIGHT.astype(np.float64)}),
    "Unsqueeze and Squeeze": (
        behind(
            NODE("Unsqueeze", ["v", "i"], ["u"]),
            NODE("Squeeze", ["u", "i"], ["w"]),
        ),
        {"v": WEIGHT, "i": ints(0)},
    ),
    "Mul and Add": (
        behind(NODE("Mul", ["v", "k"], ["u"]), NODE("Add", ["u", "o"], ["w"])),
        {"v": WEIGHT, "k": numbers(N), "o": numbers(1)},
    ),
    "Concat of Slice and Gather": (
        behind(
            NODE("Slice", ["v", "zero", "two", "zero"], ["top"]),
            NODE("Gather", ["v", "rest"], ["bottom"], axis=0),
            NODE("Concat", ["top", "bottom"], ["w"], axis=0),
        ),
        {"v": WEIGHT, "zero": ints(0), "two": ints(2), "rest": ints(*range(2, K))},
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_weight_behind_constant_operators(make_onnx: MakeModel, name: str) -> None:
    nodes, weights = HIDDEN[name]
    arrays = {key: np.ascontiguousarray(value) for key, value in weights.items()}
    program = check(make_onnx(nodes, {"x": ["N", K]}, ["y"], arrays), {"x": numbers(B, K)})
    assert program.host is not None
    host = onnx.load_model_from_string(program.host.model)
    assert [node.op_type for node in host.graph.node] == ["MatMul"]
    assert not host.graph.initializer


def test_old_squeeze_and_unsqueeze_with_axes_as_attributes(make_onnx: MakeModel) -> None:
    nodes = behind(
        NODE("Unsqueeze", ["v"], ["u"], axes=[0, 3]),
        NODE("Squeeze", ["u"], ["w"], axes=[0, 3]),
    )
    check(make_onnx(nodes, {"x": ["N", K]}, ["y"], {"v": WEIGHT}, opset=8), {"x": numbers(B, K)})


def test_initializers_that_are_also_inputs_are_constants(make_onnx: MakeModel) -> None:
    nodes = [
        NODE("Gemm", ["x", "w", "c"], ["h"]),
        NODE("Mul", ["h", "k"], ["y"]),
    ]
    weights = {"w": WEIGHT, "c": numbers(N), "k": numbers(N, seed=3)}
    model = make_onnx(nodes, {"x": ["N", K]}, ["y"], weights, ir=3, opset=8)
    program = check(model, {"x": numbers(B, K)})
    assert program.host is not None
    assert [spec.name for spec in program.host.inputs] == ["x"]


def test_one_weight_in_two_nodes_is_two_layers(make_onnx: MakeModel) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["h"]),
        NODE("Relu", ["h"], ["r"]),
        NODE("MatMul", ["r", "w"], ["y"]),
    ]
    square = numbers(K, K)
    model = make_onnx(nodes, {"x": ["N", K]}, ["y"], {"w": square})
    program = check(model, {"x": numbers(B, K)})
    first, second = program.layers
    assert first.name != second.name
    assert first.operand.binding != second.operand.binding
    assert first.loc.tensor == second.loc.tensor == "w"


def test_a_weight_that_something_else_reads_stays_in_the_host(make_onnx: MakeModel) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["h"]),
        NODE("ReduceMax", ["w"], ["m"], keepdims=0),
        NODE("Div", ["h", "m"], ["y"]),
    ]
    check(make_onnx(nodes, {"x": ["N", K]}, ["y"], {"w": WEIGHT}), {"x": numbers(B, K)})


def test_several_inputs_and_outputs_keep_names_and_order(make_onnx: MakeModel) -> None:
    nodes = [
        NODE("Gemm", ["7", "w"], ["9"]),
        NODE("MatMul", ["3", "v"], ["8"]),
        NODE("Add", ["8", "9"], ["12"]),
    ]
    weights = {"w": WEIGHT, "v": numbers(2, N)}
    model = make_onnx(nodes, {"7": ["N", K], "3": ["N", 2]}, ["12", "8", "7"], weights)
    program = check(model, {"7": numbers(B, K), "3": numbers(B, 2)})
    assert program.host is not None
    assert [spec.name for spec in program.host.inputs] == ["7", "3"]
    assert [spec.name for spec in program.host.outputs] == ["12", "8", "7"]
    assert [layer.name for layer in program.layers] == ["Gemm_9", "MatMul_8"]


def test_the_models_in_a_ring_of_nodes_out_of_order(make_onnx: MakeModel) -> None:
    nodes = [NODE("Relu", ["h"], ["y"]), NODE("MatMul", ["x", "w"], ["h"])]
    program = import_model(make_onnx(nodes, {"x": ["N", K]}, ["y"], {"w": WEIGHT}))
    assert only_layer(program).name == "MatMul_h"


def test_the_models_own_proto_is_not_changed(make_onnx: MakeModel) -> None:
    node = NODE("MatMul", ["x", "w"], ["y"], name="fc", doc_string="at line 3")
    model = make_onnx([node], {"x": [1, K]}, ["y"], {"w": WEIGHT})
    before = model.SerializeToString(deterministic=True)
    program = import_model(model)
    assert model.SerializeToString(deterministic=True) == before
    assert program.host is not None and b"at line 3" not in program.host.model


def test_a_layer_that_no_output_depends_on_gets_no_mesh(make_onnx: MakeModel) -> None:
    nodes = [NODE("MatMul", ["x", "w"], ["y"]), NODE("MatMul", ["x", "w"], ["unused"])]
    program = check(make_onnx(nodes, {"x": ["N", K]}, ["y"], {"w": WEIGHT}), {"x": numbers(B, K)})
    assert [layer.name for layer in program.layers] == ["MatMul_y"]


def test_same_model_same_bytes(make_onnx: MakeModel) -> None:
    model = make_onnx(behind(constant(WEIGHT, "w")), {"x": ["N", K]}, ["y"], {})
    first, second = import_model(model), import_model(model)
    assert first.host is not None and second.host is not None
    assert first.host.model == second.host.model
    photonic = [photonic_model(p.host, p.layers, asked(p)) for p in (first, second) if p.host]
    assert photonic[0] == photonic[1]

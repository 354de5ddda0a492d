"""BatchNormalization folded into the layer before or behind it, against onnxruntime."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

import onnx2mzi
from onnx2mzi.backends.onnx_model import photonic_model
from onnx2mzi.backends.report.making import electronic_section
from onnx2mzi.cli import render
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program

MakeModel = Callable[..., onnx.ModelProto]
CheckHost = Callable[..., Program]
Arrays = dict[str, np.ndarray]
NODE = helper.make_node
TOLERANCE = 1e-5


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def statistics(channels: int, prefix: str = "", seed: int = 5) -> Arrays:
    rng = np.random.default_rng([seed, channels])
    return {
        prefix + "scale": rng.uniform(0.5, 2.0, channels).astype("f4"),
        prefix + "bias": rng.normal(size=channels).astype("f4"),
        prefix + "mean": rng.normal(size=channels).astype("f4"),
        prefix + "var": rng.uniform(0.2, 3.0, channels).astype("f4"),
    }


def norm(x: str, y: str, prefix: str = "", **attributes: Any) -> onnx.NodeProto:
    given = [prefix + name for name in ("scale", "bias", "mean", "var")]
    return NODE("BatchNormalization", [x, *given], [y], name=f"norm_{y}", **attributes)


def host_ops(program: Program) -> list[str]:
    assert program.host is not None
    return [node.op_type for node in ModelProto.FromString(program.host.model).graph.node]


@pytest.fixture
def gone(make_onnx: MakeModel, check_host: CheckHost) -> Callable[..., Program]:
    """The program of a model whose norms all go, after onnxruntime agreed."""

    def check(
        nodes: Sequence[onnx.NodeProto], x: np.ndarray, weights: Arrays, **how: Any
    ) -> Program:
        shape = how.pop("shape", ["N", *x.shape[1:]])
        model = make_onnx(nodes, {"x": shape}, ["y"], weights, **how)
        program = check_host(model, {"x": x}, TOLERANCE)
        assert "BatchNormalization" not in host_ops(program)
        assert sum(len(layer.folds) for layer in program.layers) > 0
        return program

    return check


Gone = Callable[..., Program]

# Attributes and the kernel's shape for inputs of 4 channels, 6 x 7.
CONVS: list[tuple[str, dict[str, Any], tuple[int, ...], int]] = [
    ("Conv", {}, (6, 4, 3, 3), 6),
    ("Conv", {"pads": [1, 0, 2, 1], "strides": [2, 1]}, (6, 4, 3, 3), 6),
    ("Conv", {"group": 2, "auto_pad": "SAME_UPPER"}, (6, 2, 3, 2), 6),
    ("Conv", {"group": 4}, (4, 1, 3, 3), 4),
    ("ConvTranspose", {"strides": [2, 2]}, (4, 5, 3, 3), 5),
    ("ConvTranspose", {"group": 2, "pads": [1, 1, 1, 1]}, (4, 3, 3, 3), 6),
]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("op", "attributes", "kernel", "channels"), CONVS)
def test_behind_a_convolution(
    gone: Gone, op: str, attributes: dict[str, Any], kernel: tuple[int, ...], channels: int,
    bias: bool,
) -> None:  # fmt: skip
    inputs = ["x", "k", *["b"][:bias]]
    nodes = [NODE(op, inputs, ["h"], **attributes), norm("h", "y", epsilon=0.01)]
    weights = {"k": numbers(*kernel), **statistics(channels)}
    if bias:
        weights["b"] = numbers(channels, seed=9)
    program = gone(nodes, numbers(2, 4, 6, 7), weights)
    assert all(layer.folds == ("norm_y",) for layer in program.layers)
    # The matrix is what the chip does: the kernel times the norm's factors.
    factor = weights["scale"] / np.sqrt(weights["var"] + 0.01)
    if op == "Conv":
        found = np.concatenate([layer.weight for layer in program.layers])
        assert np.allclose(found, factor[:, None] * weights["k"].reshape(channels, -1), rtol=1e-6)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 15, 22])
def test_of_every_opset(gone: Gone, opset: int) -> None:
    nodes = [NODE("Conv", ["x", "k"], ["h"]), norm("h", "y")]
    gone(nodes, numbers(2, 3, 5, 5), {"k": numbers(4, 3, 2, 2), **statistics(4)}, opset=opset)


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"alpha": 0.5, "beta": -2.0}])
@pytest.mark.parametrize("bias", [None, (), (3,), (1, 3)])
def test_behind_and_before_a_gemm(
    gone: Gone, attributes: dict[str, Any], bias: tuple[int, ...] | None
) -> None:
    inputs = ["h", "w", *["c"][: bias is not None]]
    nodes = [norm("x", "h", "in_"), NODE("Gemm", inputs, ["p"], **attributes), norm("p", "y")]
    weights = {
        "w": numbers(*((3, 5) if "transB" in attributes else (5, 3))),
        **statistics(3),
        **statistics(5, "in_"),
    }
    if bias is not None:
        weights["c"] = numbers(*bias, seed=2)
    program = gone(nodes, numbers(6, 5), weights)
    assert program.layers[0].folds == ("norm_h", "norm_y")
    assert program.layers[0].operand.source == "x"


def test_gemm_with_its_weight_on_the_left(gone: Gone) -> None:
    nodes = [
        norm("x", "t", "in_"),
        NODE("Transpose", ["t"], ["u"], perm=[1, 0]),
        NODE("Gemm", ["w", "u", "c"], ["p"]),
        NODE("Transpose", ["p"], ["q"]),
        norm("q", "y"),
    ]
    weights = {"w": numbers(3, 5), "c": numbers(3, 1), **statistics(3), **statistics(5, "in_")}
    program = gone(nodes, numbers(6, 5), weights)
    assert program.layers[0].folds == ("norm_t", "norm_y")


def test_matmul_with_a_bias_added_behind(gone: Gone) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["p"]),
        NODE("Add", ["c", "p"], ["q"]),
        norm("q", "y"),
    ]
    program = gone(nodes, numbers(6, 5), {"w": numbers(5, 3), "c": numbers(3), **statistics(3)})
    assert host_ops(program) == ["MatMul", "Add"]


def test_matmul_without_bias_gets_one(gone: Gone) -> None:
    nodes = [norm("x", "h", "in_"), NODE("MatMul", ["h", "w"], ["p"]), norm("p", "y")]
    weights = {"w": numbers(5, 3), **statistics(3), **statistics(5, "in_")}
    assert host_ops(gone(nodes, numbers(6, 5), weights)) == ["MatMul", "Add"]


def test_behind_unsqueeze_transpose_and_reshape(gone: Gone) -> None:
    # As exporters put a norm of one dimension behind a dense layer.
    around = [
        NODE("Gemm", ["x", "w"], ["p"]),
        NODE("Unsqueeze", ["p", "two"], ["q"]),
        norm("q", "r"),
        NODE("Squeeze", ["r", "two"], ["y"]),
    ]
    weights = {"w": numbers(5, 3), "two": np.array([2], np.int64), **statistics(3)}
    gone(around, numbers(6, 5), weights)
    turned = [
        NODE("MatMul", ["x", "w"], ["p"]),
        NODE("Add", ["p", "c"], ["q"]),
        NODE("Transpose", ["q"], ["r"], perm=[0, 2, 1]),
        norm("r", "s"),
        NODE("Transpose", ["s"], ["y"], perm=[0, 2, 1]),
    ]
    weights = {"w": numbers(5, 3), "c": numbers(3), **statistics(3)}
    gone(turned, numbers(2, 4, 5), weights)
    folded = [
        NODE("Gemm", ["x", "w", "b"], ["p"]),
        NODE("Reshape", ["p", "shape"], ["q"]),
        norm("q", "y"),
    ]
    weights = {"w": numbers(5, 12), "b": numbers(12), **statistics(3)}
    weights["shape"] = np.array([-1, 3, 2, 2], np.int64)
    program = gone(folded, numbers(6, 5), weights)
    factor = weights["scale"] / np.sqrt(weights["var"] + 1e-5)
    asked = np.repeat(factor, 4)[:, None] * weights["w"].T
    assert np.allclose(program.layers[0].weight, asked, rtol=1e-6)


def test_before_a_dense_layer_behind_flatten_and_transposes(gone: Gone) -> None:
    nodes = [norm("x", "p"), NODE("Flatten", ["p"], ["q"]), NODE("Gemm", ["q", "w"], ["y"])]
    gone(nodes, numbers(2, 3, 2, 2), {"w": numbers(12, 5), **statistics(3)})
    nodes = [
        norm("x", "p"),
        NODE("Transpose", ["p"], ["q"], perm=[0, 2, 1]),
        NODE("MatMul", ["q", "w"], ["y"]),
    ]
    gone(nodes, numbers(2, 3, 4), {"w": numbers(3, 5), **statistics(3)})
    nodes = [
        norm("x", "p"),
        NODE("Squeeze", ["p"], ["q"], axes=[-1]),
        NODE("Unsqueeze", ["q"], ["r"], axes=[0]),
        NODE("MatMul", ["r", "w"], ["y"]),
    ]
    gone(nodes, numbers(4, 3, 1), {"w": numbers(3, 5), **statistics(3)}, opset=11)


@pytest.mark.parametrize(("op", "attributes", "kernel", "channels"), CONVS[:1] + CONVS[2:4])
def test_before_a_convolution_without_padding(
    gone: Gone, op: str, attributes: dict[str, Any], kernel: tuple[int, ...], channels: int
) -> None:
    attributes = {key: value for key, value in attributes.items() if key != "auto_pad"}
    nodes = [norm("x", "h"), NODE(op, ["h", "k"], ["y"], **attributes)]
    gone(nodes, numbers(2, 4, 6, 7), {"k": numbers(*kernel), **statistics(4)})


def test_before_a_padded_convolution_only_without_a_shift(
    gone: Gone, make_onnx: MakeModel, check_host: CheckHost
) -> None:
    nodes = [norm("x", "h"), NODE("Conv", ["h", "k"], ["y"], pads=[1, 1, 1, 1])]
    weights = {"k": numbers(6, 4, 3, 3), **statistics(4)}
    x = numbers(2, 4, 6, 7)
    program = check_host(make_onnx(nodes, {"x": ["N", 4, 6, 7]}, ["y"], weights), {"x": x})
    assert "BatchNormalization" in host_ops(program)
    assert program.layers[0].folds == ()
    gone(nodes, x, {**weights, "bias": np.zeros(4, "f4"), "mean": np.zeros(4, "f4")})
    nodes = [norm("x", "h"), NODE("ConvTranspose", ["h", "k"], ["y"])]
    weights["k"] = numbers(4, 3, 3, 3)
    program = check_host(make_onnx(nodes, {"x": ["N", 4, 6, 7]}, ["y"], weights), {"x": x})
    assert "BatchNormalization" in host_ops(program)
    gone(nodes, x, {**weights, "bias": np.zeros(4, "f4"), "mean": np.zeros(4, "f4")})


def test_between_two_layers_it_goes_into_the_first(gone: Gone) -> None:
    nodes = [
        NODE("Conv", ["x", "k"], ["h"], name="one"),
        norm("h", "n"),
        NODE("Conv", ["n", "m"], ["y"], name="two", pads=[1, 1, 1, 1]),
    ]
    weights = {"k": numbers(6, 4, 1, 1), "m": numbers(2, 6, 3, 3), **statistics(6)}
    program = gone(nodes, numbers(2, 4, 5, 5), weights)
    assert [(layer.name, layer.folds) for layer in program.layers] == [
        ("one", ("norm_n",)),
        ("two", ()),
    ]


def test_a_weight_that_two_layers_share(gone: Gone) -> None:
    nodes = [
        NODE("Gemm", ["x", "w"], ["h"]),
        norm("h", "n"),
        NODE("Gemm", ["n", "w"], ["y"]),
    ]
    program = gone(nodes, numbers(6, 4), {"w": numbers(4, 4), **statistics(4)})
    one, two = program.layers
    assert one.folds and not two.folds
    assert np.array_equal(two.weight, numbers(4, 4).T.astype(np.float64))


def test_inside_a_branch(make_onnx: MakeModel, check_host: CheckHost) -> None:
    value = helper.make_tensor_value_info
    inner = [NODE("Conv", ["x", "k"], ["h"]), norm("h", "n")]
    then = helper.make_graph(inner, "then", [], [value("n", 1, None)])
    other = helper.make_graph([NODE("Identity", ["x"], ["i"])], "else", [], [value("i", 1, None)])
    nodes = [
        NODE("ReduceMax", ["x"], ["m"], keepdims=0),
        NODE("Cast", ["m"], ["t"], to=9),
        NODE("If", ["t"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {"k": numbers(4, 4, 1, 1), **statistics(4)}
    model = make_onnx(nodes, {"x": ["N", 4, 5, 5]}, ["y"], weights)
    program = check_host(model, {"x": numbers(2, 4, 5, 5)}, TOLERANCE)
    assert len(program.layers[0].folds) == 1
    assert program.host is not None and b"BatchNormalization" not in program.host.model


def stays(make_onnx: MakeModel, nodes: Sequence[onnx.NodeProto], weights: Arrays,
          outputs: Sequence[str] = ("y",), **how: Any) -> Program:  # fmt: skip
    model = make_onnx(nodes, {"x": ["N", 4, 5, 5]}, outputs, weights)
    program = import_model(model, **how)
    assert "BatchNormalization" in host_ops(program)
    assert all(layer.folds == () for layer in program.layers)
    return program


def test_it_stays_where_folding_would_change_something(make_onnx: MakeModel) -> None:
    weights = {"k": numbers(6, 4, 3, 3), **statistics(6)}
    conv = NODE("Conv", ["x", "k"], ["h"])
    # The value between is an output, is used by another node, or by a graph inside a node.
    stays(make_onnx, [conv, norm("h", "y")], weights, ("y", "h"))
    relu = NODE("Relu", ["h"], ["z"])
    stays(make_onnx, [conv, norm("h", "y"), relu], weights, ("y", "z"))
    body = helper.make_graph(
        [NODE("Identity", ["h"], ["i"])], "b", [], [helper.make_tensor_value_info("i", 1, None)]
    )
    branch = [
        NODE("ReduceMax", ["x"], ["m"], keepdims=0),
        NODE("Cast", ["m"], ["t"], to=9),
        NODE("If", ["t"], ["z"], then_branch=body, else_branch=body),
    ]
    stays(make_onnx, [conv, norm("h", "y"), *branch], weights, ("y", "z"))
    # Statistics made at run time.
    nodes = [conv, NODE("Abs", ["m0"], ["m1"]), NODE("Mul", ["m1", "s"], ["mean"]),
             NODE("ReduceMax", ["x"], ["s"], keepdims=0), norm("h", "y")]  # fmt: skip
    given = {**weights, "m0": weights["mean"]}
    del given["mean"]
    stays(make_onnx, nodes, given)
    # Channels that lie across the rows: every pixel has its own.
    nodes = [conv, NODE("Flatten", ["h"], ["f"]), norm("f", "y")]
    stays(make_onnx, nodes, {"k": weights["k"], **statistics(54)})
    # Other things between.
    nodes = [conv, NODE("Relu", ["h"], ["r"]), norm("r", "y")]
    stays(make_onnx, nodes, weights)


def test_training_mode_stays(make_onnx: MakeModel) -> None:
    weights = {"k": numbers(6, 4, 3, 3), **statistics(6)}
    trained = norm("h", "y", training_mode=1)
    trained.output.extend(["running_mean", "running_var"])
    stays(make_onnx, [NODE("Conv", ["x", "k"], ["h"]), trained], weights)


def test_float16_stays_for_it_would_be_rounded_again(make_onnx: MakeModel) -> None:
    weights = {"k": numbers(6, 4, 3, 3), **statistics(6)}
    half = {name: array.astype(np.float16) for name, array in weights.items()}
    nodes = [NODE("Conv", ["x", "k"], ["h"]), norm("h", "y")]
    model = make_onnx(nodes, {"x": ["N", 4, 5, 5]}, ["y"], half, dtype="float16")
    assert "BatchNormalization" in host_ops(import_model(model))


def test_only_and_exclude(make_onnx: MakeModel, check_host: CheckHost) -> None:
    nodes = [
        NODE("Conv", ["x", "k"], ["h"], name="one"),
        norm("h", "n"),
        NODE("Conv", ["n", "m"], ["y"], name="two"),
    ]
    weights = {"k": numbers(6, 4, 1, 1), "m": numbers(2, 6, 1, 1), **statistics(6)}
    model = make_onnx(nodes, {"x": ["N", 4, 5, 5]}, ["y"], weights)
    program = import_model(model, exclude=["one"])
    assert [layer.name for layer in program.layers] == ["two"]
    assert "BatchNormalization" in host_ops(program)
    program = import_model(model, only=["one"])
    assert program.layers[0].folds == ("norm_n",)
    program = import_model(model, exclude=["norm_n"])
    assert [layer.folds for layer in program.layers] == [(), ()]


def test_numbers_that_float32_cannot_hold_are_not_folded(make_onnx: MakeModel) -> None:
    nodes = [NODE("Conv", ["x", "k"], ["h"]), norm("h", "y", epsilon=0.0)]
    weights = {"k": numbers(6, 4, 3, 3), **statistics(6)}
    for name, value in (("var", 0.0), ("var", -1.0), ("scale", 3e38), ("mean", np.inf)):
        broken = {**weights, name: np.full(6, value, np.float32)}
        stays(make_onnx, nodes, broken)


def test_constants_that_do_not_fit_are_refused_as_ever(make_onnx: MakeModel) -> None:
    given = {"w": numbers(5, 3), "c": numbers(4), **statistics(3)}
    gemm = [NODE("Gemm", ["x", "w", "c"], ["h"]), norm("h", "y")]
    with pytest.raises(InputError, match="bias 'c' has shape"):
        import_model(make_onnx(gemm, {"x": ["N", 5]}, ["y"], given))
    add = [NODE("MatMul", ["x", "w"], ["p"]), NODE("Add", ["p", "c"], ["h"]), norm("h", "y")]
    with pytest.raises(InputError, match="onnxruntime refuses"):
        import_model(make_onnx(add, {"x": ["N", 5]}, ["y"], given))


def test_the_photonic_model_has_no_norm(make_onnx: MakeModel) -> None:
    nodes = [NODE("Conv", ["x", "k"], ["h"]), norm("h", "y")]
    weights = {"k": numbers(6, 4, 3, 3), **statistics(6)}
    program = import_model(make_onnx(nodes, {"x": ["N", 4, 5, 5]}, ["y"], weights))
    assert program.host is not None
    asked = {layer.name: layer.weight for layer in program.layers}
    model = ModelProto.FromString(photonic_model(program.host, program.layers, asked))
    assert [node.op_type for node in model.graph.node] == ["Reshape", "Conv"]
    assert not [t.name for t in model.graph.initializer if t.name in ("scale", "mean", "var")]


def test_the_report_says_what_is_folded(make_onnx: MakeModel) -> None:
    nodes = [NODE("Conv", ["x", "k"], ["h"], "conv"), norm("h", "y")]
    weights = {"k": numbers(6, 4, 3, 3), **statistics(6)}
    model = make_onnx(nodes, {"x": ["N", 4, 5, 5]}, ["y"], weights).SerializeToString()
    chip = onnx2mzi.compile(model, 0)
    assert [row["folds"] for row in chip.report["layers"]] == [["norm_y"]]
    assert chip.report["max_rel_error"] < TOLERANCE
    assert "node 'norm_y' into conv" in render.folded(chip.report)
    assert "do as well (1): norm_y" in str(electronic_section(chip.report))

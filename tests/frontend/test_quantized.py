"""Products of integers against onnxruntime: exact, and exact for any chip good to half a step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnx2mzi
from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program

CheckHost = Callable[..., Program]
Arrays = dict[str, np.ndarray]


def integers(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    ends = np.iinfo(dtype)
    rng = np.random.default_rng([seed, *shape])
    return rng.integers(ends.min, ends.max + 1, shape).astype(dtype)


def single(value: float, dtype: str = "float32") -> np.ndarray:
    return np.array(value, dtype)


def model_of(
    op: str, names: list[str], x: np.ndarray, out: str, weights: Arrays, **attributes: Any
) -> onnx.ModelProto:
    """One node with the input `x` and the output `y` of type `out`."""
    element = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "net",
        [helper.make_tensor_value_info("x", element(x.dtype), [None, *x.shape[1:]])],
        [helper.make_tensor_value_info("y", element(np.dtype(out)), None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def qlinear_matmul(kind: str, zero: np.ndarray, *stack: int) -> tuple[onnx.ModelProto, Arrays]:
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    weights = {
        "xs": single(0.02),
        "xz": single(3, kind),
        "w": integers(kind, *stack, 5, 4),
        "ws": single(0.01),
        "wz": zero,
        "ys": single(0.5),
        "yz": single(7, kind),
    }
    x = integers(kind, *(stack or (2,)), 3, 5)
    return model_of("QLinearMatMul", names, x, kind, weights), {"x": x}


@pytest.mark.parametrize("stack", [(), (2,)])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_qlinear_matmul(check_host: CheckHost, kind: str, stack: tuple[int, ...]) -> None:
    model, inputs = qlinear_matmul(kind, single(9, kind), *stack)
    program = check_host(model, inputs, tolerance=0.0)
    w = numpy_helper.to_array(model.graph.initializer[2]).astype(float) - 9
    assert len(program.layers) == (2 if stack else 1)
    assert np.array_equal(program.layers[0].weight, (w[0] if stack else w).T)
    assert program.host is not None and not program.host.electronic


def test_a_zero_point_for_every_column(check_host: CheckHost) -> None:
    zero = np.array([1, 200, 3, 128], np.uint8)
    model, inputs = qlinear_matmul("uint8", zero)
    program = check_host(model, inputs, tolerance=0.0)
    w = numpy_helper.to_array(model.graph.initializer[2]).astype(float)
    assert np.array_equal(program.layers[0].weight, (w - zero).T)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("zeros", [[], ["xz"], ["xz", "wz"]])
def test_matmul_of_integers(check_host: CheckHost, zeros: list[str], left: bool) -> None:
    values = {"xz": single(11, "uint8"), "wz": single(-3, "int8")}
    if left:
        values["wz"] = values["wz"].astype(np.uint8)
    w = integers("uint8" if left else "int8", 3, 4)
    x = integers("uint8", 4, 3) if left else integers("uint8", 5, 3)
    names = ["w", "x", *zeros[::-1]] if left else ["x", "w", *zeros]
    if left and len(zeros) == 1:
        names = ["w", "x", "", "xz"]
    model = model_of("MatMulInteger", names, x, "int32", {"w": w, **{k: values[k] for k in zeros}})
    check_host(model, {"x": x}, tolerance=0.0)


@pytest.mark.parametrize("group", [1, 2])
def test_conv_of_integers(check_host: CheckHost, group: int) -> None:
    x, w = integers("uint8", 2, 4, 6, 5), integers("uint8", 6, 4 // group, 3, 2)
    weights = {"w": w, "xz": single(100, "uint8"), "wz": single(120, "uint8")}
    model = model_of(
        "ConvInteger", ["x", "w", "xz", "wz"], x, "int32", weights,
        group=group, pads=[1, 0, 1, 1], strides=[2, 1],
    )  # fmt: skip
    program = check_host(model, {"x": x}, tolerance=0.0)
    assert len(program.layers) == group


def test_qlinear_conv_with_a_zero_point_for_every_output(check_host: CheckHost) -> None:
    x, w = integers("uint8", 2, 3, 6, 5), integers("int8", 4, 3, 3, 3)
    weights = {
        "xs": single(0.03),
        "xz": single(128, "uint8"),
        "w": w,
        "ws": np.array([0.01, 0.02, 0.03, 0.04], np.float32),
        "wz": np.zeros(4, np.int8),
        "ys": single(0.9),
        "yz": single(110, "uint8"),
        "b": np.array([100, -200, 300, 4], np.int32),
    }
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    check_host(model_of("QLinearConv", names, x, "uint8", weights), {"x": x}, tolerance=0.0)


def test_less_than_half_a_step_changes_nothing_and_more_is_clipped() -> None:
    model, inputs = qlinear_matmul("int8", single(9, "int8"))
    data = model.SerializeToString()
    program = import_model(data)
    assert program.host is not None
    (layer,) = program.layers
    noise = np.random.default_rng(0).uniform(-0.49, 0.49, layer.weight.shape)
    runner = HostRunner(program.host)
    found = runner.run({layer.name: layer.weight + noise}, program.layers, inputs)
    assert np.array_equal(found["y"], reference_run(data, inputs)["y"])
    far = runner.run({layer.name: layer.weight * 1000}, program.layers, inputs)
    ends = np.where(layer.weight > 0, 127.0 - 9, np.where(layer.weight < 0, -128.0 - 9, 0.0))
    assert np.array_equal(far["y"], runner.run({layer.name: ends}, program.layers, inputs)["y"])


def test_the_vectors_are_integers_less_their_zero_point() -> None:
    model, inputs = qlinear_matmul("uint8", single(9, "uint8"))
    program = import_model(model)
    assert program.host is not None
    seen = HostRunner(program.host).layer_inputs({}, program.layers, inputs)
    expected = inputs["x"].astype(float).reshape(-1, 5).T - 3
    assert np.array_equal(seen[program.layers[0].name], expected)


def test_the_chip_gives_the_integers_of_the_model() -> None:
    model, inputs = qlinear_matmul("uint8", np.array([1, 200, 3, 128], np.uint8))
    data = model.SerializeToString()
    chip = onnx2mzi.compile(data, ports=4, input_shapes={"x": (2, 3, 5)})
    assert np.array_equal(chip.run(inputs)["y"], reference_run(data, inputs)["y"])


def test_what_stays_electronic() -> None:
    model, _ = qlinear_matmul("uint8", single(9, "uint8"))
    graph = model.graph
    (zero,) = (t for t in graph.initializer if t.name == "wz")
    graph.initializer.remove(zero)
    graph.input.append(helper.make_tensor_value_info("wz", onnx.TensorProto.UINT8, []))
    with pytest.raises(InputError, match="zero point 'wz' is no constant"):
        import_model(model)


def test_a_zero_point_that_does_not_fit_is_refused() -> None:
    model, _ = qlinear_matmul("uint8", np.zeros(3, np.uint8))
    with pytest.raises(InputError, match=r"zero point 'wz' has shape \[3\] .* \[5, 4\]"):
        import_model(model)

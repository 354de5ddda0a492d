"""The host on onnxruntime: batches, taps, probe inputs, and errors in one line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper, numpy_helper

from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import HostRunner, random_inputs, reference_run
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Host, Program, TensorSpec

Shape = Sequence[int | str | None]
NODE = helper.make_node
WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
DENSE = [NODE("Flatten", ["x"], ["f"]), NODE("MatMul", ["f", "w"], ["y"])]


def model_of(
    nodes: Sequence[NodeProto], inputs: Mapping[str, Shape], outputs: Sequence[str] = ("y",)
) -> bytes:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value(name, 1, shape) for name, shape in inputs.items()],
        [value(name, 1, None) for name in outputs],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return data


def runner_of(data: bytes) -> tuple[Program, HostRunner]:
    program = import_model(data)
    assert program.host is not None
    return program, HostRunner(program.host)


def samples(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, *shape)).astype(np.float32)


@pytest.mark.parametrize("count", [3, 4, 10])
def test_a_model_of_one_vector_hands_over_its_vectors(count: int) -> None:
    """As many samples as entries must not be taken for the entries."""
    nodes = [
        NODE("Relu", ["x"], ["r"]),
        NODE("MatMul", ["r", "w"], ["h"]),
        NODE("Relu", ["h"], ["s"]),
        NODE("MatMul", ["w", "s"], ["y"]),
    ]
    program, runner = runner_of(model_of(nodes, {"x": [4]}))
    x = samples(count, 4)
    tapped = runner.layer_inputs({}, program.layers, {"x": x})
    first, second = (tapped[layer.name] for layer in program.layers)
    hidden = np.maximum(x, 0)
    assert np.array_equal(first, hidden.T)
    assert relative_error({"s": second}, {"s": np.maximum(hidden @ WEIGHT, 0).T}) < 1e-6


@pytest.mark.parametrize("batch", ["N", None, 1, 5])
def test_any_number_of_samples_whatever_the_declared_batch(batch: int | str | None) -> None:
    data = model_of(DENSE, {"x": [batch, 2, 2]})
    program, runner = runner_of(data)
    x = samples(10, 2, 2)
    expected = {"y": x.reshape(10, 4) @ WEIGHT}
    assert relative_error(runner.run({}, program.layers, {"x": x}), expected) < 1e-6
    assert relative_error(reference_run(data, {"x": x}), expected) < 1e-6
    tapped = runner.layer_inputs({}, program.layers, {"x": x})
    assert np.array_equal(tapped[program.layers[0].name], x.reshape(10, 4).T)
    assert tapped[program.layers[0].name].dtype == np.float64


def test_many_samples_are_cut_into_runs() -> None:
    program, runner = runner_of(model_of(DENSE, {"x": ["N", 2, 2]}))
    x = samples(10_000, 2, 2)
    outputs = runner.run({}, program.layers, {"x": x})
    assert relative_error(outputs, {"y": x.reshape(-1, 4) @ WEIGHT}) < 1e-6


def test_a_model_without_a_batch_dimension_runs_sample_by_sample() -> None:
    data = model_of([NODE("MatMul", ["x", "w"], ["y"])], {"x": [4]})
    program, runner = runner_of(data)
    x = samples(6, 4)
    for outputs in (runner.run({}, program.layers, {"x": x}), reference_run(data, {"x": x})):
        assert relative_error(outputs, {"y": x @ WEIGHT}) < 1e-6
    assert np.array_equal(runner.layer_inputs({}, program.layers, {"x": x})["MatMul_y"], x.T)
    one = runner.run({}, program.layers, {"x": x[0]})
    assert relative_error(one, {"y": x[0] @ WEIGHT}) < 1e-6


def test_a_fixed_batch_of_one_is_freed_only_where_samples_do_not_mix() -> None:
    mixing = [
        NODE("MatMul", ["x", "w"], ["h"]),
        NODE("ReduceMean", ["h"], ["m"], axes=[0], keepdims=1),
        NODE("Sub", ["h", "m"], ["s"]),
        NODE("Add", ["s", "m"], ["h2"]),
        NODE("Add", ["h2", "m"], ["y"]),
    ]
    data = model_of(mixing, {"x": [1, 4]})
    program, runner = runner_of(data)
    x = samples(6, 4)
    expected = {"y": 2 * x @ WEIGHT}
    assert relative_error(runner.run({}, program.layers, {"x": x}), expected) < 1e-5
    assert relative_error(reference_run(data, {"x": x}), expected) < 1e-5


def test_a_fixed_shape_in_a_reshape_is_met_sample_by_sample() -> None:
    shape = helper.make_tensor("s", 7, [2], [1, 4])
    nodes = [
        NODE("Constant", [], ["s"], value=shape),
        NODE("Reshape", ["x", "s"], ["f"]),
        NODE("MatMul", ["f", "w"], ["y"]),
    ]
    program, runner = runner_of(model_of(nodes, {"x": [1, 2, 2]}))
    x = samples(7, 2, 2)
    for _ in range(2):
        outputs = runner.run({}, program.layers, {"x": x})
        assert relative_error(outputs, {"y": x.reshape(7, 4) @ WEIGHT}) < 1e-6


def test_other_matrices_and_taps_behind_them() -> None:
    nodes = [NODE("Gemm", ["x", "w"], ["h"]), NODE("MatMul", ["w", "h2"], ["y"])]
    nodes.insert(1, NODE("Transpose", ["h"], ["h2"], perm=[1, 0]))
    program, runner = runner_of(model_of(nodes, {"x": ["N", 4]}, ["y", "h"]))
    first, second = program.layers
    assert second.operand.axis == -2
    x = samples(5, 4)
    matrices = {first.name: np.ones((3, 4)), second.name: np.full((4, 3), 0.5)}
    outputs = runner.run(matrices, program.layers, {"x": x})
    hidden = x @ np.ones((4, 3))
    assert relative_error(outputs, {"h": hidden, "y": np.full((4, 3), 0.5) @ hidden.T}) < 1e-6
    tapped = runner.layer_inputs(matrices, program.layers, {"x": x})
    assert np.allclose(tapped[second.name], hidden.T, atol=1e-5)
    assert np.array_equal(tapped[first.name], x.T)


WRONG: list[tuple[Shape, dict[str, np.ndarray], str]] = [
    (["N", 2, 2], {}, "input 'x' is missing; given: nothing"),
    (["N", 2, 2], {"x": samples(3, 2, 2), "z": samples(1)}, "has no input 'z'"),
    (["N", 2, 2], {"x": samples(3, 2, 3)}, r"shape \[3, 2, 3\], the model takes \[N, 2, 2\]"),
    (["N", 2, 2], {"x": samples(3, 4)}, r"shape \[3, 4\], the model takes \[N, 2, 2\]"),
    ([5, 2, 2], {"x": samples(7, 2, 2)}, "5 samples at a time, and 7 is no multiple"),
    ([1, 2, 2], {"x": samples(0, 2, 2)}, "no samples"),
    (["N", 2, 2], {"x": np.ones((3, 2, 2), np.int64)}, "onnxruntime cannot run the model"),
]


@pytest.mark.parametrize(("shape", "inputs", "message"), WRONG)
def test_inputs_that_do_not_fit(shape: Shape, inputs: dict[str, np.ndarray], message: str) -> None:
    program, runner = runner_of(model_of(DENSE, {"x": shape}))
    with pytest.raises(InputError, match=message) as caught:
        runner.run({}, program.layers, inputs)
    assert "\n" not in str(caught.value)


def test_inputs_with_different_numbers_of_samples() -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"]),
        NODE("MatMul", ["z", "w"], ["b"]),
        NODE("Add", ["a", "b"], ["y"]),
    ]
    program, runner = runner_of(model_of(nodes, {"x": [1, 4], "z": [1, 4]}))
    inputs = {"x": samples(4, 4), "z": samples(6, 4)}
    with pytest.raises(InputError, match="'x' has 4, 'z' has 6"):
        runner.run({}, program.layers, inputs)
    # A fixed input beside one that counts samples is the same for all.
    program, runner = runner_of(model_of(nodes, {"x": ["N", 4], "z": [1, 4]}))
    inputs = {"x": samples(4, 4), "z": samples(1, 4)}
    outputs = runner.run({}, program.layers, inputs)
    assert relative_error(outputs, {"y": (inputs["x"] + inputs["z"]) @ WEIGHT}) < 1e-6


def test_floats_of_another_width_are_cast() -> None:
    data = model_of(DENSE, {"x": ["N", 2, 2]})
    program, runner = runner_of(data)
    x = samples(3, 2, 2).astype(np.float64)
    outputs = runner.run({}, program.layers, {"x": x})
    assert outputs["y"].dtype == np.float32
    assert relative_error(outputs, reference_run(data, {"x": x})) < 1e-6


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    program, runner = runner_of(model_of(DENSE, {"x": [1, 2, 2]}))
    runner.run({}, program.layers, {"x": samples(4, 2, 2)})
    with pytest.raises(InputError):
        reference_run(b"no model", {})
    assert capfd.readouterr() == ("", "")


def test_a_model_of_a_newer_ir_runs_as_the_reference(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(model_of(DENSE, {"x": ["N", 2, 2]}))
    model.ir_version = 14
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    x = {"x": samples(2, 2, 2)}
    assert relative_error(reference_run(path, x), reference_run(path.read_bytes(), x)) == 0


def host_with(*specs: TensorSpec) -> Host:
    return Host(b"", specs, ())


def test_probe_inputs() -> None:
    host = host_with(
        TensorSpec("a", "float32", ("N", 3)),
        TensorSpec("b", "int64", ("N", "sequence_length")),
        TensorSpec("c", "bool", ()),
    )
    probes = random_inputs(host, batch=6, seed=1)
    assert {name: (array.shape, array.dtype.name) for name, array in probes.items()} == {
        "a": ((6, 3), "float32"),
        "b": ((6, 8), "int64"),
        "c": ((), "bool"),
    }
    again = random_inputs(host, batch=6, seed=1)
    assert all(np.array_equal(probes[name], again[name]) for name in probes)
    assert not np.array_equal(probes["a"], random_inputs(host, batch=6, seed=2)["a"])


def test_probe_inputs_of_fixed_and_given_shapes() -> None:
    one = host_with(TensorSpec("a", "float32", (1, 3)))
    assert random_inputs(one, batch=6)["a"].shape == (6, 3)
    fixed = host_with(TensorSpec("a", "float32", (5, 2, 4)))
    assert random_inputs(fixed, batch=6)["a"].shape == (5, 2, 4)
    free = host_with(TensorSpec("a", "float32", ("N", 3, "height", None)))
    assert random_inputs(free, input_shapes={"a": (2, 3, 7, 9)})["a"].shape == (2, 3, 7, 9)
    with pytest.raises(InputError, match=r"unknown shape \[N, 3, height, \?\]") as caught:
        random_inputs(free)
    assert caught.value.hint == "give it with --input-shape a:1,3,N,N"
    with pytest.raises(InputError, match="too large"):
        random_inputs(host_with(TensorSpec("a", "float32", (10**6, 10**6))))
    with pytest.raises(InputError, match="no probe inputs"):
        random_inputs(host_with(TensorSpec("a", "object", ("N",))))

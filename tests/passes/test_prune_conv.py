"""`prune` on networks with convolutions: who reads whom, and that data reach every position."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from onnx import NodeProto, helper, numpy_helper

from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.data import Dataset
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program
from onnx2mzi.passes import TABLE
from onnx2mzi.passes.prune.links import readers
from onnx2mzi.pipeline.base import Context, Pass
from onnx2mzi.pipeline.manager import Pipeline
from onnx2mzi.pipeline.registry import Registry
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, load_technology

NODE = helper.make_node
REGISTRY: Registry[Pass] = Registry("pass", Pass, "onnx2mzi.passes", TABLE)  # type: ignore[type-abstract]
SIDE = 6


def network_of(
    nodes: Sequence[NodeProto], weights: Mapping[str, np.ndarray], channels: int = 2
) -> tuple[Program, Network]:
    """The program of a net on images, and the net on 60 random ones."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("x", 1, ["N", channels, SIDE, SIDE])],
        [value("y", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    program = import_model(model.SerializeToString())
    assert program.host is not None
    rng = np.random.default_rng(1)
    sets = [
        Dataset({"x": rng.normal(size=(30, channels, SIDE, SIDE)).astype(np.float32)})
        for _ in range(2)
    ]
    return program, Network(HostRunner(program.host), program.layers, *sets)


def kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(list(shape)).normal(size=shape).astype(np.float32)


def found(nodes: Sequence[NodeProto], weights: Mapping[str, np.ndarray]) -> dict[str, str | None]:
    """Who reads each layer's outputs one by one."""
    _, network = network_of(nodes, weights)
    names = [layer.name for layer in network.layers]
    links = readers(network, names)
    return {name: None if at is None else names[at] for name, at in zip(names, links, strict=True)}


def test_a_pointwise_convolution_and_a_pooled_dense_layer_read_channel_by_channel() -> None:
    nodes = [
        NODE("Conv", ["x", "a"], ["h1"], name="a"),
        NODE("Relu", ["h1"], ["h2"]),
        NODE("Conv", ["h2", "b"], ["h3"], name="b"),
        NODE("Relu", ["h3"], ["h4"]),
        NODE("GlobalAveragePool", ["h4"], ["h5"]),
        NODE("Flatten", ["h5"], ["h6"]),
        NODE("MatMul", ["h6", "c"], ["y"], name="c"),
    ]
    weights = {"a": kernel(8, 2, 3, 3), "b": kernel(6, 8, 1, 1), "c": kernel(6, 5)}
    assert found(nodes, weights) == {"a": "b", "b": "c", "c": None}


def test_windows_of_as_many_entries_as_there_are_channels_are_no_readers() -> None:
    # 9 channels; then a window of 9 entries over each of them, or 9 of 9 channels in any order.
    nodes = [
        NODE("Conv", ["x", "a"], ["h1"], name="a"),
        NODE("Conv", ["h1", "b"], ["h2"], name="b", group=9),
        NODE("Flatten", ["h2"], ["y"]),
    ]
    weights = {"a": kernel(9, 2, 1, 1), "b": kernel(9, 1, 3, 3)}
    assert set(found(nodes, weights).values()) == {None}


def test_a_convolution_that_somebody_else_reads_has_no_reader() -> None:
    nodes = [
        NODE("Conv", ["x", "a"], ["h1"], name="a"),
        NODE("Conv", ["h1", "b"], ["h2"], name="b"),
        NODE("Add", ["h1", "h2"], ["y"]),
    ]
    weights = {"a": kernel(8, 2, 3, 3), "b": kernel(8, 8, 1, 1)}
    assert found(nodes, weights) == {"a": None, "b": None}


@pytest.mark.parametrize("groups", [1, 2])
def test_prune_with_data_keeps_its_promise(groups: int) -> None:
    nodes = [
        NODE("Conv", ["x", "a"], ["h1"], name="a", pads=[1, 1, 1, 1], strides=[2, 2]),
        NODE("Relu", ["h1"], ["h2"]),
        NODE("Conv", ["h2", "b"], ["h3"], name="b", group=groups),
        NODE("Relu", ["h3"], ["h4"]),
        NODE("Flatten", ["h4"], ["h5"]),
        NODE("MatMul", ["h5", "c"], ["y"], name="c"),
    ]
    # Of low rank, so that something can go.
    low = kernel(8, 2) @ kernel(2, 18)
    weights = {
        "a": low.reshape(8, 2, 3, 3),
        "b": kernel(6, 8 // groups, 2, 2),
        "c": kernel(24, 3),
    }
    program, network = network_of(nodes, weights)
    context = Context(load_technology(DEFAULT_TECHNOLOGY), network=network)
    text = "tile,svd,decompose,canonicalize,prune{max_drop=0.1}"
    result = Pipeline.parse(text, REGISTRY).run(program, context)
    matrices = program_matrices(result.program)
    assert network.distance(matrices) <= 0.1 + 1e-9
    active = [record.censuses for record in result.passes]
    assert sum(c.phases_active for c in active[-1].values()) < sum(
        c.phases_active for c in active[-2].values()
    )
    given = {"x": np.asarray(network.held.inputs["x"])}
    runner = network.runner
    assert relative_error(runner.run({}, program.layers, given), network.original) < 1e-6

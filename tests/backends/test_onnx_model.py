"""MODEL_photonic.onnx: the user's interface, the chip's weights, the same bytes every time."""

from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnx2mzi.backends.onnx_model import OnnxModel, photonic_model
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program
from onnx2mzi.pipeline.backend import Emission
from onnx2mzi.tech import Technology

RNG = np.random.default_rng(0)
NODE = helper.make_node
X = {"x": RNG.normal(size=(1, 4)).astype(np.float32)}


@pytest.fixture
def program() -> Program:
    nodes = [
        NODE("MatMul", ["x", "w"], ["h"], name="fc1"),
        NODE("Relu", ["h"], ["r"]),
        NODE("MatMul", ["r", "v"], ["s"], name="fc2"),
        NODE("Gemm", ["x", "w", "c"], ["z"], name="fc3"),
    ]
    value = helper.make_tensor_value_info
    arrays = {"w": RNG.normal(size=(4, 3)), "v": RNG.normal(size=3), "c": RNG.normal(size=3)}
    graph = helper.make_graph(
        nodes,
        "net",
        [value("x", 1, [1, 4])],
        [value("s", 1, [1]), value("z", 1, [1, 3])],
        [numpy_helper.from_array(array.astype(np.float32), n) for n, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return import_model(helper.make_model(graph, opset_imports=opsets, ir_version=8))


def perturbed(program: Program) -> dict[str, np.ndarray]:
    return {layer.name: layer.weight + 0.1 for layer in program.layers}


def test_it_is_the_emulated_chip(program: Program) -> None:
    host = program.host
    assert host is not None
    data = photonic_model(host, program.layers, perturbed(program))
    chip = HostRunner(host).run(perturbed(program), program.layers, X)
    photonic = reference_run(data, X)
    assert relative_error(photonic, chip) < 1e-6
    assert relative_error(photonic, HostRunner(host).run({}, program.layers, X)) > 0.01


def test_inputs_and_outputs_are_the_users(program: Program) -> None:
    assert program.host is not None
    data = photonic_model(program.host, program.layers, perturbed(program))
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model, full_check=True)

    def shapes(values: object) -> dict[str, list[int | str]]:
        return {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in cast("list[onnx.ValueInfoProto]", values)
        }

    assert shapes(model.graph.input) == {"x": [1, 4]}
    assert shapes(model.graph.output) == {"s": [1], "z": [1, 3]}
    assert model.producer_name == "onnx2mzi" and model.ir_version <= 13
    names = {tensor.name for tensor in model.graph.initializer}
    assert names == {"fc1.weight", "fc2.weight", "fc2.shape", "fc3.weight", "c"}


def test_it_compiles_again_to_the_same_layers(program: Program) -> None:
    assert program.host is not None
    again = import_model(photonic_model(program.host, program.layers, perturbed(program)))
    for layer, first in zip(again.layers, program.layers, strict=True):
        assert layer.name == first.name
        assert np.allclose(layer.weight, first.weight + 0.1, atol=1e-6)


def test_the_back_end_writes_the_same_bytes_twice(program: Program, tmp_path: Path) -> None:
    emission = Emission(program, cast(Technology, None), perturbed(program))
    assert OnnxModel().write(emission, tmp_path) == ("net_photonic.onnx",)
    first = (tmp_path / "net_photonic.onnx").read_bytes()
    OnnxModel().write(emission, tmp_path)
    assert (tmp_path / "net_photonic.onnx").read_bytes() == first

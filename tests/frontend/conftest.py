"""Small ONNX models for the tests of this folder."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper, numpy_helper

from onnx2mzi.backends.onnx_model import photonic_model
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program
from onnx2mzi.ir.verify import verify

Shape = Sequence[int | str | None] | None
MakeModel = Callable[..., onnx.ModelProto]
CheckHost = Callable[..., Program]


def onnx_model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Sequence[str],
    weights: Mapping[str, np.ndarray],
    *,
    opset: int = 17,
    ir: int = 8,
    dtype: str = "float32",
) -> onnx.ModelProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value(name, element, shape) for name, shape in inputs.items()],
        [value(name, element, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    if ir < 4:
        graph.input.extend(
            value(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in weights.items()
        )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


@pytest.fixture(scope="session")
def make_onnx() -> MakeModel:
    """`make_onnx(nodes, {input: shape}, [output], {weight: array}, opset=17, ir=8)`."""
    return onnx_model


def checked_host(
    model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], tolerance: float = 1e-6
) -> Program:
    data = model.SerializeToString()
    program = import_model(data)
    assert program.host is not None
    assert not verify(program)
    expected = reference_run(data, inputs)
    asked = {layer.name: layer.weight for layer in program.layers}
    runner = HostRunner(program.host)
    found = runner.run(asked, program.layers, inputs)
    assert relative_error(found, expected) <= tolerance
    photonic = photonic_model(program.host, program.layers, asked)
    assert relative_error(reference_run(photonic, inputs), expected) <= tolerance
    for name in asked:
        other = {**asked, name: asked[name][::-1] * 2 + 1}
        changed = runner.run(other, program.layers, inputs)
        assert relative_error(changed, expected) > 1e-3, name
    return program


@pytest.fixture(scope="session")
def check_host() -> CheckHost:
    """`check_host(model, inputs, tolerance=1e-6)`: the program, after its host and its photonic
    model gave what onnxruntime makes of the model, and other outputs with each layer changed."""
    return checked_host

"""Factors and offsets of ports: nothing changes until they are trained, and then they are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program
from onnx2mzi.ir.verify import verify
from onnx2mzi.train.biases import with_constants
from onnx2mzi.train.ports import PORTS, with_ports


def complex_model(interleaved: bool) -> bytes:
    """|W x| of complex W (3, 4) on stacked or interleaved numbers; the imaginary part of x too."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4))
    whole = np.block([[w.real, -w.imag], [w.imag, w.real]])
    if interleaved:
        rows, columns = np.arange(6).reshape(2, 3).T.ravel(), np.arange(8).reshape(2, 4).T.ravel()
        whole = whole[np.ix_(rows, columns)]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="y")],
        "complex",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 6])],
        [numpy_helper.from_array(np.ascontiguousarray(whole.T, np.float32), "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return made


def outputs(program: Program, x: Any) -> Any:
    assert program.host is not None
    matrices = {layer.name: layer.weight for layer in program.layers}
    found = HostRunner(program.host).run(matrices, program.layers, {"x": x})
    return next(iter(found.values()))


def test_a_network_computes_what_it_did(tiny_onnx: bytes) -> None:
    program = import_model(tiny_onnx, ports=8)
    made = with_ports(program)
    assert not verify(made)
    x = np.random.default_rng(1).standard_normal((7, 6)).astype(np.float32)
    assert np.array_equal(outputs(made, x), outputs(program, x))
    assert made.host is not None and program.host is not None
    assert len(made.host.electronic) == len(program.host.electronic) + len(made.layers)
    assert all(layer.operand.source.startswith(PORTS) for layer in made.layers)
    assert with_ports(made) is not made and with_ports(made).host == made.host
    matrices = {layer.name: layer.weight for layer in made.layers}
    seen = HostRunner(made.host).layer_inputs(matrices, made.layers, {"x": x})
    assert np.allclose(seen[made.layers[0].name], x.T)


@pytest.mark.parametrize("interleaved", [False, True])
def test_a_complex_input_is_turned_by_its_factor(interleaved: bool) -> None:
    program = import_model(complex_model(interleaved), ports=8)
    (layer,) = program.layers
    assert layer.operand.parts == ("interleaved" if interleaved else "stacked")
    made = with_ports(program)
    assert made.host is not None
    rng = np.random.default_rng(2)
    x = rng.standard_normal((5, 8)).astype(np.float32)
    assert np.array_equal(outputs(made, x), outputs(program, x))
    by = rng.standard_normal(4) + 1j * rng.standard_normal(4)
    gain = rng.standard_normal(3)

    def laid(re: Any, im: Any) -> Any:
        pairs = np.stack([re, im], -1)
        return pairs.reshape(-1) if interleaved else np.concatenate([re, im])

    name = f"{PORTS}{layer.name}/"
    constants = {
        name + "factor": laid(by.real, by.real),
        name + "cross": laid(-by.imag, by.imag),
        name + "gain": laid(gain, gain),
    }
    turned = replace(made, host=with_constants(made.host, constants))
    wanted = replace(layer, weight=gain[:, None] * layer.weight * by)
    asked = replace(program, layers=(wanted,))
    np.testing.assert_allclose(outputs(turned, x), outputs(asked, x), rtol=1e-4, atol=1e-4)


def test_training_takes_them(tiny_onnx: bytes) -> None:
    pytest.importorskip("torch")
    from onnx2mzi.train.graph import HostGraph

    made = with_ports(import_model(tiny_onnx, ports=8))
    assert made.host is not None
    graph = HostGraph(made.host, made.layers)
    for layer in made.layers:
        for what in ("factor", "gain", "offset"):
            assert f"{PORTS}{layer.name}/{what}" in graph.biases

"""Loops: what never ends is refused at once, what may end is given a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

import onnx2mzi.emulate.session as session
from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.loops import MOST_TRIPS, check_loops
from onnx2mzi.frontend.tensors import TensorReader
from onnx2mzi.ir import Program

CheckHost = Callable[..., Program]
NODE, VALUE = helper.make_node, helper.make_tensor_value_info
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def loop(
    trips: int | str, ending: str = "passed on", first: str = "yes", body: Any = None
) -> ModelProto:
    """y = tanh(...tanh(x w)...w), `trips` times or as often as the input of that name says."""
    nodes = [NODE("MatMul", ["h", "w"], ["p"]), NODE("Tanh", ["p"], ["r"])]
    match ending:
        case "passed on":
            nodes.append(NODE("Identity", ["before"], ["after"]))
        case "constant":
            true = numpy_helper.from_array(np.array(True), "true")
            nodes.append(NODE("Constant", [], ["after"], value=true))
        case _:
            nodes.append(NODE("ReduceMax", ["r"], ["most"], keepdims=0))
            nodes.append(NODE("Greater", ["most", ending], ["after"]))
    inner = helper.make_graph(
        nodes if body is None else body,
        "body",
        [VALUE("i", 7, []), VALUE("before", 9, []), VALUE("h", 1, None)],
        [VALUE("after", 9, []), VALUE("r", 1, None)],
    )
    weights = {
        "w": (0.5 * np.eye(4)).astype(np.float32),
        "low": np.array(-9.0, np.float32),
        "high": np.array(0.01, np.float32),
        "yes": np.array(True),
        "no": np.array(False),
        "count": np.array(trips if isinstance(trips, int) else 0, np.int64),
    }
    name = "count" if isinstance(trips, int) else trips
    inputs = [VALUE("x", 1, ["N", 4]), *[VALUE("n", 7, [])][: name == "n"]]
    graph = helper.make_graph(
        [NODE("Loop", [name, first, "x"], ["y"], "steps", body=inner)],
        "net",
        inputs,
        [VALUE("y", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("ending", ["passed on", "constant"])
def test_a_loop_that_ends(check_host: CheckHost, ending: str) -> None:
    check_host(loop(5, ending), {"x": X})


def test_a_loop_that_its_condition_ends() -> None:
    # The longest trip count that there is, as exporters write it.
    model = loop((1 << 63) - 1, "high")
    program = import_model(model)
    assert program.host is not None
    found = HostRunner(program.host).run({}, program.layers, {"x": X})
    expected = reference_run(model.SerializeToString(), {"x": X})
    assert np.allclose(found["y"], expected["y"], atol=1e-6)


@pytest.mark.parametrize("ending", ["passed on", "constant"])
@pytest.mark.parametrize(("trips", "told"), [(1 << 40, "runs 1099511627776 times"), ("", "never")])
def test_a_loop_that_nothing_ends(ending: str, trips: int | str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        import_model(loop(trips, ending))
    assert "steps" in str(caught.value)
    assert caught.value.hint
    if trips:
        import_model(loop(MOST_TRIPS, ending))


def test_loops_within_loops_are_multiplied() -> None:
    body = [
        NODE("Identity", ["h"], ["x"]),
        *loop(1).graph.node,
        NODE("Identity", ["y"], ["r"]),
        NODE("Identity", ["before"], ["after"]),
    ]

    def check(trips: int) -> None:
        graph = loop(trips, body=body).graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        check_loops(graph, Constants(tensors, graph.node, TensorReader("", None)), "net")

    check(1000)
    with pytest.raises(InputError, match="runs 4000000 times"):
        check(2000)


def test_a_first_condition_that_is_false_ends_it() -> None:
    import_model(loop(1 << 40, first="no"))


def test_a_loop_that_does_not_end_by_itself_is_given_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = import_model(loop((1 << 63) - 1, "low"))
    assert program.host is not None
    monkeypatch.setattr(session, "LOOP_SECONDS", 0.2)
    with pytest.raises(InputError, match=r"runs for more than 0\.2 s"):
        HostRunner(program.host).run({}, program.layers, {"x": X})


def test_other_models_need_no_clock(tiny_onnx: bytes) -> None:
    assert session.Session(tiny_onnx)._bounded() == (None, None)

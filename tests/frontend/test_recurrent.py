"""LSTM, GRU and RNN in all their forms against onnxruntime."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program

MakeModel = Callable[..., onnx.ModelProto]
CheckHost = Callable[..., Program]
Arrays = dict[str, np.ndarray]

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, INPUTS, HIDDEN = 4, 3, 5, 2


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def weights(op: str, directions: int) -> Arrays:
    rows = GATES[op] * HIDDEN
    return {"w": numbers(directions, rows, INPUTS), "r": numbers(directions, rows, HIDDEN, seed=1)}


def network(
    make_onnx: MakeModel, op: str, extra: Arrays | None = None, **attributes: Any
) -> tuple[onnx.ModelProto, Arrays]:
    """One node, all that it makes as outputs, and an input for it."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    extra = extra or {}
    places = ["x", "w", "r", "b", "lens", "h0", "c0", "p"]
    given = {"x", "w", "r", *extra}
    names = [name if name in given else "" for name in places]
    while not names[-1]:
        names.pop()
    outputs = ["y", "h", "c"] if op == "LSTM" else ["y", "h"]
    node = helper.make_node(op, names, outputs, hidden_size=HIDDEN, **attributes)
    model = make_onnx(
        [node], {"x": [None, BATCH, INPUTS]}, outputs, {**weights(op, directions), **extra}
    )
    return model, {"x": numbers(STEPS, BATCH, INPUTS, seed=2)}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_directions(make_onnx: MakeModel, check_host: CheckHost, op: str, direction: str) -> None:
    program = check_host(*network(make_onnx, op, direction=direction))
    both = direction == "bidirectional"
    ways = ["__forward", "__reverse"] if both else [""]
    assert [layer.name for layer in program.layers] == [
        f"{op}_y{way}_{'' if way else '_'}{kind}" for kind in "WR" for way in ways
    ]
    told = weights(op, len(ways))
    for k, layer in enumerate(program.layers):
        assert np.array_equal(layer.weight, told["w" if k < len(ways) else "r"][k % len(ways)])
        assert layer.loc.tensor == ("w" if k < len(ways) else "r")
    assert program.host is not None and not program.host.electronic


@pytest.mark.parametrize("op", GATES)
def test_biases_lengths_and_first_states(
    make_onnx: MakeModel, check_host: CheckHost, op: str
) -> None:
    extra: Arrays = {
        "b": numbers(2, 2 * GATES[op] * HIDDEN),
        "lens": np.array([4, 2, 3], np.int32),
        "h0": numbers(2, BATCH, HIDDEN),
    }
    if op == "LSTM":
        extra |= {"c0": numbers(2, BATCH, HIDDEN), "p": numbers(2, 3 * HIDDEN)}
    check_host(*network(make_onnx, op, extra, direction="bidirectional"))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LSTM", {"input_forget": 1}),
        ("LSTM", {"activations": ["HardSigmoid", "Tanh", "Softsign"], "clip": 0.5}),
        ("GRU", {"linear_before_reset": 1}),
        ("RNN", {"activations": ["Relu"]}),
    ],
)
def test_gates_and_activations(
    make_onnx: MakeModel, check_host: CheckHost, op: str, attributes: dict[str, Any]
) -> None:
    check_host(*network(make_onnx, op, **attributes))


def test_hidden_states_are_what_r_sees(make_onnx: MakeModel) -> None:
    model, inputs = network(make_onnx, "LSTM", direction="bidirectional")
    data = model.SerializeToString()
    y = reference_run(data, inputs)["y"]
    program = import_model(data)
    assert program.host is not None
    seen = HostRunner(program.host).layer_inputs({}, program.layers, inputs)
    for direction, name in enumerate(["LSTM_y__forward_R", "LSTM_y__reverse_R"]):
        states = y[:, direction].reshape(-1, HIDDEN).T
        assert seen[name].shape == states.shape
        assert np.allclose(np.sort(seen[name]), np.sort(states), atol=1e-6)
        assert np.array_equal(seen[f"LSTM_y__{name.split('_')[3]}_W"].shape, (INPUTS, 12))


def test_states_that_nobody_asked_for(make_onnx: MakeModel, check_host: CheckHost) -> None:
    node = helper.make_node("GRU", ["x", "w", "r"], ["", "h"], hidden_size=HIDDEN)
    model = make_onnx([node], {"x": [None, BATCH, INPUTS]}, ["h"], weights("GRU", 1))
    program = check_host(model, {"x": numbers(STEPS, BATCH, INPUTS)})
    assert program.layers[1].operand.source == "onnx2mzi/GRU_h/states"


def test_weights_made_at_run_time_stay_electronic(make_onnx: MakeModel) -> None:
    node = helper.make_node("RNN", ["x", "w", "r"], ["y"], hidden_size=HIDDEN)
    given = weights("RNN", 1)
    shapes = {"x": [None, BATCH, INPUTS], "r": list(given["r"].shape)}
    program = import_model(make_onnx([node], shapes, ["y"], {"w": given["w"]}))
    assert [layer.name for layer in program.layers] == ["RNN_y__W"]


BAD: list[tuple[Arrays, dict[str, Any], str]] = [
    ({"w": numbers(1, 7, INPUTS)}, {}, r"W has shape \[1, 7, 5\]"),
    ({"w": numbers(8, INPUTS)}, {}, "W has shape"),
    ({"r": numbers(1, 8, 3)}, {}, "R has shape"),
    ({}, {"hidden_size": 3}, "hidden_size 3"),
    ({}, {"direction": "bidirectional"}, "2 directions"),
    ({}, {"direction": "sideways"}, "direction is 'sideways'"),
    ({"w": np.full((1, 8, INPUTS), np.nan, np.float32)}, {}, "NaN"),
]


@pytest.mark.parametrize(("spoiled", "attributes", "message"), BAD)
def test_what_does_not_fit_is_refused(
    make_onnx: MakeModel, spoiled: Arrays, attributes: dict[str, Any], message: str
) -> None:
    told = {"hidden_size": HIDDEN, **attributes}
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], **told)
    given = {**weights("LSTM", 1), **spoiled}
    model = make_onnx([node], {"x": [None, BATCH, INPUTS]}, ["y"], given)
    with pytest.raises(InputError, match=message):
        import_model(model)

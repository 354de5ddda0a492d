"""QONNX quantizers in ONNX's own operators: the weights' are folded, the activations' run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnx2mzi
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program

MakeModel = Callable[..., onnx.ModelProto]
NODE = helper.make_node
DOMAIN = "qonnx.custom_op.general"
ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.trunc,
    "ROUND_TO_ZERO": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}


def quant(
    x: np.ndarray, scale: Any, zero: Any, bits: float, signed: int, narrow: int, mode: str
) -> np.ndarray:
    """QONNX's own definition (qonnx.custom_op.general.quant)."""
    if signed:
        low, high = -(2 ** (bits - 1)) + (1 if narrow else 0), 2 ** (bits - 1) - 1
    else:
        low, high = 0, 2**bits - (2 if narrow else 1)
    steps = ROUNDINGS[mode](np.clip(x / scale + zero, low, high))
    return np.asarray((steps - zero) * scale)


def network(make_onnx: MakeModel, attributes: dict[str, Any], **values: Any) -> onnx.ModelProto:
    """Quant of a weight and of an activation around a MatMul."""
    nodes = [
        NODE("Quant", ["w", "s", "z", "b"], ["wq"], "qw", domain=DOMAIN, **attributes),
        NODE("MatMul", ["x", "wq"], ["h"], "fc"),
        NODE("Quant", ["h", "s", "z", "b"], ["y"], "qa", domain=DOMAIN, **attributes),
    ]
    constants = {"w": WEIGHT, **{k: np.array(v, np.float32) for k, v in values.items()}}
    model = make_onnx(nodes, {"x": ["N", 3]}, ["y"], constants)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model


WEIGHT = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)


def run(program: Program, x: np.ndarray = X) -> np.ndarray:
    assert program.host is not None and not program.host.electronic
    return HostRunner(program.host).run({}, program.layers, {"x": x})["y"]


@pytest.mark.parametrize("mode", ROUNDINGS)
@pytest.mark.parametrize(("signed", "narrow"), [(1, 0), (1, 1), (0, 0), (0, 1)])
def test_quant(make_onnx: MakeModel, signed: int, narrow: int, mode: str) -> None:
    told = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
    program = import_model(network(make_onnx, told, s=0.25, z=1, b=3))
    weight = quant(WEIGHT, 0.25, 1, 3, signed, narrow, mode)
    assert np.allclose(program.layers[0].weight, weight.T)
    # Steps of a quarter are exact in binary, and so is every sum of them.
    x = np.round(X * 4) / 4
    assert np.array_equal(run(program, x), quant(x @ weight, 0.25, 1, 3, signed, narrow, mode))


def test_a_scale_for_every_column(make_onnx: MakeModel) -> None:
    scale = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    program = import_model(network(make_onnx, {}, s=scale, z=0, b=4))
    weight = quant(WEIGHT, scale, 0, 4, 1, 0, "ROUND")
    assert np.allclose(program.layers[0].weight, weight.T, atol=1e-7)


def test_bipolar(make_onnx: MakeModel) -> None:
    nodes = [
        NODE("BipolarQuant", ["w", "s"], ["wq"], domain=DOMAIN),
        NODE("MatMul", ["x", "wq"], ["h"]),
        NODE("BipolarQuant", ["h", "s"], ["y"], domain=DOMAIN),
    ]
    w = WEIGHT.copy()
    w[0, 0] = 0
    model = make_onnx(nodes, {"x": ["N", 3]}, ["y"], {"w": w, "s": np.array(0.5, np.float32)})
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    program = import_model(model)
    weight = np.where(w >= 0, 0.5, -0.5)
    assert np.array_equal(program.layers[0].weight, weight.T)
    x = np.vstack([X, np.zeros(3, np.float32)])
    assert np.array_equal(run(program, x), np.where(x @ weight >= 0, 0.5, -0.5))


def test_a_chip_of_a_model_that_onnxruntime_itself_does_not_take(make_onnx: MakeModel) -> None:
    data = network(make_onnx, {}, s=0.25, z=0, b=4).SerializeToString()
    chip = onnx2mzi.compile(data)
    assert chip.report["max_rel_error"] == 0
    assert "standard form" in chip.report["measured_on"]


@pytest.mark.parametrize(
    ("attributes", "values", "message"),
    [
        ({"rounding_mode": "SIDEWAYS"}, {}, "rounding_mode is 'SIDEWAYS'"),
        ({}, {"b": 0}, "bit width is 0.0"),
        ({}, {"b": np.nan}, "bit width is nan"),
    ],
)
def test_what_is_no_quantizer(
    make_onnx: MakeModel, attributes: dict[str, Any], values: dict[str, Any], message: str
) -> None:
    model = network(make_onnx, attributes, **{"s": 0.25, "z": 0, "b": 4, **values})
    with pytest.raises(InputError, match=message) as caught:
        import_model(model)
    assert "node 'qw' (Quant)" in caught.value.where


def test_a_bit_width_made_at_run_time(make_onnx: MakeModel) -> None:
    model = network(make_onnx, {}, s=0.25, z=0, b=4)
    (width,) = (t for t in model.graph.initializer if t.name == "b")
    model.graph.initializer.remove(width)
    model.graph.input.append(helper.make_tensor_value_info("b", 1, []))
    with pytest.raises(InputError, match="bit width 'b' is no constant"):
        import_model(model)


def test_numbers_of_inputs(make_onnx: MakeModel) -> None:
    model = network(make_onnx, {}, s=0.25, z=0, b=4)
    del model.graph.node[0].input[3]
    with pytest.raises(InputError, match="four inputs"):
        import_model(model)
    assert numpy_helper.to_array(model.graph.initializer[0]).shape == (3, 4)

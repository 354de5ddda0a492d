"""Conv and ConvTranspose in all their forms against onnxruntime, and the vectors they take."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnx2mzi.backends.onnx_model import photonic_model
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.columns import columns, positions
from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import LinearLayer, Program, identical
from onnx2mzi.ir.parser import parse_program
from onnx2mzi.ir.printer import print_program
from onnx2mzi.ir.verify import verify

MakeModel = Callable[..., onnx.ModelProto]


@dataclass(frozen=True)
class Case:
    """A node, its kernel and bias (or None), and an input for it."""

    op: str
    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray | None
    attributes: dict[str, Any]

    @property
    def groups(self) -> int:
        return int(self.attributes.get("group", 1))


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


@st.composite
def convolutions(draw: st.DrawFn, transposed: bool = False) -> Case:
    """A convolution of 1 to 3 dimensions that onnxruntime takes."""
    axes = draw(st.integers(1, 3))

    def per_axis(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes))

    kernel, strides = per_axis(1, 3), per_axis(1, 3)
    word = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""]))
    # onnxruntime has no dilation where it chooses the padding.
    dilations = per_axis(1, 2) if not word.startswith("SAME") else [1] * axes
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    ins, outs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    attributes: dict[str, Any] = {}
    if word:
        attributes["auto_pad"] = word
    pads = [0] * 2 * axes
    if word in ("", "NOTSET") and draw(st.booleans()):
        most = [min(2, (k - 1) * d) for k, d in zip(kernel, dilations, strict=True)]
        pads = [draw(st.integers(0, m)) for m in (*most, *most)]
        attributes["pads"] = pads
    for name, value, default in (("strides", strides, 1), ("dilations", dilations, 1)):
        if draw(st.booleans()) or value != [default] * axes:
            attributes[name] = value
    if draw(st.booleans()):
        attributes["kernel_shape"] = kernel
    if groups > 1 or draw(st.booleans()):
        attributes["group"] = groups
    sizes = [
        (k - 1) * d + 1 + draw(st.integers(0, 4)) for k, d in zip(kernel, dilations, strict=True)
    ]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = numbers(rng, draw(st.integers(1, 3)), groups * ins, *sizes)
    shape = (groups * ins, outs) if transposed else (groups * outs, ins)
    bias = numbers(rng, groups * outs) if draw(st.booleans()) else None
    if transposed and word in ("", "NOTSET") and draw(st.booleans()):
        # onnxruntime wants less than the stride, ONNX less than stride or dilation.
        attributes["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]
    op = "ConvTranspose" if transposed else "Conv"
    return Case(op, x, numbers(rng, *shape, *kernel), bias, attributes)


def model_of(case: Case, make_onnx: MakeModel, opset: int = 17) -> bytes:
    weights = {"w": case.w} | ({} if case.bias is None else {"b": case.bias})
    node = helper.make_node(case.op, ["x", *weights], ["y"], name="conv", **case.attributes)
    shape = ["N", *case.x.shape[1:]]
    data: bytes = make_onnx([node], {"x": shape}, ["y"], weights, opset=opset).SerializeToString()
    return data


def check(case: Case, make_onnx: MakeModel, opset: int = 17) -> Program:
    """Host and photonic model are the model; another matrix is another model."""
    data = model_of(case, make_onnx, opset)
    expected = reference_run(data, {"x": case.x})
    program = import_model(data)
    assert verify(program) == []
    assert len(program.layers) == case.groups
    assert program.host is not None and not program.host.electronic
    runner = HostRunner(program.host)
    asked = {layer.name: layer.weight for layer in program.layers}
    given = {"x": case.x}
    assert relative_error(runner.run(asked, program.layers, given), expected) < 1e-5
    photonic = photonic_model(program.host, program.layers, asked)
    assert relative_error(reference_run(photonic, given), expected) < 1e-5
    for name, weight in asked.items():
        other = runner.run({**asked, name: 2 * weight + 1}, program.layers, given)
        assert relative_error(other, expected) > 1e-3
    text, arrays = print_program(program)
    assert identical(parse_program(text, arrays), program)
    return program


@settings(deadline=None, max_examples=60)
@given(case=convolutions())
def test_conv(make_onnx: MakeModel, case: Case) -> None:
    program = check(case, make_onnx)
    assert program.host is not None
    plain = replace(case, bias=None)
    y = reference_run(model_of(plain, make_onnx), {"x": case.x})["y"]
    groups = np.split(np.moveaxis(y, 1, 0).reshape(y.shape[1], -1), case.groups)
    found = HostRunner(program.host).layer_inputs({}, program.layers, {"x": case.x})
    for layer, expected in zip(program.layers, groups, strict=True):
        x = found[layer.name]
        assert x.shape == (layer.weight.shape[1], positions(case.x.shape, layer))
        # The matrix on the columns is the convolution, position by position.
        assert np.allclose(layer.weight @ x, expected, atol=1e-4)
        assert layer.weight.shape[1] == math.prod(case.w.shape[1:])
        assert layer.weight.shape[0] * case.groups == case.w.shape[0]


@settings(deadline=None, max_examples=60)
@given(case=convolutions(transposed=True))
def test_conv_transpose(make_onnx: MakeModel, case: Case) -> None:
    program = check(case, make_onnx)
    assert program.host is not None
    found = HostRunner(program.host).layer_inputs({}, program.layers, {"x": case.x})
    for layer, own in zip(program.layers, np.split(case.x, case.groups, axis=1), strict=True):
        expected = np.moveaxis(own, 1, 0).reshape(own.shape[1], -1)
        assert np.array_equal(found[layer.name], expected)
        assert layer.weight.shape == (math.prod(case.w.shape[1:]), own.shape[1])


@pytest.mark.parametrize("opset", [7, 11, 22, 26])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_opsets(make_onnx: MakeModel, op: str, opset: int) -> None:
    rng = np.random.default_rng(0)
    w = numbers(rng, 4, 2, 3, 3)
    groups = {"group": 2} if op == "Conv" else {"group": 2, "output_shape": [13, 12]}
    case = Case(op, numbers(rng, 2, 4, 6, 6), w, numbers(rng, 4), {"strides": [2, 2], **groups})
    check(case, make_onnx, opset)


def test_float16(make_onnx: MakeModel) -> None:
    dtype = "float16"
    rng = np.random.default_rng(1)
    x, w = numbers(rng, 2, 2, 5, 5).astype(dtype), numbers(rng, 3, 2, 3, 3).astype(dtype)
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    data = make_onnx([node], {"x": x.shape}, ["y"], {"w": w}, dtype=dtype).SerializeToString()
    program = import_model(data)
    (layer,) = program.layers
    assert program.host is not None and layer.operand.dtype == dtype
    found = HostRunner(program.host).run({}, program.layers, {"x": x})
    assert relative_error(found, reference_run(data, {"x": x})) < 1e-3


def test_depthwise_with_500_groups_feeds_one_host_input(make_onnx: MakeModel) -> None:
    rng = np.random.default_rng(2)
    w = numbers(rng, 500, 1, 3, 3)
    case = Case("Conv", numbers(rng, 1, 500, 4, 4), w, None, {"group": 500})
    data = model_of(case, make_onnx)
    program = import_model(data)
    assert program.host is not None
    assert verify(program) == []
    assert [layer.weight.shape for layer in program.layers] == [(1, 9)] * 500
    assert [program.layers[k].name for k in (0, 499)] == ["conv__000", "conv__499"]
    host = onnx.load_model_from_string(program.host.model)
    assert len(host.graph.input) == 2
    found = HostRunner(program.host).run({}, program.layers, {"x": case.x})
    assert relative_error(found, reference_run(data, {"x": case.x})) < 1e-5


WRONG: list[tuple[dict[str, Any], tuple[int, ...], str]] = [
    ({"group": 0}, (4, 2, 3, 3), "group is 0"),
    ({"group": 3}, (4, 2, 3, 3), "group is 3, which does not divide its 4 channels"),
    ({"kernel_shape": [3, 2]}, (4, 2, 3, 3), r"kernel_shape is \[3, 2\]"),
    ({"strides": [1, 0]}, (4, 2, 3, 3), r"strides is \[1, 0\], not 2 numbers of 1 or more"),
    ({"dilations": [1]}, (4, 2, 3, 3), r"dilations is \[1\], not 2 numbers"),
    ({"pads": [1, 1]}, (4, 2, 3, 3), r"pads is \[1, 1\], not 4 numbers of 0 or more"),
    ({"auto_pad": "SAME"}, (4, 2, 3, 3), "auto_pad is 'SAME'"),
    ({}, (4, 2), "its kernel has shape"),
    ({}, (5, 2, 3, 3), r"bias 'b' has shape \[4\] for 5 outputs"),
]


@pytest.mark.parametrize(("attributes", "shape", "message"), WRONG)
def test_what_onnx_forbids_is_refused(
    make_onnx: MakeModel, attributes: dict[str, Any], shape: tuple[int, ...], message: str
) -> None:
    rng = np.random.default_rng(3)
    case = Case("Conv", numbers(rng, 1, 2, 8, 8), numbers(rng, *shape), numbers(rng, 4), attributes)
    with pytest.raises(InputError, match=message) as caught:
        import_model(model_of(case, make_onnx))
    assert "conv" in caught.value.where


def test_a_tensor_that_the_layer_cannot_read_is_refused(make_onnx: MakeModel) -> None:
    rng = np.random.default_rng(4)
    case = Case("Conv", numbers(rng, 1, 2, 8, 8), numbers(rng, 4, 2, 3, 3), None, {})
    layer: LinearLayer = import_model(model_of(case, make_onnx)).layers[0]
    for shape, message in (
        ((1, 3, 8, 8), "holds vectors of 27, not 18"),
        ((1, 2, 8, 2), r"a window of \[3, 3\] does not fit in"),
        ((2, 8), "too few dimensions|no axis -3"),
    ):
        with pytest.raises(InputError, match=message):
            columns(np.zeros(shape), layer)


def test_of_many_positions_some_are_drawn_always_the_same(
    make_onnx: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    case = Case("Conv", numbers(rng, 40, 2, 8, 8), numbers(rng, 4, 2, 3, 3), None, {})
    program = import_model(model_of(case, make_onnx))
    (layer,) = program.layers
    assert program.host is not None
    runner = HostRunner(program.host)
    everything = runner.layer_inputs({}, program.layers, {"x": case.x})[layer.name]
    assert everything.shape == (18, 40 * 36)
    monkeypatch.setattr("onnx2mzi.emulate.host.MOST_COLUMNS", 100)
    for handed in (1 << 26, 300):
        monkeypatch.setattr("onnx2mzi.emulate.host._HANDED", handed)
        some = runner.layer_inputs({}, program.layers, {"x": case.x})[layer.name]
        again = runner.layer_inputs({}, program.layers, {"x": case.x})[layer.name]
        assert np.array_equal(some, again)
        assert 90 <= some.shape[1] <= 120
        known = {column.tobytes() for column in everything.T}
        assert all(column.tobytes() in known for column in some.T)
    monkeypatch.setattr("onnx2mzi.emulate.host.MOST_COLUMNS", 100_000)
    for bound in ("MOST_ENTRIES", "ALL_ENTRIES"):
        with monkeypatch.context() as patched:
            patched.setattr(f"onnx2mzi.emulate.host.{bound}", 18 * 200)
            few = runner.layer_inputs({}, program.layers, {"x": case.x})[layer.name]
            assert few.shape[1] == pytest.approx(200, abs=10)
            patched.setattr(f"onnx2mzi.emulate.host.{bound}", 1)
            least = runner.layer_inputs({}, program.layers, {"x": case.x})[layer.name]
            assert least.shape[1] == pytest.approx(2 * 18, abs=10)
    whole = runner.layer_inputs({}, program.layers, {"x": case.x})[layer.name]
    assert np.array_equal(whole, everything)

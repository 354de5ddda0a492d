"""Complex layers, as a real matrix and as three or four real products, against onnxruntime."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

import onnx2mzi
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.emulate.parts import complex_form, real_form, vectors
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program

MakeModel = Callable[..., onnx.ModelProto]
CheckHost = Callable[..., Program]
Arrays = dict[str, np.ndarray]
NODE = helper.make_node
M, N = 3, 5


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


W = numbers(M, N, seed=1) + 1j * numbers(M, N, seed=2)


@pytest.mark.parametrize("parts", ["stacked", "interleaved"])
def test_a_complex_matrix_and_its_real_form(parts: str) -> None:
    whole = real_form(W, parts)
    found = complex_form(whole)
    assert found is not None
    assert found[1] == parts
    assert np.array_equal(found[0], W)
    x = numbers(2 * N, 4).astype(np.float64)
    product = W @ vectors(x, parts)
    assert np.allclose(vectors(whole @ x, parts), product, atol=1e-12)
    # A change in the last place of one entry, and it is none.
    for k in range(whole.size):
        other = whole.copy()
        other.flat[k] = np.nextafter(other.flat[k], 9.0)
        assert complex_form(other) is None


def test_what_is_complex_by_chance_is_not_taken() -> None:
    a = numbers(M, N).astype(np.float64)
    two = np.asarray(np.eye(2), np.float64)
    assert complex_form(np.asarray(np.kron(two, a), np.float64)) is None
    assert complex_form(np.asarray(np.kron(a, two), np.float64)) is None
    assert complex_form(np.eye(4)) is None
    assert complex_form(np.zeros((4, 4))) is None
    assert complex_form(np.array([[0.6, -0.8], [0.8, 0.6]])) is None
    assert complex_form(a) is None
    assert complex_form(numbers(4, 6).astype(np.float64)) is None


@pytest.mark.parametrize("parts", ["stacked", "interleaved"])
@pytest.mark.parametrize("form", ["right", "left", "gemm", "gemm left"])
def test_a_real_matrix_becomes_a_complex_layer(
    make_onnx: MakeModel, check_host: CheckHost, form: str, parts: str
) -> None:
    real = real_form(W, parts).astype(np.float32)
    x = numbers(4, 2 * N)
    match form:
        case "right":
            node, weight = NODE("MatMul", ["x", "w"], ["y"]), real.T
        case "left":
            node, weight, x = NODE("MatMul", ["w", "x"], ["y"]), real, x.T
        case "gemm":
            node, weight = NODE("Gemm", ["x", "w"], ["y"], transB=1, alpha=2.0), real
        case _:
            node, weight = NODE("Gemm", ["w", "x"], ["y"], transA=1, transB=1), real.T
    program = check_host(make_onnx([node], {"x": x.shape}, ["y"], {"w": weight}), {"x": x})
    (layer,) = program.layers
    assert layer.weight.shape == (M, N)
    assert layer.operand.parts == parts
    assert np.array_equal(layer.weight, W * (2 if form == "gemm" else 1))
    assert program.host is not None
    inputs = HostRunner(program.host).layer_inputs({}, program.layers, {"x": x})[layer.name]
    assert inputs.dtype == np.complex128
    rows = x if form == "left" else x.T
    assert np.array_equal(inputs, vectors(rows, parts))


def test_a_convolution_with_stacked_channels(make_onnx: MakeModel, check_host: CheckHost) -> None:
    re, im = numbers(3, 2, 2, 2, seed=1), numbers(3, 2, 2, 2, seed=2)
    kernel = np.concatenate([np.concatenate([re, -im], 1), np.concatenate([im, re], 1)])
    node = NODE("Conv", ["x", "k", "b"], ["y"], pads=[1, 0, 1, 0])
    x = numbers(2, 4, 5, 5)
    weights = {"k": kernel, "b": numbers(6)}
    program = check_host(make_onnx([node], {"x": x.shape}, ["y"], weights), {"x": x})
    (layer,) = program.layers
    assert layer.weight.shape == (3, 8)
    assert layer.operand.parts == "stacked"


def combined(program: Program, shape: tuple[int, int] = (M, N)) -> None:
    """One complex layer, and no other product."""
    (layer,) = program.layers
    assert layer.weight.shape == shape
    assert np.iscomplexobj(layer.weight)
    assert program.host is not None
    ops = [node.op_type for node in ModelProto.FromString(program.host.model).graph.node]
    assert sum(op in ("MatMul", "Gemm", "Conv") for op in ops) == 1


def vectors_in(*names: str) -> dict[str, Any]:
    return {name: ["B", N] for name in names}


RE, IM = np.ascontiguousarray(W.real.T), np.ascontiguousarray(W.imag.T)
INPUTS = {"a": numbers(4, N, seed=3), "b": numbers(4, N, seed=4)}


def four(sign: str = "Sub", other: str = "Add") -> list[onnx.NodeProto]:
    return [
        NODE("MatMul", ["a", "re"], ["aa"], "fc_aa"),
        NODE("MatMul", ["b", "im"], ["bb"], "fc_bb"),
        NODE("MatMul", ["a", "im"], ["ab"], "fc_ab"),
        NODE("MatMul", ["b", "re"], ["ba"], "fc_ba"),
        NODE(sign, ["aa", "bb"], ["c"]),
        NODE(other, ["ba", "ab"], ["d"]),
    ]


# As exporters and people write a complex product: nodes and weights.
FORMS: dict[str, tuple[list[onnx.NodeProto], Arrays]] = {
    "four": (four(), {"re": RE, "im": IM}),
    "conjugate": (four("Add", "Sub"), {"re": RE, "im": IM}),
    "shared by copies": (
        [NODE("Identity", ["re0"], ["re"]), *four()],
        {"re0": RE, "im": IM},
    ),
    "gauss": (
        [
            NODE("Add", ["a", "b"], ["s"]),
            NODE("MatMul", ["s", "re"], ["k1"]),
            NODE("MatMul", ["a", "im_re"], ["k2"]),
            NODE("MatMul", ["b", "both"], ["k3"]),
            NODE("Sub", ["k1", "k3"], ["c"]),
            NODE("Add", ["k1", "k2"], ["d"]),
        ],
        {"re": RE, "im_re": IM - RE, "both": RE + IM},
    ),
    "karatsuba": (
        [
            NODE("MatMul", ["a", "re"], ["p1"]),
            NODE("MatMul", ["b", "im"], ["p2"]),
            NODE("Add", ["b", "a"], ["s"]),
            NODE("MatMul", ["s", "both"], ["p3"]),
            NODE("Sub", ["p1", "p2"], ["c"]),
            NODE("Sub", ["p3", "p1"], ["q"]),
            NODE("Sub", ["q", "p2"], ["d"]),
        ],
        {"re": RE, "im": IM, "both": RE + IM},
    ),
    "karatsuba in one sum": (
        [
            NODE("MatMul", ["a", "re"], ["p1"]),
            NODE("MatMul", ["b", "im"], ["p2"]),
            NODE("Add", ["a", "b"], ["s"]),
            NODE("MatMul", ["s", "both"], ["p3"]),
            NODE("Neg", ["p2"], ["n"]),
            NODE("Add", ["n", "p1"], ["c"]),
            NODE("Add", ["p1", "p2"], ["q"]),
            NODE("Sub", ["p3", "q"], ["d"]),
        ],
        {"re": RE, "im": IM, "both": RE + IM},
    ),
    "gemm with biases": (
        [
            NODE("Gemm", ["a", "re", "br"], ["aa"], transB=1),
            NODE("Gemm", ["b", "im", "bi"], ["bb"], transB=1),
            NODE("Gemm", ["a", "im", "bi"], ["ab"], transB=1),
            NODE("Gemm", ["b", "re", "br"], ["ba"], transB=1),
            NODE("Sub", ["aa", "bb"], ["c"]),
            NODE("Add", ["ab", "ba"], ["d"]),
        ],
        {"re": RE.T.copy(), "im": IM.T.copy(), "br": numbers(M), "bi": numbers(M, seed=8)},
    ),
    "matmul with biases added": (
        [
            NODE("MatMul", ["a", "re"], ["aa0"]),
            NODE("Add", ["aa0", "br"], ["aa"]),
            NODE("MatMul", ["b", "im"], ["bb0"]),
            NODE("Add", ["bi", "bb0"], ["bb"]),
            NODE("MatMul", ["a", "im"], ["ab"]),
            NODE("MatMul", ["b", "re"], ["ba"]),
            NODE("Sub", ["aa", "bb"], ["c"]),
            NODE("Add", ["ab", "ba"], ["d"]),
        ],
        {"re": RE, "im": IM, "br": numbers(M), "bi": numbers(M, seed=8)},
    ),
}


@pytest.mark.parametrize("opset", [7, 13, 18])
@pytest.mark.parametrize("form", FORMS)
def test_real_products_become_one_complex_layer(
    make_onnx: MakeModel, check_host: CheckHost, form: str, opset: int
) -> None:
    nodes, weights = FORMS[form]
    model = make_onnx(nodes, vectors_in("a", "b"), ["c", "d"], weights, opset=opset)
    program = check_host(model, INPUTS, 1e-6)
    combined(program)
    (layer,) = program.layers
    asked = W.conj() if form == "conjugate" else W
    assert np.allclose(layer.weight, asked, atol=1e-6)
    if len(weights) == 2:
        assert np.array_equal(layer.weight, asked)


def test_products_with_the_weight_on_the_left(make_onnx: MakeModel, check_host: CheckHost) -> None:
    nodes = [
        NODE("MatMul", ["re", "a"], ["aa"]),
        NODE("MatMul", ["im", "b"], ["bb"]),
        NODE("MatMul", ["im", "a"], ["ab"]),
        NODE("MatMul", ["re", "b"], ["ba"]),
        NODE("Sub", ["aa", "bb"], ["c"]),
        NODE("Add", ["ab", "ba"], ["d"]),
    ]
    weights = {"re": RE.T.copy(), "im": IM.T.copy()}
    inputs = {name: x.T.copy() for name, x in INPUTS.items()}
    model = make_onnx(nodes, {"a": [N, "B"], "b": [N, "B"]}, ["c", "d"], weights)
    combined(check_host(model, inputs))


def test_products_of_a_convolution(make_onnx: MakeModel, check_host: CheckHost) -> None:
    kind: dict[str, Any] = {"pads": [1, 1, 1, 1], "strides": [2, 2]}
    nodes = [
        NODE("Split", ["x"], ["a", "b"], axis=1),
        NODE("Conv", ["a", "re", "br"], ["aa"], **kind),
        NODE("Conv", ["b", "im", "bi"], ["bb"], **kind),
        NODE("Conv", ["a", "im", "bi"], ["ab"], **kind),
        NODE("Conv", ["b", "re", "br"], ["ba"], **kind),
        NODE("Sub", ["aa", "bb"], ["c"]),
        NODE("Add", ["ab", "ba"], ["d"]),
    ]
    weights = {
        "re": numbers(3, 2, 3, 3), "im": numbers(3, 2, 3, 3, seed=1),
        "br": numbers(3), "bi": numbers(3, seed=1),
    }  # fmt: skip
    x = numbers(2, 4, 6, 6)
    model = make_onnx(nodes, {"x": ["B", 4, 6, 6]}, ["c", "d"], weights)
    program = check_host(model, {"x": x})
    combined(program, (3, 18))
    assert program.layers[0].uses == 9


def test_two_layers_with_activations_between(make_onnx: MakeModel, check_host: CheckHost) -> None:
    second = numbers(2, M, seed=6) + 1j * numbers(2, M, seed=7)
    nodes = [
        *four(),
        NODE("Relu", ["c"], ["rc"]),
        NODE("Relu", ["d"], ["rd"]),
        NODE("MatMul", ["rc", "re2"], ["t1"]),
        NODE("MatMul", ["rd", "im2"], ["t2"]),
        NODE("MatMul", ["rc", "im2"], ["t3"]),
        NODE("MatMul", ["rd", "re2"], ["t4"]),
        NODE("Sub", ["t1", "t2"], ["e"]),
        NODE("Add", ["t3", "t4"], ["f"]),
        NODE("Mul", ["e", "e"], ["ee"]),
        NODE("Pow", ["f", "two"], ["ff"]),
        NODE("Add", ["ee", "ff"], ["power"]),
        NODE("Sqrt", ["power"], ["y"], "modulus"),
        NODE("Div", ["f", "e"], ["ratio"]),
        NODE("Atan", ["ratio"], ["z"], "angle"),
    ]
    weights = {
        "re": RE, "im": IM, "re2": second.real.T.copy(), "im2": second.imag.T.copy(),
        "two": np.array(2, np.float32),
    }  # fmt: skip
    model = make_onnx(nodes, vectors_in("a", "b"), ["y", "z"], weights)
    program = check_host(model, INPUTS, 1e-5)
    assert [layer.weight.shape for layer in program.layers] == [(M, N), (2, M)]
    assert all(layer.operand.parts == "stacked" for layer in program.layers)
    assert program.layers[0].name == "fc_aa"
    assert set(program.layers[0].folds) == {"fc_ab", "fc_ba", "fc_bb"}
    # What is made of complex values stays electronic, and is told; it is no linear layer.
    assert program.host is not None
    told = {item.loc.node: item for item in program.host.electronic}
    assert set(told) == {"modulus", "angle"}
    assert not any(item.linear for item in told.values())
    chip = onnx2mzi.compile(model.SerializeToString(), optimize=1, strict=True)
    found = chip.run(INPUTS)
    assert relative_error(found, reference_run(model.SerializeToString(), INPUTS)) < 1e-4


def apart(make_onnx: MakeModel, nodes: Sequence[onnx.NodeProto], weights: Arrays,
          outputs: Sequence[str] = ("c", "d"), **how: Any) -> Program:  # fmt: skip
    shapes = how.pop("shapes", vectors_in("a", "b"))
    program = import_model(make_onnx(nodes, shapes, outputs, weights), **how)
    assert all(not layer.operand.parts for layer in program.layers)
    return program


def test_other_products_stay_real(make_onnx: MakeModel) -> None:
    weights = {"re": RE, "im": IM}
    # A product that somebody else reads; one that is an output.
    apart(make_onnx, [*four(), NODE("Relu", ["ab"], ["e"])], weights, ("c", "d", "e"))
    apart(make_onnx, four(), weights, ("c", "d", "ab"))
    # Another matrix in one place, another sign, two real parts.
    other = four()
    other[3].input[1] = "three"
    apart(make_onnx, other, {**weights, "three": 2 * RE})
    apart(make_onnx, four("Add", "Add"), weights)
    # Matrices of other shapes, whose products broadcast.
    narrow = [
        NODE("MatMul", ["a", "re"], ["p"]),
        NODE("MatMul", ["b", "one"], ["q"]),
        NODE("Sub", ["p", "q"], ["c"]),
        NODE("Add", ["p", "q"], ["d"]),
    ]
    apart(make_onnx, narrow, {"re": RE, "one": numbers(N, 1)})
    apart(make_onnx, four("Sub", "Sub"), weights)
    # Vectors that broadcast.
    apart(make_onnx, four(), weights, shapes={"a": ["B", N], "b": [1, N]})
    # Products that the user wants or does not want one by one.
    left = apart(make_onnx, four(), weights, exclude=["fc_ab"])
    assert len(left.layers) == 3
    left = apart(make_onnx, four(), weights, only=["fc_aa", "fc_ba"])
    assert len(left.layers) == 2
    program = import_model(
        make_onnx(four(), vectors_in("a", "b"), ["c", "d"], weights), only=["fc_*"]
    )
    combined(program)


def complex_network() -> tuple[bytes, np.ndarray]:
    """Two complex layers in real form; and inputs."""
    rng = np.random.default_rng(3)
    first, second = (rng.normal(size=s) + 1j * rng.normal(size=s) for s in ((8, 6), (4, 8)))
    # Of low rank, so that there is something to prune.
    first = first[:, :2] @ first[:2, :] + 0.01 * first
    nodes = [
        NODE("MatMul", ["x", "w1"], ["h"], "fc1"),
        NODE("Tanh", ["h"], ["t"]),
        NODE("Gemm", ["t", "w2"], ["y"], "fc2", transB=1),
    ]
    weights = {
        "w1": real_form(first, "stacked").T.astype(np.float32),
        "w2": real_form(second, "stacked").astype(np.float32),
    }
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "complex", [value("x", 1, ["N", 12])], [value("y", 1, ["N", 8])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return model.SerializeToString(), rng.normal(size=(120, 12)).astype(np.float32)


@pytest.mark.parametrize(
    "passes",
    [
        "0",
        "1",
        "prune{budget=0.05}",
        "prune{method=magnitude budget=0.02}",
        "quantize{bits=10 rounding=sequential}",
    ],
)
@pytest.mark.parametrize("ports", [16, 3])
def test_every_pass_takes_complex_layers(passes: str, ports: int) -> None:
    model, x = complex_network()
    level: str | int = int(passes) if passes.isdigit() else passes
    chip = onnx2mzi.compile(model, optimize=level, ports=ports)
    assert all(np.iscomplexobj(layer.weight) for layer in chip.program.layers)
    error = relative_error(chip.run(x), reference_run(model, {"x": x}))
    assert error < (1e-5 if passes.isdigit() else 0.2)
    rows = chip.report["layers"]
    assert [(row["rows"], row["columns"], row["complex"]) for row in rows] == [
        (8, 6, True),
        (4, 8, True),
    ]
    if passes == "prune{budget=0.05}" and ports == 16:
        exact = sum(row["phases_exact"] for row in rows)
        assert sum(row["phases_active"] for row in rows) < exact


def test_pruning_with_data_and_the_files_of_a_complex_chip(tmp_path: Any) -> None:
    model, x = complex_network()
    chip = onnx2mzi.compile(model, optimize="prune", data={"x": x}, max_drop=0.05, ports=16)
    row = chip.report
    assert row["phases_active"] < row["phases_exact"]
    files = chip.save(tmp_path / "out", emit="ir,onnx,phases,report")
    again = onnx2mzi.load(tmp_path / "out")
    assert np.array_equal(again.run(x)["y"], chip.run(x)["y"])
    photonic = reference_run(files["model_photonic.onnx"], {"x": x})
    assert relative_error(photonic, chip.run(x)) < 1e-6


def test_half_the_ports_and_fewer_phases_than_the_real_matrix() -> None:
    model, _ = complex_network()
    chip = onnx2mzi.compile(model, optimize=1, ports=16)
    plain = ModelProto.FromString(model)
    rng = np.random.default_rng(0)
    for tensor in plain.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        noise = 1e-4 * rng.normal(size=array.shape).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array + noise, tensor.name))
    real = onnx2mzi.compile(plain.SerializeToString(), optimize=1, ports=16)
    assert not any(row["complex"] for row in real.report["layers"])
    assert 3 * chip.report["mzis"] < real.report["mzis"]
    assert 1.5 * chip.report["phases_active"] < real.report["phases_active"]


def test_one_group_of_a_convolution(make_onnx: MakeModel, check_host: CheckHost) -> None:
    re, im = numbers(2, 2, 1, 1, seed=1), numbers(2, 2, 1, 1, seed=2)
    kernel = np.concatenate([np.concatenate([re, -im], 1), np.concatenate([im, re], 1)])
    both = np.concatenate([kernel, numbers(4, 4, 1, 1)])
    node = NODE("Conv", ["x", "k"], ["y"], group=2)
    x = numbers(2, 8, 3, 3)
    program = check_host(make_onnx([node], {"x": x.shape}, ["y"], {"k": both}), {"x": x})
    assert [layer.operand.parts for layer in program.layers] == ["stacked", ""]
    assert [layer.weight.shape for layer in program.layers] == [(2, 2), (4, 4)]

"""Einsum with a constant operand, and MatMul with a stack of matrices, against onnxruntime."""

import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnx2mzi.backends.onnx_model import photonic_model
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program, identical
from onnx2mzi.ir.parser import parse_program
from onnx2mzi.ir.printer import print_program
from onnx2mzi.ir.verify import verify

MakeModel = Callable[..., onnx.ModelProto]
Shape = tuple[int, ...]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def check(
    make_onnx: MakeModel, node: onnx.NodeProto, x: np.ndarray, w: np.ndarray, count: int
) -> tuple[Program, dict[str, np.ndarray]]:
    """The program, and what reaches its layers: `count` of them, the host is the model."""
    data = make_onnx([node], {"x": list(x.shape)}, ["y"], {"w": w}).SerializeToString()
    program = import_model(data)
    assert verify(program) == []
    assert len(program.layers) == count
    host = program.host
    assert host is not None and not host.electronic
    expected, runner = reference_run(data, {"x": x}), HostRunner(host)
    asked = {layer.name: layer.weight for layer in program.layers}
    assert relative_error(runner.run(asked, program.layers, {"x": x}), expected) < 1e-5
    photonic = photonic_model(host, program.layers, asked)
    assert relative_error(reference_run(photonic, {"x": x}), expected) < 1e-5
    for name, weight in asked.items():
        other = runner.run({**asked, name: 2 * weight + 1}, program.layers, {"x": x})
        assert relative_error(other, expected) > 1e-3
    text, arrays = print_program(program)
    assert identical(parse_program(text, arrays), program)
    inputs = runner.layer_inputs({}, program.layers, {"x": x})
    products = [layer.weight @ inputs[layer.name] for layer in program.layers]
    # Every product of a vector is somewhere in the result, and nothing else is.
    mine = np.sort(np.concatenate([product.ravel() for product in products]))
    if mine.size == expected["y"].size:
        assert np.allclose(mine, np.sort(expected["y"].ravel()), atol=1e-4)
    assert [layer.uses for layer in program.layers] == [
        inputs[layer.name].shape[1] for layer in program.layers
    ]
    return program, inputs


# Equation, shapes of x and w, number of layers, shape of a layer's matrix.
EQUATIONS: list[tuple[str, Shape, Shape, int, Shape]] = [
    ("ij,jk->ik", (2, 3), (3, 4), 1, (4, 3)),
    ("ij,jk", (2, 3), (3, 4), 1, (4, 3)),
    ("ba,bc", (3, 2), (3, 4), 1, (4, 3)),
    (" i j , k j -> i k ", (2, 3), (4, 3), 1, (4, 3)),
    ("bsd,dhk->bshk", (2, 3, 4), (4, 2, 5), 1, (10, 4)),
    ("bhk,hkd->bd", (2, 3, 4), (3, 4, 5), 1, (5, 12)),
    ("bkh,hkd->bd", (2, 4, 3), (3, 4, 5), 1, (5, 12)),
    ("bhk,hkd->bhd", (2, 3, 4), (3, 4, 5), 3, (5, 4)),
    ("bhgk,ghkd->dbgh", (2, 3, 2, 4), (2, 3, 4, 5), 6, (5, 4)),
    ("...j,jk->...k", (2, 2, 3), (3, 4), 1, (4, 3)),
    ("j...,jk->...k", (3, 2, 2), (3, 4), 1, (4, 3)),
    ("i...j,ijk->k...", (2, 5, 3), (2, 3, 4), 1, (4, 6)),
    ("h...j,hjk->h...k", (2, 5, 3), (2, 3, 4), 2, (4, 3)),
    ("...j,jk", (2, 2, 3), (3, 4), 1, (4, 3)),
    ("...j,...jk->...k", (3,), (3, 4), 1, (4, 3)),
    ("i,i->", (3,), (3,), 1, (1, 3)),
    ("i,i", (3,), (3,), 1, (1, 3)),
    ("ij,ij->", (2, 3), (2, 3), 1, (1, 6)),
    ("ij,j->i", (2, 3), (3,), 1, (1, 3)),
    ("ij,ij->i", (2, 3), (2, 3), 2, (1, 3)),
    ("ij,jk->k", (2, 3), (3, 4), 1, (4, 3)),
    ("ij,jk->i", (2, 3), (3, 4), 1, (1, 3)),
    ("ijl,jk->ik", (2, 3, 5), (3, 4), 1, (4, 3)),
    ("bij,hij->bh", (2, 3, 4), (1, 3, 4), 1, (1, 12)),
    ("hij,hjk->hik", (3, 2, 4), (1, 4, 5), 1, (5, 4)),
    ("Bj,jK->BK", (2, 3), (3, 4), 1, (4, 3)),
]


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("equation", "x_shape", "w_shape", "count", "matrix"), EQUATIONS)
def test_einsum(
    make_onnx: MakeModel,
    equation: str,
    x_shape: Shape,
    w_shape: Shape,
    count: int,
    matrix: Shape,
    left: bool,
) -> None:
    terms, arrow, result = equation.partition("->")
    if left:
        equation = ",".join(reversed(terms.split(","))) + arrow + result
    node = helper.make_node("Einsum", ["w", "x"] if left else ["x", "w"], ["y"], equation=equation)
    program, _ = check(make_onnx, node, numbers(*x_shape), numbers(*w_shape, seed=1), count)
    assert {layer.weight.shape for layer in program.layers} == {matrix}


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, Shape, Shape]:
    """Letters of four kinds in any order: stack, summed, only in x, only in w."""
    letters = draw(st.permutations("abcdefgh"))
    counts = [draw(st.integers(low, 2)) for low in (0, 1, 0, 0)]
    ends = np.cumsum(counts)
    stack, summed, free, rows = (
        letters[end - count : end] for end, count in zip(ends, counts, strict=True)
    )
    size = {letter: draw(st.integers(2, 3)) for letter in letters}
    x, w = draw(st.permutations([*stack, *summed, *free])), draw(
        st.permutations([*stack, *summed, *rows])
    )  # fmt: skip
    kept = [letter for letter in (*free, *rows) if draw(st.booleans())]
    result = draw(st.permutations([*stack, *kept]))
    text = f"{''.join(x)},{''.join(w)}->{''.join(result)}"
    return text, tuple(size[a] for a in x), tuple(size[a] for a in w)


@settings(deadline=None, max_examples=60)
@given(case=equations())
def test_any_einsum_of_two_operands(make_onnx: MakeModel, case: tuple[str, Shape, Shape]) -> None:
    equation, x_shape, w_shape = case
    node = helper.make_node("Einsum", ["x", "w"], ["y"], equation=equation)
    x, w, y = equation.replace("->", ",").split(",")
    count = math.prod(
        size for letter, size in zip(w, w_shape, strict=True) if letter in x and letter in y
    )
    check(make_onnx, node, numbers(*x_shape), numbers(*w_shape, seed=1), count)


@pytest.mark.parametrize(
    "equation", ["ij,jk->iz", "ij->i", "i1,1k->ik", "ij,jk->ii", "", "ij,jkl", "...j,...jk"]
)
def test_wrong_equations_are_refused(make_onnx: MakeModel, equation: str) -> None:
    node = helper.make_node("Einsum", ["x", "w"], ["y"], name="sum", equation=equation)
    model = make_onnx([node], {"x": [2, 3]}, ["y"], {"w": numbers(3, 4)})
    with pytest.raises(InputError, match=r"equation|has shape") as caught:
        import_model(model)
    assert "node 'sum'" in caught.value.where


def test_an_einsum_of_one_operand_is_not_linear_in_a_weight(make_onnx: MakeModel) -> None:
    nodes = [
        helper.make_node("Einsum", ["x"], ["t"], equation="ij->ji"),
        helper.make_node("MatMul", ["t", "w"], ["y"]),
    ]
    program = import_model(make_onnx(nodes, {"x": [3, 2]}, ["y"], {"w": numbers(3, 4)}))
    assert program.host is not None and not program.host.electronic
    assert len(program.layers) == 1


@st.composite
def stacks(draw: st.DrawFn) -> tuple[Shape, Shape, bool]:
    """Shapes of x and a stack of matrices that broadcast, up to four dimensions."""
    left = draw(st.booleans())
    k, n, b = (draw(st.integers(1, 4)) for _ in range(3))
    stack = draw(st.lists(st.integers(1, 3), max_size=2))
    batch = [draw(st.sampled_from([1, size] if size > 1 else [1, 2])) for size in stack]
    batch = batch[draw(st.integers(0, len(batch))) :]
    if len(batch) == len(stack) and len(stack) < 2 and draw(st.booleans()):
        batch = [2, *batch]
    vector = draw(st.integers(0, 4)) == 0
    w = (*stack, n, k) if left else (*stack, k, n)
    x = (k,) if vector else (*batch, k, b) if left else (*batch, b, k)
    return x, w, left


@settings(deadline=None, max_examples=80)
@given(case=stacks())
def test_matmul_with_stacks_of_matrices(
    make_onnx: MakeModel, case: tuple[Shape, Shape, bool]
) -> None:
    x_shape, w_shape, left = case
    node = helper.make_node("MatMul", ["w", "x"] if left else ["x", "w"], ["y"])
    count = math.prod(w_shape[:-2])
    program, inputs = check(make_onnx, node, numbers(*x_shape), numbers(*w_shape, seed=1), count)
    x, w = numbers(*x_shape), numbers(*w_shape, seed=1)
    products = [layer.weight @ inputs[layer.name] for layer in program.layers]
    mine = np.sort(np.concatenate([product.ravel() for product in products]))
    assert np.allclose(mine, np.sort((w @ x if left else x @ w).ravel()), atol=1e-4)

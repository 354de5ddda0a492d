"""Constant folding is what onnxruntime computes, and it is bounded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper, numpy_helper

from onnx2mzi.emulate.host import reference_run
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.tensors import TensorReader

READER = TensorReader("net.onnx", Path())


def constants(nodes: list[NodeProto], arrays: dict[str, np.ndarray]) -> Constants:
    tensors = {name: numpy_helper.from_array(array, name) for name, array in arrays.items()}
    return Constants(tensors, nodes, READER)


class Chain:
    """A random chain of foldable operators on one array, kept valid by running along."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.draw = draw
        shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
        self.value = draw(st.integers(0, 99)) + np.arange(np.prod(shape), dtype=np.float32)
        self.value = self.value.reshape(shape)
        self.arrays = {"v0": self.value}
        self.nodes: list[NodeProto] = []
        for _ in range(draw(st.integers(1, 6))):
            getattr(self, draw(st.sampled_from(STEPS)))()

    def add(self, op: str, value: np.ndarray, *constants: np.ndarray, **attributes: object) -> None:
        k = len(self.nodes)
        names = [f"c{k}_{i}" for i in range(len(constants))]
        self.arrays.update(zip(names, constants, strict=True))
        node = helper.make_node(op, [f"v{k}", *names], [f"v{k + 1}"])
        node.attribute.extend(helper.make_attribute(a, b) for a, b in attributes.items())
        self.nodes.append(node)
        self.value = value

    def axis(self) -> int:
        return int(self.draw(st.integers(-self.value.ndim, self.value.ndim - 1)))

    def transpose(self) -> None:
        order = self.draw(st.permutations(range(self.value.ndim)))
        self.add("Transpose", self.value.transpose(order), perm=order)

    def reshape(self) -> None:
        keep = self.draw(st.booleans())
        shape = [0, -1] if keep else [-1, 1]
        told = (self.value.shape[0], -1) if keep else (-1, 1)
        self.add("Reshape", self.value.reshape(told), np.array(shape, np.int64))

    def unsqueeze(self) -> None:
        axis = self.draw(st.integers(-self.value.ndim - 1, self.value.ndim))
        value = np.expand_dims(self.value, axis)
        if value.ndim <= 5:
            self.add("Unsqueeze", value, np.array([axis], np.int64))

    def squeeze(self) -> None:
        axes = [k for k, size in enumerate(self.value.shape) if size == 1]
        if axes and self.value.ndim > 1:
            axis = self.draw(st.sampled_from(axes))
            self.add("Squeeze", self.value.squeeze(axis), np.array([axis], np.int64))

    def cast(self) -> None:
        # There and back: the arithmetic around it is of one type.
        self.add("Cast", self.value.astype(np.float16), to=10)
        self.add("Cast", self.value.astype(np.float32), to=1)

    def arithmetic(self) -> None:
        op = self.draw(st.sampled_from(["Add", "Sub", "Mul", "Div"]))
        other = self.draw(st.integers(1, 9)) * np.ones(self.value.shape[-1:], np.float32)
        ufunc = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op]
        self.add(op, ufunc(self.value, other), other)

    def cut(self) -> None:
        axis = self.axis()
        size = self.value.shape[axis]
        start = self.draw(st.integers(-size, size - 1))
        step = self.draw(st.sampled_from([1, 2, -1]))
        end = -(2**40) if step < 0 else 2**40
        index = np.arange(size)[start :: step if step > 0 else -1]
        numbers = [np.array([i], np.int64) for i in (start, end, axis, step)]
        self.add("Slice", np.take(self.value, index, axis), *numbers)

    def gather(self) -> None:
        axis = self.axis()
        size = self.value.shape[axis]
        index = self.draw(st.lists(st.integers(-size, size - 1), min_size=1, max_size=3))
        taken = np.array(index, np.int64)
        self.add("Gather", np.take(self.value, taken, axis), taken, axis=axis)

    def flatten(self) -> None:
        axis = self.draw(st.integers(0, self.value.ndim))
        rows = int(np.prod(self.value.shape[:axis]))
        self.add("Flatten", self.value.reshape(rows, -1), axis=axis)

    def negative(self) -> None:
        self.add("Neg", -self.value)


STEPS = [
    "transpose",
    "reshape",
    "unsqueeze",
    "squeeze",
    "cast",
    "arithmetic",
    "cut",
    "gather",
    "flatten",
    "negative",
]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_folding_a_chain_is_what_onnxruntime_computes(data: st.DataObject) -> None:
    chain = Chain(data.draw)
    if not chain.nodes:
        return
    last = chain.nodes[-1].output[0]
    folded = constants(chain.nodes, chain.arrays).value(last)
    graph = helper.make_graph(
        chain.nodes,
        "chain",
        [],
        [helper.make_tensor_value_info(last, 1, None)],
        [numpy_helper.from_array(array, name) for name, array in chain.arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    expected = reference_run(model.SerializeToString(), {})[last]
    assert folded is not None
    assert folded.dtype == expected.dtype and folded.shape == expected.shape
    assert np.array_equal(folded, expected, equal_nan=True)


def test_a_doubling_chain_is_folded_once_a_node() -> None:
    nodes = [helper.make_node("Add", [f"v{k}", f"v{k}"], [f"v{k + 1}"]) for k in range(40)]
    folded = constants(nodes, {"v0": np.ones(1)}).value("v40")
    assert folded is not None and folded[0] == 2.0**40


def test_a_fold_bomb_is_not_folded() -> None:
    row, column = np.ones((1, 10**6), np.float32), np.ones((10**6, 1), np.float32)
    found = constants([helper.make_node("Mul", ["a", "b"], ["y"])], {"a": row, "b": column})
    assert found.value("y") is None
    assert found.static("y")
    assert found.obstacle("y") == "Mul"


def test_all_folded_values_together_are_bounded() -> None:
    arrays = {"a": np.zeros(25)}
    nodes = [helper.make_node("Concat", ["a", "a"], [f"y{k}"], axis=0) for k in range(4)]
    tensors = {name: numpy_helper.from_array(array, name) for name, array in arrays.items()}
    found = Constants(tensors, nodes, READER, most=100)
    values = [found.value(f"y{k}") for k in range(4)]
    assert [value is not None for value in values] == [True, True, False, False]


def test_a_chain_that_is_too_long_is_not_folded() -> None:
    nodes = [helper.make_node("Identity", [f"v{k}"], [f"v{k + 1}"]) for k in range(5000)]
    assert constants(nodes, {"v0": np.ones(1)}).value("v5000") is None


def test_what_is_not_the_same_everywhere_is_not_folded() -> None:
    arrays: dict[str, np.ndarray] = {
        "x": np.array([1.5e10, -3.0], np.float32),
        "i": np.array([7], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["int"], to=onnx.TensorProto.INT8),
        helper.make_node("Div", ["i", "i"], ["whole"]),
        helper.make_node("Add", ["x", "i"], ["mixed"]),
        helper.make_node("RandomNormal", [], ["random"], shape=[2]),
        helper.make_node("Reshape", ["x", "i"], ["wrong"]),
    ]
    found = constants(nodes, arrays)
    assert [found.value(node.output[0]) for node in nodes] == [None] * 5
    assert not found.static("random")


def test_constants_of_every_kind() -> None:
    nodes = [
        helper.make_node("Constant", [], ["f"], value_float=0.5),
        helper.make_node("Constant", [], ["fs"], value_floats=[0.5, 1.5]),
        helper.make_node("Constant", [], ["i"], value_int=3),
        helper.make_node("Constant", [], ["is"], value_ints=[3, 4]),
        helper.make_node("Constant", [], ["s"], value_string="word"),
    ]
    found = constants(nodes, {})
    values = {node.output[0]: found.value(node.output[0]) for node in nodes}
    assert values["s"] is None
    assert {key: value.tolist() for key, value in values.items() if value is not None} == {
        "f": 0.5,
        "fs": [0.5, 1.5],
        "i": 3,
        "is": [3, 4],
    }
    assert values["f"].dtype == np.float32  # type: ignore[union-attr]
    assert values["i"].dtype == np.int64  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("size", "opset", "pieces", "extra", "attributes"),
    [
        (6, 11, 3, None, {"axis": 1}),
        (6, 11, 2, None, {"axis": -1, "split": [1, 5]}),
        (6, 13, 2, [2, 4], {"axis": 1}),
        (7, 18, 3, None, {"axis": 1, "num_outputs": 3}),
        (8, 18, 3, None, {"axis": 1, "num_outputs": 3}),
    ],
)
def test_split(
    size: int, opset: int, pieces: int, extra: list[int] | None, attributes: dict[str, Any]
) -> None:
    value = np.arange(2.0 * size, dtype=np.float32).reshape(2, size)
    arrays = {"a": value}
    if extra is not None:
        arrays["sizes"] = np.array(extra, np.int64)
    names = [f"p{k}" for k in range(pieces)]
    node = helper.make_node("Split", list(arrays), names, **attributes)
    found = constants([node], arrays)
    ends = [helper.make_node("Identity", [name], [f"o{name}"]) for name in names]
    model = helper.make_model(
        helper.make_graph(
            [node, *ends],
            "net",
            [],
            [helper.make_tensor_value_info(f"o{name}", 1, None) for name in names],
            [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    expected = reference_run(model.SerializeToString(), {})
    for name in reversed(names):
        piece = found.value(name)
        assert piece is not None
        assert np.array_equal(piece, expected[f"o{name}"])


def test_split_that_does_not_fit_is_not_folded() -> None:
    for told in ([1, 2], [7, -1], [6]):
        node = helper.make_node("Split", ["a"], ["p", "q"], axis=0, split=told)
        assert constants([node], {"a": np.zeros(6, np.float32)}).value("q") is None

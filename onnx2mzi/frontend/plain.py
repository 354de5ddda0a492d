"""A model in ONNX's own operators: its functions inlined, QONNX quantizers spelled out.

QONNX: Quant and BipolarQuant of qonnx.custom_op.general, as github.com/fastmachinelearning/qonnx
defines them (docs/qonnx-custom-ops).
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx.inliner
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnx2mzi.emulate.session import one_line
from onnx2mzi.errors import InputError
from onnx2mzi.frontend.attributes import attribute, integer
from onnx2mzi.frontend.names import node_label

_QONNX = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
# Functions within functions may double at every level.
MOST_NODES = 200_000
_ROUND_OPSET = 11
# What is done to a number's distance from zero, and what is added to it before.
_ROUNDINGS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "UP": ("Ceil", 0.0),
        "DOWN": ("Floor", 0.0),
        "ROUND_TO_ZERO": ("Floor", 0.0),
        "HALF_UP": ("Floor", 0.5),
        "HALF_DOWN": ("Ceil", -0.5),
    }
)
_DIRECT: Mapping[str, str] = MappingProxyType(
    {"ROUND": "Round", "HALF_EVEN": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}
)


def plain(model: ModelProto, opset: int, where: str) -> ModelProto:
    """The model itself if there is nothing to do. Raises InputError for functions in a circle."""
    if model.functions:
        model = _inlined(model, where)
    if not any(_quantizer(node) for node in model.graph.node):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    _Spelling(copy, opset, where).all()
    return copy


# ---- functions ------------------------------------------------------------------------------


def _inlined(model: ModelProto, where: str) -> ModelProto:
    """The model without those functions that can be inlined; unchanged if it would be huge."""
    if _nodes(model) > MOST_NODES:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # The C++ checker's errors share no base class.
        raise InputError(
            f"its functions cannot be inlined: {one_line(error)}", where=where
        ) from None


def _nodes(model: ModelProto) -> int:
    """How many nodes there are with all functions inlined; of a circle any number."""
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    waiting = list(functions)
    open_now: set[tuple[str, str]] = set()
    while waiting:
        key = waiting[-1]
        if key in sizes:
            waiting.pop()
            continue
        called = [(n.domain, n.op_type) for n in functions[key].node]
        missing = [k for k in called if k in functions and k not in sizes and k not in open_now]
        if missing:
            open_now.add(key)
            waiting.extend(missing)
            continue
        sizes[key] = sum(sizes.get(k, 1) for k in called)
        waiting.pop()
    return sum(sizes.get((n.domain, n.op_type), 1) for n in model.graph.node)


# ---- QONNX ----------------------------------------------------------------------------------


def _quantizer(node: NodeProto) -> bool:
    return node.domain in _QONNX and node.op_type in ("Quant", "BipolarQuant")


class _Spelling:
    """Puts ONNX's own nodes in the places of a model's quantizers."""

    def __init__(self, model: ModelProto, opset: int, where: str) -> None:
        self._graph, self._opset, self._where = model.graph, opset, where
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._constants |= {
            node.output[0]: entry.t
            for node in model.graph.node
            for entry in node.attribute
            if node.op_type == "Constant" and node.output and entry.name == "value"
        }
        self._taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
        self._taken.update(self._constants)
        self._made: list[NodeProto] = []

    def all(self) -> None:
        """Does it for every quantizer of the graph."""
        for index, node in enumerate(self._graph.node):
            if not _quantizer(node):
                self._made.append(node)
                continue
            label = node_label(node, index)
            where = f"{self._where}: node '{label}' ({node.op_type})"
            if self._opset < _ROUND_OPSET:
                raise InputError(
                    f"opset {self._opset} cannot express it", where=where, hint="export opset 11"
                )
            if len(node.output) != 1:
                raise InputError("it has one output", where=where)
            if node.op_type == "Quant":
                self._quant(node, where)
            else:
                self._bipolar(node, where)
        made = [*self._made]
        del self._graph.node[:]
        self._graph.node.extend(made)

    def _quant(self, node: NodeProto, where: str) -> None:
        """y = (clip(round(x / scale + zero)) - zero) * scale."""
        if len(node.input) != 4 or not all(node.input):
            raise InputError("it has four inputs", where=where)
        x, scale, zero, width = node.input
        bits = self._number(width, where)
        if not ((bits >= 1).all() and (bits <= 32).all()):
            raise InputError(f"its bit width is {bits.tolist()}, not 1 to 32", where=where)
        signed, narrow = integer(node, "signed", 1), integer(node, "narrow", 0)
        high = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - 1 - bool(narrow)
        low = -(2.0 ** (bits - 1)) + bool(narrow) if signed else np.zeros_like(bits)
        steps = self._then("Add", self._then("Div", x, scale), zero)
        held = self._then("Min", self._then("Max", steps, self._constant(low, node)),
                          self._constant(high, node))  # fmt: skip
        whole = self._rounded(held, node, where)
        self._then("Mul", self._then("Sub", whole, zero), scale, output=node.output[0])

    def _rounded(self, x: str, node: NodeProto, where: str) -> str:
        found = attribute(node, "rounding_mode")
        word = "ROUND" if found is None else found.s.decode("utf-8", "replace").upper()
        if word in _DIRECT:
            return self._then(_DIRECT[word], x)
        if word not in _ROUNDINGS:
            raise InputError(
                f"its rounding_mode is '{word}'",
                where=where,
                hint=f"known are {', '.join((*_DIRECT, *_ROUNDINGS))}",
            )
        op, shift = _ROUNDINGS[word]
        distance = self._then("Abs", x)
        if shift:
            distance = self._then("Add", distance, self._constant(np.array(shift), node))
        return self._then("Mul", self._then("Sign", x), self._then(op, distance))

    def _bipolar(self, node: NodeProto, where: str) -> None:
        """y = scale where x / scale >= 0, else -scale."""
        if len(node.input) != 2 or not all(node.input):
            raise InputError("it has two inputs", where=where)
        x, scale = node.input
        sign = self._then("Sign", self._then("Div", x, scale))
        # -1, 0, 1 become -1, 1, 1.
        up = self._then("Add", sign, self._constant(np.array(0.5), node))
        self._then("Mul", self._then("Sign", up), scale, output=node.output[0])

    def _number(self, name: str, where: str) -> np.ndarray:
        tensor = self._constants.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            raise InputError(f"its bit width '{name}' is no constant", where=where)
        try:
            return np.asarray(numpy_helper.to_array(tensor), np.float64)
        except Exception:  # A damaged tensor raises anything.
            raise InputError(f"its bit width '{name}' cannot be read", where=where) from None

    def _constant(self, value: np.ndarray, node: NodeProto) -> str:
        name = self._name(f"{node.output[0]}_quant")
        self._graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def _then(self, op: str, *inputs: str, output: str = "") -> str:
        name = output or self._name(f"{inputs[0]}_{op.lower()}")
        self._made.append(helper.make_node(op, inputs, [name]))
        return name

    def _name(self, wish: str) -> str:
        name, k = wish, 2
        while name in self._taken:
            name, k = f"{wish}_{k}", k + 1
        self._taken.add(name)
        return name

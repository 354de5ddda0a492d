"""Constant folding of our own, on demand and bounded: only what a weight is made of."""

from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto

from onnx2mzi.frontend.attributes import attribute
from onnx2mzi.frontend.fold_ops import FOLDS, MOST, split_pieces
from onnx2mzi.frontend.tensors import TensorReader

_DEPTH = 64


class Constants:
    """The constant values of a graph: initializers, Constant nodes, and what follows from them.

    All folded values together have at most `most` entries; beyond that nothing is folded.
    """

    def __init__(
        self,
        initializers: Mapping[str, TensorProto],
        nodes: Sequence[NodeProto],
        reader: TensorReader,
        *,
        most: int = MOST,
        around: "Constants | None" = None,
    ) -> None:
        """`nodes` in an order in which each stands behind those it reads from.

        `around` has the constants of the graph around this one, which this one's names hide.
        """
        self._initializers = initializers
        self._producers = {name: node for node in nodes for name in node.output if name}
        self._reader = reader
        self._folded: dict[str, np.ndarray | None] = {}
        self._left = most
        self._around = around
        self._own = {*initializers, *self._producers}
        self._static = {"", *initializers}
        if around is not None:
            self._static |= around._static - self._own
        for node in nodes:
            if _repeatable(node) and self._static.issuperset(node.input):
                self._static.update(node.output)

    def inside(self, graph: GraphProto) -> "Constants":
        """The constants that nodes in a graph within a node of this one see."""
        own = {tensor.name: tensor for tensor in graph.initializer}
        around = copy(self)
        around._static = self._static - {value.name for value in graph.input}
        around._own = self._own
        inner = Constants(own, graph.node, self._reader, most=max(self._left, 0), around=around)
        inner._own.update(value.name for value in graph.input)
        return inner

    def extended(self, values: Mapping[str, np.ndarray]) -> "Constants":
        """These constants and `values` besides, which hide those of the same names."""
        other = copy(self)
        other._initializers = {k: v for k, v in self._initializers.items() if k not in values}
        other._folded = {**self._folded, **values}
        other._static = self._static.union(values)
        return other

    def value(self, name: str) -> np.ndarray | None:
        """The constant called `name`, or None if it is made at run time or cannot be folded."""
        return self._value(name, _DEPTH)

    def _value(self, name: str, depth: int) -> np.ndarray | None:
        if self._around is not None and name not in self._own and name not in self._folded:
            return self._around._value(name, depth)
        if name in self._initializers:
            tensor = self._initializers[name]
            return None if tensor.data_type == TensorProto.STRING else self._reader.array(tensor)
        if name not in self._folded:
            node = self._producers.get(name)
            if node is not None and node.op_type == "Split" and depth:
                self._split(node, depth)
            if name not in self._folded:
                self._folded[name] = self._fold(node, depth) if node and depth else None
        return self._folded[name]

    def _split(self, node: NodeProto, depth: int) -> None:
        """Put all pieces of a Split among the folded values, if it can be folded."""
        names = list(node.input)
        inputs = [self._value(name, depth - 1) if name else None for name in names]
        known = all(
            value is not None or not name for name, value in zip(names, inputs, strict=True)
        )
        if node.domain not in ("", "ai.onnx") or not known:
            return
        try:
            pieces = split_pieces(node, inputs)
        except (ValueError, TypeError, IndexError, OverflowError):
            return
        self._left -= sum(piece.size for piece in pieces)
        if self._left >= 0:
            self._folded.update(zip(node.output, pieces, strict=True))

    def _fold(self, node: NodeProto, depth: int) -> np.ndarray | None:
        fold = FOLDS.get(node.op_type)
        if node.domain not in ("", "ai.onnx") or fold is None or len(node.output) != 1:
            return None
        tensor = attribute(node, "value") if node.op_type == "Constant" else None
        if tensor is not None:
            known = tensor.t.data_type != TensorProto.STRING
            return self._reader.array(tensor.t) if known else None
        inputs: list[np.ndarray | None] = []
        for name in node.input:
            value = self._value(name, depth - 1) if name else None
            if name and value is None:
                return None
            inputs.append(value)
        try:
            with np.errstate(all="ignore"):
                result = fold(node, inputs)
        except (ValueError, TypeError, IndexError, OverflowError, KeyError):
            return None
        self._left -= result.size
        return result if self._left >= 0 else None

    def static(self, name: str) -> bool:
        """Whether `name` follows from constants alone, folded or not."""
        return name in self._static

    def obstacle(self, name: str) -> str:
        """The operator that keeps a static `name` from being folded."""
        for _ in range(_DEPTH):
            node = self._producers.get(name)
            if node is None:
                break
            unknown = [i for i in node.input if i and self.value(i) is None]
            if not unknown:
                return node.op_type
            name = unknown[0]
        return "a long chain of operators"


def _repeatable(node: NodeProto) -> bool:
    """Whether the outputs depend on the node's inputs alone."""
    graphs = any(a.HasField("g") or a.graphs for a in node.attribute)
    return not graphs and not node.op_type.startswith(("Random", "Multinomial", "Bernoulli"))

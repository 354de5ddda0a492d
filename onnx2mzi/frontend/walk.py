"""The walk over a graph's nodes: each becomes layers, stays electronic, or is no product at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from onnx2mzi.frontend.electronic import UNSUPPORTED, hidden, operator
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.host import needed, ranks
from onnx2mzi.frontend.lowerings import LOWERINGS, Lowered, Part, Scope
from onnx2mzi.frontend.names import layer_name, node_label
from onnx2mzi.frontend.select import Selection
from onnx2mzi.frontend.validate import captured
from onnx2mzi.ir import Electronic, LinearLayer, Loc, Operand

_M = TypeVar("_M", NodeProto, TensorProto)


@dataclass(frozen=True, slots=True)
class _Level:
    """A graph, or one in a node of another: its constants, and what is told of its values."""

    values: Constants
    ranks: Mapping[str, int]
    places: Mapping[int, int]
    path: str = ""


class Walk:
    """Gathers layers, constants of the host, and what stays electronic."""

    def __init__(self, model: ModelProto, file: str, opset: int, selection: Selection) -> None:
        self._model, self._file, self._opset = model, file, opset
        self._selection = selection
        self._taken = _reserved(model.graph)
        self.layers: list[LinearLayer] = []
        self.constants: dict[str, TensorProto] = {}
        self.electronic: list[Electronic] = []

    def take(self, nodes: Sequence[NodeProto], values: Constants) -> list[NodeProto]:
        """The host's nodes for these of the model's graph, in their order."""
        return self._take(nodes, _level(self._model.graph, values, {}))

    def _take(self, nodes: Sequence[NodeProto], level: _Level) -> list[NodeProto]:
        made: list[NodeProto] = []
        for node in nodes:
            made.extend(self._node(node, level, len(made)))
        return made

    def _node(self, node: NodeProto, level: _Level, count: int) -> Sequence[NodeProto]:
        label = level.path + node_label(node, level.places.get(id(node), count))
        self.electronic.extend(hidden(node, label, self._model, self._file))
        op = operator(node)
        loc = Loc(self._file, label, node.op_type)
        lowering = LOWERINGS.get(op)
        if lowering is None:
            if op in UNSUPPORTED:
                self._stays(loc, self._selection.refused(label) or UNSUPPORTED[op])
            return [self._with_bodies(node, level, label)]
        name = layer_name(label, node.op_type, self._taken)
        scope = Scope(level.values, dict(level.ranks), self._opset, name, loc)
        refused = self._selection.refused(label, name)
        result = None if refused else lowering(node, scope)
        if isinstance(result, Lowered):
            self.constants.update((tensor.name, tensor) for tensor in result.constants)
            self.layers.extend(
                _layer(part, scope, inside=bool(level.path)) for part in result.parts
            )
            return result.nodes
        if refused or result:
            self._stays(loc, refused or (result.why if result else ""))
        return [node]

    def _with_bodies(self, node: NodeProto, level: _Level, label: str) -> NodeProto:
        """The node; the graphs in it, if it has any, are those of the host."""
        if not any(entry.HasField("g") or entry.graphs for entry in node.attribute):
            return node
        kept = NodeProto()
        kept.CopyFrom(node)
        for entry in kept.attribute:
            for graph in (entry.g, *entry.graphs):
                if graph.node:
                    self._body(graph, level, f"{label}/{entry.name}/")
        return kept

    def _body(self, graph: GraphProto, level: _Level, path: str) -> None:
        inner = _level(graph, level.values.inside(graph), level.ranks, path)
        outputs = [value.name for value in graph.output]
        nodes = needed(self._take(list(graph.node), inner), outputs)
        used = {*outputs}.union(*((*node.input, *captured(node)) for node in nodes))
        kept = [copied(node) for node in nodes]
        tensors = [copied(tensor) for tensor in graph.initializer if tensor.name in used]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(kept)
        graph.initializer.extend(tensors)

    def _stays(self, loc: Loc, why: str) -> None:
        self.electronic.append(Electronic(loc, why))


def copied(message: _M) -> _M:
    """A copy that outlives the message that held the original."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _level(
    graph: GraphProto, values: Constants, around: Mapping[str, int], path: str = ""
) -> _Level:
    places = {id(node): k for k, node in enumerate(graph.node)}
    return _Level(values, {**around, **ranks(graph)}, places, path)


def _layer(part: Part, scope: Scope, *, inside: bool) -> LinearLayer:
    binding = scope.binding(part.suffix if part.slot[1] == 1 else part.shared)
    return LinearLayer(
        scope.layer + part.suffix,
        part.weight,
        Operand(
            # Values in the body of another node cannot be outputs of the graph.
            "" if inside else part.source,
            part.axis,
            binding,
            part.transposed,
            part.dtype,
            slot=part.slot,
            view=part.view,
        ),
        replace(scope.loc, tensor=part.tensor),
    )


def _reserved(graph: GraphProto) -> set[str]:
    """Layer names whose values a model that we wrote ourselves already has."""
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    names.extend(tensor.name for tensor in graph.initializer)
    ours = (name.split("/") for name in names if name.startswith("onnx2mzi/"))
    return {path[1].casefold() for path in ours}

"""The walk over a graph's nodes: each becomes layers, stays electronic, or is no product at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from onnx2mzi.emulate.parts import complex_form
from onnx2mzi.frontend.activations import activations
from onnx2mzi.frontend.channels import Known
from onnx2mzi.frontend.electronic import UNSUPPORTED, hidden, operator
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.folding import folded
from onnx2mzi.frontend.host import needed, ranks
from onnx2mzi.frontend.lowerings import LOWERINGS, Lowered, Part, Scope
from onnx2mzi.frontend.names import layer_name, node_label
from onnx2mzi.frontend.normalization import Fold, has_norms, planned, without
from onnx2mzi.frontend.products import Combiner, may_combine
from onnx2mzi.frontend.select import Selection
from onnx2mzi.frontend.shapes import inferred_shapes
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
    # Norms that layers may take over, by the layer's first output, and what that needs to know.
    folds: dict[str, Fold] = field(default_factory=dict)
    known: Known | None = None
    # New forms of nodes, by their ids; None: the node goes.
    patches: dict[int, NodeProto | None] = field(default_factory=dict)


class Walk:
    """Gathers layers, constants of the host, and what stays electronic."""

    def __init__(self, model: ModelProto, file: str, opset: int, selection: Selection) -> None:
        self._model, self._file, self._opset = model, file, opset
        self._selection = selection
        self._taken = _reserved(model.graph)
        self.layers: list[LinearLayer] = []
        self.constants: dict[str, TensorProto] = {}
        self.electronic: list[Electronic] = []
        # What became one complex product, by the output of the first.
        self._combined: Mapping[str, tuple[str, ...]] = {}

    def take(self, nodes: Sequence[NodeProto], values: Constants) -> list[NodeProto]:
        """The host's nodes for these of the model's graph, in their order."""
        outputs = [value.name for value in self._model.graph.output]
        told = _ranks(self._model.graph, {})
        if has_norms(nodes) or may_combine(nodes):
            shapes = inferred_shapes(self._model, nodes, values)
            known = Known(values, shapes, told)
            found = Combiner(nodes, outputs, known, self._opset).combined(self._wanted)
            nodes, values = found.nodes, values.extended(found.values)
            self.constants.update((tensor.name, tensor) for tensor in found.constants)
            self._combined = found.folds
            level = _level(self._model.graph, values, told)
            level = _with_folds(level, nodes, outputs, Known(values, shapes, told))
            return self._take(nodes, level)
        return self._take(nodes, _level(self._model.graph, values, told))

    def activations(self, nodes: Sequence[NodeProto], values: Constants) -> None:
        """List what is made of complex values beside the layers, if there are complex layers."""
        if any(layer.operand.parts for layer in self.layers):
            shapes = inferred_shapes(self._model, nodes, values)
            self.electronic.extend(activations(nodes, values, shapes, self._file))

    def _wanted(self, label: str) -> bool:
        return not self._selection.refused(label, layer_name(label, "", set()))

    def _take(self, nodes: Sequence[NodeProto], level: _Level) -> list[NodeProto]:
        made: list[NodeProto] = []
        for node in nodes:
            made.extend(self._node(node, level, len(made)))
        return _patched(made, level.patches) if level.patches else made

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
        taken = None if refused else self._folded(node, level, scope)
        if taken is not None:
            return taken
        result = None if refused else lowering(node, scope)
        if isinstance(result, Lowered):
            made = node.output[0] if node.output else ""
            self._add(result, scope, level, self._combined.get(made, ()))
            return result.nodes
        if refused or result:
            self._stays(loc, refused or (result.why if result else ""))
        return [node]

    def _folded(self, node: NodeProto, level: _Level, scope: Scope) -> list[NodeProto] | None:
        """The host's nodes with norms folded into this one's layers; None if none are."""
        fold = level.folds.get(node.output[0]) if node.output else None
        if fold is None or level.known is None:
            return None
        labels = [link.norm.label for link in fold.links]
        fold = without(fold, {label: self._selection.excluded(label) for label in labels})
        made = folded(node, fold, level.known, scope) if fold.links else None
        if made is None:
            return None
        inner = replace(scope, constants=level.values.extended(made.values))
        result = LOWERINGS[operator(node)](made.node, inner)
        if not isinstance(result, Lowered):
            return None
        self.constants.update((tensor.name, tensor) for tensor in made.constants)
        self._add(result, inner, level, made.labels)
        level.patches.update(made.patches)
        return [*result.nodes, *made.behind]

    def _add(self, result: Lowered, scope: Scope, level: _Level, folds: tuple[str, ...]) -> None:
        self.constants.update((tensor.name, tensor) for tensor in result.constants)
        self.layers.extend(
            _layer(part, scope, folds, inside=bool(level.path)) for part in result.parts
        )

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
        inner = _level(graph, level.values.inside(graph), _ranks(graph, level.ranks), path)
        outputs = [value.name for value in graph.output]
        given = list(graph.node)
        if has_norms(given):
            inner = _with_folds(inner, given, outputs, Known(inner.values, {}, dict(inner.ranks)))
        nodes = needed(self._take(given, inner), outputs)
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
    graph: GraphProto, values: Constants, known: Mapping[str, int], path: str = ""
) -> _Level:
    places = {id(node): k for k, node in enumerate(graph.node)}
    return _Level(values, known, places, path)


def _ranks(graph: GraphProto, around: Mapping[str, int]) -> dict[str, int]:
    return {**around, **ranks(graph)}


def _with_folds(
    level: _Level, nodes: Sequence[NodeProto], outputs: Sequence[str], known: Known
) -> _Level:
    return replace(level, folds=planned(nodes, outputs, known, level.path), known=known)


def _patched(
    nodes: Sequence[NodeProto], patches: Mapping[int, NodeProto | None]
) -> list[NodeProto]:
    new = (patches.get(id(node), node) for node in nodes)
    return [node for node in new if node is not None]


def _layer(part: Part, scope: Scope, folds: tuple[str, ...], *, inside: bool) -> LinearLayer:
    binding = scope.binding(part.suffix if part.slot[1] == 1 else part.shared)
    found = complex_form(part.weight)
    weight, parts = found or (part.weight, "")
    return LinearLayer(
        scope.layer + part.suffix,
        weight,
        Operand(
            # Values in the body of another node cannot be outputs of the graph.
            "" if inside else part.source,
            part.axis,
            binding,
            part.transposed,
            part.dtype,
            slot=part.slot,
            view=part.view,
            parts=parts,
        ),
        replace(scope.loc, tensor=part.tensor),
        folds=folds,
    )


def _reserved(graph: GraphProto) -> set[str]:
    """Layer names whose values a model that we wrote ourselves already has."""
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    names.extend(tensor.name for tensor in graph.initializer)
    ours = (name.split("/") for name in names if name.startswith("onnx2mzi/"))
    return {path[1].casefold() for path in ours}

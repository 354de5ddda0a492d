"""What makes a graph sound, checked before anything is built on it."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from onnx2mzi.errors import InputError
from onnx2mzi.frontend.names import node_label

OLDEST_OPSET, NEWEST_OPSET = 7, 26
NEWEST_IR = 13
_COMMENTS = frozenset(
    ("doc_string", "metadata_props", "producer_name", "producer_version", "model_version")
)


def check_model(model: ModelProto, where: str) -> int:
    """The opset of the default domain. Raises InputError unless the model's header is sound."""
    if not model.HasField("graph") or not model.ir_version:
        raise InputError("is no ONNX model: it has no graph", where=where)
    graph = model.graph
    check_text(model, where)
    if not graph.node:
        raise InputError("the graph has no nodes", where=where)
    if not graph.output:
        raise InputError("the graph has no outputs", where=where)
    domains = [entry.domain or "ai.onnx" for entry in model.opset_import]
    for domain, count in Counter(domains).items():
        if count > 1:
            raise InputError(f"opset '{domain}' is imported {count} times", where=where)
    if "ai.onnx" not in domains:
        raise InputError("the model does not say which opset it is written in", where=where)
    opset = int(model.opset_import[domains.index("ai.onnx")].version)
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise InputError(
            f"opset {opset} is not known; {OLDEST_OPSET} to {NEWEST_OPSET} are",
            where=where,
            hint="export for another opset, or convert with onnx.version_converter",
        )
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise InputError(
            f"weight '{name}' is sparse", where=where, hint="store it as a dense initializer"
        )
    return opset


def check_names(graph: GraphProto, where: str) -> None:
    """Raises InputError for names that are no text, or given twice, or made by nobody."""
    _check_text(graph, where)
    inputs = [value.name for value in graph.input]
    initializers = [tensor.name for tensor in graph.initializer]
    made = [name for node in graph.node for name in node.output if name]
    _check_once(inputs, "graph inputs are", where)
    _check_once(initializers, "initializers are", where)
    _check_once([value.name for value in graph.output], "graph outputs are", where)
    sources = {*inputs, *initializers}
    _check_once([*sources, *made], "values are", where)
    known = sources.union(made)
    for index, node in enumerate(graph.node):
        for name in _reads(node):
            if name not in known:
                raise InputError(
                    f"reads '{name}', which nothing makes",
                    where=f"{where}: node '{node_label(node, index)}' ({node.op_type})",
                )
    for value in graph.output:
        if value.name not in known:
            raise InputError(f"nothing makes the output '{value.name}'", where=where)


def _check_text(graph: GraphProto, where: str) -> None:
    for value in (*graph.input, *graph.output, *graph.initializer):
        if not value.name:
            raise InputError("an input, output or initializer has no name", where=where)


def check_text(message: Any, where: str) -> None:
    """Raises InputError for a name, type or dimension in the model that is no text in UTF-8.

    protobuf hands such a text on as bytes. Comments may hold anything.
    """
    for field, value in message.ListFields():
        if field.name in _COMMENTS:
            continue
        if field.type == field.TYPE_STRING:
            for text in [value] if isinstance(value, str | bytes) else value:
                if not isinstance(text, str):
                    raise InputError(f"the name {text!r} is not text in UTF-8", where=where)
        elif field.type == field.TYPE_MESSAGE:
            for inner in value if hasattr(value, "__len__") else [value]:
                check_text(inner, where)


def _check_once(names: Sequence[str], what: str, where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{count} {what} called '{name}'", where=where)


def _reads(node: NodeProto) -> Iterable[str]:
    """What a node itself reads; what graphs inside it read is left to onnxruntime."""
    return (name for name in node.input if name)


def captured(node: NodeProto) -> set[str]:
    """All names that graphs inside a node mention: what they may read from around it."""
    found: set[str] = set()
    waiting = [g for a in node.attribute for g in (a.g, *a.graphs) if g.node or g.output]
    while waiting:
        graph = waiting.pop()
        found.update(value.name for value in graph.output)
        for inner in graph.node:
            found.update(inner.input)
            waiting.extend(g for a in inner.attribute for g in (a.g, *a.graphs) if g.node)
    return found


def in_order(graph: GraphProto, where: str) -> list[NodeProto]:
    """The nodes, each behind those it reads from; otherwise in the order of the file.

    Raises InputError if nodes read from each other in a circle.
    """
    nodes = list(graph.node)
    makers = {name: k for k, node in enumerate(nodes) for name in node.output if name}
    before = [
        {makers[name] for name in {*_reads(node), *captured(node)} if name in makers}
        for node in nodes
    ]
    if all(k > max(earlier, default=-1) for k, earlier in enumerate(before)):
        return nodes
    after: list[list[int]] = [[] for _ in nodes]
    for k, earlier in enumerate(before):
        for j in earlier:
            after[j].append(k)
    missing = [len(earlier) for earlier in before]
    ready = deque(k for k, count in enumerate(missing) if count == 0)
    order: list[int] = []
    while ready:
        k = ready.popleft()
        order.append(k)
        for j in after[k]:
            missing[j] -= 1
            if missing[j] == 0:
                ready.append(j)
    if len(order) < len(nodes):
        k = next(k for k, count in enumerate(missing) if count)
        raise InputError(
            "the graph runs in a circle",
            where=f"{where}: node '{node_label(nodes[k], k)}' ({nodes[k].op_type})",
        )
    return [nodes[k] for k in order]


def with_ir(version: int) -> int:
    """An IR version that onnxruntime reads, in which initializers need not be inputs."""
    return min(max(version, int(onnx.IR_VERSION_2019_1_22)), NEWEST_IR)

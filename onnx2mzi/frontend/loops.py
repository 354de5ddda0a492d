"""Loops that would never end, or nearly so, and huge values in the bodies of nodes: refused
before anything runs.

Whether a Loop ends by its own condition only shows when it runs; `emulate.session` bounds the
time that takes. Shape inference knows nothing of constants around a body.
"""

import math

import numpy as np
from onnx import GraphProto, NodeProto

from onnx2mzi.errors import InputError
from onnx2mzi.frontend.attributes import integers
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.names import node_label
from onnx2mzi.frontend.uses import MOST_ENTRIES

# More iterations, with those of loops within loops, than an inference can be.
MOST_TRIPS = 1_000_000


def check_loops(graph: GraphProto, values: Constants, where: str, trips: int = 1) -> None:
    """Raises InputError for a Loop that nothing ends before `MOST_TRIPS`, and for a constant that
    blows up to more than `MOST_ENTRIES`."""
    for index, node in enumerate(graph.node):
        total = trips
        label = f"{where}: node '{node_label(node, index)}' ({node.op_type})"
        entries = _entries(node, values)
        if entries > MOST_ENTRIES:
            raise InputError(f"makes {entries:.3g} entries, more than {MOST_ENTRIES}", where=label)
        if node.op_type == "Loop":
            total = trips * _trips(node, values, label)
            if total > MOST_TRIPS:
                raise InputError(
                    f"runs {total} times, more than {MOST_TRIPS}",
                    where=label,
                    hint="a loop this long is no inference; give it a smaller trip count",
                )
        for entry in node.attribute:
            for inner in (entry.g, *entry.graphs):
                if inner.node:
                    check_loops(inner, values.inside(inner), where, total)


def _trips(node: NodeProto, values: Constants, where: str) -> int:
    """How often the body runs at least; 1 where that is only known when it runs."""
    body = next((entry.g for entry in node.attribute if entry.name == "body"), None)
    if body is None or not _always(node, body, values):
        return 1
    name = node.input[0] if node.input else ""
    if not name:
        raise InputError(
            "never ends: it has no trip count, and its condition stays true",
            where=where,
            hint="give it a trip count",
        )
    count = values.value(name)
    if count is None or count.size != 1 or count.dtype.kind != "i":
        return 1
    return max(int(count.reshape(-1)[0]), 1)


def _always(node: NodeProto, body: GraphProto, values: Constants) -> bool:
    """Whether the condition is true at first, and the body leaves it so."""
    first = node.input[1] if len(node.input) > 1 else ""
    if first and not _true(first, values):
        return False
    if not body.output or len(body.input) < 2:
        return False
    name, given = body.output[0].name, body.input[1].name
    makers = {output: inner for inner in body.node for output in inner.output}
    for _ in range(len(body.node) + 1):
        maker = makers.get(name)
        if maker is None or maker.op_type not in ("Identity", "Cast") or not maker.input:
            break
        name = maker.input[0]
    return name == given or _true(name, values.inside(body))


def _true(name: str, values: Constants) -> bool:
    value = values.value(name)
    return value is not None and value.size == 1 and bool(value.reshape(-1)[0])


def _entries(node: NodeProto, values: Constants) -> float:
    """How many entries a node makes of constants that are small; 0 for other nodes."""
    match node.op_type:
        case "ConstantOfShape":
            shape = _whole(node, 0, values)
        case "Expand" | "Tile":
            # At least: an axis of more than one entry is that much longer.
            shape = _whole(node, 1, values)
        case "RandomNormal" | "RandomUniform":
            shape = integers(node, "shape")
        case "Range":
            ends = [values.value(name) for name in node.input]
            known = [float(end.reshape(-1)[0]) for end in ends if end is not None and end.size == 1]
            if len(known) != 3 or not np.isfinite(known).all() or not known[2]:
                return 0.0
            return (known[1] - known[0]) / known[2]
        case _:
            return 0.0
    return math.prod(float(max(size, 1)) for size in shape or ())


def _whole(node: NodeProto, at: int, values: Constants) -> list[int] | None:
    value = values.value(node.input[at]) if len(node.input) > at else None
    if value is None or value.dtype.kind != "i":
        return None
    return [int(size) for size in value.reshape(-1)]

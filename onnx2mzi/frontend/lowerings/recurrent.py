"""LSTM, GRU and RNN: what multiplies the inputs and what multiplies the hidden state.

Each direction has two layers: W (gates * hidden, inputs) and R (gates * hidden, hidden), the
gates one below the other. Gates, peepholes, biases and the state itself stay electronic.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnx2mzi.frontend.attributes import attribute, integer
from onnx2mzi.frontend.lowerings.base import Lowered, Part, Scope, Stays, matrix64, unsuited
from onnx2mzi.ir import View

_GATES: Mapping[str, int] = MappingProxyType({"LSTM": 4, "GRU": 3, "RNN": 1})
_DIRECTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "forward": ("forward",),
        "reverse": ("reverse",),
        "bidirectional": ("forward", "reverse"),
    }
)
_INPUTS = "its weights are computed at run time"


def lower_recurrent(node: NodeProto, scope: Scope) -> Lowered | Stays | None:
    """Layers `__W` and `__R` (`__forward_W`, ... of two directions); each only if constant.

    The vectors of R are the hidden states that the node gives out; that a state enters R one
    step later, and that a GRU with linear_before_reset = 0 resets it first for one of its gates,
    makes no difference to the matrix.
    """
    if len(node.input) < 3 or not all(node.input[:3]):
        raise scope.error(f"a {node.op_type} has at least three inputs")
    directions = _directions(node, scope)
    kept = NodeProto()
    kept.CopyFrom(node)
    states = next((name for name in node.output[:1] if name), scope.inner("states"))
    axis = 2 if integer(node, "layout", 0) else 1
    parts: list[Part] = []
    nodes: list[NodeProto] = []
    shapes: list[TensorProto] = []
    unfit: Stays | None = None
    for at, kind in ((1, "W"), (2, "R")):
        weight = scope.weight(node.input[at])
        if weight is None:
            unfit = unfit or scope.no_constant([node.input[at]])
            continue
        unfit = unfit or unsuited(weight)
        if unfit:
            continue
        _check(node, weight, kind, len(directions), scope)
        fed = scope.binding(f"__{kind}")
        for d, direction in enumerate(directions):
            parts.append(
                Part(
                    matrix64(weight[d]),
                    node.input[0] if kind == "W" else states,
                    -1,
                    False,
                    weight.dtype.name,
                    node.input[at],
                    f"__{kind}" if len(directions) == 1 else f"__{direction}_{kind}",
                    View(at=((axis, d),)) if kind == "R" else View(),
                    (d, len(directions)),
                    f"__{kind}",
                )
            )
        shape = numpy_helper.from_array(
            np.array(weight.shape, np.int64), scope.inner(f"{kind}_shape")
        )
        shapes.append(shape)
        kept.input[at] = scope.inner(f"{kind}_shaped")
        nodes.append(helper.make_node("Reshape", [fed, shape.name], [kept.input[at]]))
    if not parts:
        return unfit or Stays(_INPUTS)
    if any(part.source == states for part in parts):
        outputs = [states, *node.output[1:]]
        del kept.output[:]
        kept.output.extend(outputs)
    return Lowered(tuple(parts), (*nodes, kept), tuple(shapes))


def _directions(node: NodeProto, scope: Scope) -> tuple[str, ...]:
    found = attribute(node, "direction")
    word = "forward" if found is None else found.s.decode("utf-8", "replace")
    if word not in _DIRECTIONS:
        raise scope.error(f"direction is '{word}'", f"known are {', '.join(_DIRECTIONS)}")
    return _DIRECTIONS[word]


def _check(node: NodeProto, weight: np.ndarray, kind: str, count: int, scope: Scope) -> None:
    gates = _GATES[node.op_type]
    hidden = integer(node, "hidden_size", 0)
    rows = weight.shape[1] if weight.ndim == 3 else 0
    good = weight.ndim == 3 and weight.shape[0] == count and rows and rows % gates == 0
    good = good and (not hidden or rows == gates * hidden)
    if kind == "R":
        good = good and rows == gates * weight.shape[2]
    if not good:
        told = f" of hidden_size {hidden}" if hidden else ""
        raise scope.error(
            f"{kind} has shape {list(weight.shape)}, which does not fit {count} "
            f"direction{'s' if count > 1 else ''} of {gates} gates{told}"
        )

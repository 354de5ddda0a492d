"""Activations of complex values, which stay electronic and are listed as such."""

from collections.abc import Iterator, Mapping, Sequence

from onnx import NodeProto

from onnx2mzi.frontend.attributes import integers
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.names import node_label
from onnx2mzi.frontend.shapes import Shape
from onnx2mzi.ir import Electronic, Loc

MODULUS = "the modulus of complex values is taken electronically"
POWER = "the squared modulus of complex values is taken electronically"
PHASE = "the phase of complex values is taken electronically"


def activations(
    nodes: Sequence[NodeProto], values: Constants, shapes: Mapping[str, Shape], file: str
) -> Iterator[Electronic]:
    """Nodes that make moduli and phases of two parts: of sqrt(a a + b b), of a a + b b and of
    atan(b / a) the last one; norms over an axis of length 2."""
    makers = {name: node for node in nodes for name in node.output if name}
    roots = {node.input[0] for node in nodes if node.op_type == "Sqrt" and node.input}
    for node in nodes:
        why = _why(node, makers, values, shapes)
        if why == POWER and node.op_type == "Add" and roots.intersection(node.output):
            continue
        if why:
            yield Electronic(Loc(file, node_label(node, 0), node.op_type), why, linear=False)


def _why(
    node: NodeProto,
    makers: Mapping[str, NodeProto],
    values: Constants,
    shapes: Mapping[str, Shape],
) -> str:
    match node.op_type:
        case "Sqrt":
            inner = makers.get(node.input[0]) if node.input else None
            return MODULUS if inner is not None and _power(inner, makers, values) else ""
        case "Add":
            return POWER if _power(node, makers, values) else ""
        case "Atan":
            inner = makers.get(node.input[0]) if node.input else None
            parts = inner is not None and inner.op_type == "Div"
            return PHASE if parts else ""
        case "ReduceL2" | "ReduceSumSquare":
            return _norm(node, values, shapes)
    return ""


def _power(node: NodeProto, makers: Mapping[str, NodeProto], values: Constants) -> bool:
    """Whether a node is a a + b b of two values."""
    if node.op_type != "Add" or len(node.input) != 2:
        return False
    parts = [_squared(makers.get(name), values) for name in node.input]
    return all(parts) and parts[0] != parts[1]


def _squared(node: NodeProto | None, values: Constants) -> str:
    """The value whose square the node makes."""
    if node is None or len(node.input) != 2:
        return ""
    base, other = node.input
    if node.op_type == "Mul":
        return str(base) if base == other else ""
    exponent = values.value(other) if node.op_type == "Pow" else None
    two = exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2.0
    return str(base) if two else ""


def _norm(node: NodeProto, values: Constants, shapes: Mapping[str, Shape]) -> str:
    shape = shapes.get(node.input[0]) if node.input else None
    axes = integers(node, "axes")
    if len(node.input) > 1 and node.input[1]:
        told = values.value(node.input[1])
        axes = None if told is None else [int(axis) for axis in told.reshape(-1)]
    if shape is None or axes is None or len(axes) != 1:
        return ""
    axis = axes[0]
    if not -len(shape) <= axis < len(shape) or shape[axis] != 2:
        return ""
    return MODULUS if node.op_type == "ReduceL2" else POWER

"""Attributes of ONNX nodes, with their defaults."""

from onnx import AttributeProto, NodeProto


def attribute(node: NodeProto, name: str) -> AttributeProto | None:
    """The attribute called `name`, if the node has it."""
    found: AttributeProto | None = next((a for a in node.attribute if a.name == name), None)
    return found


def integer(node: NodeProto, name: str, default: int) -> int:
    found = attribute(node, name)
    return default if found is None else int(found.i)


def integers(node: NodeProto, name: str) -> list[int] | None:
    found = attribute(node, name)
    return None if found is None else [int(i) for i in found.ints]


def real(node: NodeProto, name: str, default: float) -> float:
    found = attribute(node, name)
    return default if found is None else float(found.f)

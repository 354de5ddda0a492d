"""Names for nodes that have none, and Python identifiers for layers."""

import keyword
import re

from onnx import NodeProto

_LONGEST = 60


def node_label(node: NodeProto, index: int) -> str:
    """The node's name, or its operator with its first output: `Gemm_8`."""
    output = next((name for name in node.output if name), "")
    return printable(node.name or f"{node.op_type}_{output or index}")


def printable(text: str) -> str:
    """The text on one line, control characters spelled out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def layer_name(label: str, op: str, taken: set[str]) -> str:
    """A Python identifier made of `label`, unlike all in `taken` whatever their case; added."""
    name = re.sub(r"[^0-9A-Za-z]+", "_", label).strip("_")
    if len(name) > _LONGEST:
        # The end of a path says which layer it is.
        name = name[-_LONGEST:].partition("_")[2] or name[-_LONGEST:]
    if not name or name[0].isdigit():
        name = f"{op}_{name}".rstrip("_")
    if keyword.iskeyword(name):
        name += "_"
    unique, k = name, 2
    while unique.casefold() in taken:
        unique, k = f"{name}_{k}", k + 1
    taken.add(unique.casefold())
    return unique

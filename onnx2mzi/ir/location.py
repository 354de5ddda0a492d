"""Where a thing of the program came from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loc:
    """The ONNX file, node and weight tensor behind a layer, for every message about it."""

    file: str = ""
    node: str = ""
    op: str = ""
    tensor: str = ""

    def __str__(self) -> str:
        node = f"node '{self.node}'" if self.node else ""
        op = f"({self.op})" if self.op else ""
        words = " ".join(word for word in (node, op) if word)
        return ": ".join(part for part in (self.file, words) if part)

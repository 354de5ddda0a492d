"""A node of a host graph as the operators of this room see it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from onnx2mzi.errors import InputError

Args = Sequence[Tensor | None]
Operator = Callable[["Node", Args], "Tensor | Sequence[Tensor]"]

REMEDY = "prune without training, as with prune{method=obs}"


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its operator, its attributes as Python values, the version of the operators."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or what stands for it."""
        return self.attributes.get(name, default)

    @property
    def where(self) -> str:
        """The node for a message."""
        return f"node '{self.name}' ({self.op})"

    def refusal(self, what: str) -> InputError:
        """The error for something that training cannot run."""
        return InputError(f"training on phases cannot run {what}", where=self.where, hint=REMEDY)


def given(args: Args, at: int) -> Tensor | None:
    """An input that may be left out."""
    return args[at] if at < len(args) else None


def need(args: Args, at: int) -> Tensor:
    """An input that the operator has in any case."""
    value = args[at]
    assert value is not None
    return value


def numbers(node: Node, args: Args, name: str, at: int) -> list[int] | None:
    """Whole numbers that older versions have as an attribute and newer ones as an input."""
    value = given(args, at)
    if value is not None:
        return [int(x) for x in value.reshape(-1).tolist()]
    found = node.get(name)
    return None if found is None else [int(x) for x in found]

"""What a lowering is: from one ONNX node to linear layers and what stays of the node."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnx2mzi.errors import InputError
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.ir import Loc, View
from onnx2mzi.physics.arrays import Real

# More layers in one node than this make neither a chip nor a report.
MOST_PARTS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One linear layer in a node: y = weight @ x for the vectors x along `axis` of `source`.

    `weight`, shape (m, n), is fed to graph input `scope.binding(suffix)`, transposed if
    `transposed`, as `dtype`. `tensor` names it in messages. The layer is called as the node,
    with `suffix` behind it where a node holds several. `view` is the operand's. With a `slot`
    (k, count) parts of the node share the input `scope.binding(shared)`: their matrices, alike
    in shape, lie one below the other, this one as the k-th.
    """

    weight: Real
    source: str
    axis: int
    transposed: bool
    dtype: str
    tensor: str
    suffix: str = ""
    view: View = field(default_factory=View)
    slot: tuple[int, int] = (0, 1)
    shared: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """`nodes` (and their constants) take the node's place and read the layers' bindings."""

    parts: tuple[Part, ...]
    nodes: tuple[NodeProto, ...]
    constants: tuple[TensorProto, ...] = ()


@dataclass(frozen=True, slots=True)
class Stays:
    """The node stays as it is; `why` is told to the user."""

    why: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a lowering may ask about the graph around its node."""

    constants: Constants
    ranks: dict[str, int]
    opset: int
    layer: str
    loc: Loc

    def binding(self, suffix: str = "") -> str:
        """The graph input for the matrix of the part with this suffix."""
        return f"onnx2mzi/{self.layer}{suffix}/weight"

    def inner(self, what: str) -> str:
        """A name for a new value of this node."""
        return f"onnx2mzi/{self.layer}/{what}"

    def weight(self, name: str) -> np.ndarray | None:
        """The constant `name` if it is a matrix or row of finite floats, else None.

        Raises InputError for NaN, infinities and other types.
        """
        value = self.constants.value(name)
        if value is None:
            return None
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise self.error(f"weight '{name}' has NaN or infinite entries")
        return value

    def error(self, message: str, hint: str = "") -> InputError:
        return InputError(message, where=str(self.loc), hint=hint)

    def no_constant(self, names: list[str]) -> Stays:
        """Why none of the operands is a weight."""
        for name in names:
            if self.constants.static(name):
                how = self.constants.obstacle(name)
                return Stays(f"its weight '{name}' comes through {how}, which is not folded")
        return Stays("both operands are computed at run time")

    def axis(self, source: str, axis: int) -> int:
        """`axis` of the tensor `source`, or -1 if that is known to be a single vector."""
        return -1 if self.ranks.get(source) == 1 else axis


# None: there is nothing linear in this node at run time.
Lowering = Callable[[NodeProto, Scope], Lowered | Stays | None]


def unsuited(weight: np.ndarray) -> Stays | None:
    """Why a constant cannot be a layer's matrix, if so."""
    if weight.dtype.kind != "f" or weight.dtype.itemsize > 8:
        return Stays(f"its weight is of type {weight.dtype}, not a float")
    if weight.size == 0:
        return Stays(f"its weight of shape {list(weight.shape)} is empty")
    return None


def matrix64(values: np.ndarray) -> Real:
    """A contiguous read-only float64 copy that may be handed on without another copy."""
    array = np.array(values, np.float64, order="C")
    array.flags.writeable = False
    return array


def numbered(k: int, count: int) -> str:
    """The suffix of part k of `count`; a name from a node never has two underscores."""
    return f"__{k:0{len(str(count - 1))}}" if count > 1 else ""


def kept_with(node: NodeProto, at: int, name: str) -> NodeProto:
    """The node, reading `name` as its input `at`."""
    kept = NodeProto()
    kept.CopyFrom(node)
    kept.input[at] = name
    return kept


def reshaped(scope: Scope, name: str, shape: tuple[int, ...]) -> tuple[NodeProto, TensorProto, str]:
    """A node that gives the value `name` another shape, its constant, and its output's name."""
    target = numpy_helper.from_array(np.array(shape, np.int64), scope.inner("shape"))
    output = scope.inner("shaped")
    return helper.make_node("Reshape", [name, target.name], [output]), target, output

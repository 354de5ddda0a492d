"""A linear node that takes over the norms around it: its new weight and bias.

y = r * (W (c * x + d) + b) + t = (r W c) x + (r (W d + b) + t)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnx2mzi.frontend.attributes import attribute, integer, real
from onnx2mzi.frontend.channels import Known, Track
from onnx2mzi.frontend.lowerings.base import Scope
from onnx2mzi.frontend.normalization import Fold, Link, added
from onnx2mzi.physics.arrays import Real

# Beyond this a float32 is no number.
_LARGEST = 1e30


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """`node` takes the linear node's place, with `values` as its constants, and `behind` follows.

    `patches` are other nodes' new forms, by id; None is a node that goes.
    """

    node: NodeProto
    values: Mapping[str, np.ndarray]
    constants: tuple[TensorProto, ...]
    behind: tuple[NodeProto, ...]
    patches: Mapping[int, NodeProto | None]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Kernel:
    """A weight as (groups, m, n, volume): y of a group = sum over n, volume. `name` is its input;
    rows are along `axis` of the node's output, counted from the last (None: from the front, 1)."""

    name: str
    dense: Real
    back: tuple[int, ...]
    swapped: bool
    shape: tuple[int, ...]
    dtype: np.dtype[np.floating]
    source: int
    axis: int | None


def folded(node: NodeProto, fold: Fold, known: Known, scope: Scope) -> Folded | None:
    """The node with the norms in it, None if they do not fit or would not be exact."""
    kernel = _kernel(node, known)
    if kernel is None or (fold.before and node.input[kernel.source] != _entering(fold.before)):
        return None
    groups, m, n, _ = kernel.dense.shape
    rows = _along(fold.after, groups * m, kernel, known, node.output[0])
    columns = _along(fold.before, groups * n, kernel, known, node.input[kernel.source])
    if rows is None or columns is None:
        return None
    (r, t), (c, d) = rows, columns
    with np.errstate(all="ignore"):
        entered = np.einsum("gmnv,gn->gm", kernel.dense, d.reshape(groups, n)).reshape(-1)
        dense = kernel.dense * r.reshape(groups, m, 1, 1) * c.reshape(groups, 1, n, 1)
    maker = _Maker(node, fold, known, scope, kernel)
    later = maker.chain(fold.after) if fold.after else []
    if later is None:
        return None
    if maker.shifted:
        t = np.zeros_like(t)
    made = maker.biased(r, entered, t)
    weight = _back(dense, kernel)
    if made is None or not _sound(weight):
        return None
    values = {kernel.name: weight.astype(kernel.dtype), **maker.values}
    maker.rewire(made, later)
    return Folded(
        made,
        values,
        tuple(maker.constants),
        tuple(maker.behind),
        maker.patches,
        tuple(link.norm.label for link in fold.links),
    )


def _entering(link: Link) -> str:
    last = link.chain[-1] if link.chain else link.norm.node
    return str(last.output[0])


def _kernel(node: NodeProto, known: Known) -> _Kernel | None:
    if len(node.input) < 2 or not all(node.input[:2]):
        return None
    if node.op_type in ("Conv", "ConvTranspose"):
        return _convolved(node, known)
    right = known.values.static(node.input[1])
    if right == known.values.static(node.input[0]):
        return None
    name, source = (node.input[1], 0) if right else (node.input[0], 1)
    weight = _floats(name, known)
    if weight is None or weight.ndim != 2:
        return None
    turned = bool(integer(node, "transB" if right else "transA", 0)) and node.op_type == "Gemm"
    swapped = right != turned
    dense = (weight.T if swapped else weight).astype(np.float64)
    shape = weight.shape
    return _Kernel(
        name, dense[None, :, :, None], (), swapped, shape, weight.dtype, source, -1 if right else -2
    )


def _convolved(node: NodeProto, known: Known) -> _Kernel | None:
    weight = _floats(node.input[1], known)
    groups = integer(node, "group", 1)
    if weight is None or weight.ndim < 3 or groups < 1 or weight.shape[0] % groups:
        return None
    swapped = node.op_type == "ConvTranspose"
    cut = (groups, weight.shape[0] // groups, weight.shape[1], -1)
    if weight.size == 0:
        return None
    dense = weight.astype(np.float64).reshape(cut)
    dense = dense.swapaxes(1, 2) if swapped else dense
    return _Kernel(node.input[1], dense, cut, swapped, weight.shape, weight.dtype, 0, None)


def _floats(name: str, known: Known) -> np.ndarray | None:
    value = known.values.value(name)
    exact = value is not None and value.dtype.kind == "f" and value.dtype.itemsize in (4, 8)
    return value if exact and value is not None and np.isfinite(value).all() else None


def _back(dense: Real, kernel: _Kernel) -> Real:
    if kernel.axis is None:
        dense = dense.swapaxes(1, 2) if kernel.swapped else dense
    else:
        dense = dense[0, :, :, 0]
        dense = dense.T if kernel.swapped else dense
    return dense.reshape(kernel.shape)


def _along(
    link: Link | None, length: int, kernel: _Kernel, known: Known, name: str
) -> tuple[Real, Real] | None:
    """Scale and shift of every row (or column) of the matrix; None if channels lie elsewhere."""
    if link is None:
        return np.ones(length), np.zeros(length)
    axis = 1
    if kernel.axis is not None:
        rank = known.rank(name)
        if rank is None and not link.chain:
            # A norm's own operand has two dimensions if its channels come last.
            rank = known.rank(link.norm.node.input[0])
        if rank is None:
            return None
        axis = rank + kernel.axis
    if link.track.axis != axis:
        return None
    at = link.track.channels(length)
    return None if at is None else (link.norm.scale[at], link.norm.shift[at])


def _broadcast(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays can be added."""
    try:
        np.broadcast_shapes(one.shape, other.shape)
    except ValueError:
        return False
    return True


def _sound(array: Real) -> bool:
    return bool(np.isfinite(array).all() and np.abs(array).max(initial=0.0) < _LARGEST)


class _Maker:
    """Makes the nodes and constants of one fold."""

    def __init__(
        self, node: NodeProto, fold: Fold, known: Known, scope: Scope, kernel: _Kernel
    ) -> None:
        self._node, self._fold, self._known, self._scope = node, fold, known, scope
        self._kernel = kernel
        self.values: dict[str, np.ndarray] = {}
        self.constants: list[TensorProto] = []
        self.behind: list[NodeProto] = []
        self.patches: dict[int, NodeProto | None] = {}
        # Whether a constant added between has taken the shift.
        self.shifted = False

    def constant(self, what: str, value: Real) -> str:
        """A new constant of the weight's type."""
        name = self._scope.inner(what)
        array = value.astype(self._kernel.dtype)
        self.values[name] = array
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def chain(self, link: Link) -> list[NodeProto] | None:
        """Copies of the nodes between, those that add constants with new ones."""
        made: list[NodeProto] = []
        adds = [k for k, node in enumerate(link.chain) if node.op_type == "Add"]
        for k, (node, track) in enumerate(zip(link.chain, link.tracks, strict=True)):
            copy = NodeProto()
            copy.CopyFrom(node)
            if k in adds:
                value = self._added(node, link, track, last=k == adds[-1])
                if value is None:
                    return None
                place = added(node, self._known)
                copy.input[place or 0] = self.constant(f"offset{k}", value)
            made.append(copy)
        self.shifted = bool(adds)
        return made

    def _added(self, node: NodeProto, link: Link, track: Track, *, last: bool) -> Real | None:
        """The constant of an Add, scaled; the last takes the shift as well."""
        place = added(node, self._known)
        rank = self._known.rank(node.output[0])
        constant = None if place is None else self._known.values.value(node.input[place])
        if constant is None or rank is None or track.axis >= rank:
            return None
        length = track.inner * track.count
        shape = self._known.shapes.get(node.output[0])
        size = shape[track.axis] if shape else None
        at = track.channels(size if isinstance(size, int) else length)
        if at is None:
            return None
        along = (-1, *[1] * (rank - track.axis - 1))
        if not _broadcast(constant, at.reshape(along)):
            return None
        with np.errstate(all="ignore"):
            value = constant.astype(np.float64) * link.norm.scale[at].reshape(along)
            if last:
                value = value + link.norm.shift[at].reshape(along)
        return np.asarray(value) if value.ndim <= rank and _sound(value) else None

    def biased(self, r: Real, entered: Real, t: Real) -> NodeProto | None:
        """A copy of the node with its new bias; what it cannot hold is added behind it."""
        made = NodeProto()
        made.CopyFrom(self._node)
        with np.errstate(all="ignore"):
            match self._node.op_type:
                case "MatMul":
                    return self._matmul(made, r * entered + t)
                case "Gemm":
                    return self._gemm(made, r, entered, t)
        old = self._bias(made, 2)
        if old is None or (old.size and old.shape != r.shape):
            return None
        bias = r * (entered + (old if old.size else 0.0)) + t
        return self._with_bias(made, bias, bool(old.size))

    def _bias(self, node: NodeProto, at: int) -> Real | None:
        """The constant bias; empty if there is none, None if it is no constant."""
        name = node.input[at] if len(node.input) > at else ""
        if not name:
            return np.zeros(0)
        value = _floats(name, self._known)
        return None if value is None or not value.size else value.astype(np.float64)

    def _with_bias(self, made: NodeProto, bias: Real, had: bool) -> NodeProto | None:
        if not _sound(bias):
            return None
        if had or bias.any():
            del made.input[2:]
            made.input.append(self.constant("bias", bias))
        return made

    def _gemm(self, made: NodeProto, r: Real, entered: Real, t: Real) -> NodeProto | None:
        old = self._bias(made, 2)
        if old is None or old.ndim > 2:
            return None
        alpha, beta = real(made, "alpha", 1.0), real(made, "beta", 1.0)
        if self._kernel.axis == -2:
            r, entered, t = r[:, None], entered[:, None], t[:, None]
        if old.size and not _broadcast(old, r):
            return None
        bias = r * (alpha * entered + (beta * old if old.size else 0.0)) + t
        if attribute(made, "beta") is not None:
            kept = [entry for entry in made.attribute if entry.name != "beta"]
            del made.attribute[:]
            made.attribute.extend(kept)
        return self._with_bias(made, bias, bool(old.size))

    def _matmul(self, made: NodeProto, bias: Real) -> NodeProto | None:
        if not _sound(bias):
            return None
        if bias.any():
            shaped = bias[:, None] if self._kernel.axis == -2 else bias
            name = self.constant("bias", shaped)
            product = self._scope.inner("product")
            self.behind.append(helper.make_node("Add", [product, name], [made.output[0]]))
            made.output[0] = product
        return made

    def rewire(self, made: NodeProto, later: list[NodeProto]) -> None:
        """Past the norms: the value before each takes the name of the one behind it."""
        before, after = self._fold.before, self._fold.after
        if before:
            norm = before.norm.node
            self.patches[id(norm)] = None
            if before.chain:
                first = NodeProto()
                first.CopyFrom(before.chain[0])
                first.input[0] = norm.input[0]
                self.patches[id(before.chain[0])] = first
            else:
                made.input[self._kernel.source] = norm.input[0]
        if after:
            norm = after.norm.node
            self.patches[id(norm)] = None
            old = map(id, after.chain)
            self.patches.update(zip(old, later, strict=True))
            ending = [made, *self.behind, *later][-1]
            ending.output[0] = norm.output[0]

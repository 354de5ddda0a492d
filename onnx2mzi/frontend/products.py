"""Complex products that a model spells out in real ones, three or four, put together again.

Two sums of products of the same two vectors, z = a + ib in and w = c + id out,

    c = A a - B b,  d = B a + A b

however the model adds them up (four products; or three, as Gauss did, of a, b and their sum with
sums of A and B), become one product of [a, b] with the real matrix [[A, -B], [B, A]], which is
then a complex layer like any other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnx2mzi.frontend.channels import Known
from onnx2mzi.frontend.names import node_label
from onnx2mzi.frontend.terms import Product, offset_of, product_of
from onnx2mzi.frontend.validate import captured
from onnx2mzi.physics.arrays import Real

# A sum of more products, or by more nodes, than this is no complex product.
_MOST_TERMS = 4
_MOST_NODES = 32
# Split of this opset must be told into how many.
_COUNTED_OPSET = 18
# Weights that are sums of others were rounded so often, at most.
_ROUNDINGS = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """Products with their signs, a constant, and the nodes that add them up."""

    terms: tuple[tuple[int, Product], ...]
    offset: Real
    nodes: tuple[NodeProto, ...]

    @property
    def sources(self) -> frozenset[str]:
        return frozenset(product.source for _, product in self.terms)


@dataclass(frozen=True, slots=True, eq=False)
class Combined:
    """The nodes of a graph with complex products put together.

    `values` and `constants` are their new weights, `folds` maps the new nodes' outputs to the
    labels of those that are gone.
    """

    nodes: tuple[NodeProto, ...]
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    constants: tuple[TensorProto, ...] = ()
    folds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Combiner:
    """Looks for complex products in one graph."""

    def __init__(
        self, nodes: Sequence[NodeProto], outputs: Sequence[str], known: Known, opset: int
    ) -> None:
        self._nodes, self._known, self._opset = nodes, known, opset
        self._makers = {name: node for node in nodes for name in node.output if name}
        self._readers: dict[str, list[int]] = {}
        for node in nodes:
            # What a graph inside reads cannot be taken from it.
            for name in (*node.input, *captured(node)):
                self._readers.setdefault(name, []).append(id(node))
        for name in outputs:
            self._readers.setdefault(name, []).append(0)
        self._sums: dict[str, _Sum | None] = {}

    def combined(self, wanted: Callable[[str], bool]) -> Combined:
        """All that are found; `wanted` says of a product's label whether it may be compiled."""
        gone: set[int] = set()
        new: dict[int, list[NodeProto]] = {}
        values: dict[str, np.ndarray] = {}
        folds: dict[str, tuple[str, ...]] = {}
        for first, second in self._pairs():
            if gone.intersection(map(id, (*first.nodes, *second.nodes))):
                continue
            labels = _labels(first, second)
            made = self._made(first, second, len(new)) if all(map(wanted, labels)) else None
            if made is None:
                continue
            nodes, weights = made
            gone.update(map(id, (*first.nodes, *second.nodes)))
            ends = {id(first.nodes[0]), id(second.nodes[0])}
            place = next(k for k, node in enumerate(self._nodes) if id(node) in ends)
            new[place] = nodes
            values.update(weights)
            folds[nodes[1].output[0]] = tuple(x for x in labels if x != nodes[1].name)
        if not new:
            return Combined(tuple(self._nodes))
        kept: list[NodeProto] = []
        for k, node in enumerate(self._nodes):
            kept.extend(new.get(k, []))
            if id(node) not in gone:
                kept.append(node)
        tensors = tuple(numpy_helper.from_array(array, name) for name, array in values.items())
        return Combined(tuple(kept), values, tensors, folds)

    # ---- sums of products --------------------------------------------------------------------

    def _pairs(self) -> Iterator[tuple[_Sum, _Sum]]:
        """Sums of products of the same vectors, the largest sums first."""
        groups: dict[tuple[frozenset[str], tuple[str, ...]], list[_Sum]] = {}
        for node in self._nodes:
            # In order, so that no chain of sums is followed twice, or deeply.
            if node.op_type in ("Add", "Sub", "Neg") and len(node.output) == 1:
                found = self._sum(node.output[0])
                if found is not None and len(found.terms) > 1 and node.op_type != "Neg":
                    key = self._bases(found), found.terms[0][1].kind
                    if key[0]:
                        groups.setdefault(key, []).append(found)
        for group in groups.values():
            group.sort(key=lambda s: len(s.nodes), reverse=True)
            for k, first in enumerate(group):
                for second in group[k + 1 :]:
                    if self._closed(first, second):
                        yield first, second

    def _sum(self, name: str) -> _Sum | None:
        if name not in self._sums:
            self._sums[name] = None
            self._sums[name] = self._expanded(name)
        return self._sums[name]

    def _expanded(self, name: str) -> _Sum | None:
        node = self._makers.get(name)
        if node is None or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
            return None
        if node.op_type in ("Add", "Sub") and len(node.input) == 2:
            return self._added(node)
        if node.op_type == "Neg" and len(node.input) == 1:
            inner = self._sum(node.input[0])
            return None if inner is None else _joined(node, [(-1, inner)])
        product = product_of(node, self._known)
        if product is None:
            return None
        return _Sum(((1, product),), product.bias, (node,))

    def _added(self, node: NodeProto) -> _Sum | None:
        sign = -1 if node.op_type == "Sub" else 1
        one, other = (self._sum(name) for name in node.input)
        if one is not None and other is not None:
            return _joined(node, [(1, one), (sign, other)])
        # A constant added to a product is its bias.
        inner, at = (one, 1) if one is not None else (other, 0)
        if inner is None or not self._known.values.static(node.input[at]):
            return None
        value = self._known.values.value(node.input[at])
        product = inner.terms[0][1]
        offset = None if value is None else offset_of(value, len(product.weight), product.axis)
        if offset is None:
            return None
        signs = (1, sign) if at == 1 else (sign, 1)
        found = _joined(node, [(signs[0], inner)])
        return None if found is None else _Sum(
            found.terms, found.offset + signs[1] * offset, found.nodes
        )  # fmt: skip

    # ---- complex ones ------------------------------------------------------------------------

    def _bases(self, found: _Sum) -> frozenset[str]:
        """The two vectors that all products are of; empty if there are more, or fewer."""
        sources = found.sources
        plain = {name for name in sources if not self._summed(name, sources)}
        for name in sources - plain:
            plain.update(self._makers[name].input)
        return frozenset(plain) if len(plain) == 2 else frozenset()

    def _summed(self, name: str, sources: frozenset[str]) -> bool:
        """Whether a source is the sum (or difference) of two others, of which one is there."""
        node = self._makers.get(name)
        if node is None or node.op_type not in ("Add", "Sub") or len(node.input) != 2:
            return False
        return len(set(node.input)) == 2 and bool(sources & set(node.input))

    def _closed(self, first: _Sum, second: _Sum) -> bool:
        """Whether nobody else reads what lies between the products and the two sums."""
        nodes = {id(node): node for node in (*first.nodes, *second.nodes)}
        ends = {first.nodes[0].output[0], second.nodes[0].output[0]}
        if len(ends) < 2:
            return False
        for node in nodes.values():
            for name in node.output:
                readers = self._readers.get(name, [])
                if name in ends:
                    # One sum within the other is no pair.
                    if nodes.keys() & set(readers):
                        return False
                elif not nodes.keys() >= set(readers):
                    return False
        return True

    def _made(
        self, first: _Sum, second: _Sum, count: int
    ) -> tuple[list[NodeProto], dict[str, np.ndarray]] | None:
        a, b = sorted(self._bases(first), key=self._order)
        rank = self._rank(a, b)
        one, other = self._by_base(first, a, b), self._by_base(second, a, b)
        if one is None or other is None or rank is None:
            return None
        slack = one.slack + other.slack
        for c, d, ends in ((one, other, (first, second)), (other, one, (second, first))):
            re, im = _mean(c.a, d.b, slack), _mean(d.a, -c.b, slack)
            if re is not None and im is not None and im.any():
                return self._spelled((a, b), ends, (re, im), (rank, count))
        return None

    def _order(self, name: str) -> tuple[int, str]:
        """Where a value is made; inputs of the graph first, by name."""
        maker = id(self._makers.get(name))
        places = (k for k, node in enumerate(self._nodes) if id(node) == maker)
        return next(places, -1), name

    def _rank(self, a: str, b: str) -> int | None:
        """The number of dimensions of two values, if they are of one shape."""
        one, other = self._known.shapes.get(a), self._known.shapes.get(b)
        return len(one) if one is not None and one == other else None

    def _by_base(self, found: _Sum, a: str, b: str) -> "_Linear | None":
        parts: dict[str, list[Real]] = {a: [], b: []}
        rounded = False
        for sign, product in found.terms:
            if product.source in parts:
                parts[product.source].append(sign * product.weight)
                continue
            node, rounded = self._makers[product.source], True
            for k, name in enumerate(node.input):
                if name not in parts:
                    return None
                minus = -1 if node.op_type == "Sub" and k == 1 else 1
                parts[name].append(sign * minus * product.weight)
        if not parts[a] or not parts[b]:
            return None
        shapes = {part.shape for some in parts.values() for part in some}
        if len(shapes) > 1:
            return None
        whole = sum((np.abs(x) for some in parts.values() for x in some), np.zeros(shapes.pop()))
        rounded = rounded or any(len(some) > 1 for some in parts.values())
        epsilon = float(np.finfo(found.terms[0][1].dtype).eps)
        slack = _ROUNDINGS * epsilon * whole if rounded else np.zeros_like(whole)
        return _Linear(np.add.reduce(parts[a]), np.add.reduce(parts[b]), slack)

    def _spelled(
        self,
        bases: tuple[str, str],
        ends: tuple[_Sum, _Sum],
        weight: tuple[Real, Real],
        place: tuple[int, int],
    ) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
        """One product of both vectors side by side, in the place of all."""
        (rank, count), (re, im) = place, weight
        first = ends[0].terms[0][1]
        rows = np.concatenate(
            [np.concatenate([re, -im], axis=1), np.concatenate([im, re], axis=1)]
        ).astype(first.dtype)
        offset = np.concatenate([end.offset for end in ends]).astype(first.dtype)
        stem = f"onnx2mzi/complex{count}"
        # Told to the user as the layer's weight.
        name = ", ".join(dict.fromkeys(p.name for end in ends for _, p in end.terms))
        axis = rank + first.axis
        joined, product, both = (f"{stem}/{what}" for what in ("joined", "product", "both"))
        nodes = [helper.make_node("Concat", bases, [joined], axis=axis)]
        values = {name: rows}
        if offset.any():
            values[f"{stem}/bias"] = offset
        else:
            product = both
        label = node_label(first.node, 0)
        if first.kind[0] == "Conv":
            inputs = [joined, name, *[f"{stem}/bias"][: int(offset.any())]]
            made = helper.make_node("Conv", inputs, [both], label)
            made.attribute.extend(first.node.attribute)
            nodes.append(made)
        else:
            right = first.kind[1] == "right"
            values[name] = np.ascontiguousarray(rows.T) if right else rows
            inputs = [joined, name] if right else [name, joined]
            nodes.append(helper.make_node("MatMul", inputs, [product], label))
            if offset.any():
                values[f"{stem}/bias"] = offset if right else offset[:, None]
                nodes.append(helper.make_node("Add", [product, f"{stem}/bias"], [both]))
        outputs = [end.nodes[0].output[0] for end in ends]
        nodes.append(helper.make_node("Split", [both], outputs, axis=axis))
        if self._opset >= _COUNTED_OPSET:
            nodes[-1].attribute.append(helper.make_attribute("num_outputs", 2))
        return nodes, values


@dataclass(frozen=True, slots=True, eq=False)
class _Linear:
    """y = a x + b z, matrices known to `slack`."""

    a: Real
    b: Real
    slack: Real


def _mean(one: Real, other: Real, slack: Real) -> Real | None:
    """The mean of two matrices that are the same but for round-off, None if they are not."""
    if one.shape != other.shape or not (np.abs(one - other) <= slack).all():
        return None
    return one if np.array_equal(one, other) else (one + other) / 2


def _joined(node: NodeProto, parts: Sequence[tuple[int, _Sum]]) -> _Sum | None:
    terms: dict[int, tuple[int, Product]] = {}
    nodes = {id(node): node}
    kinds = {(p.kind, p.weight.shape, p.dtype) for _, part in parts for _, p in part.terms}
    if len(kinds) != 1:
        return None
    offset = np.zeros(len(parts[0][1].offset))
    for sign, part in parts:
        nodes.update((id(inner), inner) for inner in part.nodes)
        for own, product in part.terms:
            before = terms.get(id(product.node), (0, product))[0]
            terms[id(product.node)] = before + sign * own, product
        offset = offset + sign * part.offset
    left = tuple(term for term in terms.values() if term[0])
    few = 0 < len(left) <= _MOST_TERMS and len(nodes) <= _MOST_NODES
    return _Sum(left, offset, tuple(nodes.values())) if few else None


def _labels(first: _Sum, second: _Sum) -> tuple[str, ...]:
    """The products' names, that of the new one first."""
    products = (product for end in (first, second) for _, product in end.terms)
    return tuple(dict.fromkeys(node_label(product.node, 0) for product in products))


def may_combine(nodes: Sequence[NodeProto]) -> bool:
    """Whether there is a difference of what may be products."""
    sums = ("MatMul", "Gemm", "Conv", "Add", "Sub", "Neg")
    made = {name for node in nodes if node.op_type in sums for name in node.output}
    products = sum(node.op_type in sums[:3] for node in nodes)
    return products > 2 and any(
        node.op_type in ("Sub", "Neg") and made.issuperset(node.input) for node in nodes
    )

"""A plan: how many inputs and what rank every layer keeps; and the matrices that follow."""

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.passes.prune.cost import matrix_phases
from onnx2mzi.passes.prune.inputs import elimination
from onnx2mzi.passes.prune.lowrank import factors, spectrum
from onnx2mzi.passes.prune.moments import Positions, energy, plain, restricted
from onnx2mzi.physics.arrays import Matrix

# Where a search starts: what moves a layer's outputs by less than this share of their power.
NOTHING = 1e-4
# A step leaves this share of a layer's inputs or rank; the long ones jump over plateaus of cost.
STEPS = (0.9, 0.8, 0.65, 0.5, 0.35)


@dataclass(frozen=True, slots=True, eq=False)
class Prunable:
    """A layer as the search sees it.

    `weight` (m, n); `moment` (n, n) of its inputs; `order` (n,), its inputs in the order in
    which they are given up; `reader`, the layer whose inputs are exactly this layer's outputs
    through electronics that act on each alone, or None.
    """

    weight: Matrix
    moment: Matrix
    order: Positions
    reader: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Inputs and rank that each layer keeps."""

    inputs: tuple[int, ...]
    ranks: tuple[int, ...]

    def with_inputs(self, layer: int, count: int) -> "Plan":
        """The plan with another number of inputs at one layer."""
        return replace(self, inputs=_put(self.inputs, layer, count))

    def with_rank(self, layer: int, rank: int) -> "Plan":
        """The plan with another rank at one layer."""
        return replace(self, ranks=_put(self.ranks, layer, rank))


def _put(values: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    return (*values[:at], value, *values[at + 1 :])


def prunable(weight: Matrix, moment: Matrix, reader: int | None = None) -> Prunable:
    """The layer with its inputs ranked by what their loss would cost."""
    return Prunable(weight, moment, elimination(weight, moment)[0], reader)


def kept_inputs(layers: Sequence[Prunable], plan: Plan, at: int) -> Positions:
    """The inputs that layer `at` keeps, ascending."""
    order = layers[at].order
    return np.sort(order[len(order) - plan.inputs[at] :])


def kept_outputs(layers: Sequence[Prunable], plan: Plan, at: int) -> Positions:
    """The outputs that somebody reads, ascending."""
    reader = layers[at].reader
    if reader is None:
        return np.arange(layers[at].weight.shape[0])
    return kept_inputs(layers, plan, reader)


def shape_kept(layers: Sequence[Prunable], plan: Plan, at: int) -> tuple[int, int, int]:
    """(m, n, rank) that layer `at` has under the plan."""
    reader = layers[at].reader
    m = layers[at].weight.shape[0] if reader is None else plan.inputs[reader]
    n = plan.inputs[at]
    return m, n, min(m, n, plan.ranks[at])


def plan_phases(layers: Sequence[Prunable], plan: Plan, ports: int) -> int:
    """Phases of all layers under the plan; a complex matrix counts twice."""
    return sum(
        matrix_phases(*shape_kept(layers, plan, at), ports)
        * (2 if np.iscomplexobj(layer.weight) else 1)
        for at, layer in enumerate(layers)
    )


def first_plan(layers: Sequence[Prunable], share: float = NOTHING) -> Plan:
    """What can go at once: inputs, then rank, that make up less than `share` of each output."""
    inputs, ranks = [], []
    for layer in layers:
        total = float(energy(layer.weight, layer.moment).sum())
        _, spent = elimination(layer.weight, layer.moment)
        inputs.append(max(len(layer.order) - int(np.count_nonzero(spent <= share * total)), 1))
        left = np.cumsum(spectrum(layer.weight, layer.moment)[::-1])[::-1]
        ranks.append(max(int(np.count_nonzero(left > share * total)), 1))
    return Plan(tuple(inputs), tuple(ranks))


def moves(layers: Sequence[Prunable], plan: Plan) -> Iterator[tuple[tuple[int, int, float], Plan]]:
    """Every shorter plan one step away, named (layer, 0 for inputs or 1 for rank, share left)."""
    for at in range(len(layers)):
        _, n, rank = shape_kept(layers, plan, at)
        for share in STEPS:
            if n > 1:
                fewer = min(n - 1, max(round(n * share), 1))
                yield (at, 0, share), plan.with_inputs(at, fewer)
            if rank > 1:
                lower = min(rank - 1, max(round(rank * share), 1))
                yield (at, 1, share), plan.with_rank(at, lower)


Cache = MutableMapping[tuple[int, int, int, int], Matrix]


def matrices(layers: Sequence[Prunable], plan: Plan, cache: Cache) -> list[Matrix]:
    """The matrix of every layer under the plan, in full shape, dark rows and columns zero.

    `cache` holds those of earlier calls with the same layers.
    """
    found = []
    for at, layer in enumerate(layers):
        m, n, rank = shape_kept(layers, plan, at)
        key = (at, m, n, rank)
        if key not in cache:
            rows, columns = kept_outputs(layers, plan, at), kept_inputs(layers, plan, at)
            full = np.zeros_like(layer.weight)
            full[np.ix_(rows, columns)] = fitted(layer, rows, columns, rank)
            full.flags.writeable = False
            cache[key] = full
        found.append(cache[key])
    return found


def fitted(layer: Prunable, rows: Positions, columns: Positions, rank: int) -> Matrix:
    """The best matrix (len(rows), len(columns)) of `rank` for these outputs and inputs."""
    w = restricted(layer.weight[rows], layer.moment, columns)
    if rank >= min(w.shape):
        return w
    a, b = factors(w, layer.moment[np.ix_(columns, columns)], rank)
    return plain(a @ b)

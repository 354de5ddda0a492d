"""Pruning with data: from a network to the matrices of a plan that it can live with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.accuracy import score_output
from onnx2mzi.emulate.network import Network, Outputs
from onnx2mzi.passes.prune.judge import changed_steady, margin_used, relative
from onnx2mzi.passes.prune.links import readers
from onnx2mzi.passes.prune.moments import moment
from onnx2mzi.passes.prune.plan import Cache, Prunable, matrices, prunable, shape_kept
from onnx2mzi.passes.prune.search import Waypoint, deepest, descend
from onnx2mzi.physics.arrays import Matrix

# With labels about half of the changed answers were right before: twice as many may change.
CHANGES_PER_FALL = 2.0
# The way down ends where the fitting data are this many limits away; nothing was ever accepted
# there.
FAR = 20.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a search found: a matrix and a rank for every layer, by name."""

    matrices: dict[str, Matrix]
    ranks: dict[str, int]


def acceptable(network: Network, limit: float) -> Callable[[Mapping[str, Matrix]], bool]:
    """Whether the network with these matrices stays within `limit` on the data kept back.

    Beside the exact `Network.distance`, which jumps on few samples, a steadier estimate of the
    share of changed answers must agree.
    """
    name = score_output(network.original)
    may_change = limit * (1.0 if network.held.labels is None else CHANGES_PER_FALL)

    def accepted(found: Mapping[str, Matrix]) -> bool:
        if network.distance(found) > limit:
            return False
        if name is None:
            return True
        scores = _real(network.original[name])
        other = _real(network.outputs(found, network.held)[name])
        return changed_steady(scores, other) <= may_change

    return accepted


def fit_error(network: Network) -> Callable[[Mapping[str, Matrix]], float]:
    """How far the network is from the original on the data to fit; see `judge`."""
    original = network.outputs({x.name: x.weight for x in network.layers}, network.fit)
    name = score_output(original)

    def error(found: Mapping[str, Matrix]) -> float:
        outputs = network.outputs(found, network.fit)
        if name is not None:
            return margin_used(_real(original[name]), _real(outputs[name]))
        return _largest(original, outputs)

    return error


def _largest(original: Outputs, outputs: Outputs) -> float:
    numbers = [key for key, value in original.items() if value.dtype.kind in "fc"]
    return max((relative(original[key], outputs[key]) for key in numbers), default=0.0)


def _real(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64)


def prunables(network: Network, seed: int) -> list[Prunable]:
    """Every layer of the network with the moments of its inputs and its reader."""
    inputs = network.layer_inputs()
    names = [layer.name for layer in network.layers]
    return [
        prunable(np.array(layer.weight), moment(inputs[layer.name]), reader)
        for layer, reader in zip(network.layers, readers(network, names, seed), strict=True)
    ]


def fit(
    network: Network,
    *,
    limit: float,
    most_phases: float | None,
    ports: int,
    seed: int,
    progress: Progress,
) -> Fitted | None:
    """The cheapest plan found that keeps the network within `limit` on the data kept back.

    With `most_phases` instead the first plan on the way down that costs no more than these.
    None if not even the first plan is good enough.
    """
    layers = prunables(network, seed)
    names = [layer.name for layer in network.layers]
    cache: Cache = {}

    def named(found: Sequence[Matrix]) -> dict[str, Matrix]:
        return dict(zip(names, found, strict=True))

    error = fit_error(network)
    path = descend(
        layers,
        lambda found: error(named(found)),
        ports=ports,
        stop=FAR * limit if most_phases is None else np.inf,
        enough=most_phases,
        cache=cache,
        progress=lambda done, total: progress("prune", done, total),
    )
    end: Waypoint | None
    if most_phases is None:
        accepted = acceptable(network, limit)
        end = deepest(path, lambda w: accepted(named(matrices(layers, w.plan, cache))))
    else:
        end = path[-1]
    if end is None:
        return None
    ranks = [shape_kept(layers, end.plan, at)[2] for at in range(len(layers))]
    return Fitted(named(matrices(layers, end.plan, cache)), dict(zip(names, ranks, strict=True)))

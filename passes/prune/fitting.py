"""Pruning with data: from a network to the matrices of a plan that it can live with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.accuracy import score_output
from onnx2mzi.emulate.network import Network, Outputs
from onnx2mzi.passes.prune.judge import changed_steady, margin_used, relative
from onnx2mzi.passes.prune.links import readers
from onnx2mzi.passes.prune.lowrank import factors, spectrum
from onnx2mzi.passes.prune.moments import energy, moment, plain
from onnx2mzi.passes.prune.plan import Cache, Prunable, matrices, prunable, shape_kept
from onnx2mzi.passes.prune.search import Waypoint, deepest, descend
from onnx2mzi.passes.prune.split import Sheet, sheets, sheets_phases
from onnx2mzi.passes.prune.thinning import metrics, product, thinned_layer
from onnx2mzi.passes.prune.whole import pays, thinned_together
from onnx2mzi.physics.arrays import Matrix

# The way down ends where the fitting data are this many limits away; nothing was ever accepted
# there.
FAR = 20.0

# Thinning starts from the plan that uses up this share of the limit (it is the better way to use
# up the rest), and if the tiles of all tries together are no more than `SMALL` from others too.
STARTS = (0.5, 0.25, 1.0)
SMALL = 16
# Tiles that are thinned all together start from the plan that uses up this share of the limit.
LARGE_START = 0.65
# Error at which layers are compared, as a share of the power of a layer's outputs.
PROBE = 1e-2
# Less than this share is round-off: there is no error to probe with.
NOTHING = 1e-12
# Price of an error that moves a layer's outputs by all their power, log10 of phases, and how
# often the range is halved.
PRICES = (4.0, 7.0)
ROUNDS = 5

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Goal:
    """When a search is done: the `limit` that the network must keep on data kept back, or, if
    `most_phases` is given, as near to the original as that many phases allow. No more than
    `most_tiles` tiles are thinned one by one; 0 leaves it at ports and rank. Heaters err by
    `noise_rad`."""

    limit: float
    most_phases: float | None = None
    most_tiles: int = 0
    noise_rad: float = 0.0


def acceptable(network: Network, limit: float) -> Callable[[Mapping[str, Matrix]], bool]:
    """Whether the network with these matrices stays within `limit` on the data kept back.

    Beside the exact `Network.distance`, which jumps on few samples, a steadier estimate of the
    share of changed answers must agree. It bounds the fall in accuracy, and is asked for with
    labels too: a search finds plans that are lucky on the labels of the samples kept back.
    (Digits networks of four other splits lose 0.44 points of test accuracy where twice as many
    changes are accepted, 0.22 so, at a limit of 0.5.)
    """
    name = score_output(network.original)

    def accepted(found: Mapping[str, Matrix]) -> bool:
        if network.distance(found) > limit:
            return False
        if name is None:
            return True
        scores = _real(network.original[name])
        other = _real(network.outputs(found, network.held)[name])
        return changed_steady(scores, other) <= limit

    return accepted


def fit_error(network: Network) -> Callable[[Mapping[str, Matrix]], float]:
    """How far the network is from the original on the data to fit; see `judge`."""
    original = network.wanted(network.fit)
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
        prunable(plain(layer.weight), moment(inputs[layer.name]), reader)
        for layer, reader in zip(network.layers, readers(network, names, seed), strict=True)
    ]


def fit(
    network: Network, goal: Goal, *, ports: int, seed: int, progress: Progress
) -> dict[str, tuple[Sheet, ...]] | None:
    """The cheapest sheets found for every layer, by name, that reach the goal.

    None if not even the first plan is good enough.
    """
    search = Search.of(network, goal, ports=ports, seed=seed, progress=progress)
    end = search.start(1.0)
    if end is None:
        return None
    best = search.sheets(end)
    spent = 0
    for share in STARTS:
        start = search.start(share)
        if start is None:
            continue
        whole = search.sheets(start)
        tiles = sum(len(sheet.tiles) for layer in whole for sheet in layer)
        if tiles <= goal.most_tiles and pays(whole):
            start = search.start(LARGE_START) or start
            together = search.thinned_together(search.sheets(start))
            best = min(best, together, key=search.cost)
            break
        spent += tiles
        if tiles > goal.most_tiles or (share != STARTS[0] and spent > SMALL):
            break
        best = min(best, search.thinned(whole), key=search.cost)
    return dict(zip((layer.name for layer in network.layers), best, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The way down through plans, and what is needed to go on from any of them."""

    network: Network
    goal: Goal
    ports: int
    layers: list[Prunable]
    path: list[Waypoint]
    cache: Cache
    progress: Progress

    @classmethod
    def of(
        cls, network: Network, goal: Goal, *, ports: int, seed: int, progress: Progress
    ) -> "Search":
        """Goes down the whole way."""
        layers = prunables(network, seed)
        names = [layer.name for layer in network.layers]
        cache: Cache = {}
        error = fit_error(network)
        path = descend(
            layers,
            lambda found: error(dict(zip(names, found, strict=True))),
            ports=ports,
            stop=FAR * goal.limit if goal.most_phases is None else np.inf,
            enough=goal.most_phases,
            cache=cache,
            progress=lambda done, total: progress("prune: ports and rank", done, total),
        )
        progress("prune: ports and rank", path[0].phases, path[0].phases)
        return cls(network, goal, ports, layers, path, cache, progress)

    def named(self, found: Sequence[Matrix]) -> dict[str, Matrix]:
        """Matrices by the names of their layers."""
        return dict(zip((layer.name for layer in self.network.layers), found, strict=True))

    def start(self, share: float) -> Waypoint | None:
        """The last waypoint that keeps within `share` of the limit, or that is cheap enough."""
        most = self.goal.most_phases
        if most is not None:
            return next((w for w in self.path if w.phases * share <= most), self.path[-1])
        accepted = acceptable(self.network, share * self.goal.limit)
        return deepest(
            self.path,
            lambda w: accepted(self.named(matrices(self.layers, w.plan, self.cache))),
        )

    def sheets(self, end: Waypoint) -> list[tuple[Sheet, ...]]:
        """The sheets of every layer at a waypoint."""
        return [
            sheets(
                matrix,
                rank=shape_kept(self.layers, end.plan, at)[2],
                ports=self.ports,
                moment=layer.moment,
            )
            for at, (layer, matrix) in enumerate(
                zip(self.layers, matrices(self.layers, end.plan, self.cache), strict=True)
            )
        ]

    def thinned(self, whole: list[tuple[Sheet, ...]]) -> list[tuple[Sheet, ...]]:
        """The sheets with every tile thinned as far as the goal allows: bisection of the price
        of an error."""
        weights = self.weights()
        most, best = self.goal.most_phases, whole
        accepted = acceptable(self.network, self.goal.limit)
        low, high = PRICES
        tiles = sum(len(sheet.tiles) for layer in whole for sheet in layer)
        ticks = iter(range(1, tiles * ROUNDS + 1))

        def tick() -> None:
            self.progress("prune: single phases", next(ticks), tiles * ROUNDS)

        for _ in range(ROUNDS):
            middle = (low + high) / 2
            found = [
                thinned_layer(
                    layer.weight,
                    parts,
                    layer.moment,
                    price=weight * 10**middle,
                    noise_rad=self.goal.noise_rad,
                    done=tick,
                )
                for layer, parts, weight in zip(self.layers, whole, weights, strict=True)
            ]
            if most is None:
                fits = accepted(self.products(found))
                low, high = (low, middle) if fits else (middle, high)
            else:
                fits = sheets_phases(found) <= most
                low, high = (middle, high) if fits else (low, middle)
            if fits:
                best = found
        return best

    def thinned_together(self, whole: list[tuple[Sheet, ...]]) -> list[tuple[Sheet, ...]]:
        """The sheets with tiles of any size thinned as far as the goal allows, on one way down."""
        most = self.goal.most_phases
        accepted = acceptable(self.network, self.goal.limit)
        pairs = list(zip(self.layers, whole, strict=True))
        return thinned_together(
            whole,
            [metrics(layer.weight, parts, layer.moment) for layer, parts in pairs],
            [
                weight / max(float(energy(layer.weight, layer.moment).sum()), 1e-300)
                for layer, weight in zip(self.layers, self.weights(), strict=True)
            ],
            most=most or 0.0,
            good=lambda found: most is not None or accepted(self.products(found)),
            noise_rad=self.goal.noise_rad,
            tell=lambda done, total: self.progress("prune: single phases", done, total),
        )

    def cost(self, found: Sequence[Sequence[Sheet]]) -> float:
        """Phases, or if these are given how far the network is from the original."""
        if self.goal.most_phases is None:
            return sheets_phases(found)
        enough = sheets_phases(found) <= self.goal.most_phases
        return fit_error(self.network)(self.products(found)) if enough else np.inf

    def products(self, found: Sequence[Sequence[Sheet]]) -> dict[str, Matrix]:
        """What the sheets multiply by, by layer."""
        pairs = zip(self.layers, found, strict=True)
        return self.named([product(parts, layer.weight.dtype) for layer, parts in pairs])

    def weights(self) -> list[float]:
        """How much an error of each layer moves the network's outputs: with this layer alone at
        a rank that leaves an error near `PROBE` of its power."""
        asked = self.named([layer.weight for layer in self.layers])
        original = self.network.outputs(asked, self.network.fit)
        found = []
        for at, layer in enumerate(self.layers):
            left = np.cumsum(spectrum(layer.weight, layer.moment)[::-1])[::-1]
            share = left / max(float(left[0]), np.finfo(float).tiny)
            rank = max(int(np.count_nonzero(share > PROBE)), 1)
            if rank >= len(share) or share[rank] < NOTHING:
                found.append(1.0)
                continue
            a, b = factors(layer.weight, layer.moment, rank)
            changed: dict[str, Matrix] = {**asked, self.network.layers[at].name: plain(a @ b)}
            moved = _largest(original, self.network.outputs(changed, self.network.fit))
            found.append(max(moved, 1e-12) / float(share[rank]))
        return found

"""Thinning all tiles together, block by block: for tiles too large for one matrix of a surgeon.

The surgeon of `thin` needs a matrix as wide as the tile has thetas, which at 784 ports is 10^9
numbers. Here it sees `WIDE` thetas at a time: the scores of all blocks of all tiles are compared,
those that cost the network's outputs least go, block after block, and each block makes up for
what the ones before it left, as columns do in GPTQ (arXiv 2210.17323). There is one way down,
so it is also quick: a goal picks a place on it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import build, vjp
from onnx2mzi.passes.drawing import BalancedTile
from onnx2mzi.passes.prune.settle import settled_tile
from onnx2mzi.passes.prune.split import Sheet, sheets_phases
from onnx2mzi.passes.prune.thetas import RealTile, felt, hessian, slopes
from onnx2mzi.passes.prune.thin import Metric, Thinned, damped_inverse, goals
from onnx2mzi.passes.prune.thinning import real_tile
from onnx2mzi.physics.arrays import Real

# Tiles with more thetas than this are for this module, as `thin` takes minutes there;
# so are smaller ones, `MOST` thetas in all, if their cubes, which it takes, add up to `CUBES`.
LARGE = 4500
CUBES = 1e10
MOST = 100_000
# Thetas that one matrix of the surgeon holds.
WIDE = 2000
# Share of all heaters that goes in one round, and rounds in sequence that may fail.
ROUND = 0.1
# The same where the way is long: half a minute each at 784 ports.
FAST = 0.33
PATIENCE = 2

Layers = list[tuple[Sheet, ...]]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Piece:
    """A tile on its way, the metric of its errors, and what an error is worth (`rate`)."""

    here: Thinned
    metric: Metric
    rate: float

    @property
    def heaters(self) -> int:
        """Thetas that are left."""
        return int(np.count_nonzero(self.here.alive))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a piece belongs: layer, sheet of the layer, tile of the sheet."""

    layer: int
    sheet: int
    tile: int
    piece: Piece


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Parameters of one tile that are worked on together: the first `count` are thetas."""

    free: Places
    count: int
    inverse: npt.NDArray[Any]
    score: Real


def slope(tile: RealTile, weighted: Real) -> Real:
    """Half the slope of tr(P D C D^T) by thetas and amplitudes, with `weighted` = P D C."""
    r = len(tile.s)
    u, v = build(tile.u).real[:, :r], build(tile.v).real[:r]
    inner = np.asarray(u.T @ weighted)
    at_v = np.zeros((tile.v.ports, tile.v.ports))
    at_v[:r] = tile.s[:, None] * inner
    at_u = np.zeros((tile.u.ports, tile.u.ports))
    at_u[:, :r] = (weighted @ v.T) * tile.s
    return np.concatenate(
        [
            vjp(tile.v, np.eye(tile.v.ports), at_v).theta,
            vjp(tile.u, np.eye(tile.u.ports), at_u).theta,
            (inner * v).sum(1),
        ]
    )


def blocks(piece: Piece) -> list[_Block]:
    """The blocks of a tile, neighbours in light's way together, and what each theta would cost."""
    here, metric = piece.here, piece.metric
    alive = np.flatnonzero(here.alive)
    amplitudes = np.arange(len(here.alive), len(here.alive) + len(here.tile.s))
    left, right = (x.astype(np.float32) for x in slopes(here.tile))
    now = slope(here.tile, metric.weighted(here.tile.matrix))
    found = []
    for part in np.array_split(alive, max(-(-len(alive) // WIDE), 1)):
        free = np.concatenate([part, amplitudes])
        inverse = damped_inverse(hessian(left[free], right[free], metric.p, metric.c))
        newton = -(inverse @ now[free].astype(inverse.dtype)).astype(float)[: len(part)]
        theta = here.tile.theta[part]
        missing = goals(theta) - theta - newton
        score = missing**2 / np.diag(inverse)[: len(part)]
        if metric.noise_rad > 0:
            score -= metric.noise_rad**2 * felt(left[part], right[part], metric.p, metric.c)
        found.append(_Block(free, len(part), inverse, piece.rate * score))
    return found


def without(pieces: Sequence[Piece], count: int) -> list[Piece]:
    """One round: the `count` thetas of all tiles that cost least go."""
    offers = [blocks(piece) for piece in pieces]
    scores = np.concatenate([block.score for offer in offers for block in offer])
    count = min(count, len(scores))
    if count == 0:
        return list(pieces)
    bound = float(np.partition(scores, count - 1)[count - 1])
    found = []
    for piece, offer in zip(pieces, offers, strict=True):
        here = piece.here
        gone = [np.flatnonzero(block.score <= bound) for block in offer]
        for block, away in zip(offer, gone, strict=True):
            here = _moved(here, piece.metric, block, away, must=True)
        for block, away in zip(offer, gone, strict=True):
            here = _moved(here, piece.metric, block, away, must=False)
        found.append(replace(piece, here=here))
    return found


def _moved(here: Thinned, metric: Metric, block: _Block, away: Places, *, must: bool) -> Thinned:
    """One step of a block, thetas `away` at their goals behind it; `must`: whatever it costs."""
    tile = here.tile
    inverse, free, count = block.inverse, block.free, block.count
    now = slope(tile, metric.weighted(tile.matrix))[free]
    step = -(inverse @ now.astype(inverse.dtype)).astype(float)
    theta = tile.theta
    goal = goals(theta[free[away]])
    if len(away):
        rows = inverse[away]
        pull = np.linalg.solve(rows[:, away].astype(float), goal - theta[free[away]] - step[away])
        step += pull.astype(rows.dtype) @ rows
    alive = here.alive.copy()
    alive[free[away]] = False
    best = here
    for scale in (1.0, 0.3):
        new = theta.copy()
        new[free[:count]] += scale * step[:count]
        new[free[away]] = goal
        there = tile.moved(new, tile.s + scale * step[count:])
        moved = Thinned(there, alive, metric.error(there.matrix))
        if must and (best is here or moved.error < best.error):
            best = moved
        if moved.error < here.error:
            return moved
    return best


def pays(layers: Sequence[Sequence[Sheet]]) -> bool:
    """Whether tiles are better thinned here than one by one: one is large, or all take long."""
    thetas = _thetas(layers)
    long = sum(count**3 for count in thetas) > CUBES and sum(thetas) <= MOST
    return long or large(layers)


def large(layers: Sequence[Sequence[Sheet]]) -> bool:
    """Whether a tile has more than `LARGE` thetas."""
    return max(_thetas(layers), default=0) > LARGE


def _thetas(layers: Sequence[Sequence[Sheet]]) -> list[int]:
    """Thetas of every real tile."""
    return [
        int(np.count_nonzero(tile.u.theta) + np.count_nonzero(tile.v.theta))
        for layer in layers
        for sheet in layer
        for tile in sheet.tiles
        if tile.u.is_real and tile.v.is_real
    ]


def thinned_together(
    layers: Sequence[Sequence[Sheet]],
    metrics: Sequence[Sequence[tuple[Real, Real]]],
    rates: Sequence[float],
    *,
    most: float,
    good: Callable[[Layers], bool],
    noise_rad: float = 0.0,
    few: float = math.inf,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Layers:
    """The sheets of all layers with ever fewer phases, until no more than `most` are left or
    they are not `good` twice in sequence; the last good ones, or as many as `most` ones.

    `metrics` are (P, C) of every sheet, on its outputs and inputs, `rates` what an error of each
    layer is worth; heaters that are left err by `noise_rad`. Complex tiles stay.
    """
    here = [
        _Place(i, j, k, piece)
        for i, (layer, pairs) in enumerate(zip(layers, metrics, strict=True))
        for j, (sheet, (p, c)) in enumerate(zip(layer, pairs, strict=True))
        for k, tile in enumerate(sheet.tiles)
        if (piece := _piece(tile, p, c, rates[i], noise_rad)) is not None
    ]
    best = found = [tuple(layer) for layer in layers]
    begin, failed = sheets_phases(found), 0
    while (phases := sheets_phases(found)) > most and failed < PATIENCE:
        heaters = sum(place.piece.heaters for place in here)
        if heaters == 0:
            break
        share = ROUND if heaters <= few else FAST
        count = max(math.ceil(min(share * heaters, phases - most)), 1)
        pieces = without([place.piece for place in here], count)
        here = [replace(place, piece=piece) for place, piece in zip(here, pieces, strict=True)]
        found = _with_pieces(found, here)
        failed = 0 if good(found) else failed + 1
        best = best if failed else found
        tell(begin - phases, begin)
    return best


def _piece(tile: BalancedTile, p: Real, c: Real, rate: float, noise_rad: float) -> Piece | None:
    start = real_tile(tile)
    if start is None:
        return None
    own = c[np.ix_(tile.inputs, tile.inputs)]
    p = p[np.ix_(tile.outputs, tile.outputs)]
    metric = Metric(start.matrix, p, (own + own.T) / 2, noise_rad)
    return Piece(Thinned(start, start.theta != 0.0, 0.0), metric, rate)


def _with_pieces(layers: Layers, places: Sequence[_Place]) -> Layers:
    tiles = [[list(sheet.tiles) for sheet in layer] for layer in layers]
    for place in places:
        old = tiles[place.layer][place.sheet][place.tile]
        new = settled_tile(place.piece.here.tile, old.outputs, old.inputs)
        tiles[place.layer][place.sheet][place.tile] = new
    return [
        tuple(replace(sheet, tiles=tuple(t)) for sheet, t in zip(layer, parts, strict=True))
        for layer, parts in zip(layers, tiles, strict=True)
    ]

"""Without data: single phases of a layer's tiles, as many as go within a squared error.

The surgeon of `thin`, with the identity for a metric and a bound in place of a price. Errors of
tiles add up, so each gets an allowance, by what phases cost it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, solve_triangular

from onnx2mzi.passes.prune.settle import settled_tile
from onnx2mzi.passes.prune.split import Sheet, sheets
from onnx2mzi.passes.prune.symmetric import solved
from onnx2mzi.passes.prune.thetas import RealTile, gradient, slopes
from onnx2mzi.passes.prune.thin import Metric, Thinned, goals, linearised
from onnx2mzi.passes.prune.thinning import real_tile, sheet_matrix
from onnx2mzi.passes.prune.weights import truncated_tiles
from onnx2mzi.passes.prune.whole import large, thinned_together
from onnx2mzi.physics.arrays import Matrix, Real

# The share of the bound for singular values; with 0 and 0.6 more phases are left.
FIRST = 0.3
# The share of the bound that each round may use up. Later rounds see what the first ones moved.
ROUNDS = (0.5, 0.8, 0.95, 1.0)
# How often a round corrects its count of phases, and its phases for what is not linear.
TRIES = 5
CORRECTIONS = 4
# Rounds cost the cube of a tile's phases: no more than two where a layer's add up to this.
CUBES = 4e11


def nearest_thinned(
    w: Matrix, *, limit: float, ports: int, progress: Callable[[int, int], None]
) -> Sheet | None:
    """A grid for a real w with |w' - w|_F <= limit |w|_F: singular values, then phases go.

    None if that cannot be kept, as with a limit below round-off. `progress` is told how many of
    how many steps are behind.
    """
    allowed = (limit * float(np.linalg.norm(w))) ** 2
    cut, _ = truncated_tiles(w, allowed=FIRST * allowed, ports=ports)
    (start,) = sheets(cut, rank=min(w.shape), ports=ports, direct=True)

    def kept(sheet: Sheet) -> bool:
        return bool(np.linalg.norm(sheet_matrix(sheet, w.dtype) - w) ** 2 <= allowed)

    if large([[start]]):
        plain = (np.eye(w.shape[0]), np.eye(w.shape[1]))
        (layer,) = thinned_together(
            [(start,)], [[plain]], [1.0], most=0, good=lambda f: kept(f[0][0]), tell=progress
        )
        found = layer[0]
    else:
        found = thinned_within(start, w, allowed=allowed, done=progress)
    return found if kept(found) else None


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A tile on its way, and what its further phases would have cost, in rising order."""

    way: Thinned
    costs: Real


def thinned_within(
    sheet: Sheet, w: Matrix, *, allowed: float, done: Callable[[int, int], None]
) -> Sheet:
    """The sheet, its tiles thinned, with |sheet - w|_F^2 <= allowed if it is there already.

    `w` (rows, columns) real. `done` is told how many of how many steps are behind.
    """
    starts = [real_tile(tile) for tile in sheet.tiles]
    if any(start is None for start in starts) or not starts:
        return sheet
    offers: list[Offer] = []
    metrics = []
    for tile, start in zip(sheet.tiles, starts, strict=True):
        assert start is not None
        target = np.asarray(w[np.ix_(tile.outputs, tile.inputs)], np.float64)
        metric = Metric(target, np.eye(target.shape[0]), np.eye(target.shape[1]))
        metrics.append(metric)
        way = Thinned(start, start.theta != 0.0, metric.error(start.matrix))
        offers.append(Offer(way, np.zeros(0)))
    # What no tile covers is an error that stays.
    covered = sum(float((metric.target**2).sum()) for metric in metrics)
    # Round-off of drawing the tiles stays inside.
    allowed = (1 - 1e-9) * allowed - max(float((w**2).sum()) - covered, 0.0)
    rounds = _rounds(offers)
    for at, share in enumerate(rounds):
        limits = allowances(offers, allowed * share)
        for i, (metric, limit) in enumerate(zip(metrics, limits, strict=True)):
            offers[i] = round_of(offers[i].way, metric, limit)
            done(at * len(offers) + i + 1, len(rounds) * len(offers))
    return replace(
        sheet,
        tiles=tuple(
            settled_tile(offer.way.tile, tile.outputs, tile.inputs)
            for offer, tile in zip(offers, sheet.tiles, strict=True)
        ),
    )


def _rounds(offers: Sequence[Offer]) -> tuple[float, ...]:
    cubes = sum(float(offer.way.phases) ** 3 for offer in offers)
    return ROUNDS if cubes * len(ROUNDS) <= CUBES else (ROUNDS[1], ROUNDS[-1])


def allowances(offers: Sequence[Offer], allowed: float) -> list[float]:
    """What error each tile may have: what it has, and a share of what is left of `allowed`.

    Shares follow the tiles' `costs`: everything up to one price, the same for all. Tiles that
    have not been asked yet share by their phases.
    """
    left = max(allowed - sum(offer.way.error for offer in offers), 0.0)
    if any(len(offer.costs) == 0 for offer in offers):
        shares = np.array([float(offer.way.phases) for offer in offers])
    else:
        every = np.sort(np.concatenate([offer.costs for offer in offers]))
        count = int(np.searchsorted(np.cumsum(every), left))
        price = every[max(count - 1, 0)]
        affordable = [
            offer.costs[(offer.costs <= price) & (offer.costs < np.inf)] for offer in offers
        ]
        shares = np.array([float(costs.sum()) for costs in affordable])
    total = float(shares.sum())
    shares = shares / total if total > 0 else np.full(len(offers), 1 / len(offers))
    return [offer.way.error + left * float(x) for offer, x in zip(offers, shares, strict=True)]


def round_of(here: Thinned, metric: Metric, limit: float) -> Offer:
    """One round of the surgeon: as many thetas as go with an error of no more than `limit`."""
    count = int(np.count_nonzero(here.alive))
    if count == 0:
        return Offer(here, np.full(1, np.inf))
    free, inverse, newton = linearised(here, metric)
    theta = here.tile.theta[free[:count]]
    missing = goals(theta) - theta - newton[:count]
    score = missing**2 / np.diag(inverse)[:count]
    order = np.argsort(score, kind="stable")
    order = order[: max(int(np.searchsorted(score[order], limit)), 1)]
    try:
        factor = np.linalg.cholesky(inverse[np.ix_(order, order)].astype(float))
    except LinAlgError:
        return Offer(here, score[order])
    # The linear error of taking the first k is the sum of the first k of these.
    costs = solve_triangular(factor, missing[order], lower=True) ** 2
    surgeon = _Surgeon(here, metric, free, inverse, newton, order, factor)
    guess = int(np.searchsorted(here.error + np.cumsum(costs), limit))
    best, taken = here, 0
    low, high = 0, len(order) + 1
    for _ in range(TRIES):
        guess = min(max(guess, low + 1), high - 1)
        if guess <= low:
            break
        cut = surgeon.without(guess, limit)
        if cut.error <= limit:
            best, taken, low = cut, guess, guess
        else:
            high = guess
        guess = (low + high) // 2 if high <= len(order) else int(low * 1.2) + 1
    return Offer(best, np.append(costs[taken:], np.inf))


@dataclass(frozen=True, slots=True, eq=False)
class _Surgeon:
    """What `linearised` says of a tile, and the order in which its thetas go."""

    here: Thinned
    metric: Metric
    free: npt.NDArray[np.intp]
    inverse: npt.NDArray[Any]
    newton: Real
    order: npt.NDArray[np.intp]
    factor: Real

    def without(self, count: int, limit: float) -> Thinned:
        """The tile without the first thetas; corrected until it keeps `limit` or gets no better."""
        gone, factor = self.order[:count], self.factor[:count, :count]
        rows = self.inverse[gone]
        alive = self.here.alive.copy()
        alive[self.free[gone]] = False
        thetas = int(np.count_nonzero(self.here.alive))
        goal = goals(self.here.tile.theta[self.free[gone]])

        def moved(tile: RealTile, step: Real) -> Thinned:
            now = tile.theta[self.free[gone]]
            pull = solved(factor, goal - now - step[gone])
            step = step + pull.astype(rows.dtype) @ rows
            theta = tile.theta
            theta[self.free[:thetas]] += step[:thetas]
            theta[self.free[gone]] = goal
            new = tile.moved(theta, tile.s + step[thetas:])
            return Thinned(new, alive, self.metric.error(new.matrix))

        best = moved(self.here.tile, self.newton)
        for _ in range(CORRECTIONS):
            left, right = (part[self.free] for part in slopes(best.tile))
            slope = gradient(left, right, self.metric.weighted(best.tile.matrix))
            new = moved(best.tile, -(self.inverse @ slope.astype(self.inverse.dtype)))
            if new.error >= best.error:
                break
            better = new.error < 0.98 * best.error
            best = new
            if not better:
                break
        return best

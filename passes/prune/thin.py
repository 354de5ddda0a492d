"""Thinning one tile: thetas are removed, the others make up for it.

Optimal brain surgeon on phases (Hassibi and Stork 1993; the photonic form follows the compressed
optimal brain compression of arXiv 2208.11580): the metric is that of the layer's outputs, the
target of a theta the nearer of 0 (a crossing) and +-pi (two guides), a block goes at a time,
and Levenberg-Marquardt steps settle what the linear model did not foresee.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError

from onnx2mzi.passes.prune.symmetric import cholesky, inverted, solved
from onnx2mzi.passes.prune.thetas import RealTile, felt, gradient, hessian, slopes
from onnx2mzi.physics.arrays import Real

Mask = npt.NDArray[np.bool_]

# Share of the thetas that goes in one round.
BLOCK = 0.25
# Damping of the surgeon's matrix, as a share of its mean diagonal: keeps steps where they are
# nearly linear.
DAMPING = 1e-3
STEPS = 3
# How often the surgeon's matrix is used again for what is not linear, and the share of the error
# that has to be gained to go on.
CORRECTIONS = 3
SMALL_GAIN = 0.02
QUIET = 2e-2
PATIENCE = 2
# A tile with fewer thetas than this share of what it had is not thinned any more.
FEWEST = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class Thinned:
    """A tile on its way: `alive` thetas (K,) are heaters, the others exactly 0 or +-pi.

    `error` is tr(P D C D^T) with D what the matrix moved.
    """

    tile: RealTile
    alive: Mask
    error: float

    @property
    def phases(self) -> int:
        """Heaters that are left: thetas, and amplitudes but for the gain."""
        return int(np.count_nonzero(self.alive)) + len(self.tile.s) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """What an error D = W - target of a tile costs: tr(P D C D^T), P (m, m) and C (n, n).

    Heaters that are left err by `noise_rad`: one that goes takes that error with it.
    """

    target: Real
    p: Real
    c: Real
    noise_rad: float = 0.0

    def weighted(self, matrix: Real) -> Real:
        """P (matrix - target) C."""
        return np.asarray(self.p @ (matrix - self.target) @ self.c)

    def error(self, matrix: Real) -> float:
        """tr(P D C D^T)."""
        return float(((matrix - self.target) * self.weighted(matrix)).sum())


def thinned(tile: RealTile, metric: Metric, *, rate: float) -> list[Thinned]:
    """Ever thinner versions of the tile, the first the tile itself.

    Ends when phases + rate * error has not become better for `PATIENCE` rounds. Errors that
    are worth less than the share `QUIET` of the phases are not settled.
    """
    alive = tile.theta != 0.0
    here = Thinned(tile, alive, metric.error(tile.matrix))
    path = [here]
    damping = DAMPING
    worst = 0
    while worst < PATIENCE and np.count_nonzero(here.alive) > FEWEST * len(alive):
        cut = _without_block(here, metric)
        if rate * cut.error > QUIET * cut.phases:
            cut, damping = settled(cut, metric, steps=STEPS, damping=damping)
        here = cut
        costs = [way.phases + rate * way.error for way in path]
        worst = 0 if here.phases + rate * here.error < min(costs) else worst + 1
        path.append(here)
    return path


def goals(theta: Real) -> Real:
    """Where thetas go that are removed: the nearer of a crossing and two guides."""
    return np.where(np.abs(theta) < np.pi / 2, 0.0, np.copysign(np.pi, theta))


def linearised(
    here: Thinned, metric: Metric
) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any], Real]:
    """(free, inverse, newton): the parameters that are free, thetas first, the inverse of their
    damped Gauss-Newton matrix, and the step to the least error of the linear model."""
    free = np.concatenate([np.flatnonzero(here.alive), _amplitudes(here)])
    left, right = (part[free] for part in slopes(here.tile))
    inverse = damped_inverse(hessian(left, right, metric.p, metric.c))
    slope = gradient(left, right, metric.weighted(here.tile.matrix))
    return free, inverse, -(inverse @ slope.astype(inverse.dtype)).astype(float)


def _without_block(here: Thinned, metric: Metric) -> Thinned:
    """One round of the surgeon: the cheapest `BLOCK` of the thetas goes."""
    free, inverse, newton = linearised(here, metric)
    theta = here.tile.theta
    count = int(np.count_nonzero(here.alive))
    now = theta[free[:count]]
    goal = goals(now)
    missing = goal - now - newton[:count]
    score = missing**2 / np.diag(inverse)[:count]
    if metric.noise_rad > 0:
        left, right = (part[free[:count]] for part in slopes(here.tile))
        score -= metric.noise_rad**2 * felt(left, right, metric.p, metric.c)
    block = np.argsort(score, kind="stable")[: max(1, int(count * BLOCK))]
    rows = inverse[block]
    square = rows[:, block].astype(float)
    alive = here.alive.copy()
    alive[free[block]] = False

    def moved(tile: RealTile, step: Real) -> Thinned:
        theta = tile.theta
        pull = np.linalg.solve(square, goal[block] - theta[free[block]] - step[block])
        step = step + pull.astype(rows.dtype) @ rows
        theta[free[:count]] += step[:count]
        theta[free[block]] = goal[block]
        new = tile.moved(theta, tile.s + step[count:])
        return Thinned(new, alive, metric.error(new.matrix))

    best = moved(here.tile, newton)
    for _ in range(CORRECTIONS):
        left, right = (part[free] for part in slopes(best.tile))
        slope = gradient(left, right, metric.weighted(best.tile.matrix))
        new = moved(best.tile, -(inverse @ slope.astype(inverse.dtype)).astype(float))
        if new.error >= best.error:
            break
        gain = best.error - new.error
        best = new
        if gain < SMALL_GAIN * new.error:
            break
    return best


def _amplitudes(here: Thinned) -> npt.NDArray[np.intp]:
    count = len(here.alive)
    return np.arange(count, count + len(here.tile.s))


def damped_inverse(h: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Inverse of the damped h; damped more if single precision cannot tell it from singular."""
    scale, damping = float(np.trace(h)) / len(h) + np.finfo(np.float32).tiny, DAMPING
    while True:
        try:
            return inverted(cholesky(h, float(damping * scale)))
        except LinAlgError:
            damping *= 10


def settled(
    here: Thinned, metric: Metric, *, steps: int, damping: float, least: float = SMALL_GAIN
) -> tuple[Thinned, float]:
    """At most `steps` Levenberg-Marquardt steps on what is alive, and the damping they ended with.

    Stops when a step gains less than the share `least`.
    """
    for _ in range(steps):
        free = np.concatenate([np.flatnonzero(here.alive), _amplitudes(here)])
        left, right = (part[free] for part in slopes(here.tile))
        slope = gradient(left, right, metric.weighted(here.tile.matrix))
        h = hessian(left, right, metric.p, metric.c)
        there, damping = _step(here, metric, free, slope, h, damping)
        if there is None:
            break
        gain = here.error - there.error
        small = gain < least * here.error
        here = there
        if small:
            break
    return here, damping


def _step(
    here: Thinned,
    metric: Metric,
    free: npt.NDArray[np.intp],
    slope: Real,
    h: npt.NDArray[Any],
    damping: float,
) -> tuple[Thinned | None, float]:
    scale = float(np.trace(h)) / len(h) + np.finfo(np.float32).tiny
    count = int(np.count_nonzero(here.alive))
    for _ in range(4):
        try:
            factor = cholesky(h, float(damping * scale))
        except LinAlgError:
            damping *= 6
            continue
        step = -solved(factor, slope).astype(float)
        theta = here.tile.theta
        theta[free[:count]] += step[:count]
        tile = here.tile.moved(theta, here.tile.s + step[count:])
        error = metric.error(tile.matrix)
        if error < here.error:
            return Thinned(tile, here.alive, error), min(max(damping / 5, 1e-6), 1e-1)
        damping *= 6
    return None, min(damping, 1e-1)

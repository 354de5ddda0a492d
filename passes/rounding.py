"""Rounding one real tile phase by phase, the phases still free making up for it.

Optimal brain quantization (Frantar and Alistarh, arXiv 2208.11580, section 5) on the phases of
a mesh: the metric is that of the tile's outputs, H = J^T J its Gauss-Newton matrix; rounding
parameter p by d moves the others by d H^-1[:, p] / H^-1[p, p], and p leaves H^-1. Meshes are not
linear, so H is made anew after every block.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from onnx2mzi.passes.prune.symmetric import cholesky, inverted
from onnx2mzi.passes.prune.thetas import RealTile, gradient, hessian, slopes
from onnx2mzi.passes.prune.thin import Metric
from onnx2mzi.physics.arrays import Real

# Share of the thetas that is rounded between two linearisations.
BLOCK = 0.125
# Of the mean diagonal of H: parameters that hardly matter do not wander off.
DAMPING = 1e-3

Levels = Callable[[Real], Real]
Mask = npt.NDArray[np.bool_]


def rounded_thetas(
    tile: RealTile, metric: Metric, nearest: Levels, *, ways: Real | None = None
) -> RealTile:
    """The tile with every non-zero theta on a level, amplitudes making up for it.

    `nearest` moves phases to their nearest levels. Thetas that are 0 stay. Amplitudes move along
    the columns of `ways`, shape (r, q) (default: each on its own).
    """
    ways = np.eye(len(tile.s)) if ways is None else ways
    free = tile.theta != 0.0
    while np.any(free):
        thetas = np.flatnonzero(free)
        count = len(thetas)
        everything = np.concatenate([thetas, len(free) + np.arange(len(tile.s))])
        left, right = (part[everything] for part in slopes(tile))
        inverse = _inverse(_along(hessian(left, right, metric.p, metric.c), ways))
        slope = gradient(left, right, metric.weighted(tile.matrix))
        newton = -inverse @ np.concatenate([slope[:count], ways.T @ slope[count:]])
        at = np.concatenate([tile.theta[thetas], np.zeros(ways.shape[1])]) + newton
        score = (nearest(at[:count]) - at[:count]) ** 2 / np.diag(inverse)[:count]
        block = np.argsort(score, kind="stable")[: max(1, round(len(free) * BLOCK))]
        at = _rounded_one_by_one(at, inverse, block, nearest)
        theta = tile.theta
        theta[thetas] = at[:count]
        tile = tile.moved(theta, tile.s + ways @ at[count:])
        free[thetas[block]] = False
    return tile


def rounded_amplitudes(tile: RealTile, metric: Metric, nearest: Levels, active: Mask) -> Real:
    """Amplitudes (r,), those `active` on levels: linear, so that one linearisation is exact.

    `nearest` moves amplitudes to the nearest that attenuators make; thetas and the others stay.
    """
    chosen = np.flatnonzero(active)
    if not len(chosen):
        return tile.s
    left, right = (part[len(tile.theta) + chosen] for part in slopes(tile))
    inverse = _inverse(hessian(left, right, metric.p, metric.c))
    newton = -inverse @ gradient(left, right, metric.weighted(tile.matrix))
    order = np.argsort(-np.abs(tile.s[chosen]), kind="stable")
    s = np.array(tile.s)
    s[chosen] = _rounded_one_by_one(s[chosen] + newton, inverse, order, nearest)
    return s


def _rounded_one_by_one(at: Real, inverse: Real, order: np.ndarray, nearest: Levels) -> Real:
    """`at` with the entries `order` on levels, in that order, the others made up for."""
    within = inverse[np.ix_(order, order)]
    left, now = within.copy(), at[order]
    for k in range(len(order)):
        level = float(nearest(now[k : k + 1])[0])
        row = left[k] / left[k, k]
        now += (level - now[k]) * row
        now[k] = level
        left -= np.outer(left[:, k], row)
        # Round-off must not bring k back.
        left[k] = left[:, k] = 0.0
    # The steps one by one move the rest as one step to where they ended does.
    moved = at + inverse[:, order] @ np.linalg.solve(within, now - at[order])
    moved[order] = now
    return np.asarray(moved)


def _along(lower: npt.NDArray[Any], ways: Real) -> Real:
    """H, of which the lower triangle is given, for amplitudes, its last rows, along `ways`."""
    h = np.tril(lower).astype(np.float64)
    h += np.tril(h, -1).T
    cut = len(h) - len(ways)
    mixed = h[:cut, cut:] @ ways
    return np.block([[h[:cut, :cut], mixed], [mixed.T, ways.T @ h[cut:, cut:] @ ways]])


def _inverse(lower: npt.NDArray[Any]) -> Real:
    """Inverse of the damped H, of which the lower triangle is given."""
    h = lower.astype(np.float64)
    added = DAMPING * float(np.trace(h)) / max(len(h), 1) + np.finfo(float).tiny
    return np.asarray(inverted(cholesky(h, added)))

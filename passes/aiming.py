"""Thetas of one real tile moved until it is near to what was asked for, its amplitudes as they are.

Steps of Levenberg and Marquardt in the metric of the tile's outputs. Fixed couplers in the place
of attenuators leave an error that these inputs hardly see once the meshes turn with them.
"""

import numpy as np
from scipy.linalg import LinAlgError

from onnx2mzi.passes.prune.symmetric import cholesky, solved
from onnx2mzi.passes.prune.thetas import RealTile, gradient, hessian, slopes
from onnx2mzi.passes.prune.thin import Metric
from onnx2mzi.physics.arrays import Real

STEPS = 10
# Of the mean diagonal; a step that fails takes more, one that succeeds less.
DAMPING, MORE, LESS, TRIES = 1e-3, 6.0, 5.0, 5
# A step that gains less than this share of the error is the last.
SMALL_GAIN = 0.02


def aimed(tile: RealTile, metric: Metric, *, most: float) -> RealTile:
    """The tile with the least error found whose matrix is no farther than `most` (Frobenius) from
    the metric's target. Thetas that are 0 stay."""
    free = np.flatnonzero(tile.theta)
    here, damping = metric.error(tile.matrix), DAMPING
    for _ in range(STEPS if len(free) else 0):
        left, right = (part[free] for part in slopes(tile))
        h = hessian(left, right, metric.p, metric.c)
        slope = gradient(left, right, metric.weighted(tile.matrix))
        scale = float(np.trace(h)) / len(h) + float(np.finfo(np.float32).tiny)
        for _ in range(TRIES):
            there = _moved(tile, free, h, slope, damping * scale)
            error = np.inf if there is None else metric.error(there.matrix)
            if there is not None and error < here and _off(there, metric) <= most:
                break
            damping *= MORE
        else:
            return tile
        damping /= LESS
        tile, before, here = there, here, error
        if before - here < SMALL_GAIN * before:
            break
    return tile


def _moved(tile: RealTile, free: np.ndarray, h: Real, slope: Real, added: float) -> RealTile | None:
    try:
        step = -solved(cholesky(h, float(added)), slope).astype(float)
    except LinAlgError:
        return None
    theta = tile.theta
    theta[free] += step
    return tile.moved(theta, tile.s)


def _off(tile: RealTile, metric: Metric) -> float:
    return float(np.linalg.norm(tile.matrix - metric.target))

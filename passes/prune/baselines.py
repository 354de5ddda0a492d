"""What everybody tries first, for comparison: no data, no compensation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnx2mzi.kernels import BalancedMesh, build
from onnx2mzi.passes.drawing import BalancedTile
from onnx2mzi.passes.prune.cost import cuts
from onnx2mzi.physics.arrays import Matrix, Real


def without_small_singular_values(
    weights: Sequence[Matrix], share: float, ports: int
) -> list[Matrix]:
    """Every tile without its singular values below the `share` quantile of all of them."""
    values = [
        np.linalg.svd(w[top, left], full_matrices=False)[1]
        for w in weights
        for top in cuts(w.shape[0], ports)
        for left in cuts(w.shape[1], ports)
    ]
    threshold = float(np.quantile(np.concatenate(values), share))
    out = []
    for w in weights:
        cut = np.zeros_like(w)
        for top in cuts(w.shape[0], ports):
            for left in cuts(w.shape[1], ports):
                u, s, vh = np.linalg.svd(w[top, left], full_matrices=False)
                s = np.where(s < threshold, 0.0, s)
                cut[top, left] = (u * s) @ vh
        out.append(cut)
    return out


def theta_threshold(tiles: Sequence[BalancedTile], share: float) -> float:
    """The |theta| below which `share` of all thetas of the meshes lie, in rad."""
    thetas = [np.abs(mesh.theta) for tile in tiles for mesh in (tile.u, tile.v)]
    return float(np.quantile(np.concatenate([*thetas, np.zeros(1)]), share))


def without_small_thetas(tile: BalancedTile, threshold_rad: float) -> BalancedTile:
    """The tile with |theta| < threshold set to 0 (a crossing), nothing else changed."""
    return replace(tile, u=_cut(tile.u, threshold_rad), v=_cut(tile.v, threshold_rad))


def _cut(mesh: BalancedMesh, threshold_rad: float) -> BalancedMesh:
    theta: Real = np.where(np.abs(mesh.theta) < threshold_rad, 0.0, mesh.theta)
    return replace(mesh, theta=theta)


def balanced_matrix(tile: BalancedTile) -> Matrix:
    """gain U[:, :r] diag(amplitude) V[:r], shape (m, n)."""
    r = len(tile.amplitude)
    return np.asarray(tile.gain * (build(tile.u)[:, :r] * tile.amplitude) @ build(tile.v)[:r])

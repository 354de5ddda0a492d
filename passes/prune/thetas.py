"""Derivatives of a real tile's matrix by the thetas of its meshes and by its amplitudes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import BalancedMesh, backward_taps, build, forward_taps
from onnx2mzi.passes.prune.symmetric import without_dust
from onnx2mzi.physics.arrays import Real

LARGE = 500
# Rows of the matrix that are worked out at a time.
ROWS = 256


@dataclass(frozen=True, slots=True)
class RealTile:
    """matrix = U[:, :r] diag(s) V[:r] with real meshes; s, shape (r,), of any sign and size."""

    u: BalancedMesh
    s: Real
    v: BalancedMesh

    @property
    def theta(self) -> Real:
        """Thetas of v, then of u."""
        return np.concatenate([self.v.theta, self.u.theta])

    @property
    def matrix(self) -> Real:
        """Shape (m, n)."""
        r = len(self.s)
        return np.asarray((build(self.u).real[:, :r] * self.s) @ build(self.v).real[:r])

    def moved(self, theta: Real, s: Real) -> "RealTile":
        """The tile with other thetas (as in `theta`) and amplitudes."""
        cut = self.v.count
        return RealTile(_with_theta(self.u, theta[cut:]), s, _with_theta(self.v, theta[:cut]))


def _with_theta(mesh: BalancedMesh, theta: Real) -> BalancedMesh:
    return BalancedMesh.trusted(
        mesh.ports, mesh.column, mesh.port, np.array(theta), mesh.phi, mesh.out
    )


def slopes(tile: RealTile) -> tuple[Real, Real]:
    """(left, right), shapes (K + r, 2, m) and (K + r, 2, n): dW/dp = left[p].T @ right[p].

    p runs over the thetas (see `RealTile.theta`), then the amplitudes.
    """
    r = len(tile.s)
    u, v = build(tile.u).real[:, :r], build(tile.v).real[:r]
    behind_v = np.zeros((tile.v.ports, len(u)))
    behind_v[:r] = (u * tile.s).T
    before_u = np.zeros((tile.u.ports, v.shape[1]))
    before_u[:r] = tile.s[:, None] * v
    left_s, right_s = np.zeros((r, 2, len(u))), np.zeros((r, 2, v.shape[1]))
    left_s[:, 0], right_s[:, 0] = u.T, v
    left = [
        backward_taps(tile.v, behind_v).real,
        backward_taps(tile.u, np.eye(tile.u.ports)).real,
        left_s,
    ]
    right = [
        _turned(tile.v, forward_taps(tile.v, np.eye(tile.v.ports)).real),
        _turned(tile.u, forward_taps(tile.u, before_u).real),
        right_s,
    ]
    return np.concatenate(left), np.concatenate(right)


def _turned(mesh: BalancedMesh, fields: Real) -> Real:
    """(dM/dtheta) applied to the fields before every MZI."""
    s, c = np.sin(mesh.theta / 2) / 2, np.cos(mesh.theta / 2) / 2
    turn = np.stack([np.stack([c, -s], -1), np.stack([-s, -c], -1)], -2)
    return np.asarray(turn @ fields)


def gradient(left: Real, right: Real, weighted: Real) -> Real:
    """Half the slope of tr(P D C D^T) by every parameter, with `weighted` = P D C (m, n)."""
    return np.asarray(((left @ weighted) * right).sum((1, 2)))


def felt(left: npt.NDArray[Any], right: npt.NDArray[Any], p: Real, c: Real) -> Real:
    """The diagonal of `hessian`: squared error by a rad of each parameter alone."""
    a = (left @ p) @ left.transpose(0, 2, 1)
    b = (right @ c) @ right.transpose(0, 2, 1)
    return np.asarray((a * b).sum((1, 2)))


def _met(fields: npt.NDArray[Any], metric: Real) -> tuple[npt.NDArray[Any], Real]:
    """The guides (last axis) on which any of the fields is, and the metric between them."""
    met = np.abs(fields).max(axis=(0, 1), initial=0.0) > 0.0
    if met.all():
        return fields, metric
    return fields[:, :, met], metric[np.ix_(met, met)]


def hessian(left: npt.NDArray[Any], right: npt.NDArray[Any], p: Real, c: Real) -> npt.NDArray[Any]:
    """Gauss-Newton matrix of tr(P D C D^T) / 2: H_pq = tr(P dW_p C dW_q^T), lower triangle.

    In single precision above `LARGE` parameters: it only steers. What is above the diagonal is
    void.
    """
    dtype = np.float32 if len(left) > LARGE else np.float64
    # In large meshes a parameter meets few guides; where none of them does nothing adds up.
    left, p = _met(left, p)
    right, c = _met(right, c)
    left, right, lp, rc = (
        without_dust(x.astype(dtype), float(np.abs(x).max(initial=0.0)))
        for x in (left, right, left @ p, right @ c)
    )
    out = np.zeros((len(left), len(left)), dtype)
    scale = float(np.abs(lp).max(initial=0.0) * np.abs(rc).max(initial=0.0))
    for top in range(0, len(left), ROWS):
        rows = slice(top, top + ROWS)
        until = slice(0, top + ROWS)
        block = out[rows, until]
        for i in (0, 1):
            for j in (0, 1):
                block += (lp[rows, i] @ left[until, j].T) * (rc[rows, i] @ right[until, j].T)
        without_dust(block, scale)
    return out

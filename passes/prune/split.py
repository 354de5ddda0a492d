"""From a matrix of known rank to the grids of mesh tiles that hold it with the fewest phases."""

import numpy as np
from scipy.linalg import qr

from onnx2mzi.ir import Tile, TileGrid
from onnx2mzi.kernels import BalancedMesh, decompose_columns, decompose_rows
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, drawn_tile
from onnx2mzi.passes.prune.cost import cuts, split_pays
from onnx2mzi.passes.prune.moments import Positions, dagger
from onnx2mzi.physics.arrays import Matrix

# Phases and singular values below this share of the largest are round-off.
ROUND_OFF = 1e-12


def grids(matrix: Matrix, *, rank: int, ports: int, rules: DrawingRules) -> tuple[TileGrid, ...]:
    """One grid, or two in sequence if that is cheaper, for a matrix (m, n) of `rank`.

    Rows and columns of zeros stay dark.
    """
    rows = np.flatnonzero(np.abs(matrix).max(axis=1, initial=0.0))
    columns = np.flatnonzero(np.abs(matrix).max(axis=0, initial=0.0))
    m, n = matrix.shape
    w = matrix[np.ix_(rows, columns)]
    if split_pays(len(rows), len(columns), rank, ports):
        a, b, first = gauged(w, rank=rank, ports=ports)
        middle = np.arange(rank)
        second = [bare_tile(rows[first], middle, a[first], rules)]
        rest = np.setdiff1d(np.arange(len(rows)), first)
        second += tiles(a[rest], rows[rest], middle, ports=ports, rank=rank, rules=rules)
        return (
            TileGrid(
                rank, n, tuple(tiles(b, middle, columns, ports=ports, rank=rank, rules=rules))
            ),
            TileGrid(m, rank, tuple(second)),
        )
    return (TileGrid(m, n, tuple(tiles(w, rows, columns, ports=ports, rank=rank, rules=rules))),)


def gauged(w: Matrix, *, rank: int, ports: int) -> tuple[Matrix, Matrix, Positions]:
    """w = a b, and the at most `ports` rows of a (m, rank) that are a bare isometry.

    Of all bases in between, the one in which these rows, chosen for their condition, have
    orthonormal columns, and a triangle of zeros that `decompose_columns` turns into crossings:
    rank (rows - rank) phases are left of that tile.
    """
    u, s, vh = np.linalg.svd(w, full_matrices=False)
    a, b = u[:, :rank], s[:rank, None] * vh[:rank]
    first = np.sort(qr(dagger(a), mode="r", pivoting=True)[1][: min(ports, len(a))])
    basis, _ = np.linalg.qr(a[first])
    # Row j of dagger(basis) shall be zero left of position rank - 1 - j.
    turn, _ = np.linalg.qr(dagger(basis)[:, :rank])
    basis = (basis @ turn)[:, ::-1]
    basis[_triangle(basis.shape)] = 0.0
    change = dagger(basis) @ a[first]
    a = np.linalg.solve(change.T, a.T).T
    a[first] = basis
    return a, change @ b, first


def _triangle(shape: tuple[int, ...]) -> np.ndarray:
    rows, rank = np.indices(shape)
    return np.asarray(rows < shape[1] - 1 - rank)


def tiles(
    w: Matrix, outputs: Positions, inputs: Positions, *, ports: int, rank: int, rules: DrawingRules
) -> list[Tile]:
    """Mesh tiles of w (m, n) on the given guides, each in its truncated form."""
    floor = ROUND_OFF * float(np.abs(w).max(initial=0.0))
    found: list[Tile] = []
    for top in cuts(w.shape[0], ports):
        for left in cuts(w.shape[1], ports):
            u, s, vh = np.linalg.svd(w[top, left], full_matrices=False)
            r = min(rank, int(np.count_nonzero(s > floor)))
            if r:
                tile = isometries(outputs[top], inputs[left], u[:, :r], s[:r], vh[:r])
                found.append(drawn_tile(tile, rules))
    return found


def isometries(
    outputs: Positions, inputs: Positions, u: Matrix, s: np.ndarray, vh: Matrix
) -> BalancedTile:
    """The tile u diag(s) vh, shapes (m, r), (r,), (r, n), s descending and positive."""
    return BalancedTile(
        outputs=outputs.astype(np.int32),
        inputs=inputs.astype(np.int32),
        u=decompose_columns(u),
        amplitude=s / s[0],
        v=decompose_rows(vh),
        gain=float(s[0]),
    )


def bare_tile(outputs: Positions, inputs: Positions, u: Matrix, rules: DrawingRules) -> Tile:
    """The tile of an isometry u (m, r): no attenuators, and plain guides before it."""
    mesh = decompose_columns(u)
    theta = np.where(np.abs(mesh.theta) < ROUND_OFF, 0.0, mesh.theta)
    r = u.shape[1]
    nothing = np.zeros(0)
    return drawn_tile(
        BalancedTile(
            outputs=outputs.astype(np.int32),
            inputs=inputs.astype(np.int32),
            u=BalancedMesh(
                ports=mesh.ports,
                column=mesh.column,
                port=mesh.port,
                theta=theta,
                phi=mesh.phi,
                out=mesh.out,
            ),
            amplitude=np.ones(r),
            v=BalancedMesh(
                ports=r, column=nothing, port=nothing, theta=nothing, phi=nothing, out=np.zeros(r)
            ),
            gain=1.0,
        ),
        rules,
    )

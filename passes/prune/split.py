"""From a matrix of known rank to the grids of tiles that hold it with the fewest phases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import qr

from onnx2mzi.ir import TileGrid
from onnx2mzi.kernels import BalancedMesh, decompose_columns, decompose_rows
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, drawn_tile
from onnx2mzi.passes.prune.cost import cuts, split_pays
from onnx2mzi.passes.prune.moments import Positions, dagger
from onnx2mzi.passes.prune.neighbours import grouped
from onnx2mzi.physics.arrays import Matrix, Real

# Phases and singular values below this share of the largest are round-off.
ROUND_OFF = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A grid of tiles in the balanced gauge; `TileGrid` once it is drawn."""

    rows: int
    columns: int
    tiles: tuple[BalancedTile, ...]

    def drawn(self, rules: DrawingRules) -> TileGrid:
        """The grid as it is built."""
        return TileGrid(
            self.rows, self.columns, tuple(drawn_tile(tile, rules) for tile in self.tiles)
        )


def sheets(
    matrix: Matrix,
    *,
    rank: int,
    ports: int,
    moment: Matrix | None = None,
    direct: bool = False,
) -> tuple[Sheet, ...]:
    """One grid, or two in sequence if that is cheaper, for a matrix (m, n) of `rank`.

    Rows and columns of zeros stay dark. With the `moment` (n, n) of the inputs those that vary
    together share tiles. `direct` forbids two grids.
    """
    rows = np.flatnonzero(np.abs(matrix).max(axis=1, initial=0.0))
    columns = np.flatnonzero(np.abs(matrix).max(axis=0, initial=0.0))
    if moment is not None:
        columns = grouped(moment, columns, ports)
    m, n = matrix.shape
    w = matrix[np.ix_(rows, columns)]
    if direct or not split_pays(len(rows), len(columns), rank, ports):
        return (Sheet(m, n, tuple(tiles(w, rows, columns, ports=ports, rank=rank))),)
    a, b, first = gauged(w, rank=rank, ports=ports)
    middle = np.arange(rank)
    rest = np.setdiff1d(np.arange(len(rows)), first)
    return (
        Sheet(rank, n, tuple(tiles(b, middle, columns, ports=ports, rank=rank))),
        Sheet(
            m,
            rank,
            (
                bare_tile(rows[first], middle, a[first]),
                *tiles(a[rest], rows[rest], middle, ports=ports, rank=rank),
            ),
        ),
    )


def sheets_phases(layers: Sequence[Sequence[Sheet]]) -> int:
    """Phases of all sheets of all layers: thetas and amplitudes that are no crossing, no gain;
    a phi counts where it is not 0."""
    total = 0
    for tile in (tile for layer in layers for sheet in layer for tile in sheet.tiles):
        for mesh in (tile.u, tile.v):
            total += int(np.count_nonzero(mesh.theta)) + int(np.count_nonzero(mesh.phi))
        total += int(np.count_nonzero(tile.amplitude != 1.0))
    return total


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
    w: Matrix, outputs: Positions, inputs: Positions, *, ports: int, rank: int
) -> list[BalancedTile]:
    """Tiles of w (m, n) on the given guides, each in its truncated form."""
    floor = ROUND_OFF * float(np.abs(w).max(initial=0.0))
    found = []
    for top in cuts(w.shape[0], ports):
        for left in cuts(w.shape[1], ports):
            u, s, vh = np.linalg.svd(w[top, left], full_matrices=False)
            r = min(rank, int(np.count_nonzero(s > floor)))
            if r:
                found.append(isometries(outputs[top], inputs[left], u[:, :r], s[:r], vh[:r]))
    return found


def isometries(
    outputs: Positions, inputs: Positions, u: Matrix, s: Real, vh: Matrix
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


def bare_tile(outputs: Positions, inputs: Positions, u: Matrix) -> BalancedTile:
    """The tile of an isometry u (m, r): no attenuators, and plain guides before it."""
    mesh = decompose_columns(u)
    r = u.shape[1]
    nowhere = np.zeros(0, np.int32)
    return BalancedTile(
        outputs=outputs.astype(np.int32),
        inputs=inputs.astype(np.int32),
        u=replace(mesh, theta=np.where(np.abs(mesh.theta) < ROUND_OFF, 0.0, mesh.theta)),
        amplitude=np.ones(r),
        v=BalancedMesh(
            ports=r,
            column=nowhere,
            port=nowhere,
            theta=np.zeros(0),
            phi=np.zeros(0),
            out=np.zeros(r),
        ),
        gain=1.0,
    )

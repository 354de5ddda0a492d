"""Networks with fewer guides or fewer channels: new meshes for what is left of the matrices."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from onnx2mzi.kernels import decompose_columns, decompose_rows
from onnx2mzi.physics.arrays import Flags, Matrix
from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.tiles import GridStart, LayerStart, TileModel, TileStart

# Singular values below this share of a tile's largest are none.
NOTHING = 1e-9


def tile_matrices(network: PhaseNetwork) -> dict[str, list[list[Matrix]]]:
    """The matrix of every tile of every grid, by layer."""
    with torch.no_grad():
        phase = network.effective()
        return {
            name: [[network.tile_matrix(t, phase).numpy() for t in grid.tiles] for grid in grids]
            for name, grids in network.layers.items()
        }


def tile_start(tile: TileModel, matrix: Matrix, rank: int) -> TileStart | None:
    """A tile of at most `rank` for a matrix (m, n) on the guides of `tile`; None for zero. Rows
    and columns of zeros lose their guides."""
    rows = np.flatnonzero(np.abs(matrix).max(axis=1, initial=0.0))
    columns = np.flatnonzero(np.abs(matrix).max(axis=0, initial=0.0))
    if not len(rows) or not len(columns):
        return None
    u, s, vh = np.linalg.svd(matrix[np.ix_(rows, columns)], full_matrices=False)
    r = min(rank, int(np.count_nonzero(s > NOTHING * s[0])))
    return TileStart(
        outputs=tile.outputs[rows],
        inputs=tile.inputs[columns],
        u=decompose_columns(u[:, :r]),
        amplitude=s[:r] / s[0],
        v=decompose_rows(vh[:r]),
        gain=float(s[0]),
    )


def rebuilt(
    network: PhaseNetwork, matrices: Mapping[str, Sequence[Sequence[Matrix]]], rank: int = 1 << 30
) -> PhaseNetwork:
    """The network with meshes for these tile matrices (see `tile_matrices`)."""
    layers = []
    for name, grids in network.layers.items():
        found = []
        for grid, parts in zip(grids, matrices[name], strict=True):
            tiles = (tile_start(t, w, rank) for t, w in zip(grid.tiles, parts, strict=True))
            kept = tuple(tile for tile in tiles if tile is not None)
            found.append(GridStart(grid.rows, grid.columns, kept))
        layers.append(LayerStart(name, tuple(found), network.real[name]))
    return network.rebuilt(layers)


def phases_of(m: int, n: int, rank: int, *, real: bool) -> int:
    """Heaters of a tile of this shape and rank: degrees of freedom less the gain."""
    rank = min(m, n, rank)
    return (1 if real else 2) * max(rank * (m + n - rank) - 1, 0)


def masked(matrix: Matrix, rows: Flags, columns: Flags) -> Matrix:
    """The matrix with the rows and columns that are marked 0 set to zero."""
    out: Matrix = matrix * rows[:, None] * columns[None, :]
    return out

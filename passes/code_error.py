"""How far rounding can move the matrices of tiles and layers."""

import numpy as np

from onnx2mzi.emulate.transfer import grid_matrix, layer_matrix
from onnx2mzi.ir import LinearLayer, Mesh, MeshTile, TileGrid
from onnx2mzi.passes.taps import tap_error
from onnx2mzi.physics.mzi import attenuation
from onnx2mzi.physics.quantization import DriveCode
from onnx2mzi.physics.shifter import ShifterState


def worst_layer_error(layer: LinearLayer, code: DriveCode, *, taps: float = 0.0) -> float:
    """Bound of |dW|_F / |W|_F if every active phase errs by half a code, and tiles before that by
    `taps` times what amplitudes as powers of two make them err.

    A cell moves by at most half of theta's error plus phi's in the spectral norm, a column by
    its worst cell, a mesh by the sum of its columns; tiles lie on different entries, so their
    squares add. For grids A, B in sequence |d(BA)| <= |dB||A| + |B||dA| + |dB||dA|.
    """
    error, norm = 0.0, 1.0
    for grid in layer.grids:
        grid_error = _grid_error(grid, code, taps)
        real = not np.iscomplexobj(layer.weight)
        grid_norm = float(np.linalg.norm(grid_matrix(grid, real=real)))
        error = grid_error * norm + grid_norm * error + grid_error * error
        norm *= grid_norm
    whole = float(np.linalg.norm(layer_matrix(layer)))
    return error / whole if whole > 0 else 0.0


def _grid_error(grid: TileGrid, code: DriveCode, taps: float) -> float:
    tiles = [tile_error(t, code, taps=taps) for t in grid.tiles if isinstance(t, MeshTile)]
    return float(np.linalg.norm(tiles))


def tile_error(tile: MeshTile, code: DriveCode, *, taps: float = 0.0) -> float:
    """Bound of |dW|_F of one tile, as in `worst_layer_error`."""
    error_rad = code.worst_error_rad(tile.u.drive)
    norm = tile.gain * float(np.linalg.norm(attenuation(theta_rad=tile.sigma.theta_rad)))
    active = np.count_nonzero(tile.sigma.state == ShifterState.ACTIVE)
    # Up to a whole gap where pi lies between two codes.
    sigma = tile.gain * error_rad * np.sqrt(active)
    meshes = (1 + _mesh_error(tile.u, error_rad)) * (1 + _mesh_error(tile.v, error_rad))
    if taps:
        # That comes first, the meshes err behind it.
        tapped = taps * tap_error(tile)
        return float(meshes * (norm + tapped) - norm)
    return float(meshes * (norm + sigma) - norm)


def _mesh_error(mesh: Mesh, error_rad: float) -> float:
    theta = mesh.theta_state == ShifterState.ACTIVE
    phi = mesh.phi_state == ShifterState.ACTIVE
    cell = error_rad * (theta / 2 + phi)
    worst = np.zeros(mesh.columns)
    np.maximum.at(worst, mesh.column, cell)
    out = error_rad if np.any(mesh.out_state == ShifterState.ACTIVE) else 0.0
    return float(worst.sum() + out)

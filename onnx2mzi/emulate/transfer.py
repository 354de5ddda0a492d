"""The matrix that a program's meshes really multiply by, phases and arms as drawn."""

import numpy as np
import numpy.typing as npt

from onnx2mzi.ir import (
    Attenuators,
    DenseTile,
    FactoredTile,
    LinearLayer,
    Mesh,
    MeshTile,
    Program,
    Tile,
    TileGrid,
)
from onnx2mzi.kernels import BalancedMesh, build
from onnx2mzi.kernels.gauge import balanced
from onnx2mzi.physics.arrays import Complex, Matrix, Real
from onnx2mzi.physics.mzi import attenuation
from onnx2mzi.physics.shifter import common_phase_rad


def balanced_mesh(
    mesh: Mesh, *, entering_rad: Real | None = None, lit: npt.NDArray[np.bool_] | None = None
) -> tuple[BalancedMesh, Real]:
    """`kernels.gauge.balanced` of a drawn mesh: its balanced form and the phase left behind."""
    return balanced(
        ports=mesh.ports,
        column=mesh.column,
        port=mesh.port,
        theta_rad=mesh.theta_rad,
        phi_rad=mesh.phi_rad,
        theta_state=mesh.theta_state,
        phi_state=mesh.phi_state,
        drive=mesh.drive,
        entering_rad=entering_rad,
        lit=lit,
    )


def attenuator_phase_rad(sigma: Attenuators) -> Real:
    """The phase that every attenuator adds, shape (r,): its coupler's, theta's and the arms'."""
    common = common_phase_rad(sigma.theta_rad, sigma.state, sigma.drive)
    return np.pi / 2 + sigma.theta_rad / 2 + common


def mesh_transfer(mesh: Mesh) -> Complex:
    """The complex transfer of a mesh, shape (ports, ports), common phases of the arms included."""
    core, after_rad = balanced_mesh(mesh)
    return np.asarray(np.exp(1j * (after_rad + mesh.out_rad))[:, None] * build(core))


def attenuator_transfer(sigma: Attenuators) -> Complex:
    """The complex amplitude of every channel, shape (r,): i e^{i theta/2} cos(theta/2) and arms."""
    return np.asarray(
        np.exp(1j * attenuator_phase_rad(sigma)) * attenuation(theta_rad=sigma.theta_rad)
    )


def tile_transfer(tile: MeshTile) -> Complex:
    """gain * diag(e^{i readout}) U diag(sigma) V, shape (m, n)."""
    channels = len(tile.sigma)
    u = mesh_transfer(tile.u)[:, :channels]
    v = mesh_transfer(tile.v)[:channels]
    light = u @ (attenuator_transfer(tile.sigma)[:, None] * v)
    return np.asarray(tile.gain * np.exp(1j * tile.readout_rad)[:, None] * light)


def tile_matrix(tile: Tile) -> Matrix:
    """What the tile adds to its outputs, shape (m, n), whatever form it has."""
    match tile:
        case DenseTile():
            return tile.weight
        case FactoredTile():
            return (tile.u * tile.s) @ tile.vh
        case MeshTile():
            return tile_transfer(tile)


def grid_matrix(grid: TileGrid, *, real: bool) -> Matrix:
    """Sum of all tiles, shape (rows, columns); only the in-phase part is detected if `real`."""
    total = np.zeros((grid.rows, grid.columns), np.complex128)
    for tile in grid.tiles:
        # A tile never names a guide twice, so indexed addition is safe.
        total[np.ix_(tile.outputs, tile.inputs)] += tile_matrix(tile)
    return np.ascontiguousarray(total.real) if real else total


def layer_matrix(layer: LinearLayer) -> Matrix:
    """The matrix that the layer computes, shape (m, n): its grids in order, or its weight."""
    if not layer.grids:
        return layer.weight
    real = not np.iscomplexobj(layer.weight)
    product = grid_matrix(layer.grids[0], real=real)
    for grid in layer.grids[1:]:
        product = grid_matrix(grid, real=real) @ product
    return product


def program_matrices(program: Program) -> dict[str, Matrix]:
    """`layer_matrix` of every layer, by name."""
    return {layer.name: layer_matrix(layer) for layer in program.layers}

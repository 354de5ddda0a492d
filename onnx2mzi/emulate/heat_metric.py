"""How much what a network computes moves with every balanced phase of a chip.

A row is a direction of the outputs (of a sample and a class, say); its entry for a phase is the
derivative of that direction by the phase. Light is followed forwards from the inputs and
backwards from the rows (kernels.gradient), so a matrix per phase is never made.
"""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.heat import BalancedTile
from onnx2mzi.emulate.heat_layout import HeatLayout
from onnx2mzi.emulate.heated import output_turn_rad, tile_errors
from onnx2mzi.emulate.transfer import grid_matrix
from onnx2mzi.ir import LinearLayer, MeshTile, Program
from onnx2mzi.kernels import BalancedMesh, backward_taps, build, forward_taps
from onnx2mzi.physics.arrays import Complex, Matrix, Real
from onnx2mzi.physics.mzi import attenuation

# Fields of so many numbers are held at a time.
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Directions of a layer's outputs: `slopes` (B, C, m), on its inputs `inputs` (n, B).

    Direction (b, c) moves by Re(slopes[b, c] . dy) where the outputs for input b move by dy.
    """

    inputs: Matrix
    slopes: Complex


def tile_rows(
    tile: BalancedTile, inputs: Matrix, slopes: Complex, *, cold: Complex | None = None
) -> Real:
    """Derivatives (phases, B, C) of Re(slopes . (tile @ inputs)) by the tile's phases.

    `inputs` (n, B), `slopes` (B, C, m), phases in the order of `tile_push_matrix`. With `cold`
    (m, n) outputs are seen through a readout that turns every one to be closest to `cold`.
    """
    if cold is None:
        return _plain_rows(tile, inputs, slopes)
    warm = tile.transfer()
    turn = np.exp(1j * output_turn_rad(warm, cold))
    m = len(warm)
    likeness = np.abs((warm * cold.conj()).sum(axis=1))
    # d turn_i = -Im(turn_i sum_j dwarm_ij cold*_ij) / likeness_i, and -Im z = Re(i z).
    towards = np.where(likeness > 1e-12, 1j * turn / np.maximum(likeness, 1e-12), 0.0)
    turning = _plain_rows(tile, cold.conj().T, np.diag(towards)[:, None, :])[:, :, 0]
    rows = _plain_rows(tile, inputs, slopes * turn)
    y = warm @ inputs
    by_turn = (slopes * (1j * turn * y.T)[:, None, :]).real.reshape(-1, m)
    rows += (turning @ by_turn.T).reshape(rows.shape)
    return rows


def _plain_rows(tile: BalancedTile, inputs: Matrix, slopes: Complex) -> Real:
    kv, ku, r = tile.v.count, tile.u.count, len(tile.sigma_rad)
    count = 2 * kv + r + 2 * ku + tile.u.ports
    samples, ways = slopes.shape[:2]
    found = np.empty((count, samples, ways))
    step = max(1, _CHUNK // (2 * max(kv, ku, 1) * max(ways, 1)))
    for start in range(0, samples, step):
        part = slice(start, start + step)
        found[:, part] = _some_rows(tile, inputs[:, part], slopes[part])
    return found


def _some_rows(tile: BalancedTile, inputs: Matrix, slopes: Complex) -> Real:
    r = len(tile.sigma_rad)
    samples, ways = slopes.shape[:2]
    turn = np.exp(1j * tile.channel_rad)
    amplitude = turn * attenuation(theta_rad=tile.sigma_rad)
    x = np.asarray(inputs, complex)
    behind_v = np.asarray(build(tile.v) @ x, complex)
    light = np.zeros((tile.u.ports, samples), complex)
    light[:r] = amplitude[:, None] * behind_v[:r]
    u = build(tile.u)
    y = u @ light
    w = np.ascontiguousarray(slopes.transpose(2, 0, 1).reshape(tile.u.ports, -1), complex)
    before_u = u.T @ w
    onward = np.zeros((tile.v.ports, w.shape[1]), complex)
    onward[:r] = amplitude[:, None] * before_u[:r]
    shape = (samples, ways)
    slope = turn * -np.sin(tile.sigma_rad / 2) / 2
    arriving = (slope[:, None] * behind_v[:r])[:, :, None]
    sigma = (before_u[:r].reshape(r, *shape) * arriving).real
    out = (w.reshape(-1, *shape) * (1j * y)[:, :, None]).real
    v_rows = _mesh_rows(tile.v, x, onward, ways)
    u_rows = _mesh_rows(tile.u, light, w, ways)
    return np.concatenate([*v_rows, sigma, *u_rows, out])


def _mesh_rows(mesh: BalancedMesh, x: Complex, w: Complex, ways: int) -> tuple[Real, Real]:
    """By theta and by phi, (K, B, C) each; w is (ports, B C)."""
    ahead = forward_taps(mesh, x)
    behind = backward_taps(mesh, w).reshape(mesh.count, 2, x.shape[1], ways)
    s, c, turn = np.sin(mesh.theta / 2), np.cos(mesh.theta / 2), np.exp(1j * mesh.phi)
    upper, lower = turn[:, None] * ahead[:, 0], ahead[:, 1]
    s, c = s[:, None], c[:, None]
    by_theta = ((c * upper - s * lower) / 2, (-s * upper - c * lower) / 2)
    by_phi = (1j * s * upper, 1j * c * upper)
    theta, phi = (
        (behind[:, 0] * up[:, :, None] + behind[:, 1] * low[:, :, None]).real
        for up, low in (by_theta, by_phi)
    )
    return theta, phi


def layer_rows(
    *,
    program: Program,
    layout: HeatLayout,
    cold: tuple[BalancedTile, ...],
    error_rad: Real,
    rows: dict[str, Rows],
    recalibrated: bool,
) -> list[tuple[slice, Real]]:
    """For every tile its phases and the derivatives of its layer's rows by them, (B C, phases).

    The chip's phases are off by `error_rad`, (phases,), from `cold`. Layers that `rows` does
    not name are left out.
    """
    warm = tile_errors(layout=layout, cold=cold, error_rad=error_rad)
    found: list[tuple[slice, Real]] = []
    at = 0
    layers = {layer.name: layer for layer in program.layers}
    for name, layer in layers.items():
        count = sum(len(grid.tiles) for grid in layer.grids)
        mine = range(at, at + count)
        at += count
        if name not in rows:
            continue
        found += _one_layer(layer, rows[name], layout, cold, warm, mine, recalibrated)
    return found


def _one_layer(
    layer: LinearLayer,
    rows: Rows,
    layout: HeatLayout,
    cold: tuple[BalancedTile, ...],
    warm: tuple[BalancedTile, ...],
    numbers: range,
    recalibrated: bool,
) -> list[tuple[slice, Real]]:
    # Between two grids light is detected; the cold grids stand for what lies around a tile.
    real = not np.iscomplexobj(layer.weight)
    matrices = [grid_matrix(grid, real=real) for grid in layer.grids]
    found = []
    number = iter(numbers)
    for g, grid in enumerate(layer.grids):
        into: Matrix = rows.inputs
        for matrix in matrices[:g]:
            into = matrix @ into
        slopes = rows.slopes
        for matrix in matrices[:g:-1]:
            slopes = slopes @ matrix
        for tile in grid.tiles:
            assert isinstance(tile, MeshTile)
            k = next(number)
            placed = layout.tiles[k]
            read = tile.gain * np.exp(1j * tile.readout_rad)
            made = tile_rows(
                warm[k],
                into[tile.inputs],
                slopes[:, :, tile.outputs] * read,
                cold=cold[k].transfer() if recalibrated else None,
            )
            part = slice(placed.phase_start, placed.phase_start + placed.segments.phases)
            found.append((part, made.reshape(len(made), -1).T))
    return found

"""How outputs move with phases: derivatives of a tile's matrix, and of a whole network's scores."""

from collections.abc import Callable

import numpy as np

from onnx2mzi.emulate.heat import BalancedTile
from onnx2mzi.kernels import BalancedMesh, backward_taps, build, forward_taps
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.mzi import attenuation

Outputs = Callable[[Complex], Real]


def tile_jacobian(tile: BalancedTile) -> Complex:
    """d(U diag(sigma) V) / d phase, shape (phases, m, n), rows as in `tile_push_matrix`."""
    r = len(tile.sigma_rad)
    v, u = build(tile.v)[:r], build(tile.u)[:, :r]
    turn = np.exp(1j * tile.channel_rad)
    amplitude = turn * attenuation(theta_rad=tile.sigma_rad)
    light = np.zeros((tile.u.ports, tile.v.ports), complex)
    light[:r] = amplitude[:, None] * v
    onward = np.zeros((tile.v.ports, tile.u.ports), complex)
    onward[:r] = (u * amplitude).T
    v_theta, v_phi = _mesh_jacobian(tile.v, np.eye(tile.v.ports, dtype=complex), onward)
    u_theta, u_phi = _mesh_jacobian(tile.u, light, np.eye(tile.u.ports, dtype=complex))
    slope = turn * -np.sin(tile.sigma_rad / 2) / 2
    sigma = np.einsum("mk,k,kn->kmn", u, slope, v)
    whole = u @ light[:r]
    out = np.zeros((tile.u.ports, *whole.shape), complex)
    each = np.arange(tile.u.ports)
    out[each, each] = 1j * whole
    return np.concatenate([v_theta, v_phi, sigma, u_theta, u_phi, out])


def _mesh_jacobian(mesh: BalancedMesh, x: Complex, w: Complex) -> tuple[Complex, Complex]:
    """d(w^T mesh x) by theta and by phi, shapes (K, m, B)."""
    ahead, behind = forward_taps(mesh, x), backward_taps(mesh, w)
    s, c, turn = np.sin(mesh.theta / 2), np.cos(mesh.theta / 2), np.exp(1j * mesh.phi)
    by_theta = np.stack([np.stack([turn * c, -s], -1), np.stack([-turn * s, -c], -1)], -2) / 2
    none = np.zeros_like(s)
    by_phi = 1j * np.stack([np.stack([turn * s, none], -1), np.stack([turn * c, none], -1)], -2)
    theta, phi = (
        np.einsum("kpm,kpq,kqn->kmn", behind, cell, ahead, optimize=True)
        for cell in (by_theta, by_phi)
    )
    return theta, phi


def score_jacobian(*, scores: Callable[[Real], Real], directions: Real, step: float = 1e-2) -> Real:
    """d scores / d phase by central differences, shape (samples, classes, P).

    `scores(change)` are the network's scores, (samples, classes), when a layer's matrix moves by
    `change` (m, n); `directions` (P, m, n) are the derivatives of that matrix by the phases.
    """
    columns: list[Real] = []
    for direction in directions:
        size = float(np.abs(direction).max())
        if size == 0.0:
            columns.append(np.zeros_like(columns[0]) if columns else 0 * scores(direction))
            continue
        change = direction * (step / size)
        columns.append((scores(change) - scores(-change)) * (size / (2 * step)))
    return np.stack(columns, axis=-1)

"""From thinned tiles back to meshes as they are drawn: signs, full turns and bars taken out."""

import numpy as np

from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.kernels.gauge import column_slices
from onnx2mzi.passes.drawing import BalancedTile
from onnx2mzi.passes.prune.thetas import RealTile
from onnx2mzi.physics.arrays import Index, wrapped


def without_bars(mesh: BalancedMesh) -> BalancedMesh:
    """The same real mesh with |theta| <= pi, and no MZI where |theta| = pi: two guides.

    M(theta - 2 pi) = -M(theta), M(pi) = diag(1, -1), M(-pi) = diag(-1, 1), and signs travel on
    as M(theta) diag(-1, 1) = diag(1, -1) M(-theta), into `out`.
    """
    minus = np.zeros(mesh.ports, bool)
    turns = np.round(mesh.theta / (2 * np.pi)).astype(int)
    theta = mesh.theta - 2 * np.pi * turns
    bar = np.abs(theta) == np.pi
    for run in column_slices(mesh.column):
        upper = mesh.port[run]
        lower = upper + 1
        a, b = minus[upper].copy(), minus[lower].copy()
        gone, odd, differ = bar[run], turns[run] % 2 == 1, a != b
        positive = theta[run] > 0
        theta[run] = np.where(differ & ~gone, -theta[run], theta[run])
        minus[upper] = np.where(gone, a ^ ~positive, b) ^ odd
        minus[lower] = np.where(gone, b ^ positive, b ^ differ) ^ odd
    keep = ~bar
    return BalancedMesh(
        ports=mesh.ports,
        column=mesh.column[keep],
        port=mesh.port[keep],
        theta=theta[keep],
        phi=mesh.phi[keep],
        out=wrapped(mesh.out + np.pi * minus),
    )


def without_full_turns(mesh: BalancedMesh) -> BalancedMesh:
    """The same real mesh with |theta| <= pi, all of its MZIs there; see `without_bars`."""
    minus = np.zeros(mesh.ports, bool)
    turns = np.round(mesh.theta / (2 * np.pi)).astype(int)
    theta = mesh.theta - 2 * np.pi * turns
    for run in column_slices(mesh.column):
        upper = mesh.port[run]
        a, b, odd = minus[upper].copy(), minus[upper + 1].copy(), turns[run] % 2 == 1
        theta[run] = np.where(a != b, -theta[run], theta[run])
        minus[upper], minus[upper + 1] = b ^ odd, a ^ odd
    return BalancedMesh(
        ports=mesh.ports,
        column=mesh.column,
        port=mesh.port,
        theta=theta,
        phi=mesh.phi,
        out=wrapped(mesh.out + np.pi * minus),
    )


def settled_tile(tile: RealTile, outputs: Index, inputs: Index) -> BalancedTile:
    """The balanced tile on the given guides: amplitudes in [0, 1], their signs behind V."""
    gain = float(np.abs(tile.s).max(initial=0.0))
    v = without_bars(tile.v)
    out = v.out.copy()
    out[: len(tile.s)] = wrapped(out[: len(tile.s)] + np.pi * (tile.s < 0))
    return BalancedTile(
        outputs=outputs,
        inputs=inputs,
        u=without_bars(tile.u),
        amplitude=np.abs(tile.s) / gain if gain > 0 else np.zeros(len(tile.s)),
        v=BalancedMesh(
            ports=v.ports, column=v.column, port=v.port, theta=v.theta, phi=v.phi, out=out
        ),
        gain=gain,
    )

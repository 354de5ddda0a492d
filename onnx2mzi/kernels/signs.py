"""Half turns of phi taken for what they are: signs that travel on."""

import numpy as np

from onnx2mzi.kernels.gauge import column_slices
from onnx2mzi.kernels.mesh import BalancedMesh
from onnx2mzi.physics.arrays import wrapped


def without_half_turns(mesh: BalancedMesh) -> BalancedMesh:
    """A mesh whose phi are all 0 or pi as one without phi: the same matrix.

    A phi of pi is a sign on the upper input; M(theta) diag(-1, 1) = diag(1, -1) M(-theta), so it
    turns theta's sign and leaves on the lower output, and both inputs' signs on both outputs.
    A mesh with any other phi, or with none, is returned as it is.
    """
    half = np.abs(np.abs(mesh.phi) - np.pi) < 1e-9
    if not half.any() or not np.all(half | (mesh.phi == 0.0)):
        return mesh
    minus, theta = np.zeros(mesh.ports, bool), np.array(mesh.theta)
    for run in column_slices(mesh.column):
        upper = mesh.port[run]
        above, below = minus[upper] ^ half[run], minus[upper + 1]
        differ = above != below
        theta[run] = np.where(differ, -theta[run], theta[run])
        # Of the signs (a, b), b is common to both outputs and a b stays on the lower one.
        minus[upper], minus[upper + 1] = below, above
    return BalancedMesh(
        ports=mesh.ports,
        column=mesh.column,
        port=mesh.port,
        theta=theta,
        phi=np.zeros_like(theta),
        out=wrapped(mesh.out + np.pi * minus),
    )

"""Light through a mesh, and the matrix of a mesh."""

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import reference
from onnx2mzi.kernels.check import KernelError, Matrix, as_numbers
from onnx2mzi.kernels.mesh import BalancedMesh


def as_fields(x: npt.ArrayLike, ports: int, name: str) -> Matrix:
    """x as a finite (ports, B) array."""
    v = as_numbers(x, name)
    if v.ndim != 2 or v.shape[0] != ports:
        raise KernelError(
            f"{name} of shape {v.shape} does not fit {ports} ports: expected (ports, B)"
        )
    return v


def propagate(mesh: BalancedMesh, x: npt.ArrayLike) -> Matrix:
    """Outputs (ports, B) of a mesh for inputs x (ports, B).

    Complex, but real for a real x and a real mesh (phi = 0, out in {0, pi}).
    Raises KernelError for a shape that does not fit and for NaN or infinity.
    """
    v = as_fields(x, mesh.ports, "x")
    real = np.isrealobj(v) and mesh.is_real
    m, d = reference.cells(mesh, real), reference.output_factors(mesh, real)
    return reference.propagate_cells(mesh, m, d, v)


def build(mesh: BalancedMesh) -> Matrix:
    """The matrix (ports, ports) of a mesh; real for a real mesh."""
    return propagate(mesh, np.eye(mesh.ports))


def propagate_cells(mesh: BalancedMesh, cells: npt.ArrayLike, x: npt.ArrayLike) -> Matrix:
    """As `propagate`, with any 2 x 2 matrices `cells` (K, 2, 2) in place of the MZIs."""
    m = as_numbers(cells, "cells").astype(np.complex128, copy=False)
    if m.shape != (mesh.count, 2, 2):
        raise KernelError(f"cells of shape {m.shape} do not fit {mesh.count} MZIs")
    v = as_fields(x, mesh.ports, "x").astype(np.complex128, copy=False)
    return reference.propagate_cells(mesh, m, reference.output_factors(mesh, False), v)

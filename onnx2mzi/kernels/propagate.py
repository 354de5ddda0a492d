"""Light through a mesh, and the matrix of a mesh."""

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import reference
from onnx2mzi.kernels.check import KernelError, Matrix, as_numbers
from onnx2mzi.kernels.mesh import BalancedMesh
from onnx2mzi.kernels.native import extension, mesh_arguments


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
    if not real:
        v = v.astype(np.complex128, copy=False)
    native = extension()
    if native is None:
        m, d = reference.cells(mesh, real), reference.output_factors(mesh, real)
        return reference.propagate_cells(mesh, m, d, v)
    # A real product is cheap and a wide one too: the matrix then pays for itself.
    if v.shape[1] >= (1 if real else 8) * mesh.ports >= 16:
        return np.ascontiguousarray(_build(mesh, real) @ v)
    y = np.empty_like(v)
    native.forward(mesh_arguments(mesh), int(not real), v, v.shape[1], y)
    return y


def _build(mesh: BalancedMesh, real: bool) -> Matrix:
    dtype = np.float64 if real else np.complex128
    native = extension()
    if native is None:
        m, d = reference.cells(mesh, real), reference.output_factors(mesh, real)
        return reference.propagate_cells(mesh, m, d, np.eye(mesh.ports, dtype=dtype))
    u: Matrix = np.empty((mesh.ports, mesh.ports), dtype=dtype)
    native.forward(mesh_arguments(mesh), int(not real), None, mesh.ports, u)
    return u


def build(mesh: BalancedMesh) -> Matrix:
    """The matrix (ports, ports) of a mesh; real for a real mesh."""
    return _build(mesh, mesh.is_real)


def propagate_cells(mesh: BalancedMesh, cells: npt.ArrayLike, x: npt.ArrayLike) -> Matrix:
    """As `propagate`, with any 2 x 2 matrices `cells` (K, 2, 2) in place of the MZIs."""
    m = as_numbers(cells, "cells").astype(np.complex128, copy=False)
    if m.shape != (mesh.count, 2, 2):
        raise KernelError(f"cells of shape {m.shape} do not fit {mesh.count} MZIs")
    v = as_fields(x, mesh.ports, "x").astype(np.complex128, copy=False)
    native = extension()
    if native is None:
        return reference.propagate_cells(mesh, m, reference.output_factors(mesh, False), v)
    y = np.empty_like(v)
    native.cells(mesh_arguments(mesh), m, v, v.shape[1], y)
    return y

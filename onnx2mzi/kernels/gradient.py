"""Reverse mode through a mesh, and the fields next to every MZI that second derivatives need."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import reference
from onnx2mzi.kernels.check import C128, F64, KernelError, as_numbers
from onnx2mzi.kernels.mesh import BalancedMesh
from onnx2mzi.kernels.native import extension, mesh_arguments, native_available
from onnx2mzi.kernels.propagate import as_fields, build, propagate

WIDE = 8
"""Batches of so many times the ports go through the matrix of the mesh."""


class Gradients(NamedTuple):
    """dL/dtheta (K,), dL/dphi (K,), dL/dout (ports,) and dL/dx (ports, B)."""

    theta: F64
    phi: F64
    out: F64
    x: C128


def _complex(x: npt.ArrayLike, ports: int, name: str) -> C128:
    return as_fields(x, ports, name).astype(np.complex128, copy=False)


def vjp(
    mesh: BalancedMesh,
    x: npt.ArrayLike | None,
    grad_y: npt.ArrayLike,
    *,
    y: npt.ArrayLike | None = None,
) -> Gradients:
    """Gradients of a real loss L(propagate(mesh, x)) with respect to all phases and to x.

    grad_y (ports, B) is dL/dRe y + i dL/dIm y, and so is the returned gradient of x. The mesh is
    reversible: inputs of the MZIs are recomputed backwards from the outputs. Give `y` when the
    outputs are known (x is then ignored and may be None) and the forward pass is saved.
    Raises KernelError for shapes that do not fit and for NaN or infinity.
    """
    g = _complex(grad_y, mesh.ports, "grad_y")
    if y is None and x is not None and g.shape[1] >= WIDE * mesh.ports and native_available():
        return _wide(mesh, _complex(x, mesh.ports, "x"), g)
    if y is not None:
        v = _complex(y, mesh.ports, "y")
    elif x is not None:
        v = _complex(propagate(mesh, x), mesh.ports, "x")
    else:
        raise KernelError("vjp needs the inputs x or the outputs y")
    return _vjp(mesh, v, g)


def _vjp(mesh: BalancedMesh, y: C128, g: C128) -> Gradients:
    if y.shape != g.shape:
        raise KernelError(f"grad_y of shape {g.shape} does not fit fields of shape {y.shape}")
    native = extension()
    if native is None:
        return Gradients(*reference.vjp(mesh, y, g))
    result = Gradients(
        np.empty(mesh.count), np.empty(mesh.count), np.empty(mesh.ports), np.empty_like(g)
    )
    native.vjp(mesh_arguments(mesh), y.shape[1], y, g, *result)
    return result


def _wide(mesh: BalancedMesh, x: C128, g: C128) -> Gradients:
    """Through the matrix U: dL/dU is a product, and U takes the place of the fields."""
    if x.shape != g.shape:
        raise KernelError(f"grad_y of shape {g.shape} does not fit fields of shape {x.shape}")
    u = build(mesh).astype(np.complex128, copy=False)
    grads = _vjp(mesh, u, np.ascontiguousarray(g @ x.conj().T))
    return grads._replace(x=np.ascontiguousarray(u.conj().T @ g))


def cells_vjp(
    mesh: BalancedMesh, cells: npt.ArrayLike, x: npt.ArrayLike, grad_y: npt.ArrayLike
) -> tuple[C128, C128]:
    """Gradients (K, 2, 2) of any cells of a mesh, and (ports, B) of x, for a real loss of
    y = propagate_cells(mesh, cells, x).

    All gradients are dL/dRe + i dL/dIm. Unlike `vjp` this keeps fields, so cells may lose light.
    Raises KernelError for shapes that do not fit and for NaN or infinity.
    """
    m = as_numbers(cells, "cells").astype(np.complex128, copy=False)
    if m.shape != (mesh.count, 2, 2):
        raise KernelError(f"cells of shape {m.shape} do not fit {mesh.count} MZIs")
    v, g = _complex(x, mesh.ports, "x"), _complex(grad_y, mesh.ports, "grad_y")
    if v.shape != g.shape:
        raise KernelError(f"grad_y of shape {g.shape} does not fit fields of shape {v.shape}")
    native = extension()
    if native is None:
        return reference.cells_vjp(mesh, m, reference.output_factors(mesh, False), v, g)
    grad, grad_x = np.empty_like(m), np.empty_like(v)
    native.cells_vjp(mesh_arguments(mesh), v.shape[1], m, v, g, grad, grad_x)
    return grad, grad_x


def forward_taps(mesh: BalancedMesh, x: npt.ArrayLike) -> C128:
    """Fields (K, 2, B) at the two inputs of each MZI for inputs x (ports, B)."""
    return _taps(mesh, _complex(x, mesh.ports, "x"), False)


def backward_taps(mesh: BalancedMesh, w: npt.ArrayLike) -> C128:
    """Rows (K, 2, m) of the transfer from each MZI's two outputs to w^T y, w (ports, m).

    A change dc (2,) of the outputs of MZI k changes (w^T y)[j] by
    backward[k, 0, j] dc[0] + backward[k, 1, j] dc[1]; the derivative by theta_k is therefore
    backward[k].T @ (dM/dtheta) @ forward[k].
    """
    return _taps(mesh, _complex(w, mesh.ports, "w"), True)


def _taps(mesh: BalancedMesh, x: C128, transposed: bool) -> C128:
    native = extension()
    if native is None:
        return (reference.backward_taps if transposed else reference.forward_taps)(mesh, x)
    taps = np.empty((mesh.count, 2, x.shape[1]), dtype=np.complex128)
    native.taps(mesh_arguments(mesh), x, x.shape[1], int(transposed), taps)
    return taps

"""From matrices to meshes: the phases that make a mesh realise a unitary or an isometry."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import reference
from onnx2mzi.kernels.check import (
    EXACT_TOLERANCE,
    F64,
    I32,
    KernelError,
    Matrix,
    as_matrix,
    as_numbers,
    nearest_unitary,
    orthonormal_rows,
)
from onnx2mzi.kernels.mesh import (
    BalancedMesh,
    clements_layout,
    columns_layout,
    reck_layout,
    rows_layout,
    sorted_nulling,
)
from onnx2mzi.kernels.native import Extension, extension

Scheme = Literal["clements", "reck"]


@dataclass(frozen=True, slots=True)
class MeshBatch:
    """B meshes of one layout: theta, phi (B, K) and out (B, ports); a sequence of BalancedMesh."""

    ports: int
    column: I32
    port: I32
    theta: F64
    phi: F64
    out: F64

    def __len__(self) -> int:
        return len(self.theta)

    def __getitem__(self, index: int) -> BalancedMesh:
        return BalancedMesh.trusted(
            self.ports,
            self.column,
            self.port,
            self.theta[index],
            self.phi[index],
            self.out[index],
        )

    def __iter__(self) -> Iterator[BalancedMesh]:
        return (self[i] for i in range(len(self)))


def _check_scheme(scheme: str) -> None:
    if scheme not in ("clements", "reck"):
        raise KernelError(f"unknown scheme {scheme!r}", hint="use 'clements' or 'reck'")


def _square(u: npt.ArrayLike) -> Matrix:
    w = as_matrix(u, "matrix")
    if w.shape[0] != w.shape[1]:
        raise KernelError(
            f"matrix of shape {w.shape} is not square",
            hint="use decompose_rows or decompose_columns for an isometry",
        )
    return w


def decompose(u: npt.ArrayLike, scheme: Scheme = "clements") -> BalancedMesh:
    """The mesh of a unitary matrix u (n, n), complex or real; u is never modified.

    Canonical phases. A complex dtype: theta in [0, pi], phi and out in (-pi, pi], phi = 0 where
    theta is 0 or pi and phi has no meaning. A real dtype: phi = 0, theta in (-pi, pi], out in
    {0, pi}. A matrix that is unitary only to float32 (`unitary_distance(u)` <= 1e-5) is
    projected to the nearest unitary first.

    `clements`: Clements et al., Optica 3, 1460 (2016). `reck`: Reck et al., PRL 73, 58 (1994).
    Raises KernelError for NaN, infinity, a matrix that is not square or not unitary.
    """
    _check_scheme(scheme)
    w = _square(u)
    if scheme == "clements":
        return _clements(w[None])[0]
    native = extension()
    if native is None:
        return reference.rows(orthonormal_rows(w, "matrix"), len(w) - 1, reck_layout(len(w)))
    return _isometry(native, w, False, "matrix")


def _clements(stack: Matrix) -> MeshBatch:
    """Rectangular meshes of a contiguous stack (B, n, n) of finite numbers."""
    batch, n = stack.shape[:2]
    column, port = clements_layout(n)
    theta, phi, out = (
        np.empty((batch, len(port))),
        np.empty((batch, len(port))),
        np.empty((batch, n)),
    )
    meshes = MeshBatch(n, column, port, theta, phi, out)
    native = extension()
    if native is None:
        for i, w in enumerate(stack):
            mesh = reference.clements(orthonormal_rows(w, "matrix"), (column, port))
            theta[i], phi[i], out[i] = mesh.theta, mesh.phi, mesh.out
        return meshes
    defect = np.empty(batch)
    cx = int(np.iscomplexobj(stack))
    native.clements(cx, n, batch, stack, theta, phi, out, defect)
    # What nulling leaves beside a unitary diagonal tells how far the matrix is from unitary.
    for bad in np.flatnonzero(~(defect <= EXACT_TOLERANCE)).tolist():
        w = nearest_unitary(stack[bad], "matrix")
        native.clements(cx, n, 1, w, theta[bad], phi[bad], out[bad], defect[:1])
    return meshes


def _isometry(native: Extension, a: Matrix, transposed: bool, name: str) -> BalancedMesh:
    """The truncated triangle of the rows of a, or, transposed, of its columns."""
    r, n = a.shape[::-1] if transposed else a.shape
    column, port, order = sorted_nulling(n, min(r, n - 1), transposed)
    theta, phi, out = np.empty(len(port)), np.empty(len(port)), np.empty(n)
    cx, t = int(np.iscomplexobj(a)), int(transposed)
    if not native.isometry(cx, r, n, t, a, theta, phi, out) <= EXACT_TOLERANCE:
        a = nearest_unitary(a, name)
        native.isometry(cx, r, n, t, a, theta, phi, out)
    return BalancedMesh.trusted(
        n,
        column,
        port,
        theta[order],
        phi[order],
        out,
    )


def decompose_many(u: npt.ArrayLike, scheme: Scheme = "clements") -> MeshBatch:
    """The meshes of a stack of unitary matrices u (B, n, n) in one call; as `decompose`."""
    _check_scheme(scheme)
    w = as_numbers(u, "stack of matrices")
    if w.ndim != 3 or w.shape[1] != w.shape[2] or w.size == 0:
        raise KernelError(f"expected a stack of square matrices, got shape {w.shape}")
    if scheme == "clements":
        return _clements(w)
    n = w.shape[1]
    column, port = reck_layout(n)
    meshes = [decompose(m, scheme) for m in w]
    return MeshBatch(
        n,
        column,
        port,
        np.stack([m.theta for m in meshes]),
        np.stack([m.phi for m in meshes]),
        np.stack([m.out for m in meshes]),
    )


def _completed(a: Matrix) -> Matrix:
    """The square unitary whose first rows are a, which lacks at most one row."""
    if a.shape[0] == a.shape[1]:
        return a
    q = np.linalg.qr(a.conj().T, mode="complete")[0]
    return np.vstack((a, q[:, -1:].conj().T))


def decompose_rows(a: npt.ArrayLike) -> BalancedMesh:
    """The mesh of a (r, n) with orthonormal rows: a = diag(e^{i out[:r]}) mesh[:r, :].

    r n - r (r + 1) / 2 MZIs in n + r - 2 columns (`rows_layout`); with r >= n - 1 the
    rectangular mesh. Row k is nulled at ports n - 2 .. k, its weight moving up to port k, so
    that a small entry of the row gives a theta near 0. Phases as in `decompose`; out is 0 from
    port r on. Raises KernelError as `decompose` does.
    """
    w = as_matrix(a, "matrix")
    r, n = w.shape
    if r > n:
        raise KernelError(f"{r} rows of {n} entries cannot be orthonormal")
    name = "matrix with orthonormal rows"
    if r >= n - 1:
        return decompose(_completed(orthonormal_rows(w, name)))
    native = extension()
    if native is None:
        return reference.rows(orthonormal_rows(w, name), r, rows_layout(n, r))
    return _isometry(native, w, False, name)


def decompose_columns(a: npt.ArrayLike) -> BalancedMesh:
    """The mesh of a (m, r) with orthonormal columns: a = diag(e^{i out}) mesh[:, :r].

    The mirror image of `decompose_rows`, on `columns_layout`. Raises KernelError likewise.
    """
    w = as_matrix(a, "matrix")
    m, r = w.shape
    if r > m:
        raise KernelError(f"{r} columns of {m} entries cannot be orthonormal")
    name = "matrix with orthonormal columns"
    native = extension()
    if native is not None and r < m - 1:
        return _isometry(native, w, True, name)
    w = np.ascontiguousarray(orthonormal_rows(w.T, name).T)
    if r >= m - 1:
        return decompose(np.ascontiguousarray(_completed(w.T).T))
    return reference.columns(w, columns_layout(m, r))

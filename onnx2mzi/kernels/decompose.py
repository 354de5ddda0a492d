"""From matrices to meshes: the phases that make a mesh realise a unitary or an isometry."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import reference
from onnx2mzi.kernels.check import (
    F64,
    I32,
    KernelError,
    Matrix,
    as_matrix,
    as_numbers,
    orthonormal_rows,
)
from onnx2mzi.kernels.mesh import (
    BalancedMesh,
    clements_layout,
    columns_layout,
    reck_layout,
    rows_layout,
)

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
    w = orthonormal_rows(_square(u), "matrix")
    n = len(w)
    if scheme == "clements":
        return reference.clements(w, clements_layout(n))
    return reference.rows(w, n - 1, reck_layout(n))


def decompose_many(u: npt.ArrayLike, scheme: Scheme = "clements") -> MeshBatch:
    """The meshes of a stack of unitary matrices u (B, n, n) in one call; as `decompose`."""
    _check_scheme(scheme)
    w = as_numbers(u, "stack of matrices")
    if w.ndim != 3 or w.shape[1] != w.shape[2] or w.size == 0:
        raise KernelError(f"expected a stack of square matrices, got shape {w.shape}")
    n = w.shape[1]
    column, port = clements_layout(n) if scheme == "clements" else reck_layout(n)
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
    w = orthonormal_rows(w, "matrix with orthonormal rows")
    if r >= n - 1:
        return decompose(_completed(w))
    return reference.rows(w, r, rows_layout(n, r))


def decompose_columns(a: npt.ArrayLike) -> BalancedMesh:
    """The mesh of a (m, r) with orthonormal columns: a = diag(e^{i out}) mesh[:, :r].

    The mirror image of `decompose_rows`, on `columns_layout`. Raises KernelError likewise.
    """
    w = as_matrix(a, "matrix")
    m, r = w.shape
    if r > m:
        raise KernelError(f"{r} columns of {m} entries cannot be orthonormal")
    w = np.ascontiguousarray(orthonormal_rows(w.T, "matrix with orthonormal columns").T)
    if r >= m - 1:
        return decompose(np.ascontiguousarray(_completed(w.T).T))
    return reference.columns(w, columns_layout(m, r))

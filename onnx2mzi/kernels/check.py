"""What the kernels accept: finite numbers, and matrices that are unitary up to rounding."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from onnx2mzi.errors import InputError

F64: TypeAlias = npt.NDArray[np.float64]
C128: TypeAlias = npt.NDArray[np.complex128]
I32: TypeAlias = npt.NDArray[np.int32]
Matrix: TypeAlias = npt.NDArray[Any]

UNITARY_TOLERANCE = 1e-5
"""Largest distance to the nearest unitary that is taken for rounding (float32) and repaired."""

EXACT_TOLERANCE = 1e-13
"""Root mean square defect per row below which a matrix is taken as it is."""


class KernelError(InputError, ValueError):
    """An array that no mesh can realise, or whose shape does not fit the mesh."""


def as_matrix(a: npt.ArrayLike, name: str) -> Matrix:
    """The argument as a C-contiguous float64 or complex128 matrix (a copy only where needed).

    Raises KernelError for anything but a finite, non-empty matrix of numbers.
    """
    m = np.asarray(a)
    if m.ndim != 2 or m.size == 0:
        raise KernelError(
            f"{name} must be a non-empty matrix, got an array of shape {m.shape}",
            hint="pass a two-dimensional array",
        )
    return as_numbers(m, name)


def as_numbers(a: npt.ArrayLike, name: str) -> Matrix:
    """The argument as a C-contiguous, finite float64 or complex128 array."""
    m = np.asarray(a)
    if m.dtype.kind in "fiub":
        m = np.ascontiguousarray(m, dtype=np.float64)
    elif m.dtype.kind == "c":
        m = np.ascontiguousarray(m, dtype=np.complex128)
    else:
        raise KernelError(f"{name} must hold numbers, got dtype {m.dtype}")
    # The sum of squares finds every bad value; the exact test runs only when it is suspicious.
    flat = m.reshape(-1)
    with np.errstate(all="ignore"):
        suspicious = not np.isfinite(np.vdot(flat, flat))
    if suspicious and not np.isfinite(m).all():
        raise KernelError(
            f"{name} contains NaN or infinity", hint="check the weights this matrix came from"
        )
    return m


def unitary_distance(a: npt.ArrayLike) -> float:
    """Spectral distance to the nearest matrix with orthonormal rows (or columns, if taller).

    It is max |sigma - 1| over the singular values; 0 for a unitary matrix.
    """
    sigma = np.linalg.svd(as_matrix(a, "matrix"), compute_uv=False)
    return float(np.max(np.abs(sigma - 1.0)))


def nearest_unitary(m: Matrix, name: str) -> Matrix:
    """Polar projection of a matrix that is unitary up to UNITARY_TOLERANCE.

    Raises KernelError with the distance when it is farther away.
    """
    left, sigma, right = np.linalg.svd(m, full_matrices=False)
    distance = float(np.max(np.abs(sigma - 1.0)))
    if not distance <= UNITARY_TOLERANCE:
        raise KernelError(
            f"{name} is not unitary: its singular values lie between "
            f"{float(sigma.min()):.6g} and {float(sigma.max()):.6g}, all must be 1",
            hint="decompose the factors of a singular value decomposition instead",
        )
    return np.ascontiguousarray(left @ right)


def orthonormal_rows(m: Matrix, name: str) -> Matrix:
    """`m` itself when its rows are orthonormal to rounding, else its polar projection."""
    with np.errstate(over="ignore", invalid="ignore"):
        gram = m @ m.conj().T
    gram[np.diag_indices(len(m))] -= 1.0
    defect = float(np.linalg.norm(gram)) / 2.0 / np.sqrt(len(m))
    if defect <= EXACT_TOLERANCE:
        return m
    return nearest_unitary(m, name)

"""Cholesky factors and inverses of large symmetric matrices, of which one triangle is enough.

Matrices are in C order with their lower triangle filled in; LAPACK sees the same memory in
Fortran order, the upper triangle. What is below the rounding of single precision is made 0:
subnormal numbers cost a processor some hundred cycles each, and fields behind many MZIs are full
of them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, get_lapack_funcs

Numbers = npt.NDArray[Any]

# What is smaller than this share of a typical entry cannot be told from 0 in single precision.
BELOW_ROUNDING = 1e-13
# Edge of the blocks in which matrices are mirrored: two fit a processor's cache.
EDGE = 64


def without_dust(values: Numbers, scale: float) -> Numbers:
    """`values`, in place, with 0 where single precision has nothing but rounding."""
    if values.dtype == np.float32:
        for top in range(0, len(values), EDGE):
            part = values[top : top + EDGE]
            part[np.abs(part) < BELOW_ROUNDING * scale] = 0.0
    return values


def cholesky(lower: Numbers, added: float) -> Numbers:
    """Factor L of lower + added * 1, in the lower triangle of a new array; what is above is void.

    Raises `scipy.linalg.LinAlgError` where the sum is not positive definite.
    """
    work = lower.copy()
    work[np.diag_indices(len(work))] += added
    # The transpose is upper: work.T = R^T R with R = L^T.
    factor, info = get_lapack_funcs(("potrf",), (work,))[0](work.T, lower=0, overwrite_a=1, clean=0)
    if info:
        raise LinAlgError("not positive definite")
    return np.asarray(factor).T


def solved(factor: Numbers, right: Numbers) -> Numbers:
    """x with L L^T x = right, for the factor of `cholesky`."""
    x, _ = get_lapack_funcs(("potrs",), (factor,))[0](factor.T, right.astype(factor.dtype), lower=0)
    return np.asarray(x)


def inverted(factor: Numbers) -> Numbers:
    """(L L^T)^-1, both triangles, for the factor of `cholesky`, which it overwrites."""
    without_dust(factor, float(np.abs(np.diag(factor)).min()))
    inverse, _ = get_lapack_funcs(("potri",), (factor,))[0](factor.T, lower=0, overwrite_c=1)
    return mirrored(np.asarray(inverse).T)


def mirrored(lower: Numbers) -> Numbers:
    """The symmetric matrix of a lower triangle, in place."""
    count = len(lower)
    for top in range(0, count, EDGE):
        rows = slice(top, top + EDGE)
        for left in range(0, top, EDGE):
            lower[left : left + EDGE, rows] = lower[rows, left : left + EDGE].T
        block = np.tril(lower[rows, rows])
        lower[rows, rows] = block + np.tril(block, -1).T
    return lower

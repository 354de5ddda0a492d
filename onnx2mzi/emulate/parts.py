"""Complex matrices and vectors as the host has them: real numbers, two for each.

`stacked`: all real parts, then all imaginary ones; `interleaved`: in turns. A complex matrix W
(m, n) is the real one (2m, 2n) that does the same,

    [[Re W, -Im W], [Im W, Re W]]

with rows and columns in that order; "" is a real matrix as it is.
"""

import numpy as np

from onnx2mzi.ir.operand import INTERLEAVED, STACKED
from onnx2mzi.physics.arrays import Complex, Matrix, Real


def real_form(matrix: Matrix, parts: str) -> Real:
    """The real matrix (2m, 2n) that does what `matrix` does; without parts its real part."""
    if not parts:
        return np.asarray(matrix.real)
    m, n = matrix.shape
    cells = np.empty((2, m, 2, n))
    cells[0, :, 0] = cells[1, :, 1] = matrix.real
    cells[1, :, 0] = matrix.imag
    cells[0, :, 1] = -matrix.imag
    if parts == INTERLEAVED:
        cells = cells.transpose(1, 0, 3, 2)
    return cells.reshape(2 * m, 2 * n)


def complex_form(matrix: Real) -> tuple[Complex, str] | None:
    """The complex matrix that a real one (2m, 2n) is the form of, entry by entry, and its parts.

    None if it is none, or if the imaginary part is zero: two equal real blocks are no more than
    that. A single number is none either.
    """
    rows, columns = matrix.shape
    if rows % 2 or columns % 2 or max(rows, columns) < 4:
        return None
    m, n = rows // 2, columns // 2
    for parts in (STACKED, INTERLEAVED):
        cells = matrix.reshape((2, m, 2, n) if parts == STACKED else (m, 2, n, 2))
        if parts == INTERLEAVED:
            cells = cells.transpose(1, 0, 3, 2)
        re, im = cells[0, :, 0], cells[1, :, 0]
        # Most matrices fail at once.
        first = np.array_equal(re[0], cells[1, 0, 1]) and np.array_equal(im[0], -cells[0, 0, 1])
        whole = (
            first
            and np.array_equal(re, cells[1, :, 1])
            and np.array_equal(im, -cells[0, :, 1])
            and im.any()
        )
        if whole:
            return np.asarray(re + 1j * im), parts
    return None


def vectors(rows: np.ndarray, parts: str) -> np.ndarray:
    """Complex vectors as columns (n, B) of real ones (2n, B); without parts as they are."""
    if not parts:
        return rows
    if len(rows) % 2:
        raise ValueError(f"{len(rows)} numbers are no pairs")
    half = len(rows) // 2
    re, im = (rows[:half], rows[half:]) if parts == STACKED else (rows[0::2], rows[1::2])
    return np.asarray(re + 1j * im)


def doubled(size: int, parts: str) -> int:
    """How many real numbers `size` entries are."""
    return 2 * size if parts else size

"""The array types that every room speaks, and how an array becomes read-only."""

from typing import Any

import numpy as np
import numpy.typing as npt

Real = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Matrix = npt.NDArray[np.float64] | npt.NDArray[np.complex128]
Index = npt.NDArray[np.int32]
Flags = npt.NDArray[np.uint8]


def frozen(values: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A contiguous read-only array of `dtype`; the caller's array is never aliased writable."""
    array = np.ascontiguousarray(values, dtype=dtype)
    if array.ndim == 0 or np.ndim(values) == 0:
        array = np.asarray(values, dtype=dtype)
    if array.flags.writeable:
        if array is values or array.base is not None:
            array = array.copy()
        array.flags.writeable = False
    return array


def wrapped(phase_rad: npt.ArrayLike) -> Real:
    """The same phase in (-pi, pi]."""
    x = np.asarray(phase_rad, float)
    inside = (x > -np.pi) & (x <= np.pi)
    return np.asarray(np.where(inside, x, np.pi - np.mod(np.pi - x, 2 * np.pi)))


def within_pi(phase_rad: Real) -> Real:
    """The same phase in [-pi, pi]: as `wrapped`, but -pi stays on its arm."""
    return np.where(np.abs(phase_rad) > np.pi, wrapped(phase_rad), phase_rad)

"""The 2 x 2 transfer of an imperfect MZI, and how it changes with each of its errors::

    0 --(in_upper)--+      +--(arm_upper)--+      +-- 0
                    | B(a) |               | B(b) |
    1 --(in_lower)--+      +--(arm_lower)--+      +-- 1

B(a) = [[cos a, i sin a], [i sin a, cos a]]. The four brackets are phases beside those of the
ideal cell. Common phases are those of the balanced gauge: without errors the cell is M(theta,
phi) of physics.mzi.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.mzi import HALF_SPLIT_RAD


@dataclass(frozen=True, slots=True, kw_only=True)
class CellErrors:
    """Errors of K MZIs, each of shape (..., K) or 0: phases and coupler angles in rad, dB."""

    in_upper: Real | float = 0.0
    in_lower: Real | float = 0.0
    arm_upper: Real | float = 0.0
    arm_lower: Real | float = 0.0
    first: Real | float = 0.0
    second: Real | float = 0.0
    loss_db: Real | float = 0.0

    def of_copy(self, copy: int) -> "CellErrors":
        """Those (K,) of one of C copies, shapes (C, K), (1, K) where all are alike, or numbers."""
        found: dict[str, Real | float] = {}
        for name in ERRORS:
            value = getattr(self, name)
            several = np.ndim(value) > 1
            found[name] = value[copy % len(value)] if several else value
        return CellErrors(**found)

    def moved(self, place: str, by: tuple[Real, Real]) -> "CellErrors":
        """With more phase on both guides of a place: "in" or "arm", upper and lower."""
        upper, lower = f"{place}_upper", f"{place}_lower"
        more = {upper: getattr(self, upper) + by[0], lower: getattr(self, lower) + by[1]}
        return replace(self, **more)


ERRORS = tuple(item.name for item in fields(CellErrors))


def imperfect_mzi(*, theta_rad: Real, phi_rad: Real, errors: CellErrors) -> Complex:
    """The cell with errors, shapes (..., K) to (..., K, 2, 2)::

    10^(-loss/20) B(b) diag(e^{i(theta + au)}, e^{i al}) B(a) diag(e^{i(phi + iu)}, e^{i il})
        / (i e^{i theta/2})
    """
    lit = np.exp(1j * (theta_rad / 2 + errors.arm_upper))
    dark = np.exp(-1j * (theta_rad / 2 - errors.arm_lower))
    return _assembled(lit, dark, phi_rad, errors)


def _assembled(lit: Complex, dark: Complex, phi_rad: Real, errors: CellErrors) -> Complex:
    c1, s1 = np.cos(HALF_SPLIT_RAD + errors.first), np.sin(HALF_SPLIT_RAD + errors.first)
    c2, s2 = np.cos(HALF_SPLIT_RAD + errors.second), np.sin(HALF_SPLIT_RAD + errors.second)
    amplitude = 10.0 ** (-np.asarray(errors.loss_db) / 20.0)
    upper = amplitude * np.exp(1j * (phi_rad + errors.in_upper))
    lower = amplitude * np.exp(1j * np.asarray(errors.in_lower))
    entries = (
        -1j * (c2 * c1 * lit - s2 * s1 * dark) * upper,
        (c2 * s1 * lit + s2 * c1 * dark) * lower,
        (s2 * c1 * lit + c2 * s1 * dark) * upper,
        -1j * (c2 * c1 * dark - s2 * s1 * lit) * lower,
    )
    return np.stack(np.broadcast_arrays(*entries), -1).reshape(
        *np.broadcast_shapes(*(entry.shape for entry in entries)), 2, 2
    )


def arm_derivatives(
    *, theta_rad: Real, phi_rad: Real, errors: CellErrors
) -> tuple[Complex, Complex]:
    """Derivatives of `imperfect_mzi` by `arm_upper` and by `arm_lower`, (..., K, 2, 2) each."""
    lit = 1j * np.exp(1j * (theta_rad / 2 + errors.arm_upper))
    dark = 1j * np.exp(-1j * (theta_rad / 2 - errors.arm_lower))
    none = np.zeros_like(lit)
    return _assembled(lit, none, phi_rad, errors), _assembled(none, dark, phi_rad, errors)


def imperfect_crossing(*, phi_rad: Real, errors: CellErrors, leak: Real | float) -> Complex:
    """[[i x, sqrt(1 - x^2)], [sqrt(1 - x^2), i x]] of a crossing that leaks the amplitude x.

    Its arms are part of the input guides: only `in_*` and `loss_db` count. Shapes as above.
    """
    amplitude = 10.0 ** (-np.asarray(errors.loss_db) / 20.0)
    upper = amplitude * np.exp(1j * (phi_rad + errors.in_upper))
    lower = amplitude * np.exp(1j * np.asarray(errors.in_lower))
    leak = np.asarray(leak)
    through = np.sqrt(1.0 - leak**2)
    entries = (1j * leak * upper, through * lower, through * upper, 1j * leak * lower)
    return np.stack(np.broadcast_arrays(*entries), -1).reshape(
        *np.broadcast_shapes(*(entry.shape for entry in entries)), 2, 2
    )


def mzi_derivatives(*, theta_rad: Real, phi_rad: Real) -> Iterator[tuple[str, Complex]]:
    """The name of every error and the derivative (K, 2, 2) of the ideal cell by it."""
    theta, phi = np.asarray(theta_rad, float), np.asarray(phi_rad, float)
    lit, dark = np.exp(0.5j * theta), np.exp(-0.5j * theta)
    ideal = CellErrors()
    cell = _assembled(lit, dark, phi, ideal)
    first, second = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    yield "in_upper", 1j * cell * first
    yield "in_lower", 1j * cell * second
    yield "arm_upper", _assembled(1j * lit, np.zeros_like(dark), phi, ideal)
    yield "arm_lower", _assembled(np.zeros_like(lit), 1j * dark, phi, ideal)
    # cos'(a) = cos(a + pi/2) and sin'(a) = sin(a + pi/2): a quarter turn is the derivative.
    yield "first", _assembled(lit, dark, phi, replace(ideal, first=np.pi / 2))
    yield "second", _assembled(lit, dark, phi, replace(ideal, second=np.pi / 2))
    yield "loss_db", -np.log(10.0) / 20.0 * cell

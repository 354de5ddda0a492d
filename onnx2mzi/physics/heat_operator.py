"""Coupling of a whole chip as a linear operator: near pairs exactly, the far field on a grid.

G is split at a radius c into G_near, which ends there, and G_smooth, which is G beyond c and a
polynomial in r^2 within, so smooth that a grid carries it (Hockney and Eastwood, Computer
Simulation Using Particles, ch. 8: particle-particle, particle-mesh; here with the bars
integrated exactly). Nothing is cut off: behind c everything is on the grid, and on a die cosines
have the images of its edges built in.
"""

from dataclasses import dataclass
from math import factorial

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.sparse as sp
from scipy.interpolate import CubicSpline
from scipy.sparse.linalg import LinearOperator
from scipy.special import j0

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.heat import heat_spectrum, point_response
from onnx2mzi.physics.heat_bars import Bars, RadialProfile, check_heaters
from onnx2mzi.physics.heat_grid import (
    Convolution,
    Grid,
    grid_around,
    grid_of,
    padded_distances,
    spread,
    wave_numbers,
)
from onnx2mzi.physics.heat_model import HeatModel
from onnx2mzi.physics.heat_near import near_matrix
from onnx2mzi.physics.stack import Die, ThermalStack

# Derivatives of G that G_smooth keeps at the radius of the split.
_SMOOTHNESS = 7
# Columns that are made at a time: so many grids are held.
_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class CouplingOperator:
    """K, shape (segments, heaters), K um / mW, without its entries: near + far @ grid @ far'.

    `into` spreads heaters (1 mW each) onto the grid, `out_of` integrates along segments.
    """

    near: sp.csr_array
    into: sp.csr_array
    out_of: sp.csr_array
    convolution: Convolution

    @property
    def shape(self) -> tuple[int, int]:
        """(segments, heaters)."""
        return self.near.shape[0], self.near.shape[1]

    def warmth(self, power_mw: npt.ArrayLike) -> Real:
        """K @ power: the integral of the temperature along every segment, K um."""
        power = np.asarray(power_mw, float)
        far = self.out_of @ self.convolution(self.into.T @ power)
        return np.asarray(self.near @ power + far)

    def adjoint(self, weight: npt.ArrayLike) -> Real:
        """K^T @ weight, for gradients: shape (segments,) to (heaters,)."""
        w = np.asarray(weight, float)
        return np.asarray(self.near.T @ w + self.into @ self.convolution(self.out_of.T @ w))

    def columns(self, heaters: npt.NDArray[np.int64], gather: sp.csr_array | None = None) -> Real:
        """Entries of some heaters, shape (segments, len(heaters)); `gather` @ them if given.

        For this a coarse grid is best: `split_um` 400, `spacing_um` 60.
        """
        near, out_of = self.near, self.out_of
        if gather is not None:
            near, out_of = gather @ near, gather @ out_of
        result = near[:, heaters].toarray()
        for start in range(0, len(heaters), _BATCH):
            part = slice(start, start + _BATCH)
            fields = self.convolution(self.into[heaters[part]].toarray())
            result[:, part] += out_of @ np.ascontiguousarray(fields.T)
        return np.asarray(result)

    def linear_operator(self) -> LinearOperator:
        """For scipy's iterative solvers."""
        return LinearOperator(
            self.shape, matvec=self.warmth, rmatvec=self.adjoint, dtype=np.float64
        )


def coupling_operator(
    *,
    model: HeatModel,
    heaters: Bars,
    segments: Bars,
    die: Die | None = None,
    split_um: float = 80.0,
    spacing_um: float = 12.0,
) -> CouplingOperator:
    """The operator of `heat_coupling.coupling_matrix`, for any number of bars.

    Memory: some 1.2 kB a segment of 120 um, and the grid. Every entry is within 1e-3 of the
    matrix's (3e-4 at the default split and spacing; the error falls with their ratio as its
    sixth power).
    Raises ValueError for heaters without length and for a die smaller than the split.
    """
    check_heaters(heaters)
    if die is not None and min(die.x1_um - die.x0_um, die.y1_um - die.y0_um) < 2 * split_um:
        raise ValueError(f"a die narrower than {2 * split_um} um is no slab with edges")
    stack, profile = model.stack, model.profile
    smooth = _smooth_part(stack, split_um)
    near = near_matrix(
        profile=lambda r: np.where(r < split_um, profile(r) - smooth(r), 0.0),
        reach_um=split_um,
        width_um=stack.heater_width_um,
        heaters=heaters,
        segments=segments,
        die=die,
        air=model.air,
    )
    if die is not None:
        grid = grid_of(die, spacing_um=spacing_um)
        multiplier = _far_spectrum(stack, profile, smooth, split_um, wave_numbers(grid))
        multiplier /= grid.dx_um * grid.dy_um
    else:
        grid = grid_around(_all(heaters, segments), spacing_um=spacing_um)
        multiplier = _free_multiplier(profile, smooth, split_um, grid)
    into = sp.diags_array(1 / heaters.length_um) @ spread(heaters, grid)
    return CouplingOperator(
        near, into.tocsr(), spread(segments, grid), Convolution(grid, multiplier)
    )


def _all(heaters: Bars, segments: Bars) -> Bars:
    pairs = ((getattr(heaters, n), getattr(segments, n)) for n in ("x0_um", "x1_um", "y_um"))
    return Bars(*(np.concatenate(pair) for pair in pairs))


def _smooth_part(stack: ThermalStack, split_um: float) -> np.polynomial.Polynomial:
    """G_smooth within the split, a polynomial in r whose odd powers vanish.

    It is the Taylor series of G in q = (r / c)^2 about q = 1; the derivatives are those of an
    interpolation through Chebyshev nodes around it.
    """
    domain = [0.5, 1.7]
    q = np.polynomial.chebyshev.chebpts1(28) * 0.6 + 1.1
    fit = np.polynomial.Chebyshev.fit(
        q, point_response(stack=stack, radius_um=split_um * np.sqrt(q)), 24, domain=domain
    )
    taylor = np.polynomial.Polynomial([0.0])
    for order in range(_SMOOTHNESS + 1):
        value = float(fit.deriv(order)(1.0) if order else fit(1.0))
        taylor += value / factorial(order) * np.polynomial.Polynomial([-1.0, 1.0]) ** order
    return taylor(np.polynomial.Polynomial([0.0, 0.0, 1 / split_um**2]))


def _far_spectrum(
    stack: ThermalStack,
    profile: RadialProfile,
    smooth: np.polynomial.Polynomial,
    split_um: float,
    k_per_um: Real,
) -> Real:
    """Transform of G_smooth: g(k) less the transform of G_near, K um^2 / mW."""
    node, weight = np.polynomial.legendre.leggauss(400)
    end = np.arcsinh(split_um)
    r = np.sinh((node + 1) * end / 2)
    measure = weight * end / 2 * np.sqrt(1 + r * r) * 2 * np.pi * r * (profile(r) - smooth(r))
    table = np.linspace(0.0, float(k_per_um.max()) * 1.001, 4000)
    near = CubicSpline(table, j0(np.outer(table, r)) @ measure)
    whole = heat_spectrum(stack=stack, wavenumber_per_um=np.maximum(k_per_um, 1e-12)).real
    return np.asarray(whole - near(k_per_um))


def _free_multiplier(
    profile: RadialProfile, smooth: np.polynomial.Polynomial, split_um: float, grid: Grid
) -> Real:
    distance = padded_distances(grid)
    kernel = profile(distance)
    inside = distance < split_um
    kernel[inside] = smooth(distance[inside])
    return np.asarray(scipy.fft.rfft2(kernel).real)

"""Coupling of two aligned heaters as a formula: the fast path for advice on spacing.

    K(d) = a exp(-d / l) + b K0(d / m) + c K0(d / n)

The exponential is the oxide, the two Bessel functions are the substrate: one exponential alone,
as often used, is wrong by a factor of two, for it has no far field.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.special import k0

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.heat_bars import Bars
from onnx2mzi.physics.heat_coupling import coupling_matrix
from onnx2mzi.physics.heat_model import HeatModel


@dataclass(frozen=True, slots=True)
class CompactLaw:
    """Phase in a parallel, aligned guide per phase in the heater's own, both `length_um` long.

    `amplitude` and `decay_um` are those of the formula, in its order; within
    [nearest_um, farthest_um] it is within `max_relative_error` of the coupling matrix.
    """

    length_um: float
    amplitude: tuple[float, float, float]
    decay_um: tuple[float, float, float]
    nearest_um: float
    farthest_um: float
    max_relative_error: float

    def __call__(self, distance_um: npt.ArrayLike) -> Real:
        """Shape (...). Raises ValueError outside of the range of distances."""
        d = np.asarray(distance_um, float)
        if np.any((d < self.nearest_um) | (d > self.farthest_um)):
            raise ValueError(f"the law holds from {self.nearest_um} to {self.farthest_um} um")
        return _law(np.log([*self.amplitude, *self.decay_um]), d)


def compact_law(
    *,
    model: HeatModel,
    length_um: float,
    nearest_um: float = 5.0,
    farthest_um: float = 1000.0,
) -> CompactLaw:
    """Fitted to the coupling matrix, its error measured between the points of the fit as well.

    Only far from the walls of trenches does an isolated stack follow such a law: look at the
    error that is returned.
    """
    d = np.geomspace(nearest_um, farthest_um, 241)
    heater = Bars(np.zeros(1), np.full(1, length_um), np.zeros(1))
    victims = Bars(np.zeros(242), np.full(242, length_um), np.append(0.0, d))
    column = coupling_matrix(model=model, heaters=heater, segments=victims)[:, 0]
    target = column[1:] / column[0]
    far = float(target[len(d) // 2])
    start = np.log([max(float(target[0]), 0.1) * 3, far, far / 6, 4.0, 85.0, 1500.0])

    def miss(log_parameters: Real) -> Real:
        ratio = _law(log_parameters, d) / target - 1
        # A high power stands in for the largest error, which has no gradient.
        return np.asarray(np.sign(ratio) * np.abs(ratio) ** 2 * 1e2)

    first = least_squares(lambda p: _law(p, d[::2]) / target[::2] - 1, start, max_nfev=400)
    best = least_squares(miss, first.x, max_nfev=400)
    error = float(np.abs(_law(best.x, d) / target - 1).max())
    a, b, c, l1, l2, l3 = (float(value) for value in np.exp(best.x))
    return CompactLaw(length_um, (a, b, c), (l1, l2, l3), nearest_um, farthest_um, error)


def _law(log_parameters: npt.ArrayLike, d: Real) -> Real:
    a, b, c, near, middle, far = np.exp(np.asarray(log_parameters))
    return np.asarray(a * np.exp(-d / near) + b * k0(d / middle) + c * k0(d / far))

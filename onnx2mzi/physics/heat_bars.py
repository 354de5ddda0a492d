"""What heats and what is heated: straight pieces along x, and second antiderivatives in x.

A heater [a0, a1] with 1 mW and a piece of guide [b0, b1] at lateral distance y couple by

    1 / (a1 - a0) int_a int_b f(b - a) db da
        = (F(b1 - a0) - F(b0 - a0) - F(b1 - a1) + F(b0 - a1)) / (a1 - a0),   F'' = f(x, y):

four look-ups, whatever the lengths.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline, PPoly
from scipy.special import k0e

from onnx2mzi.physics.arrays import Real, frozen
from onnx2mzi.physics.heat import point_response
from onnx2mzi.physics.stack import ThermalStack

Profile = Callable[[Real], Real]


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """n straight pieces along x: from `x0_um` to `x1_um` at height `y_um`, each of shape (n,).

    Raises ValueError for shapes that differ, a piece that ends before it begins, and NaN.
    """

    x0_um: Real
    x1_um: Real
    y_um: Real

    def __post_init__(self) -> None:
        for name in ("x0_um", "x1_um", "y_um"):
            object.__setattr__(self, name, frozen(getattr(self, name), np.float64))
        if not self.x0_um.shape == self.x1_um.shape == self.y_um.shape == (len(self.y_um),):
            raise ValueError("bars need three arrays of the same length")
        if not np.isfinite(self.x0_um + self.x1_um + self.y_um).all():
            raise ValueError("a bar lies at no finite place")
        if (self.x1_um < self.x0_um).any():
            raise ValueError("a bar ends before it begins")

    def __len__(self) -> int:
        return len(self.y_um)

    @property
    def length_um(self) -> Real:
        """Shape (n,)."""
        return np.asarray(self.x1_um - self.x0_um)

    def take(self, index: npt.ArrayLike) -> "Bars":
        """The bars at `index` (integers or flags), in that order."""
        i = np.asarray(index)
        return Bars(self.x0_um[i], self.x1_um[i], self.y_um[i])


def check_heaters(heaters: Bars) -> None:
    """Raises ValueError if a heater has no length: its power would have no place."""
    if (heaters.length_um <= 0).any():
        raise ValueError("a heater has no length")


@dataclass(frozen=True, slots=True)
class RadialProfile:
    """G(r) of a stack as a spline, made once and evaluated often; within 1e-6 of G.

    Behind the table G falls as K0(r / decay_um), the substrate's slowest mode: the far field
    has no end.
    """

    spline: CubicSpline
    reach_um: float
    decay_um: float

    def __call__(self, radius_um: Real) -> Real:
        """K/mW, shape of `radius_um` (>= 0)."""
        r = np.asarray(radius_um, float)
        inside = np.minimum(r, self.reach_um)
        near = np.exp(self.spline(np.arcsinh(inside)))
        beyond = r > self.reach_um
        if not beyond.any():
            return np.asarray(near)
        scaled = k0e(r / self.decay_um) / k0e(self.reach_um / self.decay_um)
        tail = scaled * np.exp(-(r - inside) / self.decay_um)
        return np.asarray(np.where(beyond, near * tail, near))


def radial_profile(*, stack: ThermalStack) -> RadialProfile:
    """The profile of `stack` without trench or undercut."""
    decay_um = sink_length_um(stack=stack)
    reach_um = 12 * decay_um
    # asinh: even steps next to the heater, logarithmic ones far from it.
    nodes = np.linspace(0.0, np.arcsinh(reach_um), 1200)
    values = point_response(stack=stack, radius_um=np.sinh(nodes))
    return RadialProfile(CubicSpline(nodes, np.log(values)), reach_um, decay_um)


def sink_length_um(*, stack: ThermalStack) -> float:
    """The decay length of the far field: 1/kappa, the smallest pole k = i kappa of g.

    The root of kappa tan(kappa H) = h / k_si (Carslaw and Jaeger, 4.3; the oxide, thin and
    adiabatic on top, adds only its own sideways conductance, neglected here: 2e-5).
    """
    biot_per_um = stack.sink_w_m2k * 1e-6 / stack.substrate_w_mk
    low, high = 0.0, np.pi / 2 / stack.substrate_um
    for _ in range(200):
        middle = (low + high) / 2
        if middle * np.tan(middle * stack.substrate_um) < biot_per_um:
            low = middle
        else:
            high = middle
    return 2 / (low + high)


def graded(*, reach: float, scale: float, step: float = 0.03) -> Real:
    """Knots from 0 to `reach` that grow as sinh from a spacing of `scale * step`."""
    end = np.arcsinh(reach / scale)
    knots = scale * np.sinh(np.linspace(0.0, end, int(end / step) + 8))
    knots[-1] = reach
    return np.asarray(knots)


def across_width(profile: Profile, *, width_um: float, x_um: Real, y_um: float) -> Real:
    """The profile at (x, y), averaged over a heater `width_um` wide. Shape of `x_um`."""
    node, weight = np.polynomial.legendre.leggauss(8)
    total = np.zeros(np.shape(x_um))
    for shift, share in zip(node * width_um / 2, weight / 2, strict=True):
        total += share * profile(np.hypot(x_um, y_um + shift))
    return total


def second_antiderivative(*, knots_um: Real, values: Real) -> PPoly:
    """F with F'' = f, F(0) = F'(0) = 0, f the cubic spline through `values` at x = knots >= 0."""
    return CubicSpline(knots_um, values).antiderivative(2)


def overlap(
    lookup: Callable[[Real], Real], *, a0_um: Real, a1_um: Real, b0_um: Real, b1_um: Real
) -> Real:
    """The four look-ups of F, divided by the heater's length a; shapes broadcast."""
    four = lookup(np.abs(b1_um - a0_um)) - lookup(np.abs(b0_um - a0_um))
    four += lookup(np.abs(b0_um - a1_um)) - lookup(np.abs(b1_um - a1_um))
    return np.asarray(four / (a1_um - a0_um))

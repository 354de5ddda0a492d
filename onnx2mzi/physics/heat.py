"""Temperature at the depth of the guides around a heater on a layered slab.

The stack (physics.stack) is uniform sideways, so heat is solved wave number by wave number:
g(k) is the temperature of the guide layer for a unit power density cos(k x) in the heater plane.
Films are transmission lines with admittance kappa k (Carslaw and Jaeger, Conduction of Heat in
Solids, 2nd ed., 14.11; the electrical analogue of Kokkas, IEEE Trans. ED 21, 653 (1974)).

Units: um, mW, K. Trenches and undercuts are no part of g: see physics.heat_section.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import hankel1, j0

from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.stack import ThermalStack

# 1 W/(m K) = 1e-3 mW/(um K); 1 W/(m^2 K) = 1e-9 mW/(um^2 K).
MW_PER_UM_K = 1e-3
MW_PER_UM2_K = 1e-9

# The path of integration is turned by this angle: Bessel functions decay on it instead of
# oscillating, and the poles of g, all on the imaginary axis, stay at a distance.
_TURN = np.exp(0.25j * np.pi)
_LOG_STEP = 0.04
_SMALLEST_PER_UM = 1e-10


def heat_spectrum(*, stack: ThermalStack, wavenumber_per_um: npt.ArrayLike) -> Complex:
    """g(k) in K um^2 / mW at the guides, shape of `wavenumber_per_um` (complex, Re k > 0).

    With Y the admittance that the guide side of a plane sees, t = tanh(k H):

        Y_si = k_s k (k_s k t + h) / (k_s k + h t)         substrate on the sink
        Y_d  = k_o k (Y_si + k_o k t) / (k_o k + Y_si t)   oxide below the heater
        Y_u  = k_o k t                                     oxide above it, adiabatic
        g    = (temperature of the guides / of the heater plane) / (Y_d + Y_u)
    """
    k = np.asarray(wavenumber_per_um, complex)
    silicon = stack.substrate_w_mk * MW_PER_UM_K * k
    oxide = stack.oxide_w_mk * MW_PER_UM_K * k
    sink = stack.sink_w_m2k * MW_PER_UM2_K
    t = np.tanh(k * stack.substrate_um)
    below = silicon * (silicon * t + sink) / (silicon + sink * t)
    thick_um = stack.clad_um + stack.box_um
    t = np.tanh(k * thick_um)
    down = oxide * (below + oxide * t) / (oxide + below * t)
    up = oxide * np.tanh(k * stack.passivation_um)
    # cosh and sinh of the box over those of all the oxide, scaled to stay finite.
    box = np.exp(-2 * k * stack.box_um)
    all_oxide = np.exp(-2 * k * thick_um)
    ratio = (oxide * (1 + box) + below * (1 - box)) / (
        oxide * (1 + all_oxide) + below * (1 - all_oxide)
    )
    return np.asarray(ratio * np.exp(-k * stack.clad_um) / (down + up))


def _log_path(stack: ThermalStack) -> tuple[Real, float]:
    """Nodes t of the trapezoidal rule in ln t, and its step; exponentially accurate here."""
    largest = 60.0 / stack.clad_um
    count = int(np.ceil(np.log(largest / _SMALLEST_PER_UM) / _LOG_STEP)) + 1
    nodes = np.geomspace(_SMALLEST_PER_UM, largest, count)
    return nodes, float(np.log(nodes[1] / nodes[0]))


def point_response(*, stack: ThermalStack, radius_um: npt.ArrayLike) -> Real:
    """G(r) in K/mW: temperature of the guides at distance r from a point heater. Shape (...).

    G(r) = 1/(2 pi) int_0^inf k g(k) J0(k r) dk = Re 1/(2 pi) int k g(k) H0(k r) dk, the latter
    along k = t e^{i pi/4}. The error is round-off of the largest values nearby: beyond some 20
    decay lengths of the substrate only the magnitude is meaningful.
    """
    r = np.abs(np.asarray(radius_um, float))
    t, step = _log_path(stack)
    result = np.empty(r.size)
    near = r.ravel() < 0.5 * stack.clad_um
    real = t * t * heat_spectrum(stack=stack, wavenumber_per_um=t).real
    result[near] = j0(np.outer(r.ravel()[near], t)) @ real * step / (2 * np.pi)
    k = t * _TURN
    turned = k * k * heat_spectrum(stack=stack, wavenumber_per_um=k)
    far = np.flatnonzero(~near)
    for part in np.array_split(far, 1 + far.size // 256):
        waves = hankel1(0, np.outer(r.ravel()[part], k))
        result[part] = (waves @ turned).real * step / (2 * np.pi)
    return result.reshape(r.shape)


def line_response(*, stack: ThermalStack, offset_um: npt.ArrayLike) -> Real:
    """Temperature in K per mW/um beside an endless straight heater. Shape (...).

    1/pi int_0^inf g(k) cos(k y) dk, averaged over the width of the heater.
    """
    y = np.abs(np.asarray(offset_um, float))
    t, step = _log_path(stack)
    k = t * _TURN
    node, weight = np.polynomial.legendre.leggauss(8)
    turned = k * heat_spectrum(stack=stack, wavenumber_per_um=k)
    result = np.zeros(y.size)
    for shift, share in zip(node * stack.heater_width_um / 2, weight / 2, strict=True):
        waves = np.exp(1j * np.outer(np.abs(y.ravel() + shift), k))
        result += share * (waves @ turned).real * step / np.pi
    return result.reshape(y.shape)


def phase_rad_per_k_um(*, stack: ThermalStack) -> float:
    """Phase of 1 um of guide warmed by 1 K: 2 pi / lambda d n_eff / dT."""
    return 2 * np.pi / stack.wavelength_um * stack.thermo_optic_per_k


def slab_p_pi_mw(*, stack: ThermalStack) -> float:
    """Power for pi of a long straight heater without trench or undercut, in mW.

    Independent of the length: pi = 2 pi / lambda dn/dT (line response at 0) P.
    """
    warmth = float(line_response(stack=stack, offset_um=0.0))
    return np.pi / (phase_rad_per_k_um(stack=stack) * warmth)

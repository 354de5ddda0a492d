"""Noise of every sample: what modulators and detectors add each time, and how large it is.

Sizes are relative to full scale: the largest amplitude at the inputs of a layer, the largest
output of its ideal chip. In-phase and quadrature are read apart, with noise of their own::

    x' = x + input F_x n          modulators
    y' = y + sqrt(output^2 F_y^2 + shot^2 F_y |y|) n'      detectors

`shot` is Poisson's law, a variance as large as the signal: what a signal of full scale has. The
shot noise of a local oscillator does not depend on the signal and belongs to `output`, as the
receiver's thermal noise does. References: Schottky, Ann. Phys. 362, 541 (1918); Johnson and
Nyquist, Phys. Rev. 32, 97 and 110 (1928); effective bits: IEEE Std 1241.
"""

import numpy as np

from onnx2mzi.physics.arrays import Real

ELEMENTARY_CHARGE_C = 1.602176634e-19
BOLTZMANN_J_K = 1.380649e-23


def shot_sigma(*, current_a: float, bandwidth_hz: float) -> float:
    """Shot noise sqrt(2 q I B) of a photocurrent, relative to it."""
    return float(np.sqrt(2 * ELEMENTARY_CHARGE_C * bandwidth_hz / current_a))


def thermal_sigma(*, current_a: float, bandwidth_hz: float, ohm: float, kelvin: float) -> float:
    """Thermal noise sqrt(4 k T B / R) of the receiver's resistor, relative to a photocurrent."""
    return float(np.sqrt(4 * BOLTZMANN_J_K * kelvin * bandwidth_hz / ohm) / current_a)


def driver_sigma(*, bits: float) -> float:
    """Noise of a driver with so many effective bits over -1 .. 1, relative to 1: that of an ideal
    converter, step / sqrt(12)."""
    return float(2.0 * 2.0**-bits / np.sqrt(12))


def output_sigma(y: Real, *, full_scale: float, output: float, shot: float) -> Real:
    """Sigma of what detectors add to outputs y, any shape: the second law above."""
    return np.sqrt((output * full_scale) ** 2 + shot**2 * full_scale * np.abs(y))

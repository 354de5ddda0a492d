"""Light through the circuit that extraction found: couplers, crossings, heaters, and guides as
long as they are drawn. Knows no program and no mesh.
"""

from collections.abc import Mapping
from math import sqrt

import numpy as np

from onnx2mzi.backends.gds.bodies import Kind
from onnx2mzi.backends.gds.design_paths import crossing_reach_um
from onnx2mzi.backends.gds.extraction import Extracted
from onnx2mzi.physics.arrays import Complex
from onnx2mzi.physics.mzi import coupler
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import heated_um


def circuit_transfer(
    found: Extracted,
    technology: Technology,
    heated_rad: Mapping[int, float],
    inputs: list[int],
    outputs: list[int],
) -> Complex:
    """Amplitudes from nets to nets, shape (outputs, inputs), lossless.

    `heated_rad` is what each heater adds to its guide, by its place in `found.devices` (nothing
    for those that are not in it). Light runs to the right, so devices are passed in that order.
    Nets that no light reaches are dark.
    """
    per_um = 2 * np.pi / technology.guide_wavelength_um
    half = coupler() * np.exp(1j * per_um * technology.coupler.path_um)
    through_um = 2 * sqrt(2) * crossing_reach_um(technology) + technology.crossing.extra_um
    crossed = np.exp(1j * per_um * through_um)
    section = heated_um(technology)
    dark = np.zeros(len(inputs), np.complex128)
    light = dict(zip(inputs, np.eye(len(inputs), dtype=np.complex128), strict=True))

    def arriving(net: int) -> Complex:
        """What comes to the end of a guide; a tip has no length that matters."""
        if net not in light:
            return dark
        turn = per_um * np.nan_to_num(found.lengths_um.get(net, 0.0))
        return np.asarray(light[net] * np.exp(1j * turn))

    for k in sorted(range(len(found.devices)), key=lambda k: found.devices[k].x_um):
        device = found.devices[k]
        a, b, c, d = device.nets
        if device.kind is Kind.HEATER:
            turn = per_um * section + heated_rad.get(k, 0.0)
            light[b] = arriving(a) * np.exp(1j * turn)
            continue
        upper, lower = arriving(a), arriving(b)
        if device.kind is Kind.CROSSING:
            light[c], light[d] = crossed * lower, crossed * upper
        else:
            light[c] = half[0, 0] * upper + half[0, 1] * lower
            light[d] = half[1, 0] * upper + half[1, 1] * lower
    return np.array([arriving(net) for net in outputs], np.complex128).reshape(-1, len(inputs))

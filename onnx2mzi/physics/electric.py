"""Currents and voltages of resistive heaters: P = I^2 R, with R as it is when hot."""

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Real


def heater_current_ma(power_mw: npt.ArrayLike, *, ohm: float) -> Real:
    """Current of heaters of `ohm` that turn `power_mw` into heat, shape (...)."""
    # 1 mA through 1 ohm is a microwatt.
    return np.asarray(np.sqrt(1e3 * np.asarray(power_mw, float) / ohm))


def heater_voltage_mv(power_mw: npt.ArrayLike, *, ohm: float) -> Real:
    """Voltage across such heaters, shape (...), in mV."""
    return np.asarray(heater_current_ma(power_mw, ohm=ohm) * ohm)

"""Copies of a mesh by the compiled kernels: `imperfect_mesh.drawn_mesh` in one go.

The table below is all that a cell follows from besides random numbers and sizes; its columns are
the rows of kernels/src/device.hpp. numpy's way through the same numbers is the oracle.
"""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.imperfect_devices import MeshDevices
from onnx2mzi.emulate.imperfect_errors import (
    Carried,
    Chips,
    driven_rad,
    phase_slopes,
    shared_split,
    split_slopes,
)
from onnx2mzi.kernels.native import Extension
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.physics.shifter import Drive


@dataclass(frozen=True, slots=True, eq=False)
class NativeCopies:
    """Cells (C, K, 2, 2) or light (C, ports, B); what is carried to behind the last column, before
    `out`; what heaters were set to make more, theta and phi (C, K)."""

    cells: Complex | None
    light: Complex | None
    carried: Carried
    theta: Real
    phi: Real


def native_copies(
    extension: Extension,
    devices: MeshDevices,
    chips: Chips,
    entering: Carried,
    *,
    settings: tuple[Real, Real] | None,
    told: bool = False,
    light: tuple[Complex | None, Complex] | None = None,
) -> NativeCopies:
    """Draw copies. `settings` sets heaters, and without it they trim if the chips' do. Only if
    `told` does the result say how they were set. `light`: what enters, (C, ports, B) or None for
    the unit matrix, and factors (C, ports) behind the last column; without it cells are told."""
    core, copies = devices.core, chips.copies
    sizes, commons = _sizes(devices, chips), _commons(chips)
    gathered = np.empty((copies, devices.ports))
    gathered[:] = entering.phase_rad
    power = np.array(entering.power, float)
    change = None
    if told or settings is not None:
        change = np.zeros((2, copies, core.count))
        if settings is not None:
            change[0], change[1] = settings
    cells = fields = x = factors = None
    batch = devices.ports
    if light is None:
        cells = np.empty((copies, core.count, 2, 2), np.complex128)
    else:
        x = None if light[0] is None else np.ascontiguousarray(light[0], np.complex128)
        factors = np.ascontiguousarray(light[1], np.complex128)
        batch = batch if x is None else x.shape[2]
        fields = np.empty((copies, devices.ports, batch), np.complex128)
    extension.copies(
        (devices.ports, core.count, core.column, core.port, core.out, devices.table),
        (copies, devices.table.shape[1], len(sizes), len(commons), int(settings is not None)),
        np.ascontiguousarray(devices.device, np.uint64),
        _made(devices, chips.sizes),
        sizes,
        np.ascontiguousarray(chips.keys),
        commons,
        gathered,
        power,
        change,
        cells,
        batch,
        x,
        factors,
        fields,
    )
    none = np.zeros((1, core.count))
    theta, phi = (none, none) if change is None else (change[0], change[1])
    return NativeCopies(cells, fields, Carried(gathered, power), theta, phi)


def _sizes(devices: MeshDevices, chips: Chips) -> Real:
    sizes = chips.sizes
    return np.array(
        [
            sizes.phase_rad,
            sizes.gamma,
            sizes.split_rad,
            sizes.loss_sigma_db,
            sizes.dead,
            sizes.stuck,
            2 * np.pi if devices.theta.drive is Drive.UPPER_ARM else np.pi,
            chips.leak,
            sizes.fabrication_scale,
            float(chips.trim and sizes.static),
            sizes.thermal,
            sizes.loss_scale,
        ]
    )


def _commons(chips: Chips) -> Real:
    """What all devices of a chip share, (5, C)."""
    commons = np.empty((5, chips.copies))
    values = (shared_split(chips), *phase_slopes(chips), *split_slopes(chips))
    for row, value in zip(commons, values, strict=True):
        row[:] = value[:, 0]
    return commons


def _made(devices: MeshDevices, sizes: Imperfections) -> Real | None:
    """What theta and phi heaters are driven to make if not their setting, (2, K)."""
    if sizes.bits is None:
        return None
    return np.stack([driven_rad(heaters, sizes) for heaters in (devices.theta, devices.phi)])

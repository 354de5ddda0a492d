"""Copies of a mesh drawn by the compiled kernels: `imperfect_mesh.drawn_mesh` in one go.

The table below is all that a cell follows from besides random numbers; its rows are those of
kernels/src/device.hpp. numpy's way through the same numbers is the oracle.
"""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.imperfect_devices import Heaters, MeshDevices
from onnx2mzi.kernels.native import Extension
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.imperfection import Imperfections, static_sigma_rad
from onnx2mzi.physics.imperfection_random import Keys
from onnx2mzi.physics.shifter import Drive, ShifterState, drive_rad

_ACTIVE = np.uint8(ShifterState.ACTIVE)


@dataclass(frozen=True, slots=True, eq=False)
class NativeCopies:
    """Cells (C, K, 2, 2); phases gathered (C, ports) and powers (ports,) behind the last column,
    before `out`; what heaters were set to make more, theta and phi (C, K)."""

    cells: Complex
    gathered_rad: Real
    power: Real
    theta: Real
    phi: Real


def native_copies(
    extension: Extension,
    devices: MeshDevices,
    sizes: Imperfections,
    *,
    keys: Keys,
    shared_rad: Real,
    slope: Real,
    coherence_mm: float,
    leak: float,
    trim: bool,
    entering_rad: Real,
    power: Real,
    change: tuple[Real, Real] | None,
    told: bool,
) -> NativeCopies:
    """Draw the copies of `keys` (C,). `shared_rad` and `slope` (C,) are what the whole chip has in
    common; `change` sets heaters, and without it they trim if `trim`. Only if `told` does the
    result say how they were set."""
    core, copies = devices.core, len(keys)
    table = np.ascontiguousarray(_table(devices, sizes, coherence_mm))
    numbers = np.array(
        [
            sizes.phase_rad,
            sizes.gamma,
            sizes.split_rad,
            sizes.loss_sigma_db,
            sizes.dead,
            sizes.stuck,
            2 * np.pi if devices.theta.drive is Drive.UPPER_ARM else np.pi,
            leak,
            float(sizes.fabrication_scale > 0),
            float(trim and sizes.static),
        ]
    )
    gathered = np.array(np.broadcast_to(entering_rad, (copies, devices.ports)), float, order="C")
    powers = np.array(np.broadcast_to(power, (copies, devices.ports)), float, order="C")
    settings = np.zeros((2, copies, core.count)) if told or change is not None else None
    if change is not None and settings is not None:
        settings[0], settings[1] = change
    cells = np.empty((copies, core.count, 2, 2), np.complex128)
    extension.devices(
        devices.ports,
        core.count,
        copies,
        len(table),
        len(numbers),
        int(change is not None),
        core.column,
        core.port,
        table,
        np.ascontiguousarray(devices.device, np.uint64),
        numbers,
        np.ascontiguousarray(keys),
        np.ascontiguousarray(np.broadcast_to(shared_rad, copies), np.float64),
        np.ascontiguousarray(np.broadcast_to(slope, copies), np.float64),
        gathered,
        powers,
        settings,
        cells,
    )
    none = np.zeros((1, core.count))
    theta, phi = (none, none) if settings is None else (settings[0], settings[1])
    return NativeCopies(cells, gathered, powers[0], theta, phi)


def _table(devices: MeshDevices, sizes: Imperfections, coherence_mm: float) -> Real:
    """The rows of device.hpp, (29, K)."""
    core, count = devices.core, devices.core.count
    across_mm = core.port * devices.pitch_um * 1e-3
    lower_mm = across_mm + devices.pitch_um * 1e-3
    arm_mm, upper_mm, lower_in_mm = (
        length * 1e-3 for length in (devices.arm_um, devices.upper_um, devices.lower_um)
    )

    def sigma(length_um: Real) -> Real:
        spread = static_sigma_rad(length_um=length_um, coherence_mm=coherence_mm)
        return sizes.fabrication_scale * spread

    theta, phi = devices.theta, devices.phi
    theta_heat = np.append(sizes.thermal * theta.heat_rad, 0.0)
    phi_heat = np.append(sizes.thermal * phi.heat_rad, 0.0)
    one = np.ones(count)
    rows = [
        core.theta / 2,
        core.phi,
        sigma(devices.arm_um),
        sigma(devices.upper_um),
        sigma(devices.lower_um),
        across_mm * arm_mm,
        lower_mm * arm_mm,
        across_mm * upper_mm,
        lower_mm * lower_in_mm,
        _made(theta, sizes),
        theta.heat_rad,
        *theta.on_arms(one),
        _made(phi, sizes),
        phi.heat_rad,
        *phi.on_arms(one),
        theta_heat[devices.above],
        theta_heat[devices.below],
        phi_heat[devices.above],
        phi_heat[devices.below],
        sizes.loss_scale * devices.cell_db,
        *theta.correction_factors(),
        *phi.correction_factors(),
        devices.crossing > 0,
        theta.active > 0,
        phi.active > 0,
    ]
    table = np.empty((len(rows), count))
    for place, row in enumerate(rows):
        table[place] = row
    return table


def _made(heaters: Heaters, sizes: Imperfections) -> Real:
    """What heaters are driven to make, on their codes if there are any, (K,)."""
    if sizes.bits is None:
        return heaters.heat_rad
    settled = sizes.bits.nearest_rad(heaters.phase_rad, heaters.drive)
    return drive_rad(settled, heaters.active * _ACTIVE, heaters.drive)

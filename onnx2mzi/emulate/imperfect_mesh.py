"""Copies of a mesh with everything that is wrong with them, and trimming by the heaters left.

A copy is drawn from device-bound random numbers (physics.imperfection_random). Trimming follows
the light through the columns: an active heater makes up for the static phase difference that
arrives at it, and what nobody makes up for travels on. The prediction decides only what the
heaters do; light then meets all phases as they are.
"""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.imperfect_devices import OUTPUTS, Heaters, MeshDevices
from onnx2mzi.emulate.imperfect_errors import (
    ARMS,
    INPUTS,
    Carried,
    Chips,
    heater_changes,
    losses,
    normals_of,
    phase_slopes,
    splits,
)
from onnx2mzi.emulate.imperfect_native import native_copies
from onnx2mzi.kernels import propagate_cells
from onnx2mzi.kernels.gauge import column_slices
from onnx2mzi.kernels.native import extension
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.imperfection import Imperfections, static_sigma_rad
from onnx2mzi.physics.imperfection_cell import CellErrors, imperfect_crossing, imperfect_mzi


@dataclass(frozen=True, slots=True)
class MeshChange:
    """What the heaters of every copy make beyond their design: theta, phi (C, K), out (C, ports),
    rad."""

    theta: Real
    phi: Real
    out: Real


@dataclass(frozen=True, slots=True)
class DrawnMesh:
    """Copies of a mesh: cells (C, K, 2, 2), factors (C, ports) behind the last column, the phases
    carried out, and how heaters were set against static errors."""

    cells: Complex
    out: Complex
    carried: Carried
    change: MeshChange


def static_errors(devices: MeshDevices, chips: Chips) -> tuple[CellErrors, Real]:
    """What is wrong with copies of the mesh whatever its heaters do: errors of the cells, and
    phases (C, ports) behind the last column."""
    port = devices.core.port
    arm_upper, arm_lower = _static_pair(chips, devices, ARMS, devices.arm_um, devices.arm_um)
    in_upper, in_lower = _static_pair(chips, devices, INPUTS, devices.upper_um, devices.lower_um)
    middle_mm = (devices.y_mm[port] + devices.y_mm[port + 1]) / 2
    span_mm = devices.arm_um * 1e-3
    first, second = splits(devices.device, devices.x_mm, span_mm, middle_mm, chips)
    errors = CellErrors(
        in_upper=in_upper,
        in_lower=in_lower,
        arm_upper=arm_upper,
        arm_lower=arm_lower,
        first=first,
        second=second,
        loss_db=losses(devices.device, devices.cell_db, chips),
    )
    return errors, _static_outputs(chips, devices)


def drawn_mesh(
    devices: MeshDevices,
    chips: Chips,
    entering: Carried,
    change: MeshChange | None = None,
    *,
    told: bool = False,
) -> DrawnMesh:
    """Copies of the mesh. `entering` is the static phase that light brings along. With a `change`
    heaters are set like that, and nothing else is trimmed; with `told` the result is sure to say
    how heaters were set."""
    factors, out_rad = _outputs(devices, chips, change)
    module = extension()
    if module is None or devices.core.count == 0:
        cells, carried, change = _drawn(devices, chips, entering, change)
    else:
        made = native_copies(
            module, devices, chips, entering, settings=_settings(change), told=told
        )
        assert made.cells is not None
        cells, carried = made.cells, made.carried
        change = MeshChange(made.theta, made.phi, _change_of_outputs(devices, change))
    after = Carried(carried.phase_rad + out_rad, carried.power)
    return DrawnMesh(cells, factors, after, change)


def mesh_light(
    devices: MeshDevices,
    chips: Chips,
    entering: Carried,
    x: Complex | None,
    change: MeshChange | None = None,
) -> tuple[Complex, Carried]:
    """Light (C, ports, B) behind copies of the mesh, as `drawn_mesh` makes them, and what is
    carried on. x (C, ports, B) enters; None is the unit matrix."""
    module = extension()
    if module is None or devices.core.count == 0:
        drawn = drawn_mesh(devices, chips, entering, change)
        return light_behind(devices, drawn, x), drawn.carried
    factors, out_rad = _outputs(devices, chips, change)
    made = native_copies(
        module, devices, chips, entering, settings=_settings(change), light=(x, factors)
    )
    assert made.light is not None
    return made.light, Carried(made.carried.phase_rad + out_rad, made.carried.power)


def light_behind(devices: MeshDevices, drawn: DrawnMesh, x: Complex | None) -> Complex:
    """Light (C, ports, B) behind drawn copies, as in `mesh_light`."""
    unit = np.eye(devices.ports, dtype=np.complex128)
    return np.stack(
        [
            factors[:, None] * propagate_cells(devices.core, cells, unit if x is None else x[c])
            for c, (cells, factors) in enumerate(zip(drawn.cells, drawn.out, strict=True))
        ]
    )


def _settings(change: MeshChange | None) -> tuple[Real, Real] | None:
    return None if change is None else (change.theta, change.phi)


def _change_of_outputs(devices: MeshDevices, change: MeshChange | None) -> Real:
    return np.zeros((1, devices.ports)) if change is None else change.out


def _outputs(devices: MeshDevices, chips: Chips, change: MeshChange | None) -> tuple[Complex, Real]:
    """Factors (C, ports) behind the last column, and the static phases among them."""
    out_rad = _static_outputs(chips, devices) + _change_of_outputs(devices, change)
    noise = heater_changes(devices.out, chips, OUTPUTS + np.arange(devices.ports), 0)
    kept = chips.kept(devices.common_db)
    angle = devices.after_rad + out_rad + noise
    factors = np.empty(angle.shape, np.complex128)
    factors.real, factors.imag = kept * np.cos(angle), kept * np.sin(angle)
    return np.broadcast_to(factors, (chips.copies, devices.ports)), out_rad


def _drawn(
    devices: MeshDevices, chips: Chips, entering: Carried, change: MeshChange | None
) -> tuple[Complex, Carried, MeshChange]:
    """Cells, what is carried to behind them, and how heaters were set, in numpy: the oracle."""
    sizes = chips.sizes
    errors, _ = static_errors(devices, chips)
    carried = entering
    none = np.zeros((1, devices.core.count))
    trimmed = MeshChange(none, none, np.zeros((1, devices.ports)))
    if change is not None:
        trimmed = change
        errors = errors.moved("arm", devices.theta.on_arms(change.theta))
        errors = errors.moved("in", devices.phi.on_arms(change.phi))
    elif sizes.static and chips.trim:
        arms = np.asarray(errors.arm_upper), np.asarray(errors.arm_lower)
        inputs = np.asarray(errors.in_upper), np.asarray(errors.in_lower)
        fixes, carried = _trims(devices, arms, inputs, entering)
        errors = errors.moved("arm", (fixes[0], fixes[1]))
        errors = errors.moved("in", (fixes[2], fixes[3]))
        by_heaters = devices.theta.makes(fixes[0], fixes[1]), devices.phi.makes(fixes[2], fixes[3])
        trimmed = MeshChange(*by_heaters, trimmed.out)
    theta, phi = _heaters(devices, chips)
    errors = errors.moved("arm", devices.theta.on_arms(theta))
    errors = errors.moved("in", devices.phi.on_arms(phi))
    errors = errors.moved("arm", _neighbours(devices, devices.theta, sizes.thermal))
    errors = errors.moved("in", _neighbours(devices, devices.phi, sizes.thermal))
    core = devices.core
    cells = imperfect_mzi(theta_rad=core.theta, phi_rad=core.phi, errors=errors)
    cells = np.broadcast_to(cells, (chips.copies, core.count, 2, 2))
    bare = np.flatnonzero(devices.crossing)
    if len(bare) and (sizes.crosstalk_scale > 0 or _any_cell_error(sizes)):
        leak = chips.leak
        there = CellErrors(
            in_upper=_of(errors.in_upper, bare),
            in_lower=_of(errors.in_lower, bare),
            loss_db=_of(errors.loss_db, bare),
        )
        cells = np.array(cells)
        cells[:, bare] = imperfect_crossing(phi_rad=core.phi[bare], errors=there, leak=leak)
    return np.asarray(cells), carried, trimmed


def mesh_trims(
    devices: MeshDevices, errors: CellErrors, out_rad: Real, entering: Carried
) -> tuple[MeshChange, Carried]:
    """How the heaters of one mesh with known errors (K,) trim, (1, K), and what leaves it."""
    rows = [
        np.broadcast_to(np.asarray(values, float), (1, devices.core.count))
        for values in (errors.arm_upper, errors.arm_lower, errors.in_upper, errors.in_lower)
    ]
    fixes, carried = _trims(devices, (rows[0], rows[1]), (rows[2], rows[3]), entering)
    change = MeshChange(
        devices.theta.makes(fixes[0], fixes[1]),
        devices.phi.makes(fixes[2], fixes[3]),
        np.zeros((1, devices.ports)),
    )
    return change, Carried(carried.phase_rad + out_rad, carried.power)


def _any_cell_error(sizes: Imperfections) -> bool:
    return sizes != Imperfections()


def _of(values: Real | float, where: np.ndarray) -> Real | float:
    return values if np.ndim(values) == 0 else np.asarray(values)[..., where]


def _heaters(devices: MeshDevices, chips: Chips) -> tuple[Real, Real]:
    return (
        heater_changes(devices.theta, chips, devices.device, 0),
        heater_changes(devices.phi, chips, devices.device, 1),
    )


def _neighbours(devices: MeshDevices, heaters: Heaters, share: float) -> tuple[Real, Real]:
    """Phases (K,) that the heaters above bring to upper guides, those below to lower ones."""
    heat = np.append(share * heaters.heat_rad, 0.0)
    return heat[devices.above], heat[devices.below]


def _static_pair(
    chips: Chips, devices: MeshDevices, stream: int, upper_um: Real, lower_um: Real
) -> tuple[Real, Real]:
    """Static phases of two guides of every MZI, (C, K) each, or (1, K)."""
    sizes, mm, port = chips.sizes, chips.coherence_mm, devices.core.port
    slope_x, slope_y = phase_slopes(chips)
    along = slope_x * devices.x_mm
    upper = (along + slope_y * devices.y_mm[port]) * upper_um * 1e-3
    lower = (along + slope_y * devices.y_mm[port + 1]) * lower_um * 1e-3
    if sizes.fabrication_scale > 0:
        scale = sizes.fabrication_scale
        first, second = normals_of(chips.keys, devices.device, stream)
        upper = upper + first * (scale * static_sigma_rad(length_um=upper_um, coherence_mm=mm))
        lower = lower + second * (scale * static_sigma_rad(length_um=lower_um, coherence_mm=mm))
    return upper, lower


def _static_outputs(chips: Chips, devices: MeshDevices) -> Real:
    sizes = chips.sizes
    slope_x, slope_y = phase_slopes(chips)
    phase: Real = (slope_x * devices.out_x_mm + slope_y * devices.y_mm) * devices.out_um * 1e-3
    if sizes.fabrication_scale > 0:
        device = OUTPUTS + np.arange(devices.ports)
        sigma = static_sigma_rad(length_um=devices.out_um, coherence_mm=chips.coherence_mm)
        drawn, _ = normals_of(chips.keys, device, INPUTS)
        phase = phase + sizes.fabrication_scale * sigma * drawn
    return phase


def _trims(
    devices: MeshDevices, arms: tuple[Real, Real], inputs: tuple[Real, Real], entering: Carried
) -> tuple[list[Real], Carried]:
    """What trimming adds to upper and lower arm and upper and lower input, (C, K) each.

    Where no heater is, the difference stays. The phase carried on is that of the correlation of
    the light with the ideal light, inputs being independent: exact for cross and bar.
    """
    core = devices.core
    copies = max(len(arms[0]), len(inputs[0]), len(entering.phase_rad))
    shape = (copies, core.count)
    gathered = np.array(np.broadcast_to(entering.phase_rad, (copies, devices.ports)))
    power = np.array(entering.power)
    fixes = [np.zeros(shape) for _ in range(4)]
    arm_upper, arm_lower, in_upper, in_lower = (
        np.broadcast_to(values, shape) for values in (*arms, *inputs)
    )
    difference = arm_upper - arm_lower
    for fix, factor in zip(fixes[:2], devices.theta.correction_factors(), strict=True):
        fix += factor * difference
    arm_upper, arm_lower = arm_upper + fixes[0], arm_lower + fixes[1]
    bare = devices.crossing > 0
    common = np.where(bare, 0.0, (arm_upper + arm_lower) / 2)
    half = (core.theta + np.where(bare, 0.0, arm_upper - arm_lower)) / 2
    stay, swap = np.sin(core.theta / 2) * np.sin(half), np.cos(core.theta / 2) * np.cos(half)
    stays = np.sin(core.theta / 2) ** 2
    for_upper, for_lower = devices.phi.correction_factors()
    for cut in column_slices(core.column):
        upper = core.port[cut]
        above = gathered[:, upper] + in_upper[:, cut]
        below = gathered[:, upper + 1] + in_lower[:, cut]
        fixes[2][:, cut] = for_upper[cut] * (above - below)
        fixes[3][:, cut] = for_lower[cut] * (above - below)
        p, q = power[upper], power[upper + 1]
        one = p * np.exp(1j * (above + fixes[2][:, cut]))
        two = q * np.exp(1j * (below + fixes[3][:, cut]))
        to_upper = stay[:, cut] * one + swap[:, cut] * two
        to_lower = swap[:, cut] * one + stay[:, cut] * two
        gathered[:, upper] = np.angle(to_upper) + common[:, cut]
        gathered[:, upper + 1] = np.angle(to_lower) + common[:, cut]
        s = stays[cut]
        power[upper], power[upper + 1] = s * p + (1 - s) * q, (1 - s) * p + s * q
    return fixes, Carried(gathered, power)

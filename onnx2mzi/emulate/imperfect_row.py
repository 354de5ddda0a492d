"""Copies of a row of attenuators with everything that is wrong with them."""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.imperfect_devices import AttenuatorDevices
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
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.imperfection import static_sigma_rad
from onnx2mzi.physics.imperfection_cell import CellErrors, imperfect_mzi


def static_attenuators(devices: AttenuatorDevices, chips: Chips) -> tuple[CellErrors, Real]:
    """As `static_errors`: errors of the attenuators, and phases (C, r) of their guides."""
    sizes, device = chips.sizes, np.arange(len(devices.gone))
    slope_x, slope_y = phase_slopes(chips)
    slope = slope_x * devices.x_mm + slope_y * devices.y_mm
    # Arms lie half a pitch apart.
    between = slope_y * devices.pitch_um * 1e-3 / 4
    arm_upper = (slope + between) * devices.arm_um * 1e-3
    arm_lower = (slope - between) * devices.arm_um * 1e-3
    guide = slope * devices.guide_um * 1e-3
    if sizes.fabrication_scale > 0:
        arm, behind = (
            sizes.fabrication_scale
            * static_sigma_rad(length_um=length_um, coherence_mm=chips.coherence_mm)
            for length_um in (devices.arm_um, devices.guide_um)
        )
        upper, lower = normals_of(chips.keys, device, ARMS)
        arm_upper, arm_lower = arm_upper + arm * upper, arm_lower + arm * lower
        guide = guide + behind * normals_of(chips.keys, device, INPUTS)[0]
    span_mm = devices.arm_um * 1e-3
    x_mm = np.full(len(device), devices.x_mm)
    first, second = splits(device, x_mm, span_mm, devices.y_mm, chips)
    loss_db = losses(device, devices.loss_db, chips)
    errors = CellErrors(
        arm_upper=arm_upper, arm_lower=arm_lower, first=first, second=second, loss_db=loss_db
    )
    return errors, guide


@dataclass(frozen=True, slots=True)
class DrawnAttenuators:
    """Copies of a row of attenuators: amplitudes (C, r), the phases carried on, and what heaters
    make more than their design, (C, r)."""

    amplitude: Complex
    carried: Carried
    change: Real


def drawn_attenuators(
    devices: AttenuatorDevices, chips: Chips, entering: Carried, change: Real | None = None
) -> DrawnAttenuators:
    """Copies of the attenuators; `entering` has r guides, `change` (C, r) is as in `drawn_mesh`."""
    sizes, device = chips.sizes, np.arange(len(devices.gone))
    errors, guide = static_attenuators(devices, chips)
    if change is None:
        change = np.zeros((1, len(device)))
        if sizes.static and chips.trim:
            difference = np.asarray(errors.arm_upper - errors.arm_lower)
            to_upper, to_lower = devices.theta.correction_factors()
            change = devices.theta.makes(to_upper * difference, to_lower * difference)
    errors = errors.moved("arm", devices.theta.on_arms(change))
    made = heater_changes(devices.theta, chips, device, 0)
    common = (np.asarray(errors.arm_upper) + np.asarray(errors.arm_lower)) / 2
    errors = errors.moved("arm", devices.theta.on_arms(made))
    theta = devices.theta.phase_rad
    through = imperfect_mzi(theta_rad=theta, phi_rad=np.zeros_like(theta), errors=errors)
    plain = 10.0 ** (-np.asarray(errors.loss_db) / 20.0)
    amplitude = np.where(devices.gone > 0, plain, through[..., 0, 1])
    phase = np.pi / 2 + theta / 2 + devices.common_rad + guide
    result = np.broadcast_to(amplitude * np.exp(1j * phase), (chips.copies, len(device)))
    power = entering.power * np.cos(theta / 2) ** 2
    passed = entering.phase_rad + guide + np.where(devices.gone > 0, 0.0, common)
    return DrawnAttenuators(result, Carried(passed, power), change)

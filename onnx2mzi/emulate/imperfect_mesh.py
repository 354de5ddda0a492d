"""Copies of a mesh with everything that is wrong with them, and trimming by the heaters left.

A copy is drawn from device-bound random numbers (physics.imperfection_random). Trimming follows
the light through the columns: an active heater makes up for the static phase difference that
arrives at it, and what nobody makes up for travels on. The prediction decides only what the
heaters do; light then meets all phases as they are.
"""

from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.emulate.imperfect_devices import (
    OUTPUTS,
    AttenuatorDevices,
    Heaters,
    MeshDevices,
)
from onnx2mzi.emulate.imperfect_native import native_copies
from onnx2mzi.kernels.gauge import column_slices
from onnx2mzi.kernels.native import Extension, extension
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.imperfection import Imperfections, static_sigma_rad
from onnx2mzi.physics.imperfection_cell import CellErrors, imperfect_crossing, imperfect_mzi
from onnx2mzi.physics.imperfection_random import Keys, normal, normals, uniform
from onnx2mzi.physics.shifter import Drive, ShifterState, drive_rad

# Streams of random numbers; each gives a pair.
PHASE, SPLIT, GAMMA, ARMS, INPUTS, LOSS, FATE, STUCK, CHIP = range(9)

_ACTIVE = np.uint8(ShifterState.ACTIVE)


@dataclass(frozen=True, slots=True)
class Chips:
    """C copies of a chip: what is wrong with them, the keys (C,) of a block of devices and of the
    whole chip, and whether active heaters undo static errors."""

    sizes: Imperfections
    keys: Keys
    chip_keys: Keys
    coherence_mm: float
    crosstalk_db: float
    trim: bool

    @property
    def copies(self) -> int:
        """How many."""
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Carried:
    """Static phase (C, ports) that light has gathered on every guide, and its power (ports,)."""

    phase_rad: Real
    power: Real


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
    arm_upper, arm_lower = _static_pair(
        chips, devices.device, ARMS, devices.arm_um, devices.arm_um, devices
    )
    in_upper, in_lower = _static_pair(
        chips, devices.device, INPUTS, devices.upper_um, devices.lower_um, devices
    )
    first, second = _splits(devices.device, chips)
    errors = CellErrors(
        in_upper=in_upper,
        in_lower=in_lower,
        arm_upper=arm_upper,
        arm_lower=arm_lower,
        first=first,
        second=second,
        loss_db=_losses(devices.device, devices.cell_db, chips),
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
    module = extension()
    if module is None or devices.core.count == 0:
        cells, carried, change = _drawn(devices, chips, entering, change)
    else:
        cells, carried, change = _natively(module, devices, chips, entering, change, told)
    out_rad = _static_outputs(chips, devices) + change.out
    noise = _output_changes(devices, chips)
    factors = kept(devices, chips) * np.exp(1j * (devices.after_rad + out_rad + noise))
    factors = np.broadcast_to(factors, (chips.copies, devices.ports))
    after = Carried(carried.phase_rad + out_rad, carried.power)
    return DrawnMesh(cells, factors, after, change)


def _natively(
    module: Extension,
    devices: MeshDevices,
    chips: Chips,
    entering: Carried,
    change: MeshChange | None,
    told: bool,
) -> tuple[Complex, Carried, MeshChange]:
    made = native_copies(
        module,
        devices,
        chips.sizes,
        keys=chips.keys,
        shared_rad=np.asarray(_shared_split(chips)).reshape(-1),
        slope=_slope(chips)[:, 0],
        coherence_mm=chips.coherence_mm,
        leak=leaked(chips),
        trim=chips.trim,
        entering_rad=entering.phase_rad,
        power=entering.power,
        change=None if change is None else (change.theta, change.phi),
        told=told,
    )
    out = np.zeros((1, devices.ports)) if change is None else change.out
    carried = Carried(made.gathered_rad, made.power)
    return made.cells, carried, MeshChange(made.theta, made.phi, out)


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
        errors = _moved(errors, "arm", devices.theta.on_arms(change.theta))
        errors = _moved(errors, "in", devices.phi.on_arms(change.phi))
    elif sizes.static and chips.trim:
        arms = np.asarray(errors.arm_upper), np.asarray(errors.arm_lower)
        inputs = np.asarray(errors.in_upper), np.asarray(errors.in_lower)
        fixes, carried = _trims(devices, arms, inputs, entering)
        errors = _moved(errors, "arm", (fixes[0], fixes[1]))
        errors = _moved(errors, "in", (fixes[2], fixes[3]))
        by_heaters = devices.theta.makes(fixes[0], fixes[1]), devices.phi.makes(fixes[2], fixes[3])
        trimmed = MeshChange(*by_heaters, trimmed.out)
    theta, phi = _heater_changes(devices, chips)
    errors = _moved(errors, "arm", devices.theta.on_arms(theta))
    errors = _moved(errors, "in", devices.phi.on_arms(phi))
    errors = _moved(errors, "arm", _neighbours(devices, devices.theta, sizes.thermal))
    errors = _moved(errors, "in", _neighbours(devices, devices.phi, sizes.thermal))
    core = devices.core
    cells = imperfect_mzi(theta_rad=core.theta, phi_rad=core.phi, errors=errors)
    cells = np.broadcast_to(cells, (chips.copies, core.count, 2, 2))
    bare = np.flatnonzero(devices.crossing)
    if len(bare) and (sizes.crosstalk_scale > 0 or _any_cell_error(sizes)):
        leak = leaked(chips)
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


def leaked(chips: Chips) -> float:
    """The amplitude that crossings leak."""
    return float(min(chips.sizes.crosstalk_scale * 10 ** (chips.crosstalk_db / 20), 1.0))


def kept(devices: MeshDevices, chips: Chips) -> float:
    """The amplitude that is left of what passes the mesh without meeting an MZI."""
    return float(10 ** (-chips.sizes.loss_scale * devices.common_db / 20))


def _moved(errors: CellErrors, place: str, by: tuple[Real, Real]) -> CellErrors:
    upper, lower = f"{place}_upper", f"{place}_lower"
    more = {upper: getattr(errors, upper) + by[0], lower: getattr(errors, lower) + by[1]}
    return replace(errors, **more)


def static_attenuators(devices: AttenuatorDevices, chips: Chips) -> tuple[CellErrors, Real]:
    """As `static_errors`: errors of the attenuators, and phases (C, r) of their guides."""
    sizes, device = chips.sizes, np.arange(len(devices.gone))
    none = np.zeros((1, len(device)))
    arm_upper = arm_lower = guide = none
    if sizes.fabrication_scale > 0:
        scale = sizes.fabrication_scale
        arm = scale * static_sigma_rad(length_um=devices.arm_um, coherence_mm=chips.coherence_mm)
        upper, lower = normals(keys=chips.keys, device=device, stream=ARMS)
        arm_upper, arm_lower = arm * upper, arm * lower
        guide = normal(keys=chips.keys, device=device, stream=INPUTS)
        guide = (
            guide
            * scale
            * static_sigma_rad(length_um=devices.guide_um, coherence_mm=chips.coherence_mm)
        )
    first, second = _splits(device, chips)
    loss_db = _losses(device, devices.loss_db, chips)
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
    errors = _moved(errors, "arm", devices.theta.on_arms(change))
    made = _changes(devices.theta, chips, device, 0)
    common = (np.asarray(errors.arm_upper) + np.asarray(errors.arm_lower)) / 2
    errors = _moved(errors, "arm", devices.theta.on_arms(made))
    theta = devices.theta.phase_rad
    through = imperfect_mzi(theta_rad=theta, phi_rad=np.zeros_like(theta), errors=errors)
    plain = 10.0 ** (-np.asarray(errors.loss_db) / 20.0)
    amplitude = np.where(devices.gone > 0, plain, through[..., 0, 1])
    phase = np.pi / 2 + theta / 2 + devices.common_rad + guide
    result = np.broadcast_to(amplitude * np.exp(1j * phase), (chips.copies, len(device)))
    power = entering.power * np.cos(theta / 2) ** 2
    passed = entering.phase_rad + guide + np.where(devices.gone > 0, 0.0, common)
    return DrawnAttenuators(result, Carried(passed, power), change)


def _any_cell_error(sizes: Imperfections) -> bool:
    return sizes != Imperfections()


def _of(values: Real | float, where: np.ndarray) -> Real | float:
    return values if np.ndim(values) == 0 else np.asarray(values)[..., where]


# ---- errors of heaters -----------------------------------------------------------------------


def _heater_changes(devices: MeshDevices, chips: Chips) -> tuple[Real, Real]:
    return (
        _changes(devices.theta, chips, devices.device, 0),
        _changes(devices.phi, chips, devices.device, 1),
    )


def _output_changes(devices: MeshDevices, chips: Chips) -> Real:
    return _changes(devices.out, chips, OUTPUTS + np.arange(devices.ports), 0)


def _changes(heaters: Heaters, chips: Chips, device: np.ndarray, which: int) -> Real:
    """What active heaters make beyond their setting, (C, K) or (1, K); `which` of a pair."""
    sizes, keys = chips.sizes, chips.keys
    change = np.zeros((1, len(device)))
    there = np.flatnonzero(heaters.active)
    if not len(there) or not sizes.heaters:
        return change
    heat, device = heaters.heat_rad[there], device[there]
    made = np.array(heat)[None]
    if sizes.bits is not None:
        settled = sizes.bits.nearest_rad(heaters.phase_rad[there], heaters.drive)
        made = drive_rad(settled, heaters.active[there] * _ACTIVE, heaters.drive)[None]
    if sizes.gamma > 0:
        rate = normal(keys=keys, device=device, stream=GAMMA, which=which)
        made = made * (1 + sizes.gamma * rate)
    if sizes.phase_rad > 0:
        drawn = normal(keys=keys, device=device, stream=PHASE, which=which)
        made = made + sizes.phase_rad * drawn
    if sizes.dead + sizes.stuck > 0:
        fate = uniform(keys=keys, device=device, stream=FATE, which=which)
        place = uniform(keys=keys, device=device, stream=STUCK, which=which)
        full = 2 * np.pi if heaters.drive is Drive.UPPER_ARM else np.pi
        made = np.where(fate < sizes.dead + sizes.stuck, full * place, made)
        made = np.where(fate < sizes.dead, 0.0, made)
    if len(there) == len(heaters.active):
        return np.asarray(made - heat)
    change = np.zeros((len(made), len(heaters.active)))
    change[:, there] = made - heat
    return change


def _neighbours(devices: MeshDevices, heaters: Heaters, share: float) -> tuple[Real, Real]:
    """Phases (K,) that the heaters above bring to upper guides, those below to lower ones."""
    heat = np.append(share * heaters.heat_rad, 0.0)
    return heat[devices.above], heat[devices.below]


def _splits(device: np.ndarray, chips: Chips) -> tuple[Real | float, Real | float]:
    sizes, shared = chips.sizes, _shared_split(chips)
    if sizes.split_rad == 0:
        return shared, shared
    first, second = normals(keys=chips.keys, device=device, stream=SPLIT)
    return sizes.split_rad * first + shared, sizes.split_rad * second + shared


def _shared_split(chips: Chips) -> Real | float:
    """What all couplers of a chip have in common, (C, 1) or a number."""
    sizes = chips.sizes
    if sizes.split_shared_rad == 0:
        return sizes.split_offset_rad
    common = normal(keys=chips.chip_keys, device=np.zeros(1), stream=SPLIT)
    return np.asarray(sizes.split_offset_rad + sizes.split_shared_rad * common)


def _losses(device: np.ndarray, mean_db: Real, chips: Chips) -> Real | float:
    sizes = chips.sizes
    loss: Real = sizes.loss_scale * mean_db
    if sizes.loss_sigma_db > 0:
        loss = loss + sizes.loss_sigma_db * normal(keys=chips.keys, device=device, stream=LOSS)
    return np.maximum(loss, 0.0)


# ---- static errors ---------------------------------------------------------------------------


def _static_pair(
    chips: Chips,
    device: np.ndarray,
    stream: int,
    upper_um: Real,
    lower_um: Real,
    devices: MeshDevices,
) -> tuple[Real, Real]:
    """Static phases of two guides of every MZI, (C, K) each, or (1, K) of zeros."""
    sizes, mm = chips.sizes, chips.coherence_mm
    upper = lower = np.zeros((1, len(device)))
    if sizes.fabrication_scale > 0:
        scale = sizes.fabrication_scale
        first, second = normals(keys=chips.keys, device=device, stream=stream)
        upper = first * (scale * static_sigma_rad(length_um=upper_um, coherence_mm=mm))
        lower = second * (scale * static_sigma_rad(length_um=lower_um, coherence_mm=mm))
    if sizes.gradient_rad_mm2 > 0:
        slope = _slope(chips)
        across_mm = devices.core.port * devices.pitch_um * 1e-3
        upper = upper + slope * across_mm * upper_um * 1e-3
        lower = lower + slope * (across_mm + devices.pitch_um * 1e-3) * lower_um * 1e-3
    return upper, lower


def _static_outputs(chips: Chips, devices: MeshDevices) -> Real:
    sizes = chips.sizes
    phase: Real = np.zeros((1, devices.ports))
    if sizes.fabrication_scale > 0:
        device = OUTPUTS + np.arange(devices.ports)
        sigma = static_sigma_rad(length_um=devices.out_um, coherence_mm=chips.coherence_mm)
        drawn = normal(keys=chips.keys, device=device, stream=INPUTS)
        phase = phase + sizes.fabrication_scale * sigma * drawn
    if sizes.gradient_rad_mm2 > 0:
        across_mm = np.arange(devices.ports) * devices.pitch_um * 1e-3
        phase = phase + _slope(chips) * across_mm * devices.out_um * 1e-3
    return phase


def _slope(chips: Chips) -> Real:
    drawn = normal(keys=chips.chip_keys, device=np.zeros(1), stream=CHIP)
    return np.asarray(chips.sizes.gradient_rad_mm2 * drawn)


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

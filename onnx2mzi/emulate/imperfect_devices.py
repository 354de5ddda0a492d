"""What stands on the chip where a mesh is: arms, guides, losses and neighbours of every MZI.

Prepared once a mesh; `emulate.imperfect` then draws copies from it.
"""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.transfer import balanced_mesh
from onnx2mzi.ir import Attenuators, Mesh
from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.kernels.gauge import column_slices
from onnx2mzi.physics.arrays import Flags, Real
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms, common_phase_rad, drive_rad
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import (
    Cells,
    ColumnPlan,
    attenuators_um,
    cells,
    drawn_as_crossing,
    plan_columns,
    section_um,
)
from onnx2mzi.tech.paths import (
    attenuator_losses_db,
    attenuator_path_um,
    cell_losses_db,
    column_losses_db,
    column_paths_um,
)

# Numbers of devices: column and port of an MZI, channels, outputs; disjoint.
PORTS = 1 << 20
OUTPUTS = 1 << 50


@dataclass(frozen=True, slots=True)
class Heaters:
    """K phase shifters: the phase a heater makes (>= 0), its arm, and whether it is one."""

    phase_rad: Real
    heat_rad: Real
    arm: Flags
    active: Flags
    drive: Drive

    @classmethod
    def of(cls, phase_rad: Real, state: Flags, drive: Drive) -> "Heaters":
        """The shifters of an MZI's arms."""
        active = (state == ShifterState.ACTIVE).astype(np.uint8)
        heat = drive_rad(phase_rad, state, drive)
        return cls(phase_rad, heat, arms(phase_rad, state, drive), active, drive)

    def on_arms(self, change_rad: Real) -> tuple[Real, Real]:
        """Phases (..., K) on upper and lower arm when heaters make that much more."""
        sign = np.where(self.phase_rad < 0, -0.5, 0.5)
        upper = np.where(self.arm == Arm.PAIR, sign, self.arm == Arm.UPPER)
        lower = np.where(self.arm == Arm.PAIR, -sign, self.arm == Arm.LOWER)
        return np.asarray(change_rad * upper), np.asarray(change_rad * lower)

    def makes(self, upper_rad: Real, lower_rad: Real) -> Real:
        """How much more heaters make when `on_arms` gives these phases (..., K); 0 without one."""
        one = np.ones(len(self.active))
        upper, lower = self.on_arms(one)
        change = (upper_rad * upper + lower_rad * lower) / (upper**2 + lower**2)
        return np.where(self.active > 0, change, 0.0)

    def correction_factors(self) -> tuple[Real, Real]:
        """What active heaters add to both arms per phase difference upper - lower, (K,) each."""
        pair, active = self.arm == Arm.PAIR, self.active > 0
        upper = np.where(pair, -0.5, -1.0 * (self.arm == Arm.UPPER))
        lower = np.where(pair, 0.5, 1.0 * (self.arm == Arm.LOWER))
        return np.where(active, upper, 0.0), np.where(active, lower, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class MeshDevices:
    """K MZIs on `ports` guides, in the balanced gauge, with what errors follow from.

    Shapes (K,) or (ports,). `*_um` are lengths of guide between the couplers and, since the
    MZI before, on each input; `out_um` those behind the last MZI. `above` and `below` are the
    indices of the neighbours in the same column, K where there is none. `cell_db` is the loss
    beyond that of a passing guide, `common_db` what every guide of the mesh loses.
    """

    ports: int
    core: BalancedMesh
    after_rad: Real
    theta: Heaters
    phi: Heaters
    out: Heaters
    crossing: Flags
    device: np.ndarray
    arm_um: Real
    upper_um: Real
    lower_um: Real
    out_um: Real
    pitch_um: float
    above: np.ndarray
    below: np.ndarray
    cell_db: Real
    common_db: float


def mesh_devices(mesh: Mesh, technology: Technology) -> MeshDevices:
    """The devices of a drawn mesh."""
    core, after_rad = balanced_mesh(mesh)
    sizes = cells(technology)
    plan = plan_columns(
        technology,
        ports=mesh.ports,
        column=mesh.column,
        theta_state=mesh.theta_state,
        phi_state=mesh.phi_state,
        out_state=mesh.out_state,
        drive=mesh.drive,
    )
    crossing = drawn_as_crossing(mesh.theta_state, mesh.phi_state, technology)
    upper_um, lower_um, out_um = _guides(mesh, technology, sizes, plan, crossing)
    device = mesh.column.astype(np.int64) * PORTS + mesh.port
    cell_db = cell_losses_db(
        technology,
        sizes,
        plan,
        column=mesh.column,
        theta_state=mesh.theta_state,
        phi_state=mesh.phi_state,
        drive=mesh.drive,
    )
    return MeshDevices(
        ports=mesh.ports,
        core=core,
        after_rad=after_rad + mesh.out_rad,
        theta=Heaters.of(mesh.theta_rad, mesh.theta_state, mesh.drive),
        phi=Heaters.of(mesh.phi_rad, mesh.phi_state, mesh.drive),
        out=Heaters.of(mesh.out_rad, mesh.out_state, Drive.UPPER_ARM),
        crossing=crossing,
        device=device,
        arm_um=np.asarray(plan.theta_um[mesh.column] + 2 * sizes.bend.path_um),
        upper_um=upper_um,
        lower_um=lower_um,
        out_um=out_um,
        pitch_um=sizes.pitch_um,
        above=_found(device, device - 2),
        below=_found(device, device + 2),
        cell_db=np.maximum(cell_db, 0.0),
        common_db=float(column_losses_db(technology, sizes, plan, drive=mesh.drive).sum()),
    )


def _found(device: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of every wanted device, len(device) where there is none; `device` is sorted."""
    place = np.searchsorted(device, wanted)
    there = np.append(device, -1)[place] == wanted
    return np.where(there, place, len(device))


def _guides(
    mesh: Mesh, technology: Technology, sizes: Cells, plan: ColumnPlan, crossing: Flags
) -> tuple[Real, Real, Real]:
    """Lengths of guide on both inputs of every MZI since the MZI before, and behind the last."""
    path = column_paths_um(technology, sizes, plan)
    run = np.full(mesh.ports, plan.lead_um)
    upper_um, lower_um = np.zeros(len(mesh)), np.zeros(len(mesh))
    for here, cut in enumerate(column_slices(mesh.column)):
        upper = mesh.port[cut]
        bare = crossing[cut] > 0
        before = np.where(bare, path[here] / 2, plan.phi_um[here] + sizes.bend.path_um)
        behind = np.where(bare, path[here] / 2, plan.corridor_um[here] + sizes.bend.path_um)
        upper_um[cut], lower_um[cut] = run[upper] + before, run[upper + 1] + before
        run += path[here]
        run[upper] = run[upper + 1] = behind
    return upper_um, lower_um, run + section_um(technology, mesh.out_state)


@dataclass(frozen=True, slots=True, eq=False)
class AttenuatorDevices:
    """r attenuators in the balanced gauge; one that is gone is a guide of the same length.

    `common_rad` is the common phase of the arms beside i e^{i theta/2}. Shapes (r,).
    """

    theta: Heaters
    common_rad: Real
    gone: Flags
    arm_um: Real
    guide_um: Real
    pitch_um: float
    loss_db: Real


def attenuator_devices(sigma: Attenuators, technology: Technology) -> AttenuatorDevices:
    """The devices of a row of attenuators."""
    sizes, length = cells(technology), attenuators_um(technology, sigma.state)
    gone = (sigma.state == ShifterState.REMOVED).astype(np.uint8)
    path = attenuator_path_um(technology, sizes, length) if length else 0.0
    section = section_um(technology, sigma.state)
    arm = section + 2 * sizes.attenuator_bend.path_um
    return AttenuatorDevices(
        theta=Heaters.of(sigma.theta_rad, sigma.state, sigma.drive),
        common_rad=common_phase_rad(sigma.theta_rad, sigma.state, sigma.drive),
        gone=gone,
        arm_um=np.where(gone > 0, 0.0, arm),
        guide_um=np.where(gone > 0, path, max(path - arm, 0.0)),
        pitch_um=sizes.pitch_um,
        loss_db=attenuator_losses_db(technology, sizes, length, sigma.state),
    )

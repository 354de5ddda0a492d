"""What stands on the chip where a mesh is: arms, guides, losses and neighbours of every MZI.

Prepared once a mesh; `emulate.imperfect` then draws copies from it.
"""

from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.emulate.mesh_columns import mesh_cell_losses_db, mesh_plan
from onnx2mzi.emulate.transfer import balanced_mesh
from onnx2mzi.ir import Attenuators, BlockPlacement, Mesh, Placement
from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.kernels.gauge import column_slices
from onnx2mzi.physics.arrays import Flags, Real
from onnx2mzi.physics.imperfection import static_sigma_rad
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms, common_phase_rad, drive_rad
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import (
    Cells,
    ColumnPlan,
    attenuators_um,
    cells,
    drawn_as_crossing,
    section_um,
)
from onnx2mzi.tech.paths import (
    attenuator_losses_db,
    attenuator_path_um,
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


@dataclass(frozen=True, slots=True)
class Site:
    """Where a block lies, from the middle of the chip: left edges of its columns and the right
    edge of the last, (columns + 1,), and its uppermost guide; y points up."""

    edges_mm: Real
    y_mm: float

    @classmethod
    def of(cls, block: BlockPlacement, placement: Placement) -> "Site":
        """Of a placed block."""
        edges = (block.column_x_um - placement.width_um / 2) * 1e-3
        return cls(edges, (block.y_um - placement.height_um / 2) * 1e-3)

    @classmethod
    def alone(cls, edges_um: Real, ports: int, pitch_um: float) -> "Site":
        """Of a block that nobody placed: it lies about the middle."""
        middle = (edges_um[0] + edges_um[-1]) / 2
        return cls((edges_um - middle) * 1e-3, (ports - 1) * pitch_um * 1e-3 / 2)

    def columns_mm(self, column: np.ndarray) -> Real:
        """Middles of columns."""
        return np.asarray((self.edges_mm[column] + self.edges_mm[column + 1]) / 2)

    def guides_mm(self, count: int, pitch_um: float) -> Real:
        """Heights of the first guides."""
        return np.asarray(self.y_mm - np.arange(count) * pitch_um * 1e-3, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class MeshDevices:
    """K MZIs on `ports` guides, in the balanced gauge, with what errors follow from.

    Shapes (K,) or (ports,). `*_um` are lengths of guide between the couplers and, since the
    MZI before, on each input; `out_um` those behind the last MZI. `x_mm` are the middles of MZIs,
    `out_x_mm` the right end, `y_mm` the guides, from the middle of the chip. `above` and `below`
    are the indices of the neighbours in the same column, K where there is none. `cell_db` is the
    loss beyond that of a passing guide, `common_db` what every guide of the mesh loses. `table`
    holds all of it for the compiled kernels.
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
    x_mm: Real
    y_mm: Real
    out_x_mm: float
    above: np.ndarray
    below: np.ndarray
    cell_db: Real
    common_db: float
    table: Real


def mesh_devices(mesh: Mesh, technology: Technology, site: Site | None = None) -> MeshDevices:
    """The devices of a drawn mesh; without a site it lies about the middle of the chip."""
    core, after_rad = balanced_mesh(mesh)
    sizes = cells(technology)
    plan = mesh_plan(mesh, technology)
    crossing = drawn_as_crossing(mesh.theta_state, mesh.phi_state, technology)
    upper_um, lower_um, out_um = _guides(mesh, technology, sizes, plan, crossing)
    device = mesh.column.astype(np.int64) * PORTS + mesh.port
    site = site or Site.alone(plan.edges_um(0.0), mesh.ports, sizes.pitch_um)
    cell_db = mesh_cell_losses_db(mesh, technology, plan)
    made = MeshDevices(
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
        x_mm=site.columns_mm(mesh.column),
        y_mm=site.guides_mm(mesh.ports, sizes.pitch_um),
        out_x_mm=float(site.edges_mm[-1]),
        above=_found(device, device - 2),
        below=_found(device, device + 2),
        cell_db=np.maximum(cell_db, 0.0),
        common_db=float(column_losses_db(technology, sizes, plan, drive=mesh.drive).sum())
        + technology.edge.coupler_db,
        table=np.zeros((0, 0)),
    )
    return replace(made, table=_table(made, technology.guide.coherence_mm))


def _table(devices: MeshDevices, coherence_mm: float) -> Real:
    """What a cell follows from besides random numbers and sizes: the rows of
    kernels/src/device.hpp, (K, 30)."""
    core, count, port = devices.core, devices.core.count, devices.core.port
    lengths_um = (devices.arm_um, devices.upper_um, devices.lower_um)
    theta, phi = devices.theta, devices.phi
    theta_heat, phi_heat = (np.append(heaters.heat_rad, 0.0) for heaters in (theta, phi))
    one = np.ones(count)
    columns = (
        core.theta / 2,
        core.phi,
        *(static_sigma_rad(length_um=um, coherence_mm=coherence_mm) for um in lengths_um),
        *(um * 1e-3 for um in lengths_um),
        devices.x_mm,
        devices.arm_um * 1e-3,
        devices.y_mm[port],
        devices.y_mm[port + 1],
        theta.heat_rad,
        *theta.on_arms(one),
        phi.heat_rad,
        *phi.on_arms(one),
        theta_heat[devices.above],
        theta_heat[devices.below],
        phi_heat[devices.above],
        phi_heat[devices.below],
        devices.cell_db,
        *theta.correction_factors(),
        *phi.correction_factors(),
        devices.crossing > 0,
        theta.active > 0,
        phi.active > 0,
    )
    return np.ascontiguousarray(np.stack([np.asarray(column, float) for column in columns], 1))


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

    `common_rad` is the common phase of the arms beside i e^{i theta/2}. Shapes (r,). `x_mm` and
    `y_mm` are from the middle of the chip.
    """

    theta: Heaters
    common_rad: Real
    gone: Flags
    arm_um: Real
    guide_um: Real
    pitch_um: float
    x_mm: float
    y_mm: Real
    loss_db: Real


def attenuator_devices(
    sigma: Attenuators, technology: Technology, site: Site | None = None
) -> AttenuatorDevices:
    """The devices of a row of attenuators."""
    sizes, length = cells(technology), attenuators_um(technology, sigma.state)
    gone = (sigma.state == ShifterState.REMOVED).astype(np.uint8)
    path = attenuator_path_um(technology, sizes, length) if length else 0.0
    section = section_um(technology, sigma.state)
    arm = section + 2 * sizes.attenuator_bend.path_um
    site = site or Site.alone(np.array([0.0, length]), len(gone), sizes.pitch_um)
    return AttenuatorDevices(
        theta=Heaters.of(sigma.theta_rad, sigma.state, sigma.drive),
        common_rad=common_phase_rad(sigma.theta_rad, sigma.state, sigma.drive),
        gone=gone,
        arm_um=np.where(gone > 0, 0.0, arm),
        guide_um=np.where(gone > 0, path, max(path - arm, 0.0)),
        pitch_um=sizes.pitch_um,
        x_mm=float((site.edges_mm[0] + site.edges_mm[-1]) / 2),
        y_mm=site.guides_mm(len(gone), sizes.pitch_um),
        loss_db=attenuator_losses_db(technology, sizes, length, sigma.state),
    )

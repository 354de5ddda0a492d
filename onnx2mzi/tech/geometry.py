"""Sizes of cells and columns that follow from a technology, and where the heaters lie.

A column of a mesh, light from left to right; an MZI takes two rows, one pitch apart::

    |  phi section | stage          | theta section | stage          | corridor |
    |  heater or   | S-bend coupler | heater or     | S-bend coupler | for      |
    |  trim, or 0  | S-bend         | trim, or 0    | S-bend         | wires    |

Sections are as long as what the column still holds: heaters (`Heater.section_um`), fixed phases
(`Cells.trim_um`) or nothing. Every cell of a column has the same length and optical path.
No IR here: functions take the arrays of a mesh.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt

import numpy as np

from onnx2mzi.physics.arrays import Flags, Index, Real
from onnx2mzi.physics.electric import heater_current_ma
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms
from onnx2mzi.tech.bends import SBend, bump_angle_rad, s_bend
from onnx2mzi.tech.buses import needed_um
from onnx2mzi.tech.over import lead_y_um, over_cells, tracks_over
from onnx2mzi.tech.technology import CrossKind, PadStyle, Technology


@dataclass(frozen=True, slots=True)
class Cells:
    """Sizes that hold for the whole chip, in um.

    `stage_um` is a coupler with its four S-bends, or the room that a bus is given, `crossing_um` a
    crossing of two rows with room to trim its path, `trim_um` the guide on which one wavelength
    can be added.
    """

    pitch_um: float
    arm_um: float
    bend: SBend
    stage_um: float
    stage_path_um: float
    diagonal: SBend
    crossing_um: float
    trim_um: float
    attenuator_lead: SBend
    attenuator_bend: SBend
    lead_um: float


@lru_cache(maxsize=8)
def cells(technology: Technology) -> Cells:
    """All sizes; the row pitch is the smallest that rules, crosstalk and crossings allow."""
    grid, radius = technology.grid_um, technology.guide.bend_radius_um
    pitch = row_pitch_um(technology)
    gap, coupler = technology.coupler.port_gap_um, technology.coupler
    bend = s_bend((pitch - gap) / 2, radius)
    room = technology.routing.bus_room_um
    room += 2 * technology.rules.metal_space_um + 4 * grid if room else 0.0
    stage = on_grid(max(2 * bend.run_um + coupler.length_um, room), grid)
    fill = stage - 2 * bend.run_um - coupler.length_um
    trim_angle = float(bump_angle_rad(technology.guide_wavelength_um, radius))
    # Sections are whole double steps, so that one can lie in the middle of a cell on the grid.
    trim = on_grid(4 * radius * np.sin(trim_angle), 2 * grid)
    diagonal = s_bend(pitch, radius)
    return Cells(
        pitch_um=pitch,
        arm_um=pitch / 4,
        bend=bend,
        stage_um=stage,
        stage_path_um=fill + 2 * bend.path_um + coupler.path_um,
        diagonal=diagonal,
        crossing_um=on_grid(diagonal.run_um + trim, grid),
        trim_um=trim,
        attenuator_lead=s_bend(gap / 2, radius),
        attenuator_bend=s_bend(pitch / 4 - gap / 2, radius),
        # Room for the dump of an attenuator, an S-bend and a tip.
        lead_um=on_grid(max(3 * radius, technology.rules.metal_space_um), grid),
    )


def row_pitch_um(technology: Technology) -> float:
    """Smallest distance of two rows, on a grid of 4 steps so that halves and quarters exist.

    Contacts of an attenuator's two arms, half a pitch apart, keep the rules; neighbouring
    heaters keep `min_pitch_um`; a crossing fits the diagonal between two rows; attenuators'
    couplers and arms keep `guide_gap_um`.
    """
    rules, heater, coupler = technology.rules, technology.heater, technology.coupler
    guide = technology.guide
    space = max(rules.metal_space_um, rules.heater_space_um)
    high_um = 2 * heater.fixed.reach_um if heater.fixed else 0.0
    contacts = 2 * (max(heater.contact_width_um, heater.width_um, high_um) + space)
    arcs = 2 * guide.bend_radius_um * (1 - sqrt(0.5))
    crossing = arcs + technology.crossing.length_um * sqrt(0.5)
    bodies = max(coupler.body_width_um, guide.width_um) + rules.guide_gap_um
    if over_cells(technology):
        lead = lead_y_um(technology) + technology.routing.track_um / 2
        beside = 2 * (lead + heater.contact_width_um / 2 + rules.metal_space_um)
        # Leads above attenuators' upper arms stay within the mesh.
        contacts = max(contacts, beside, 4 * lead)
    arms_um = 2 * (guide.width_um + rules.guide_gap_um) + 2 * coupler.port_gap_um
    wanted = max(heater.min_pitch_um, contacts, crossing, bodies, arms_um)
    return on_grid(wanted, 4 * technology.grid_um)


def on_grid(length_um: float, grid_um: float) -> float:
    """The length, rounded up to the grid."""
    return round(ceil(length_um / grid_um - 1e-6) * grid_um, 6)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnPlan:
    """Lengths of the parts of L columns, shape (L,) each, in um.

    `body_um` is one stage of an ordinary column; `crosses` marks columns of crossings alone,
    which have one body and no theta section. A column without MZIs has length 0. `out_um` is
    the section behind the last column, `lead_um` the corridor before the first.
    """

    phi_um: Real
    body_um: Real
    theta_um: Real
    corridor_um: Real
    crosses: Flags
    out_um: float
    lead_um: float

    @property
    def width_um(self) -> Real:
        """Length of every column."""
        bodies = np.where(self.crosses, 1.0, 2.0) * self.body_um
        return np.asarray(self.phi_um + self.theta_um + bodies + self.corridor_um)

    def edges_um(self, start_um: float) -> Real:
        """Left edges of the columns and the right edge of the last, shape (L + 1,)."""
        edges = start_um + np.concatenate([[0.0], np.cumsum(self.width_um)])
        return np.asarray(np.round(edges, 6))

    @property
    def phi_centre_um(self) -> Real:
        """Centre of the phi section, from the column's left edge."""
        return np.asarray(self.phi_um / 2)

    @property
    def theta_start_um(self) -> Real:
        """Left end of the theta section, from the column's left edge."""
        return np.asarray(self.phi_um + self.body_um)

    @property
    def theta_centre_um(self) -> Real:
        """Centre of the theta section, from the column's left edge."""
        return np.asarray(self.theta_start_um + self.theta_um / 2)


def drawn_as_crossing(theta_state: Flags, phi_state: Flags, technology: Technology) -> Flags:
    """Which MZIs have no couplers, shape (K,): no theta, no heater on phi."""
    if technology.crossing.kind is CrossKind.COUPLERS:
        return np.zeros(len(theta_state), np.uint8)
    bare = (theta_state == ShifterState.REMOVED) & (phi_state != ShifterState.ACTIVE)
    return np.asarray(bare, np.uint8)


def plan_columns(
    technology: Technology,
    *,
    ports: int,
    column: Index,
    theta_state: Flags,
    phi_state: Flags,
    out_state: Flags,
    drive: Drive,
) -> ColumnPlan:
    """The lengths of a mesh's columns; `column` and states have shape (K,), `out_state` (ports,).

    A section is as long as its column needs, for all rows together. Corridors are as wide as
    the wires of the column's heaters need beyond what runs over the couplers.
    """
    sizes = cells(technology)
    count = int(column[-1]) + 1 if len(column) else 0

    def per_column(mask: Flags) -> Real:
        return np.bincount(column, weights=mask, minlength=count).astype(float)

    mzis = per_column(np.ones(len(column), np.uint8))
    crossings = per_column(drawn_as_crossing(theta_state, phi_state, technology))
    crosses = (crossings == mzis) & (mzis > 0)
    # Push-pull phases have a heater on each arm.
    wires = 2.0 if drive is Drive.PUSH_PULL else 1.0
    phi_heaters = wires * per_column((phi_state == ShifterState.ACTIVE).astype(np.uint8))
    theta_heaters = wires * per_column((theta_state == ShifterState.ACTIVE).astype(np.uint8))
    out_heaters = float(np.count_nonzero(out_state == ShifterState.ACTIVE))
    phi_trims = per_column((phi_state == ShifterState.PASSIVE).astype(np.uint8))
    theta_trims = per_column((theta_state == ShifterState.PASSIVE).astype(np.uint8))
    if drive is Drive.PUSH_PULL:
        phi_trims += 2 * mzis < ports
    present = mzis > 0
    body = np.where(crosses, sizes.crossing_um, sizes.stage_um) * present
    # Signals of phi and of the shifters behind the last column are on their left.
    next_phi = np.append(phi_heaters[1:], out_heaters)
    room = np.where(crosses, 0.0, sizes.stage_um)
    corridor = np.maximum(corridors_um(technology, theta_heaters, next_phi) - room, 0.0) * present
    phi_um = _sections(technology, sizes, phi_heaters, phi_trims) * present
    power = technology.routing.bus_power
    buses = buses_um(technology, ports, theta_heaters, power) * (phi_heaters == 0)
    if count > 1 and technology.pads.style is PadStyle.EDGE:
        # From one column's theta to the next: signals, and the bus of the next.
        needed = corridors_um(technology, theta_heaters, np.zeros(count))[:-1] + buses[1:]
        needed += technology.rules.metal_space_um + 4 * technology.grid_um
        there = body[:-1] + phi_um[1:] + body[1:]
        corridor[:-1] = np.maximum(corridor[:-1], (needed - there) * (buses[1:] > 0) * present[:-1])
    grid = technology.grid_um
    corridor = np.round(np.ceil(corridor / grid - 1e-6) * grid, 6)
    first = phi_heaters[:1] if count else np.array([out_heaters])
    lead = float(corridors_um(technology, np.zeros(1), first).sum())
    if technology.pads.style is PadStyle.BUMP and first.any():
        lead = technology.pads.size_um + 2 * technology.rules.metal_space_um
    return ColumnPlan(
        phi_um=phi_um,
        body_um=body,
        theta_um=_sections(technology, sizes, theta_heaters, theta_trims),
        corridor_um=np.asarray(corridor),
        crosses=crosses.astype(np.uint8),
        out_um=section_um(technology, out_state),
        lead_um=on_grid(lead, grid),
    )


def bus_room_um(technology: Technology) -> float:
    """Width that a bus has beside every bank of heaters: it lies over a stage."""
    space = technology.rules.metal_space_um
    return cells(technology).stage_um - 2 * space - 4 * technology.grid_um


def buses_um(technology: Technology, rows: int, heaters: Real, power: float) -> Real:
    """Width of buses of `heaters` (L,) spread over the rows, of this share of the power for pi."""
    height_um = rows * cells(technology).pitch_um
    each = heater_current_ma(power * technology.p_pi_mw, ohm=technology.heater.ohm)
    current = heaters * each
    single = needed_um(technology, current, current * height_um / 2)
    halved = needed_um(technology, current / 2, current / 2 * height_um / 4)
    width = np.where(single <= bus_room_um(technology), single, halved)
    return np.where(heaters > 0, np.maximum(width, technology.routing.bus_um), 0.0)


def _sections(technology: Technology, sizes: Cells, heaters: Real, trims: Real) -> Real:
    trimmed = np.where(trims > 0, sizes.trim_um, 0.0)
    return np.where(heaters > 0, heated_um(technology), trimmed)


def heated_um(technology: Technology) -> float:
    """Length of a section with heaters, on the grid."""
    return on_grid(technology.heater.section_um, 2 * technology.grid_um)


def section_um(technology: Technology, state: Flags) -> float:
    """Length of one section that holds shifters of these states (any shape)."""
    if (state == ShifterState.ACTIVE).any():
        return heated_um(technology)
    return cells(technology).trim_um if (state == ShifterState.PASSIVE).any() else 0.0


def corridors_um(technology: Technology, left: Real, right: Real) -> Real:
    """Width that the wires of `left` + `right` heaters need between two sections, shape (L,).

    Half of each side's wires leave upwards and half downwards, and share their tracks: one
    track for two heaters. Bumps need no corridor, nor do wires over the heaters.
    """
    if technology.pads.style is PadStyle.BUMP:
        return np.zeros(len(left))
    step = technology.routing.track_um + technology.rules.metal_space_um
    over = tracks_over(technology, heated_um(technology))
    tracks = np.maximum(np.ceil(left / 2) - over, 0) + np.maximum(np.ceil(right / 2) - over, 0)
    return np.where(tracks > 0, tracks * step + technology.rules.metal_space_um, 0.0)


def heater_xy(
    technology: Technology,
    *,
    plan: ColumnPlan,
    column_x_um: Real,
    y_um: float,
    column: Index,
    port: Index,
    phase_rad: Real,
    state: Flags,
    drive: Drive,
    kind: str,
) -> tuple[Real, Real]:
    """Centres (x, y) of the `theta` or `phi` shifters of K MZIs, shapes (K,), in um.

    On the arm that makes the phase; of a pair the middle between both arms. `y_um` is the
    height of port 0 and y points up. Raises ValueError for another `kind`.
    """
    if kind not in ("theta", "phi"):
        raise ValueError(f"a mesh has theta and phi shifters, not {kind!r}")
    offset = plan.theta_centre_um if kind == "theta" else plan.phi_centre_um
    x_um = (np.asarray(column_x_um)[:-1] + offset)[column] if len(column) else np.zeros(0)
    pitch = cells(technology).pitch_um
    y = y_um - pitch * (port + _below(phase_rad, state, drive))
    return np.asarray(x_um), np.asarray(y)


def attenuator_xy(
    technology: Technology,
    *,
    column_x_um: Real,
    y_um: float,
    phase_rad: Real,
    state: Flags,
    drive: Drive,
) -> tuple[Real, Real]:
    """Centres (x, y) of the shifters of r attenuators, shapes (r,), in um."""
    sizes = cells(technology)
    edges = np.asarray(column_x_um)
    row = y_um - sizes.pitch_um * np.arange(len(phase_rad))
    below = _below(phase_rad, state, drive)
    y = row + sizes.arm_um * (1 - 2 * below)
    return np.full(len(phase_rad), (edges[0] + edges[-1]) / 2), np.asarray(y)


def out_xy(
    technology: Technology, *, plan: ColumnPlan, column_x_um: Real, y_um: float, ports: int
) -> tuple[Real, Real]:
    """Centres (x, y) of the shifters behind the last column, shapes (ports,), in um."""
    x_um = float(np.asarray(column_x_um)[-1]) + plan.out_um / 2
    rows = np.arange(ports, dtype=np.float64)
    return np.full(ports, x_um), np.asarray(y_um - cells(technology).pitch_um * rows)


def _below(phase_rad: Real, state: Flags, drive: Drive) -> Real:
    """0 on the upper arm, 1 on the lower, 1/2 for a pair."""
    arm = arms(phase_rad, state, drive)
    return np.where(arm == Arm.LOWER, 1.0, np.where(arm == Arm.PAIR, 0.5, 0.0))


def attenuators_um(technology: Technology, state: Flags) -> float:
    """Length of the row of attenuators; where none is left, of the guides' quarter wave."""
    if len(state) == 0:
        return 0.0
    sizes = cells(technology)
    if (state == ShifterState.REMOVED).all():
        return sizes.trim_um
    ends = sizes.attenuator_lead.run_um + technology.coupler.length_um
    fixed = 2 * (ends + sizes.attenuator_bend.run_um)
    return on_grid(fixed + section_um(technology, state), 2 * technology.grid_um)

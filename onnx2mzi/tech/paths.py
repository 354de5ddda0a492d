"""What makes all cells of a column optically equal: lengths of guides, bumps, and their losses.

An MZI in the cross state has the phase of its path and a quarter wave from its two couplers.
A crossing, and a guide instead of an attenuator, get that quarter wave as length; so do
guides that pass a column, where the drive asks for it (`pass_phase_rad`). Everything is an
analytic length of a centreline.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Flags, Index, Real
from onnx2mzi.physics.loss import propagation_db
from onnx2mzi.physics.shifter import Drive, ShifterState, pass_phase_rad
from onnx2mzi.tech.bends import Bumps, SBend, bumps, s_bend_of_extra
from onnx2mzi.tech.geometry import Cells, ColumnPlan, drawn_as_crossing
from onnx2mzi.tech.technology import Technology

QUARTER_WAVE_RAD = np.pi / 2


def phase_length_um(technology: Technology, phase_rad: npt.ArrayLike) -> Real:
    """Length of guide in [0, one guided wavelength) that makes a phase, shape (...)."""
    turns = np.mod(np.asarray(phase_rad, float) / (2 * np.pi), 1.0)
    # Round-off below zero would otherwise draw a whole wavelength.
    turns = np.where(turns > 1 - 1e-12, 0.0, turns)
    return np.asarray(turns * technology.guide_wavelength_um)


@dataclass(frozen=True, slots=True)
class BodyPaths:
    """The bodies of a column (two stages, or one crossing body), without its sections.

    `path_um` is the optical path through an MZI, or through a crossing where there are no MZIs,
    without the quarter wave. `crossing` are the bumps on both guides of a crossing, `passing`
    the bumps of a guide that passes, and `pass_bend` its S-bends (None: it has none).
    """

    run_um: float
    path_um: float
    crossing: Bumps
    passing: Bumps
    pass_bend: SBend | None


def stage_paths(technology: Technology, sizes: Cells) -> BodyPaths:
    """Bodies of a column with MZIs: a passing guide bends like them, a crossing is lengthened.

    Raises FitError where the lengths cannot be made equal.
    """
    radius = technology.guide.bend_radius_um
    run, path = 2 * sizes.stage_um, 2 * sizes.stage_path_um
    diagonal = sizes.diagonal
    crossed = diagonal.path_um - diagonal.run_um + technology.crossing.extra_um
    crossing_extra = path - run - crossed + _quarter_um(technology)
    return BodyPaths(
        run_um=run,
        path_um=path,
        crossing=bumps(crossing_extra, radius, run - diagonal.run_um),
        passing=Bumps(0, 0.0, radius),
        pass_bend=s_bend_of_extra((path - run) / 4, radius),
    )


def crossing_paths(technology: Technology, sizes: Cells, drive: Drive) -> BodyPaths:
    """Body of a column of crossings alone: guides that pass are lengthened by bumps."""
    radius = technology.guide.bend_radius_um
    diagonal = sizes.diagonal
    extra = diagonal.path_um - diagonal.run_um + technology.crossing.extra_um
    passing = extra + float(phase_length_um(technology, pass_phase_rad(drive)))
    room = sizes.crossing_um - diagonal.run_um
    return BodyPaths(
        run_um=sizes.crossing_um,
        path_um=sizes.crossing_um + extra,
        crossing=bumps(_quarter_um(technology), radius, room),
        passing=bumps(passing, radius, sizes.crossing_um),
        pass_bend=None,
    )


def attenuator_path_um(technology: Technology, sizes: Cells, length_um: float) -> float:
    """Optical path of every channel of a row of `length_um`, without the quarter wave.

    A row no longer than a trim holds guides alone.
    """
    if length_um <= sizes.trim_um:
        return length_um
    lead, bend, coupler = sizes.attenuator_lead, sizes.attenuator_bend, technology.coupler
    bent = lead.path_um - lead.run_um + bend.path_um - bend.run_um
    return length_um + 2 * (bent + coupler.path_um - coupler.length_um)


def attenuator_guide(technology: Technology, sizes: Cells, length_um: float) -> Bumps:
    """Bumps of the guide that stands for a removed attenuator; raises FitError if none fit."""
    extra = attenuator_path_um(technology, sizes, length_um) - length_um
    radius = technology.guide.bend_radius_um
    return bumps(extra + _quarter_um(technology), radius, length_um)


def _quarter_um(technology: Technology) -> float:
    return float(phase_length_um(technology, QUARTER_WAVE_RAD))


def column_paths_um(technology: Technology, sizes: Cells, plan: ColumnPlan) -> Real:
    """Optical path of every column, shape (L,), the same for all its rows."""
    stages = 2 * sizes.stage_path_um
    crossing = sizes.crossing_um + sizes.diagonal.path_um - sizes.diagonal.run_um
    crossing += technology.crossing.extra_um
    bodies = np.where(plan.crosses, crossing, stages) * (plan.body_um > 0)
    return np.asarray(plan.phi_um + plan.theta_um + plan.corridor_um + bodies)


def column_losses_db(
    technology: Technology, sizes: Cells, plan: ColumnPlan, *, drive: Drive
) -> Real:
    """Loss of a guide that passes, shape (L,): propagation and bends."""
    guide = technology.guide
    lengths = column_paths_um(technology, sizes, plan)
    straight = np.asarray(propagation_db(length_um=lengths, db_per_cm=guide.loss_db_per_cm))
    stages, crossing = stage_paths(technology, sizes), crossing_paths(technology, sizes, drive)
    bent = np.where(plan.crosses, _turns(crossing.passing), _turns(stages.pass_bend, 4))
    return np.asarray(straight + guide.bend_loss_db * bent * (plan.body_um > 0))


def cell_losses_db(
    technology: Technology,
    sizes: Cells,
    plan: ColumnPlan,
    *,
    column: Index,
    theta_state: Flags,
    phi_state: Flags,
    drive: Drive,
) -> Real:
    """What K MZIs lose beyond a guide that passes their column, shape (K,).

    An MZI loses what its two couplers lose, one passed straight and one across, and the heaters'
    excess; a crossing loses its own and the difference in bends.
    """
    coupler, guide = technology.coupler, technology.guide
    stages, mere = stage_paths(technology, sizes), crossing_paths(technology, sizes, drive)
    heaters = (theta_state == ShifterState.ACTIVE).astype(float)
    heaters += phi_state == ShifterState.ACTIVE
    mzi = coupler.excess_bar_db + coupler.excess_cross_db + heaters * technology.heater.loss_db
    among_mzis = _turns(stages.crossing) + _turns(sizes.diagonal) - _turns(stages.pass_bend, 4)
    among_crossings = _turns(mere.crossing) + _turns(sizes.diagonal) - _turns(mere.passing)
    turns = np.where(plan.crosses[column] > 0, among_crossings, among_mzis)
    crossing = technology.crossing.loss_db + guide.bend_loss_db * turns
    bare = drawn_as_crossing(theta_state, phi_state, technology) > 0
    return np.asarray(np.where(bare, crossing, mzi))


def attenuator_losses_db(
    technology: Technology, sizes: Cells, length_um: float, state: Flags
) -> Real:
    """Loss of every channel at theta = 0, shape (r,); a removed attenuator is a guide."""
    guide, coupler = technology.guide, technology.coupler
    if length_um == 0:
        return np.zeros(len(state))
    path = attenuator_path_um(technology, sizes, length_um)
    base = float(propagation_db(length_um=path, db_per_cm=guide.loss_db_per_cm))
    bent = 2 * (_turns(sizes.attenuator_lead) + _turns(sizes.attenuator_bend))
    mzi = coupler.excess_bar_db + coupler.excess_cross_db + guide.bend_loss_db * bent
    plain = guide.bend_loss_db * _turns(attenuator_guide(technology, sizes, length_um))
    heated = np.where(state == ShifterState.ACTIVE, technology.heater.loss_db, 0.0)
    return np.asarray(base + np.where(state == ShifterState.REMOVED, plain, mzi + heated))


def _turns(bend: SBend | Bumps | None, count: int = 1) -> float:
    """Sum of all angles, in units of 90 degrees."""
    if bend is None:
        return 0.0
    arcs = 4 * bend.count if isinstance(bend, Bumps) else 2
    return float(count * arcs * bend.angle_rad / (np.pi / 2))

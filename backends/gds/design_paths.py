"""How long the guides of a placed tile must be, device by device: what extraction is held to.

Analytic lengths of centrelines, in um, from the technology and the program; nothing of what was
drawn. A device ends a guide; it has its own path.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.ir import Attenuators, BlockPlacement, Mesh, MeshTile
from onnx2mzi.physics.arrays import Flags, Index, Real
from onnx2mzi.physics.shifter import ShifterState, pass_phase_rad
from onnx2mzi.pipeline.spans import Span
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import attenuators_um, cells, section_um
from onnx2mzi.tech.paths import (
    attenuator_guide,
    column_paths_um,
    crossing_paths,
    phase_length_um,
    stage_paths,
)


@dataclass(frozen=True, slots=True, eq=False)
class MeshPaths:
    """Guides of a mesh of K MZIs in L columns; `column` is (K,).

    `phi_um`, `theta_um`: sections without a heater, shape (K, 2) for the upper and the lower
    arm; `before_um`, `behind_um`, shape (K,): from the section to the coupler (or the crossing's
    mark) and back; `corridor_um`, `passing_um`, shape (L,): behind a column, and a whole column
    without an MZI, its corridor included; `out_um`, shape (ports,).
    """

    column: Index
    phi_um: Real
    theta_um: Real
    before_um: Real
    behind_um: Real
    corridor_um: Real
    passing_um: Real
    out_um: Real


def mesh_paths(mesh: Mesh, crossings: Flags, technology: Technology) -> MeshPaths:
    """The guides of a mesh; `crossings`, shape (K,), marks MZIs drawn without couplers."""
    sizes, plan = cells(technology), mesh_plan(mesh, technology)
    bend, coupler, column = sizes.bend, technology.coupler, mesh.column
    fill = sizes.stage_um - 2 * bend.run_um - coupler.length_um
    bodies = (
        stage_paths(technology, sizes),
        crossing_paths(technology, sizes, mesh.drive),
    )
    diagonal = sizes.diagonal
    # From the corner of the mark to the point where the guides meet.
    reach = sqrt(2) * crossing_reach_um(technology)
    trim = np.array([body.crossing.path_um for body in bodies])
    runs = np.array([body.run_um - diagonal.run_um - body.crossing.run_um for body in bodies])
    mere = plan.crosses[column].astype(np.int64)
    room = runs[mere] + np.where(mere, 0.0, plan.theta_um[column])
    half = diagonal.path_um / 2 - reach
    bare = crossings.astype(bool)
    turn = float(phase_length_um(technology, pass_phase_rad(mesh.drive)))
    passing = column_paths_um(technology, sizes, plan) + turn * (plan.body_um > 0)
    out = np.where(
        mesh.out_state == ShifterState.PASSIVE, phase_length_um(technology, mesh.out_rad), 0.0
    )
    return MeshPaths(
        column=column,
        phi_um=_arms(technology, plan.phi_um[column], mesh.phi_rad, mesh.phi_state),
        theta_um=_arms(technology, plan.theta_um[column], mesh.theta_rad, mesh.theta_state),
        before_um=np.where(bare, trim[mere] + half, bend.path_um),
        behind_um=np.where(bare, half + room, bend.path_um + fill),
        corridor_um=plan.corridor_um,
        passing_um=passing,
        out_um=plan.out_um + out,
    )


def _arms(technology: Technology, section: Real, phase_rad: Real, state: Flags) -> Real:
    """Both guides of K sections, half of a fixed phase on each, shape (K, 2)."""
    halves = np.stack([phase_rad, -phase_rad], 1) / 2
    fixed = (state == ShifterState.PASSIVE)[:, None]
    return section[:, None] + np.where(fixed, phase_length_um(technology, halves), 0.0)


def crossing_reach_um(technology: Technology) -> float:
    """Half a side of a crossing's mark: the crossing's own half, on the grid."""
    grid = technology.grid_um
    return float(np.ceil(technology.crossing.length_um / 2 / grid - 1e-6) * grid)


@dataclass(frozen=True, slots=True, eq=False)
class AttenuatorPaths:
    """Guides of r attenuators: to the first coupler, from there to the theta section and from it
    to the second coupler, and behind that; `theta_um`, shape (r, 2), are sections without a
    heater, `removed_um` is the guide that stands for an attenuator that is not there."""

    entering_um: float
    beside_um: float
    leaving_um: float
    theta_um: Real
    removed_um: float


def attenuator_paths(sigma: Attenuators, technology: Technology) -> AttenuatorPaths:
    """The guides of a row of attenuators."""
    sizes = cells(technology)
    length, section = attenuators_um(technology, sigma.state), section_um(technology, sigma.state)
    lead, bend = sizes.attenuator_lead, sizes.attenuator_bend
    fixed = 2 * (lead.run_um + technology.coupler.length_um + bend.run_um) + section
    end = max(0.0, (length - fixed) / 2) + lead.path_um
    guide = length
    if length:
        trim = attenuator_guide(technology, sizes, length)
        guide += trim.path_um - trim.run_um
    full = np.full(len(sigma), section)
    return AttenuatorPaths(
        entering_um=end,
        beside_um=bend.path_um,
        leaving_um=end,
        theta_um=_arms(technology, full, sigma.theta_rad, sigma.state),
        removed_um=guide,
    )


@dataclass(frozen=True, slots=True)
class Links:
    """Straights from the left edge to V, from V to the attenuators, from there to U, and from U
    to the right edge, in um."""

    to_v: float
    to_s: float
    to_u: float
    to_edge: float


def links_um(
    tile: MeshTile, places: dict[str, BlockPlacement], technology: Technology, span_um: Span
) -> Links:
    """The straights between the blocks of a tile, and to both ends of its span."""
    v, s, u = (places[name].column_x_um for name in "vsu")
    v_end = float(v[-1]) + mesh_plan(tile.v, technology).out_um
    u_end = float(u[-1]) + mesh_plan(tile.u, technology).out_um
    left, right = span_um
    return Links(float(v[0]) - left, float(s[0]) - v_end, float(u[0] - s[-1]), right - u_end)

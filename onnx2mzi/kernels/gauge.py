"""Between phases as drawn and the balanced gauge in which kernels work.

A drawn cell is e^{i common} T(theta, phi) = e^{i(common + theta/2 + pi/2)} M(theta, phi): the
common phases travel with the light and shift the phi of later MZIs. `balanced` collects them;
`realised` is the inverse: given balanced phases, it finds the phi that must be drawn.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels.mesh import BalancedMesh
from onnx2mzi.physics.arrays import Flags, Index, Real, wrapped
from onnx2mzi.physics.shifter import Drive, ShifterState, common_phase_rad, pass_phase_rad

# Phases this small are round-off of the bookkeeping, not settings.
NEGLIGIBLE_RAD = 1e-13


def column_slices(column: npt.NDArray[np.int32]) -> list[slice]:
    """The run of every column, empty ones included; `column` is sorted."""
    if not len(column):
        return []
    edges = np.searchsorted(column, np.arange(int(column[-1]) + 2))
    return [slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def balanced(
    *,
    ports: int,
    column: Index,
    port: Index,
    theta_rad: Real,
    phi_rad: Real,
    theta_state: Flags,
    phi_state: Flags,
    drive: Drive,
) -> tuple[BalancedMesh, Real]:
    """Balanced phases of a drawn mesh, and the phase (ports,) left behind the last column.

    The mesh's transfer is diag(e^{i left}) times that of the returned mesh, whose `out` is 0.
    """
    carried = np.zeros(ports)
    passing = pass_phase_rad(drive)
    phi = np.empty(len(column))
    common_phi = common_phase_rad(phi_rad, phi_state, drive)
    behind = common_phi + common_phase_rad(theta_rad, theta_state, drive)
    behind += theta_rad / 2 + np.pi / 2 - passing
    for run in column_slices(column):
        upper = port[run]
        lower = upper + 1
        phi[run] = phi_rad[run] + carried[upper] - carried[lower]
        carried[upper] = carried[lower] = carried[lower] + behind[run]
        carried += passing
    phi = wrapped(phi)
    phi[np.abs(phi) < NEGLIGIBLE_RAD] = 0.0
    mesh = BalancedMesh(
        ports=ports, column=column, port=port, theta=theta_rad, phi=phi, out=np.zeros(ports)
    )
    return mesh, wrapped(carried)


@dataclass(frozen=True, slots=True)
class Realised:
    """Phases to draw, shape (K,), and `left_rad` (ports,): drawn transfer =
    diag(e^{i left}) @ (balanced transfer, its `out` included) @ diag(e^{-i entering})."""

    theta_rad: Real
    phi_rad: Real
    theta_state: Flags
    phi_state: Flags
    left_rad: Real


def realised(
    mesh: BalancedMesh,
    *,
    drive: Drive,
    entering_rad: Real,
    theta_state: Flags,
    phi_state: Flags,
    free_state: ShifterState,
    flip: bool,
) -> Realised:
    """The phases to draw so that light meets the balanced `mesh`, left to right.

    `entering_rad` (ports,) is the phase with which light really arrives on every guide.
    `theta_state`, `phi_state` (K,) say what each shifter is; a REMOVED phi whose MZI needs a
    phase only because of common phases becomes `free_state` (PASSIVE or ACTIVE) there. With
    `flip`, theta may change its sign where that makes an active phi smaller (the two settings
    (theta, phi) and (-theta, phi + pi) differ by the sign of the lower output).
    """
    carried = np.array(entering_rad, float)
    passing = pass_phase_rad(drive)
    theta = np.array(mesh.theta)
    phi = np.empty(len(mesh.column))
    phi_state = np.array(phi_state)
    for run in column_slices(mesh.column):
        upper = mesh.port[run]
        lower = upper + 1
        need = wrapped(mesh.phi[run] - carried[upper] + carried[lower])
        need[np.abs(need) < NEGLIGIBLE_RAD] = 0.0
        state = phi_state[run]
        free = state == ShifterState.REMOVED
        state[free & (need != 0.0)] = free_state
        flipped = np.zeros(len(need), bool)
        if flip:
            flipped = (state == ShifterState.ACTIVE) & (np.abs(need) > np.pi / 2)
            need = np.where(flipped, wrapped(need + np.pi), need)
            theta[run] = np.where(flipped, -theta[run], theta[run])
        phi[run] = need
        phi_state[run] = state
        behind = common_phase_rad(need, state, drive)
        behind += common_phase_rad(theta[run], theta_state[run], drive)
        behind += theta[run] / 2 + np.pi / 2 - passing
        carried[upper] = carried[lower] + behind
        carried[lower] = carried[upper] + np.where(flipped, np.pi, 0.0)
        carried += passing
    return Realised(theta, phi, theta_state, phi_state, wrapped(carried - mesh.out))

"""Between phases as drawn and the balanced gauge in which kernels work.

A drawn cell is e^{i common} T(theta, phi) = e^{i(common + theta/2 + pi/2)} M(theta, phi): the
common phases travel with the light and shift the phi of later MZIs. `balanced` collects them;
`realised` is the inverse: given balanced phases, it finds the phi that must be drawn.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels.mesh import BalancedMesh
from onnx2mzi.kernels.native import Extension, extension
from onnx2mzi.physics.arrays import Flags, Index, Real, within_pi, wrapped
from onnx2mzi.physics.shifter import (
    Drive,
    Passive,
    ShifterState,
    common_phase_rad,
    pass_phase_rad,
    settled_state,
)

# Which thetas and which phis, (K,) each, are fixed.
Fixed = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]

# Phases this small are round-off of the bookkeeping, not settings.
NEGLIGIBLE_RAD = 1e-13


def column_slices(column: npt.NDArray[np.int32]) -> list[slice]:
    """The run of every column, empty ones included; `column` is sorted."""
    if not len(column):
        return []
    edges = np.searchsorted(column, np.arange(int(column[-1]) + 2))
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


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
    entering_rad: Real | None = None,
    lit: npt.NDArray[np.bool_] | None = None,
) -> tuple[BalancedMesh, Real]:
    """Balanced phases of a drawn mesh, and the phase (ports,) left behind the last column.

    drawn @ diag(e^{i entering}) = diag(e^{i left}) @ balanced, on the guides that are `lit`
    (defaults: nothing entering, all lit). The returned mesh's `out` is 0.
    """
    carried = np.zeros(ports) if entering_rad is None else np.array(entering_rad, float)
    lit = np.ones(ports, bool) if lit is None else np.array(lit)
    passing = pass_phase_rad(drive)
    phi = np.empty(len(column))
    common_phi = common_phase_rad(phi_rad, phi_state, drive)
    behind = common_phi + common_phase_rad(theta_rad, theta_state, drive)
    behind += theta_rad / 2 + np.pi / 2 - passing
    module = extension()
    if module is not None:
        module.balance(
            ports,
            len(column),
            passing,
            column,
            port,
            theta_rad,
            phi_rad,
            behind,
            carried,
            lit.view(np.uint8),
            phi,
        )
    else:
        for run in column_slices(column):
            upper = port[run]
            lower = upper + 1
            both = lit[upper] & lit[lower]
            phi[run] = np.where(both, phi_rad[run] + carried[upper] - carried[lower], 0.0)
            arrived = np.where(lit[lower], carried[lower], carried[upper] + phi_rad[run])
            carried[upper] = carried[lower] = arrived + behind[run]
            carried += passing
            _spread(lit, upper, theta_rad[run] == 0.0)
    phi = wrapped(phi)
    phi[np.abs(phi) < NEGLIGIBLE_RAD] = 0.0
    mesh = BalancedMesh(
        ports=ports, column=column, port=port, theta=theta_rad, phi=phi, out=np.zeros(ports)
    )
    return mesh, wrapped(carried)


def _spread(lit: npt.NDArray[np.bool_], upper: Index, cross: npt.NDArray[np.bool_]) -> None:
    """Light behind a column of MZIs, in place: crosses exchange it, others share it."""
    above, below = lit[upper], lit[upper + 1]
    lit[upper] = np.where(cross, below, above | below)
    lit[upper + 1] = np.where(cross, above, above | below)


@dataclass(frozen=True, slots=True)
class Realised:
    """Phases to draw and their states, shape (K,), and `left_rad` (ports,): the drawn transfer is
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
    passive: Passive,
    entering_rad: Real,
    lit: npt.NDArray[np.bool_],
    trims: npt.NDArray[np.bool_] | None = None,
    fixed: Fixed | None = None,
) -> Realised:
    """The phases to draw so that light meets the balanced `mesh`, column by column.

    `entering_rad` (ports,) is the phase with which light really arrives on every guide,
    `lit` (ports,) whether there is light on it at all: an MZI with one dark input needs no phi.
    An active phi above pi/2 is made smaller by turning theta's sign: (theta, phi) and
    (-theta, phi + pi) differ by the sign of the lower output, which travels on. On upper arms
    a negative theta would cost more than it saves, so nothing is turned there. The phi that
    `trims` names, (K,), are heaters whatever they have to make, 0 included; what is `fixed` is
    passive as far as `passive` allows any phase to be.
    """
    carried = np.array(entering_rad, float)
    lit = np.array(lit)
    theta = np.array(mesh.theta)
    phi = np.empty(len(mesh.column))
    held = np.zeros((2, len(theta)), bool) if fixed is None else np.array(fixed, bool)
    theta_state = settled_state(theta, compensates=held[0], passive=passive)
    phi_state = np.empty(len(mesh.column), np.uint8)
    heated = np.zeros(len(phi), bool) if trims is None else trims
    results = carried, lit, theta, phi, theta_state, phi_state
    module = extension()
    # The compiled walk knows no trims.
    if module is not None and not heated.any():
        _realise_natively(module, mesh, drive, passive, held[1], *results)
    else:
        _realise(mesh, drive, passive, heated, held[1], *results)
    phi_state[heated] = ShifterState.ACTIVE
    # T, unlike M, has a period of 2 pi.
    return Realised(within_pi(theta), phi, theta_state, phi_state, wrapped(carried - mesh.out))


def _behind(theta: Real, theta_state: Flags, drive: Drive) -> Real:
    """The phase that an MZI's theta leaves on both outputs, less that of a passing guide."""
    common = common_phase_rad(theta, theta_state, drive)
    return np.asarray(common + theta / 2 + np.pi / 2 - pass_phase_rad(drive))


def _realise(
    mesh: BalancedMesh,
    drive: Drive,
    passive: Passive,
    heated: npt.NDArray[np.bool_],
    held: npt.NDArray[np.bool_],
    carried: Real,
    lit: npt.NDArray[np.bool_],
    theta: Real,
    phi: Real,
    theta_state: Flags,
    phi_state: Flags,
) -> None:
    """`realised` in place: `carried`, `lit` and the last four arrays are results."""
    for run in column_slices(mesh.column):
        upper = mesh.port[run]
        lower = upper + 1
        both = lit[upper] & lit[lower]
        need = np.where(both, wrapped(mesh.phi[run] - carried[upper] + carried[lower]), 0.0)
        need[np.abs(need) < NEGLIGIBLE_RAD] = 0.0
        compensates = (mesh.phi[run] == 0.0) | held[run]
        state = settled_state(need, compensates=compensates, passive=passive)
        state = np.where(heated[run] & (need != 0.0), np.uint8(ShifterState.ACTIVE), state)
        turned = (state == ShifterState.ACTIVE) & (np.abs(need) > np.pi / 2)
        turned &= (theta[run] != 0.0) & (drive is not Drive.UPPER_ARM)
        need = np.where(turned, wrapped(need + np.pi), need)
        theta[run] = np.where(turned, -theta[run], theta[run])
        behind = common_phase_rad(need, state, drive)
        behind += _behind(theta[run], theta_state[run], drive)
        # With a dark lower input the upper one sets the phase behind the first coupler.
        arrived = np.where(lit[lower], carried[lower], carried[upper] + need - mesh.phi[run])
        # M(-theta, phi + pi) = diag(1, -1) M(theta, phi).
        carried[upper] = arrived + behind
        carried[lower] = carried[upper] + np.where(turned, np.pi, 0.0)
        carried += pass_phase_rad(drive)
        _spread(lit, upper, theta[run] == 0.0)
        phi[run], phi_state[run] = need, state


def _realise_natively(
    module: Extension,
    mesh: BalancedMesh,
    drive: Drive,
    passive: Passive,
    held: npt.NDArray[np.bool_],
    carried: Real,
    lit: npt.NDArray[np.bool_],
    theta: Real,
    phi: Real,
    theta_state: Flags,
    phi_state: Flags,
) -> None:
    """As `_realise`, compiled. What drives and arms do is handed over as numbers."""
    # Common phases are linear in the phase on either side of 0.
    common = np.array(
        [
            sign * float(common_phase_rad(sign, state, drive))
            for state in (ShifterState.ACTIVE, ShifterState.PASSIVE)
            for sign in (-1.0, 1.0)
        ]
    )
    if passive is Passive.NONE:
        fixed = np.zeros(len(phi), np.uint8)
    elif passive is Passive.ALL:
        fixed = np.ones(len(phi), np.uint8)
    else:
        fixed = ((mesh.phi == 0.0) | held).astype(np.uint8)
    module.realise(
        mesh.ports,
        len(phi),
        (
            pass_phase_rad(drive),
            NEGLIGIBLE_RAD,
            drive is not Drive.UPPER_ARM,
            passive is Passive.QUARTER,
            ShifterState.REMOVED,
            ShifterState.PASSIVE,
            ShifterState.ACTIVE,
        ),
        mesh.column,
        mesh.port,
        mesh.phi,
        fixed,
        _behind(theta, theta_state, drive),
        _behind(-theta, theta_state, drive),
        common,
        carried,
        lit.view(np.uint8),
        theta,
        phi,
        phi_state,
    )


def textbook(mesh: BalancedMesh, *, entering_rad: Real) -> Realised:
    """As `realised`, for upper arms with every shifter active, even at 0; nothing is turned.

    Expects theta in [0, pi], as `decompose` gives for complex matrices.
    """
    drawn = realised(
        mesh,
        drive=Drive.UPPER_ARM,
        passive=Passive.NONE,
        entering_rad=entering_rad,
        lit=np.ones(mesh.ports, bool),
    )
    every = np.full(len(mesh.column), ShifterState.ACTIVE, np.uint8)
    return Realised(drawn.theta_rad, drawn.phi_rad, every, every, drawn.left_rad)


def with_signs_absorbed(mesh: BalancedMesh, negative: npt.NDArray[np.bool_]) -> BalancedMesh:
    """mesh @ diag(-1 where `negative`, else 1) as a mesh with the same |theta| and phi.

    A sign on one input of an MZI turns theta's sign and leaves on the lower output, because
    M(theta, phi) diag(-1, 1) = diag(1, -1) M(-theta, phi).
    """
    minus = np.array(negative, bool)
    theta = np.array(mesh.theta)
    for run in column_slices(mesh.column):
        upper = mesh.port[run]
        lower = upper + 1
        differ = minus[upper] != minus[lower]
        theta[run] = np.where(differ, -theta[run], theta[run])
        minus[upper] = minus[lower]
        minus[lower] ^= differ
    return BalancedMesh(
        ports=mesh.ports,
        column=mesh.column,
        port=mesh.port,
        theta=theta,
        phi=mesh.phi,
        out=wrapped(mesh.out + np.pi * minus),
    )

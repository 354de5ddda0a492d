"""Arms changed one by one, where the answers of the warm chip come nearer to those of the cold one.

A beam search (see `cancelling`) goes by a quadratic form, which tells little where heat does much
harm. Here every change is judged by the loss itself: an MZI is turned over, those behind it stay
as they are, and the phases between follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.transfer import attenuator_phase_rad
from onnx2mzi.ir import Mesh, MeshTile
from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.kernels.gauge import NEGLIGIBLE_RAD, column_slices
from onnx2mzi.passes.drawing import BalancedTile, balanced_tile
from onnx2mzi.physics.arrays import Flags, Index, Real, within_pi, wrapped
from onnx2mzi.physics.shifter import Drive, ShifterState, common_phase_rad

Bools = npt.NDArray[np.bool_]
ACTIVE = ShifterState.ACTIVE
_ON: Flags = np.full(1, ACTIVE, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Arms:
    """A tile whose arms may change, which of V's and U's MZIs are turned, and which can be:
    those that light meets on both guides."""

    tile: MeshTile
    balanced: BalancedTile
    turned: Flags
    free: Index

    def changed(self, which: int) -> "Arms | None":
        """With this MZI turned over; None where phases come out without a heater."""
        turned = self.turned.copy()
        turned[which] ^= 1
        tile = with_turns(self.tile, self.balanced, turned)
        return None if tile is None else replace(self, tile=tile, turned=turned)


def arms_of(tile: MeshTile) -> Arms:
    """The arms of a complex dense tile with arm-choice drive, read in both quadratures."""
    balanced = balanced_tile(tile)
    entering = np.arange(tile.u.ports) < len(tile.sigma)
    meets = [_meets(balanced.v, np.ones(tile.v.ports, bool)), _meets(balanced.u, entering)]
    free = np.flatnonzero(np.concatenate(meets)).astype(np.int32)
    return Arms(tile, balanced, np.zeros(len(tile.v) + len(tile.u), np.uint8), free)


def _meets(mesh: BalancedMesh, lit: Bools) -> Bools:
    """Which MZIs light meets on both guides, were none a crossing."""
    lit, found = lit.copy(), np.zeros(mesh.count, bool)
    for run in column_slices(mesh.column):
        upper = mesh.port[run]
        above, below = lit[upper], lit[upper + 1]
        found[run] = above & below
        lit[upper] = lit[upper + 1] = above | below
    return found


def with_turns(tile: MeshTile, balanced: BalancedTile, turned: Flags) -> MeshTile | None:
    """The tile with these MZIs turned, (V's and U's,): theta on the other arm, pi more on phi."""
    channels, first = len(tile.sigma), len(tile.v)
    v = _realised(
        tile.v, balanced.v, turned[:first], np.zeros(tile.v.ports), np.ones(tile.v.ports, bool)
    )
    entering = np.zeros(tile.u.ports)
    entering[:channels] = v[1][:channels] - balanced.v.out[:channels]
    entering[:channels] += attenuator_phase_rad(tile.sigma)
    lit = np.arange(tile.u.ports) < channels
    u = _realised(tile.u, balanced.u, turned[first:], entering, lit)
    if v[0] is None or u[0] is None:
        return None
    return replace(tile, v=v[0], u=u[0], readout_rad=wrapped(balanced.u.out - u[1]))


def _realised(
    drawn: Mesh, mesh: BalancedMesh, turned: Flags, carried: Real, lit: Bools
) -> tuple[Mesh | None, Real]:
    """The mesh as drawn, and phases behind it."""
    theta = np.where(turned, -mesh.theta, mesh.theta)
    own = theta / 2 + np.pi / 2 + common_phase_rad(theta, _ON, Drive.ARM_CHOICE)
    wanted, minus = mesh.phi + np.pi * turned, np.pi * turned
    phi, carried = np.zeros(mesh.count), carried.copy()
    for run in column_slices(mesh.column):
        upper = mesh.port[run]
        above, below = lit[upper], lit[upper + 1]
        need = wrapped(wanted[run] - carried[upper] + carried[upper + 1])
        need[(np.abs(need) < NEGLIGIBLE_RAD) | ~(above & below)] = 0.0
        phi[run] = need
        one = np.where(below, carried[upper + 1], carried[upper] + need - mesh.phi[run])
        one += common_phase_rad(need, _ON, Drive.ARM_CHOICE) + own[run]
        carried[upper], carried[upper + 1] = one, one + minus[run]
        lit = lit.copy()
        lit[upper] = lit[upper + 1] = above | below
    if ((phi != 0) & (drawn.phi_state != ACTIVE)).any():
        return None, carried
    return replace(drawn, theta_rad=within_pi(theta), phi_rad=phi), carried


def moved(
    tiles: Sequence[MeshTile],
    may: Sequence[bool],
    cost: Callable[[list[MeshTile]], float],
    *,
    moves: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> list[MeshTile]:
    """The tiles after so many changes at random, the better ones kept, of tiles that `may`."""
    rng = np.random.default_rng(seed)
    made = list(tiles)
    arms = {t: arms_of(tile) for t, tile in enumerate(made) if may[t]}
    least = cost(made)
    for number in range(moves):
        t = int(rng.choice(list(arms)))
        trial = arms[t].changed(int(rng.choice(arms[t].free)))
        if trial is not None:
            value = cost([*made[:t], trial.tile, *made[t + 1 :]])
            if value < least:
                arms[t], made[t], least = trial, trial.tile, value
        progress(number + 1, moves)
    return made

"""Drawn phases with the least heat for the same balanced mesh: a beam search over turned MZIs.

(theta, phi) and (-theta, phi + pi) differ by the sign of the lower output, which travels on. For
each MZI in the order of the light the search tries both, with phi on the arm that makes it
shorter, and keeps the cheapest ways so far: `kernels.gauge.realised` is the search of width 1
that never looks beyond an MZI.
"""

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.kernels.gauge import (
    NEGLIGIBLE_RAD,
    Fixed,
    Realised,
    column_slices,
    realised,
)
from onnx2mzi.physics.arrays import Flags, Real, within_pi, wrapped
from onnx2mzi.physics.shifter import (
    Drive,
    Passive,
    ShifterState,
    common_phase_rad,
    settled_state,
)


def coolest(
    mesh: BalancedMesh,
    *,
    drive: Drive,
    passive: Passive,
    entering_rad: Real,
    lit: npt.NDArray[np.bool_],
    trims: npt.NDArray[np.bool_] | None = None,
    fixed: Fixed | None = None,
    width: int = 16,
) -> Realised:
    """As `realised`, with less heat where a beam of `width` finds it.

    For arm-choice drives and complex meshes without trims and fixed phases; others are realised
    as ever.
    """
    greedy = realised(
        mesh,
        drive=drive,
        passive=passive,
        entering_rad=entering_rad,
        lit=lit,
        trims=trims,
        fixed=fixed,
    )
    bound = trims is not None or fixed is not None
    if drive is not Drive.ARM_CHOICE or width < 2 or mesh.is_real or bound:
        return greedy
    found = _search(mesh, drive, passive, entering_rad, lit, width)
    return found if _heat_rad(found) < _heat_rad(greedy) else greedy


def _heat_rad(made: Realised) -> float:
    theta = np.abs(made.theta_rad[made.theta_state == ShifterState.ACTIVE]).sum()
    return float(theta + np.abs(made.phi_rad[made.phi_state == ShifterState.ACTIVE]).sum())


def _search(
    mesh: BalancedMesh,
    drive: Drive,
    passive: Passive,
    entering_rad: Real,
    lit: npt.NDArray[np.bool_],
    width: int,
) -> Realised:
    count = len(mesh.column)
    theta_state = settled_state(mesh.theta, compensates=False, passive=passive)
    carried = np.array(entering_rad, float)[None]
    cost = np.zeros(1)
    lit = np.array(lit)
    phi, turned = np.zeros((1, count)), np.zeros((1, count), bool)
    for run in column_slices(mesh.column):
        spread = lit.copy()
        for k in range(run.start, run.stop):
            upper = int(mesh.port[k])
            above, below = bool(lit[upper]), bool(lit[upper + 1])
            both = above and below
            may = bool(mesh.theta[k] != 0.0) and both
            needs, turns, parents = [], [], []
            for flip in (False, True) if may else (False,):
                need = np.zeros(len(carried))
                if both:
                    arrived = carried[:, upper] - carried[:, upper + 1]
                    need = wrapped(mesh.phi[k] - arrived + (np.pi if flip else 0.0))
                    need[np.abs(need) < NEGLIGIBLE_RAD] = 0.0
                needs.append(need)
                turns.append(np.full(len(need), flip))
                parents.append(np.arange(len(need)))
            need, turn = np.concatenate(needs), np.concatenate(turns)
            parent = np.concatenate(parents)
            state = _state(need, bool(mesh.phi[k] == 0.0), passive)
            total = cost[parent] + np.where(state == ShifterState.ACTIVE, np.abs(need), 0.0)
            best = np.argsort(total, kind="stable")[:width]
            parent, need, turn, cost = parent[best], need[best], turn[best], total[best]
            carried, phi, turned = carried[parent], phi[parent], turned[parent]
            phi[:, k], turned[:, k] = need, turn
            theta = np.where(turn, -mesh.theta[k], mesh.theta[k])
            behind = common_phase_rad(need, state[best], drive) + theta / 2 + np.pi / 2
            behind += common_phase_rad(theta, np.full(len(theta), theta_state[k]), drive)
            arrived = carried[:, upper + 1] if below else carried[:, upper] + need - mesh.phi[k]
            carried[:, upper] = arrived + behind
            carried[:, upper + 1] = carried[:, upper] + np.where(turn, np.pi, 0.0)
            cross = mesh.theta[k] == 0.0
            spread[upper] = below if cross else above or below
            spread[upper + 1] = above if cross else above or below
        lit = spread
    best_one = int(np.argmin(cost))
    theta = np.where(turned[best_one], -mesh.theta, mesh.theta)
    states = _state(phi[best_one], mesh.phi == 0.0, passive)
    left = wrapped(carried[best_one] - mesh.out)
    return Realised(within_pi(theta), phi[best_one], theta_state, states, left)


def _state(need: Real, compensates: npt.ArrayLike, passive: Passive) -> Flags:
    return settled_state(need, compensates=compensates, passive=passive)

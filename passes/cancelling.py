"""Arms and signs by which what heaters do to the phases around them cancels: a beam search.

(theta, phi) and (-theta, phi + pi) differ by a sign that travels on (see `heat_gauge`): both
heaters of an MZI may change arms, and on the other arm a heater moves its neighbours' phases the
other way. Every heater adds its phase times a known vector to what the chip does wrong. MZI by
MZI in the order of the light the search keeps the ways whose sum so far, with what the rest is
expected to add, is the least: the balancing of vectors by signs (Spencer 1977), in which the
vectors that follow depend on the signs before.
"""

from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.emulate.transfer import attenuator_phase_rad
from onnx2mzi.ir import Mesh, MeshTile
from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.kernels.gauge import NEGLIGIBLE_RAD, column_slices
from onnx2mzi.passes.drawing import balanced_tile
from onnx2mzi.physics.arrays import Flags, Real, within_pi, wrapped
from onnx2mzi.physics.shifter import Drive, ShifterState, common_phase_rad

ACTIVE = ShifterState.ACTIVE


@dataclass(frozen=True, slots=True, eq=False)
class Pushes:
    """What a mesh's heaters do wrong per rad, on upper arms [0] and on lower ones [1]: `theta`
    and `phi`, (2, K, k) each, in coordinates whose squares add up to the loss."""

    theta: Real
    phi: Real

    def total(self, mesh: Mesh) -> Real:
        """What a mesh as drawn does wrong, (k,)."""
        theta = np.where(mesh.theta_rad[:, None] < 0, self.theta[1], self.theta[0])
        phi = np.where(mesh.phi_rad[:, None] < 0, self.phi[1], self.phi[0])
        return np.asarray(np.abs(mesh.theta_rad) @ theta + np.abs(mesh.phi_rad) @ phi)

    def expected(self, mesh: Mesh) -> Real:
        """What the MZIs from each on will add, whatever their arms, (K + 1, k)."""
        each = np.abs(mesh.theta_rad)[:, None] * self.theta.mean(axis=0)
        each += np.abs(mesh.phi_rad)[:, None] * self.phi.mean(axis=0)
        behind = np.zeros((len(each) + 1, each.shape[1]))
        behind[:-1] = np.cumsum(each[::-1], axis=0)[::-1]
        return behind


@dataclass(slots=True, eq=False)
class _Ways:
    """Ways so far, (b, ...): what they do wrong, their heat, phases on guides, phases drawn."""

    wrong: Real
    heat_rad: Real
    carried: Real
    theta: list[Real]
    phi: list[Real]

    def take(self, index: np.ndarray) -> None:
        self.wrong, self.heat_rad = self.wrong[index], self.heat_rad[index]
        self.carried = self.carried[index]
        self.theta = [values[index] for values in self.theta]
        self.phi = [values[index] for values in self.phi]


def cancelling_tile(
    tile: MeshTile, pushes: tuple[Pushes, Pushes], wrong: Real, *, heat_price: float, width: int
) -> MeshTile | None:
    """The tile with the arms that do the least wrong, None where phases come out that no heater
    is there for.

    `pushes` are those of V and of U, `wrong` (k,) what all else does wrong, `heat_price` the
    loss that a rad of heat is worth. For complex dense meshes with arm-choice drive, read in
    both quadratures.
    """
    balanced = balanced_tile(tile)
    channels = len(tile.sigma)
    later = pushes[1].expected(tile.u)
    ways = _Ways(wrong[None].copy(), np.zeros(1), np.zeros((1, tile.v.ports)), [], [])
    lit = np.ones(tile.v.ports, bool)
    expected = pushes[0].expected(tile.v) + later[0]
    _search(balanced.v, tile.v, pushes[0], expected, lit, ways, heat_price, width)
    entering = np.zeros((len(ways.carried), tile.u.ports))
    left = ways.carried[:, :channels] - balanced.v.out[:channels]
    entering[:, :channels] = left + attenuator_phase_rad(tile.sigma)
    ways.carried = entering
    lit = np.arange(tile.u.ports) < channels
    _search(balanced.u, tile.u, pushes[1], later, lit, ways, heat_price, width)
    best = int(np.argmin(heat_price * ways.heat_rad + (ways.wrong**2).sum(axis=1)))
    drawn = [
        _drawn(mesh, theta[best], phi[best])
        for mesh, theta, phi in zip((tile.v, tile.u), ways.theta, ways.phi, strict=True)
    ]
    if drawn[0] is None or drawn[1] is None:
        return None
    readout = wrapped(-wrapped(ways.carried[best] - balanced.u.out))
    return replace(tile, v=drawn[0], u=drawn[1], readout_rad=readout)


def _drawn(mesh: Mesh, theta: Real, phi: Real) -> Mesh | None:
    if ((phi != 0) & (mesh.phi_state != ACTIVE)).any():
        return None
    return replace(mesh, theta_rad=within_pi(theta), phi_rad=phi)


def _search(
    mesh: BalancedMesh,
    drawn: Mesh,
    pushes: Pushes,
    expected: Real,
    lit: np.ndarray,
    ways: _Ways,
    heat_price: float,
    width: int,
) -> None:
    """All MZIs of a mesh, in place."""
    ways.theta.append(np.zeros((len(ways.carried), mesh.count)))
    ways.phi.append(np.zeros((len(ways.carried), mesh.count)))
    on: Flags = np.full(1, ACTIVE, np.uint8)
    for run in column_slices(mesh.column):
        spread = lit.copy()
        for k in range(run.start, run.stop):
            upper = int(mesh.port[k])
            above, below = bool(lit[upper]), bool(lit[upper + 1])
            both = above and below
            turns = (False, True) if both else (False,)
            count = len(ways.carried)
            need = np.zeros((len(turns), count))
            if both:
                arrived = ways.carried[:, upper] - ways.carried[:, upper + 1]
                for turn in turns:
                    need[int(turn)] = wrapped(mesh.phi[k] - arrived + np.pi * turn)
                need[np.abs(need) < NEGLIGIBLE_RAD] = 0.0
            turned = np.repeat(turns, count)
            phi, parent = need.ravel(), np.tile(np.arange(count), len(turns))
            theta = np.where(turned, -mesh.theta[k], mesh.theta[k])
            wrong = ways.wrong[parent]
            for rad, push in ((theta, pushes.theta[:, k]), (phi, pushes.phi[:, k])):
                wrong += np.abs(rad)[:, None] * np.where((rad < 0)[:, None], push[1], push[0])
            heat = ways.heat_rad[parent] + np.abs(phi)
            cost = heat_price * heat + ((wrong + expected[k + 1]) ** 2).sum(axis=1)
            best = np.argsort(cost, kind="stable")[:width]
            theta, phi, turned = theta[best], phi[best], turned[best]
            ways.take(parent[best])
            ways.wrong, ways.heat_rad = wrong[best], heat[best]
            ways.theta[-1][:, k], ways.phi[-1][:, k] = theta, phi
            behind = common_phase_rad(phi, on, Drive.ARM_CHOICE) + theta / 2 + np.pi / 2
            behind += common_phase_rad(theta, on, Drive.ARM_CHOICE)
            arrived = ways.carried[:, upper + 1] if below else ways.carried[:, upper] + phi
            if not below:
                arrived = arrived - mesh.phi[k]
            ways.carried[:, upper] = arrived + behind
            ways.carried[:, upper + 1] = ways.carried[:, upper] + np.where(turned, np.pi, 0.0)
            spread[upper] = spread[upper + 1] = above or below
        lit = spread

"""Between a tile in the balanced gauge, where passes think, and the tile as it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.transfer import attenuator_phase_rad, balanced_mesh
from onnx2mzi.ir import Attenuators, Mesh, MeshTile
from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.kernels.gauge import (
    NEGLIGIBLE_RAD,
    Fixed,
    Realised,
    realised,
    textbook,
    with_signs_absorbed,
)
from onnx2mzi.kernels.signs import without_half_turns
from onnx2mzi.physics.arrays import Flags, Index, Real, frozen, wrapped
from onnx2mzi.physics.mzi import attenuation, attenuator_theta_rad
from onnx2mzi.physics.shifter import (
    Drive,
    Passive,
    ShifterState,
    settled_state,
)
from onnx2mzi.tech import Detection


@dataclass(frozen=True, slots=True, eq=False)
class BalancedTile:
    """matrix = gain * U[:, :r] diag(amplitude) V[:r], U and V with their `out` phases.

    `amplitude`, shape (r,), in [0, 1]; `taps` marks those that may be fixed couplers, `fixed_u`
    and `fixed_v` the (theta, phi) of MZIs that may be fixed lengths (default: none).
    """

    outputs: Index
    inputs: Index
    u: BalancedMesh
    amplitude: Real
    v: BalancedMesh
    gain: float
    taps: Flags = field(default_factory=lambda: np.zeros(0, np.uint8))
    fixed_u: Fixed | None = None
    fixed_v: Fixed | None = None

    def __post_init__(self) -> None:
        taps = self.taps if len(self.taps) else np.zeros(len(self.amplitude), np.uint8)
        object.__setattr__(self, "taps", frozen(taps, np.uint8))
        object.__setattr__(self, "outputs", frozen(self.outputs, np.int32))
        object.__setattr__(self, "inputs", frozen(self.inputs, np.int32))
        object.__setattr__(self, "amplitude", frozen(self.amplitude, np.float64))


@dataclass(frozen=True, slots=True)
class DrawingRules:
    """What the technology and the user allow: where heaters sit, which phases may be passive,
    whether the phase of an output is read electronically."""

    drive: Drive
    passive: Passive
    detection: Detection


Trims = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]


def drawn_tile(
    tile: BalancedTile,
    rules: DrawingRules,
    *,
    trims: Trims | None = None,
    realise: Callable[..., Realised] = realised,
) -> MeshTile:
    """The tile with the phases that make its balanced meshes, light followed from V to U.

    `trims` are the MZIs of V and of U whose phi is a heater whatever it has to make; `realise`
    is `realised`, or does the same at other costs.

    V's output phases and the attenuators' go into U's phi; U's are read electronically, or
    become `out` shifters where detection does not allow that.
    """
    tile = without_real_signs(tile)
    channels = len(tile.amplitude)
    v = realise(
        tile.v,
        drive=rules.drive,
        passive=rules.passive,
        entering_rad=np.zeros(tile.v.ports),
        lit=np.ones(tile.v.ports, bool),
        trims=None if trims is None else trims[0],
        fixed=tile.fixed_v,
    )
    theta = attenuator_theta_rad(amplitude=tile.amplitude)
    state = settled_state(theta, compensates=tile.taps, passive=rules.passive)
    sigma = Attenuators(theta, state, rules.drive)
    lit = np.arange(tile.u.ports) < channels
    u = realise(
        tile.u,
        drive=rules.drive,
        passive=rules.passive,
        entering_rad=_entering_u(v, sigma, tile.u.ports),
        lit=lit,
        trims=None if trims is None else trims[1],
        fixed=tile.fixed_u,
    )
    return _assembled(tile, v, sigma, u, rules)


def without_real_signs(tile: BalancedTile) -> BalancedTile:
    """Signs behind a real V go through U, so that a real tile stays one when read back."""
    if not (tile.u.is_real and tile.v.is_real):
        return tile
    negative = np.zeros(tile.u.ports, bool)
    channels = len(tile.amplitude)
    negative[:channels] = tile.v.out[:channels] != 0.0
    return replace(
        tile,
        u=with_signs_absorbed(tile.u, negative),
        v=replace(tile.v, out=np.zeros(tile.v.ports)),
    )


def textbook_tile(tile: BalancedTile, detection: Detection) -> MeshTile:
    """The tile as in textbooks: upper arms, every theta, phi and attenuator a heater."""
    v = textbook(tile.v, entering_rad=np.zeros(tile.v.ports))
    theta = attenuator_theta_rad(amplitude=tile.amplitude)
    active = np.full(len(theta), ShifterState.ACTIVE, np.uint8)
    sigma = Attenuators(theta, active, Drive.UPPER_ARM)
    u = textbook(tile.u, entering_rad=_entering_u(v, sigma, tile.u.ports))
    rules = DrawingRules(Drive.UPPER_ARM, Passive.NONE, detection)
    return _assembled(tile, v, sigma, u, rules)


def balanced_tile(tile: MeshTile) -> BalancedTile:
    """The balanced form of a drawn tile; phi that only compensate come back as exact zeros."""
    channels = len(tile.sigma)
    v, left_v = balanced_mesh(tile.v)
    entering = np.zeros(tile.u.ports)
    entering[:channels] = (left_v + tile.v.out_rad)[:channels] + attenuator_phase_rad(tile.sigma)
    lit = np.arange(tile.u.ports) < channels
    u, left_u = balanced_mesh(tile.u, entering_rad=entering, lit=lit)
    # Trims of a real mesh are turned where that saves heat, and come back as half turns.
    u, v = without_half_turns(u), without_half_turns(v)
    return BalancedTile(
        outputs=tile.outputs,
        inputs=tile.inputs,
        u=_with_out(u, u.out + left_u + tile.u.out_rad + tile.readout_rad),
        amplitude=attenuation(theta_rad=tile.sigma.theta_rad),
        v=v,
        gain=tile.gain,
        taps=tile.sigma.state == ShifterState.PASSIVE,
        fixed_u=_fixed(tile.u, u),
        fixed_v=_fixed(tile.v, v),
    )


def trims_of(tile: MeshTile, balanced: BalancedTile) -> Trims:
    """The MZIs of V and of U whose phi is a heater that makes nothing but what arms ask for."""
    v, u = (mesh.phi_state == ShifterState.ACTIVE for mesh in (tile.v, tile.u))
    return v & (balanced.v.phi == 0.0), u & (balanced.u.phi == 0.0)


def _fixed(drawn: Mesh, balanced: BalancedMesh) -> Fixed | None:
    """The passive phases of a mesh that do more than compensate."""
    theta = drawn.theta_state == ShifterState.PASSIVE
    phi = (drawn.phi_state == ShifterState.PASSIVE) & (balanced.phi != 0.0)
    return (theta, phi) if theta.any() or phi.any() else None


def _with_out(mesh: BalancedMesh, out_rad: Real) -> BalancedMesh:
    out = wrapped(out_rad)
    # Sums of a real tile's phases are 0 or pi but for round-off.
    signs = np.where(np.abs(out) < np.pi / 2, 0.0, np.pi)
    real = np.abs(wrapped(out - signs)) < NEGLIGIBLE_RAD
    return replace(mesh, out=np.where(real, signs, out))


def _entering_u(v: Realised, sigma: Attenuators, ports: int) -> Real:
    entering = np.zeros(ports)
    entering[: len(sigma)] = v.left_rad[: len(sigma)] + attenuator_phase_rad(sigma)
    return entering


def _assembled(
    tile: BalancedTile, v: Realised, sigma: Attenuators, u: Realised, rules: DrawingRules
) -> MeshTile:
    turn = wrapped(-u.left_rad)
    if rules.detection is Detection.IQ:
        out, readout = np.zeros_like(turn), turn
    else:
        # One common angle of all outputs is the local oscillator's and costs nothing.
        common = turn[0] if len(turn) else 0.0
        out, readout = wrapped(turn - common), np.full_like(turn, common)
    return MeshTile(
        outputs=tile.outputs,
        inputs=tile.inputs,
        u=_drawn_mesh(tile.u, u, out, rules),
        sigma=sigma,
        v=_drawn_mesh(tile.v, v, np.zeros(tile.v.ports), rules),
        gain=tile.gain,
        readout_rad=readout,
    )


def _drawn_mesh(mesh: BalancedMesh, drawn: Realised, out: Real, rules: DrawingRules) -> Mesh:
    return Mesh(
        ports=mesh.ports,
        column=mesh.column,
        port=mesh.port,
        theta_rad=drawn.theta_rad,
        phi_rad=drawn.phi_rad,
        theta_state=drawn.theta_state,
        phi_state=drawn.phi_state,
        out_rad=out,
        out_state=settled_state(out, compensates=True, passive=rules.passive),
        drive=rules.drive,
    )

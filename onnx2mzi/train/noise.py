"""Networks trained as they will be made: couplers and heaters a little off, anew each step.

A real mesh whose couplers are off is no longer real, so light is complex here; what is not in
phase at the outputs is not detected. Crossings and bare guides have no couplers and no heaters.
Vadlamani et al. (arXiv 2210.06632) train on worst cases, Xu et al. (arXiv 2401.08180) on noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from onnx2mzi.kernels import cells_vjp, propagate_cells
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.imperfection_cell import CellErrors, arm_derivatives, imperfect_mzi
from onnx2mzi.train.layout import Layout
from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.tiles import LayerStart, TileModel


@dataclass(frozen=True, slots=True)
class Noise:
    """Deviations: of what every heater makes, and of each coupler's angle, rad."""

    phase_rad: float = 0.0
    split_rad: float = 0.0


class NoisyNetwork(PhaseNetwork):
    """A `PhaseNetwork` whose meshes are drawn anew at every forward pass of a training step.

    Without gradients (measuring) it is the ideal network. The same `seed` and number of `drawn`
    chips give the same noise, so an interrupted training goes on as it would have.
    """

    drawn: Tensor
    noise: Noise
    seed: int
    _random: np.random.Generator

    def matrices(self, phase: Tensor | None = None) -> dict[str, Tensor]:
        """As the base, of one more chip as made."""
        if torch.is_grad_enabled():
            self._random = np.random.default_rng((self.seed, int(self.drawn)))
            self.drawn += 1
        return super().matrices(phase)

    def rebuilt(self, layers: Sequence[LayerStart]) -> PhaseNetwork:
        """As the base, with the same noise."""
        made = noisy(super().rebuilt(layers), self.noise, self.seed)
        made.drawn.copy_(self.drawn)
        return made

    def tile_matrix(self, tile: TileModel, phase: Tensor) -> Tensor:
        """As the base, of a tile as made."""
        if self.noise == Noise() or not torch.is_grad_enabled():
            return super().tile_matrix(tile, phase)
        v = self._mesh(tile.v, phase, tile.theta_v, tile.phi_v, tile.v.ports)[: tile.rank]
        u = self._mesh(tile.u, phase, tile.theta_u, tile.phi_u, tile.rank)
        off = torch.from_numpy(self.noise.phase_rad * self._random.standard_normal(tile.rank))
        made = phase[tile.sigma] + torch.where(self.alive[tile.sigma], off, torch.zeros_like(off))
        s = torch.exp(self.gain[tile.gain]) * torch.cos(made / 2)
        if tile.real:
            s = s * torch.from_numpy(tile.v_signs[: tile.rank])
            light = (u * s.to(u.dtype)) @ v
            return torch.from_numpy(tile.u_signs)[:, None] * light.real
        turn = self.turn[tile.turn]
        return torch.polar(torch.ones_like(turn), turn)[:, None] * ((u * s.to(u.dtype)) @ v)

    def _mesh(self, layout: Layout, phase: Tensor, theta: slice, phi: slice, count: int) -> Tensor:
        heated, now = self.alive[theta].numpy(), phase.detach()[theta].numpy()
        # What rests at +-pi is drawn as two guides.
        couplers = (now != 0.0) & (heated | (np.abs(now) != np.pi))
        errors = _drawn(now, heated, couplers, self.noise, self._random)
        turned = phase[phi] if phi.stop > phi.start else torch.zeros_like(phase[theta])
        if phi.stop > phi.start:
            off = self.noise.phase_rad * self._random.standard_normal(layout.count)
            turned = turned + torch.from_numpy(np.where(self.alive[phi].numpy(), off, 0.0))
        y: Tensor = _Cells.apply(phase[theta], turned, layout, errors, count)  # type: ignore[no-untyped-call]
        return y


def _drawn(
    theta: Real, heated: np.ndarray, couplers: np.ndarray, noise: Noise, random: np.random.Generator
) -> CellErrors:
    """Errors of one made mesh. A heater is on the arm that the sign of theta asks for."""
    off = np.where(heated, noise.phase_rad * random.standard_normal(len(theta)), 0.0)
    first, second = noise.split_rad * random.standard_normal((2, len(theta)))
    return CellErrors(
        arm_upper=np.where(theta >= 0, off, 0.0),
        arm_lower=np.where(theta < 0, off, 0.0),
        first=np.where(couplers, first, 0.0),
        second=np.where(couplers, second, 0.0),
    )


class _Cells(torch.autograd.Function):
    """The first columns (ports, count) of a mesh of imperfect cells, complex."""

    @staticmethod
    def forward(
        ctx: Any, theta: Tensor, phi: Tensor, layout: Layout, errors: CellErrors, count: int
    ) -> Tensor:
        angles = np.array(theta.detach().numpy()), np.array(phi.detach().numpy())
        cells = imperfect_mzi(theta_rad=angles[0], phi_rad=angles[1], errors=errors)
        x = np.eye(layout.ports, count, dtype=np.complex128)
        mesh = layout.mesh(np.array(angles[0]), None, None)
        ctx.mesh, ctx.cells, ctx.x, ctx.angles, ctx.errors = mesh, cells, x, angles, errors
        return torch.from_numpy(np.asarray(propagate_cells(mesh, cells, x), np.complex128))

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        g: Complex = np.ascontiguousarray(grads[0].resolve_conj().numpy())
        by_cell, _ = cells_vjp(ctx.mesh, ctx.cells, ctx.x, g)
        theta, phi = ctx.angles
        lit, dark = arm_derivatives(theta_rad=theta, phi_rad=phi, errors=ctx.errors)
        weights = by_cell.conj()
        # The gauge e^{i theta / 2} taken out of a cell turns both arms by half of theta.
        by_theta = (weights * (lit - dark)).real.sum((1, 2)) / 2
        by_phi = (weights[:, :, 0] * 1j * ctx.cells[:, :, 0]).real.sum(1)
        return torch.from_numpy(by_theta), torch.from_numpy(by_phi), None, None, None


def noisy(network: PhaseNetwork, noise: Noise, seed: int) -> NoisyNetwork:
    """The same network, drawn anew at every step."""
    made = NoisyNetwork(network.starts(), network.electronics, biases=network.constants())
    made.restore(network.state())
    made.noise, made.seed = noise, seed
    made.register_buffer("drawn", torch.zeros((), dtype=torch.int64))
    return made

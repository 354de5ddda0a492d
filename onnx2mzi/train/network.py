"""A network whose weights are functions of phases."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.physics.arrays import Real
from onnx2mzi.train.graph import HostGraph
from onnx2mzi.train.layout import Layout
from onnx2mzi.train.mesh_function import mesh_columns, mesh_rows
from onnx2mzi.train.ports import PORTS
from onnx2mzi.train.tiles import (
    GridModel,
    GridStart,
    LayerStart,
    Mask,
    Segment,
    TileModel,
    TileStart,
)
from onnx2mzi.train.tiles import plan as planned

Transform = Callable[[Tensor], Tensor]
"""What comes between the phases that are set and those that light meets: noise, rounding."""


class Electronics(Protocol):
    """The network around the layers: `HostGraph`, or any function that does as much."""

    def __call__(
        self,
        matrices: Mapping[str, Tensor],
        inputs: Mapping[str, Tensor],
        constants: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Outputs by name."""


class PhaseNetwork(nn.Module):
    """Layers as meshes of MZIs in an electronic rest.

    All phases are one vector `phase` (P,), in rad and double precision, in the order of
    `segments`: thetas, phis of complex tiles, and thetas of attenuators. `alive` (P,) marks the
    heaters that are there; the others have their phase in `rest` (0, a crossing, unless a method
    puts +-pi there, two guides) and no gradient. `fixed` (P,) marks phases that are trained but
    then made as waveguide lengths or couplers, without a heater; `railed` (P,) heaters that hang on
    a driver that others of their layer have too. Gains (T,), `turn` (the electronic readout of
    complex outputs) and `biases` cost no heater. `transform`, if set, acts on the phases of a
    forward pass only.
    """

    alive: Tensor
    rest: Tensor
    fixed: Tensor
    railed: Tensor

    def __init__(
        self,
        layers: Sequence[LayerStart],
        electronics: Electronics,
        *,
        biases: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        found = planned(layers)
        self.layers: Mapping[str, tuple[GridModel, ...]] = found.layers
        self.real: Mapping[str, bool] = found.real
        self.segments: tuple[Segment, ...] = found.segments
        self.spots: Mapping[str, slice] = found.spots
        self.electronics = electronics
        self.phase = nn.Parameter(torch.from_numpy(found.phase.copy()))
        self.gain = nn.Parameter(torch.from_numpy(found.gain.copy()))
        self.turn = nn.Parameter(torch.from_numpy(found.turn.copy()))
        self.bias_kinds = {name: value.dtype for name, value in (biases or {}).items()}
        self.biases = nn.ParameterList(
            [nn.Parameter(_wide(value.detach().clone())) for value in (biases or {}).values()]
        )
        self.register_buffer("alive", torch.from_numpy(found.phase != 0.0))
        self.register_buffer("fixed", torch.from_numpy(found.fixed))
        self.register_buffer("railed", torch.zeros(len(found.phase), dtype=torch.bool))
        self.register_buffer("rest", torch.zeros(len(found.phase), dtype=torch.float64))
        self.transform: Transform | None = None
        self._tied: Tensor | None = None
        tiles = [tile for grids in self.layers.values() for grid in grids for tile in grid.tiles]
        self._bounded = [tile.sigma for tile in tiles]
        for tile in tiles:
            if not tile.real:
                self._bounded += [tile.theta_v, tile.theta_u]

    @classmethod
    def on_host(
        cls, layers: Sequence[LayerStart], host: HostGraph, *, train_biases: bool = False
    ) -> "PhaseNetwork":
        """The network of a program's host graph. Its biases are trained or not, its factors of
        ports are."""
        chosen = {
            name: host.constants[name]
            for name in host.biases
            if train_biases or name.startswith(PORTS)
        }
        return cls(layers, host, biases=chosen)

    # ---- light ----------------------------------------------------------------------------

    def effective(self) -> Tensor:
        """The phases that light meets, (P,): those alive, transformed, and the rest."""
        phase = torch.where(self.alive, self.phase, self.rest)
        return phase if self.transform is None else self.transform(phase)

    def matrices(self, phase: Tensor | None = None) -> dict[str, Tensor]:
        """Every layer's matrix (m, n) by name, in double precision."""
        phase = self.effective() if phase is None else phase
        found = {}
        for name, grids in self.layers.items():
            product = self._grid(grids[0], phase, name)
            for grid in grids[1:]:
                product = self._grid(grid, phase, name) @ product
            found[name] = product
        return found

    def forward(
        self, inputs: Mapping[str, Tensor], phase: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The outputs by name; `phase` (P,) in place of `effective()` if given."""
        return self.electronics(self.matrices(phase), inputs, self.constants())

    def constants(self) -> dict[str, Tensor]:
        """The biases that are trained, by their names in the host graph, in its types."""
        named = zip(self.bias_kinds.items(), self.biases, strict=True)
        return {name: value.to(kind) for (name, kind), value in named}

    def _grid(self, grid: GridModel, phase: Tensor, layer: str) -> Tensor:
        kind = torch.float64 if self.real[layer] else torch.complex128
        whole: Tensor | None = None
        for tile in grid.tiles:
            part = self.tile_matrix(tile, phase)
            part = part.real if self.real[layer] and part.is_complex() else part.to(kind)
            covers = part.shape == (grid.rows, grid.columns)
            if len(grid.tiles) == 1 and covers and _in_order(tile):
                return part
            if whole is None:
                whole = torch.zeros(grid.rows, grid.columns, dtype=kind, device=phase.device)
            at = np.ix_(tile.outputs, tile.inputs)
            rows, columns = (torch.from_numpy(x.astype(np.int64)).to(phase.device) for x in at)
            whole = whole.index_put((rows, columns), part, accumulate=True)
        if whole is None:
            whole = torch.zeros(grid.rows, grid.columns, dtype=kind, device=phase.device)
        return whole

    def tile_matrix(self, tile: TileModel, phase: Tensor) -> Tensor:
        """gain diag(turn) U[:, :r] diag(cos(sigma / 2)) V[:r], (m, n)."""
        s = torch.exp(self.gain[tile.gain]) * torch.cos(phase[tile.sigma] / 2)
        if tile.real:
            v = mesh_rows(tile.v, phase[tile.theta_v], None, None, tile.rank)
            u = mesh_columns(tile.u, phase[tile.theta_u], None, None, tile.rank)
            signs = torch.from_numpy(tile.v_signs[: tile.rank]).to(phase.device)
            left = u * (s * signs)
            if (tile.u_signs < 0).any():
                left = torch.from_numpy(tile.u_signs).to(phase.device)[:, None] * left
            return left @ v
        v = mesh_rows(tile.v, phase[tile.theta_v], phase[tile.phi_v], None, tile.rank)
        turn = self.turn[tile.turn]
        u = mesh_columns(tile.u, phase[tile.theta_u], phase[tile.phi_u], turn, tile.rank)
        return (u * s.to(u.dtype)) @ v

    @torch.no_grad()
    def project(self) -> None:
        """Phases back to where they mean what they say: attenuators, and thetas of complex tiles,
        to [-pi, pi] (a theta beyond turns the sign of both outputs, which a real mesh absorbs).
        Phases that are tied go to their mean."""
        for part in self._bounded:
            self.phase[part].clamp_(-np.pi, np.pi)
        if self._tied is not None:
            place = self._tied[self.alive]
            total = torch.zeros_like(self.phase).index_add_(0, place, self.phase[self.alive])
            count = torch.zeros_like(self.phase).index_add_(0, place, torch.ones_like(total[place]))
            self.phase[self.alive] = total[place] / count[place]

    @torch.no_grad()
    def tie(self, place: Tensor) -> None:
        """Phases of one `place` (P,), the index of one of them, are one from here on: all start
        where that one stands, and `project`, behind every step, sets those alive to their mean."""
        self._tied = place
        self.phase.copy_(self.phase[place])
        self.alive.copy_(self.alive[place])

    # ---- what is there --------------------------------------------------------------------

    @property
    def phases_active(self) -> int:
        """Heaters that are left."""
        return int((self.alive & ~self.fixed).sum())

    @property
    def phases_own(self) -> int:
        """Heaters that are left and on no rail."""
        return int((self.alive & ~self.fixed & ~self.railed).sum())

    def power_rad(self) -> float:
        """Sum of |phase| over the heaters that are left, wrapped to [-pi, pi], in rad."""
        phase = self.phase.detach()[self.alive & ~self.fixed]
        return float(torch.remainder(phase + np.pi, 2 * np.pi).sub(np.pi).abs().sum())

    def kinds(self) -> Tensor:
        """0 theta, 1 phi, 2 sigma, for every phase (P,)."""
        numbers = torch.empty(len(self.phase), dtype=torch.uint8)
        for segment in self.segments:
            numbers[segment.slice] = ("theta", "phi", "sigma").index(segment.kind)
        return numbers

    # ---- back to programs -----------------------------------------------------------------

    def starts(self) -> tuple[LayerStart, ...]:
        """The layers as they are now, phases that are removed exactly 0 (or +-pi)."""
        phase = torch.where(self.alive, self.phase, self.rest).detach().cpu().numpy()
        gain = self.gain.detach().cpu().numpy()
        turn = self.turn.detach().cpu().numpy()
        fixed = self.fixed.cpu().numpy()
        return tuple(
            LayerStart(
                name,
                tuple(
                    GridStart(
                        grid.rows,
                        grid.columns,
                        tuple(_start(tile, phase, gain, turn, fixed) for tile in grid.tiles),
                    )
                    for grid in grids
                ),
                self.real[name],
            )
            for name, grids in self.layers.items()
        )

    def rebuilt(self, layers: Sequence[LayerStart]) -> "PhaseNetwork":
        """A network of other meshes in the same electronics, its biases as they are now."""
        return PhaseNetwork(layers, self.electronics, biases=self.constants())

    def state(self) -> dict[str, Any]:
        """Everything that training changes, as tensors; `restore` takes it back."""
        return {name: value.detach().clone() for name, value in self.state_dict().items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to a `state`."""
        self.load_state_dict(dict(state))


def _wide(value: Tensor) -> Tensor:
    """A parameter in no less than single precision: Adam's small numbers are 0 in half."""
    return value.float() if value.dtype == torch.float16 else value


def _in_order(tile: TileModel) -> bool:
    return all(
        np.array_equal(guides, np.arange(len(guides))) for guides in (tile.outputs, tile.inputs)
    )


def _mesh(layout: Layout, theta: Real, phi: Real | None, out: Real) -> BalancedMesh:
    return BalancedMesh(
        ports=layout.ports,
        column=layout.column,
        port=layout.port,
        theta=theta,
        phi=np.zeros(layout.count) if phi is None else phi,
        out=out,
    )


def _start(tile: TileModel, phase: Real, gain: Real, turn: Real, fixed: Mask) -> TileStart:
    v_out = np.where(tile.v_signs > 0, 0.0, np.pi)
    u_out = np.where(tile.u_signs > 0, 0.0, np.pi) if tile.real else turn[tile.turn]
    # cos(sigma / 2) may be negative: the sign goes behind V, or into nothing at all.
    amplitude = np.cos(phase[tile.sigma] / 2)
    v_out[: tile.rank] = np.where(
        amplitude < 0, np.where(v_out[: tile.rank] == 0.0, np.pi, 0.0), v_out[: tile.rank]
    )
    amplitude = np.abs(amplitude)
    return TileStart(
        outputs=tile.outputs,
        inputs=tile.inputs,
        u=_mesh(tile.u, phase[tile.theta_u], None if tile.real else phase[tile.phi_u], u_out),
        amplitude=amplitude,
        v=_mesh(tile.v, phase[tile.theta_v], None if tile.real else phase[tile.phi_v], v_out),
        gain=float(np.exp(gain[tile.gain])),
        fixed=_fixed(tile, fixed),
    )


def _fixed(tile: TileModel, fixed: Mask) -> tuple[Mask, Mask, Mask, Mask, Mask] | None:
    def phi(part: slice, count: int) -> Mask:
        return np.zeros(count, bool) if tile.real else fixed[part]

    found = (
        fixed[tile.theta_v],
        phi(tile.phi_v, tile.v.count),
        fixed[tile.sigma],
        fixed[tile.theta_u],
        phi(tile.phi_u, tile.u.count),
    )
    return found if any(part.any() for part in found) else None

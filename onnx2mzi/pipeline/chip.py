"""What a technology makes of a tile: its worst loss, its pads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from onnx2mzi.emulate.mesh_columns import mesh_cell_losses_db, mesh_plan
from onnx2mzi.ir import LinearLayer, Mesh, MeshTile, Program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.loss import DARK_DB, worst_loss_db
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import attenuators_um, cells
from onnx2mzi.tech.paths import attenuator_losses_db, column_losses_db

T = TypeVar("T")


def mesh_tiles(layer: LinearLayer) -> Iterator[MeshTile]:
    """The tiles of a layer that have meshes."""
    for grid in layer.grids:
        for tile in grid.tiles:
            if isinstance(tile, MeshTile):
                yield tile


def structure(tile: MeshTile) -> bytes:
    """All of a tile but its phases and gain: those of equal structure are drawn alike, but for
    the arms that heaters are on and the lengths that make fixed phases."""
    parts: list[bytes] = []
    for mesh in (tile.v, tile.u):
        parts.append(f"{mesh.ports} {len(mesh)} {mesh.drive} ".encode())
        arrays = (mesh.column, mesh.port, mesh.theta_state, mesh.phi_state, mesh.out_state)
        parts += [array.tobytes() for array in arrays]
    sigma, shape = tile.sigma, (len(tile.outputs), len(tile.inputs))
    parts += [f"{len(sigma)} {sigma.drive} {shape} ".encode(), sigma.state.tobytes()]
    return b"".join(parts)


class Alike(Generic[T]):
    """What was made for the last few structures: most tiles of a chip are alike.

    What is made must follow from the key alone, so that nothing but the time depends on what
    was asked for before.
    """

    def __init__(self, most: int = 8) -> None:
        self._most, self._made = most, dict[bytes, T]()

    def of(self, key: bytes, make: Callable[[], T]) -> T:
        """What `make` returns, or has returned for this key."""
        if key not in self._made:
            if len(self._made) >= self._most:
                self._made.pop(next(iter(self._made)))
            self._made[key] = make()
        return self._made[key]


def _through_mesh_db(mesh: Mesh, technology: Technology, entering_db: Real) -> Real:
    sizes, plan = cells(technology), mesh_plan(mesh, technology)
    cell_db = mesh_cell_losses_db(mesh, technology, plan)
    return worst_loss_db(
        column=mesh.column,
        port=mesh.port,
        cell_db=cell_db,
        swaps=mesh.theta_rad == 0.0,
        column_db=column_losses_db(technology, sizes, plan, drive=mesh.drive),
        entering_db=entering_db,
    )


def tile_loss_db(tile: MeshTile, technology: Technology) -> float:
    """Loss of the worst path from an input to an output of the tile, in dB.

    Guides, bends, couplers, crossings, heaters; not the attenuation that computes (attenuators
    count as open), nor coupling to fibres. 0 for a tile without channels.
    """
    channels = len(tile.sigma)
    if channels == 0:
        return 0.0
    behind_v = _through_mesh_db(tile.v, technology, np.zeros(tile.v.ports))
    length = attenuators_um(technology, tile.sigma.state)
    entering = np.full(tile.u.ports, DARK_DB)
    entering[:channels] = behind_v[:channels] + attenuator_losses_db(
        technology, cells(technology), length, tile.sigma.state
    )
    return float(_through_mesh_db(tile.u, technology, entering).max())


def layer_loss_db(layer: LinearLayer, technology: Technology) -> float | None:
    """The worst tile of the layer, in dB: light is detected behind every tile. None: no tiles."""
    known = Alike[float]()

    def loss(tile: MeshTile) -> float:
        # Which MZIs send all light to the other side is all that the phases decide.
        swaps = (tile.v.theta_rad == 0).tobytes() + (tile.u.theta_rad == 0).tobytes()
        return known.of(structure(tile) + swaps, lambda: tile_loss_db(tile, technology))

    return max(map(loss, mesh_tiles(layer)), default=None)


@dataclass(frozen=True, slots=True)
class PadCount:
    """Pads for signals, one a driven heater, and for grounds, one a bus."""

    signals: int = 0
    grounds: int = 0

    @property
    def total(self) -> int:
        """All pads."""
        return self.signals + self.grounds

    def __add__(self, other: "PadCount") -> "PadCount":
        return PadCount(self.signals + other.signals, self.grounds + other.grounds)


def layer_pads(layer: LinearLayer) -> PadCount:
    """Pads of all tiles of the layer."""
    total, known = PadCount(), Alike[PadCount]()
    for tile in mesh_tiles(layer):
        total += known.of(structure(tile), partial(tile_pads, tile))
    return total


def tile_pads(tile: MeshTile) -> PadCount:
    """Pads of a tile: every active phase one signal, two with push-pull (a heater an arm), and
    one ground a bus. Heaters above each other share a bus, and so do phi and the next theta."""
    held = int(np.count_nonzero(tile.sigma.state == ShifterState.ACTIVE))
    signals = held * _heaters(tile.sigma.drive)
    present, ground_right = [], []
    for mesh, behind in ((tile.v, held), (tile.u, 0)):
        banks = np.zeros((mesh.columns, 2), np.int64)
        for kind, state in enumerate((mesh.phi_state, mesh.theta_state)):
            np.add.at(banks[:, kind], mesh.column, state == ShifterState.ACTIVE)
        out = int(np.count_nonzero(mesh.out_state == ShifterState.ACTIVE))
        signals += int(banks.sum()) * _heaters(mesh.drive) + out
        present.append(np.append(banks.reshape(-1), [out, behind]) > 0)
        ground_right.append(np.append(np.tile([True, False], mesh.columns), [True, False]))
    there = np.concatenate(present)
    sides = np.concatenate(ground_right)[there]
    return PadCount(signals, len(np.unique(np.arange(len(sides)) + sides)))


def _heaters(drive: Drive) -> int:
    return 2 if drive is Drive.PUSH_PULL else 1


def program_pads(program: Program) -> PadCount:
    """Pads of the whole chip."""
    return sum((layer_pads(layer) for layer in program.layers), PadCount())

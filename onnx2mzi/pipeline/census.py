"""Counting: MZIs, phases and power of what is on the chip, and of the textbook chip.

`reference` is the textbook: every tile a full square U (m x m) and V (n x n), two phases an
MZI, one attenuator phase per singular value (design of Clements et al., Optica 3, 1460
(2016); Shen et al., Nat. Photonics 11, 441 (2017)).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product

import numpy as np

from onnx2mzi.ir import Attenuators, LinearLayer, Mesh, MeshTile
from onnx2mzi.physics.arrays import Flags, Real
from onnx2mzi.physics.shifter import Drive, ShifterState, drive_rad, power_mw


@dataclass(frozen=True, slots=True)
class Census:
    """What a layer, or a chip, is made of.

    `mzis` counts every MZI that holds at least one phase, attenuators included; `crossings`
    are MZIs that lost both. `depth_columns` is the longest chain of columns that light passes
    in one grid (U, attenuator and V), summed over grids in sequence.
    """

    mzis: int = 0
    crossings: int = 0
    phases_active: int = 0
    phases_passive: int = 0
    heat_rad: float = 0.0
    power_mw: float = 0.0
    depth_columns: int = 0

    def __add__(self, other: "Census") -> "Census":
        """Both together; one layer's light does not pass the other's columns: depth is the max."""
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        sums["depth_columns"] = max(self.depth_columns, other.depth_columns)
        return Census(**sums)


def reference_phases(shape: tuple[int, int], ports: int) -> int:
    """Phases of the textbook chip for an (m, n) matrix in tiles of at most `ports`."""
    return sum(m * (m - 1) + n * (n - 1) + min(m, n) for m, n in tile_shapes(shape, ports))


def reference_mzis(shape: tuple[int, int], ports: int) -> int:
    """MZIs of the textbook chip for an (m, n) matrix, attenuators included."""
    return sum(
        m * (m - 1) // 2 + n * (n - 1) // 2 + min(m, n) for m, n in tile_shapes(shape, ports)
    )


def tile_shapes(shape: tuple[int, int], ports: int) -> list[tuple[int, int]]:
    """Shapes of the tiles, row by row: all full but the last of a row or column."""

    def cut(length: int) -> list[int]:
        full, rest = divmod(length, ports)
        return [ports] * full + ([rest] if rest else [])

    return list(product(cut(shape[0]), cut(shape[1])))


def mesh_census(mesh: Mesh, p_pi_mw: float) -> Census:
    """Census of one mesh."""
    states = np.concatenate([state for _, state, _ in _shifters(mesh)])
    heat_rad = float(sum(drive_rad(*shifters).sum() for shifters in _shifters(mesh)))
    empty = (mesh.theta_state == ShifterState.REMOVED) & (mesh.phi_state == ShifterState.REMOVED)
    return Census(
        mzis=int(np.count_nonzero(~empty)),
        crossings=int(np.count_nonzero(empty)),
        phases_active=int(np.count_nonzero(states == ShifterState.ACTIVE)),
        phases_passive=int(np.count_nonzero(states == ShifterState.PASSIVE)),
        heat_rad=heat_rad,
        power_mw=float(power_mw(heat_rad, p_pi_mw=p_pi_mw)),
        depth_columns=mesh.columns,
    )


def attenuators_census(sigma: Attenuators, p_pi_mw: float) -> Census:
    """Census of one row of attenuators."""
    present = sigma.state != ShifterState.REMOVED
    heat_rad = float(drive_rad(sigma.theta_rad, sigma.state, sigma.drive).sum())
    return Census(
        mzis=int(np.count_nonzero(present)),
        phases_active=int(np.count_nonzero(sigma.state == ShifterState.ACTIVE)),
        phases_passive=int(np.count_nonzero(sigma.state == ShifterState.PASSIVE)),
        heat_rad=heat_rad,
        power_mw=float(power_mw(heat_rad, p_pi_mw=p_pi_mw)),
        depth_columns=int(present.any()),
    )


def tile_census(tile: MeshTile, p_pi_mw: float) -> Census:
    """Census of one tile: light passes V, the attenuators and U."""
    parts = (
        mesh_census(tile.v, p_pi_mw),
        attenuators_census(tile.sigma, p_pi_mw),
        mesh_census(tile.u, p_pi_mw),
    )
    sums = {f.name: sum(getattr(part, f.name) for part in parts) for f in fields(Census)}
    return Census(**sums)


def layer_census(layer: LinearLayer, p_pi_mw: float) -> Census:
    """Census of all mesh tiles of a layer; tiles in other forms count nothing."""
    total = Census()
    depth = 0
    for grid in layer.grids:
        here = Census()
        for tile in grid.tiles:
            if isinstance(tile, MeshTile):
                here += tile_census(tile, p_pi_mw)
        depth += here.depth_columns
        total += here
    sums = {f.name: getattr(total, f.name) for f in fields(Census)}
    return Census(**{**sums, "depth_columns": depth})


def layer_drivers(layer: LinearLayer) -> int:
    """How many drivers the layer needs: heaters driven alike, to 1e-9 rad, can share one."""
    drives = [
        drive_rad(phase_rad, state, drive)[state == ShifterState.ACTIVE]
        for grid in layer.grids
        for tile in grid.tiles
        if isinstance(tile, MeshTile)
        for block in (tile.v, tile.sigma, tile.u)
        for phase_rad, state, drive in _shifters(block)
    ]
    return len(np.unique(np.round(np.concatenate(drives), 9))) if drives else 0


def _shifters(block: Mesh | Attenuators) -> Iterator[tuple[Real, Flags, Drive]]:
    """Phases, states and drive of each kind of shifter."""
    if isinstance(block, Attenuators):
        yield block.theta_rad, block.state, block.drive
        return
    yield block.theta_rad, block.theta_state, block.drive
    yield block.phi_rad, block.phi_state, block.drive
    yield block.out_rad, block.out_state, Drive.UPPER_ARM

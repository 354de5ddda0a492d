"""Passive phases of a warm chip: guides drawn so that, with their neighbours' heat, they are right.

A passive shifter (a difference of length on both guides, half each) needs no heater, so nothing
can tune it; but what heat will add to its phase is known when it is drawn. Phases on segments
are linear in drives x and lengths l: errors e = K x - a + T l, rows as in `tile_push_matrix`. The
lengths that bring the passive rows (P) to 0 are l = T_P^-1 (a - K x)_P, and what is left is again
linear in x, (K - T T_P^-1 K_P) x - (a - T T_P^-1 a_P). T_P is triangular in the order of the light.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from onnx2mzi.emulate.heat_layout import HeatLayout
from onnx2mzi.ir import BlockPlacement, Mesh, MeshTile, Program, Tile
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import ShifterState

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """The n passive phi of a chip whose lengths may be chosen.

    `push`, shape (phases, n): balanced phases by lengths in rad. `phase` are the rows that they
    make, `block` and `slot` as of `heat_layout.Heaters`.
    """

    push: sp.csr_array
    phase: Numbers
    block: Numbers
    slot: Numbers

    def __len__(self) -> int:
        return len(self.phase)

    def undoing(self, error_rad: Real) -> Real:
        """The lengths with which errors, shape (phases, ...), become 0 at all rows `phase`."""
        if not len(self):
            return np.zeros((0, *error_rad.shape[1:]))
        solver = splu(self.push[self.phase].tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0)
        return np.asarray(solver.solve(np.ascontiguousarray(-error_rad[self.phase])))

    def undone(self, error_rad: Real) -> Real:
        """What is left of errors, shape (phases, ...), behind `undoing`."""
        return np.asarray(error_rad + self.push @ self.undoing(error_rad))


def passive_lengths(program: Program, layout: HeatLayout) -> Lengths:
    """Every passive phi of a placed program that stands before a coupler."""
    uppers, phases, blocks, slots = ([np.zeros(0, np.int64)] for _ in range(4))
    for number, (placed, tile) in enumerate(zip(layout.tiles, mesh_tiles(program), strict=True)):
        kv, r = len(tile.v), len(tile.sigma)
        parts = (
            (tile.v, placed.segments.v, 0, 0, 0),
            (tile.u, placed.segments.u, placed.segments.u_start, 2 * kv + r, 2),
        )
        for mesh, segments, segment, row, which in parts:
            real = segments.crossing == 0
            chosen = np.flatnonzero((mesh.phi_state == ShifterState.PASSIVE) & real)
            number_of = segments.number(0, mesh.column[chosen], mesh.port[chosen])
            uppers.append(placed.segment_start + segment + number_of)
            phases.append(placed.phase_start + row + len(mesh) + chosen)
            blocks.append(np.full(len(chosen), 3 * number + which))
            slots.append(len(mesh) + chosen)
    upper = np.concatenate(uppers)
    columns = layout.push.tocsc()
    push = (columns[:, upper] - columns[:, upper + 1]) * 0.5
    return Lengths(
        push.tocsr(), np.concatenate(phases), np.concatenate(blocks), np.concatenate(slots)
    )


def no_lengths(layout: HeatLayout) -> Lengths:
    """None at all."""
    none = np.zeros(0, np.int64)
    return Lengths(sp.csr_array((layout.push.shape[0], 0)), none, none, none)


def length_phases(program: Program, layout: HeatLayout) -> Real:
    """What the lengths that a program holds add to the balanced phases, shape (phases,)."""
    assert program.placement is not None
    added = np.zeros(layout.push.shape[0])
    if not any(block.length_rad.size for block in program.placement.blocks):
        return added
    lengths = passive_lengths(program, layout)
    values = np.zeros(len(lengths))
    for number, block in enumerate(_in_order(program)):
        mine = lengths.block == number
        if block.length_rad.size:
            values[mine] = block.length_rad[lengths.slot[mine]]
    return np.asarray(lengths.push @ values)


def with_lengths(program: Program, lengths: Lengths, length_rad: Real) -> Program:
    """The driven program (`heat_layout.with_drives`) whose passive phi have these lengths."""
    assert program.placement is not None
    numbers = {id(block): number for number, block in enumerate(_in_order(program))}
    blocks = []
    for block in program.placement.blocks:
        mine = lengths.block == numbers[id(block)]
        values = np.zeros(len(block.drive_rad) if mine.any() else 0)
        # Each guide has half of it: 4 pi are a turn on both.
        turned = np.remainder(length_rad[mine] + 2 * np.pi, 4 * np.pi) - 2 * np.pi
        values[lengths.slot[mine]] = turned
        blocks.append(replace(block, length_rad=values))
    return replace(program, placement=replace(program.placement, blocks=tuple(blocks)))


def as_drawn(program: Program) -> Program:
    """The program whose passive phases are those of the guides as drawn: cold, not as asked."""
    placement = program.placement
    if placement is None or not any(block.length_rad.size for block in placement.blocks):
        return program
    drawn = {(b.layer, b.grid, b.tile, b.block): b.length_rad for b in placement.blocks}
    layers = []
    for layer in program.layers:
        grids = []
        for g, grid in enumerate(layer.grids):
            tiles: list[Tile] = []
            for t, tile in enumerate(grid.tiles):
                if isinstance(tile, MeshTile):
                    v, u = (drawn[layer.name, g, t, name] for name in "vu")
                    tile = replace(tile, v=_longer(tile.v, v), u=_longer(tile.u, u))
                tiles.append(tile)
            grids.append(replace(grid, tiles=tuple(tiles)))
        layers.append(replace(layer, grids=tuple(grids)))
    bare = tuple(replace(block, length_rad=np.zeros(0)) for block in placement.blocks)
    placement = replace(placement, blocks=bare)
    return replace(program, layers=tuple(layers), placement=placement)


def _longer(mesh: Mesh, length_rad: Real) -> Mesh:
    if not length_rad.size:
        return mesh
    return replace(mesh, phi_rad=mesh.phi_rad + length_rad[len(mesh) : 2 * len(mesh)])


def mesh_tiles(program: Program) -> list[MeshTile]:
    """All tiles with meshes, in the order of a layout's."""
    return [
        tile
        for layer in program.layers
        for grid in layer.grids
        for tile in grid.tiles
        if isinstance(tile, MeshTile)
    ]


def _in_order(program: Program) -> list[BlockPlacement]:
    """Blocks in the order of their numbers, as in `heat_layout.Heaters`."""
    assert program.placement is not None
    blocks = {(b.layer, b.grid, b.tile, b.block): b for b in program.placement.blocks}
    return [
        blocks[layer.name, g, t, name]
        for layer in program.layers
        for g, grid in enumerate(layer.grids)
        for t in range(len(grid.tiles))
        for name in "vsu"
    ]

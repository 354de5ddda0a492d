"""The pads of `pads` as numbers, for tables of arrays: no text for every shifter."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.ir import Attenuators, Mesh, MeshTile, Program
from onnx2mzi.physics.arrays import Flags
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.wiring import PadPlan, Wirer, numbered_tiles, placed_blocks
from onnx2mzi.tech import Technology

# Sides of a tile at which a pad lies; a bus ends at G. "" is no pad.
SIDES = ("", "N", "S", "G")
NORTH, SOUTH, BUS = 1, 2, 3
# The second pad is that of the other heater of a pair.
PAD_COLUMNS = ("pad_side", "pad_number", "pad2_side", "pad2_number")

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BlockPads:
    """Shapes (R,): pad `T{chip_tile}_{side}{number}` of every shifter of a block, in the order
    of the table; side 0 and number 0 where there is none. `second` is that of a pair's other."""

    chip_tile: int
    side: Flags
    number: Ints
    second_side: Flags
    second_number: Ints


def block_pad_numbers(program: Program, technology: Technology) -> Iterator[BlockPads]:
    """For each block of the chip (v, s, u of every tile), as `pads.block_pads`."""
    placed, wirer = placed_blocks(program), Wirer(technology)
    for number, layer, grid, index, tile in numbered_tiles(program):
        places = placed.get((layer, grid, index))
        rows = block_rows(tile)
        side = np.zeros((2, sum(rows)), np.uint8)
        within = np.zeros((2, sum(rows)), np.int64)
        if places is not None:
            plan = wirer.plan(tile, places)
            place, row = heater_rows(plan, tile)
            at_side, at_number = pad_numbers(plan)
            side[place, row] = at_side[plan.signal]
            within[place, row] = at_number[plan.signal]
        stop = 0
        for count in rows:
            start, stop = stop, stop + count
            here = slice(start, stop)
            yield BlockPads(number, side[0, here], within[0, here], side[1, here], within[1, here])


def _count(block: Mesh | Attenuators) -> int:
    if isinstance(block, Attenuators):
        return len(block)
    return 2 * len(block) + int(np.count_nonzero(block.out_state != ShifterState.REMOVED))


def block_rows(tile: MeshTile) -> list[int]:
    """Rows of the table that V, the attenuators and U take."""
    blocks: tuple[Mesh | Attenuators, ...] = tile.v, tile.sigma, tile.u
    return [_count(block) for block in blocks]


def heater_rows(plan: PadPlan, tile: MeshTile) -> tuple[Ints, Ints]:
    """For every heater of the plan: 1 for the second one of a pair, else 0, and its row of the
    tile's table, shapes (H,)."""
    block, kind, shifter, arm = plan.slots.source.T
    row = np.where(kind < 2, 2 * shifter + kind, 0)
    for which, mesh in ((0, tile.v), (2, tile.u)):
        rank = np.cumsum(mesh.out_state != ShifterState.REMOVED) - 1
        out = (block == which) & (kind == 2)
        row[out] = 2 * len(mesh) + rank[shifter[out]]
    row = np.where(block == 1, shifter, row)
    row = row + np.concatenate([[0], np.cumsum(block_rows(tile))])[block]
    # Only pairs have heaters that are on the lower arm whatever the phase.
    return np.asarray(arm == 1, np.int64), row


def pad_numbers(plan: PadPlan) -> tuple[Flags, Ints]:
    """Side and number of every pad of a tile, as in `PadPlan.names`."""
    north = np.where(plan.pads_um[:, 1] > 0, NORTH, SOUTH)
    side = np.where(plan.ground, BUS, north).astype(np.uint8)
    number = np.zeros(len(side), np.int64)
    for kind in (NORTH, SOUTH, BUS):
        here = side == kind
        number[here] = np.arange(1, int(np.count_nonzero(here)) + 1)
    return side, number

"""The pad of every shifter, in the order of phases.csv."""

from collections.abc import Iterator

from onnx2mzi.ir import Attenuators, Mesh, Program
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.wiring import (
    heater_pads,
    numbered_tiles,
    placed_blocks,
    tile_wiring,
)
from onnx2mzi.tech import Technology


def block_pads(program: Program, technology: Technology) -> Iterator[list[str]]:
    """For each block of the chip (v, s, u of every tile) a text for each shifter.

    Empty where there is no wire; two pads of a pair are joined: `T0_N1+T0_N2`.
    """
    placed = placed_blocks(program)
    for number, layer, grid, index, tile in numbered_tiles(program):
        wired: dict[tuple[int, int, int], str] = {}
        places = placed.get((layer, grid, index))
        if places is not None:
            wired = heater_pads(tile_wiring(tile, places, technology), number)
        blocks: tuple[Mesh | Attenuators, ...] = tile.v, tile.sigma, tile.u
        for which, block in enumerate(blocks):
            yield _texts(block, which, wired)


def _texts(
    block: Mesh | Attenuators, which: int, wired: dict[tuple[int, int, int], str]
) -> list[str]:
    if isinstance(block, Attenuators):
        return [wired.get((which, 0, k), "") for k in range(len(block))]
    cells = [wired.get((which, kind, k), "") for k in range(len(block)) for kind in (0, 1)]
    outs = range(block.ports)
    present = [port for port in outs if block.out_state[port] != ShifterState.REMOVED]
    return cells + [wired.get((which, 2, port), "") for port in present]

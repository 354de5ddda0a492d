"""The pad of every shifter, in the order of phases.csv."""

from collections.abc import Iterator

from onnx2mzi.backends.pad_columns import block_rows, heater_rows
from onnx2mzi.ir import MeshTile, Program
from onnx2mzi.pipeline.wiring import PadPlan, Wirer, numbered_tiles, pad_name, placed_blocks
from onnx2mzi.tech import Technology


def block_pads(program: Program, technology: Technology) -> Iterator[list[str]]:
    """For each block of the chip (v, s, u of every tile) a text for each shifter.

    Empty where there is no wire; two pads of a pair are joined: `T0_N1+T0_N2`.
    """
    placed, wirer = placed_blocks(program), Wirer(technology)
    for number, layer, grid, index, tile in numbered_tiles(program):
        rows = block_rows(tile)
        texts = [""] * sum(rows)
        places = placed.get((layer, grid, index))
        if places is not None:
            _write(texts, wirer.plan(tile, places), tile, number)
        stop = 0
        for count in rows:
            start, stop = stop, stop + count
            yield texts[start:stop]


def _write(texts: list[str], plan: PadPlan, tile: MeshTile, number: int) -> None:
    names = [pad_name(number, name) for name in plan.names]
    place, row = heater_rows(plan, tile)
    # The upper heater of a pair first.
    order = place.argsort(kind="stable")
    for second, at, pad in zip(
        place[order].tolist(), row[order].tolist(), plan.signal[order].tolist(), strict=True
    ):
        texts[at] = f"{texts[at]}+{names[pad]}" if second else names[pad]

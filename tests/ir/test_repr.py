"""What an interactive session shows of programs: their sizes, not their arrays."""

from collections.abc import Callable

import pytest

from onnx2mzi.ir import MeshTile, Program, Stage


@pytest.mark.parametrize("stage", Stage)
def test_everything_in_a_program_is_shown_on_a_line(
    make_program: Callable[..., Program], stage: Stage
) -> None:
    program = make_program(0, stage)
    grids = [grid for layer in program.layers for grid in layer.grids]
    tiles = [tile for grid in grids for tile in grid.tiles]
    meshes = [tile.u for tile in tiles if isinstance(tile, MeshTile)]
    rows = [tile.sigma for tile in tiles if isinstance(tile, MeshTile)]
    things = [program, program.host, program.placement]
    for thing in (*things, *program.layers, *grids, *tiles, *meshes, *rows):
        shown = repr(thing)
        assert "array" not in shown and "\n" not in shown
        assert shown.startswith(f"{type(thing).__name__}(") or thing is None
    assert repr(program) == (
        f"Program({program.name}, {stage}, ports: {program.ports}, layers: {len(program.layers)})"
    )

"""Every block has its place: valid, in order, without overlap; heaters where they are drawn."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.errors import FitError
from onnx2mzi.ir import Mesh, MeshTile, Program, Stage, identical
from onnx2mzi.ir.verify import verify
from onnx2mzi.passes.place import Place, die_share, place_program
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.chip import layer_pads, program_pads, tile_loss_db, tile_pads
from onnx2mzi.pipeline.electrical import Electrics, layer_electrics
from onnx2mzi.pipeline.wiring import tile_wiring
from onnx2mzi.tech import load_technology, technology_names
from onnx2mzi.tech.edge import Edge
from onnx2mzi.tech.geometry import cells, heater_xy

MakeProgram = Callable[..., Program]
MakeTile = Callable[..., MeshTile]

TECHNOLOGY = load_technology("cornerstone_si220")


@pytest.mark.parametrize("name", technology_names())
@pytest.mark.parametrize("drive", Drive)
@pytest.mark.parametrize("seed", range(4))
def test_a_placed_program_is_valid(
    make_program: MakeProgram, seed: int, drive: Drive, name: str
) -> None:
    program = make_program(seed, drive=drive)
    placed = place_program(program, load_technology(name))
    assert placed.stage is Stage.PLACED
    assert verify(placed) == []
    assert identical(placed.layers, program.layers)
    again = place_program(placed, load_technology(name))
    assert identical(again, placed)


@pytest.mark.parametrize("seed", range(6))
def test_blocks_lie_end_to_end_and_strips_apart_within_the_extent(
    make_program: MakeProgram, seed: int
) -> None:
    program = make_program(seed)
    # A die that all tiles fit below each other.
    die = replace(TECHNOLOGY.die, sizes_um=((1e6, 1e6),))
    placement = place_program(program, replace(TECHNOLOGY, die=die)).placement
    assert placement is not None
    pitch = cells(TECHNOLOGY).pitch_um
    strips = [placement.blocks[k : k + 3] for k in range(0, len(placement.blocks), 3)]
    tiles = [tile for layer in program.layers for grid in layer.grids for tile in grid.tiles]
    bottoms: list[float] = []
    height = placement.height_um
    for strip, tile in zip(strips, tiles, strict=True):
        assert [block.block for block in strip] == ["v", "s", "u"]
        assert len({block.y_um for block in strip}) == 1
        for left, right in pairwise(strip):
            assert left.column_x_um[-1] < right.column_x_um[0]
        assert strip[0].column_x_um[0] > 0
        assert strip[2].column_x_um[-1] < placement.width_um
        assert isinstance(tile, MeshTile)
        rows = max(len(tile.outputs), len(tile.inputs))
        top = strip[0].y_um + pitch / 2
        places = {block.block: block for block in strip}
        wiring = tile_wiring(tile, places, TECHNOLOGY)
        assert top + wiring.above_um <= (bottoms[-1] - pitch if bottoms else height) + 1e-6
        bottoms.append(top - rows * pitch - wiring.below_um)
    assert bottoms[-1] == pytest.approx(0.0, abs=1e-6)


def test_heaters_lie_inside_their_column_on_their_row(make_tile: MakeTile) -> None:
    mesh = make_tile(np.random.default_rng(3), 6, 6, Drive.ARM_CHOICE).u
    plan = mesh_plan(mesh, TECHNOLOGY)
    edges = plan.edges_um(50.0)
    pitch = cells(TECHNOLOGY).pitch_um
    for kind in ("theta", "phi"):
        phase, state = getattr(mesh, f"{kind}_rad"), getattr(mesh, f"{kind}_state")
        x, y = heater_xy(
            TECHNOLOGY,
            plan=plan,
            column_x_um=edges,
            y_um=500.0,
            column=mesh.column,
            port=mesh.port,
            phase_rad=phase,
            state=state,
            drive=mesh.drive,
            kind=kind,
        )
        assert (x >= edges[mesh.column]).all()
        assert (x <= edges[mesh.column + 1]).all()
        row = (500.0 - y) / pitch - mesh.port
        active = state == ShifterState.ACTIVE
        assert row[active].tolist() == (phase[active] < 0).astype(float).tolist()
        assert (row[state == ShifterState.PASSIVE] == 0.5).all()


def test_the_pass_says_how_large_the_chip_is(make_program: MakeProgram) -> None:
    said: list[str] = []
    context = Context(TECHNOLOGY, log=said.append)
    placed = Place().run(make_program(1), context)
    assert placed.placement is not None
    assert f"{placed.placement.width_um / 1000:.2f}" in said[0]


def without_heaters(tile: MeshTile) -> MeshTile:
    def bare(mesh: Mesh) -> Mesh:
        zero, none = np.zeros(len(mesh)), np.zeros(len(mesh), np.uint8)
        return replace(
            mesh,
            theta_rad=zero,
            phi_rad=zero,
            theta_state=none,
            phi_state=none,
            out_rad=np.zeros(mesh.ports),
            out_state=np.zeros(mesh.ports, np.uint8),
        )

    sigma = replace(
        tile.sigma, theta_rad=np.zeros(len(tile.sigma)), state=np.zeros(len(tile.sigma), np.uint8)
    )
    return replace(tile, u=bare(tile.u), v=bare(tile.v), sigma=sigma)


def test_loss_pads_and_width_fall_to_crossings_alone(make_tile: MakeTile) -> None:
    rng = np.random.default_rng(0)
    tile = make_tile(rng, 6, 6, Drive.ARM_CHOICE)
    while len(tile.sigma) < 3:
        tile = make_tile(rng, 6, 6, Drive.ARM_CHOICE)
    bare = without_heaters(tile)
    assert 0 < tile_loss_db(bare, TECHNOLOGY) < 0.5 * tile_loss_db(tile, TECHNOLOGY)
    assert tile_pads(bare).total == 0
    assert tile_pads(tile).total > 0
    assert mesh_plan(bare.u, TECHNOLOGY).width_um.sum() < 1000


def test_pads_are_active_heaters_and_at_most_a_ground_per_column(make_program: MakeProgram) -> None:
    program = make_program(2, drive=Drive.ARM_CHOICE)
    active = columns = 0
    for layer in program.layers:
        for tile in (tile for grid in layer.grids for tile in grid.tiles):
            assert isinstance(tile, MeshTile)
            for mesh in (tile.u, tile.v):
                states = np.stack([mesh.theta_state, mesh.phi_state]) == ShifterState.ACTIVE
                out = int((mesh.out_state == ShifterState.ACTIVE).sum())
                active += int(states.sum()) + out
                columns += len(set(mesh.column[states.any(0)].tolist())) + (out > 0)
            held = int((tile.sigma.state == ShifterState.ACTIVE).sum())
            active += held
            columns += held > 0
    pads = program_pads(program)
    assert pads.signals == active
    assert columns / 2 < pads.grounds <= columns
    assert pads.total == sum(layer_pads(layer).total for layer in program.layers)


def test_a_chip_that_fits_no_die_is_told_or_refused(make_program: MakeProgram) -> None:
    program = make_program(1)
    small = replace(TECHNOLOGY, die=replace(TECHNOLOGY.die, sizes_um=((3000.0, 2000.0),)))
    said: list[str] = []
    Place().run(program, Context(small, log=said.append))
    told = said[-1]
    assert "fit no die of cornerstone_si220 (largest: 3 x 2 mm)" in told
    wires = sum(layer_electrics(place_program(program, small), small).values(), Electrics())
    assert f"{wires.pads:,} pads" in told
    assert f"of its {wires.signals:,} heaters would fit: prune{{target=" in told
    with pytest.raises(FitError, match="fit no die"):
        Place(fit=True).run(program, Context(small))
    tiny = replace(TECHNOLOGY, die=replace(TECHNOLOGY.die, sizes_um=((20.0, 20.0),), margin_um=1.0))
    Place().run(program, Context(tiny, log=said.append))
    assert "about 0 of its" in said[-1]
    assert "prune" not in said[-1]


def test_the_share_that_a_die_holds() -> None:
    die = replace(TECHNOLOGY.die, sizes_um=((1100.0, 600.0),), margin_um=50.0)
    technology = replace(TECHNOLOGY, die=die, edge=Edge())
    # Couplers at the edges take their length of the die as well.
    assert die_share(1000.0, 500.0, replace(TECHNOLOGY, die=die)) < 1.0
    assert die_share(1000.0, 500.0, technology) == 1.0
    assert die_share(500.0, 1000.0, technology) == 1.0
    assert die_share(4000.0, 500.0, technology) == pytest.approx(0.25)

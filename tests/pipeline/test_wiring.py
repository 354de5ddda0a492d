"""What tiles share of their wiring is what each would have alone."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from onnx2mzi.ir import MeshTile, Program
from onnx2mzi.passes.place import place_program, tile_strip
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.chip import (
    Alike,
    PadCount,
    layer_loss_db,
    layer_pads,
    tile_loss_db,
    tile_pads,
)
from onnx2mzi.pipeline.wiring import (
    Wirer,
    Wiring,
    numbered_tiles,
    placed_blocks,
    tile_wiring,
    wired_alike,
)
from onnx2mzi.tech import PadStyle, load_technology, technology_names
from onnx2mzi.tech.geometry import cells

MakeProgram = Callable[..., Program]


def turned(tile: MeshTile) -> MeshTile:
    """The tile with every heater on the other arm, where it has one."""
    v, u = (
        replace(mesh, theta_rad=-mesh.theta_rad, phi_rad=-mesh.phi_rad) for mesh in (tile.v, tile.u)
    )
    return replace(tile, v=v, u=u)


def same(a: Wiring, b: Wiring) -> bool:
    parts = [
        (getattr(a, f.name), getattr(b, f.name)) for f in fields(Wiring) if f.name != "heaters"
    ]
    parts += [(a.heaters.y_um, b.heaters.y_um), (a.heaters.source, b.heaters.source)]
    return all(np.array_equal(x, y) for x, y in parts)


@pytest.mark.parametrize("name", technology_names())
@pytest.mark.parametrize("drive", Drive)
def test_what_was_wired_before_changes_nothing(
    make_program: MakeProgram, drive: Drive, name: str
) -> None:
    technology = load_technology(name)
    placed = place_program(make_program(3, drive=drive), technology)
    blocks, wirer = placed_blocks(placed), Wirer(technology)
    tiles = list(numbered_tiles(placed))
    for _, layer, grid, index, tile in tiles + tiles[::-1]:
        places = blocks[layer, grid, index]
        for made in (tile, turned(tile), tile):
            assert same(wirer.wiring(made, places), tile_wiring(made, places, technology))
    assert tiles


@pytest.mark.parametrize("name", technology_names())
def test_tiles_that_are_alike_share_a_plan_and_take_the_same_room(
    make_program: MakeProgram, name: str
) -> None:
    technology = load_technology(name)
    placed = place_program(make_program(1), technology)
    blocks, wirer = placed_blocks(placed), Wirer(technology)
    alike = technology.pads.style is not PadStyle.BUMP
    for _, layer, grid, index, tile in numbered_tiles(placed):
        places, other = blocks[layer, grid, index], turned(tile)
        plan = wirer.plan(tile, places)
        assert wirer.plan(tile, places) is plan
        if alike:
            assert wirer.plan(other, places) is plan
            assert wired_alike(tile, technology) == wired_alike(other, technology)
            strips = [tile_strip(made, technology, cells(technology)) for made in (tile, other)]
            assert strips[0].height_um == strips[1].height_um
        bare = replace(tile, sigma=replace(tile.sigma, state=np.zeros(len(tile.sigma), np.uint8)))
        assert (wired_alike(bare, technology) == wired_alike(tile, technology)) == (
            not tile.sigma.state.any()
        )


def test_few_plans_are_kept() -> None:
    known = Alike[int](most=2)
    for key, value, expected in (
        (b"a", 1, 1),
        (b"b", 2, 2),
        (b"a", 3, 1),
        (b"c", 4, 4),
        (b"a", 5, 5),
    ):
        assert known.of(key, lambda value=value: value) == expected  # type: ignore[misc]


@pytest.mark.parametrize("drive", Drive)
def test_the_worst_tile_and_all_pads_are_those_of_the_tiles_one_by_one(
    make_program: MakeProgram, drive: Drive
) -> None:
    technology = load_technology("cornerstone_si220")
    for layer in make_program(2, drive=drive).layers:
        tiles = [tile for grid in layer.grids for tile in grid.tiles if isinstance(tile, MeshTile)]
        bar = [replace(t, u=replace(t.u, theta_rad=np.zeros(len(t.u)))) for t in tiles]
        mixed = replace(layer, grids=(replace(layer.grids[0], tiles=(*tiles, *bar, *tiles)),))
        losses = [tile_loss_db(tile, technology) for tile in (*tiles, *bar)]
        assert layer_loss_db(mixed, technology) == max(losses, default=None)
        pads = sum((tile_pads(tile) for tile in (*tiles, *bar, *tiles)), PadCount())
        assert layer_pads(mixed) == pads

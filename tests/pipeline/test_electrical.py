"""Currents of wires and the rise of grounds, against a solved network of resistors."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from onnx2mzi.ir import Mesh, MeshTile, Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.electrical import (
    Electrics,
    bus_loads,
    electrics_of,
    escape_lengths_um,
    escape_widths_um,
    heater_currents_ma,
    layer_electrics,
    told,
    violations,
)
from onnx2mzi.pipeline.heaters import on_arms
from onnx2mzi.pipeline.wiring import PadPlan, Wirer, numbered_tiles, placed_blocks
from onnx2mzi.tech import Technology, load_technology, technology_names
from onnx2mzi.tech.buses import bus_needs

MakeProgram = Callable[..., Program]
EVERY = [load_technology(name) for name in technology_names()]
techs = pytest.mark.parametrize("technology", EVERY, ids=lambda t: t.name)


def without_outs(program: Program) -> Program:
    """No shifters behind the meshes: on a single guide they make up to 2 pi."""

    def bare(mesh: Mesh) -> Mesh:
        zero = np.zeros(mesh.ports)
        return replace(mesh, out_rad=zero, out_state=zero.astype(np.uint8))

    layers = []
    for layer in program.layers:
        grids = []
        for grid in layer.grids:
            tiles = [tile for tile in grid.tiles if isinstance(tile, MeshTile)]
            bared = tuple(replace(tile, u=bare(tile.u), v=bare(tile.v)) for tile in tiles)
            grids.append(replace(grid, tiles=bared))
        layers.append(replace(layer, grids=tuple(grids)))
    return replace(program, layers=tuple(layers))


def planned(program: Program, technology: Technology) -> list[tuple[MeshTile, PadPlan]]:
    placed = place_program(program, technology)
    places, wirer = placed_blocks(placed), Wirer(technology)
    return [
        (tile, wirer.plan(tile, places[layer, grid, index]))
        for _, layer, grid, index, tile in numbered_tiles(placed)
    ]


def solved_rise_mv(tile: MeshTile, plan: PadPlan, technology: Technology) -> list[float]:
    """The largest rise on every bus: node voltages of its chain of resistors, from the pad."""
    heaters = on_arms(plan.slots, tile)
    current = heater_currents_ma(plan.slots, tile, technology)
    tracks, count = plan.tracks, len(current)
    sheet = technology.routing.sheet_milliohm
    beyond, narrow = escape_lengths_um(plan, technology), escape_widths_um(plan)
    found = []
    for bus in range(count, len(tracks.x_um)):
        mine = np.flatnonzero(tracks.bus == bus)
        way = np.abs(tracks.to_um[bus] - heaters.y_um[mine])
        order = np.argsort(way)
        steps = np.diff(np.concatenate([[0.0], way[order]]))
        ohms = [sheet * beyond[bus] / narrow[bus], *(sheet * steps / tracks.width_um[bus])]
        ahead = np.cumsum(current[mine][order][::-1])[::-1]
        found.append(float((np.array(ohms) * np.append(ahead[0], ahead)).sum() / 1e3))
    return found


@techs
@pytest.mark.parametrize("drive", Drive)
def test_a_ground_rises_as_the_chain_of_resistors_says(
    make_program: MakeProgram, technology: Technology, drive: Drive
) -> None:
    for tile, plan in planned(make_program(3, drive=drive), technology):
        current = heater_currents_ma(plan.slots, tile, technology)
        carried, rise = bus_loads(on_arms(plan.slots, tile), current, plan, technology)
        assert carried.sum() == pytest.approx(current.sum())
        assert rise == pytest.approx(solved_rise_mv(tile, plan, technology))


@techs
def test_a_heater_at_pi_draws_what_its_power_asks_for(
    make_program: MakeProgram, technology: Technology
) -> None:
    full = np.sqrt(1e-3 * technology.p_pi_mw / technology.heater.ohm) * 1e3
    for tile, plan in planned(without_outs(make_program(1, drive=Drive.ARM_CHOICE)), technology):
        current = heater_currents_ma(plan.slots, tile, technology)
        assert (current <= full + 1e-9).all()
        power = (current**2).sum() * technology.heater.ohm / 1e3
        heat = sum(
            np.abs(phase[state == 2]).sum()
            for mesh in (tile.v, tile.u)
            for phase, state in (
                (mesh.theta_rad, mesh.theta_state),
                (mesh.phi_rad, mesh.phi_state),
            )
        )
        heat += np.abs(tile.sigma.theta_rad[tile.sigma.state == 2]).sum()
        assert power == pytest.approx(heat / np.pi * technology.p_pi_mw)


def test_drives_that_places_hold_overrule_the_phases(make_program: MakeProgram) -> None:
    technology = EVERY[0]
    placed = place_program(make_program(2), technology)
    assert placed.placement is not None
    layers = {layer.name: layer for layer in placed.layers}
    blocks = []
    for block in placed.placement.blocks:
        tile = layers[block.layer].grids[block.grid].tiles[block.tile]
        assert isinstance(tile, MeshTile)
        mesh = {"v": tile.v, "u": tile.u}.get(block.block)
        count = len(tile.sigma) if mesh is None else 2 * len(mesh) + mesh.ports
        blocks.append(replace(block, drive_rad=np.full(count, np.pi / 4)))
    driven = replace(placed, placement=replace(placed.placement, blocks=tuple(blocks)))
    share = sum(layer_electrics(driven, technology).values(), Electrics()).heater_percent
    full = np.sqrt(1e3 * technology.p_pi_mw / technology.heater.ohm)
    assert share == pytest.approx(100 * full / 2 / technology.heater.max_ma, rel=0.5)
    assert share <= 100 * full / 2 / technology.heater.max_ma * (1 + 1e-12)


def test_layers_add_up_and_keep_the_worst(make_program: MakeProgram) -> None:
    technology = EVERY[0]
    placed = place_program(make_program(2), technology)
    layers = layer_electrics(placed, technology)
    whole = sum(layers.values(), Electrics())
    assert whole.pads == sum(found.pads for found in layers.values()) > 0
    assert whole.ir_drop_percent == max(found.ir_drop_percent for found in layers.values())
    assert layer_electrics(make_program(2), technology) == {}
    assert f"{whole.bus_ma:.3g} mA" in told(whole, technology)


def test_violations_are_told_with_a_remedy(make_program: MakeProgram) -> None:
    technology = EVERY[0]
    ((tile, plan), *_) = planned(without_outs(make_program(2, drive=Drive.ARM_CHOICE)), technology)
    current = heater_currents_ma(plan.slots, tile, technology)
    assert violations(electrics_of(tile, plan, technology, 0, current), technology) == []
    thin = replace(technology.routing, max_ma_per_um=0.01, max_ir_drop_percent=1e-3)
    small = replace(technology, routing=thin, heater=replace(technology.heater, max_ma=0.1))
    wire, heater, drop = violations(electrics_of(tile, plan, small, 0, current), small)
    assert wire.startswith("the wire of pad T0_")
    assert "raise [routing]" in wire
    assert "max_ma = 0.1 mA" in heater
    assert drop.startswith("ground T0_G")
    assert "raise [routing] bus_power" in drop


def test_a_bus_is_cut_where_one_end_is_not_enough() -> None:
    technology = EVERY[0]
    count = 32
    y = np.asarray(-70.0 * np.arange(count), np.float64)

    def needs(free_um: float) -> tuple[float, float, int]:
        found = bus_needs(
            technology,
            group=np.zeros(count, np.int64),
            groups=1,
            high_um=y,
            low_um=np.asarray(y - 20, np.float64),
            power=np.full(count, 0.4),
            top_um=35.0,
            bottom_um=-70.0 * count + 35,
            free_um=free_um,
        )
        return float(found.north_um[0]), float(found.south_um[0]), int(found.up.sum())

    north, south, up = needs(1e9)
    assert (south, up) == (0.0, count)
    halves = needs(north / 2)
    assert halves[2] == count // 2
    assert max(halves[:2]) < north / 3

"""Room for buses: what `place` says of buses that are too narrow is what cures them."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnx2mzi.ir import (
    Attenuators,
    LinearLayer,
    Loc,
    Mesh,
    MeshTile,
    Operand,
    Program,
    Stage,
    TileGrid,
)
from onnx2mzi.kernels import clements_layout
from onnx2mzi.passes.place import Place, place_program
from onnx2mzi.passes.wider import cure
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.electrical import Electrics, layer_electrics, violations
from onnx2mzi.tech import Technology, load_technology
from onnx2mzi.tech.geometry import bus_room_um, cells


def hot(ports: int, phase_rad: float) -> Program:
    """A square tile whose heaters all make this phase."""
    column, port = clements_layout(ports)
    phase, on = np.full(len(column), phase_rad), np.full(len(column), ShifterState.ACTIVE, np.uint8)
    out, none, drive = np.zeros(ports), np.zeros(ports, np.uint8), Drive.ARM_CHOICE
    mesh = Mesh(ports, column, port, phase, phase, on, on, out, none, drive)
    guides = np.arange(ports, dtype=np.int32)
    sigma = Attenuators(out, none, drive)
    tile = MeshTile(guides, guides, mesh, sigma, mesh, 1.0, np.zeros(ports))
    operand, weight = Operand("x", -1, "w", False, "float32"), np.zeros((ports, ports))
    layer = LinearLayer("fc", weight, operand, Loc(), (TileGrid(ports, ports, (tile,)),))
    return Program("hot", Stage.MESH, ports, (layer,))


def wires(program: Program, technology: Technology) -> Electrics:
    placed = place_program(program, technology)
    return sum(layer_electrics(placed, technology).values(), Electrics())


@pytest.mark.parametrize("name", ["siepic_ebeam", "generic_two_metal"])
def test_what_is_said_cures_the_buses(name: str) -> None:
    technology, program = load_technology(name), hot(32, 0.65 * np.pi)
    said: list[str] = []
    Place().run(program, Context(technology, log=said.append))
    assert any("raise [routing] bus_" in line for line in said)
    (told,) = [line for line in said if " cures it, on " in line]
    numbers = {key: float(value) for key, value in re.findall(r"(\w+) = ([\d.]+)", told)}
    pads = replace(technology.pads, size_um=numbers.get("size_um", technology.pads.size_um))
    routing = replace(
        technology.routing, bus_room_um=numbers["bus_room_um"], bus_power=numbers["bus_power"]
    )
    cured = replace(technology, routing=routing, pads=pads)
    assert violations(wires(program, technology), technology)
    assert violations(wires(program, cured), cured) == []
    assert bus_room_um(cured) == pytest.approx(routing.bus_room_um, abs=0.01)
    assert cells(cured).stage_um > cells(technology).stage_um


def test_what_no_room_cures_is_not_promised() -> None:
    technology, program = load_technology("siepic_ebeam"), hot(4, np.pi)
    found = wires(program, technology)
    weak = replace(technology, heater=replace(technology.heater, max_ma=1.0))
    assert cure(program, weak, wires(program, weak), place_program) == ""
    thin = replace(technology, routing=replace(technology.routing, max_ma_per_um=0.01))
    assert cure(program, thin, wires(program, thin), place_program) == ""
    assert violations(found, technology) == []


def test_room_is_drawn_balanced_and_clean(tmp_path: Path) -> None:
    pytest.importorskip("klayout.db", reason="needs klayout (extra check)")
    from onnx2mzi.backends.gds import write_gds
    from onnx2mzi.backends.gds.drc import check_rules
    from onnx2mzi.backends.gds.lvs import compare_layout

    shipped = load_technology("siepic_ebeam")
    technology = replace(shipped, routing=replace(shipped.routing, bus_room_um=150.0))
    program = place_program(hot(4, 0.5), technology)
    write_gds(program, technology, tmp_path)
    counts = check_rules(tmp_path / "design.gds", technology).counts
    assert not any(counts.values())
    found = compare_layout(tmp_path / "design.gds", program, technology)
    assert found.differences == found.paths == ()
    assert found.row_um < 0.02

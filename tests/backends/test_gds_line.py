"""Tiles in line along the light: guides end between neighbours, and the layout is the program's."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.ir import Program
from onnx2mzi.passes.floorplan import Objective
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.spans import tile_spans_um
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, load_technology

MakeProgram = Callable[..., Program]
TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)


def in_line(make_program: MakeProgram) -> Program:
    program = make_program(2, drive=Drive.ARM_CHOICE)
    return place_program(program, TECHNOLOGY, Objective.HEAT)


def test_spans_are_apart_and_hold_their_tiles(make_program: MakeProgram) -> None:
    placed = in_line(make_program)
    assert placed.placement is not None
    spans = sorted(tile_spans_um(placed, TECHNOLOGY).values())
    assert len(spans) > 1
    assert spans[0][0] == 0.0 and spans[-1][1] == placed.placement.width_um
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    found = tile_spans_um(placed, TECHNOLOGY)
    for block in placed.placement.blocks:
        left, right = found[block.layer, block.grid, block.tile]
        assert left <= block.column_x_um[0] and block.column_x_um[-1] <= right
    below = place_program(make_program(2, drive=Drive.ARM_CHOICE), TECHNOLOGY)
    assert below.placement is not None
    whole = (0.0, below.placement.width_um)
    assert set(tile_spans_um(below, TECHNOLOGY).values()) == {whole}


def test_the_layout_is_the_programs(make_program: MakeProgram, tmp_path: Path) -> None:
    pytest.importorskip("klayout.db", reason="needs klayout (extra check)")
    from onnx2mzi.backends.gds.drc import check_rules
    from onnx2mzi.backends.gds.lvs import compare_layout

    placed = in_line(make_program)
    write_gds(placed, TECHNOLOGY, tmp_path)
    assert not check_rules(tmp_path / "design.gds", TECHNOLOGY).first
    circuit = compare_layout(tmp_path / "design.gds", placed, TECHNOLOGY)
    assert circuit.differences == circuit.paths == ()
    assert circuit.heaters > 0

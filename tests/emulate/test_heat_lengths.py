"""Passive phases drawn for a warm chip: the guides as drawn, warmed, make what was asked for."""

from dataclasses import replace

import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.emulate.compensate_chip import Caution, compensate_chip
from onnx2mzi.emulate.heat import balanced_tile
from onnx2mzi.emulate.heat_aim import aim_of
from onnx2mzi.emulate.heat_layout import HeatLayout, heat_layout, with_drives
from onnx2mzi.emulate.heat_lengths import (
    as_drawn,
    length_phases,
    no_lengths,
    passive_lengths,
    with_lengths,
)
from onnx2mzi.emulate.heated import HeatResponse, heat_response, phase_errors
from onnx2mzi.ir import MeshTile, Program
from onnx2mzi.ir.parser import parse_program
from onnx2mzi.ir.printer import print_program
from onnx2mzi.ir.verify import verify
from onnx2mzi.physics.heat_model import heat_model
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, load_technology

TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)

Case = tuple[Program, HeatLayout, HeatResponse]


@pytest.fixture(scope="module")
def case(tiny_onnx: bytes) -> Case:
    """A real network: no phi has a heater, most are passive."""
    program = onnx2mzi.compile(tiny_onnx, optimize="canonicalize,place").program
    layout = heat_layout(program, TECHNOLOGY)
    model = heat_model(stack=TECHNOLOGY.thermal_stack)
    return program, layout, heat_response(layout=layout, model=model, die=None)


def test_lengths_undo_what_reaches_their_phases(case: Case) -> None:
    program, layout, response = case
    lengths = passive_lengths(program, layout)
    assert len(lengths) > 10
    drives = layout.heaters.drive_rad
    off = phase_errors(layout=layout, response=response, drive_rad=drives)
    assert np.abs(off[lengths.phase]).max() > 0.01
    left = lengths.undone(off)
    np.testing.assert_allclose(left[lengths.phase], 0.0, atol=1e-12)
    # Linear, several columns at a time too.
    both = lengths.undone(np.stack([off, 2 * off], axis=1))
    np.testing.assert_allclose(both, np.stack([left, 2 * left], axis=1), atol=1e-12)
    np.testing.assert_array_equal(no_lengths(layout).undone(off), off)


def test_guides_as_drawn_make_the_phases(case: Case) -> None:
    program, layout, _ = case
    lengths = passive_lengths(program, layout)
    rng = np.random.default_rng(0)
    values = rng.normal(size=len(lengths)) * 4
    held = with_lengths(with_drives(program, layout, layout.heaters.drive_rad), lengths, values)
    assert verify(held) == []
    added = length_phases(held, layout)
    drawn = as_drawn(held)
    for placed, cold, longer in zip(
        layout.tiles, _mesh_tiles(program), _mesh_tiles(drawn), strict=True
    ):
        part = slice(placed.phase_start, placed.phase_start + placed.segments.phases)
        expected = balanced_tile(cold).moved(added[part]).transfer()
        np.testing.assert_allclose(balanced_tile(longer).transfer(), expected, atol=1e-9)
        assert np.abs(expected - balanced_tile(cold).transfer()).max() > 0.1
    assert as_drawn(program) is program
    again = parse_program(*print_program(held))
    np.testing.assert_array_equal(length_phases(again, layout), added)


def _mesh_tiles(program: Program) -> list[MeshTile]:
    tiles = [tile for layer in program.layers for grid in layer.grids for tile in grid.tiles]
    return [tile for tile in tiles if isinstance(tile, MeshTile)]


def test_a_real_chip_is_right_when_it_is_warm(case: Case) -> None:
    program, layout, response = case
    aim = aim_of(program, layout, None)
    lengths = passive_lengths(program, layout)
    strong = replace(response, segment=response.segment.copy())
    own = layout.heaters.own, np.arange(len(layout.heaters))
    kept = strong.segment[own]
    strong.segment[:] *= 4
    strong.segment[own] = kept
    bare, made = (
        compensate_chip(
            aim=aim,
            layout=layout,
            response=strong,
            caution=Caution(random=0, systematic=0),
            lengths=chosen,
        )
        for chosen in (None, lengths)
    )
    assert made.loss < 0.01 * bare.loss
    held = with_lengths(with_drives(program, layout, made.drive_rad), lengths, made.length_rad)
    off = phase_errors(layout=layout, response=strong, drive_rad=made.drive_rad)
    found = off + length_phases(held, layout)
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * made.error_rad), atol=1e-9)


def test_lengths_that_are_none(case: Case) -> None:
    program, layout, _ = case
    driven = with_drives(program, layout, layout.heaters.drive_rad)
    assert driven.placement is not None
    first, *rest = driven.placement.blocks
    size = len(first.drive_rad)
    for wrong in (np.zeros(size - 1), np.full(size, np.nan), np.ones(size)):
        bad = replace(driven.placement, blocks=(replace(first, length_rad=wrong), *rest))
        assert verify(replace(driven, placement=bad)) != []

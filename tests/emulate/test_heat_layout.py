"""Guides and heaters of placed programs: complete, where they are drawn, and warm as they must."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from onnx2mzi.emulate.heat_layout import HeatLayout, heat_layout, smallest_die
from onnx2mzi.emulate.heated import heat_response, heated_matrices, phase_errors, uncertain
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.heat_model import heat_model
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.physics.stack import ThermalStack
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, load_technology

MakeProgram = Callable[..., Program]

TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)
SEEDS = range(5)


def placed(make_program: MakeProgram, seed: int) -> tuple[Program, HeatLayout]:
    program = place_program(make_program(seed, drive=Drive.ARM_CHOICE), TECHNOLOGY)
    return program, heat_layout(program, TECHNOLOGY)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_heater_lies_on_its_own_guide(make_program: MakeProgram, seed: int) -> None:
    _, layout = placed(make_program, seed)
    heaters, guides = layout.heaters, layout.guides
    assert len(heaters) > 5
    for k in range(len(heaters)):
        below = guides.take(layout.bar_segment == heaters.own[k])
        fits = below.x0_um <= heaters.bars.x0_um[k] + 1e-6
        fits &= below.x1_um >= heaters.bars.x1_um[k] - 1e-6
        fits &= np.abs(below.y_um - heaters.bars.y_um[k]) < 1e-6
        assert fits.sum() == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_every_active_phase_has_a_heater(make_program: MakeProgram, seed: int) -> None:
    program, layout = placed(make_program, seed)
    states = [
        state
        for layer in program.layers
        for grid in layer.grids
        for tile in grid.tiles
        for state in (
            *(getattr(mesh, n) for mesh in (tile.u, tile.v) for n in _STATES),  # type: ignore[union-attr]
            tile.sigma.state,  # type: ignore[union-attr]
        )
    ]
    active = np.concatenate(states) == ShifterState.ACTIVE
    assert len(layout.heaters) == active.sum()
    # Every heater makes the balanced phase that it is for.
    for k in np.flatnonzero(layout.heaters.phase >= 0):
        unit = np.zeros(layout.push.shape[1])
        unit[layout.heaters.own[k]] = 1.0
        assert abs((layout.push @ unit)[layout.heaters.phase[k]]) == 1.0


_STATES = ("theta_state", "phi_state", "out_state")


@pytest.mark.parametrize("seed", SEEDS)
def test_guides_are_followed_without_gaps(make_program: MakeProgram, seed: int) -> None:
    """Along every row of U the bars add up to the way from its first column to its last output."""
    program, layout = placed(make_program, seed)
    assert program.placement is not None
    blocks = {(b.layer, b.grid, b.tile, b.block): b for b in program.placement.blocks}
    for tile in layout.tiles:
        block = blocks[tile.layer, tile.grid, tile.tile, "u"]
        mesh = tile.segments.u
        number = layout.bar_segment - tile.segment_start - tile.segments.u_start
        mine = (number >= 0) & (number < len(mesh))
        start = float(block.column_x_um[0])
        inside = layout.guides.x0_um >= start - 1e-6
        length = layout.guides.length_um
        ways = [
            float(length[mine & inside & (number % mesh.ports == port)].sum())
            for port in range(mesh.ports)
        ]
        np.testing.assert_allclose(ways, ways[0], atol=1e-5)
        assert ways[0] >= float(block.column_x_um[-1]) - start - 1e-6


def test_a_cold_chip_is_as_drawn(make_program: MakeProgram) -> None:
    for seed in SEEDS:
        program, layout = placed(make_program, seed)
        cold = heated_matrices(
            program=program, layout=layout, error_rad=np.zeros(layout.push.shape[0])
        )
        for name, matrix in program_matrices(program).items():
            np.testing.assert_allclose(cold[name], matrix, atol=1e-12)


def test_a_turned_output_is_turned_back(make_program: MakeProgram) -> None:
    program, layout = placed(make_program, 1)
    error = np.zeros(layout.push.shape[0])
    for tile in layout.tiles:
        last = tile.phase_start + tile.segments.phases
        error[last - tile.segments.u.ports : last] = 2.0
    cold = program_matrices(program)
    kept = heated_matrices(program=program, layout=layout, error_rad=error)
    lost = heated_matrices(program=program, layout=layout, error_rad=error, recalibrated=False)
    for name, matrix in cold.items():
        np.testing.assert_allclose(kept[name], matrix, atol=1e-12)
    assert any(np.abs(lost[name] - cold[name]).max() > 0.1 for name in cold)


def test_heat_moves_the_phases_it_must(make_program: MakeProgram) -> None:
    program, layout = placed(make_program, 2)
    assert program.placement is not None
    stack = ThermalStack(heater_width_um=TECHNOLOGY.heater.width_um)
    die = smallest_die(program.placement, TECHNOLOGY)
    response = heat_response(layout=layout, model=heat_model(stack=stack), die=die)
    assert response.segment.shape == (layout.push.shape[1], len(layout.heaters))
    assert (response.segment >= 0).all()
    p_pi = response.mw_per_rad * np.pi
    assert (p_pi > 15).all() and (p_pi < 20).all()
    drive = layout.heaters.drive_rad
    error = phase_errors(layout=layout, response=response, drive_rad=drive)
    assert 0.05 < np.sqrt(np.mean(error**2)) < 3.0
    # Without crosstalk nothing is off.
    own = np.zeros_like(response.segment)
    own[layout.heaters.own, np.arange(len(layout.heaters))] = 1.0
    none = replace(response, segment=own)
    np.testing.assert_allclose(
        phase_errors(layout=layout, response=none, drive_rad=drive), 0.0, atol=1e-12
    )
    rng = np.random.default_rng(0)
    other = uncertain(layout=layout, response=response, random=0.0, systematic=0.1, rng=rng)
    covered = response.segment > 0
    ratio = other.segment / np.where(covered, response.segment, 1.0)
    each = np.arange(len(layout.heaters))
    np.testing.assert_allclose(ratio[layout.heaters.own, each], 1.0)
    ratio[layout.heaters.own, each] = 1.1
    np.testing.assert_allclose(ratio[covered], 1.1)


def test_refusals(make_program: MakeProgram) -> None:
    with pytest.raises(ValueError, match="placed"):
        heat_layout(make_program(0, drive=Drive.ARM_CHOICE), TECHNOLOGY)
    pushed = place_program(make_program(0, drive=Drive.PUSH_PULL), TECHNOLOGY)
    with pytest.raises(ValueError, match="push-pull"):
        heat_layout(pushed, TECHNOLOGY)

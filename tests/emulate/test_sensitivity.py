"""Sensitivities against differences and against drawn copies."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from onnx2mzi.emulate.imperfect import (
    Calibration,
    How,
    ImperfectProgram,
    LayerDevices,
    Region,
    TileDevices,
    imperfect_program,
    mesh_tiles,
)
from onnx2mzi.emulate.sensitivity import expected_errors, sensitivities
from onnx2mzi.emulate.transfer import attenuator_transfer, mesh_transfer
from onnx2mzi.ir import Program
from onnx2mzi.kernels import propagate_cells
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.physics.imperfection_cell import CellErrors, imperfect_mzi
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import load_technology

MakeProgram = Callable[..., Program]


@pytest.fixture(params=[(seed, drive) for seed in (2, 8) for drive in Drive])
def chip(request: pytest.FixtureRequest, make_program: MakeProgram) -> ImperfectProgram:
    seed, drive = request.param
    return imperfect_program(make_program(seed, drive=drive), load_technology("cornerstone_si220"))


def inputs_of(chip: ImperfectProgram) -> dict[str, Matrix]:
    rng = np.random.default_rng(1)
    return {
        item.layer.name: rng.normal(size=(item.layer.grids[0].columns, 60)) + 0.5
        for item in chip.layers
    }


@pytest.mark.parametrize("sizes", [Imperfections(phase_rad=1e-4), Imperfections(split_rad=1e-4)])
def test_expected_errors_are_those_of_copies(chip: ImperfectProgram, sizes: Imperfections) -> None:
    inputs = inputs_of(chip)
    expected = expected_errors(sensitivities(chip, inputs), sizes)
    found = chip.matrices(How(sizes, calibration=Calibration.NONE), range(400))
    assert set(expected) == {item.layer.name for item in chip.layers}
    for name, value in expected.items():
        x, ideal = inputs[name], chip.ideal[name]
        power = np.linalg.norm(ideal @ x) ** 2
        errors = [np.linalg.norm((here[name] - ideal) @ x) ** 2 for here in found]
        measured = float(np.mean(errors) / power) if power > 0 else 0.0
        assert measured == pytest.approx(value, rel=0.35, abs=1e-18)


KINDS = {"theta": "arm", "phi": "in", "first": "first", "second": "second", "loss": "loss_db"}


def test_every_device_is_a_difference(chip: ImperfectProgram) -> None:
    """One MZI of U wrong at a time, in the first layer with a single grid and light."""
    single = [one_tile(chip, item) for item in chip.layers if len(item.grids) == 1]
    alone = next(item for item in single if item.layers[0].ideal.any())
    (_, tile), name = mesh_tiles(alone)[0], alone.layers[0].layer.name
    x = inputs_of(alone)[name]
    block = next(b for b in sensitivities(alone, {name: x}) if b.block == "u")
    core, step = tile.u.core, 1e-5
    ideal = alone.ideal[name]
    power = np.linalg.norm(ideal @ x) ** 2
    for kind, part in KINDS.items():
        heaters = {"theta": tile.u.theta, "phi": tile.u.phi}.get(kind)
        for k in range(core.count):
            if (heaters is not None and not heaters.active[k]) or tile.u.crossing[k]:
                continue
            change = np.zeros(core.count)
            change[k] = step
            if heaters is None:
                errors = CellErrors(**{part: change})
            else:
                upper, lower = heaters.on_arms(change)
                errors = CellErrors(**{f"{part}_upper": upper, f"{part}_lower": lower})
            moved = matrix_with(alone, tile, errors) - matrix_with(alone, tile, CellErrors())
            squared = np.linalg.norm(moved @ x) ** 2 / step**2 / power
            assert squared == pytest.approx(getattr(block, kind)[k], rel=1e-3, abs=1e-9), kind


def one_tile(chip: ImperfectProgram, item: LayerDevices) -> ImperfectProgram:
    """A chip of one layer with one tile."""
    grid = replace(item.layer.grids[0], tiles=item.layer.grids[0].tiles[:1])
    layer = replace(item.layer, grids=(grid,))
    return imperfect_program(replace(chip.program, layers=(layer,)), chip.technology)


def matrix_with(chip: ImperfectProgram, tile: TileDevices, errors: CellErrors) -> Matrix:
    """The layer's matrix when the cells of U have these errors."""
    u, layer = tile.u, chip.layers[0].layer
    cells = imperfect_mzi(theta_rad=u.core.theta, phi_rad=u.core.phi, errors=errors)
    light = np.zeros((u.ports, tile.v.ports), complex)
    channels = len(tile.sigma.gone)
    light[:channels] = mesh_transfer(tile.tile.v)[:channels]
    light[:channels] *= attenuator_transfer(tile.tile.sigma)[:, None]
    light = np.exp(1j * (u.after_rad + tile.tile.readout_rad))[:, None] * propagate_cells(
        u.core, cells, light
    )
    total = np.zeros((layer.grids[0].rows, layer.grids[0].columns), complex)
    total[np.ix_(tile.tile.outputs, tile.tile.inputs)] = tile.tile.gain * light
    return total if np.iscomplexobj(layer.weight) else total.real


def test_parts_of_a_mesh_are_those_of_copies(chip: ImperfectProgram) -> None:
    sizes, inputs = Imperfections(phase_rad=1e-4, split_rad=1e-4), inputs_of(chip)
    name, ideal = chip.layers[0].layer.name, chip.layers[0].ideal
    x = inputs[name]
    power = float(np.linalg.norm(ideal @ x) ** 2)
    blocks = [b for b in sensitivities(chip, inputs) if (b.layer, b.block) == (name, "v")]
    last = max(int(block.port.max(initial=0)) for block in blocks) + 1
    for ends in ((0, last // 2), (last // 2, last)):
        region = Region(layer=name, block="v", ports=ends)
        how = How(sizes, 0, region, calibration=Calibration.NONE)
        found = chip.matrices(how, range(400))
        moved = [float(np.linalg.norm((here[name] - ideal) @ x) ** 2) for here in found]
        measured = float(np.mean(moved)) / power if power > 0 else 0.0
        expected = sum(
            float(b.expected(sizes)[(b.port >= ends[0]) & (b.port < ends[1])].sum()) for b in blocks
        )
        assert measured == pytest.approx(expected, rel=0.4, abs=1e-18)

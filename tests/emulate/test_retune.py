"""Setting a made chip: gradients, what all heaters together undo, and what they cannot."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from onnx2mzi.emulate import imperfect_tile, retune
from onnx2mzi.emulate.imperfect import (
    Calibration,
    How,
    ImperfectProgram,
    calibrated,
    imperfect_program,
    mesh_tiles,
)
from onnx2mzi.emulate.imperfect_errors import Chips
from onnx2mzi.emulate.retune import MadeTile, Settings, light_of
from onnx2mzi.ir import Program
from onnx2mzi.physics.imperfection import TYPICAL, Imperfections
from onnx2mzi.physics.imperfection_random import block_keys
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import load_technology

MakeProgram = Callable[..., Program]
TECH = load_technology("cornerstone_si220")
FABRICATED = Imperfections(fabrication_scale=1.0)


def made(chip: ImperfectProgram, sizes: Imperfections = TYPICAL) -> list[MadeTile]:
    found = []
    for _, tile in mesh_tiles(chip):
        chips = {
            block: Chips(
                sizes=sizes.only(*imperfect_tile.STAYS),
                keys=block_keys(seed=0, copies=[0], block=f"{tile.name}/{block}"),
                chip_keys=block_keys(seed=0, copies=[0], block=""),
                coherence_mm=TECH.guide.coherence_mm,
                crosstalk_db=TECH.crossing.crosstalk_db,
                trim=False,
            )
            for block in imperfect_tile.BLOCKS
        }
        found += imperfect_tile.made_tiles(tile, chips)
    return found


@pytest.fixture(params=list(Drive))
def chip(request: pytest.FixtureRequest, make_program: MakeProgram) -> ImperfectProgram:
    return imperfect_program(make_program(5, drive=request.param), TECH)


def test_a_made_tile_is_the_drawn_copy(chip: ImperfectProgram) -> None:
    how = How(TYPICAL.only(*imperfect_tile.STAYS), trim=False, calibration=Calibration.NONE)
    for (name, tile), tile_made in zip(mesh_tiles(chip), made(chip), strict=True):
        none = Settings.of(tile_made, np.zeros(retune.heaters_of(tile_made)))
        (drawn,) = imperfect_tile.tile_copies(tile, name, TECH, how, [0])
        np.testing.assert_allclose(light_of(tile_made, none), drawn, atol=1e-12)


def test_gradients_are_those_of_differences(chip: ImperfectProgram) -> None:
    rng = np.random.default_rng(0)
    for tile in made(chip):
        count = retune.heaters_of(tile)
        at, along = rng.normal(size=(2, count))
        settings = Settings.of(tile, at)
        there = retune._through(tile, settings)
        grad = rng.normal(size=there.light.shape) + 1j * rng.normal(size=there.light.shape)

        def loss(values: np.ndarray, tile: MadeTile = tile, grad: np.ndarray = grad) -> float:
            return float((grad.conj() * light_of(tile, Settings.of(tile, values))).real.sum())

        step = 1e-5
        difference = (loss(at + step * along) - loss(at - step * along)) / (2 * step)
        slope = float(retune._gradient(tile, settings, there, grad) @ along)
        assert slope == pytest.approx(difference, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("calibration", [Calibration.READOUT, Calibration.GAIN])
def test_retuning_is_never_worse_than_trimming_one_by_one(
    chip: ImperfectProgram, calibration: Calibration
) -> None:
    how, better = How(FABRICATED, calibration=calibration), 0
    for name, tile in mesh_tiles(chip):
        ideal = tile.ideal.real if tile.real else tile.ideal
        found = []
        for steps in (0, 40):
            drawn = imperfect_tile.tile_copies(tile, name, TECH, replace(how, retune=steps), [0, 1])
            off = (drawn.real if tile.real else drawn) - ideal
            found.append(np.linalg.norm(off, axis=(1, 2)))
        assert np.all(found[1] <= found[0] + 1e-9)
        better += int(np.sum(found[1] < found[0] - 1e-3))
    assert better > 0


def test_settings_go_back_and_forth(chip: ImperfectProgram) -> None:
    for tile in made(chip):
        values = np.arange(1.0, retune.heaters_of(tile) + 1)
        settings = Settings.of(tile, values)
        assert np.array_equal(retune._active(tile, settings), values)
        whole = [getattr(settings, field.name) for field in fields(Settings)]
        assert sum(np.count_nonzero(part) for part in whole) == len(values)


def test_receivers_of_a_real_tile_turn_the_light_that_they_see() -> None:
    rng = np.random.default_rng(1)
    ideal = rng.normal(size=(3, 4))
    turn = np.exp(1j * np.array([0.3, 2.0, -2.5]))
    light = (0.7 * ideal + 0.2j * rng.normal(size=(3, 4))) * turn[:, None]
    found = calibrated(
        np.asarray(light[None], np.complex128), ideal, Calibration.READOUT, real=True
    )[0]
    np.testing.assert_allclose(found.real, ideal, atol=1e-9)
    # Light of one phase: the other quadrature holds nothing.
    plain = calibrated(
        np.asarray(0.5 * ideal[None], np.complex128), ideal, Calibration.READOUT, real=True
    )
    np.testing.assert_allclose(plain[0].real, ideal, atol=1e-9)

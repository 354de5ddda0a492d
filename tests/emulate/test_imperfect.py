"""Imperfect copies against what must hold of them, on random programs of every drive."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from onnx2mzi.emulate.imperfect import (
    Calibration,
    How,
    ImperfectProgram,
    Region,
    calibrated,
    imperfect_program,
    mesh_tiles,
    relative_errors,
    tile_copies,
)
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import Attenuators, LinearLayer, Mesh, MeshTile, Program
from onnx2mzi.kernels import clements_layout
from onnx2mzi.physics.arrays import Complex
from onnx2mzi.physics.imperfection import TYPICAL, Imperfections
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import load_technology

MakeProgram = Callable[..., Program]
TECH = load_technology("cornerstone_si220")
ALL = replace(
    TYPICAL,
    split_shared_rad=0.01,
    split_offset_rad=-0.01,
    split_gradient_rad_mm=0.01,
    gradient_rad_mm2=0.5,
    modulator=0.01,
    detector=0.01,
    dead=0.01,
    stuck=0.01,
    bits=DriveCode(6, CodeLaw.VOLTAGE),
)


@pytest.fixture(params=list(Drive))
def chip(request: pytest.FixtureRequest, make_program: MakeProgram) -> ImperfectProgram:
    return imperfect_program(make_program(5, drive=request.param), TECH)


def full_tile(rng: np.random.Generator, ports: int, drive: Drive) -> MeshTile:
    """Every phase has a heater."""

    def mesh() -> Mesh:
        column, port = clements_layout(ports)
        count = len(column)
        active = np.full(count, ShifterState.ACTIVE, np.uint8)
        low = 0.1 if drive is Drive.UPPER_ARM else -3.0
        return Mesh(
            ports, column, port, rng.uniform(low, 3, count), rng.uniform(-3, 3, count), active,
            active, rng.uniform(-3, 3, ports), np.full(ports, ShifterState.ACTIVE, np.uint8), drive,
        )  # fmt: skip

    theta = rng.uniform(0, 3, ports)
    sigma = Attenuators(theta, np.full(ports, ShifterState.ACTIVE, np.uint8), drive)
    guides = np.arange(ports, dtype=np.int32)
    return MeshTile(guides, guides, mesh(), sigma, mesh(), 1.7, np.zeros(ports))


def full_program(make_program: MakeProgram, drive: Drive, ports: int = 6) -> Program:
    program = make_program(1)
    tile = full_tile(np.random.default_rng(2), ports, drive)
    layer = program.layers[0]
    grid = replace(layer.grids[0], rows=ports, columns=ports, tiles=(tile,))
    weight = np.zeros((ports, ports), complex)
    whole = LinearLayer("fc", weight, layer.operand, layer.loc, (grid,))
    return replace(program, layers=(whole,))


def test_no_imperfection_is_the_ideal_chip(chip: ImperfectProgram) -> None:
    ideal = program_matrices(chip.program)
    # A spread that cannot be seen takes the way of all imperfections.
    for sizes in (Imperfections(), Imperfections(loss_sigma_db=1e-300)):
        for how in (How(sizes), How(sizes, calibration=Calibration.NONE)):
            for found in chip.matrices(how, [0, 7]):
                for name, matrix in ideal.items():
                    assert np.allclose(found[name], matrix, atol=1e-12), (name, sizes)


def test_each_imperfection_does_something(make_program: MakeProgram) -> None:
    chip = imperfect_program(full_program(make_program, Drive.ARM_CHOICE), TECH)
    for name in ("phase_rad", "gamma", "split_rad", "split_shared_rad", "split_offset_rad",
                 "split_gradient_rad_mm", "loss_scale", "loss_sigma_db", "thermal",
                 "gradient_rad_mm2", "modulator", "detector", "dead", "stuck", "bits"):  # fmt: skip
        sizes = replace(ALL, dead=0.2, stuck=0.2).only(name)
        (found,) = chip.matrices(How(sizes, trim=False), [3])
        assert relative_errors(chip, [found])["fc"][0] > 1e-4, name


def test_copies_do_not_depend_on_company(chip: ImperfectProgram) -> None:
    how = How(ALL, seed=11)
    together = chip.matrices(how, [0, 1, 2, 3])
    alone = chip.matrices(how, [2])[0]
    for name, matrix in alone.items():
        assert np.array_equal(matrix, together[2][name])
    other = chip.matrices(replace(how, seed=12), [2])[0]
    assert any(not np.array_equal(other[name], alone[name]) for name in alone)


def test_a_region_leaves_the_rest_alone(chip: ImperfectProgram) -> None:
    first = chip.layers[0].layer.name
    found = chip.matrices(How(ALL, region=Region(layer=first)), [0])[0]
    for name, matrix in chip.ideal.items():
        assert np.array_equal(found[name], matrix) == (name != first)


def test_loss_only_lowers_power(chip: ImperfectProgram) -> None:
    sizes = replace(ALL, modulator=0.0, detector=0.0, loss_sigma_db=0.5)
    for layer, tile in mesh_tiles(chip):
        how = How(sizes, calibration=Calibration.NONE)
        light = tile_copies(tile, layer, TECH, how, range(4)) / tile.tile.gain
        assert np.linalg.norm(light, 2, axis=(1, 2)).max() <= 1 + 1e-12


@pytest.mark.parametrize("drive", list(Drive))
def test_heaters_everywhere_trim_every_static_error(
    make_program: MakeProgram, drive: Drive
) -> None:
    chip = imperfect_program(full_program(make_program, drive), TECH)
    sizes = Imperfections(fabrication_scale=1.0, gradient_rad_mm2=1.0)
    how = How(sizes, calibration=Calibration.READOUT)
    trimmed = relative_errors(chip, chip.matrices(how, range(5)))["fc"]
    raw = relative_errors(chip, chip.matrices(replace(how, trim=False), range(5)))["fc"]
    assert trimmed.max() < 1e-12 < 0.3 < raw.min()


def test_heaters_taken_away_cannot_trim(make_program: MakeProgram) -> None:
    program = full_program(make_program, Drive.ARM_CHOICE)
    (layer,) = program.layers
    tile = layer.grids[0].tiles[0]
    assert isinstance(tile, MeshTile)
    state = tile.u.phi_state.copy()
    state[3] = ShifterState.REMOVED
    u = replace(tile.u, phi_state=state, phi_rad=np.where(state > 0, tile.u.phi_rad, 0.0))
    grid = replace(layer.grids[0], tiles=(replace(tile, u=u),))
    chip = imperfect_program(replace(program, layers=(replace(layer, grids=(grid,)),)), TECH)
    how = How(Imperfections(fabrication_scale=1.0), calibration=Calibration.READOUT)
    trimmed = relative_errors(chip, chip.matrices(how, range(5)))["fc"]
    raw = relative_errors(chip, chip.matrices(replace(how, trim=False), range(5)))["fc"]
    assert 1e-3 < trimmed.mean() < raw.mean()


def with_tile(chip: ImperfectProgram, tile: MeshTile) -> Complex:
    """The matrix of the only layer when its only tile is this one."""
    layer = chip.layers[0].layer
    grid = replace(layer.grids[0], tiles=(tile,))
    program = replace(chip.program, layers=(replace(layer, grids=(grid,)),))
    return np.asarray(program_matrices(program)[layer.name])


def nudged(mesh: Mesh, step: float) -> Iterator[Mesh]:
    """The mesh with one heater a little hotter, for every heater."""
    for kind in ("theta_rad", "phi_rad", "out_rad"):
        for k in range(len(getattr(mesh, kind))):
            phase = getattr(mesh, kind).copy()
            # More heat is a larger phase on its arm; outputs have one arm.
            phase[k] += -step if kind != "out_rad" and phase[k] < 0 else step
            yield replace(mesh, **{kind: phase})


def test_phase_error_has_the_expected_size(make_program: MakeProgram) -> None:
    """First order: the squared errors of all heaters, one at a time, add up."""
    chip = imperfect_program(full_program(make_program, Drive.ARM_CHOICE, ports=4), TECH)
    ideal, sigma, step = chip.ideal["fc"], 1e-3, 1e-6
    how = How(Imperfections(phase_rad=sigma), calibration=Calibration.NONE)
    found = chip.matrices(how, range(600))
    measured = np.mean([np.linalg.norm(here["fc"] - ideal) ** 2 for here in found])
    tile = mesh_tiles(chip)[0][1].tile
    tiles = [replace(tile, v=mesh) for mesh in nudged(tile.v, step)]
    tiles += [replace(tile, u=mesh) for mesh in nudged(tile.u, step)]
    for k in range(len(tile.sigma)):
        theta = tile.sigma.theta_rad.copy()
        theta[k] += step
        tiles.append(replace(tile, sigma=replace(tile.sigma, theta_rad=theta)))
    changes = [np.linalg.norm(with_tile(chip, moved) - ideal) / step for moved in tiles]
    expected = sigma**2 * float(np.sum(np.square(changes)))
    assert measured == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("calibration", list(Calibration))
@pytest.mark.parametrize("real", [False, True])
def test_calibration_does_not_depend_on_company(calibration: Calibration, real: bool) -> None:
    rng = np.random.default_rng(0)
    for m, n in ((1, 9), (16, 16), (33, 129)):
        light = rng.normal(size=(24, m, n)) + 1j * rng.normal(size=(24, m, n))
        ideal = np.asarray(rng.normal(size=(m, n)) + 0j)
        together = calibrated(light, ideal, calibration, real=real)
        for c in (0, 7, 23):
            alone = calibrated(light[[c]], ideal, calibration, real=real)
            assert np.array_equal(alone[0], together[c]), (m, n)


def test_calibration_undoes_what_receivers_can() -> None:
    rng = np.random.default_rng(0)
    ideal = rng.normal(size=(4, 5)) + 1j * rng.normal(size=(4, 5))
    turned = ideal * (0.3 * rng.uniform(0.5, 1, 4) * np.exp(1j * rng.uniform(-3, 3, 4)))[:, None]
    assert np.allclose(calibrated(np.asarray(turned[None]), ideal, Calibration.READOUT)[0], ideal)
    assert np.allclose(calibrated(np.asarray(0.2 * ideal[None]), ideal, Calibration.GAIN)[0], ideal)
    assert np.array_equal(calibrated(np.asarray(turned[None]), ideal, Calibration.NONE)[0], turned)

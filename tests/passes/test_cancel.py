"""Arms by which heat cancels: the same matrices, the same heaters, less loss when warm."""

from dataclasses import replace

import numpy as np
import pytest

from onnx2mzi.emulate.heat_aim import aim_of
from onnx2mzi.emulate.heat_layout import heat_layout, smallest_die
from onnx2mzi.emulate.heated import heat_response, phase_errors
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import LinearLayer, Loc, Mesh, MeshTile, Operand, Program, Stage, TileGrid
from onnx2mzi.passes.cancel import Cancel
from onnx2mzi.passes.cancelling import Pushes, cancelling_tile
from onnx2mzi.passes.canonicalize import isometry_tile
from onnx2mzi.passes.drawing import DrawingRules, drawn_tile
from onnx2mzi.passes.floorplan import Objective
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.arrays import Matrix, Real
from onnx2mzi.physics.heat_model import heat_model
from onnx2mzi.physics.shifter import Drive, Passive, ShifterState
from onnx2mzi.pipeline.base import Context
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, Detection, load_technology

TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)
RULES = DrawingRules(Drive.ARM_CHOICE, Passive.COMMON, Detection.IQ)


def layer(name: str, weight: Matrix) -> LinearLayer:
    u, s, vh = np.linalg.svd(weight, full_matrices=False)
    m, n = weight.shape
    outputs, inputs = np.arange(m, dtype=np.int32), np.arange(n, dtype=np.int32)
    tile = drawn_tile(isometry_tile(outputs, inputs, u, s, vh), RULES)
    operand = Operand("", -1, name, False, str(weight.dtype))
    return LinearLayer(name, weight, operand, Loc(name), (TileGrid(m, n, (tile,)),))


def program(seed: int, *, real: bool = False, layers: int = 1) -> Program:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(5, 5)) + 1j * rng.normal(size=(5, 5)) for _ in range(layers)]
    if real:
        weights = [weight.real for weight in weights]
    made = tuple(layer(f"layer{k}", weight) for k, weight in enumerate(weights))
    return Program("p", Stage.MESH, 5, made)


def tiles(made: Program) -> list[MeshTile]:
    found = [tile for one in made.layers for grid in one.grids for tile in grid.tiles]
    return [tile for tile in found if isinstance(tile, MeshTile)]


def loss_and_error(made: Program) -> tuple[float, Real]:
    placed = place_program(made, TECHNOLOGY, Objective.HEAT)
    assert placed.placement is not None
    layout = heat_layout(placed, TECHNOLOGY)
    response = heat_response(
        layout=layout,
        model=heat_model(stack=TECHNOLOGY.thermal_stack),
        die=smallest_die(placed.placement, TECHNOLOGY),
    )
    error = phase_errors(layout=layout, response=response, drive_rad=layout.heaters.drive_rad)
    return aim_of(placed, layout, None).loss(error), error


@pytest.mark.whole
def test_the_same_matrices_and_heaters_with_less_loss() -> None:
    before = program(0, layers=2)
    told: list[str] = []
    made = Cancel(beam=20, rounds=2).run(before, Context(technology=TECHNOLOGY, log=told.append))
    for name, matrix in program_matrices(made).items():
        np.testing.assert_allclose(matrix, program_matrices(before)[name], atol=1e-12)
    for old, new in zip(tiles(before), tiles(made), strict=True):
        for a, b in ((old.v, new.v), (old.u, new.u)):
            assert a.theta_state.tolist() == b.theta_state.tolist()
            assert a.phi_state.tolist() == b.phi_state.tolist()
    was, now = loss_and_error(before)[0], loss_and_error(made)[0]
    assert now < 0.9 * was
    # What the pass tells is what the placed chip has.
    assert f"{was:.3g} -> {now:.3g}" in told[-1]


@pytest.mark.whole
def test_moves_lower_the_loss_further() -> None:
    before = program(0)
    told: list[str] = []
    for moves in (0, 100):
        context = Context(technology=TECHNOLOGY, log=told.append)
        made = Cancel(heat=0.1, beam=20, rounds=1, moves=moves).run(before, context)
        for name, matrix in program_matrices(made).items():
            np.testing.assert_allclose(matrix, program_matrices(before)[name], atol=1e-12)
    beam, single = (float(text.split("-> ")[1].split(",")[0]) for text in told)
    assert single < beam


def test_heat_that_counts_more_stays_less() -> None:
    rng = np.random.default_rng(0)
    (tile,) = tiles(program(2))
    pushes = random_pushes(tile.v, rng), random_pushes(tile.u, rng)

    def heat(price: float) -> float:
        made = cancelling_tile(tile, pushes, np.zeros(5), heat_price=price, width=50)
        assert made is not None
        return float(sum(np.abs(m.phi_rad).sum() for m in (made.v, made.u)))

    assert heat(100.0) < heat(0.0)


@pytest.mark.parametrize("real", [False, True])
def test_what_is_left_alone(real: bool) -> None:
    before = program(0, real=real)
    technology = TECHNOLOGY if real else replace(TECHNOLOGY, detection=Detection.INPHASE)
    told: list[str] = []
    assert Cancel().run(before, Context(technology=technology, log=told.append)) is before
    assert "stay as they are" in told[-1]


def random_pushes(mesh: Mesh, rng: np.random.Generator) -> Pushes:
    up, low = rng.normal(size=(2, 2, len(mesh), 5))
    return Pushes(np.stack([up[0], low[0]]), np.stack([up[1], low[1]]))


def test_a_wider_search_balances_better_than_none() -> None:
    rng = np.random.default_rng(0)
    (tile,) = tiles(program(1))
    pushes = random_pushes(tile.v, rng), random_pushes(tile.u, rng)
    nothing = np.zeros(5)

    def wrong(width: int) -> float:
        made = cancelling_tile(tile, pushes, nothing, heat_price=0.0, width=width)
        assert made is not None
        return float(((pushes[0].total(made.v) + pushes[1].total(made.u)) ** 2).sum())

    drawn = float(((pushes[0].total(tile.v) + pushes[1].total(tile.u)) ** 2).sum())
    assert wrong(100) < wrong(2) and wrong(100) < 0.5 * drawn


def test_phases_without_heaters_are_no_way_out() -> None:
    rng = np.random.default_rng(0)
    (tile,) = tiles(program(1))
    bare = replace(
        tile.u,
        phi_state=np.full(len(tile.u), ShifterState.REMOVED, np.uint8),
        phi_rad=np.zeros(len(tile.u)),
    )
    pushes = random_pushes(tile.v, rng), random_pushes(tile.u, rng)
    made = cancelling_tile(replace(tile, u=bare), pushes, np.zeros(5), heat_price=0.0, width=10)
    assert made is None

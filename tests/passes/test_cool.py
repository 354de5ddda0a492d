"""Less heat, the same matrices; pruned meshes are left alone."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from onnx2mzi.emulate.transfer import tile_matrix
from onnx2mzi.ir import LinearLayer, Loc, MeshTile, Operand, Program, Stage, TileGrid
from onnx2mzi.kernels import decompose
from onnx2mzi.kernels.gauge import Realised, realised
from onnx2mzi.passes.canonicalize import isometry_tile
from onnx2mzi.passes.cool import Cool, cooler_tile
from onnx2mzi.passes.drawing import DrawingRules, drawn_tile
from onnx2mzi.passes.heat_gauge import coolest
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.physics.shifter import Drive, Passive, ShifterState
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.census import tile_census
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, Detection, load_technology

RULES = DrawingRules(Drive.ARM_CHOICE, Passive.COMMON, Detection.IQ)


def matrix(seed: int, rows: int, columns: int, real: bool = False) -> Matrix:
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(rows, columns)) + 1j * rng.normal(size=(rows, columns))
    return found.real if real else found


def drawn(weight: Matrix) -> MeshTile:
    u, s, vh = np.linalg.svd(weight, full_matrices=False)
    m, n = weight.shape
    outputs, inputs = np.arange(m, dtype=np.int32), np.arange(n, dtype=np.int32)
    return drawn_tile(isometry_tile(outputs, inputs, u, s, vh), RULES)


def heat(tile: MeshTile) -> float:
    return tile_census(tile, 1.0).heat_rad


def whole(tile: MeshTile, shape: tuple[int, int]) -> Matrix:
    found = np.zeros(shape, complex)
    found[np.ix_(tile.outputs, tile.inputs)] = tile_matrix(tile)
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("real", [False, True])
def test_the_same_matrix_with_less_heat(seed: int, real: bool) -> None:
    weight = matrix(seed, 6, 8, real)
    tile = drawn(weight)
    made = cooler_tile(tile, real=real, rules=RULES, trials=60, beam=16, seed=seed)
    np.testing.assert_allclose(whole(made, (6, 8)), weight, atol=1e-12)
    assert heat(made) < heat(tile)
    assert tile_census(made, 1.0).phases_active <= tile_census(tile, 1.0).phases_active


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_finds_what_a_step_does_not(seed: int) -> None:
    unitary = np.linalg.qr(matrix(seed, 8, 8))[0]
    mesh = decompose(unitary)
    rng = np.random.default_rng(seed)
    entering_rad = rng.uniform(-3, 3, 8)

    def cost(how: Callable[..., Realised]) -> float:
        made = how(
            mesh,
            drive=Drive.ARM_CHOICE,
            passive=Passive.COMMON,
            entering_rad=entering_rad,
            lit=np.arange(8) < 6,
        )
        active = ShifterState.ACTIVE
        theta = np.abs(made.theta_rad[made.theta_state == active]).sum()
        return float(theta + np.abs(made.phi_rad[made.phi_state == active]).sum())

    assert cost(partial(coolest, width=32)) < cost(realised)


def program(tile: MeshTile, weight: Matrix) -> Program:
    grid = TileGrid(weight.shape[0], weight.shape[1], (tile,))
    operand = Operand("", -1, "w", False, "complex128")
    layer = LinearLayer("a", weight, operand, Loc("a"), (grid,))
    return Program("p", Stage.MESH, 8, (layer,))


def test_pruned_meshes_and_codes_are_left_alone() -> None:
    weight = matrix(0, 6, 6)
    tile = drawn(weight)
    gone = np.arange(len(tile.u)) % 2 == 0
    removed = np.uint8(ShifterState.REMOVED)
    sparse = replace(
        tile.u,
        theta_rad=np.where(gone, 0.0, tile.u.theta_rad),
        phi_rad=np.where(gone, 0.0, tile.u.phi_rad),
        theta_state=np.where(gone, removed, tile.u.theta_state),
        phi_state=np.where(gone, removed, tile.u.phi_state),
    )
    pruned = replace(tile, u=sparse)
    assert cooler_tile(pruned, real=False, rules=RULES, trials=20, beam=8, seed=0) is pruned
    context = Context(load_technology(DEFAULT_TECHNOLOGY))
    cooled = Cool(trials=30).run(program(tile, weight), context)
    (found,) = cooled.layers[0].grids[0].tiles
    assert isinstance(found, MeshTile)
    assert heat(found) < heat(tile)

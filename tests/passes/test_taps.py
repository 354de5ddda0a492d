"""Singular values as powers of two."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.emulate.transfer import layer_matrix, tile_matrix
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import LinearLayer, Loc, MeshTile, Operand, Program, Stage
from onnx2mzi.passes.canonicalize import Canonicalize, drawing_rules
from onnx2mzi.passes.code_error import tile_error
from onnx2mzi.passes.codes import Rounding, rounded_tile, sequential_tile
from onnx2mzi.passes.decompose import Decompose
from onnx2mzi.passes.quantize import Quantize, Sigma
from onnx2mzi.passes.svd import Svd
from onnx2mzi.passes.taps import AIMED, LAST, powers_of_two, tapped_tile
from onnx2mzi.passes.tile import Tile
from onnx2mzi.physics.mzi import attenuation
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Passive, ShifterState
from onnx2mzi.pipeline.base import Bounded, Context
from onnx2mzi.tech import load_technology

CTX = Context(load_technology("cornerstone_si220"))
POWERS = 2.0 ** -np.arange(LAST + 1)


def chip(m: int, n: int, ports: int, *, real: bool) -> tuple[Program, np.ndarray]:
    """The meshes of one random matrix."""
    rng = np.random.default_rng(7)
    weight = rng.standard_normal((m, n))
    if not real:
        weight = weight + 1j * rng.standard_normal((m, n))
    operand = Operand("x", -1, "w", transposed=True, dtype="float32")
    layer = LinearLayer("fc", weight, operand, Loc("m.onnx", "fc", "Gemm", "w"))
    program = Program("m", Stage.LINEAR, ports, (layer,))
    for step in (Tile(), Svd(), Decompose(), Canonicalize()):
        program = step.run(program, CTX)
    return program, weight


@given(values=st.lists(st.floats(0.0, 1e3), min_size=1, max_size=8))
def test_powers_of_two_are_near(values: list[float]) -> None:
    s = np.array(values)
    gain, amplitude = powers_of_two(s)
    assert np.isin(amplitude, [0.0, *POWERS]).all()
    # By the largest value as gain none errs by more than a third, or half of the last power.
    limit = np.linalg.norm(np.maximum(0.42 * s, s.max() * 2.0 ** -(LAST + 1)))
    assert np.linalg.norm(gain * amplitude - s) <= limit + 1e-12


def test_powers_of_two_stay() -> None:
    s = 3.7 * 2.0 ** -np.array([0.0, 2.0, 1.0, 6.0])
    gain, amplitude = powers_of_two(s)
    np.testing.assert_allclose(gain * amplitude, s, rtol=1e-12)


@pytest.mark.parametrize("rounding", [Rounding.NEAREST, Rounding.SEQUENTIAL])
@pytest.mark.parametrize("real", [True, False])
def test_attenuators_become_fixed_couplers(rounding: Rounding, real: bool) -> None:
    program, weight = chip(9, 7, 8, real=real)
    step = Quantize(bits=6, rounding=rounding, sigma=Sigma.POWERS)
    effect = step.effect(program)
    assert isinstance(effect, Bounded)
    after = step.run(program, CTX)
    error = np.linalg.norm(layer_matrix(after.layers[0]) - weight) / np.linalg.norm(weight)
    assert error <= effect.limit
    assert error < 0.3
    for tile in after.layers[0].grids[0].tiles:
        assert isinstance(tile, MeshTile)
        assert not np.any(tile.sigma.state == ShifterState.ACTIVE)
        amplitude = attenuation(theta_rad=tile.sigma.theta_rad)
        assert all(np.isclose(a, [0.0, *POWERS], atol=1e-12).any() for a in amplitude)


def test_sequential_rounding_errs_less_around_taps() -> None:
    program, weight = chip(12, 12, 64, real=True)
    off = {}
    for rounding in (Rounding.NEAREST, Rounding.SEQUENTIAL):
        step = Quantize(bits=4, rounding=rounding, sigma=Sigma.POWERS)
        off[rounding] = np.linalg.norm(layer_matrix(step.run(program, CTX).layers[0]) - weight)
    assert off[Rounding.SEQUENTIAL] < 0.95 * off[Rounding.NEAREST]


def test_meshes_make_up_for_taps_where_inputs_tell_little() -> None:
    program, weight = chip(12, 12, 12, real=True)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 4)) @ rng.normal(size=(4, 300)) + 0.1 * rng.normal(size=(12, 300))
    moment = x @ x.T / x.shape[1]
    rules, code = drawing_rules(CTX), DriveCode(8, CodeLaw.PHASE)
    asked = program.layers[0].grids[0].tiles[0]
    assert isinstance(asked, MeshTile)
    tapped = tapped_tile(asked, rules)

    def error(tile: MeshTile) -> float:
        off = tile_matrix(tile).real - weight
        return float((off @ moment * off).sum())

    found = sequential_tile(tapped, moment, code, rules, asked)
    assert found is not None
    assert error(found) < 0.1 * error(rounded_tile(tapped, code, rules))
    limit = tile_error(asked, code, taps=AIMED)
    assert np.linalg.norm(tile_matrix(found).real - weight) < limit
    assert np.array_equal(found.sigma.state, tapped.sigma.state)
    for before, after in ((tapped.u, found.u), (tapped.v, found.v)):
        assert np.all(after.theta_state <= before.theta_state)


def test_a_chip_without_passive_phases_has_no_taps() -> None:
    program, _ = chip(4, 4, 8, real=True)
    with pytest.raises(UsageError, match="passive"):
        Quantize(sigma=Sigma.POWERS).run(program, replace(CTX, passive=Passive.NONE))

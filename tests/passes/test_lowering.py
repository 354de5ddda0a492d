"""tile, svd, decompose, canonicalize, quantize: what they promise, on many shapes and targets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.emulate.transfer import layer_matrix, program_matrices
from onnx2mzi.ir import LinearLayer, Loc, MeshTile, Operand, Program, Stage, identical
from onnx2mzi.passes.canonicalize import Canonicalize, drawing_rules
from onnx2mzi.passes.codes import Rounding, rounded_layer
from onnx2mzi.passes.decompose import Decompose, completed
from onnx2mzi.passes.drawing import balanced_tile
from onnx2mzi.passes.quantize import Quantize
from onnx2mzi.passes.svd import Svd
from onnx2mzi.passes.tile import Tile
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.physics.quantization import CodeLaw
from onnx2mzi.physics.shifter import Drive, Passive, ShifterState
from onnx2mzi.pipeline.base import Bounded, Context
from onnx2mzi.pipeline.census import layer_census, reference_mzis, reference_phases
from onnx2mzi.tech import Detection, load_technology

UNTRAINED = (Rounding.NEAREST, Rounding.SEQUENTIAL)


def program_of(weight: Matrix, ports: int = 64) -> Program:
    operand = Operand("x", -1, "w", transposed=True, dtype="float32")
    layer = LinearLayer("fc", weight, operand, Loc("m.onnx", "fc", "Gemm", "w"))
    return Program("m", Stage.LINEAR, ports, (layer,))


def context(
    drive: Drive = Drive.ARM_CHOICE,
    passive: Passive = Passive.COMMON,
    detection: Detection = Detection.IQ,
) -> Context:
    technology = load_technology("cornerstone_si220")
    return Context(replace(technology, drive=drive, detection=detection), passive)


def lowered(program: Program, ctx: Context) -> Program:
    for step in (Tile(), Svd(), Decompose()):
        program = step.run(program, ctx)
    return program


def random_matrix(m: int, n: int, rank: int, seed: int, *, real: bool) -> Matrix:
    rng = np.random.default_rng(seed)
    rank = min(rank, m, n)
    a, b = rng.standard_normal((m, rank)), rng.standard_normal((rank, n))
    if not real:
        return (a + 1j * rng.standard_normal(a.shape)) @ (b + 1j * rng.standard_normal(b.shape))
    return a @ b


@settings(deadline=None)
@given(
    m=st.integers(1, 9),
    n=st.integers(1, 9),
    rank=st.integers(0, 9),
    seed=st.integers(0, 99),
    real=st.booleans(),
    drive=st.sampled_from(Drive),
    passive=st.sampled_from(Passive),
    detection=st.sampled_from(Detection),
)
def test_lowering_and_canonical_form_are_exact(
    m: int,
    n: int,
    rank: int,
    seed: int,
    real: bool,
    drive: Drive,
    passive: Passive,
    detection: Detection,
) -> None:
    weight = random_matrix(m, n, rank, seed, real=real)
    ctx = context(drive, passive, detection)
    program = program_of(weight, ports=5)
    scale = max(1.0, float(np.abs(weight).max()))
    for step in (Tile(), Svd(), Decompose(), Canonicalize(), Canonicalize()):
        program = step.run(program, ctx)
        np.testing.assert_allclose(
            program_matrices(program)["fc"], weight, atol=1e-12 * scale, rtol=0
        )


@pytest.mark.parametrize("shape", [(8, 8), (3, 8), (8, 3), (10, 17)])
def test_decompose_gives_the_textbook_count(shape: tuple[int, int]) -> None:
    program = lowered(program_of(random_matrix(*shape, 99, 0, real=True), ports=8), context())
    census = layer_census(program.layers[0], 30.0)
    assert census.phases_active == reference_phases(shape, 8)
    assert census.mzis == reference_mzis(shape, 8)
    assert census.phases_passive == 0


def test_reference_counts_of_the_papers_network() -> None:
    shapes = [(16, 16), (16, 16), (10, 16)]
    assert sum(reference_phases(s, 16) for s in shapes) == 1290 + 16 + 16 + 10


@pytest.mark.parametrize(
    ("shape", "rank", "thetas"),
    [
        ((8, 8), 8, 28 + 28),
        ((10, 16), 10, 45 + 105),
        ((10, 64), 10, 45 + 585),
        ((16, 16), 3, 2 * (3 * 16 - 6)),
        ((7, 9), 1, 6 + 8),
    ],
)
def test_canonical_form_of_a_real_matrix_has_as_many_heaters_as_degrees_of_freedom(
    shape: tuple[int, int], rank: int, thetas: int
) -> None:
    m, n = shape
    program = lowered(program_of(random_matrix(m, n, rank, 1, real=True)), context())
    program = Canonicalize().run(program, context())
    census = layer_census(program.layers[0], 30.0)
    # The largest singular value needs no attenuator.
    assert census.phases_active == thetas + rank - 1
    assert census.phases_active == rank * (m + n - rank) - 1


@pytest.mark.parametrize("size", [2, 6, 8])
def test_round_off_is_no_heater(size: int) -> None:
    program = lowered(program_of(np.eye(size)), context())
    program = Canonicalize().run(program, context())
    assert layer_census(program.layers[0], 30.0).phases_active == 0
    swapped = np.eye(size)[:, ::-1] * 0.7
    program = Canonicalize().run(lowered(program_of(swapped), context()), context())
    heats = [
        np.abs(mesh.theta_rad[mesh.theta_state == ShifterState.ACTIVE])
        for tile in program.layers[0].grids[0].tiles
        if isinstance(tile, MeshTile)
        for mesh in (tile.u, tile.v)
    ]
    assert np.concatenate(heats).min(initial=1.0) > 1e-9


def test_push_pull_needs_no_phi_for_a_real_matrix() -> None:
    ctx = context(Drive.PUSH_PULL, Passive.NONE)
    program = Canonicalize().run(
        lowered(program_of(random_matrix(9, 6, 9, 2, real=True)), ctx), ctx
    )
    tile = program.layers[0].grids[0].tiles[0]
    assert isinstance(tile, MeshTile)
    for mesh in (tile.u, tile.v):
        assert not mesh.phi_rad.any()
        assert np.all(mesh.phi_state == ShifterState.REMOVED)


def test_arm_choice_heats_less_than_the_textbook() -> None:
    program = lowered(program_of(random_matrix(16, 16, 16, 3, real=False)), context())
    textbook = layer_census(program.layers[0], 30.0)
    canonical = layer_census(
        Canonicalize().run(program, context(passive=Passive.NONE)).layers[0], 30.0
    )
    assert canonical.heat_rad < 0.5 * textbook.heat_rad


def test_zero_rows_columns_and_tiles_cost_nothing() -> None:
    weight = np.zeros((12, 12))
    weight[2:5, 7:9] = np.random.default_rng(0).standard_normal((3, 2))
    program = Canonicalize().run(lowered(program_of(weight, ports=6), context()), context())
    (tile,) = program.layers[0].grids[0].tiles
    assert isinstance(tile, MeshTile)
    assert tile.outputs.tolist() == [2, 3, 4]
    assert tile.inputs.tolist() == [7, 8]
    np.testing.assert_allclose(layer_matrix(program.layers[0]), weight, atol=1e-12)


def test_nothing_is_left_of_a_zero_matrix() -> None:
    program = Canonicalize().run(lowered(program_of(np.zeros((4, 4))), context()), context())
    assert program.layers[0].grids[0].tiles == ()
    assert not layer_matrix(program.layers[0]).any()


def test_all_passive_is_a_fixed_chip() -> None:
    ctx = context(passive=Passive.ALL)
    program = Canonicalize().run(
        lowered(program_of(random_matrix(6, 6, 6, 4, real=False)), ctx), ctx
    )
    census = layer_census(program.layers[0], 30.0)
    assert census.phases_active == 0
    assert census.power_mw == 0.0
    assert census.phases_passive > 50


@pytest.mark.parametrize("columns", [1, 3, 6])
def test_completed_keeps_the_given_columns(columns: int) -> None:
    rng = np.random.default_rng(columns)
    given_columns, _ = np.linalg.qr(rng.standard_normal((6, columns)))
    full = completed(given_columns)
    np.testing.assert_allclose(full[:, :columns], given_columns, atol=1e-14)
    np.testing.assert_allclose(full.conj().T @ full, np.eye(6), atol=1e-14)


@settings(deadline=None)
@given(
    m=st.integers(1, 8),
    n=st.integers(1, 8),
    seed=st.integers(0, 99),
    real=st.booleans(),
    bits=st.integers(3, 12),
    law=st.sampled_from(CodeLaw),
    rounding=st.sampled_from(UNTRAINED),
    drive=st.sampled_from(Drive),
)
def test_quantize_puts_every_heater_on_a_code_within_its_bound(
    m: int,
    n: int,
    seed: int,
    real: bool,
    bits: int,
    law: CodeLaw,
    rounding: Rounding,
    drive: Drive,
) -> None:
    weight = random_matrix(m, n, 9, seed, real=real)
    ctx = context(drive)
    program = Canonicalize().run(lowered(program_of(weight, ports=5), ctx), ctx)
    step = Quantize(bits=bits, law=law, rounding=rounding)
    effect = step.effect(program)
    assert isinstance(effect, Bounded)

    after = step.run(program, ctx)

    error = np.linalg.norm(layer_matrix(after.layers[0]) - weight)
    assert error <= effect.limit * np.linalg.norm(weight) + 1e-12
    assert after.drive_code == step.code
    for tile in after.layers[0].grids[0].tiles:
        assert isinstance(tile, MeshTile)
        for mesh in (tile.u, tile.v):
            for phase, state in (
                (mesh.theta_rad, mesh.theta_state),
                (mesh.phi_rad, mesh.phi_state),
            ):
                active = phase[state == ShifterState.ACTIVE]
                on_code = step.code.nearest_rad(active, drive)
                np.testing.assert_allclose(np.exp(1j * active), np.exp(1j * on_code), atol=1e-12)


@pytest.mark.parametrize("drive", list(Drive))
@pytest.mark.parametrize("bits", [4, 6])
def test_sequential_rounding_errs_less_where_the_inputs_are(drive: Drive, bits: int) -> None:
    ctx = context(drive)
    weight = random_matrix(12, 16, 12, 7, real=True)
    program = Canonicalize().run(lowered(program_of(weight), ctx), ctx)
    rng = np.random.default_rng(3)
    inputs = rng.standard_normal((16, 4)) @ rng.standard_normal((4, 200))
    code = Quantize(bits=bits).code
    errors = {}
    for rounding in UNTRAINED:
        layer = rounded_layer(program.layers[0], code, drawing_rules(ctx), rounding, inputs)
        errors[rounding] = np.linalg.norm((layer_matrix(layer) - weight) @ inputs)
    assert errors[Rounding.SEQUENTIAL] < 0.75 * errors[Rounding.NEAREST]


def test_a_complex_tile_is_rounded_to_nearest() -> None:
    ctx = context()
    weight = random_matrix(5, 5, 5, 8, real=False)
    program = Canonicalize().run(lowered(program_of(weight), ctx), ctx)
    nearest, sequential = (
        Quantize(bits=5, rounding=rounding).run(program, ctx) for rounding in UNTRAINED
    )
    assert identical(nearest, sequential)


def test_balanced_form_of_a_drawn_tile_is_real_for_a_real_matrix() -> None:
    program = lowered(program_of(random_matrix(7, 5, 5, 5, real=True)), context())
    tile = Canonicalize().run(program, context()).layers[0].grids[0].tiles[0]
    assert isinstance(tile, MeshTile)
    balanced = balanced_tile(tile)
    assert not balanced.u.phi.any()
    assert not balanced.v.phi.any()

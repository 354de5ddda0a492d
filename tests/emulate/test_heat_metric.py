"""Derivatives of what a network feels, against differences; drives that undo heat."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from onnx2mzi.emulate.compensate_chip import Caution, compensate_chip, expected_loss
from onnx2mzi.emulate.heat import balanced_tile
from onnx2mzi.emulate.heat_aim import Aim, aim_of
from onnx2mzi.emulate.heat_layout import (
    HeatLayout,
    heat_layout,
    set_drives_rad,
    with_drives,
)
from onnx2mzi.emulate.heat_metric import tile_rows
from onnx2mzi.emulate.heat_study import heat_map, heat_study, warm_chip
from onnx2mzi.emulate.heat_task import Matrices, output_slopes
from onnx2mzi.emulate.heat_words import trims_told
from onnx2mzi.emulate.heated import HeatResponse, heat_response, output_turn_rad, phase_errors
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import LinearLayer, Loc, MeshTile, Operand, Program, Stage
from onnx2mzi.ir.parser import parse_program
from onnx2mzi.ir.printer import print_program
from onnx2mzi.ir.verify import verify
from onnx2mzi.passes.canonicalize import Canonicalize
from onnx2mzi.passes.decompose import Decompose
from onnx2mzi.passes.place import Place
from onnx2mzi.passes.svd import Svd
from onnx2mzi.passes.tile import Tile
from onnx2mzi.physics.arrays import Complex, Matrix, Real
from onnx2mzi.physics.heat_model import heat_model
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.manager import Pipeline
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, load_technology

MakeTile = Callable[..., MeshTile]
TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("turned", [False, True])
def test_rows_are_derivatives(make_tile: MakeTile, seed: int, turned: bool) -> None:
    rng = np.random.default_rng(seed)
    tile = balanced_tile(make_tile(rng, 3, 4, Drive.ARM_CHOICE))
    x = rng.normal(size=(4, 5)) + 1j * rng.normal(size=(4, 5))
    slopes = rng.normal(size=(5, 2, 3)) + 1j * rng.normal(size=(5, 2, 3))
    cold = tile.moved(rng.normal(size=len(tile.phase_rad)) * 0.1).transfer() if turned else None
    rows = tile_rows(tile, x, slopes, cold=cold)

    def seen(moved: Real) -> Real:
        made: Complex = tile.moved(moved).transfer()
        if cold is not None:
            made = np.asarray(np.exp(1j * output_turn_rad(made, cold))[:, None] * made)
        return np.asarray(np.einsum("bcm,mb->bc", slopes, made @ x).real)

    step = 1e-6
    for k in range(0, len(rows), 3):
        unit = np.zeros(len(rows))
        unit[k] = step
        np.testing.assert_allclose(
            rows[k], (seen(unit) - seen(-unit)) / (2 * step), atol=1e-6, rtol=1e-6
        )


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Two layers with a softplus of magnitudes between them; powers are the scores."""

    x: Matrix

    def layer_inputs(self, matrices: Matrices) -> dict[str, Matrix]:
        first = np.logaddexp(0.0, np.abs(matrices["a"] @ self.x))
        return {"a": self.x, "b": first}

    def scores(self, matrices: Matrices) -> Real:
        return np.asarray(np.abs(matrices["b"] @ self.layer_inputs(matrices)["b"]).T ** 2)


Case = tuple[Program, HeatLayout, HeatResponse, Chain]


@pytest.fixture(scope="module")
def case() -> Case:
    """Complex layers 4 -> 4 -> 3 as a chip, its heat, and the network around it."""
    rng = np.random.default_rng(0)
    layers = []
    for name, shape in (("a", (4, 4)), ("b", (3, 4))):
        weight = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        operand = Operand("", -1, name, False, "complex128")
        layers.append(LinearLayer(name, weight, operand, Loc(name)))
    program = Program("net", Stage.LINEAR, 4, tuple(layers))
    passes = Tile(), Svd(), Decompose(), Canonicalize(), Place()
    placed = Pipeline(passes).run(program, Context(TECHNOLOGY)).program
    layout = heat_layout(placed, TECHNOLOGY)
    model = heat_model(stack=TECHNOLOGY.thermal_stack)
    response = heat_response(layout=layout, model=model, die=None)
    x = rng.normal(size=(4, 40)) + 1j * rng.normal(size=(4, 40))
    return placed, layout, response, Chain(x)


def test_slopes_of_scores(case: Case) -> None:
    program, _, _, task = case
    matrices = program_matrices(program)
    inputs = task.layer_inputs(matrices)["b"]
    slopes = output_slopes(task, matrices, "b", inputs)
    assert slopes is not None
    # The power |y|^2 moves by Re(2 y* dy).
    y = matrices["b"] @ inputs
    each = np.arange(len(y))
    expected = np.zeros_like(slopes)
    expected[:, each, each] = 2 * y.conj().T
    np.testing.assert_allclose(slopes, expected, atol=1e-6 * np.abs(y).max())


@pytest.mark.parametrize("with_task", [False, True])
def test_the_gradient_is_that_of_the_loss(case: Case, with_task: bool) -> None:
    program, layout, response, task = case
    aim: Aim = aim_of(program, layout, task if with_task else None)
    drives = layout.heaters.drive_rad
    at = 0.3 * phase_errors(layout=layout, response=response, drive_rad=drives)
    assert aim.loss(np.zeros_like(at)) == pytest.approx(0.0, abs=1e-12)
    metric = aim.metric(at)
    rng = np.random.default_rng(1)
    for _ in range(5):
        way = rng.normal(size=len(at))
        step = 1e-4 / np.linalg.norm(way)
        slope = (aim.loss(at + step * way) - aim.loss(at - step * way)) / (2 * step)
        assert metric.gradient @ way == pytest.approx(slope, rel=0.05, abs=2e-4)


def test_heat_is_undone_and_drives_are_kept(case: Case) -> None:
    program, layout, response, task = case
    aim = aim_of(program, layout, task)
    losses: list[float] = []
    made = compensate_chip(
        aim=aim, layout=layout, response=response, tell=lambda step, loss: losses.append(loss)
    )
    assert made.loss_before == losses[0] and made.loss == losses[-1]
    assert made.loss < 0.3 * made.loss_before
    assert (made.drive_rad >= 0).all()
    driven = with_drives(program, layout, made.drive_rad)
    assert verify(driven) == []
    np.testing.assert_array_equal(set_drives_rad(driven, layout), made.drive_rad)
    np.testing.assert_array_equal(set_drives_rad(program, layout), layout.heaters.drive_rad)
    text, arrays = print_program(driven)
    again = parse_program(text, arrays)
    np.testing.assert_array_equal(set_drives_rad(again, layout), made.drive_rad)
    off = phase_errors(layout=layout, response=response, drive_rad=made.drive_rad)
    bounds = [
        expected_loss(
            aim=aim,
            layout=layout,
            response=response,
            drive_rad=made.drive_rad,
            error_rad=off,
            caution=Caution(random=error, systematic=error),
        )
        for error in (0.1, 0.2)
    ]
    assert bounds[1] == pytest.approx(4 * bounds[0])
    metric = aim.metric(off)
    pushed = layout.push.toarray()
    fisher = np.zeros((len(off), len(off)))
    for columns, root in metric.roots:
        fisher[np.ix_(columns, columns)] += root.T @ root
    each = np.arange(len(layout.heaters))
    unknown = response.segment.copy()
    unknown[layout.heaters.own, each] = 0.0
    felt = np.diag(pushed.T @ fisher @ pushed) @ unknown**2 @ made.drive_rad**2
    unknown = response.segment.copy()
    unknown[layout.heaters.own, each] -= 1.0
    moved = pushed @ unknown @ made.drive_rad
    assert bounds[0] == pytest.approx(0.005 * (felt + moved @ fisher @ moved), rel=1e-6)


def test_drives_that_are_none(case: Case) -> None:
    program, layout, _, _ = case
    driven = with_drives(program, layout, layout.heaters.drive_rad)
    assert driven.placement is not None
    first, *rest = driven.placement.blocks
    for wrong in (first.drive_rad[:-1], first.drive_rad - 9.0, first.drive_rad + 1.0):
        bad = replace(driven.placement, blocks=(replace(first, drive_rad=wrong), *rest))
        assert verify(replace(driven, placement=bad)) != []


def test_a_study_of_a_warm_chip(case: Case) -> None:
    program, _, _, task = case
    warm = warm_chip(program, TECHNOLOGY, task)
    cold = task.scores(program_matrices(program)).argmax(1)

    def score(matrices: dict[str, Matrix]) -> float:
        return float((task.scores(matrices).argmax(1) == cold).mean())

    study = heat_study(warm, score, copies=2)
    assert study["ideal"] == 1.0 and study["compensated"] is None
    assert study["trims"] is None and trims_told(None) == ""
    assert "12 of 40" in trims_told({"loss": 1e-4, "needed": 12, "possible": 40})
    assert "none" in trims_told({"loss": 1e-4, "needed": 0, "possible": 40})
    assert "all 40" in trims_told({"loss": 1e-4, "needed": None, "possible": 40})
    assert study["p_pi_mw_derived"] == pytest.approx(study["p_pi_mw_here"], rel=0.1)
    assert [row["error"] for row in study["uncertain"]] == [0.05, 0.1, 0.2]
    losses = [row["loss"] for row in study["certificate"]]
    assert losses == sorted(losses) and losses[0] > 0
    hottest = study["hottest"][0]
    shown = heat_map(warm, study["drives"], cells=60)
    assert 0 < shown.kelvin.min() < shown.kelvin.max()
    # A cell of the map is wider than a heater: it is cooler than the guide below one.
    assert shown.kelvin.max() <= 1.1 * hottest["kelvin"]
    assert len(shown.kelvin[0]) <= 61
    with pytest.raises(OverflowError, match="pairs"):
        warm_chip(program, TECHNOLOGY, task, most_pairs=10)

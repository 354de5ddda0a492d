"""Derivatives against differences, the solver against its conditions, heat undone."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from onnx2mzi.emulate.compensate import (
    compensated,
    nonnegative_least,
    refined,
    residual_bound,
    softmax_fisher,
)
from onnx2mzi.emulate.heat import balanced_tile
from onnx2mzi.emulate.heat_jacobian import score_jacobian, tile_jacobian
from onnx2mzi.ir import MeshTile
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import Drive

MakeTile = Callable[..., MeshTile]


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 5))
def test_a_tiles_derivatives(make_tile: MakeTile, seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    tile = balanced_tile(make_tile(rng, rows, columns, Drive.ARM_CHOICE))
    jacobian = tile_jacobian(tile)
    count = len(tile.phase_rad)
    assert jacobian.shape == (count, rows, columns)
    step = 1e-5
    for k, unit in enumerate(np.eye(count) * step):
        difference = tile.moved(unit).transfer() - tile.moved(-unit).transfer()
        np.testing.assert_allclose(difference / (2 * step), jacobian[k], atol=1e-9)


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_least_is_scipys(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(size + 5, size)), rng.normal(size=size + 5)
    found = nonnegative_least(quadratic=a.T @ a, linear=a.T @ b)
    np.testing.assert_allclose(found, nnls(a, b)[0], atol=1e-7)


def test_a_quadratic_must_be_positive() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        nonnegative_least(quadratic=-np.eye(3), linear=np.ones(3))


def crosstalk(rng: np.random.Generator, phases: int, heaters: int) -> Real:
    k = np.abs(rng.normal(size=(phases, heaters))) * 0.03
    k[np.arange(heaters), np.arange(heaters)] = 1.0
    return k


def test_with_a_heater_a_phase_heat_is_undone() -> None:
    rng = np.random.default_rng(0)
    k = crosstalk(rng, 20, 20)
    target = rng.uniform(1.0, 3.0, 20)
    x = compensated(response=k, target_rad=target, fisher=np.eye(20), start_rad=target, ridge=1e-9)
    np.testing.assert_allclose(k @ x, target, atol=1e-6)


def test_what_the_function_feels_comes_first() -> None:
    rng = np.random.default_rng(1)
    k = crosstalk(rng, 40, 15)
    wanted = np.concatenate([rng.uniform(1.0, 3.0, 15), np.zeros(25)])
    feels = np.diag(rng.uniform(0, 1, 40) ** 6)
    plain = compensated(response=k, target_rad=wanted, fisher=np.eye(40), start_rad=wanted[:15])
    best = compensated(response=k, target_rad=wanted, fisher=feels, start_rad=wanted[:15])

    def felt(x: Real) -> float:
        off = k @ x - wanted
        return float(off @ feels @ off)

    assert felt(best) < 0.5 * felt(plain)
    assert felt(best) < 0.5 * felt(wanted[:15])
    assert (best >= 0).all()


def test_refinement_sees_what_is_not_quadratic() -> None:
    rng = np.random.default_rng(2)
    k = crosstalk(rng, 12, 6)
    goal = rng.uniform(0.5, 2.0, 12)
    mix = rng.normal(size=(30, 12))

    def outputs(psi: Real) -> Real:
        return np.sin(mix @ psi / 4)

    def loss(psi: Real) -> float:
        return float(((outputs(psi) - outputs(goal)) ** 2).sum() / 2)

    def linearise(psi: Real) -> tuple[Real, Real]:
        slope = np.cos(mix @ psi / 4)[:, None] * mix / 4
        return slope.T @ slope, slope.T @ (outputs(psi) - outputs(goal))

    fisher, _ = linearise(goal)
    x = compensated(response=k, target_rad=goal, fisher=fisher, start_rad=goal[:6])
    better = refined(drive_rad=x, response=k, linearise=linearise, loss=loss, steps=20)
    assert loss(k @ better) < 0.98 * loss(k @ x)
    assert (better >= 0).all()
    again = refined(drive_rad=better, response=k, linearise=linearise, loss=loss, steps=20)
    assert loss(k @ again) <= loss(k @ better)


def test_scores_and_their_fisher_metric() -> None:
    """Against the curvature of the cross-entropy of a network that is one matrix."""
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(50, 4)), rng.normal(size=(3, 4))
    directions = rng.normal(size=(5, 3, 4))
    directions[2] = 0.0

    def scores(change: Real) -> Real:
        return np.asarray(x @ (w + change).T)

    jacobian = score_jacobian(scores=scores, directions=directions)
    np.testing.assert_allclose(jacobian, np.einsum("bn,kmn->bmk", x, directions), atol=1e-9)

    def probability(psi: Real) -> Real:
        e = np.exp(scores(np.tensordot(psi, directions, 1)))
        return np.asarray(e / e.sum(1, keepdims=True))

    at_rest = probability(np.zeros(5))
    fisher = softmax_fisher(jacobian=jacobian, probability=at_rest)
    small = 1e-3 * rng.normal(size=5)
    divergence = (at_rest * np.log(at_rest / probability(small))).sum(1).mean()
    assert small @ fisher @ small / 2 == pytest.approx(divergence, rel=5e-3)


def test_the_bound_of_an_unknown_response() -> None:
    rng = np.random.default_rng(4)
    k, x = crosstalk(rng, 10, 4), rng.uniform(0, 3, 4)
    root = rng.normal(size=(10, 10))
    fisher = root @ root.T
    draws = []
    for _ in range(4000):
        off = (k * 0.1 * rng.standard_normal(k.shape)) @ x
        draws.append(off @ fisher @ off)
    bound = residual_bound(response=k, drive_rad=x, fisher=fisher, uncertainty=0.1)
    assert np.mean(draws) == pytest.approx(bound, rel=0.1)

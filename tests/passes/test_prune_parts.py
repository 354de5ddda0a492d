"""The algorithms behind `prune`, each against its definition."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.ir import MeshTile
from onnx2mzi.kernels import BalancedMesh, build, decompose_columns, decompose_rows
from onnx2mzi.passes.drawing import DrawingRules
from onnx2mzi.passes.prune.baselines import (
    balanced_matrix,
    theta_threshold,
    without_small_singular_values,
    without_small_thetas,
)
from onnx2mzi.passes.prune.cost import matrix_phases, split_pays
from onnx2mzi.passes.prune.inputs import elimination
from onnx2mzi.passes.prune.judge import changed, changed_steady, margin_used, relative
from onnx2mzi.passes.prune.lowrank import factors, spectrum
from onnx2mzi.passes.prune.moments import energy, moment, restricted
from onnx2mzi.passes.prune.neighbours import grouped
from onnx2mzi.passes.prune.settle import settled_tile, without_bars, without_full_turns
from onnx2mzi.passes.prune.split import gauged, sheets, sheets_phases
from onnx2mzi.passes.prune.thetas import RealTile, felt, gradient, hessian, slopes
from onnx2mzi.passes.prune.thin import Metric, settled, thinned
from onnx2mzi.passes.prune.thinning import product, shortened, thinned_layer
from onnx2mzi.passes.prune.weights import nearest
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import Drive, Passive
from onnx2mzi.pipeline.census import tile_census
from onnx2mzi.tech import Detection


def inputs_of(n: int, rng: np.random.Generator, count: int = 200) -> Real:
    """Correlated input vectors, as columns."""
    return rng.standard_normal((n, n)) @ (
        np.geomspace(1, 0.03, n)[:, None] * rng.standard_normal((n, count))
    )


def real_tile_of(w: Real, rank: int) -> RealTile:
    u, s, vh = np.linalg.svd(w, full_matrices=False)
    return RealTile(decompose_columns(u[:, :rank]), s[:rank], decompose_rows(vh[:rank]))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_restricted_is_least_squares(rng: np.random.Generator) -> None:
    x, w = inputs_of(6, rng), rng.standard_normal((4, 6))
    keep = np.array([0, 2, 5])
    best = np.linalg.lstsq(x[keep].T, (w @ x).T, rcond=None)[0].T
    assert np.allclose(restricted(w, moment(x, ridge=1e-12, own=0.0), keep), best, atol=1e-6)


def test_energy_is_the_mean_square_of_the_outputs(rng: np.random.Generator) -> None:
    x, w = inputs_of(5, rng), rng.standard_normal((3, 5))
    c = moment(x, ridge=0.0, own=0.0)
    assert np.allclose(energy(w, c), ((w @ x) ** 2).mean(1))


def test_elimination_counts_what_compensation_leaves(rng: np.random.Generator) -> None:
    w, c = rng.standard_normal((4, 8)), moment(inputs_of(8, rng)).real
    order, spent = elimination(w, c)
    assert sorted(order) == list(range(8))
    assert all(a <= b for a, b in pairwise(spent))
    for gone in range(8):
        keep = np.sort(order[gone + 1 :])
        error = -w
        if len(keep):
            error[:, keep] = (restricted(w, c, keep) - w[:, keep]).real
        assert spent[gone] == pytest.approx(energy(error, c).sum())


def test_an_input_that_is_never_lit_goes_first(rng: np.random.Generator) -> None:
    x = inputs_of(5, rng)
    x[3] = 0.0
    order, spent = elimination(rng.standard_normal((4, 5)), moment(x, ridge=1e-6))
    assert order[0] == 3
    assert spent[0] < 1e-2 * spent[-1]


@pytest.mark.parametrize("real", [True, False])
def test_factors_lose_exactly_the_spectrum_that_is_cut(
    rng: np.random.Generator, real: bool
) -> None:
    w: Any = rng.standard_normal((5, 7))
    if not real:
        w = w + 1j * rng.standard_normal((5, 7))
    c = moment(inputs_of(7, rng)).real
    a, b = factors(w, c, 2)
    assert a.shape == (5, 2)
    assert np.allclose(a.conj().T @ a, np.eye(2))
    assert energy(w - a @ b, c).sum() == pytest.approx(spectrum(w, c)[2:].sum())


@settings(deadline=None, max_examples=30)
@given(m=st.integers(1, 22), n=st.integers(1, 22), rank=st.integers(1, 9), seed=st.integers(0, 99))
def test_sheets_hold_the_matrix_in_as_many_phases_as_foretold(
    m: int, n: int, rank: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rank = min(rank, m, n)
    w = np.zeros((m + 2, n + 3))
    rows, columns = np.sort(rng.permutation(m + 2)[:m]), np.sort(rng.permutation(n + 3)[:n])
    w[np.ix_(rows, columns)] = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))
    found = sheets(w, rank=rank, ports=8)
    assert np.allclose(product(found, np.dtype(float)), w, atol=1e-9 * np.abs(w).max())
    assert len(found) == (2 if split_pays(m, n, rank, 8) else 1)
    rules = DrawingRules(Drive.ARM_CHOICE, Passive.COMMON, Detection.IQ)
    active = sum(
        tile_census(tile, p_pi_mw=1.0).phases_active
        for sheet in found
        for tile in sheet.drawn(rules).tiles
        if isinstance(tile, MeshTile)
    )
    assert active == sheets_phases([found])
    # A bare tile of rank + 1 rows is a full mesh, which does not profit from the zeros.
    spare = rank if len(found) == 2 and min(m, 8) <= rank + 1 else 0
    assert 0 <= active - matrix_phases(m, n, rank, 8) <= spare


def test_grouped_tiles_hold_the_same_matrix(rng: np.random.Generator) -> None:
    w, x = rng.standard_normal((6, 20)), inputs_of(20, rng)
    found = sheets(w, rank=6, ports=8, moment=moment(x))
    assert np.allclose(product(found, np.dtype(float)), w)


def test_a_bare_isometry_comes_out_of_the_gauge(rng: np.random.Generator) -> None:
    w = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 30))
    a, b, first = gauged(w, rank=4, ports=8)
    assert np.allclose(a @ b, w)
    assert np.allclose(a[first].T @ a[first], np.eye(4))
    zero = np.add.outer(np.arange(8), np.arange(4)) < 3
    assert not a[first][zero].any()


def test_grouped_puts_together_what_varies_together(rng: np.random.Generator) -> None:
    kind = rng.permutation(np.repeat([0, 1, 2], 4))
    x = rng.standard_normal((3, 500))[kind] + 0.1 * rng.standard_normal((12, 500))
    order = grouped(moment(x), np.arange(12), 4)
    assert sorted(order) == list(range(12))
    assert {tuple(sorted(kind[order[k : k + 4]])) for k in (0, 4, 8)} == {
        (k,) * 4 for k in range(3)
    }


def test_slopes_are_derivatives(rng: np.random.Generator) -> None:
    tile = real_tile_of(rng.standard_normal((5, 7)), 3)
    left, right = slopes(tile)
    theta, count, step = tile.theta, len(tile.theta), 1e-6
    for p in range(count + 3):
        more, s = theta.copy(), tile.s.copy()
        (more if p < count else s)[p if p < count else p - count] += step
        slope = (tile.moved(more, s).matrix - tile.matrix) / step
        assert np.allclose(left[p].T @ right[p], slope, atol=1e-5)


def test_gradient_and_hessian_are_those_of_the_error(rng: np.random.Generator) -> None:
    tile, c = real_tile_of(rng.standard_normal((4, 6)), 3), moment(inputs_of(6, rng)).real
    half = rng.standard_normal((4, 4))
    metric = Metric(rng.standard_normal((4, 6)), half @ half.T, c)
    left, right = slopes(tile)
    jacobian = np.einsum("kam,kan->kmn", left, right)
    expected = np.einsum("kmn,ml,lbp,np->kb", jacobian, metric.p, jacobian.swapaxes(0, 1), c)
    assert np.allclose(np.tril(hessian(left, right, metric.p, c)), np.tril(expected))
    assert np.allclose(felt(left, right, metric.p, c), np.diag(expected))
    slope = gradient(left, right, metric.weighted(tile.matrix))
    assert np.allclose(slope, np.einsum("kmn,mn->k", jacobian, metric.weighted(tile.matrix)))


def test_thinned_tiles_are_what_they_say(rng: np.random.Generator) -> None:
    w, c = rng.standard_normal((8, 9)), moment(inputs_of(9, rng)).real
    metric = Metric(w, np.eye(8), c)
    path = thinned(real_tile_of(w, 8), metric, rate=200 / energy(w, c).sum())
    assert len(path) > 3
    for way in path:
        gone = way.tile.theta[~way.alive]
        assert set(np.abs(gone)) <= {0.0, np.pi}
        assert way.error == pytest.approx(metric.error(way.tile.matrix))
    counts = [way.phases for way in path]
    assert counts == sorted(counts, reverse=True)


def test_under_noise_heaters_that_are_felt_more_go(rng: np.random.Generator) -> None:
    w, c = rng.standard_normal((8, 9)), moment(inputs_of(9, rng)).real
    metric, start = Metric(w, np.eye(8), c), real_tile_of(w, 8)
    left, right = slopes(start)
    weight = felt(left, right, metric.p, c)[: len(start.theta)]
    rate = 200 / energy(w, c).sum()
    quiet, noisy = (
        thinned(start, replace(metric, noise_rad=noise), rate=rate)[1] for noise in (0.0, 0.3)
    )
    assert np.count_nonzero(quiet.alive) == np.count_nonzero(noisy.alive)
    assert weight[noisy.alive].sum() < 0.98 * weight[quiet.alive].sum()


def test_surgery_beats_magnitude(rng: np.random.Generator) -> None:
    w, c = rng.standard_normal((10, 12)), moment(inputs_of(12, rng)).real
    tile, metric = real_tile_of(w, 10), Metric(w, np.eye(10), c)
    total = float(energy(w, c).sum())
    way = next(t for t in thinned(tile, metric, rate=100 / total) if t.alive.mean() < 0.6)
    small = np.argsort(np.abs(tile.theta))[: int(np.count_nonzero(~way.alive))]
    cut = tile.theta
    cut[small] = 0.0
    assert way.error < 0.1 * metric.error(tile.moved(cut, tile.s).matrix)


def test_settling_only_makes_better_and_leaves_the_gone_alone(rng: np.random.Generator) -> None:
    w, c = rng.standard_normal((6, 6)), moment(inputs_of(6, rng)).real
    metric = Metric(w, np.eye(6), c)
    way = thinned(real_tile_of(w, 6), metric, rate=300 / energy(w, c).sum())[3]
    better, _ = settled(way, metric, steps=5, damping=1e-3)
    assert better.error <= way.error
    assert np.array_equal(better.tile.theta[~way.alive], way.tile.theta[~way.alive])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), ports=st.integers(2, 7))
def test_without_bars_is_the_same_mesh(seed: int, ports: int) -> None:
    rng = np.random.default_rng(seed)
    mesh = decompose_rows(np.linalg.qr(rng.standard_normal((ports, ports)))[0])
    theta = rng.choice([0.0, np.pi, -np.pi, 1.0, -2.0, 4.0, -5.0, 9.0], mesh.count)
    out = rng.choice([0.0, np.pi], ports)
    turned = BalancedMesh(
        ports=ports, column=mesh.column, port=mesh.port, theta=theta, phi=mesh.phi, out=out
    )
    clean = without_bars(turned)
    assert np.allclose(build(clean), build(turned))
    assert (np.abs(clean.theta) < np.pi).all()
    assert clean.count == np.count_nonzero(np.abs(theta) != np.pi)
    assert clean.is_real
    whole = without_full_turns(turned)
    assert np.allclose(build(whole), build(turned)) and whole.is_real
    assert whole.count == turned.count and (np.abs(whole.theta) <= np.pi).all()


def test_settled_tile_keeps_the_matrix_whatever_signs_amplitudes_have(
    rng: np.random.Generator,
) -> None:
    tile = real_tile_of(rng.standard_normal((5, 4)), 3)
    tile = tile.moved(tile.theta + 5.0, tile.s * np.array([-1.0, 2.0, -0.1]))
    drawn = settled_tile(tile, np.arange(5, dtype=np.int32), np.arange(4, dtype=np.int32))
    assert np.allclose(balanced_matrix(drawn), tile.matrix)
    assert (drawn.amplitude >= 0).all()
    assert drawn.amplitude.max() == 1.0


def test_shortened_to_a_price(rng: np.random.Generator) -> None:
    w, c = rng.standard_normal((6, 8)), moment(inputs_of(8, rng)).real
    metric = Metric(w, np.eye(6), c)
    assert np.allclose(shortened(metric, 1e12).matrix, w, atol=1e-6)
    assert len(shortened(metric, 1e-12).s) == 1


def test_tiles_of_a_row_make_up_for_each_other(rng: np.random.Generator) -> None:
    w, c = rng.standard_normal((8, 24)), moment(inputs_of(24, rng)).real
    total, price = float(energy(w, c).sum()), 1e3
    whole = sheets(w, rank=8, ports=8)
    found = thinned_layer(w, whole, c, price=price)
    alone, phases = np.zeros_like(w), 0
    for k in range(0, 24, 8):
        part, own = w[:, k : k + 8], c[k : k + 8, k : k + 8]
        share = float(energy(part, own).sum()) / total
        thin = thinned_layer(part, sheets(part, rank=8, ports=8), own, price=price * share)
        alone[:, k : k + 8] = product(thin, w.dtype)
        phases += sheets_phases([thin])
    error = energy(product(found, w.dtype) - w, c).sum() / total
    assert sheets_phases([found]) < 0.7 * sheets_phases([whole])
    assert sheets_phases([found]) + price * error < phases + price * (
        energy(alone - w, c).sum() / total
    )


@settings(deadline=None, max_examples=25)
@given(m=st.integers(1, 20), n=st.integers(1, 20), limit=st.floats(0, 0.9), seed=st.integers(0, 9))
def test_nearest_keeps_its_bound(m: int, n: int, limit: float, seed: int) -> None:
    w = np.random.default_rng(seed).standard_normal((m, n))
    found, rank = nearest(w, limit=limit, ports=8)
    assert np.linalg.norm(found - w) <= limit * np.linalg.norm(w) + 1e-12
    assert rank >= min(1, m, n)


def test_nearest_takes_low_rank_where_it_pays(rng: np.random.Generator) -> None:
    w = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 50))
    w += 1e-4 * rng.standard_normal(w.shape)
    assert nearest(w, limit=1e-2, ports=8)[1] == 3


def test_answers() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.4], [0.1, 0.9]])
    other = np.array([[1.0, 0.0], [1.0, 0.0], [0.55, 0.45], [0.1, 0.9]])
    assert changed(scores, other) == 0.25
    assert 0.0 < changed_steady(scores, other) < 0.5
    assert changed_steady(scores, scores) == margin_used(scores, scores) == 0.0
    assert margin_used(scores, other) == pytest.approx((1 + 0.5**4) / 4)
    assert relative(scores, 2 * scores) == pytest.approx(1.0)


def test_baselines(rng: np.random.Generator) -> None:
    w = rng.standard_normal((12, 9))
    (cut,) = without_small_singular_values([w], 0.5, 8)
    assert np.linalg.matrix_rank(cut[:8, :8]) < 8
    tile = sheets(w[:8, :8], rank=8, ports=8)[0].tiles[0]
    limit = theta_threshold([tile], 0.5)
    crossings = np.count_nonzero(without_small_thetas(tile, limit).u.theta == 0.0)
    assert 0 < crossings < tile.u.count

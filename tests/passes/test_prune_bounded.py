"""Thinning without data: within a Frobenius error, and what it is built on."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import LinAlgError

from onnx2mzi.passes.prune.bounded import Offer, allowances, nearest_thinned
from onnx2mzi.passes.prune.split import sheets, sheets_phases
from onnx2mzi.passes.prune.symmetric import cholesky, inverted, mirrored, solved, without_dust
from onnx2mzi.passes.prune.thin import Thinned
from onnx2mzi.passes.prune.thinning import real_tile, sheet_matrix
from onnx2mzi.passes.prune.weights import truncated_tiles
from onnx2mzi.physics.arrays import Real


def matrix(m: int, n: int, seed: int = 0) -> Real:
    """Singular values that fall, as those of trained layers do."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, n)) * np.geomspace(1, 1e-2, n)


def silent(done: int, total: int) -> None:
    return None


@settings(deadline=None, max_examples=25)
@given(
    m=st.integers(1, 18), n=st.integers(1, 18), limit=st.floats(1e-6, 0.9), seed=st.integers(0, 9)
)
def test_the_bound_is_kept_and_nothing_gets_worse(m: int, n: int, limit: float, seed: int) -> None:
    w = matrix(m, n, seed)
    found = nearest_thinned(w, limit=limit, ports=8, progress=silent)
    assert found is not None
    assert np.linalg.norm(sheet_matrix(found, w.dtype) - w) <= limit * np.linalg.norm(w)
    assert sheets_phases([[found]]) <= sheets_phases([sheets(w, rank=min(m, n), ports=8)])


def test_single_phases_save_what_singular_values_do_not() -> None:
    w = matrix(24, 16)
    found = nearest_thinned(w, limit=3e-2, ports=8, progress=silent)
    _, phases = truncated_tiles(w, allowed=(3e-2 * float(np.linalg.norm(w))) ** 2, ports=8)
    assert found is not None
    assert sheets_phases([[found]]) < 0.9 * phases


def test_progress_runs_to_its_end() -> None:
    told: list[tuple[int, int]] = []
    nearest_thinned(
        matrix(16, 8), limit=1e-2, ports=8, progress=lambda done, total: told.append((done, total))
    )
    assert [done for done, _ in told] == list(range(1, told[0][1] + 1))
    assert {total for _, total in told} == {len(told)}


def test_allowances_add_up_and_follow_one_price() -> None:
    (sheet,) = sheets(matrix(8, 8), rank=8, ports=8)
    tile = real_tile(sheet.tiles[0])
    assert tile is not None
    way = Thinned(tile, tile.theta != 0.0, 0.5)
    offers = [Offer(way, np.array([1.0, 1.0, 9.0])), Offer(way, np.array([3.0, 20.0]))]
    found = allowances(offers, 7.0)
    assert sum(found) == pytest.approx(7.0)
    # 1 + 1 + 3 are affordable out of the 6 left: 2 of 5 parts there, 3 of 5 here.
    assert found == pytest.approx([0.5 + 6 * 2 / 5, 0.5 + 6 * 3 / 5])


@pytest.mark.parametrize("count", [1, 5, 64, 65, 150])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_factors_and_inverses(count: int, dtype: type) -> None:
    rng = np.random.default_rng(count)
    half = rng.standard_normal((count, count))
    full: Any = (half @ half.T + count * np.eye(count)).astype(dtype)
    lower = np.tril(full)
    close = 1e-4 if dtype is np.float32 else 1e-9
    expected = np.linalg.inv(full.astype(float) + 2 * np.eye(count))
    factor = cholesky(lower, 2.0)
    right = rng.standard_normal(count)
    assert np.allclose(solved(factor, right), expected @ right, atol=close)
    assert np.allclose(inverted(factor), expected, atol=close)
    assert np.array_equal(lower, np.tril(full))
    assert np.array_equal(mirrored(lower), full)


def test_what_is_not_positive_definite_is_refused() -> None:
    with pytest.raises(LinAlgError):
        cholesky(np.array([[1.0, 0.0], [2.0, 1.0]]), 0.0)


def test_dust_is_what_single_precision_does_not_see() -> None:
    small = np.array([1.0, 1e-30, -1e-30, -2.0], np.float32)
    assert np.array_equal(without_dust(small, 1.0), np.array([1, 0, 0, -2], np.float32))
    assert without_dust(np.array([1e-30]), 1.0)[0] == 1e-30

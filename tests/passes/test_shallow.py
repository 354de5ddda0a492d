"""Truncated triangles in as few columns as a square mesh has: the same matrices and heaters."""

import numpy as np
import pytest

from onnx2mzi.emulate.transfer import tile_matrix
from onnx2mzi.kernels import BalancedMesh, decompose_columns, decompose_rows, propagate
from onnx2mzi.passes.canonicalize import isometry_tile
from onnx2mzi.passes.compact import compact_tile
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, drawn_tile
from onnx2mzi.passes.shallow import nulled_anew, shallow_columns, shallow_rows
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.physics.shifter import Passive, ShifterState
from onnx2mzi.tech import load_technology

SIZES = [(1, 1), (1, 2), (2, 2), (1, 6), (3, 5), (4, 5), (5, 5), (4, 9), (7, 12), (11, 16)]
TECHNOLOGY = load_technology("cornerstone_si220")
RULES = DrawingRules(TECHNOLOGY.drive, Passive.COMMON, TECHNOLOGY.detection)


def rows(r: int, n: int, seed: int = 0) -> Matrix:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0][:r]


def columns(mesh: BalancedMesh) -> int:
    return int(mesh.column.max(initial=-1)) + 1


@pytest.mark.parametrize(("r", "n"), SIZES)
def test_the_matrix_is_made_with_as_many_mzis_in_n_columns(r: int, n: int) -> None:
    a = rows(r, n)
    found, other = shallow_rows(a), decompose_rows(a)
    turned, likewise = shallow_columns(a.T), decompose_columns(a.T)
    assert np.abs(propagate(found, np.eye(n))[:r] - a).max() < 1e-14
    assert np.abs(propagate(turned, np.eye(n))[:, :r] - a.T).max() < 1e-14
    for mesh, triangle in ((found, other), (turned, likewise)):
        assert mesh.is_real
        assert columns(mesh) <= min(n, columns(triangle))
        assert mesh.count == triangle.count or r >= n - 1


@pytest.mark.parametrize(("row", "column"), [(0, 1), (3, 0), (2, 5)])
def test_zeros_are_no_trouble(row: int, column: int) -> None:
    a = np.random.default_rng(1).normal(size=(4, 9))
    a[row:, column] = 0.0
    a[row, column:] = 0.0
    a[row, 0] = 1.0
    a = np.linalg.qr(a.T)[0].T
    assert np.abs(propagate(shallow_rows(a), np.eye(9))[:4] - a).max() < 1e-14


def tile(m: int, n: int, rank: int) -> BalancedTile:
    s = np.linspace(1.0, 0.3, rank)
    u, vh = rows(rank, m, 3).T, rows(rank, n, 4)
    return isometry_tile(np.arange(m, dtype=np.int32), np.arange(n, dtype=np.int32), u, s, vh)


def test_a_tile_of_low_rank_gets_shorter_and_stays_itself() -> None:
    before = drawn_tile(tile(12, 10, 5), RULES)
    after = compact_tile(before, RULES, TECHNOLOGY)
    np.testing.assert_allclose(tile_matrix(after), tile_matrix(before), atol=1e-13)
    assert (before.v.columns, before.u.columns) == (13, 15)
    assert (after.v.columns, after.u.columns) == (10, 12)
    for one, other in ((before.v, after.v), (before.u, after.u)):
        heaters = [np.count_nonzero(m.theta_state == ShifterState.ACTIVE) for m in (one, other)]
        assert heaters[0] == heaters[1]
    assert compact_tile(after, RULES, TECHNOLOGY) is after


def test_meshes_with_fewer_heaters_stay_as_they_are() -> None:
    whole = tile(12, 10, 5)
    theta = whole.v.theta.copy()
    theta[7] = 0.0
    v = BalancedMesh(10, whole.v.column, whole.v.port, theta, whole.v.phi, whole.v.out)
    made = nulled_anew(BalancedTile(whole.outputs, whole.inputs, whole.u, whole.amplitude, v, 1.0))
    assert made.v is v
    assert columns(made.u) == 12
    square = tile(6, 6, 6)
    assert nulled_anew(square) is square

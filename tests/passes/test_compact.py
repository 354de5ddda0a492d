"""Compaction: the same matrices, fewer devices, never a worse tile."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnx2mzi
from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.emulate.transfer import tile_matrix
from onnx2mzi.ir import MeshTile
from onnx2mzi.kernels import BalancedMesh, build
from onnx2mzi.passes.canonicalize import isometry_tile
from onnx2mzi.passes.compact import (
    SCHEDULES,
    compact_tile,
    earliest,
    scheduled,
    touched,
    twins,
    without_twins,
)
from onnx2mzi.passes.drawing import DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.physics.shifter import Drive, Passive
from onnx2mzi.pipeline.census import layer_drivers, tile_census
from onnx2mzi.tech import Detection, load_technology

TECHNOLOGY = load_technology("cornerstone_si220")
RULES = DrawingRules(Drive.ARM_CHOICE, Passive.COMMON, Detection.IQ)


def mesh(places: list[tuple[int, int, float]], ports: int = 4, phi: float = 0.0) -> BalancedMesh:
    """A mesh of (column, port, theta)."""
    column, port, theta = zip(*places, strict=True)
    return BalancedMesh(
        ports=ports,
        column=np.array(column, np.int32),
        port=np.array(port, np.int32),
        theta=np.array(theta, float),
        phi=np.full(len(places), phi),
        out=np.zeros(ports),
    )


@st.composite
def meshes(draw: st.DrawFn) -> BalancedMesh:
    """Sparse meshes with many crossings, bars and equal angles; some phases."""
    ports = draw(st.integers(2, 6))
    angles = st.sampled_from([0.0, 0.0, 0.0, 0.4, -1.3, 2.5, -3.0, np.pi, -np.pi])
    found: list[tuple[int, int, float, float]] = []
    for column in range(draw(st.integers(1, 8))):
        port = 0
        while port < ports - 1:
            if draw(st.booleans()):
                phase = draw(st.sampled_from([0.0, 0.0, 0.0, 0.7]))
                found.append((column, port, draw(angles), phase))
                port += 1
            port += 1
    values = np.array(found, float).reshape(-1, 4)
    return BalancedMesh(
        ports=ports,
        column=values[:, 0].astype(np.int32),
        port=values[:, 1].astype(np.int32),
        theta=values[:, 2],
        phi=values[:, 3],
        out=np.linspace(0, 1, ports),
    )


@given(meshes())
def test_merging_keeps_the_transfer_and_adds_no_heater(before: BalancedMesh) -> None:
    after = without_twins(before)
    assert np.abs(build(after) - build(before)).max() < 1e-12
    assert np.count_nonzero(after.theta) <= np.count_nonzero(before.theta)
    assert len(after.theta) <= len(before.theta)
    assert (np.abs(after.theta) <= np.pi + 1e-12).all()


@given(meshes())
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_moving_to_other_columns_keeps_the_transfer(
    schedule: Callable[[BalancedMesh], np.ndarray], before: BalancedMesh
) -> None:
    after = scheduled(before, schedule(before))
    assert np.abs(build(after) - build(before)).max() < 1e-12
    if len(before.column):
        assert int(earliest(before).max()) <= int(before.column.max())
        assert sorted(set(after.column.tolist())) == list(range(int(after.column.max()) + 1))


def test_equal_crossings_cancel_and_so_do_those_around_them() -> None:
    nested = mesh([(0, 0, 0.0), (0, 2, 0.0), (1, 1, 0.0), (2, 1, 0.0), (3, 0, 0.0), (3, 2, 0.0)])
    assert len(without_twins(nested).theta) == 0


def test_two_heaters_in_a_row_become_one() -> None:
    near = without_twins(mesh([(0, 0, 0.3), (1, 0, -0.2)], ports=2))
    assert near.theta.tolist() == pytest.approx([0.5, 0.0])
    far = without_twins(mesh([(0, 0, 2.0), (1, 0, -1.0)], ports=2))
    assert np.abs(far.theta).tolist() == pytest.approx([np.pi - 3.0])


def test_a_phase_between_two_keeps_them_apart() -> None:
    first, _ = twins(mesh([(0, 0, 0.3), (1, 0, 0.3)], ports=2, phi=0.1))
    assert len(first) == 0


def test_light_reaches_what_it_must() -> None:
    crossed = mesh([(0, 0, 0.0), (1, 1, 0.5), (1, 3, 0.5), (2, 0, 0.5)], ports=5)
    only_top = np.array([True, False, False, False, False])
    assert touched(crossed, only_top, backwards=False).tolist() == [True, True, False, True]
    assert touched(crossed, only_top, backwards=True).tolist() == [True, True, False, True]


@pytest.mark.parametrize("drive", [Drive.ARM_CHOICE, Drive.PUSH_PULL])
@pytest.mark.parametrize("seed", range(6))
def test_a_tile_keeps_its_matrix_and_is_never_worse(
    make_tile: Callable[..., MeshTile], seed: int, drive: Drive
) -> None:
    tile = make_tile(np.random.default_rng(seed), 5, 6, drive)
    # Fixed phases at random places would stay as they are.
    rules = DrawingRules(drive, Passive.NONE, Detection.IQ)
    tile = drawn_tile(balanced_tile(tile), rules)
    made = compact_tile(tile, rules, TECHNOLOGY)
    assert np.abs(tile_matrix(made) - tile_matrix(tile)).max() < 1e-11 * max(1.0, tile.gain)
    was, now = tile_census(tile, 1.0), tile_census(made, 1.0)
    assert now.phases_active <= was.phases_active
    if now.phases_active == was.phases_active:
        lengths = [
            sum(mesh_plan(part, TECHNOLOGY).width_um.sum() for part in (one.u, one.v))
            for one in (made, tile)
        ]
        assert lengths[0] <= lengths[1] + 1e-3


def test_a_tile_with_fixed_phases_stays(make_tile: Callable[..., MeshTile]) -> None:
    tile = make_tile(np.random.default_rng(0), 5, 6, Drive.ARM_CHOICE)
    assert balanced_tile(tile).fixed_u is not None
    assert compact_tile(tile, RULES, TECHNOLOGY) is tile


@pytest.mark.parametrize(("kept", "changes"), [(6, False), (5, False), (4, True), (3, True)])
def test_full_square_meshes_stay_and_truncated_ones_get_shorter(kept: int, changes: bool) -> None:
    rng = np.random.default_rng(kept)
    left, right = (np.linalg.qr(rng.standard_normal((6, 6)))[0][:, :kept] for _ in range(2))
    guides = np.arange(6, dtype=np.int32)
    whole = isometry_tile(guides, guides, left, np.linspace(1.0, 0.5, kept), right.T)
    tile = drawn_tile(whole, RULES)
    assert (compact_tile(tile, RULES, TECHNOLOGY) is not tile) == changes


def test_square_meshes_of_mostly_crossings_are_laid_out_anew() -> None:
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((10, 10)))[0] for _ in range(2))
    guides = np.arange(10, dtype=np.int32)
    whole = isometry_tile(guides, guides, left, np.linspace(1.0, 0.5, 10), right.T)

    def sparse(mesh: BalancedMesh) -> BalancedMesh:
        return replace(mesh, theta=np.where(mesh.column == 2, mesh.theta, 0.0))

    tile = drawn_tile(replace(whole, u=sparse(whole.u), v=sparse(whole.v)), RULES)
    made = compact_tile(tile, RULES, TECHNOLOGY)
    assert tile_census(made, 1.0).crossings < tile_census(tile, 1.0).crossings / 2
    # Guides may come in another order.
    matrix = tile_matrix(tile)[np.ix_(made.outputs, made.inputs)]
    assert np.abs(tile_matrix(made) - matrix).max() < 1e-12


def test_heaters_that_share_drivers_go_on_sharing(tiny_onnx: bytes) -> None:
    pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    lowering = "tile,svd,decompose,canonicalize,prune{method=cluster levels=3 target=0.2 epochs=2}"
    chips = [
        onnx2mzi.compile(tiny_onnx, onnx2mzi.Pipeline.parse(text), data={"x": x})
        for text in (lowering, lowering + ",compact")
    ]
    before, after = ([layer_drivers(x) for x in chip.program.layers] for chip in chips)
    assert all(now <= then for now, then in zip(after, before, strict=True))

"""Arms changed one by one: the same matrix whichever are turned, and kept only where that pays."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.emulate.transfer import tile_matrix
from onnx2mzi.ir import MeshTile
from onnx2mzi.passes.arm_moves import arms_of, moved, with_turns
from onnx2mzi.passes.canonicalize import isometry_tile
from onnx2mzi.passes.drawing import DrawingRules, drawn_tile
from onnx2mzi.physics.shifter import Drive, Passive, ShifterState
from onnx2mzi.tech import Detection

RULES = DrawingRules(Drive.ARM_CHOICE, Passive.COMMON, Detection.IQ)


def tile(seed: int, m: int = 5, n: int = 5) -> MeshTile:
    rng = np.random.default_rng(seed)
    u, s, vh = np.linalg.svd(
        rng.normal(size=(m, n)) + 1j * rng.normal(size=(m, n)), full_matrices=False
    )
    outputs, inputs = np.arange(m, dtype=np.int32), np.arange(n, dtype=np.int32)
    return drawn_tile(isometry_tile(outputs, inputs, u, s, vh), RULES)


@given(seed=st.integers(0, 10_000), m=st.integers(2, 6), n=st.integers(2, 6))
@settings(max_examples=15, deadline=None)
def test_the_matrix_is_the_same_whatever_is_turned(seed: int, m: int, n: int) -> None:
    before = tile(seed, m, n)
    arms = arms_of(before)
    turned = np.zeros(len(arms.turned), np.uint8)
    turned[arms.free] = np.random.default_rng(seed).integers(0, 2, len(arms.free))
    made = with_turns(before, arms.balanced, turned)
    assert made is not None
    np.testing.assert_allclose(tile_matrix(made), tile_matrix(before), atol=1e-11)
    over = np.sign(made.v.theta_rad) != np.sign(arms.balanced.v.theta)
    assert over.tolist() == turned[: len(made.v)].astype(bool).tolist()


def test_turned_as_it_is_nothing_changes() -> None:
    before = tile(1)
    arms = arms_of(before)
    made = with_turns(before, arms.balanced, arms.turned)
    assert made is not None
    for a, b in ((made.v, before.v), (made.u, before.u)):
        np.testing.assert_allclose(a.theta_rad, b.theta_rad, atol=1e-12)
        np.testing.assert_allclose(a.phi_rad, b.phi_rad, atol=1e-12)


@pytest.mark.parametrize("may", [True, False])
def test_only_better_ones_are_kept_and_only_of_tiles_that_may(may: bool) -> None:
    before = [tile(4), tile(5)]

    def cost(tiles: list[MeshTile]) -> float:
        # The least heat is there from the start; the most is not.
        return -float(sum(abs(m.phi_rad).sum() for one in tiles for m in (one.v, one.u)))

    told: list[tuple[int, int]] = []
    made = moved(
        before,
        [True, may],
        cost,
        moves=60,
        seed=0,
        progress=lambda done, total: told.append((done, total)),
    )
    assert cost(made) < cost(before)
    assert (made[1] is before[1]) is not may
    assert told[-1] == (60, 60)


def test_phases_without_heaters_are_no_way_out() -> None:
    before = tile(6)
    bare = replace(
        before.u,
        phi_state=np.full(len(before.u), ShifterState.REMOVED, np.uint8),
        phi_rad=np.zeros(len(before.u)),
    )
    assert arms_of(replace(before, u=bare)).changed(0) is None

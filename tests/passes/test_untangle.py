"""Meshes of few MZIs laid out anew: the same matrices, fewer crossings."""

from dataclasses import replace
from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.kernels import BalancedMesh, build
from onnx2mzi.passes.drawing import BalancedTile
from onnx2mzi.passes.laying import Lengths, Pair, Policy, laid, tails
from onnx2mzi.passes.untangle import Rotation, meshed, sequenced, untangled

LENGTHS = Lengths(crossing_um=1.0, theta_um=5.0)
# Some ten layouts of tiles as small as these.
QUICK = 1e-3


def sparse(ports: int, columns: int, heaters: int, seed: int) -> BalancedMesh:
    """A full brick wall of crossings, some of them with a theta; signs at the outputs."""
    rng = np.random.default_rng(seed)
    places = [(c, p) for c in range(columns) for p in range(c % 2, ports - 1, 2)]
    theta = np.zeros(len(places))
    lucky = rng.choice(len(places), min(heaters, len(places)), replace=False)
    theta[lucky] = rng.uniform(-3, 3, len(lucky))
    column, port = np.array(places, np.int32).reshape(-1, 2).T
    out = np.where(rng.random(ports) < 0.5, np.pi, 0.0)
    return BalancedMesh(ports=ports, column=column, port=port, theta=theta, phi=0 * theta, out=out)


def matrix(tile: BalancedTile, m: int, n: int) -> np.ndarray:
    r = len(tile.amplitude)
    full = np.zeros((m, n))
    inner = (build(tile.u).real[:, :r] * tile.amplitude) @ build(tile.v).real[:r]
    full[np.ix_(tile.outputs, tile.inputs)] = tile.gain * inner
    return full


def tile(m: int, n: int, r: int, heaters: int, seed: int) -> BalancedTile:
    rng = np.random.default_rng(seed)
    return BalancedTile(
        outputs=rng.permutation(m).astype(np.int32),
        inputs=rng.permutation(n).astype(np.int32),
        u=sparse(m, m, heaters, seed + 1),
        amplitude=rng.uniform(0, 1, r),
        v=sparse(n, n, heaters, seed + 2),
        gain=1.7,
        taps=np.arange(r) % 2 == 0,
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 6), st.integers(0, 99))
def test_the_matrix_stays(m: int, n: int, heaters: int, seed: int) -> None:
    before = tile(m, n, min(m, n, 1 + seed % 5), heaters, seed)
    after = untangled(before, effort=QUICK)
    if after is None:
        theta = np.concatenate([before.u.theta, before.v.theta])
        assert 2 * np.count_nonzero(theta) >= len(theta)
        return
    assert np.abs(matrix(after, m, n) - matrix(before, m, n)).max() < 1e-12
    # Heaters that no channel sees may go with their guides; none comes.
    for name in ("u", "v"):
        new, old = getattr(after, name), getattr(before, name)
        assert set(np.abs(new.theta[new.theta != 0])) <= set(np.abs(old.theta))
    assert dict(zip(after.amplitude, after.taps, strict=True)) == dict(
        zip(before.amplitude, before.taps, strict=True)
    )


def test_two_guides_from_the_ends_of_a_mesh_meet_at_once() -> None:
    """In the full mesh they cross everything between them first."""
    far = sparse(12, 12, 0, 0)
    theta = far.theta.copy()
    theta[len(theta) // 2] = 0.7
    v = BalancedMesh(
        ports=12, column=far.column, port=far.port, theta=theta, phi=far.phi, out=far.out
    )
    before = BalancedTile(
        outputs=np.arange(12, dtype=np.int32),
        inputs=np.arange(12, dtype=np.int32),
        u=sparse(12, 12, 0, 0),
        amplitude=np.ones(12),
        v=v,
        gain=1.0,
    )
    after = untangled(before, effort=QUICK)
    assert after is not None
    assert (after.v.count, after.u.count) == (1, 0)


def test_guides_that_lead_nowhere_are_left_out() -> None:
    before = tile(9, 9, 2, 1, 5)
    after = untangled(before, effort=QUICK)
    assert after is not None
    assert len(after.inputs) == after.v.ports < 9
    assert len(after.outputs) == after.u.ports < 9
    assert np.abs(matrix(after, 9, 9) - matrix(before, 9, 9)).max() < 1e-12


def test_phases_stand_in_the_way() -> None:
    before = tile(6, 6, 6, 2, 1)
    turned = BalancedMesh(
        ports=6,
        column=before.v.column,
        port=before.v.port,
        theta=before.v.theta,
        phi=np.full(before.v.count, 0.1),
        out=before.v.out,
    )
    assert untangled(replace(before, v=turned), effort=QUICK) is None


def test_every_order_of_guides_gives_the_same_rotations() -> None:
    mesh = sparse(4, 4, 3, 3)
    found = sequenced(mesh)
    pairs = [Pair(x.a, x.b) for x in found.rotations]
    wanted = build(mesh).real
    for order in permutations(range(4)):
        made = laid(pairs, order, LENGTHS, Policy(), 1e9)
        assert made is not None
        back = [found.end[k] for k in made.order]
        again = meshed(made.columns, found.rotations, order, mesh.out[back])
        assert np.abs(build(again).real - wanted[np.ix_(back, order)]).max() < 1e-12
        assert again.columns == len(made.columns)
        thetas = sum(any(k >= 0 for _, k in column) for column in made.columns)
        assert made.length_um == 5 * thetas + len(made.columns) - thetas
        assert thetas >= max(tails(pairs))
        assert laid(pairs, order, LENGTHS, Policy(), made.length_um - 0.5) is None


def test_a_rotation_below_turns_its_sign() -> None:
    rotation = Rotation(0, 1, 0.5)
    for order, theta in (([0, 1], 0.5), ([1, 0], -0.5)):
        assert meshed([((0, 0),)], [rotation], order, [0.0, 0.0]).theta.tolist() == [theta]


def test_rotations_share_columns_of_thetas() -> None:
    """Of two chains the short one waits for the other: as many columns as the long one has."""
    pairs = [Pair(0, 1), Pair(1, 2), Pair(0, 1), Pair(5, 6), Pair(6, 7)]
    made = laid(pairs, range(8), LENGTHS, Policy(), 1e9)
    assert made is not None
    assert sum(any(k >= 0 for _, k in column) for column in made.columns) == 3


def test_what_is_merged_is_one_mesh() -> None:
    """Without attenuators rotations of U are V's; a dark channel is none."""
    before = replace(tile(8, 8, 8, 2, 4), amplitude=np.ones(8), taps=np.zeros(8, np.uint8))
    plain, merged = untangled(before, effort=QUICK), untangled(before, effort=QUICK, merge=True)
    assert plain is not None and merged is not None
    assert plain.u.count and not merged.u.count
    assert np.abs(matrix(merged, 8, 8) - matrix(before, 8, 8)).max() < 1e-12
    dark = replace(before, amplitude=np.array([1.0, 0.5, 0, 0.7, 0.7, 0.7, 0.7, 0.7]))
    found = untangled(dark, effort=QUICK, merge=True)
    assert found is not None
    assert len(found.amplitude) == 7
    assert np.abs(matrix(found, 8, 8) - matrix(dark, 8, 8)).max() < 1e-12

"""Decomposition against the matrix itself, at the edges and on random unitaries."""

import numpy as np
import numpy.typing as npt
import pytest

from onnx2mzi.kernels import (
    KernelError,
    build,
    clements_layout,
    columns_layout,
    decompose,
    decompose_columns,
    decompose_many,
    decompose_rows,
    propagate,
    reck_layout,
    rows_layout,
    unitary_distance,
)
from onnx2mzi.kernels.decompose import Scheme

F64 = npt.NDArray[np.float64]
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33, 40)
SCHEMES: tuple[Scheme, ...] = ("clements", "reck")


def haar(n: int, *, real: bool = False, seed: int = 0) -> npt.NDArray[np.complex128]:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, n))
    q, r = np.linalg.qr(a if real else a + 1j * rng.standard_normal((n, n)))
    unitary: npt.NDArray[np.complex128] = q * (np.diagonal(r) / abs(np.diagonal(r)))
    return unitary


def edges(n: int = 8) -> dict[str, npt.NDArray[np.complex128]]:
    """Matrices at which decompositions break."""
    rng = np.random.default_rng(5)
    one = np.eye(n, dtype=np.complex128)
    u, v = haar(n, seed=3), rng.standard_normal(n)
    blocks = one.copy()
    blocks[:3, :3], blocks[3:, 3:] = haar(3), haar(n - 3)
    cases = {
        "identity": one,
        "minus": -one,
        "reversal": one[::-1],
        "permutation": one[rng.permutation(n)],
        "signed": one[rng.permutation(n)] * rng.choice([-1.0, 1.0], n),
        "phases": np.diag(np.exp(1j * rng.uniform(-3, 3, n))),
        "blocks": blocks,
        "dft": np.exp(-2j * np.pi * np.outer(range(n), range(n)) / n) / np.sqrt(n),
        "householder": one - 2.0 * np.outer(v, v) / (v @ v),
        "orthogonal": haar(n, real=True).astype(np.complex128),
        "repeated": u @ np.diag([1] * (n // 2) + [-1] * (n - n // 2)) @ u.conj().T,
    }
    noise = rng.standard_normal((n, n))
    for tiny in (3e-310, 1e-300, 1e-170, 1e-160, 1e-9, 1e-8):
        for name in ("identity", "reversal", "blocks", "permutation"):
            m = np.where(cases[name] == 0, tiny * np.sign(noise), cases[name])
            cases[f"{name}+{tiny:g}"] = m if tiny < 1e-100 else np.linalg.qr(m)[0]
    cases["skew"] = np.where(one == 0, 1e-170j * noise, one)
    return {name: np.ascontiguousarray(m) for name, m in cases.items()}


def check_phases(u: npt.NDArray[np.generic], theta: F64, phi: F64, out: F64) -> None:
    if np.isrealobj(u):
        assert not phi.any()
        assert np.isin(out, (0.0, np.pi)).all()
        assert ((theta > -np.pi) & (theta <= np.pi)).all()
    else:
        assert ((theta >= 0.0) & (theta <= np.pi)).all()
        assert ((phi > -np.pi) & (phi <= np.pi)).all()
        assert ((out > -np.pi) & (out <= np.pi)).all()


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("n", SIZES)
def test_a_unitary_comes_back(engine: str, n: int, scheme: Scheme, real: bool) -> None:
    u = haar(n, real=real, seed=n)
    mesh = decompose(u, scheme)
    back = build(mesh)
    assert np.isrealobj(back) == real
    assert abs(back - u).max() <= 4e-15
    check_phases(u, mesh.theta, mesh.phi, mesh.out)
    column, port = clements_layout(n) if scheme == "clements" else reck_layout(n)
    assert np.array_equal(mesh.column, column)
    assert np.array_equal(mesh.port, port)


@pytest.mark.parametrize("n", [100, 200])
def test_large_unitaries_come_back(engine: str, n: int) -> None:
    if engine == "numpy":
        n //= 2
    for real in (False, True):
        u = haar(n, real=real)
        for mesh in (decompose(u), decompose(u, "reck"), decompose_rows(u[: n // 3])):
            rows = len(u) if len(mesh.port) == n * (n - 1) // 2 else n // 3
            assert abs(build(mesh)[:rows] - u[:rows]).max() <= 1e-14


@pytest.mark.parametrize("name", sorted(edges()))
@pytest.mark.parametrize("scheme", SCHEMES)
def test_edges(engine: str, name: str, scheme: Scheme) -> None:
    u = edges()[name]
    for m in [u] if u.imag.any() else [u, np.ascontiguousarray(u.real)]:
        mesh = decompose(m, scheme)
        assert abs(build(mesh) - m).max() <= 2e-15
        check_phases(m, mesh.theta, mesh.phi, mesh.out)
    for k in (1, 3, 6, 7):
        mesh = decompose_rows(u[:k])
        assert abs(build(mesh)[:k] - u[:k]).max() <= 2e-15
        mesh = decompose_columns(u[:, :k])
        assert abs(build(mesh)[:, :k] - u[:, :k]).max() <= 2e-15


def test_permutations_need_no_phi(engine: str) -> None:
    u = edges()["permutation"]
    for scheme in SCHEMES:
        mesh = decompose(u, scheme)
        assert not mesh.phi.any()
        assert np.isin(mesh.theta, (0.0, np.pi)).all()


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(("r", "n"), [(1, 1), (1, 2), (1, 9), (2, 4), (5, 17), (9, 30), (20, 21)])
def test_isometries(engine: str, r: int, n: int, real: bool) -> None:
    a = haar(n, real=real, seed=r)[:r]
    mesh = decompose_rows(a)
    assert abs(build(mesh)[:r] - a).max() <= 4e-15
    assert np.array_equal(np.stack(rows_layout(n, r)), np.stack((mesh.column, mesh.port)))
    check_phases(a, mesh.theta, mesh.phi, mesh.out)
    b = np.ascontiguousarray(a.T)
    mirror = decompose_columns(b)
    assert abs(build(mirror)[:, :r] - b).max() <= 4e-15
    assert np.array_equal(np.stack(columns_layout(n, r)), np.stack((mirror.column, mirror.port)))
    check_phases(a, mirror.theta, mirror.phi, mirror.out)
    if r < n - 1:
        assert not mesh.out[r:].any()
        for m in (mesh, mirror):
            assert m.count == r * n - r * (r + 1) // 2
            assert m.columns == n + r - 2


def test_small_entries_of_a_row_are_crossed(engine: str) -> None:
    a = np.array([[0.8, 1e-4, 1e-4, 0.6]])
    a /= np.linalg.norm(a)
    mesh = decompose_rows(a)
    assert abs(mesh.theta[:2]).max() < 1e-3  # ports 2 and 1 hold the small entries
    assert abs(mesh.theta[2]) > 1.0
    mirror = decompose_columns(a.T.copy())
    assert abs(mirror.theta[1:]).max() < 1e-3


def test_engines_agree_on_the_phases(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    u = haar(11)
    here = [decompose(u), decompose(u, "reck"), decompose_rows(u[:4]), decompose_columns(u[:, :4])]
    monkeypatch.setenv("ONNX2MZI_KERNELS", "numpy")
    there = [decompose(u), decompose(u, "reck"), decompose_rows(u[:4]), decompose_columns(u[:, :4])]
    for a, b in zip(here, there, strict=True):
        for name in ("theta", "phi", "out"):
            turn = np.exp(1j * (getattr(a, name) - getattr(b, name)))
            assert abs(turn - 1.0).max() <= 1e-12


@pytest.mark.parametrize("scheme", SCHEMES)
def test_many_equals_one_by_one(engine: str, scheme: Scheme) -> None:
    stack = np.stack([haar(6, seed=s) for s in range(5)])
    stack[3] = np.round(stack[3], 8)
    batch = decompose_many(stack, scheme)
    assert len(batch) == 5
    for u, mesh in zip(stack, batch, strict=True):
        one = decompose(u, scheme)
        assert np.array_equal(one.theta, mesh.theta)
        assert np.array_equal(one.out, mesh.out)
        assert abs(build(mesh) - u).max() <= 1e-7


@pytest.mark.parametrize("scheme", SCHEMES)
def test_float32_is_projected(engine: str, scheme: Scheme) -> None:
    u = haar(12)
    rough = u.astype(np.complex64)
    assert 1e-9 < unitary_distance(rough) < 1e-5
    back = build(decompose(rough, scheme))
    assert unitary_distance(back) < 1e-14
    assert abs(back - u).max() < 1e-6
    rows = build(decompose_rows(rough[:4]))[:4]
    assert abs(rows - u[:4]).max() < 1e-6
    columns = build(decompose_columns(rough[:, :4]))[:, :4]
    assert abs(columns - u[:, :4]).max() < 1e-6


def bad(name: str) -> npt.NDArray[np.complex128]:
    u = haar(8)
    if name == "nan":
        u[2, 3] = np.nan
    elif name == "infinity":
        u[2, 3] = np.inf
    elif name == "zero":
        u[:] = 0.0
    elif name == "scaled":
        u *= 1.01
    elif name == "huge":
        u *= 1e200
    elif name == "random":
        u[:] = np.random.default_rng(0).standard_normal((8, 8))
    elif name == "zero row":
        u[4] = 0.0
    return u


@pytest.mark.parametrize(
    "name", ["nan", "infinity", "zero", "scaled", "huge", "random", "zero row"]
)
def test_refusals(engine: str, name: str) -> None:
    u = bad(name)
    for scheme in SCHEMES:
        with pytest.raises(KernelError):
            decompose(u, scheme)
    with pytest.raises(KernelError):
        decompose_many(np.stack((haar(8), u)))
    with pytest.raises(KernelError):
        decompose_rows(u[:5])
    with pytest.raises(KernelError):
        decompose_columns(u[:, :5])


def test_shapes_are_refused() -> None:
    for wrong in (np.ones(4), np.ones((2, 3)), np.ones((0, 0)), np.array([["a"]])):
        with pytest.raises(KernelError):
            decompose(wrong)
    with pytest.raises(KernelError):
        decompose_rows(np.eye(4)[:, :2])
    with pytest.raises(KernelError, match="scheme"):
        decompose(np.eye(2), "other")  # type: ignore[arg-type]


def test_input_is_left_alone(engine: str) -> None:
    u = haar(10)
    for v in (u, np.asfortranarray(u), u[::-1, ::-1], u.T):
        before = v.copy()
        v.flags.writeable = False
        mesh = decompose(v)
        assert abs(build(mesh) - before).max() <= 4e-15
        rows = decompose_rows(v[:3])
        assert abs(build(rows)[:3] - before[:3]).max() <= 4e-15
        assert np.array_equal(v, before)
    assert abs(build(decompose(np.eye(3, dtype=np.int64))) - np.eye(3)).max() <= 1e-15


def test_the_mesh_is_the_matrix(engine: str) -> None:
    u = haar(9)
    x = np.random.default_rng(1).standard_normal((9, 3))
    assert abs(propagate(decompose(u), x) - u @ x).max() <= 1e-14

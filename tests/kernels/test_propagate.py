"""Light, gradients and imperfect copies of the compiled kernels against numpy and against laws."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.kernels import (
    BalancedMesh,
    ErrorModel,
    KernelError,
    backward_taps,
    build,
    cells_vjp,
    clements_layout,
    columns_layout,
    forward_taps,
    imperfect_cells,
    propagate,
    propagate_cells,
    propagate_imperfect,
    reck_layout,
    reference,
    rows_layout,
    sample_errors,
    vjp,
)

C128 = npt.NDArray[np.complex128]


def mesh_of(
    ports: int, column: list[int], port: list[int], theta: list[float], phi: list[float]
) -> BalancedMesh:
    place = np.array(column, dtype=np.int32), np.array(port, dtype=np.int32)
    return BalancedMesh(ports, *place, np.array(theta), np.array(phi), np.zeros(ports))


LAYOUTS = ("clements", "reck", "rows", "columns")


def some_mesh(
    n: int, layout: str = "clements", *, keep: float = 1.0, real: bool = False, seed: int = 0
) -> BalancedMesh:
    rng = np.random.default_rng(seed)
    if layout in ("rows", "columns"):
        make = rows_layout if layout == "rows" else columns_layout
        column, port = make(n, max(1, n // 3))
    else:
        column, port = clements_layout(n) if layout == "clements" else reck_layout(n)
    if layout == "shifted":  # no common parity: MZIs wherever there is room
        port = port + (column // 3) % 2
        column, port = column[port < n - 1], port[port < n - 1]
    kept = rng.uniform(size=len(column)) < keep
    column, port = column[kept], port[kept]
    count = len(column)
    return BalancedMesh(
        n,
        column,
        port,
        rng.uniform(-4, 4, count),
        np.zeros(count) if real else rng.uniform(-4, 4, count),
        rng.choice([0.0, np.pi], n) if real else rng.uniform(-4, 4, n),
    )


def fields(n: int, batch: int, seed: int = 1) -> C128:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, batch)) + 1j * rng.standard_normal((n, batch))


def oracle(mesh: BalancedMesh, x: npt.NDArray[np.generic], real: bool = False) -> C128:
    cells, factors = reference.cells(mesh, real), reference.output_factors(mesh, real)
    result: C128 = reference.propagate_cells(mesh, cells, factors, x)
    return result


@pytest.mark.parametrize("keep", [1.0, 0.9, 0.3, 0.05])
@pytest.mark.parametrize("layout", [*LAYOUTS, "shifted"])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 21])
def test_propagate_is_the_oracle(engine: str, n: int, layout: str, keep: float) -> None:
    for batch in (1, 3, 8, 13, 16, 40):
        mesh, x = some_mesh(n, layout, keep=keep, seed=n), fields(n, batch)
        assert abs(propagate(mesh, x) - oracle(mesh, x)).max() <= 1e-14
        real = some_mesh(n, layout, keep=keep, real=True, seed=n)
        y = propagate(real, x.real)
        assert np.isrealobj(y)
        assert abs(y - oracle(real, x.real, True)).max() <= 1e-14
        cells = fields(mesh.count * 4, 1).reshape(-1, 2, 2) / 2
        d = reference.output_factors(mesh, False)
        expected = reference.propagate_cells(mesh, cells, d, x)
        error = abs(propagate_cells(mesh, cells, x) - expected).max()
        assert error <= 1e-13 * max(1.0, abs(expected).max())
    u = build(mesh)
    assert abs(u - oracle(mesh, np.eye(n))).max() <= 4e-15
    assert abs(u @ u.conj().T - np.eye(n)).max() <= 4e-15


def test_deep_meshes_do_not_overflow(engine: str) -> None:
    rng = np.random.default_rng(0)
    n, depth = 6, 4000
    column, port = clements_layout(n)
    column = np.concatenate([column + n * i for i in range(depth // n)])
    port = np.tile(port, depth // n)
    order = np.lexsort((port, column))
    for angle in (1e-9, np.pi - 1e-9, np.pi - 0.21, np.pi / 2, np.pi, 0.0):
        theta = angle * rng.choice([-1.0, 1.0], len(port))
        phi = rng.uniform(-3, 3, len(port))
        mesh = BalancedMesh(n, column[order], port[order], theta, phi, np.zeros(n))
        x = fields(n, 5)
        assert abs(propagate(mesh, x) - oracle(mesh, x)).max() <= 1e-12
        assert abs(build(mesh) - oracle(mesh, np.eye(n))).max() <= 1e-12
        here, there = vjp(mesh, x, x[::-1]), reference.vjp(mesh, oracle(mesh, x), x[::-1].copy())
        for a, b in zip(here, there, strict=True):
            assert abs(a - b).max() <= 1e-10


def test_a_bar_is_not_a_cross(engine: str) -> None:
    x = np.array([[1.0], [2.0]])
    for theta, expected in ((0.0, [2.0, 1.0]), (np.pi, [1.0, -2.0])):
        mesh = mesh_of(2, [0], [0], [theta], [0.0])
        assert np.allclose(propagate(mesh, x)[:, 0], expected, atol=1e-15)
    turned = mesh_of(2, [0], [0], [np.pi], [np.pi / 2])
    turned = dataclasses.replace(turned, out=np.array([0.0, np.pi]))
    assert np.allclose(propagate(turned, x)[:, 0], [1j, 2.0], atol=1e-15)


@pytest.mark.parametrize("layout", [*LAYOUTS, "shifted"])
@pytest.mark.parametrize("batch", [1, 8, 11, 16, 90])
def test_vjp_is_the_oracle(engine: str, layout: str, batch: int) -> None:
    for keep in (1.0, 0.6):
        mesh = some_mesh(9, layout, keep=keep)
        x, g = fields(9, batch), fields(9, batch, seed=2)
        expected = reference.vjp(mesh, oracle(mesh, x), g)
        for got in (vjp(mesh, x, g), vjp(mesh, None, g, y=propagate(mesh, x))):
            for a, b in zip(got, expected, strict=True):
                assert np.allclose(a, b, rtol=0, atol=1e-13 * np.sqrt(batch) * 9)


def test_vjp_is_the_derivative(engine: str) -> None:
    mesh, x, g = some_mesh(5), fields(5, 3), fields(5, 3, seed=2)

    def loss(m: BalancedMesh, v: C128) -> float:
        return float(np.sum(g.conj() * propagate(m, v)).real)

    grads, step = vjp(mesh, x, g), 1e-6
    for name in ("theta", "phi", "out"):
        phases, got = getattr(mesh, name), getattr(grads, name)
        for i in range(len(phases)):
            d = np.zeros(len(phases))
            d[i] = step
            up = dataclasses.replace(mesh, **{name: phases + d})
            down = dataclasses.replace(mesh, **{name: phases - d})
            assert abs((loss(up, x) - loss(down, x)) / (2 * step) - got[i]) < 1e-8
    for unit in (1.0, 1j):
        d = np.zeros((5, 3), dtype=np.complex128)
        d[2, 1] = step * unit
        change = (loss(mesh, x + d) - loss(mesh, x - d)) / (2 * step)
        assert abs(change - (grads.x[2, 1] * np.conj(unit)).real) < 1e-8


@pytest.mark.parametrize("batch", [1, 8, 11])
def test_taps(engine: str, batch: int) -> None:
    for layout in ("clements", "shifted"):
        mesh, x, w = some_mesh(7, layout, keep=0.8), fields(7, batch), fields(7, batch, seed=2)
        forward, backward = forward_taps(mesh, x), backward_taps(mesh, w)
        assert abs(forward - reference.forward_taps(mesh, x)).max() <= 1e-14
        assert abs(backward - reference.backward_taps(mesh, w)).max() <= 1e-14
        y = w.T @ propagate(mesh, x)
        through = np.einsum("kpj,kpq,kqb->kjb", backward, reference.cells(mesh, False), forward)
        k = len(through) // 2
        d = 1e-6
        theta = mesh.theta.copy()
        theta[k] += d
        moved = w.T @ propagate(dataclasses.replace(mesh, theta=theta), x)
        s, c, e = np.sin(mesh.theta[k] / 2), np.cos(mesh.theta[k] / 2), np.exp(1j * mesh.phi[k])
        slope = np.array([[e * c, -s], [-e * s, -c]]) / 2
        assert abs((moved - y) / d - backward[k].T @ slope @ forward[k]).max() < 1e-4


ALL = ErrorModel(theta_rad=0.1, phi_rad=0.2, coupler_rad=0.05, loss_db=0.3, loss_sigma_db=0.2)


@pytest.mark.parametrize("layout", [*LAYOUTS, "shifted"])
def test_imperfect_copies_are_their_cells(engine: str, layout: str) -> None:
    mesh, x = some_mesh(9, layout, keep=0.8), fields(9, 5)
    y = propagate_imperfect(mesh, x, ALL, seed=7, count=3, first=2)
    cells = imperfect_cells(mesh, sample_errors(mesh, ALL, seed=7, count=3, first=2))
    for i in range(3):
        assert abs(y[i] - propagate_cells(mesh, cells[i], x)).max() <= 1e-13
    late = propagate_imperfect(mesh, x, ALL, seed=7, count=1, first=4)
    assert np.array_equal(late[0], y[2])
    assert abs(y[0] - y[1]).max() > 1e-3


def test_no_errors_no_change(engine: str) -> None:
    mesh, x = some_mesh(9), fields(9, 5)
    y = propagate_imperfect(mesh, x, ErrorModel(), seed=1, count=1)
    assert abs(y[0] - propagate(mesh, x)).max() <= 1e-14
    perfect = imperfect_cells(mesh, np.zeros((mesh.count, 5)))
    assert abs(perfect - reference.cells(mesh, False)).max() <= 1e-15


def test_errors_follow_the_mzi_not_its_index() -> None:
    mesh = some_mesh(8)
    less = some_mesh(8, keep=0.5)
    all_errors = sample_errors(mesh, ALL, seed=3, count=2)
    fewer = sample_errors(less, ALL, seed=3, count=2)
    place = {(c, p): k for k, (c, p) in enumerate(zip(mesh.column, mesh.port, strict=True))}
    kept = [place[c, p] for c, p in zip(less.column, less.port, strict=True)]
    assert np.array_equal(fewer, all_errors[:, kept])


def test_errors_are_independent_normals() -> None:
    mesh = some_mesh(30)
    model = ErrorModel(theta_rad=1.0, phi_rad=2.0, coupler_rad=3.0, loss_db=50, loss_sigma_db=4.0)
    z = sample_errors(mesh, model, seed=11, count=200).reshape(-1, 5)
    z = (z - [0, 0, 0, 0, 50]) / [1, 2, 3, 3, 4]
    assert abs(z.mean(axis=0)).max() < 0.02
    assert abs(np.cov(z.T) - np.eye(5)).max() < 0.02
    assert abs((z**4).mean(axis=0) - 3.0).max() < 0.15
    assert abs(np.corrcoef(z[:-1, 0], z[1:, 0])[0, 1]) < 0.02


def test_loss_takes_light_away(engine: str) -> None:
    mesh = some_mesh(6)
    y = propagate_imperfect(mesh, fields(6, 4), ErrorModel(loss_db=0.5), seed=1, count=1)[0]
    full = clements_layout(6)
    through = np.bincount(np.r_[full[1], full[1] + 1], minlength=6)
    assert (abs(y) ** 2).sum() < (abs(fields(6, 4)) ** 2).sum() * 10 ** (-0.05 * through.min())


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 12),
    seed=st.integers(0, 2**32),
    keep=st.floats(0, 1),
    batch=st.integers(1, 20),
)
def test_energy_is_kept(n: int, seed: int, keep: float, batch: int) -> None:
    mesh, x = some_mesh(n, keep=keep, seed=seed), fields(n, batch, seed=seed)
    energy = (abs(x) ** 2).sum(axis=0)
    assert np.allclose((abs(propagate(mesh, x)) ** 2).sum(axis=0), energy, rtol=1e-12)


def test_refusals() -> None:
    mesh = some_mesh(4)
    for x in (np.ones(4), np.ones((3, 2)), np.full((4, 1), np.nan)):
        with pytest.raises(KernelError):
            propagate(mesh, x)
        with pytest.raises(KernelError):
            vjp(mesh, x, x)
        with pytest.raises(KernelError):
            forward_taps(mesh, x)
    with pytest.raises(KernelError):
        vjp(mesh, None, np.ones((4, 2)))
    with pytest.raises(KernelError):
        vjp(mesh, np.ones((4, 1)), np.ones((4, 2)))
    with pytest.raises(KernelError):
        propagate_cells(mesh, np.ones((1, 2, 2)), np.ones((4, 1)))
    with pytest.raises(KernelError):
        ErrorModel(theta_rad=-1.0)
    with pytest.raises(KernelError):
        propagate_imperfect(mesh, np.ones((4, 1)), ALL, seed=-1, count=1)
    for column, port in (([0, 0], [0, 1]), ([1, 0], [0, 0]), ([0], [3]), ([-1], [0])):
        zeros = [0.0] * len(port)
        with pytest.raises(KernelError):
            mesh_of(4, column, port, zeros, zeros)


def test_meshes_are_read_only() -> None:
    mesh = some_mesh(4)
    for a in (mesh.column, mesh.port, mesh.theta, mesh.phi, mesh.out):
        assert not a.flags.writeable


@pytest.mark.parametrize(("ports", "batch"), [(1, 3), (5, 17), (8, 1), (9, 16)])
def test_gradients_of_any_cells_are_those_of_differences(
    engine: str, ports: int, batch: int
) -> None:
    rng = np.random.default_rng(ports)

    def some(*shape: int) -> C128:
        return np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))

    mesh = some_mesh(ports, seed=3)
    cells, x, g = 0.5 * some(mesh.count, 2, 2), some(ports, batch), some(ports, batch)
    grad, grad_x = cells_vjp(mesh, cells, x, g)

    def loss(c: C128, v: C128) -> float:
        return float((g.conj() * propagate_cells(mesh, c, v)).real.sum())

    by_cells, by_x = some(mesh.count, 2, 2), some(ports, batch)
    step = 1e-6
    for moved, along, slope in (
        ((cells + step * by_cells, x), (cells - step * by_cells, x), (grad.conj() * by_cells)),
        ((cells, x + step * by_x), (cells, x - step * by_x), (grad_x.conj() * by_x)),
    ):
        difference = (loss(*moved) - loss(*along)) / (2 * step)
        assert difference == pytest.approx(float(slope.real.sum()), rel=1e-6, abs=1e-6)


def test_gradients_of_cells_want_shapes_that_fit() -> None:
    mesh = some_mesh(4)
    fields, cells = np.zeros((4, 2), complex), np.zeros((mesh.count, 2, 2), complex)
    with pytest.raises(KernelError, match="cells of shape"):
        cells_vjp(mesh, cells[1:], fields, fields)
    with pytest.raises(KernelError, match="grad_y of shape"):
        cells_vjp(mesh, cells, fields, fields[:, :1])

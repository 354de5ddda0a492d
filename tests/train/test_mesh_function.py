"""A mesh as a function of torch: values, gradients, both kinds, both ways for batches."""

from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from onnx2mzi.kernels import build, clements_layout, rows_layout  # noqa: E402
from onnx2mzi.train.layout import Layout  # noqa: E402
from onnx2mzi.train.mesh_function import (  # noqa: E402
    mesh_columns,
    mesh_fields,
    mesh_rows,
    packed,
    torch_mesh,
    unpacked,
)


def layout(ports: int, channels: int | None = None) -> Layout:
    found = clements_layout(ports) if channels is None else rows_layout(ports, channels)
    return Layout(ports, *found)


def phases(count: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.uniform(-3, 3, count), dtype=torch.float64, requires_grad=True)


def fields(ports: int, batch: int, dtype: Any) -> Any:
    generator = torch.Generator().manual_seed(ports)
    return torch.randn(ports, batch, dtype=dtype, generator=generator, requires_grad=True)


@pytest.mark.parametrize("batch", [3, 40])
@pytest.mark.parametrize("real", [True, False])
def test_gradients_are_those_of_finite_differences(real: bool, batch: int) -> None:
    mesh = layout(5, None if not real else 2)
    theta, phi, out = phases(mesh.count, 0), phases(mesh.count, 1), phases(5, 2)
    x = fields(5, batch, torch.float64 if real else torch.complex128)

    def run(theta: Any, phi: Any, out: Any, x: Any) -> Any:
        if real:
            return mesh_fields(mesh, theta, None, None, x)
        return mesh_fields(mesh, theta, phi, out, x)

    assert torch.autograd.gradcheck(run, (theta, phi, out, x))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("parts", ["none", "phi", "out", "both"])
@pytest.mark.parametrize("batch", [2, 70])
def test_values_and_gradients_are_those_of_plain_torch(dtype: str, parts: str, batch: int) -> None:
    mesh = layout(7)
    theta, phi, out = phases(mesh.count, 3), phases(mesh.count, 4), phases(7, 5)
    given = (phi if parts in ("phi", "both") else None, out if parts in ("out", "both") else None)
    found = []
    for run in (mesh_fields, torch_mesh):
        x = fields(7, batch, getattr(torch, dtype))
        y = run(mesh, theta, *given, x)
        loss = (y.abs() ** 4).sum() + y.real.sum()
        wanted = [t for t in (theta, *given, x) if t is not None]
        found.append((y, *torch.autograd.grad(loss, wanted)))
    close = 1e-3 if dtype in ("float32", "complex64") else 1e-10
    for ours, plain in zip(*found, strict=True):
        assert ours.dtype == plain.dtype
        scale = float(plain.detach().abs().max())
        assert float((ours - plain).detach().abs().max()) < close * scale


def test_columns_and_rows_are_those_of_the_matrix() -> None:
    mesh = layout(9, 4)
    theta, phi, out = phases(mesh.count, 6), phases(mesh.count, 7), phases(9, 8)
    a = [t.detach().numpy().copy() for t in (theta, phi, out)]
    for p, o in ((None, None), (phi, out)):
        matrix = build(mesh.mesh(a[0], None if p is None else a[1], None if o is None else a[2]))
        columns = mesh_columns(mesh, theta, p, o, 3).detach().numpy()
        rows = mesh_rows(mesh, theta, p, o, 4).detach().numpy()
        np.testing.assert_allclose(columns, matrix[:, :3], atol=1e-13)
        np.testing.assert_allclose(rows, matrix[:4], atol=1e-13)


def test_gradients_of_rows_are_those_of_plain_torch() -> None:
    mesh = layout(8, 3)
    theta = phases(mesh.count, 9)
    weight = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((mesh_rows(mesh, theta, None, None, 3) * weight).sum(), theta)[0]
    whole = torch_mesh(mesh, theta, None, None, torch.eye(8, dtype=torch.float64))
    plain = torch.autograd.grad((whole[:3] * weight).sum(), theta)[0]
    torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_packing_is_undone_by_unpacking(batch: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, batch))
    assert packed(x).shape == (3, (batch + 1) // 2)
    assert np.array_equal(unpacked(packed(x), batch), x)


def test_an_optimizer_may_write_into_the_phases_between_forward_and_backward() -> None:
    mesh = layout(4)
    theta = phases(mesh.count, 10)
    y = mesh_fields(mesh, theta, None, None, torch.eye(4, dtype=torch.float64))
    expected = torch.autograd.grad(y.sum(), theta, retain_graph=True)[0]
    theta.data.add_(1.0)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), theta)[0], expected)

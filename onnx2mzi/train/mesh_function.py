"""A mesh as a differentiable function of its phases, around the project's own kernels.

Forward and reversible backward: nothing is stored but the outputs, the inputs of all MZIs are
recomputed on the way back. Batches of more than `WIDE` times the ports go through the matrix of
the mesh, whose gradient is a product (`kernels.gradient`). A real mesh (no phi) carries two real
columns in one complex one, which its gradients allow. Tensors that are not on the CPU go through
`torch_mesh`, plain torch operations column by column.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from onnx2mzi.kernels import build, propagate, vjp
from onnx2mzi.kernels.gradient import WIDE
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.train.layout import Layout

Array = npt.NDArray[Any]


def mesh_fields(
    layout: Layout, theta: Tensor, phi: Tensor | None, out: Tensor | None, x: Tensor
) -> Tensor:
    """y = diag(e^{i out}) C_{L-1} ... C_0 x, shape (ports, B), differentiable in all arguments.

    theta and phi (K,), out (ports,), rad; x (ports, B). Without phi and out the mesh is real,
    and so is y for a real x; otherwise y is complex. Conventions: `BalancedMesh`. The result has
    the precision of x; the kernels work in double precision whatever that is.
    """
    if phi is None and out is None and x.is_complex():
        real = torch.cat([x.real, x.imag], dim=1)
        re, im = mesh_fields(layout, theta, None, None, real).chunk(2, dim=1)
        return torch.complex(re, im)
    if x.device.type != "cpu":
        return torch_mesh(layout, theta, phi, out, x)
    y: Tensor = _Mesh.apply(theta, phi, out, x, layout)  # type: ignore[no-untyped-call]
    return y


def mesh_columns(
    layout: Layout, theta: Tensor, phi: Tensor | None, out: Tensor | None, count: int
) -> Tensor:
    """The first `count` columns of the matrix of the mesh, (ports, count), double precision."""
    return mesh_fields(layout, theta, phi, out, _ports(layout, count, theta))


def mesh_rows(
    layout: Layout, theta: Tensor, phi: Tensor | None, out: Tensor | None, count: int
) -> Tensor:
    """The first `count` rows of the matrix of the mesh, (count, ports), double precision.

    Those of a real mesh are the columns of the mirrored mesh, at the cost of `count` columns.
    """
    if phi is None and out is None:
        mirror, order = layout.mirror
        turned = theta[torch.from_numpy(order).to(theta.device)]
        return mesh_columns(mirror, turned, None, None, count).T
    return mesh_columns(layout, theta, phi, out, layout.ports)[:count]


def _ports(layout: Layout, count: int, like: Tensor) -> Tensor:
    return torch.eye(layout.ports, count, dtype=torch.float64, device=like.device)


class _Mesh(torch.autograd.Function):
    """See `mesh_fields`; x is real where phi and out are None."""

    @staticmethod
    def forward(
        ctx: Any,
        theta: Tensor,
        phi: Tensor | None,
        out: Tensor | None,
        x: Tensor,
        layout: Layout,
    ) -> Tensor:
        real = phi is None and out is None
        mesh = layout.mesh(_doubles(theta), _some(phi), _some(out))
        ctx.mesh, ctx.real = mesh, real
        ctx.wide = x.shape[1] >= WIDE * layout.ports
        ctx.dtypes = [None if t is None else t.dtype for t in (theta, phi, out, x)]
        kind = torch.float64 if real else torch.complex128
        precise = x.dtype in (torch.float64, torch.complex128)
        fits = kind if precise else (torch.float32 if real else torch.complex64)
        if ctx.wide:
            u = torch.from_numpy(np.ascontiguousarray(build(mesh))).to(kind)
            ctx.save_for_backward(x, u)
            return (u @ x.detach().to(kind)).to(fits)
        fields = x.detach().to(kind).numpy()
        if real:
            ctx.fields = propagate(mesh, packed(fields))
            y: Array = unpacked(ctx.fields, fields.shape[1])
        else:
            y = propagate(mesh, fields)
            # What is returned may be written into.
            ctx.fields = y.copy()
        return torch.from_numpy(y).to(fits)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kind = torch.float64 if ctx.real else torch.complex128
        g = grads[0].to(kind)
        batch = g.shape[1]
        gx: Tensor | None = None
        if ctx.wide:
            x, u = ctx.saved_tensors
            turn = (g @ x.to(kind).conj().T).resolve_conj().numpy()
            y = u.numpy()
            if ctx.real:
                turn, y = packed(turn), packed(y)
            found = vjp(ctx.mesh, None, turn, y=y)
            if ctx.needs_input_grad[3]:
                gx = u.conj().T @ g
        else:
            turn = g.resolve_conj().numpy()
            found = vjp(ctx.mesh, None, packed(turn) if ctx.real else turn, y=ctx.fields)
            gx = torch.from_numpy(unpacked(found.x, batch) if ctx.real else found.x)
        phases = (torch.from_numpy(part) for part in (found.theta, found.phi, found.out))
        results: list[Tensor | None] = []
        for value, dtype, wanted in zip(
            (*phases, gx), ctx.dtypes, ctx.needs_input_grad, strict=False
        ):
            if value is None or dtype is None or not wanted:
                results.append(None)
                continue
            value = value.real if value.is_complex() and not dtype.is_complex else value
            results.append(value.to(dtype))
        return (*results, None)


def packed(x: Array) -> Complex:
    """Real columns (n, B) two by two as the real and imaginary parts of (n, ceil(B / 2))."""
    out = np.zeros((x.shape[0], (x.shape[1] + 1) // 2), np.complex128)
    out.real = x[:, 0::2]
    out.imag[:, : x.shape[1] // 2] = x[:, 1::2]
    return out


def unpacked(x: Array, batch: int) -> Real:
    """The real columns (n, batch) that `packed` put together."""
    out = np.empty((x.shape[0], batch))
    out[:, 0::2] = x.real
    out[:, 1::2] = x.imag[:, : batch // 2]
    return out


def _doubles(x: Tensor) -> Real:
    """A copy: the kernels' meshes are read-only, and optimizers write into parameters."""
    return np.array(x.detach().numpy(), np.float64)


def _some(x: Tensor | None) -> Real | None:
    return None if x is None else _doubles(x)


def torch_mesh(
    layout: Layout, theta: Tensor, phi: Tensor | None, out: Tensor | None, x: Tensor
) -> Tensor:
    """As `mesh_fields`, in plain torch operations on any device: slow, and the tests' oracle."""
    s, c = torch.sin(theta / 2), torch.cos(theta / 2)
    complex_like = phi is not None or out is not None or x.is_complex()
    turn = torch.ones_like(s) if phi is None else torch.polar(torch.ones_like(phi), phi)
    columns = int(layout.column[-1]) + 1 if layout.count else 0
    column = torch.from_numpy(np.array(layout.column, np.int64)).to(theta.device)
    upper = torch.from_numpy(np.array(layout.port, np.int64)).to(theta.device)
    lower = upper + 1
    keep = torch.ones(columns, layout.ports, dtype=turn.dtype, device=theta.device)
    keep = keep.index_put((column, upper), turn * s).index_put((column, lower), (-s).to(turn.dtype))
    swap = torch.zeros_like(keep).index_put((column, upper), c.to(turn.dtype))
    swap = swap.index_put((column, lower), turn * c)
    partner = torch.arange(layout.ports, device=theta.device).repeat(columns, 1)
    partner[column, upper] = lower
    partner[column, lower] = upper
    if complex_like and not x.is_complex():
        x = x.to(torch.complex128 if x.dtype == torch.float64 else torch.complex64)
    keep, swap = keep.to(x.dtype), swap.to(x.dtype)
    for k in range(columns):
        x = keep[k, :, None] * x + swap[k, :, None] * x[partner[k]]
    if out is not None:
        x = torch.polar(torch.ones_like(out), out).to(x.dtype)[:, None] * x
    return x

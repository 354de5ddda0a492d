"""Heat conduction in a chip by finite volumes in three dimensions: the measure of physics.heat.

A quarter of the chip around one heater, adiabatic on all sides but the sink. Where layers are
uniform sideways, the equations are separable: eigenvectors in x and y, a tridiagonal system in
z. With trenches or undercuts that solution preconditions conjugate gradients.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg as la
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg

from onnx2mzi.physics.stack import ThermalStack

F64 = npt.NDArray[np.float64]


def edges(walls: list[float], *, fine: float, ratio: float, end: float) -> F64:
    """From 0 through all walls to `end`: cells of `fine` next to walls, growing away from them."""
    out = [0.0]
    for k, wall in enumerate([*walls, end]):
        length, sizes = wall - out[-1], [fine]
        both = 1 if k == len(walls) else 2
        while both * sum(sizes) < length:
            sizes.append(sizes[-1] * ratio)
        steps = np.array(sizes if both == 1 else sizes + sizes[::-1])
        out += list(out[-1] + np.cumsum(steps) * length / steps.sum())
        out[-1] = wall
    return np.array(out)


@dataclass(frozen=True)
class Solved:
    """Temperature at the guides' depth for 1 mW, (x, y) cells; x and y are distances."""

    x_edge: F64
    y_edge: F64
    kelvin: F64
    cells: int

    def along(self, x0: float, x1: float, y: float) -> float:
        """Integral from x0 to x1 (may be negative) at lateral distance y, K um / mW."""
        middle = (self.y_edge[1:] + self.y_edge[:-1]) / 2
        sums = np.concatenate([[0.0], np.cumsum(self._at(middle, y) * np.diff(self.x_edge))])
        ends = np.interp(np.abs([x0, x1]), self.x_edge, sums) * np.sign([x0, x1])
        return float(ends[1] - ends[0])

    def _at(self, middle: F64, y: float) -> F64:
        # The field is even in y.
        j = np.clip(np.searchsorted(middle, y), 1, len(middle) - 1)
        if y < middle[0]:
            return np.asarray(self.kelvin[:, 0])
        t = (y - middle[j - 1]) / (middle[j] - middle[j - 1])
        return np.asarray((1 - t) * self.kelvin[:, j - 1] + t * self.kelvin[:, j])


def solve(
    stack: ThermalStack, *, length: float, x: F64, y: F64, beam: float | None = None
) -> Solved:
    """The field of a heater from -length/2 to length/2 on a die of half extents x[-1], y[-1].

    With `beam`, isolation ends at |x| = beam.
    """
    walls_down = [stack.box_um]
    if stack.trench is not None:
        walls_down.append(stack.trench.depth_um)
    if stack.undercut is not None:
        walls_down.append(stack.box_um + stack.undercut.depth_um)
    down = edges(
        sorted(set(walls_down)), fine=0.25, ratio=1.35, end=stack.box_um + stack.substrate_um
    )
    up = edges([stack.clad_um], fine=0.25, ratio=1.35, end=stack.clad_um + stack.passivation_um)
    z = np.concatenate([-down[:0:-1], up])
    middle = (z[1:] + z[:-1]) / 2
    layer = np.where(middle < -stack.box_um, stack.substrate_w_mk, stack.oxide_w_mk) * 1e-3
    sink = stack.sink_w_m2k * 1e-9
    power = np.zeros((len(x) - 1, len(y) - 1, len(z) - 1))
    plane = int(np.argmin(np.abs(z - stack.clad_um)))
    heated = np.outer(
        np.clip(length / 2 - x[:-1], 0, np.diff(x)),
        np.clip(stack.heater_width_um / 2 - y[:-1], 0, np.diff(y)),
    )
    power[:, :, plane - 1] = power[:, :, plane] = heated / heated.sum() / 8
    field = separable(layer, sink, x, y, z, power)
    if stack.isolated:
        k = np.broadcast_to(layer, power.shape).copy()
        hollow_out(k, stack, x, y, z, beam if beam is not None else x[-1])
        matrix = assembled(k, sink, x, y, z)
        slab = LinearOperator(
            matrix.shape,
            matvec=lambda r: separable(layer, sink, x, y, z, r.reshape(power.shape)).ravel(),
            dtype=np.float64,
        )
        flat, info = cg(matrix, power.ravel(), x0=field.ravel(), rtol=1e-5, maxiter=1000, M=slab)
        assert info == 0
        field = flat.reshape(power.shape)
    guide = int(np.argmin(np.abs(z)))
    return Solved(x, y, (field[:, :, guide - 1] + field[:, :, guide]) / 2, power.size)


def chain(d: F64, k: F64 | float) -> F64:
    """Conductances between neighbouring cells of one axis, per unit of area."""
    half = d / (2 * k)
    return np.asarray(1 / (half[1:] + half[:-1]))


def stiffness(g: F64) -> F64:
    full = np.zeros((len(g) + 1, len(g) + 1))
    i = np.arange(len(g))
    full[i, i + 1] = full[i + 1, i] = -g
    full[i, i] += g
    full[i + 1, i + 1] += g
    return full


def separable(layer: F64, sink: float, x: F64, y: F64, z: F64, power: F64) -> F64:
    """(A_x x D_y x D_z k + ... ) T = power, exactly."""
    dx, dy, dz = np.diff(x), np.diff(y), np.diff(z)
    ex, vx = la.eigh(stiffness(chain(dx, 1.0)), np.diag(dx))
    ey, vy = la.eigh(stiffness(chain(dy, 1.0)), np.diag(dy))
    waves = np.einsum("xa,xyz,yb->abz", vx, power, vy, optimize=True)
    down = chain(dz, layer)
    base = np.zeros(len(dz))
    base[1:] += down
    base[:-1] += down
    base[0] += 1 / (dz[0] / (2 * layer[0]) + 1 / sink)
    side = (ex[:, None] + ey[None, :])[:, :, None] * (layer * dz) + base
    # Thomas algorithm over z, all waves at once.
    d, r = side.copy(), waves.copy()
    for n in range(1, len(dz)):
        w = down[n - 1] / d[:, :, n - 1]
        d[:, :, n] -= w * down[n - 1]
        r[:, :, n] += w * r[:, :, n - 1]
    r[:, :, -1] /= d[:, :, -1]
    for n in range(len(dz) - 2, -1, -1):
        r[:, :, n] = (r[:, :, n] + down[n] * r[:, :, n + 1]) / d[:, :, n]
    return np.asarray(np.einsum("xa,abz,yb->xyz", vx, r, vy, optimize=True))


def hollow_out(k: F64, stack: ThermalStack, x: F64, y: F64, z: F64, beam: float) -> None:
    cx, cy, cz = ((e[1:] + e[:-1]) / 2 for e in (x, y, z))
    gas = stack.gas_w_mk * 1e-3
    if stack.trench is not None:
        beside = (cy > stack.trench.inner_um) & (cy < stack.trench.outer_um)
        k[np.ix_(cx < beam, beside, cz > -stack.trench.depth_um)] = gas
    if stack.undercut is not None:
        below = (cz < -stack.box_um) & (cz > -stack.box_um - stack.undercut.depth_um)
        k[np.ix_(cx < beam, cy < stack.undercut.half_width_um, below)] = gas


def assembled(k: F64, sink: float, x: F64, y: F64, z: F64) -> Any:
    d = [np.diff(e) for e in (x, y, z)]
    volume = d[0][:, None, None] * d[1][None, :, None] * d[2][None, None, :]
    index = np.arange(k.size).reshape(k.shape)
    rows, cols, values = [], [], []
    for axis in range(3):
        size = d[axis].reshape([-1 if i == axis else 1 for i in range(3)])
        half = size / (2 * k)
        first = tuple(slice(None, -1) if i == axis else slice(None) for i in range(3))
        second = tuple(slice(1, None) if i == axis else slice(None) for i in range(3))
        area = (volume / size)[first]
        rows.append(index[first].ravel())
        cols.append(index[second].ravel())
        values.append((area / (half[first] + half[second])).ravel())
    i, j, g = (np.concatenate(part) for part in (rows, cols, values))
    diagonal = np.bincount(i, g, k.size) + np.bincount(j, g, k.size)
    out = d[0][:, None] * d[1] / (d[2][0] / (2 * k[:, :, 0]) + 1 / sink)
    diagonal[index[:, :, 0]] += out
    matrix = sp.csr_matrix((-g, (i, j)), (k.size, k.size))
    return matrix + matrix.T + sp.diags(diagonal)

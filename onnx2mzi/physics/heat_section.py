"""What a trench or an undercut does to a heater: its cross-section solved wave by wave.

Isolation only lengthens the way of the heat into the substrate: near the heater it is warmer,
a few tens of um away nothing has changed. So coupling = slab + extra, where the extra is the
difference of two finite-volume solutions, with and without air, and errors of their mesh
cancel. Along x trenches and undercuts are taken to run on, so waves exp(i q x) separate there.

Victims are taken to be on the slab: what isolates a neighbour's own guide is not counted.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.interpolate import CubicSpline, RectBivariateSpline
from scipy.sparse.linalg import splu

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.heat import (
    MW_PER_UM2_K,
    MW_PER_UM_K,
    phase_rad_per_k_um,
    slab_p_pi_mw,
)
from onnx2mzi.physics.heat_bars import graded, overlap, second_antiderivative
from onnx2mzi.physics.stack import ThermalStack

# Where the extra has faded: less than 1 % of the slab's own response.
_FADED = 0.01
_FARTHEST_UM = 200.0
# The extra along x: how far it is followed, and its shortest wave.
_LENGTH_UM = 600.0
_LARGEST_PER_UM = 1.5
_WAVES = 40


@dataclass(frozen=True, slots=True)
class Isolation:
    """The extra of heaters on an isolated stack: `reach_um` sideways, `length_um` along x.

    `table` holds F(y, x) whose second derivative by x is the extra temperature of a point
    heater, K/mW; behind `length_um` F goes on linearly.
    """

    table: RectBivariateSpline
    reach_um: float
    length_um: float

    def coupling(self, *, a0_um: Real, a1_um: Real, b0_um: Real, b1_um: Real, dy_um: Real) -> Real:
        """The extra of heaters [a0, a1] and guides [b0, b1], K um / mW; shapes broadcast."""
        shape = np.broadcast_shapes(np.shape(a0_um), np.shape(b0_um), np.shape(dy_um))
        dy = np.broadcast_to(np.abs(dy_um), shape)
        shared = overlap(
            lambda x: self._lookup(np.broadcast_to(x, shape), dy),
            a0_um=a0_um,
            a1_um=a1_um,
            b0_um=b0_um,
            b1_um=b1_um,
        )
        return np.where(dy < self.reach_um, shared, 0.0)

    def _lookup(self, x_um: Real, dy_um: Real) -> Real:
        dy = np.minimum(dy_um, self.reach_um)
        inside = np.minimum(x_um, self.length_um)
        value = self.table.ev(dy, inside)
        behind = x_um > self.length_um
        if behind.any():
            slope = self.table.ev(dy, inside, dy=1)
            value = np.where(behind, value + slope * (x_um - inside), value)
        return np.asarray(value)


def isolation(*, stack: ThermalStack) -> Isolation | None:
    """What the trench and undercut of `stack` add; None without them. Some seconds."""
    if not stack.isolated:
        return None
    q = graded(reach=_LARGEST_PER_UM, scale=0.002, step=np.arcsinh(750.0) / _WAVES)
    y, plain = cross_section(stack=stack, isolated=False, wavenumber_per_um=q)
    _, made = cross_section(stack=stack, isolated=True, wavenumber_per_um=q)
    extra = made - plain
    apart = (np.abs(extra[0]) > _FADED * plain[0]) & (y < _FARTHEST_UM)
    last = int(np.flatnonzero(apart)[-1]) + 2 if apart.any() else 5
    y, extra = y[:last], extra[:, :last]
    # Cosine transform back to x, on a fine spline through the few waves.
    fine = np.linspace(0.0, _LARGEST_PER_UM, 6001)
    x = graded(reach=_LENGTH_UM, scale=2.0)
    waves = np.cos(np.outer(x, fine))
    waves[:, [0, -1]] /= 2
    point = waves @ CubicSpline(q, extra)(fine) * (fine[1] / np.pi)
    sheets = [second_antiderivative(knots_um=x, values=column)(x) for column in point.T]
    # The field is even in y: mirrored nodes keep the spline flat at the axis.
    table = RectBivariateSpline(
        np.concatenate([-y[2::-1], y]), x, np.array(sheets[2::-1] + sheets), kx=1, ky=5, s=0
    )
    return Isolation(table, float(y[-1]), _LENGTH_UM)


def p_pi_mw(*, stack: ThermalStack) -> float:
    """Power for pi of a long straight heater of `stack`, its isolation included, in mW.

    Ends are not counted: a 100 um heater needs 10 % more in bulk and 30 % more on a free beam.
    """
    slab = slab_p_pi_mw(stack=stack)
    if not stack.isolated:
        return slab
    none = np.zeros(1)
    _, plain = cross_section(stack=stack, isolated=False, wavenumber_per_um=none)
    _, made = cross_section(stack=stack, isolated=True, wavenumber_per_um=none)
    factor = phase_rad_per_k_um(stack=stack)
    warmth = np.pi / (factor * slab) + float(made[0, 0] - plain[0, 0])
    return float(np.pi / (factor * warmth))


def _edges(stack: ThermalStack) -> tuple[Real, Real]:
    """Edges of the cells in y (half of the section) and z (0 at the guide, up)."""
    walls = [stack.heater_width_um / 2]
    if stack.trench is not None:
        walls += [stack.trench.inner_um, stack.trench.outer_um]
    if stack.undercut is not None:
        walls += [stack.undercut.half_width_um]
    y = _stitched(sorted(set(walls)), 0.25, 1.3)
    y = np.concatenate([y, _growing(y[-1], 0.5, 1.12, 6000.0)])
    below = [stack.box_um]
    if stack.trench is not None:
        below.append(stack.trench.depth_um)
    if stack.undercut is not None:
        below.append(stack.box_um + stack.undercut.depth_um)
    down = _stitched(sorted(set(below)), 0.25, 1.25)
    down = np.concatenate([down, _growing(down[-1], 0.5, 1.2, stack.substrate_um + stack.box_um)])
    up = _stitched([stack.clad_um, stack.clad_um + stack.passivation_um], 0.25, 1.25)
    return y, np.concatenate([-down[:0:-1], up])


def _stitched(walls: list[float], fine: float, ratio: float) -> Real:
    """Edges from 0 through every wall, fine at both ends of every stretch."""
    edges = [0.0]
    for wall in walls:
        length = wall - edges[-1]
        sizes = [fine]
        while 2 * sum(sizes) < length:
            sizes.append(sizes[-1] * ratio)
        both = np.array(sizes + sizes[::-1])
        edges += list(edges[-1] + np.cumsum(both) * length / both.sum())
        edges[-1] = wall
    return np.array(edges)


def _growing(start: float, first: float, ratio: float, end: float) -> Real:
    sizes = [first]
    while start + sum(sizes) < end:
        sizes.append(sizes[-1] * ratio)
    edges = start + np.cumsum(sizes)
    return np.asarray(start + (edges - start) * (end - start) / (edges[-1] - start))


def _conductivity(stack: ThermalStack, y: Real, z: Real, isolated: bool) -> Real:
    """W/(m K) of every cell, shape (len(y), len(z))."""
    k = np.where(z < -stack.box_um, stack.substrate_w_mk, stack.oxide_w_mk)
    k = np.broadcast_to(k, (len(y), len(z))).copy()
    if isolated and stack.trench is not None:
        inside = (y > stack.trench.inner_um) & (y < stack.trench.outer_um)
        k[np.ix_(inside, z > -stack.trench.depth_um)] = stack.gas_w_mk
    if isolated and stack.undercut is not None:
        inside = y < stack.undercut.half_width_um
        hollow = (z < -stack.box_um) & (z > -stack.box_um - stack.undercut.depth_um)
        k[np.ix_(inside, hollow)] = stack.gas_w_mk
    return np.asarray(k)


def cross_section(
    *, stack: ThermalStack, isolated: bool, wavenumber_per_um: Real
) -> tuple[Real, Real]:
    """(y_um, K per mW/um at the guides): a heater's response to power cos(q x) along x.

    Shapes (Y,) and (Q, Y), by finite volumes on half of the section: cells are graded,
    conductances between cells are harmonic means, the sink is below, and k q^2 leaks along x.
    """
    y_edge, z_edge = _edges(stack)
    dy, dz = np.diff(y_edge), np.diff(z_edge)
    y, z = (y_edge[1:] + y_edge[:-1]) / 2, (z_edge[1:] + z_edge[:-1]) / 2
    k = _conductivity(stack, y, z, isolated) * MW_PER_UM_K
    half_y, half_z = dy[:, None] / (2 * k), dz[None, :] / (2 * k)
    across = dz[None, :] / (half_y[1:] + half_y[:-1])
    along = dy[:, None] / (half_z[:, 1:] + half_z[:, :-1])
    index = np.arange(k.size).reshape(k.shape)
    i = np.concatenate([index[1:].ravel(), index[:, 1:].ravel()])
    j = np.concatenate([index[:-1].ravel(), index[:, :-1].ravel()])
    g = np.concatenate([across.ravel(), along.ravel()])
    diagonal = np.zeros(k.size)
    np.add.at(diagonal, np.concatenate([i, j]), np.concatenate([g, g]))
    sink = dy / (half_z[:, 0] + 1 / (stack.sink_w_m2k * MW_PER_UM2_K))
    diagonal[index[:, 0]] += sink
    matrix = sp.csc_matrix((-g, (i, j)), (k.size, k.size))
    matrix = matrix + matrix.T + sp.diags(diagonal)
    # The heater lies on the edge z = clad: half of its power in the cells on either side.
    power = np.zeros(k.shape)
    over = np.clip(stack.heater_width_um / 2 - y_edge[:-1], 0, dy)
    plane = int(np.argmin(np.abs(z_edge - stack.clad_um)))
    power[:, plane - 1] = power[:, plane] = over / over.sum() / 4
    area = (k * dy[:, None] * dz[None, :]).ravel()
    guide = int(np.argmin(np.abs(z_edge)))
    rows = []
    for q in wavenumber_per_um:
        solved = splu((matrix + sp.diags(area * q * q)).tocsc()).solve(power.ravel())
        rows.append(solved.reshape(k.shape)[:, guide - 1 : guide + 1].mean(axis=1))
    return y, np.array(rows)

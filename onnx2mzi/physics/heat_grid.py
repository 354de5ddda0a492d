"""A regular grid that carries the far field: spreading bars onto it, convolving on it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.sparse as sp
from scipy.interpolate import PPoly

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.heat_bars import Bars
from onnx2mzi.physics.stack import Die

# Lagrange interpolation through this many nodes.
ORDER = 6
_HALF = ORDER // 2


@dataclass(frozen=True, slots=True)
class Grid:
    """Nodes at (x_um + i dx_um, y_um + j dy_um), i < nx, j < ny; `mirrors` on a die."""

    x_um: float
    y_um: float
    dx_um: float
    dy_um: float
    nx: int
    ny: int
    mirrors: bool


def grid_of(die: Die, *, spacing_um: float) -> Grid:
    """The nodes in the middle of cells that fill the die."""
    wide, high = die.x1_um - die.x0_um, die.y1_um - die.y0_um
    nx, ny = (
        scipy.fft.next_fast_len(max(2 * ORDER, int(np.ceil(size / spacing_um))), real=True)
        for size in (wide, high)
    )
    dx, dy = wide / nx, high / ny
    return Grid(die.x0_um + dx / 2, die.y0_um + dy / 2, dx, dy, nx, ny, True)


def grid_around(everything: Bars, *, spacing_um: float) -> Grid:
    """A grid that holds all bars with the margin that interpolation needs."""
    margin = ORDER * spacing_um
    x0, y0 = everything.x0_um.min() - margin, everything.y_um.min() - margin
    nx = int(np.ceil((everything.x1_um.max() + margin - x0) / spacing_um)) + 1
    ny = int(np.ceil((everything.y_um.max() + margin - y0) / spacing_um)) + 1
    return Grid(float(x0), float(y0), spacing_um, spacing_um, nx, ny, False)


def spread(bars: Bars, grid: Grid) -> sp.csr_array:
    """S with S @ (values on the nodes) = the interpolant's integral along every bar, in um.

    Shape (bars, ny * nx). The integral over x is exact: antiderivatives of the interpolant.
    """
    antiderivative = _lagrange_basis().antiderivative()
    u0, u1 = ((x - grid.x_um) / grid.dx_um for x in (bars.x0_um, bars.x1_um))
    first = np.floor(u0).astype(np.int64) - _HALF + 1
    count = np.floor(u1).astype(np.int64) + _HALF - first + 1
    start = np.concatenate([[0], np.cumsum(count)])
    bar = np.repeat(np.arange(len(bars)), count)
    node = np.arange(start[-1]) - start[bar] + first[bar]

    def up_to(u: Real) -> Real:
        return np.asarray(antiderivative(np.clip(u, -_HALF, _HALF)))

    along = (up_to(u1[bar] - node) - up_to(u0[bar] - node)) * grid.dx_um
    v = (bars.y_um - grid.y_um) / grid.dy_um
    row = np.floor(v).astype(np.int64)[:, None] + np.arange(1 - _HALF, _HALF + 1)
    across = _lagrange_basis()(v[:, None] - row)
    columns = _folded(row, grid.ny, grid)[bar] * grid.nx + _folded(node, grid.nx, grid)[:, None]
    data = (along[:, None] * across[bar]).ravel()
    return sp.csr_array(
        (data, columns.astype(np.int32).ravel(), (start * ORDER).astype(np.int32)),
        shape=(len(bars), grid.nx * grid.ny),
    )


def _folded(i: npt.NDArray[np.int64], n: int, grid: Grid) -> npt.NDArray[np.int64]:
    """Nodes outside of a die are images of those inside."""
    if not grid.mirrors:
        return i
    i = np.where(i < 0, -1 - i, i)
    return np.where(i >= n, 2 * n - 1 - i, i)


def _lagrange_basis() -> PPoly:
    """The cardinal function of piecewise Lagrange interpolation on integers."""
    offsets = np.arange(-_HALF, _HALF)
    pieces = []
    for left in offsets:
        # On [left, left + 1] the nodes are left + 1 - HALF .. left + HALF, 0 among them.
        others = [j for j in range(left + 1 - _HALF, left + _HALF + 1) if j != 0]
        piece = np.poly1d([1.0])
        for j in others:
            piece *= np.poly1d([-1.0 / j, (j - left) / j])
        pieces.append(piece.coeffs)
    return PPoly(np.array(pieces).T, np.append(offsets, _HALF), extrapolate=False)


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """Multiplication of all waves on a grid by a kernel: cosines on a die, else padded waves."""

    grid: Grid
    multiplier: Real

    def __call__(self, values: Real) -> Real:
        """Values (..., ny * nx) convolved; the operator is symmetric."""
        field = values.reshape(*values.shape[:-1], self.grid.ny, self.grid.nx)
        if self.grid.mirrors:
            waves = scipy.fft.dctn(field, axes=(-2, -1), norm="ortho") * self.multiplier
            out = scipy.fft.idctn(waves, axes=(-2, -1), norm="ortho", overwrite_x=True)
            return np.asarray(out).reshape(values.shape)
        shape = (self.multiplier.shape[0], 2 * (self.multiplier.shape[1] - 1))
        waves = scipy.fft.rfft2(field, shape) * self.multiplier
        out = scipy.fft.irfft2(waves, shape)[..., : self.grid.ny, : self.grid.nx]
        return np.asarray(out).reshape(values.shape)


def wave_numbers(grid: Grid) -> Real:
    """Wave number of every cosine of a die, shape (ny, nx), per um."""
    kx = np.pi * np.arange(grid.nx) / (grid.nx * grid.dx_um)
    ky = np.pi * np.arange(grid.ny) / (grid.ny * grid.dy_um)
    return np.asarray(np.hypot(kx[None, :], ky[:, None]))


def padded_distances(grid: Grid) -> Real:
    """Distances from node 0 on a torus so large that no two nodes meet around it."""
    mx = scipy.fft.next_fast_len(2 * grid.nx, real=True)
    mx += mx % 2
    my = scipy.fft.next_fast_len(2 * grid.ny)
    x = grid.dx_um * np.minimum(np.arange(mx), mx - np.arange(mx))
    y = grid.dy_um * np.minimum(np.arange(my), my - np.arange(my))
    return np.asarray(np.hypot(x[None, :], y[:, None]))

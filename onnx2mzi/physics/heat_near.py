"""Couplings of near pairs only, by a kernel that ends at a given radius, as a sparse matrix."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.interpolate import CubicSpline, RectBivariateSpline

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.heat_bars import (
    Bars,
    Profile,
    across_width,
    graded,
    overlap,
    second_antiderivative,
)
from onnx2mzi.physics.heat_section import Isolation
from onnx2mzi.physics.stack import Die

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
Lookup = Callable[[Real, Real], Real]


def near_matrix(
    *,
    profile: Profile,
    reach_um: float,
    width_um: float,
    heaters: Bars,
    segments: Bars,
    die: Die | None,
    air: Isolation | None,
) -> sp.csr_array:
    """Shape (segments, heaters), K um / mW: `profile` (0 beyond `reach_um`), the images of
    heaters next to an edge of the die, and what the isolation of the heaters adds."""
    shape = (len(segments), len(heaters))
    lookup = _lookup(profile, reach_um, width_um)
    side_um = reach_um + width_um
    total = sp.csr_array(shape)
    for index, images in _with_images(heaters, die, side_um):
        i, j = close_pairs(segments, images, dx_um=side_um, dy_um=side_um)
        b, a = segments.take(i), images.take(j)
        dy = np.abs(b.y_um - a.y_um)

        def at_pairs(x: Real, dy: Real = dy) -> Real:
            return lookup(x, dy)

        value = overlap(at_pairs, a0_um=a.x0_um, a1_um=a.x1_um, b0_um=b.x0_um, b1_um=b.x1_um)
        total = total + sp.csr_array((value, (i, index[j])), shape=shape)
    if air is not None:
        i, j = close_pairs(segments, heaters, dx_um=air.length_um, dy_um=air.reach_um)
        b, a = segments.take(i), heaters.take(j)
        value = air.coupling(
            a0_um=a.x0_um, a1_um=a.x1_um, b0_um=b.x0_um, b1_um=b.x1_um, dy_um=b.y_um - a.y_um
        )
        total = total + sp.csr_array((value, (i, j)), shape=shape)
    return total


def _with_images(
    heaters: Bars, die: Die | None, side_um: float
) -> list[tuple[npt.NDArray[np.int64], Bars]]:
    """The heaters, and every image that lies within `side_um` of the die; with their indices."""
    every = np.arange(len(heaters))
    result = [(every, heaters)]
    if die is None:
        return result
    for mx in (None, die.x0_um, die.x1_um):
        for my in (None, die.y0_um, die.y1_um):
            if mx is None and my is None:
                continue
            x0, x1, y = heaters.x0_um, heaters.x1_um, heaters.y_um
            if mx is not None:
                x0, x1 = 2 * mx - x1, 2 * mx - x0
            if my is not None:
                y = 2 * my - y
            close = (x1 > die.x0_um - side_um) & (x0 < die.x1_um + side_um)
            close &= (y > die.y0_um - side_um) & (y < die.y1_um + side_um)
            result.append((every[close], Bars(x0, x1, y).take(close)))
    return result


def close_pairs(segments: Bars, heaters: Bars, *, dx_um: float, dy_um: float) -> Pairs:
    """(i, j) of all pairs whose gaps are below dx and dy: bins, multiplied as sparse matrices."""
    if not len(segments) or not len(heaters):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    bin_x, bin_y = max(dx_um, 50.0), max(dy_um, 20.0)
    corner = (
        min(segments.x0_um.min(), heaters.x0_um.min() - dx_um),
        min(segments.y_um.min(), heaters.y_um.min() - dy_um),
    )
    rows = int(max(segments.y_um.max(), heaters.y_um.max() + dy_um) - corner[1]) // int(bin_y) + 2

    def bins(bars: Bars, dx: float, dy: float) -> Pairs:
        x0 = ((bars.x0_um - dx - corner[0]) // bin_x).astype(np.int64)
        nx = ((bars.x1_um + dx - corner[0]) // bin_x).astype(np.int64) - x0 + 1
        y0 = ((bars.y_um - dy - corner[1]) // bin_y).astype(np.int64)
        ny = ((bars.y_um + dy - corner[1]) // bin_y).astype(np.int64) - y0 + 1
        bar = np.repeat(np.arange(len(bars)), nx * ny)
        turn = np.arange(len(bar)) - np.repeat(np.cumsum(nx * ny) - nx * ny, nx * ny)
        return bar, (x0[bar] + turn // ny[bar]) * (rows + 1) + y0[bar] + turn % ny[bar]

    i, cell = bins(segments, 0.0, 0.0)
    j, other = bins(heaters, dx_um, dy_um)
    _, number = np.unique(np.concatenate([cell, other]), return_inverse=True)
    size = int(number.max()) + 1
    left = sp.csr_array((np.ones(len(i), np.int32), (i, number[: len(i)])), (len(segments), size))
    right = sp.csr_array((np.ones(len(j), np.int32), (number[len(i) :], j)), (size, len(heaters)))
    shared = (left @ right).tocoo()
    i, j = shared.row.astype(np.int64), shared.col.astype(np.int64)
    gap = np.maximum(segments.x0_um[i] - heaters.x1_um[j], heaters.x0_um[j] - segments.x1_um[i])
    close = (gap < dx_um) & (np.abs(segments.y_um[i] - heaters.y_um[j]) < dy_um)
    return i[close], j[close]


def _lookup(profile: Profile, reach_um: float, width_um: float) -> Lookup:
    """F(x, y), F'' = profile: a table of splines; linear in x where the profile has ended."""
    end = reach_um + width_um
    x = graded(reach=end, scale=1.0)
    y = graded(reach=end, scale=2.0, step=0.05)
    sheets = [
        second_antiderivative(
            knots_um=x,
            values=across_width(profile, width_um=width_um, x_um=x, y_um=float(offset)),
        )
        for offset in y
    ]
    inner = RectBivariateSpline(y, x, np.array([sheet(x) for sheet in sheets]), kx=3, ky=5, s=0)
    last = CubicSpline(y, [float(sheet(end)) for sheet in sheets])
    slope = CubicSpline(y, [float(sheet(end, 1)) for sheet in sheets])

    def lookup(x_um: Real, dy_um: Real) -> Real:
        within = np.where(x_um < end, inner.ev(dy_um, np.minimum(x_um, end)), 0.0)
        return np.where(x_um < end, within, last(dy_um) + slope(dy_um) * (x_um - end))

    return lookup

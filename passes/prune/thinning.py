"""Thinning all tiles of a network: each for itself, then as far as the whole bears it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.kernels import decompose_columns, decompose_rows
from onnx2mzi.passes.drawing import BalancedTile
from onnx2mzi.passes.prune.baselines import balanced_matrix
from onnx2mzi.passes.prune.moments import dagger, energy
from onnx2mzi.passes.prune.settle import settled_tile
from onnx2mzi.passes.prune.split import Sheet
from onnx2mzi.passes.prune.thetas import RealTile
from onnx2mzi.passes.prune.thin import Metric, Thinned, thinned
from onnx2mzi.physics.arrays import Matrix

# A tile is thinned until its layer's outputs move by this share of their power.
FURTHEST = 5e-2
# What may be lost at once to a lower rank of a tile, in the same measure.
SHORT = 1e-4
HALVINGS = 12


@dataclass(frozen=True, slots=True, eq=False)
class ThinTile:
    """One tile of a layer and the ways to thin it: phases and errors, the first untouched.

    Errors are shares of the power of the layer's outputs.
    """

    layer: int
    sheet: int
    origin: BalancedTile
    path: tuple[Thinned, ...]
    share: float

    @property
    def phases(self) -> np.ndarray:
        """Heaters of every way."""
        return np.array([way.phases for way in self.path])

    @property
    def errors(self) -> np.ndarray:
        """Errors of every way."""
        return np.array([way.error for way in self.path]) * self.share

    def at(self, way: int) -> BalancedTile:
        """The tile thinned `way` steps."""
        if way == 0:
            return self.origin
        return settled_tile(self.path[way].tile, self.origin.outputs, self.origin.inputs)


def real_tile(tile: BalancedTile) -> RealTile | None:
    """The tile as thinning takes it; None if it is complex."""
    if not (tile.u.is_real and tile.v.is_real):
        return None
    return RealTile(tile.u, tile.amplitude * tile.gain, tile.v)


def sheet_matrix(sheet: Sheet, dtype: np.dtype[np.generic]) -> Matrix:
    """Sum of the sheet's tiles, shape (rows, columns)."""
    total = np.zeros((sheet.rows, sheet.columns), dtype)
    for tile in sheet.tiles:
        part = balanced_matrix(tile)
        total[np.ix_(tile.outputs, tile.inputs)] += part.real if total.dtype.kind == "f" else part
    return total


def product(sheets: Sequence[Sheet], dtype: np.dtype[np.generic]) -> Matrix:
    """The matrix of sheets in sequence."""
    total = sheet_matrix(sheets[0], dtype)
    for sheet in sheets[1:]:
        total = sheet_matrix(sheet, dtype) @ total
    return total


def shortened(tile: RealTile, metric: Metric, allowed: float) -> RealTile:
    """The tile with the least rank that keeps the metric's error within `allowed`.

    Thinning is faster from there, and loses nothing: what has no rank has no phases.
    """
    if not len(tile.s):
        return tile
    tiny = np.finfo(float).eps
    left, right = (
        np.linalg.cholesky(x + tiny * max(float(np.trace(x)), tiny) * np.eye(len(x)))
        for x in (metric.p, metric.c)
    )
    u, s, vh = np.linalg.svd(left.T @ metric.target @ right, full_matrices=False)
    lost = np.cumsum(s[::-1] ** 2)[::-1]
    rank = max(int(np.count_nonzero(lost > allowed)), 1)
    if rank >= len(tile.s):
        return tile
    half = np.linalg.solve(left.T, u[:, :rank] * s[:rank])
    nearest = half @ np.linalg.solve(right.T, vh[:rank].T).T
    a, b, c = np.linalg.svd(nearest, full_matrices=False)
    return RealTile(decompose_columns(a[:, :rank]), b[:rank], decompose_rows(c[:rank]))


def thin_tiles(
    layer: int, weight: Matrix, sheets: Sequence[Sheet], moment: Matrix
) -> Iterator[ThinTile]:
    """Every tile of one layer with its path; that of a complex tile is empty.

    The metric on a tile's right is the moment of the light that reaches it, on its left what
    the sheets behind it make of an error.
    """
    power = max(float(energy(weight, moment).sum()), np.finfo(float).tiny)
    matrices = [sheet_matrix(sheet, weight.dtype) for sheet in sheets]
    for at, sheet in enumerate(sheets):
        before = np.eye(weight.shape[1])
        for matrix in matrices[:at]:
            before = matrix @ before
        behind = np.eye(sheet.rows)
        for matrix in matrices[at + 1 :]:
            behind = matrix @ behind
        c, p = before @ moment @ dagger(before), dagger(behind) @ behind
        for tile in sheet.tiles:
            start = real_tile(tile)
            path: list[Thinned] = []
            if start is not None and np.isrealobj(moment):
                stop = FURTHEST * power
                metric = Metric(
                    start.matrix,
                    p[np.ix_(tile.outputs, tile.outputs)],
                    c[np.ix_(tile.inputs, tile.inputs)],
                )
                path = [Thinned(start, start.theta != 0.0, 0.0)]
                path += thinned(shortened(start, metric, SHORT * power), metric, stop=stop)
            yield ThinTile(layer, at, tile, tuple(path), 1 / power)


def ways(tiles: Sequence[ThinTile], weights: Sequence[float], price: float) -> list[int]:
    """For every tile the way with the least phases + price * weight of its layer * error."""
    return [
        int(np.argmin(tile.phases + price * weights[tile.layer] * tile.errors)) if tile.path else 0
        for tile in tiles
    ]


def assembled(
    sheets: Sequence[tuple[Sheet, ...]], tiles: Sequence[ThinTile], chosen: Sequence[int]
) -> list[tuple[Sheet, ...]]:
    """The sheets of every layer with each tile thinned as chosen."""
    return [
        tuple(
            replace(
                sheet,
                tiles=tuple(
                    tile.at(way)
                    for tile, way in zip(tiles, chosen, strict=True)
                    if (tile.layer, tile.sheet) == (layer, at)
                ),
            )
            for at, sheet in enumerate(sheets[layer])
        )
        for layer in range(len(sheets))
    ]


def cheapest(
    sheets: Sequence[tuple[Sheet, ...]],
    tiles: Sequence[ThinTile],
    weights: Sequence[float],
    accepted: Callable[[list[tuple[Sheet, ...]]], bool],
) -> list[tuple[Sheet, ...]]:
    """The thinnest sheets that are accepted, by bisection of the price of an error."""
    low, high = 1.0, 12.0
    best = list(sheets)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        there = assembled(sheets, tiles, ways(tiles, weights, 10**middle))
        if accepted(there):
            best, high = there, middle
        else:
            low = middle
    return best

"""Thinning all tiles of a layer, each making up for the ones before it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from onnx2mzi.kernels import decompose_columns, decompose_rows
from onnx2mzi.passes.drawing import BalancedTile
from onnx2mzi.passes.prune.baselines import balanced_matrix
from onnx2mzi.passes.prune.cost import tile_phases
from onnx2mzi.passes.prune.moments import dagger, energy
from onnx2mzi.passes.prune.settle import settled_tile
from onnx2mzi.passes.prune.split import Sheet
from onnx2mzi.passes.prune.thetas import RealTile
from onnx2mzi.passes.prune.thin import Metric, thinned
from onnx2mzi.physics.arrays import Matrix, Real

# A tile's rank is first lowered as if errors cost this much more: single phases go better.
CAREFUL = 4.0


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


def metrics(weight: Matrix, sheets: Sequence[Sheet], moment: Matrix) -> list[tuple[Real, Real]]:
    """(P, C) of every sheet: on its right the moment of the light that reaches it, on its left
    what the sheets behind it make of an error."""
    found = []
    for at, sheet in enumerate(sheets):
        before = product(sheets[:at], weight.dtype) if at else np.eye(weight.shape[1])
        behind = product(sheets[at + 1 :], weight.dtype) if sheets[at + 1 :] else None
        p = np.eye(sheet.rows) if behind is None else dagger(behind) @ behind
        c = before @ moment @ dagger(before)
        found.append((p.real, c.real))
    return found


def thinned_layer(
    weight: Matrix,
    sheets: Sequence[Sheet],
    moment: Matrix,
    *,
    price: float,
    noise_rad: float = 0.0,
    done: Callable[[], None] = lambda: None,
) -> tuple[Sheet, ...]:
    """The sheets of one layer, thinned; complex ones as they are.

    `price` is how many phases an error is worth that moves the layer's outputs by all their
    power. The metric on a sheet's right is the moment of the light that reaches it, on its left
    what the sheets behind it make of an error. Heaters that are left err by `noise_rad`. `done`
    is called behind every tile.
    """
    if np.iscomplexobj(weight) or np.iscomplexobj(moment):
        return tuple(sheets)
    if not weight.any():
        return tuple(sheets)
    rate = price / max(float(energy(weight, moment).sum()), np.finfo(float).tiny)
    found: list[Sheet] = []
    for at, sheet in enumerate(sheets):
        p, c = metrics(weight, [*found, *sheets[at:]], moment)[at]
        found.append(thinned_sheet(sheet, p, c, rate, done, noise_rad=noise_rad))
    return tuple(found)


def thinned_sheet(
    sheet: Sheet,
    p: Real,
    c: Real,
    rate: float,
    done: Callable[[], None] = lambda: None,
    *,
    noise_rad: float = 0.0,
) -> Sheet:
    """The sheet with thinned tiles. Errors of tiles in a row of the grid simply add up.

    What a tile gets wrong, those of its row that are still whole take over as far as their
    inputs tell (as columns do in GPTQ, arXiv 2210.17323); so its metric is the moment of its
    inputs with what the others' inputs say of them taken out.
    """
    tiles = list(sheet.tiles)
    for row in _rows(tiles):
        whole = {i: balanced_matrix(tiles[i]).real for i in row}
        targets = dict(whole)
        for place, i in enumerate(row):
            tile, others = tiles[i], row[place + 1 :]
            own = c[np.ix_(tile.inputs, tile.inputs)]
            told: dict[int, Real] = {}
            if others:
                rest = np.concatenate([tiles[j].inputs for j in others])
                cross = c[np.ix_(rest, tile.inputs)]
                says = np.linalg.solve(c[np.ix_(rest, rest)], cross)
                own = own - cross.T @ says
                ends = np.cumsum([len(tiles[j].inputs) for j in others])[:-1]
                told = dict(zip(others, np.split(says, ends), strict=True))
            here = p[np.ix_(tile.outputs, tile.outputs)]
            metric = Metric(targets[i], here, (own + own.T) / 2, noise_rad)
            start = real_tile(tile)
            if start is not None:
                thin = _priced(start, metric, rate, changed=targets[i] is not whole[i])
                tiles[i] = settled_tile(thin, tile.outputs, tile.inputs)
                moved = thin.matrix - targets[i]
                for j, says in told.items():
                    targets[j] = targets[j] - moved @ says.T
            done()
    return replace(sheet, tiles=tuple(tiles))


def _rows(tiles: Sequence[BalancedTile]) -> list[list[int]]:
    """Indices of the tiles that add to the same outputs."""
    rows: dict[bytes, list[int]] = {}
    for i, tile in enumerate(tiles):
        rows.setdefault(tile.outputs.tobytes(), []).append(i)
    return list(rows.values())


def _priced(whole: RealTile, metric: Metric, rate: float, *, changed: bool) -> RealTile:
    """The tile with the least phases + rate * error on the way of thinning it."""
    start = shortened(metric, CAREFUL * rate)
    if not changed and np.count_nonzero(whole.theta) <= np.count_nonzero(start.theta):
        start = whole
    path = thinned(start, metric, rate=rate)
    return min(path, key=lambda way: way.phases + rate * way.error).tile


def shortened(metric: Metric, rate: float) -> RealTile:
    """The tile of the rank with the least phases + rate * error, at its nearest to the target.

    Thinning is faster from there, and loses nothing: what has no rank has no phases.
    """
    tiny = np.finfo(float).eps
    left, right = (
        np.linalg.cholesky(x + tiny * max(float(np.trace(x)), tiny) * np.eye(len(x)))
        for x in (metric.p, metric.c)
    )
    u, s, vh = np.linalg.svd(left.T @ metric.target @ right, full_matrices=False)
    m, n = metric.target.shape
    lost = np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0)
    costs = [tile_phases(m, n, r) + rate * lost[r] for r in range(1, len(s) + 1)]
    rank = 1 + int(np.argmin(costs))
    half = np.linalg.solve(left.T, u[:, :rank] * s[:rank])
    a, b, c = np.linalg.svd(half @ np.linalg.solve(right.T, vh[:rank].T).T, full_matrices=False)
    return RealTile(decompose_columns(a[:, :rank]), b[:rank], decompose_rows(c[:rank]))

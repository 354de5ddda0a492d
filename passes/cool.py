"""`cool`: the same matrices with less heat, by what is free: arms, signs, and orders.

Which guide carries which input, output and singular value is free, for electronics lie around
every tile; so is the sign between an MZI and the next (see `heat_gauge`). Swaps of two guides
are kept while they lower the heat. Meshes that were pruned keep their phases: other orders
would fill them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from onnx2mzi.emulate.transfer import tile_matrix
from onnx2mzi.ir import LinearLayer, MeshTile, Program, Stage, Tile, TileGrid
from onnx2mzi.passes.canonicalize import NEGLIGIBLE, drawing_rules, factored, isometry_tile
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.passes.heat_gauge import coolest
from onnx2mzi.passes.trim import with_trims_again
from onnx2mzi.physics.arrays import Index, Matrix, Real
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.pipeline.census import tile_census
from onnx2mzi.pipeline.spec import show
from onnx2mzi.pipeline.tilework import with_tiles


def cooler_tile(
    tile: MeshTile, *, real: bool, rules: DrawingRules, trials: int, beam: int, seed: int
) -> MeshTile:
    """The coolest form of a tile that is found; the tile itself if none is cooler."""
    matrix = tile_matrix(tile)
    if real:
        matrix = matrix.real
    u, s, vh = factored(matrix, NEGLIGIBLE * tile.gain)
    if not len(s):
        return tile
    start = isometry_tile(tile.outputs, tile.inputs, u, s, vh)
    if _phases(balanced_tile(tile)) < _phases(start):
        return tile
    rng = np.random.default_rng(seed)
    found = _searched(tile, u, s, vh, rules, trials, rng)
    searched = drawn_tile(found, rules, realise=partial(coolest, width=beam))
    made = (drawn_tile(found, rules), searched)
    heaters = tile_census(tile, 1.0).phases_active
    # Never more heaters for less heat.
    fair = [other for other in made if tile_census(other, 1.0).phases_active <= heaters]
    return min((tile, *fair), key=_heat_rad)


def _searched(
    tile: MeshTile,
    u: Matrix,
    s: Real,
    vh: Matrix,
    rules: DrawingRules,
    trials: int,
    rng: np.random.Generator,
) -> BalancedTile:
    """Swaps of two outputs, inputs or channels, kept while they lower the heat."""
    sizes = (len(tile.outputs), len(tile.inputs), len(s))
    orders: list[Index] = [np.arange(size, dtype=np.int32) for size in sizes]

    def made(rows: Index, columns: Index, channels: Index) -> BalancedTile:
        return isometry_tile(
            tile.outputs[rows],
            tile.inputs[columns],
            u[np.ix_(rows, channels)],
            s[channels],
            vh[np.ix_(channels, columns)],
        )

    best = made(*orders)
    heat = _heat_rad(drawn_tile(best, rules))
    movable = [k for k, size in enumerate(sizes) if size > 1]
    for _ in range(trials if movable else 0):
        trial = [order.copy() for order in orders]
        which = trial[movable[int(rng.integers(len(movable)))]]
        a, b = rng.choice(len(which), 2, replace=False)
        which[[a, b]] = which[[b, a]]
        candidate = made(*trial)
        value = _heat_rad(drawn_tile(candidate, rules))
        if value < heat:
            orders, best, heat = trial, candidate, value
    return best


def _heat_rad(tile: MeshTile) -> float:
    return tile_census(tile, 1.0).heat_rad


def _phases(tile: BalancedTile) -> int:
    parts = (tile.u.theta, tile.u.phi, tile.v.theta, tile.v.phi, tile.amplitude < 1)
    return sum(int(np.count_nonzero(part)) for part in parts)


def _cooler(
    layer: LinearLayer, grid: TileGrid, *, rules: DrawingRules, trials: int, beam: int, seed: int
) -> Callable[[Tile], Tile | None]:
    real = not np.iscomplexobj(layer.weight)

    def work(tile: Tile) -> Tile | None:
        if not isinstance(tile, MeshTile):
            return tile
        return cooler_tile(tile, real=real, rules=rules, trials=trials, beam=beam, seed=seed)

    return work


@dataclass(frozen=True, slots=True)
class Cool(Pass):
    """Lossless: less heat by the order of guides, by signs and by arms."""

    name: ClassVar[str] = "cool"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH
    moves_phases: ClassVar[bool] = True

    trials: int = option(300, "swaps of two guides to try a tile", low=0)
    beam: int = option(32, "ways that the search over signs follows at once", low=1, high=1000)

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        rules = drawing_rules(context)
        work = partial(_cooler, rules=rules, trials=self.trials, beam=self.beam, seed=context.seed)
        made = with_tiles(program, context, self.name, work, keep=show(self))
        return with_trims_again(program, made, context)

"""`canonicalize`: the same function with as few heaters and as little heat as is free.

What it uses, all exact:
- Rows and columns of a tile that are zero lose their ports; a tile of zeros goes.
- Of rank r < min(m, n) only r columns of U and rows of V matter: truncated triangular meshes of
  r m - r (r + 1) / 2 and r n - r (r + 1) / 2 MZIs take the place of full ones.
- Real matrices are decomposed with signed theta, phi = 0 in the balanced gauge: what phi is left
  only compensates common phases of the arms, and may be passive.
- V's output phases and the attenuators' go into U's phi, U's output phases into the readout.
- Heaters go to the better arm, theta turns its sign where that makes phi smaller.
- The largest singular value is the gain: its attenuator goes. The order of the others is free.
What the technology's drive allows of this is decided in `physics.shifter`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from onnx2mzi.emulate.transfer import tile_matrix
from onnx2mzi.ir import LinearLayer, MeshTile, Program, Stage, Tile, TileGrid
from onnx2mzi.kernels import BalancedMesh, decompose_columns, decompose_rows
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.physics.arrays import Index, Matrix, Real
from onnx2mzi.physics.mzi import attenuator_theta_rad
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.pipeline.spec import show
from onnx2mzi.pipeline.tilework import with_tiles

# Far above the round-off of a decomposition (1e-15), far below what Exact promises (1e-9).
NEGLIGIBLE = 1e-12


def factored(matrix: Matrix, floor: float) -> tuple[Matrix, Real, Matrix]:
    """u, s, vh of a matrix without the singular values <= `floor`; s is descending."""
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    rank = int(np.count_nonzero(s > floor))
    return u[:, :rank], s[:rank], vh[:rank]


def isometry_tile(outputs: Index, inputs: Index, u: Matrix, s: Real, vh: Matrix) -> BalancedTile:
    """The tile u diag(s) vh, shapes (m, r), (r,), (r, n), as truncated meshes; r >= 1."""
    gain = float(s.max())
    return BalancedTile(
        outputs=outputs,
        inputs=inputs,
        u=decompose_columns(u),
        amplitude=s / gain,
        v=decompose_rows(vh),
        gain=gain,
    )


def without_round_off(tile: BalancedTile) -> BalancedTile:
    """The tile without phases and attenuations that are round-off: each would be a heater."""

    def clean(mesh: BalancedMesh) -> BalancedMesh:
        theta, phi = (np.where(np.abs(x) < NEGLIGIBLE, 0.0, x) for x in (mesh.theta, mesh.phi))
        return replace(mesh, theta=theta, phi=phi)

    amplitude = np.where(1.0 - tile.amplitude < NEGLIGIBLE, 1.0, tile.amplitude)
    return replace(tile, u=clean(tile.u), v=clean(tile.v), amplitude=amplitude)


def orders(rank: int, trials: int, seed: int) -> Iterator[np.ndarray]:
    """Orders of the singular values to try: descending, ascending, then random ones."""
    yield np.arange(rank)
    if rank > 1:
        yield np.arange(rank)[::-1]
    rng = np.random.default_rng(seed)
    for _ in range(trials if rank > 1 else 0):
        yield rng.permutation(rank)


def canonical_tile(
    tile: MeshTile, *, real: bool, floor: float, rules: DrawingRules, trials: int, seed: int
) -> MeshTile | None:
    """The cheapest exact form of `tile` that is found, None if it is zero.

    Cheapest: fewest phases in the balanced gauge, then the least of them. A tile whose mesh is
    already sparse keeps it.
    Singular values <= `floor` count as zero.
    """
    matrix = tile_matrix(tile)
    if real:
        matrix = matrix.real
    rows = np.flatnonzero(np.abs(matrix).max(axis=1, initial=0.0) > floor)
    columns = np.flatnonzero(np.abs(matrix).max(axis=0, initial=0.0) > floor)
    u, s, vh = factored(matrix[np.ix_(rows, columns)], floor)
    if not len(s):
        return None
    outputs, inputs = tile.outputs[rows], tile.inputs[columns]
    candidates = [balanced_tile(tile)]
    for order in orders(len(s), trials, seed):
        candidates.append(isometry_tile(outputs, inputs, u[:, order], s[order], vh[order]))
    candidates = [without_round_off(candidate) for candidate in candidates]
    return drawn_tile(min(candidates, key=_cost), rules)


def _cost(tile: BalancedTile) -> tuple[int, float]:
    phases = np.concatenate(
        [
            tile.u.theta,
            tile.u.phi,
            tile.v.theta,
            tile.v.phi,
            attenuator_theta_rad(amplitude=tile.amplitude),
        ]
    )
    return int(np.count_nonzero(phases)), float(np.abs(phases).sum())


def canonical_grid(
    layer: LinearLayer, grid: TileGrid, *, rules: DrawingRules, trials: int, seed: int
) -> Callable[[Tile], Tile | None]:
    """What makes every mesh tile of a layer's grid canonical, None of a tile that is zero."""
    real = not np.iscomplexobj(layer.weight)
    largest = max((tile.gain for tile in grid.tiles if isinstance(tile, MeshTile)), default=0.0)

    def work(tile: Tile) -> Tile | None:
        if not isinstance(tile, MeshTile):
            return tile
        return canonical_tile(
            tile, real=real, floor=NEGLIGIBLE * largest, rules=rules, trials=trials, seed=seed
        )

    return work


def drawing_rules(context: Context) -> DrawingRules:
    """The technology's drive and detection with the user's choice of passive phases."""
    technology = context.technology
    return DrawingRules(technology.drive, context.passive, technology.detection)


@dataclass(frozen=True, slots=True)
class Canonicalize(Pass):
    """Lossless: fewest heaters and least heat for the same matrices."""

    name: ClassVar[str] = "canonicalize"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH
    moves_phases: ClassVar[bool] = True

    trials: int = option(
        0, "random orders of the singular values to try a tile, beside the sorted ones", low=0
    )

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        rules = drawing_rules(context)
        work = partial(canonical_grid, rules=rules, trials=self.trials, seed=context.seed)
        return with_tiles(program, context, self.name, work, keep=show(self))

"""`svd`: factor every tile into unitary, singular values, unitary."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnx2mzi.ir import DenseTile, FactoredTile, Program, Stage, Tile
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass
from onnx2mzi.pipeline.tilework import with_tiles


def factored(tile: Tile) -> Tile:
    """weight = u diag(s) vh by LAPACK's gesdd, s descending, zeros kept; others unchanged."""
    if not isinstance(tile, DenseTile):
        return tile
    u, s, vh = np.linalg.svd(tile.weight, full_matrices=False)
    return FactoredTile(tile.outputs, tile.inputs, u, s, vh)


@dataclass(frozen=True, slots=True)
class Svd(Pass):
    """Singular value decomposition of every dense tile."""

    name: ClassVar[str] = "svd"
    stage_in: ClassVar[Stage] = Stage.LINEAR
    stage_out: ClassVar[Stage] = Stage.LINEAR

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        return with_tiles(program, context, self.name, lambda layer, grid: factored)

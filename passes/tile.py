"""`tile`: cut every layer's matrix into tiles that the chip's ports can take."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from onnx2mzi.ir import DenseTile, LinearLayer, Program, Stage, TileGrid
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass


def cut(weight: Matrix, ports: int) -> tuple[DenseTile, ...]:
    """Tiles of at most (ports, ports), row by row; all full but those of the last row, column."""
    rows, columns = weight.shape
    return tuple(
        DenseTile(
            outputs=np.arange(top, min(top + ports, rows)),
            inputs=np.arange(left, min(left + ports, columns)),
            weight=weight[top : top + ports, left : left + ports],
        )
        for top in range(0, rows, ports)
        for left in range(0, columns, ports)
    )


def tiled(layer: LinearLayer, ports: int) -> LinearLayer:
    """The layer with one grid of dense tiles."""
    rows, columns = layer.weight.shape
    return replace(layer, grids=(TileGrid(rows, columns, cut(layer.weight, ports)),))


@dataclass(frozen=True, slots=True)
class Tile(Pass):
    """Cut every matrix into tiles of at most the chip's ports; sums of tiles are electronic."""

    name: ClassVar[str] = "tile"
    stage_in: ClassVar[Stage] = Stage.LINEAR
    stage_out: ClassVar[Stage] = Stage.LINEAR

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        layers = tuple(tiled(layer, program.ports) for layer in program.layers)
        return replace(program, layers=layers)

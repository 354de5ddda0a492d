"""`place`: every block, column and row gets its place on the die.

Light runs to the right. The blocks of a tile lie end to end, V, attenuators, U; tiles lie
below each other, first tile on top, one row pitch of room between them; all start at the same x.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from onnx2mzi.ir import BlockPlacement, MeshTile, Placement, Program, Stage
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass
from onnx2mzi.pipeline.chip import mesh_plan
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import Cells, attenuators_um, cells


def place_program(program: Program, technology: Technology) -> Program:
    """The program with a place for every block. A program that has places gets new ones.

    Raises AssertionError for tiles without meshes: the stage says there are none.
    """
    sizes = cells(technology)
    blocks: list[BlockPlacement] = []
    width, depth = 0.0, 0.0
    for layer in program.layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                if blocks:
                    depth += sizes.pitch_um
                placed, end = place_tile(
                    tile, technology, sizes, where=(layer.name, g, t), top_um=-depth
                )
                blocks += placed
                width = max(width, end)
                depth += sizes.pitch_um * max(len(tile.outputs), len(tile.inputs))
    # Heights were counted downwards from 0; the lower left corner becomes the origin.
    lifted = tuple(replace(block, y_um=round(block.y_um + depth, 6)) for block in blocks)
    placement = Placement(technology.name, width, depth, lifted)
    return replace(program, stage=Stage.PLACED, placement=placement)


def place_tile(
    tile: MeshTile,
    technology: Technology,
    sizes: Cells,
    *,
    where: tuple[str, int, int],
    top_um: float,
) -> tuple[list[BlockPlacement], float]:
    """The three blocks of a tile whose strip begins at `top_um`, and the x where it ends."""
    layer, g, t = where
    y_um = top_um - sizes.pitch_um / 2
    v, u = mesh_plan(tile.v, technology), mesh_plan(tile.u, technology)
    v_edges = v.edges_um(sizes.lead_um + v.lead_um)
    s_start = float(v_edges[-1]) + v.out_um + sizes.lead_um
    length = attenuators_um(technology, tile.sigma.state)
    s_edges = np.array([s_start, s_start + length]) if length else np.array([s_start])
    u_edges = u.edges_um(float(s_edges[-1]) + sizes.lead_um + u.lead_um)
    end = float(u_edges[-1]) + u.out_um + sizes.lead_um
    blocks = [
        BlockPlacement(layer, g, t, name, edges, y_um, sizes.pitch_um)
        for name, edges in (("v", v_edges), ("s", s_edges), ("u", u_edges))
    ]
    return blocks, end


@dataclass(frozen=True, slots=True)
class Place(Pass):
    """Every MZI on its column and row of the die, with the cell sizes of the technology."""

    name: ClassVar[str] = "place"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.PLACED

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        placed = place_program(program, context.technology)
        assert placed.placement is not None
        width, height = placed.placement.width_um, placed.placement.height_um
        context.log(f"place: {width / 1000:.2f} x {height / 1000:.2f} mm")
        return placed

"""`place`: every block, column and row gets its place on the die.

Light runs to the right. The blocks of a tile lie end to end, V, attenuators, U; tiles lie
below each other, first tile on top, one row pitch of room between them. A tile has its pads above
and below its rows; all tiles start at the same x, but for those with more pads than fit above.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from onnx2mzi.errors import FitError
from onnx2mzi.ir import BlockPlacement, MeshTile, Placement, Program, Stage
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.pipeline.chip import Alike, program_pads
from onnx2mzi.pipeline.heaters import tile_plans
from onnx2mzi.pipeline.wiring import pad_field_um, pad_plan, tile_rows, wired_alike
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import (
    Cells,
    attenuators_um,
    cells,
    corridors_um,
    on_grid,
    section_um,
)


def place_program(program: Program, technology: Technology) -> Program:
    """The program with a place for every block. A program that has places gets new ones.

    Raises AssertionError for tiles without meshes: the stage says there are none.
    """
    sizes = cells(technology)
    blocks: list[BlockPlacement] = []
    width, depth = 0.0, 0.0
    known = Alike[Strip]()
    for layer in program.layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                if blocks:
                    depth += sizes.pitch_um
                made = partial(tile_strip, tile, technology, sizes)
                strip = known.of(wired_alike(tile, technology), made)
                y_um = -depth - strip.above_um - sizes.pitch_um / 2
                blocks += [
                    replace(block, layer=layer.name, grid=g, tile=t, y_um=y_um)
                    for block in strip.blocks
                ]
                width = max(width, strip.width_um)
                depth += strip.height_um
    # Heights were counted downwards from 0; the lower left corner becomes the origin.
    lifted = tuple(replace(block, y_um=round(block.y_um + depth, 6)) for block in blocks)
    placement = Placement(technology.name, width, depth, lifted)
    return replace(program, stage=Stage.PLACED, placement=placement)


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """A tile with its pads: V, attenuators and U on a row at y = 0, where it ends, the room it
    takes above its rows, and how high it is."""

    blocks: tuple[BlockPlacement, ...]
    width_um: float
    above_um: float
    height_um: float


def tile_strip(tile: MeshTile, technology: Technology, sizes: Cells) -> Strip:
    """A tile whose strip, pads included, begins at x = 0."""
    plans = v, u = tile_plans(tile, technology)
    v_edges = v.edges_um(sizes.lead_um + v.lead_um)
    s_start = float(v_edges[-1]) + v.out_um + sizes.lead_um
    length = attenuators_um(technology, tile.sigma.state)
    s_edges = np.array([s_start, s_start + length]) if length else np.array([s_start])
    lead = sizes.lead_um + u.lead_um + _attenuator_corridor_um(tile, technology, length)
    u_edges = u.edges_um(float(s_edges[-1]) + lead)
    end = float(u_edges[-1]) + u.out_um + sizes.lead_um
    if (tile.u.out_state == ShifterState.ACTIVE).any():
        end += technology.routing.bus_um + technology.rules.metal_space_um
    named = (("v", v_edges), ("s", s_edges), ("u", u_edges))
    blocks = [BlockPlacement("", 0, 0, name, x, 0.0, sizes.pitch_um) for name, x in named]
    field_um = pad_field_um(tile, {block.block: block for block in blocks}, technology, plans)
    # Where pads need more room than the guides, the guides move to the middle of the pads.
    more = max(0.0, field_um - end)
    shift = on_grid(more / 2, 2 * technology.grid_um)
    moved = {b.block: replace(b, column_x_um=b.column_x_um + shift) for b in blocks}
    plan = pad_plan(tile, moved, technology)
    height = plan.above_um + tile_rows(tile) * sizes.pitch_um + plan.below_um
    return Strip(tuple(moved.values()), end + 2 * shift, plan.above_um, height)


def die_share(width_um: float, height_um: float, technology: Technology) -> float:
    """The part of a chip of this size that the best die holds, along and across; 1: it fits."""
    rim = 2 * technology.die.margin_um
    need = np.array([max(width_um, 1e-9), max(height_um, 1e-9)])
    shares = [
        np.minimum((np.array(size) - rim) / need[order], 1.0).prod()
        for size in technology.die.sizes_um
        for order in ([0, 1], [1, 0])
    ]
    return float(max(shares))


def _attenuator_corridor_um(tile: MeshTile, technology: Technology, length_um: float) -> float:
    """What the attenuators' wires need beyond the guides behind their heaters."""
    sigma = tile.sigma
    wires = np.count_nonzero(sigma.state == ShifterState.ACTIVE) * (
        2 if sigma.drive is Drive.PUSH_PULL else 1
    )
    needed = float(corridors_um(technology, np.array([float(wires)]), np.zeros(1))[0])
    room = (length_um - section_um(technology, sigma.state)) / 2
    return on_grid(max(0.0, needed - room), technology.grid_um)


@dataclass(frozen=True, slots=True)
class Place(Pass):
    """Every MZI on its column and row of the die, every heater's pad beside its tile.

    A chip that fits no die of the technology is told, and refused with `fit`.
    """

    name: ClassVar[str] = "place"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.PLACED

    fit: bool = option(False, "refuse a chip that fits no die of the technology")

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        placed = place_program(program, context.technology)
        assert placed.placement is not None
        width, height = placed.placement.width_um, placed.placement.height_um
        size = f"{width / 1000:.2f} x {height / 1000:.2f} mm"
        context.log(f"place: {size}")
        share = die_share(width, height, context.technology)
        if share < 1:
            pads = program_pads(placed).total
            message = f"{size} with {pads} pads fit no die of {context.technology.name}"
            hint = f"the best die holds about {share:.0%} of it: prune more, or fewer --ports"
            if self.fit:
                raise FitError(message, where="place", hint=hint)
            context.log(f"place: {message} ({hint})")
        return placed

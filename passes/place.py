"""`place`: every block, column and row gets its place on the die.

Light runs to the right. The blocks of a tile lie end to end, V, attenuators, U; tiles lie
below each other, first tile on top, one row pitch of room between them, or in lines (see
`floorplan`). A tile has its pads above and below its rows; all tiles of a column start at the
same x, but for those with more pads than fit above.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from onnx2mzi.errors import FitError
from onnx2mzi.ir import BlockPlacement, MeshTile, Placement, Program, Stage
from onnx2mzi.passes.annealing import Box
from onnx2mzi.passes.floorplan import Objective, floorplan
from onnx2mzi.passes.wider import cure
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.pipeline.census import reference_phases, tile_census
from onnx2mzi.pipeline.chip import Alike
from onnx2mzi.pipeline.edges import edge_plan
from onnx2mzi.pipeline.electrical import Electrics, layer_electrics, violations
from onnx2mzi.pipeline.heaters import tile_plans
from onnx2mzi.pipeline.spans import tile_spans_um
from onnx2mzi.pipeline.wiring import pad_field_um, pad_plan, tile_rows, wired_alike
from onnx2mzi.tech import PadStyle, Technology
from onnx2mzi.tech.buses import ATTENUATOR_POWER
from onnx2mzi.tech.edge import FanOut
from onnx2mzi.tech.geometry import (
    Cells,
    attenuators_um,
    buses_um,
    cells,
    corridors_um,
    on_grid,
    section_um,
)

# No network does with less than a thousandth of its phases.
MOST_PRUNED = 0.999


def place_program(
    program: Program, technology: Technology, objective: Objective = Objective.AREA
) -> Program:
    """The program with a place for every block. A program that has places gets new ones.

    Raises AssertionError for tiles without meshes: the stage says there are none.
    """
    sizes = cells(technology)
    strips: list[tuple[str, int, int, Strip]] = []
    boxes: list[Box] = []
    known = Alike[Strip]()
    for number, layer in enumerate(program.layers):
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                made = partial(tile_strip, tile, technology, sizes)
                strip = known.of(wired_alike(tile, technology), made)
                strips.append((layer.name, g, t, strip))
                counted = tile_census(tile, technology.p_pi_mw)
                box = Box(strip.width_um, strip.height_um, counted.heat_rad, counted.mzis, number)
                boxes.append(box)
    plan = floorplan(boxes, technology, objective=objective, gap_um=sizes.pitch_um)
    blocks: list[BlockPlacement] = []
    for k, (name, g, t, strip) in enumerate(strips):
        y_um = -float(plan.top_um[k]) - strip.above_um - sizes.pitch_um / 2
        # Heights were counted downwards from 0; the lower left corner becomes the origin.
        y_um = round(y_um + plan.height_um, 6)
        x_um = on_grid(float(plan.left_um[k]), 2 * technology.grid_um)
        for block in strip.blocks:
            edges = np.round(block.column_x_um + x_um, 6) if x_um else block.column_x_um
            placed = replace(block, layer=name, grid=g, tile=t, y_um=y_um, column_x_um=edges)
            blocks.append(placed)
    width = max([plan.width_um, *(float(b.column_x_um[-1]) for b in blocks)])
    placement = Placement(technology.name, width, plan.height_um, tuple(blocks))
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
    length = attenuators_um(technology, tile.sigma.state)
    s_start = float(v_edges[-1]) + v.out_um + sizes.lead_um
    s_start += _attenuator_bus_um(tile, technology, sizes, length)
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
    rim = 2 * np.array(technology.rim_um)
    need = np.array([max(width_um, 1e-9), max(height_um, 1e-9)])
    shares = [
        np.minimum((np.array(size) - rim[order]) / need[order], 1.0).prod()
        for size in technology.die.sizes_um
        for order in ([0, 1], [1, 0])
    ]
    return float(max(shares))


def largest_die_mm(technology: Technology) -> tuple[float, float]:
    """Width and height of the largest die."""
    width, height = max(technology.die.sizes_um, key=lambda size: size[0] * size[1])
    return width / 1000, height / 1000


def shrunk(width_um: float, height_um: float, technology: Technology) -> float:
    """By what factor both sides of a chip must shrink to fit the die that suits it best."""
    rim = 2 * np.array(technology.rim_um)
    need = np.array([width_um, height_um])
    return max(
        float(((np.array(size) - rim[order]) / need[order]).min())
        for size in technology.die.sizes_um
        for order in ([0, 1], [1, 0])
    )


def what_fits(program: Program, technology: Technology, wires: Electrics) -> str:
    """What of a placed chip that is too large would fit, and how to get there.

    Depth and rows of a mesh fall alike where ports and rank do: heaters as the square.
    """
    placement = program.placement
    assert placement is not None
    factor = shrunk(placement.width_um, placement.height_um, technology)
    heaters = int(wires.signals * factor**2)
    reference = sum(
        reference_phases((layer.weight.shape[0], layer.weight.shape[1]), program.ports)
        for layer in program.layers
    )
    target = 1 - heaters / reference
    prune = f"prune{{target={target:.3f}}} with --data, " if target < MOST_PRUNED else ""
    return (
        f"about {heaters:,} of its {wires.signals:,} heaters would fit: {prune}fewer --ports, "
        "--only some layers, or bumps in the technology"
    )


def _attenuator_bus_um(
    tile: MeshTile, technology: Technology, sizes: Cells, length_um: float
) -> float:
    """What the attenuators' ground bus needs beyond the guides before their heaters."""
    sigma, space = tile.sigma, technology.rules.metal_space_um
    heaters = np.count_nonzero(sigma.state == ShifterState.ACTIVE)
    if not heaters or technology.pads.style is PadStyle.BUMP:
        return 0.0
    power = max(technology.routing.bus_power, ATTENUATOR_POWER)
    bus = float(buses_um(technology, tile_rows(tile), np.array([float(heaters)]), power)[0])
    room = sizes.lead_um + (length_um - section_um(technology, sigma.state)) / 2 - 2 * space
    return on_grid(max(0.0, bus + 4 * technology.grid_um - room), technology.grid_um)


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
    objective: Objective = option(
        Objective.AREA,
        "area: tiles below each other, in line where only that fits a die; heat, wire: in line "
        "along the light, hot tiles apart or followers near",
    )

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        placed = place_program(program, context.technology, self.objective)
        assert placed.placement is not None
        width, height = placed.placement.width_um, placed.placement.height_um
        size = f"{width / 1000:,.2f} x {height / 1000:,.2f} mm"
        context.log(f"place: {size}")
        spans = tile_spans_um(placed, context.technology).values()
        if self.objective is Objective.AREA and any(left > 0 for left, _ in spans):
            context.log(
                "place: tiles below each other fit no die, tiles in line do: ports between two "
                "tiles are inside the chip, without couplers"
            )
        wires = sum(layer_electrics(placed, context.technology).values(), Electrics())
        wrong = violations(wires, context.technology)
        for problem in wrong:
            context.log(f"place: {problem}")
        if wrong and (
            told := cure(
                program,
                context.technology,
                wires,
                partial(place_program, objective=self.objective),
            )
        ):
            context.log(f"place: {told}")
        self._couplers(placed, context)
        share = die_share(width, height, context.technology)
        if share < 1:
            die = "{:g} x {:g} mm".format(*largest_die_mm(context.technology))
            message = (
                f"{size} with {wires.pads:,} pads fit no die of {context.technology.name} "
                f"(largest: {die})"
            )
            hint = what_fits(placed, context.technology, wires)
            if self.fit:
                raise FitError(message, where="place", hint=hint)
            context.log(f"place: {message}: {hint}")
        return placed

    def _couplers(self, placed: Program, context: Context) -> None:
        """Tells where couplers do not lie at the fibres' pitch, and what is too large by them."""
        asked, plan = context.technology.edge.fan_out, edge_plan(placed, context.technology)
        if plan is None or asked is FanOut.NONE:
            return
        if asked is FanOut.FITS and all(port.guide is None for port in plan.ports):
            context.log("place: couplers at the pitch of the rows: a fan-out would fit no die")
        elif not plan.fits and asked is FanOut.ALWAYS:
            (x0, y0), (x1, y1) = plan.low, plan.high
            message = (
                f"with couplers {context.technology.edge.pitch_um:g} um apart "
                f"{(x1 - x0) / 1000:,.2f} x {(y1 - y0) / 1000:,.2f} mm fit no die of "
                f"{context.technology.name}"
            )
            hint = 'fan_out = "fits" in [edge] leaves it off where nothing fits'
            if self.fit:
                raise FitError(message, where="place", hint=hint)
            context.log(f"place: {message}: {hint}")

"""The die's outline, and where its edge couplers and alignment loops are.

A coupler is a straight from a port to the die's edge, whose last piece narrows: the same for
every port of a side, so rows stay equal. A loop, one on either side below the lowest port, leads
from an edge coupler back to the next: fibres are aligned on it before the chip works.
"""

from collections.abc import Container
from dataclasses import dataclass
from math import pi

from onnx2mzi.ir import Program
from onnx2mzi.pipeline.spans import tile_spans_um
from onnx2mzi.pipeline.wiring import numbered_tiles, placed_blocks
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import on_grid

Corner = tuple[float, float]
SIDES = ("left", "right")
# Labels of couplers' tips begin so; the rest is the port's name, or the loop's.
EDGE = "edge."


def loop_name(side: int, end: int) -> str:
    """The name of an end of a loop, 0 the upper one."""
    return f"loop.{SIDES[side]}{end}"


@dataclass(frozen=True, slots=True)
class EdgePort:
    """A port at the left (`side` 0) or right edge of the chip, and its height on the die."""

    name: str
    side: int
    y_um: float


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """Corners of the die; all couplers; heights of the loops' upper and lower ends.

    `run_um`: from the die's edge to the ports, left and right; `reach_um`: from the die's edge
    to the outermost point of a loop's middle.
    """

    low: Corner
    high: Corner
    ports: tuple[EdgePort, ...]
    run_um: tuple[float, float]
    loop_y_um: tuple[float, float]
    reach_um: float

    def coupler_um2(self, side: int, technology: Technology) -> float:
        """Area of a coupler's guide."""
        return self.run_um[side] * technology.guide.width_um - _lost_um2(technology)

    def loop_um2(self, technology: Technology) -> float:
        """Area of a loop's guide."""
        radius = technology.guide.bend_radius_um
        upper, lower = self.loop_y_um
        straight = 2 * (self.reach_um - radius) + upper - lower - 2 * radius
        return (straight + pi * radius) * technology.guide.width_um - 2 * _lost_um2(technology)


def _lost_um2(technology: Technology) -> float:
    """What a taper lacks of a guide."""
    edge = technology.edge
    return edge.taper_length_um * (technology.guide.width_um - edge.tip_width_um) / 2


def edge_plan(
    program: Program, technology: Technology, layers: Container[str] | None = None
) -> EdgePlan | None:
    """Edge couplers of a placed program, or of `layers` of it; None where none are drawn.

    Tiles in line have couplers at the line's ends only.
    """
    placement = program.placement
    if placement is None or not technology.edge.drawn:
        return None
    placed, spans = placed_blocks(program), tile_spans_um(program, technology)
    ports: list[EdgePort] = []
    for _, layer, grid, index, tile in numbered_tiles(program):
        if layers is not None and layer not in layers:
            continue
        place = placed[layer, grid, index]["v"]
        left, right = spans[layer, grid, index]
        for side, here, word, count in (
            (0, left == 0.0, "in", tile.v.ports),
            (1, right == placement.width_um, "out", tile.u.ports),
        ):
            ports += [
                EdgePort(
                    f"{layer}.g{grid}.t{index}.{word}{k}",
                    side,
                    round(place.y_um - k * place.row_pitch_um, 6),
                )
                for k in range(count if here else 0)
            ]
    if not ports:
        return None
    edge, rules, grid_um = technology.edge, technology.rules, technology.grid_um
    upper = on_grid(min(port.y_um for port in ports) - edge.pitch_um, grid_um)
    lower = round(upper - edge.pitch_um, 6)
    bottom = on_grid(min(0.0, lower - rules.guide_gap_um), grid_um)
    low, high = outline_um(placement.width_um, placement.height_um, technology, bottom)
    run = round(-low[0], 6), round(high[0] - placement.width_um, 6)
    reach = edge.taper_length_um + technology.guide.bend_radius_um
    return EdgePlan(low, high, tuple(ports), run, (upper, lower), reach)


def outline_um(
    width_um: float, height_um: float, technology: Technology, bottom_um: float = 0.0
) -> tuple[Corner, Corner]:
    """Two corners of the die: the smallest that the foundry sells and the chip, whose lower left
    corner is the origin, fits into, around the chip's middle; the chip's own size if none does.

    `bottom_um` is how low loops lie; edge couplers reach over the chip's own size.
    """
    rim_x, rim_y = technology.rim_um
    for width, height in sorted(technology.die.sizes_um, key=lambda size: size[0] * size[1]):
        if width_um + 2 * rim_x <= width and height_um - bottom_um + 2 * rim_y <= height:
            x, y = (
                on_grid((own - all_of_it) / 2, technology.grid_um)
                for own, all_of_it in ((width_um, width), (height_um + bottom_um, height))
            )
            return (x, y), (round(x + width, 6), round(y + height, 6))
    room = technology.edge_room_um
    return (-room, bottom_um), (round(width_um + room, 6), height_um)

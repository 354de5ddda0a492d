"""The die's outline, and where its edge couplers and alignment loops are.

A coupler is a guide from a port to the die's edge, whose last piece narrows. It is straight, at
the pitch of the rows, or leads to the pitch of a fibre array (see tech.fan); either way all of a
tile are equally long. A loop, one on either side below the lowest coupler, leads from an edge
coupler back to the next: fibres are aligned on it before the chip works.
"""

from collections.abc import Container
from dataclasses import dataclass
from math import pi

from onnx2mzi.ir import Program
from onnx2mzi.physics.loss import propagation_db
from onnx2mzi.pipeline.spans import tile_spans_um
from onnx2mzi.pipeline.wiring import numbered_tiles, placed_blocks
from onnx2mzi.tech import Technology
from onnx2mzi.tech.edge import FanOut
from onnx2mzi.tech.fan import FanGuide, array_heights_um, fan
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
    """A port at the left (`side` 0) or right edge of the chip, its height on the die and that of
    its tip; `guide` is None where the guide is straight."""

    name: str
    side: int
    y_um: float
    tip_um: float
    guide: FanGuide | None = None


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """Corners of the die; all couplers; heights of the loops' upper and lower ends.

    `run_um`: from the die's edge to the ports, left and right; `reach_um`: from the die's edge
    to the outermost point of a loop's middle; `fits`: into a die that the foundry sells.
    """

    low: Corner
    high: Corner
    ports: tuple[EdgePort, ...]
    run_um: tuple[float, float]
    loop_y_um: tuple[float, float]
    reach_um: float
    fits: bool

    def length_um(self, port: EdgePort) -> float:
        """Length of a coupler's guide, taper included."""
        return self.run_um[port.side] + (port.guide.extra_um if port.guide else 0.0)

    def loss_db(self, port: EdgePort, technology: Technology) -> float:
        """Loss between a fibre and a port: the coupler's, of the guide and of its bends."""
        guide = technology.guide
        run = float(propagation_db(length_um=self.length_um(port), db_per_cm=guide.loss_db_per_cm))
        turns = port.guide.turns if port.guide else 0.0
        return technology.edge.loss_db + run + guide.bend_loss_db * turns

    def coupler_um2(self, port: EdgePort, technology: Technology) -> float:
        """Area of a coupler's guide."""
        return self.length_um(port) * technology.guide.width_um - _lost_um2(technology)

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


@dataclass(frozen=True, slots=True)
class _Group:
    """The ports of a tile at one side of the chip, names and heights, from the top down."""

    side: int
    names: tuple[str, ...]
    y_um: tuple[float, ...]


def edge_plan(
    program: Program, technology: Technology, layers: Container[str] | None = None
) -> EdgePlan | None:
    """Edge couplers of a placed program, or of `layers` of it; None where none are drawn.

    Tiles in line have couplers at the line's ends only.
    """
    placement = program.placement
    if placement is None or not technology.edge.drawn:
        return None
    groups = _groups(program, technology, layers)
    if not groups:
        return None
    size = placement.width_um, placement.height_um
    straight = [
        EdgePort(name, group.side, y, y)
        for group in groups
        for name, y in zip(group.names, group.y_um, strict=True)
    ]
    if technology.edge.fan_out is not FanOut.NONE:
        made = _plan(_fanned(groups, technology), size, technology)
        if made.fits or technology.edge.fan_out is FanOut.ALWAYS:
            return made
    return _plan(straight, size, technology)


def edge_losses_db(program: Program, technology: Technology) -> dict[str, float]:
    """What light loses by the couplers into and out of the worst tile of every layer, in dB.

    Of a placed program with its guides; nothing where no couplers are drawn.
    """
    if not technology.edge.drawn:
        return {}
    plan = edge_plan(program, technology)
    if plan is None:
        both = 2 * technology.edge.loss_db
        return {} if program.placement else {layer.name: both for layer in program.layers}
    ways: dict[tuple[str, int], float] = {}
    for port in plan.ports:
        way = port.name.rpartition(".")[0], port.side
        ways[way] = max(ways.get(way, 0.0), plan.loss_db(port, technology))
    worst: dict[str, float] = {}
    for tile, _ in ways:
        layer = tile.rsplit(".", 2)[0]
        both = ways.get((tile, 0), 0.0) + ways.get((tile, 1), 0.0)
        worst[layer] = max(worst.get(layer, 0.0), both)
    return worst


def _groups(
    program: Program, technology: Technology, layers: Container[str] | None
) -> list[_Group]:
    placed, spans = placed_blocks(program), tile_spans_um(program, technology)
    assert program.placement is not None
    groups: list[_Group] = []
    for _, layer, grid, index, tile in numbered_tiles(program):
        if layers is not None and layer not in layers:
            continue
        place = placed[layer, grid, index]["v"]
        left, right = spans[layer, grid, index]
        for side, here, word, count in (
            (0, left == 0.0, "in", tile.v.ports),
            (1, right == program.placement.width_um, "out", tile.u.ports),
        ):
            ports = range(count if here else 0)
            names = tuple(f"{layer}.g{grid}.t{index}.{word}{k}" for k in ports)
            y = tuple(round(place.y_um - k * place.row_pitch_um, 6) for k in ports)
            groups += [_Group(side, names, y)] if names else []
    return groups


def _fanned(groups: list[_Group], technology: Technology) -> list[EdgePort]:
    """All ports with their tips in arrays, the tips of a tile around its middle."""
    edge, guide = technology.edge, technology.guide
    most_um = edge.pitch_um - technology.rules.guide_gap_um - guide.width_um
    found: list[EdgePort] = []
    for side in (0, 1):
        here = sorted((g for g in groups if g.side == side), key=lambda g: -g.y_um[0])
        middles = [(group.y_um[0] + group.y_um[-1]) / 2 for group in here]
        counts = [len(group.names) for group in here]
        arrays = array_heights_um(middles, counts, edge.pitch_um, technology.grid_um)
        for group, array in zip(here, arrays, strict=True):
            tips = array.tolist()
            climbs = [round(y - tip, 6) for y, tip in zip(group.y_um, tips, strict=True)]
            guides = fan(climbs, guide.bend_radius_um, most_um)
            found += [
                EdgePort(name, side, y, tip, made)
                for name, y, tip, made in zip(group.names, group.y_um, tips, guides, strict=True)
            ]
    return found


def _plan(ports: list[EdgePort], size_um: Corner, technology: Technology) -> EdgePlan:
    """The couplers with their loops on a die around them."""
    edge, rules, grid_um = technology.edge, technology.rules, technology.grid_um
    upper = on_grid(min(port.tip_um for port in ports) - edge.pitch_um, grid_um)
    lower = round(upper - edge.pitch_um, 6)
    bottom = on_grid(min(0.0, lower - rules.guide_gap_um), grid_um)
    room, top = technology.edge_room_um, size_um[1]
    guides = [port.guide for port in ports if port.guide]
    if guides:
        bends = max(guide.bend.run_um for guide in guides)
        detours = max(guide.detour.run_um for guide in guides)
        least = edge.taper_length_um + bends + detours + 4 * grid_um
        room = max(room, on_grid(least, grid_um))
        top = max(top, on_grid(max(port.tip_um for port in ports) + edge.pitch_um, grid_um))
    low, high, fits = _die_around(size_um[0], bottom, top, room, technology)
    run = round(-low[0], 6), round(high[0] - size_um[0], 6)
    reach = edge.taper_length_um + technology.guide.bend_radius_um
    return EdgePlan(low, high, tuple(ports), run, (upper, lower), reach, fits)


def outline_um(width_um: float, height_um: float, technology: Technology) -> tuple[Corner, Corner]:
    """Two corners of the die: the smallest that the foundry sells and the chip, whose lower left
    corner is the origin, fits into, around the chip's middle; the chip's own size if none does.
    """
    low, high, _ = _die_around(width_um, 0.0, height_um, technology.edge_room_um, technology)
    return low, high


def _die_around(
    width_um: float, bottom_um: float, top_um: float, room_um: float, technology: Technology
) -> tuple[Corner, Corner, bool]:
    """Corners of the die around everything from `bottom_um` to `top_um`, `room_um` to the left
    and right of the chip; whether the foundry sells one so large."""
    rim_x, rim_y = max(technology.die.margin_um, room_um), technology.die.margin_um
    for width, height in sorted(technology.die.sizes_um, key=lambda size: size[0] * size[1]):
        if width_um + 2 * rim_x <= width and top_um - bottom_um + 2 * rim_y <= height:
            x, y = (
                on_grid((own - all_of_it) / 2, technology.grid_um)
                for own, all_of_it in ((width_um, width), (top_um + bottom_um, height))
            )
            return (x, y), (round(x + width, 6), round(y + height, 6)), True
    return (-room_um, bottom_um), (round(width_um + room_um, 6), top_um), False

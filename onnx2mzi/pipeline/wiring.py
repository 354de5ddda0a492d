"""Which wires a tile's heaters need, and where they run: from every heater to two pads.

Vertical wires (see `pipeline.tracks`) cross the mesh and go on to pads in its north and south (see
`tech.escape`); stubs join each heater's contacts to a signal's track and to a bus. In one metal
nothing crosses. With two, stubs are of the first metal and all else of the second, with a via
where they meet. Everything here follows from the program, its places and the technology; but for
the stubs, and for bumps, it does not depend on which arm a heater is on, so that tiles that differ
in their phases alone share it (`Wirer`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from onnx2mzi.ir import BlockPlacement, MeshTile, Program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.pipeline.chip import Alike, structure
from onnx2mzi.pipeline.heaters import (
    Bools,
    Heaters,
    Ints,
    Slots,
    TilePlans,
    on_arms,
    slots_of,
    tile_phases_rad,
    tile_plans,
)
from onnx2mzi.pipeline.tracks import Tracks, bump_um, tracks_of
from onnx2mzi.tech import PadStyle, Technology
from onnx2mzi.tech.escape import Escape, escape, field_um
from onnx2mzi.tech.geometry import cells, heated_um
from onnx2mzi.tech.over import lead_y_um, lift_um, over_cells

NO_PAD = -1


def tile_rows(tile: MeshTile) -> int:
    """Rows of guides that the tile takes."""
    return max(len(tile.outputs), len(tile.inputs))


def pad_name(tile: int, name: str) -> str:
    """Name of a pad on the chip: `T0_N12`. `tile` counts the tiles of the program."""
    return f"T{tile}_{name}"


def numbered_tiles(program: Program) -> Iterator[tuple[int, str, int, int, MeshTile]]:
    """(number on the chip, layer, grid, tile number, tile) of every tile with meshes."""
    number = 0
    for layer in program.layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                if isinstance(tile, MeshTile):
                    yield number, layer.name, g, t, tile
                    number += 1


def placed_blocks(program: Program) -> dict[tuple[str, int, int], dict[str, BlockPlacement]]:
    """The places of each tile's blocks; nothing for a program without places."""
    found: dict[tuple[str, int, int], dict[str, BlockPlacement]] = {}
    for block in program.placement.blocks if program.placement else ():
        found.setdefault((block.layer, block.grid, block.tile), {})[block.block] = block
    return found


# ---- wires --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PadPlan:
    """What of a tile's wiring depends on its structure alone; heights from the tile's port 0.

    `pads_um` (x0, y0, x1, y1), shape (P, 4), x on the chip; `ground` (P,) marks pads of buses;
    `signal` and `return_` (H,) are the pads of each heater's two ends. `above_um`, `below_um`:
    room it takes beyond the outermost rows.
    """

    slots: Slots
    pads_um: Real
    ground: Bools
    signal: Ints
    return_: Ints
    above_um: float
    below_um: float
    tracks: Tracks
    escapes: tuple[Escape, ...]
    rows: int

    @cached_property
    def names(self) -> list[str]:
        """Names of the pads within the tile: N1, N2 ... north of it, S1 ... south, G1 ... buses."""
        count = {"N": 0, "S": 0, "G": 0}
        found = []
        for low, ground in zip(self.pads_um[:, 1].tolist(), self.ground.tolist(), strict=True):
            side = "G" if ground else "N" if low > 0 else "S"
            count[side] += 1
            found.append(f"{side}{count[side]}")
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """The wires of one tile: `boxes_um` (x0, y0, x1, y1), shape (B, 4), is the metal of wires.

    `over_um`, shape (C, 4), is their second metal, and `vias_um`, shape (V, 2), where the two
    meet; both are empty with one metal. The other fields are those of its `PadPlan`.
    """

    heaters: Heaters
    boxes_um: Real
    over_um: Real
    vias_um: Real
    pads_um: Real
    ground: Bools
    signal: Ints
    return_: Ints
    above_um: float
    below_um: float
    names: list[str]


class Wirer:
    """Wires the tiles of a chip; keeps the last few plans, for most tiles are alike."""

    def __init__(self, technology: Technology) -> None:
        self.technology = technology
        self._plans = Alike[PadPlan]()

    def plan(self, tile: MeshTile, places: Mapping[str, BlockPlacement]) -> PadPlan:
        """Where the pads are, and which heater each one drives."""
        edges = [places[name].column_x_um.tobytes() for name in "vsu"]
        key = b"".join([wired_alike(tile, self.technology), *edges])
        return self._plans.of(key, partial(pad_plan, tile, places, self.technology))

    def wiring(self, tile: MeshTile, places: Mapping[str, BlockPlacement]) -> Wiring:
        """All wires and pads of a placed tile."""
        plan = self.plan(tile, places)
        heaters = on_arms(plan.slots, tile)
        boxes, over, vias = metal_um(heaters, plan, self.technology)
        return Wiring(
            heaters=heaters,
            boxes_um=boxes,
            over_um=over,
            vias_um=vias,
            pads_um=plan.pads_um,
            ground=plan.ground,
            signal=plan.signal,
            return_=plan.return_,
            above_um=plan.above_um,
            below_um=plan.below_um,
            names=plan.names,
        )


def wired_alike(tile: MeshTile, technology: Technology) -> bytes:
    """The structure of a tile, and what else its `PadPlan` depends on beside its places."""
    if technology.pads.style is not PadStyle.BUMP:
        return structure(tile)
    # Bumps lie beside the heaters, on whichever arm those are.
    return structure(tile) + (tile_phases_rad(tile) < 0).tobytes()


def tile_wiring(
    tile: MeshTile, places: Mapping[str, BlockPlacement], technology: Technology
) -> Wiring:
    """All wires and pads of a placed tile."""
    return Wirer(technology).wiring(tile, places)


def pad_plan(
    tile: MeshTile, places: Mapping[str, BlockPlacement], technology: Technology
) -> PadPlan:
    """The pads of a placed tile, between its ends, or as far beyond them as the pads ask for."""
    plans = tile_plans(tile, technology)
    slots, rows = slots_of(tile, places, technology, plans), tile_rows(tile)
    heaters = on_arms(slots, tile)
    tracks = tracks_of(heaters, slots, technology, rows)
    if technology.pads.style is PadStyle.BUMP:
        return _bumped(heaters, slots, tracks, technology, rows)
    left_um, right_um = _extent_um(places, technology, plans)
    fields = _fields_um(tracks, technology)
    more = max(0.0, max(fields) - (right_um - left_um)) / 2
    return _escaped(slots, tracks, technology, rows, left_um - more, right_um + more)


def _extent_um(
    places: Mapping[str, BlockPlacement], technology: Technology, plans: TilePlans
) -> tuple[float, float]:
    """x where the guides of the tile's strip begin, and where its last shifters end."""
    lead = cells(technology).lead_um
    left = float(places["v"].column_x_um[0]) - lead - plans[0].lead_um
    end = float(places["u"].column_x_um[-1]) + plans[1].out_um
    return left, end + lead


def pad_field_um(
    tile: MeshTile, places: Mapping[str, BlockPlacement], technology: Technology, plans: TilePlans
) -> float:
    """The least width that the pads of a tile take; its places may still move along x."""
    if technology.pads.style is PadStyle.BUMP:
        return 0.0
    slots = slots_of(tile, places, technology, plans)
    tracks = tracks_of(on_arms(slots, tile), slots, technology, tile_rows(tile))
    return max(_fields_um(tracks, technology))


def _fields_um(tracks: Tracks, technology: Technology) -> list[float]:
    """The least widths of the pads in the north and in the south."""
    return [field_um(technology, tracks.wide[side]) for side in (tracks.north, tracks.south)]


def _from_um(heaters: Heaters, tracks: Tracks, signal_y_um: Real, technology: Technology) -> Real:
    """Heights of the inner ends of the vertical wires: a bus begins at its last heater."""
    y, count = heaters.y_um, len(heaters.bank)
    half_track = technology.routing.track_um / 2
    gaps = len(tracks.x_um) - count
    highest = np.full(gaps, -np.inf)
    lowest = np.full(gaps, np.inf)
    np.maximum.at(highest, tracks.bus - count, y)
    np.minimum.at(lowest, tracks.bus - count, y)
    up, bus_up = tracks.up[:count], tracks.up[count:]
    return np.concatenate(
        [
            np.where(up, signal_y_um - half_track, signal_y_um + half_track),
            np.where(bus_up, lowest - half_track, highest + half_track),
        ]
    )


def _signal_y_um(heaters: Heaters, tracks: Tracks, technology: Technology) -> Real:
    """Where each heater's stub meets its track: at its height, or a lead's above it."""
    return np.asarray(heaters.y_um + np.where(tracks.over, lead_y_um(technology), 0.0))


def _stubs(heaters: Heaters, tracks: Tracks, signal_y_um: Real, technology: Technology) -> Real:
    """From every contact to its track and its bus, shape (2 H, 4)."""
    section, contact = heated_um(technology), technology.heater.contact_length_um
    half = technology.routing.track_um / 2
    start = heaters.bank_x_um[heaters.bank]
    left = heaters.signal_left[heaters.bank]
    signals = tracks.x_um[: len(heaters.bank)]
    boxes = []
    for to, at_left, y, over in (
        (signals, left, signal_y_um, tracks.over),
        (tracks.x_um[tracks.bus], ~left, heaters.y_um, np.zeros(len(left), bool)),
    ):
        # Outwards from the contact's inner edge, or inwards from its outer one.
        rightwards = at_left == over
        edge = start + np.where(over, 0.0, contact)
        edge = np.where(at_left, edge, 2 * start + section - edge)
        x0, x1 = np.where(rightwards, edge, to - half), np.where(rightwards, to + half, edge)
        boxes.append(np.stack([x0, y - half, x1, y + half], 1))
    return np.concatenate(boxes)


def _upright(x: Real, width: Real, y0: Real, y1: Real) -> Real:
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    return np.stack([x - width / 2, low, x + width / 2, high], 1)


def metal_um(heaters: Heaters, plan: PadPlan, technology: Technology) -> tuple[Real, Real, Real]:
    """First and second metal of a tile's wires, shapes (B, 4), and its vias' centres (V, 2)."""
    tracks, count = plan.tracks, len(heaters.bank)
    signal_y = _signal_y_um(heaters, tracks, technology)
    inner = _from_um(heaters, tracks, signal_y, technology)
    stubs = _stubs(heaters, tracks, signal_y, technology)
    boxes, under, vias = list[Real](), list[Real](), list[Real]()
    if technology.pads.style is PadStyle.BUMP:
        end = (plan.pads_um[count:, 1] + plan.pads_um[count:, 3]) / 2
        x, width = tracks.x_um[count:], tracks.width_um[count:]
        boxes.append(_upright(x, width, inner[count:], end))
    else:
        boxes.append(_upright(tracks.x_um, tracks.width_um, inner, tracks.to_um))
        pitch = cells(technology).pitch_um
        ends = ((tracks.north, pitch / 2, 1), (tracks.south, pitch / 2 - plan.rows * pitch, -1))
        lift = lift_um(technology)
        for made, (side, base, sign) in zip(plan.escapes, ends, strict=True):
            x = tracks.x_um[side]
            half_track = technology.routing.track_um / 2
            change = base + sign * (lift - half_track)
            begin = np.where(made.under, change - sign * half_track, base)
            for wire, box in _escape_boxes(made, x, base, begin, sign):
                below = made.under[wire]
                boxes.append(box[~below])
                under.append(box[below])
            x, width = x[made.under], made.width_um[made.under]
            y = np.full(len(x), base)
            boxes.append(_upright(x, width, y, y + sign * lift))
            vias.append(np.stack([x, np.full(len(x), change)], 1))
    if not over_cells(technology):
        return _boxes([stubs, *boxes, *under]), np.zeros((0, 4)), np.zeros((0, 2))
    x = np.concatenate([tracks.x_um[:count], tracks.x_um[tracks.bus]])
    vias.append(np.stack([x, np.concatenate([signal_y, heaters.y_um])], 1))
    return _boxes([stubs, *under]), _boxes(boxes), _boxes(vias)


def _boxes(parts: list[Real]) -> Real:
    return np.asarray(np.round(np.concatenate(parts), 6), np.float64)


def _escaped(
    slots: Slots,
    tracks: Tracks,
    technology: Technology,
    rows: int,
    left_um: float,
    right_um: float,
) -> PadPlan:
    pitch = cells(technology).pitch_um
    top, bottom = pitch / 2, pitch / 2 - rows * pitch
    pads: list[Real] = []
    escapes: list[Escape] = []
    pad_of = np.full(len(tracks.x_um), NO_PAD)
    wide = []
    for side, base, sign in ((tracks.north, top, 1), (tracks.south, bottom, -1)):
        x, width = tracks.x_um[side], tracks.width_um[side]
        made = escape(
            technology,
            x,
            width,
            tracks.current_ma[side],
            tracks.wide[side],
            left_um=left_um,
            right_um=right_um,
        )
        escapes.append(made)
        half, half_x = technology.pads.size_um / 2, made.pad_um / 2
        y = base + sign * made.pad_y_um
        pad_of[side] = np.arange(len(side)) + (len(pads[0]) if pads else 0)
        pads.append(
            np.stack([made.pad_x_um - half_x, y - half, made.pad_x_um + half_x, y + half], 1)
        )
        wide.append(tracks.wide[side])
    return PadPlan(
        slots=slots,
        pads_um=np.asarray(np.round(np.concatenate(pads), 6), np.float64),
        ground=np.concatenate(wide),
        signal=pad_of[: len(slots.bank)],
        return_=pad_of[tracks.bus],
        above_um=escapes[0].height_um,
        below_um=escapes[1].height_um,
        tracks=tracks,
        escapes=tuple(escapes),
        rows=rows,
    )


def _escape_boxes(
    made: Escape, x: Real, base: float, begin: Real, sign: int
) -> list[tuple[Ints, Real]]:
    """(wires, boxes), from the heights `begin` (W,): up to every step sideways and on to the pads;
    the steps; into the pads."""
    half, jogs, pad_y = made.width_um / 2, made.jogs, base + sign * made.pad_y_um
    jog_y, wire = base + sign * jogs.y_um, jogs.wire
    # A wire rises before each of its steps and behind the last one.
    rising = np.append(wire, np.arange(len(x)))
    low, at = np.append(jogs.y_um, np.full(len(x), np.inf)), np.append(jogs.from_um, made.pass_x_um)
    order = np.lexsort((low, rising))
    ends = np.append(jog_y, pad_y)[order]
    first = np.append(True, np.diff(rising[order]) > 0)
    starts = np.where(first, begin[rising[order]], np.append(base, ends[:-1]))
    width = made.width_um[rising[order]]
    steps = np.stack(
        [
            np.minimum(jogs.from_um, jogs.to_um) - half[wire],
            jog_y - half[wire],
            np.maximum(jogs.from_um, jogs.to_um) + half[wire],
            jog_y + half[wire],
        ],
        1,
    )
    into = np.stack([made.pad_x_um, pad_y - half, made.pass_x_um + half, pad_y + half], 1)
    beside = made.pass_x_um != made.pad_x_um
    return [
        (rising[order], _upright(at[order], width, starts, ends)),
        (wire, steps),
        (np.flatnonzero(beside), into[beside]),
    ]


# ---- bumps --------------------------------------------------------------------------------


def _bumped(
    heaters: Heaters, slots: Slots, tracks: Tracks, technology: Technology, rows: int
) -> PadPlan:
    """A bump beside the signal contact of every heater, and one at the end of every bus."""
    space = technology.rules.metal_space_um
    count, half = len(heaters.bank), bump_um(heaters, technology)[heaters.bank] / 2
    left = heaters.signal_left[heaters.bank]
    start = heaters.bank_x_um[heaters.bank]
    reach = space + half
    x = start + np.where(left, -reach, heated_um(technology) + reach)
    bus_x, to = tracks.x_um[count:], tracks.to_um[count:]
    bus_half = np.full(len(bus_x), technology.pads.size_um / 2)
    away = np.where(to > 0, 1.0, -1.0)
    bus_y = to + away * (space + bus_half)
    signals = replace(tracks, x_um=np.concatenate([x, bus_x]))
    x, y = np.concatenate([x, bus_x]), np.concatenate([heaters.y_um, bus_y])
    half = np.concatenate([half, bus_half])
    beyond = technology.pads.size_um + 2 * space if rows and len(bus_x) else 0.0
    return PadPlan(
        slots=slots,
        pads_um=np.asarray(np.round(np.stack([x - half, y - half, x + half, y + half], 1), 6)),
        ground=np.arange(len(x)) >= count,
        signal=np.arange(count),
        return_=tracks.bus,
        above_um=beyond,
        below_um=beyond,
        tracks=signals,
        escapes=(),
        rows=rows,
    )

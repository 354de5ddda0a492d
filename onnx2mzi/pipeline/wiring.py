"""Which wires a tile's heaters need, and where they run: one metal, nothing crosses.

Heaters that lie above each other form a bank. Between two banks lie, left to right, the signal
wires of the left bank, a ground bus, and the signal wires of the right bank, as far as each is
there: phi heaters have their signals on the left and ground on the right, theta heaters the
other way round, so a column's two banks share a bus. The upper half of a bank's signals leaves
northwards, the rest southwards; the outermost heater takes the nearest track. A bus is as wide as
its heaters need (see tech.buses), as far as there is room. Everything here
follows from the program, its places and the technology; but for the stubs of the heaters, and for
bumps, it does not depend on which arm a heater is on, so that tiles that differ in their phases
alone share it (`Wirer`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from onnx2mzi.ir import BlockPlacement, MeshTile, Program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.pipeline.chip import Alike, structure
from onnx2mzi.pipeline.heaters import (
    OUT,
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
from onnx2mzi.tech import PadStyle, Technology
from onnx2mzi.tech.buses import ATTENUATOR_POWER, bus_needs
from onnx2mzi.tech.escape import Escape, escape, field_um
from onnx2mzi.tech.geometry import bus_room_um, cells, heated_um

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
    tracks: "_Tracks"
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

    The other fields are those of its `PadPlan`.
    """

    heaters: Heaters
    boxes_um: Real
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
        return Wiring(
            heaters=heaters,
            boxes_um=boxes_um(heaters, plan, self.technology),
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
    tracks = _tracks(heaters, slots, technology, rows)
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
    tracks = _tracks(on_arms(slots, tile), slots, technology, tile_rows(tile))
    return max(_fields_um(tracks, technology))


def _fields_um(tracks: "_Tracks", technology: Technology) -> list[float]:
    """The least widths of the pads in the north and in the south."""
    return [field_um(technology, tracks.wide[side]) for side in (tracks.north, tracks.south)]


@dataclass(frozen=True, slots=True, eq=False)
class _Tracks:
    """Vertical wires: H signals in the heaters' order, then the buses, or their two parts.

    `north` and `south` index the wires that leave there, by ascending x; `up` marks the former;
    `bus` (H,) is the bus of each heater, a wire, and `current_ma` what it is made for.
    """

    x_um: Real
    wide: Bools
    width_um: Real
    current_ma: Real
    up: Bools
    to_um: Real
    bus: Ints
    north: Ints
    south: Ints


def _tracks(heaters: Heaters, slots: Slots, technology: Technology, rows: int) -> _Tracks:
    routing, space = technology.routing, technology.rules.metal_space_um
    step, section = routing.track_um + space, heated_um(technology)
    bank, count = heaters.bank, len(heaters.bank_x_um)
    size = np.bincount(bank, minlength=count)
    start = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    place = np.arange(len(bank)) - start[bank]
    # Of an odd number one more leaves northwards, southwards, in turns.
    up = place < (size[bank] + bank % 2) // 2
    rank = np.where(up, place, size[bank] - 1 - place)
    left = heaters.signal_left[bank]
    reach = space + routing.track_um / 2 + rank * step
    x = heaters.bank_x_um[bank] + np.where(left, -reach, section + reach)

    # Gap g lies left of bank g; a bank's bus is in the gap where its signals are not.
    used = (size + 1) // 2 * step
    if technology.pads.style is PadStyle.BUMP:
        used = bump_um(heaters, technology) + space
    from_left = np.concatenate([[0.0], np.where(heaters.signal_left, 0.0, used)])
    from_right = np.concatenate([np.where(heaters.signal_left, used, 0.0), [0.0]])
    gap = np.arange(count) + heaters.signal_left
    gaps, which = np.unique(gap, return_inverse=True)
    group = which.ravel()[bank].astype(np.int64)
    pitch = cells(technology).pitch_um
    top, bottom = pitch / 2, pitch / 2 - rows * pitch
    arm = slots.source[:, 3]
    needs = bus_needs(
        technology,
        group=group,
        groups=len(gaps),
        high_um=slots.upper_y_um - np.where(arm == 1, slots.apart_um, 0.0),
        low_um=slots.upper_y_um - np.where(arm != 0, slots.apart_um, 0.0),
        power=_bus_power(slots, technology),
        top_um=top,
        bottom_um=bottom,
        free_um=bus_room_um(technology),
    )
    # Beside the outermost banks lies a stage, or what `place` leaves for the least bus.
    grid = 2 * technology.grid_um
    behind = len(bank) and slots.source[-1, 1] == OUT
    free = [bus_room_um(technology), routing.bus_um if behind else bus_room_um(technology)]
    least = [2 * (space + grid) + width for width in free]
    ends = heaters.bank_x_um + section
    high = np.append(heaters.bank_x_um, ends[-1:] + least[1]) - from_right[: count + 1]
    low = np.append(heaters.bank_x_um[:1] - least[0], ends) + from_left[: count + 1]
    middle = (low + high) / 2 if count else np.zeros(1)
    middle = np.round(np.round(middle / grid) * grid, 6)
    # The parts of the buses: those that leave northwards, then the others.
    norths, souths = np.flatnonzero(needs.north_um), np.flatnonzero(needs.south_um)
    parts = np.concatenate([norths, souths])
    bus_up = np.arange(len(parts)) < len(norths)
    needed = np.where(bus_up, needs.north_um[parts], needs.south_um[parts])
    current = np.where(bus_up, needs.north_ma[parts], needs.south_ma[parts])
    room = (high - low - 2 * (space + grid))[gaps] if count else np.zeros(0)
    needed = np.maximum(np.minimum(needed, room[parts]), routing.bus_um)
    part = np.zeros((2, len(gaps)), np.int64)
    part[bus_up.astype(np.int64), parts] = np.arange(len(parts))
    ups = np.concatenate([up, bus_up])
    x = np.concatenate([x, middle[gaps][parts]])
    wide = np.arange(len(x)) >= len(bank)
    order = np.argsort(x, kind="stable")
    return _Tracks(
        x_um=np.round(x, 6),
        wide=wide,
        width_um=np.concatenate(
            [
                np.full(len(bank), routing.track_um),
                np.round(np.floor(needed / grid + 1e-6) * grid, 6),
            ]
        ),
        current_ma=np.concatenate([np.zeros(len(bank)), current]),
        up=ups,
        to_um=np.where(ups, top, bottom),
        bus=len(bank) + part[needs.up.astype(np.int64), group],
        north=order[ups[order]],
        south=order[~ups[order]],
    )


def _bus_power(slots: Slots, technology: Technology) -> Real:
    """Power of every heater for which its bus is made, as a share of that for pi, shape (H,)."""
    usual = technology.routing.bus_power
    power = np.where(slots.source[:, 0] == 1, max(usual, ATTENUATOR_POWER), usual)
    return np.asarray(power / np.where(slots.pair, 2.0, 1.0))


def _from_um(heaters: Heaters, tracks: _Tracks, technology: Technology) -> Real:
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
            np.where(up, y - half_track, y + half_track),
            np.where(bus_up, lowest - half_track, highest + half_track),
        ]
    )


def _stubs(heaters: Heaters, tracks: _Tracks, technology: Technology) -> Real:
    """From every contact to its track and its bus, shape (2 H, 4)."""
    section, contact = heated_um(technology), technology.heater.contact_length_um
    half = technology.routing.track_um / 2
    start = heaters.bank_x_um[heaters.bank]
    left = heaters.signal_left[heaters.bank]
    inside_left, inside_right = start + contact, start + section - contact
    y = heaters.y_um
    signals = tracks.x_um[: len(y)]
    boxes = []
    for to, at_left in ((signals, left), (tracks.x_um[tracks.bus], ~left)):
        reach = np.where(tracks.wide[: len(y)], 0.0, half)
        x0 = np.where(at_left, to - reach, inside_right)
        x1 = np.where(at_left, inside_left, to + reach)
        boxes.append(np.stack([x0, y - half, x1, y + half], 1))
    return np.concatenate(boxes)


def _upright(x: Real, width: Real, y0: Real, y1: Real) -> Real:
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    return np.stack([x - width / 2, low, x + width / 2, high], 1)


def boxes_um(heaters: Heaters, plan: PadPlan, technology: Technology) -> Real:
    """The metal of a tile's wires, shape (B, 4)."""
    tracks, count = plan.tracks, len(heaters.bank)
    inner = _from_um(heaters, tracks, technology)
    boxes = [_stubs(heaters, tracks, technology)]
    if technology.pads.style is PadStyle.BUMP:
        end = (plan.pads_um[count:, 1] + plan.pads_um[count:, 3]) / 2
        x, width = tracks.x_um[count:], tracks.width_um[count:]
        boxes.append(_upright(x, width, inner[count:], end))
    else:
        boxes.append(_upright(tracks.x_um, tracks.width_um, inner, tracks.to_um))
        pitch = cells(technology).pitch_um
        ends = ((tracks.north, pitch / 2, 1), (tracks.south, pitch / 2 - plan.rows * pitch, -1))
        for made, (side, base, sign) in zip(plan.escapes, ends, strict=True):
            boxes += _escape_boxes(made, tracks.x_um[side], base, sign)
    return np.asarray(np.round(np.concatenate(boxes), 6), np.float64)


def _escaped(
    slots: Slots,
    tracks: _Tracks,
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


def _escape_boxes(made: Escape, x: Real, base: float, sign: int) -> list[Real]:
    """Along the mesh's edge up to every step sideways, the steps, and from there into the pads."""
    half, jogs, pad_y = made.width_um / 2, made.jogs, base + sign * made.pad_y_um
    jog_y, wire = base + sign * jogs.y_um, jogs.wire
    # A wire rises before each of its steps and behind the last one.
    rising = np.append(wire, np.arange(len(x)))
    low, at = np.append(jogs.y_um, np.full(len(x), np.inf)), np.append(jogs.from_um, made.pass_x_um)
    order = np.lexsort((low, rising))
    ends = np.append(jog_y, pad_y)[order]
    first = np.append(True, np.diff(rising[order]) > 0)
    starts = np.where(first, base, np.append(base, ends[:-1]))
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
    return [_upright(at[order], width, starts, ends), steps, into[beside]]


# ---- bumps --------------------------------------------------------------------------------


def bump_um(heaters: Heaters, technology: Technology) -> Real:
    """Side of the bumps of every bank: `pads.size_um`, or what its neighbours leave of it."""
    space, sizes = technology.rules.metal_space_um, cells(technology)
    apart = np.full(len(heaters.bank_x_um), sizes.pitch_um)
    near = np.abs(np.diff(heaters.y_um))
    same = np.diff(heaters.bank) == 0
    np.minimum.at(apart, heaters.bank[1:][same], near[same])
    # Two banks' bumps lie side by side over a stage.
    most = (sizes.stage_um - 3 * space) / 2
    side = np.minimum(apart - space, min(most, technology.pads.size_um))
    grid = 2 * technology.grid_um
    return np.asarray(np.round(np.floor(side / grid) * grid, 6))


def _bumped(
    heaters: Heaters, slots: Slots, tracks: _Tracks, technology: Technology, rows: int
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

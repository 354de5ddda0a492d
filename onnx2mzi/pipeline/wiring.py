"""Which wires a tile's heaters need, and where they run: one metal, nothing crosses.

Heaters that lie above each other form a bank. Between two banks lie, left to right, the signal
wires of the left bank, a ground bus, and the signal wires of the right bank, as far as each is
there: phi heaters have their signals on the left and ground on the right, theta heaters the
other way round, so a column's two banks share a bus. The upper half of a bank's signals leaves
northwards, the rest southwards; the outermost heater takes the nearest track. Everything here
follows from the program, its places and the technology.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from onnx2mzi.ir import Attenuators, BlockPlacement, Mesh, MeshTile, Program
from onnx2mzi.physics.arrays import Flags, Real
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms
from onnx2mzi.pipeline.chip import mesh_plan
from onnx2mzi.tech import PadStyle, Technology
from onnx2mzi.tech.escape import Escape, escape, field_um
from onnx2mzi.tech.geometry import cells, heated_um

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
NO_PAD = -1


@dataclass(frozen=True, slots=True, eq=False)
class Heaters:
    """H heaters of a tile, bank by bank from the left; heights from the tile's port 0.

    `bank` numbers the banks that have heaters; `source` is (block, kind, shifter, arm) with
    block 0, 1, 2 for v, s, u, kind 0 theta (or sigma), 1 phi, 2 out, and arm 0 or 1. Banks:
    left ends `bank_x_um` of the heaters, and whether the signals are on the left.
    """

    bank: Ints
    y_um: Real
    source: Ints
    bank_x_um: Real
    signal_left: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """The wires of one tile; heights from the tile's port 0, x on the chip.

    `boxes_um` (x0, y0, x1, y1), shape (B, 4), is the metal of wires and `pads_um` of pads,
    shape (P, 4); `ground` (P,) marks pads of buses; `signal` and `return_` (H,) are the pads of
    each heater's two ends. `above_um`, `below_um`: room it takes beyond the outermost rows.
    """

    heaters: Heaters
    boxes_um: Real
    pads_um: Real
    ground: Bools
    signal: Ints
    return_: Ints
    above_um: float
    below_um: float

    @property
    def names(self) -> list[str]:
        """Names of the pads within the tile: N1, N2 ... north of it, S1 ... south, G1 ... buses."""
        count = {"N": 0, "S": 0, "G": 0}
        found = []
        for low, ground in zip(self.pads_um[:, 1].tolist(), self.ground.tolist(), strict=True):
            side = "G" if ground else "N" if low > 0 else "S"
            count[side] += 1
            found.append(f"{side}{count[side]}")
        return found


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


def heater_pads(wiring: Wiring, number: int) -> dict[tuple[int, int, int], str]:
    """Signal pads by (block, kind, shifter) of `Heaters.source`; of a pair `T0_N1+T0_N2`."""
    names = [pad_name(number, name) for name in wiring.names]
    source, pads = wiring.heaters.source, wiring.signal
    order = np.argsort(source[:, 3], kind="stable")
    found: dict[tuple[int, int, int], str] = {}
    for (block, kind, shifter, arm), pad in zip(
        source[order].tolist(), pads[order].tolist(), strict=True
    ):
        key = (block, kind, shifter)
        paired = arm == 1 and key in found
        found[key] = f"{found[key]}+{names[pad]}" if paired else names[pad]
    return found


# ---- heaters ------------------------------------------------------------------------------


def heaters_of(
    tile: MeshTile, places: Mapping[str, BlockPlacement], technology: Technology
) -> Heaters:
    """The heaters of a tile; `places` maps "v", "s", "u" to the blocks' places."""
    parts = _of_mesh(tile.v, places["v"].column_x_um, technology, 0)
    parts.append(_of_attenuators(tile.sigma, places["s"].column_x_um, technology))
    parts += _of_mesh(tile.u, places["u"].column_x_um, technology, 2)
    x = np.concatenate([part[0] for part in parts])
    y = np.concatenate([part[1] for part in parts])
    source = np.concatenate([part[2] for part in parts])
    left = np.concatenate([np.full(len(part[0]), part[3]) for part in parts])
    bank_x, first, bank = np.unique(np.round(x, 4), return_index=True, return_inverse=True)
    order = np.lexsort((-y, bank.ravel()))
    return Heaters(bank.ravel()[order], y[order], source[order], bank_x, left[first])


def _of_attenuators(
    sigma: Attenuators, edges: Real, technology: Technology
) -> tuple[Real, Real, Ints, bool]:
    sizes = cells(technology)
    x = np.full(len(sigma), (edges[0] + edges[-1] - heated_um(technology)) / 2)
    y = sizes.arm_um - sizes.pitch_um * np.arange(len(sigma), dtype=np.float64)
    return _heated(x, y, 2 * sizes.arm_um, sigma.theta_rad, sigma.state, sigma.drive, 1, 0)


def _of_mesh(
    mesh: Mesh, edges: Real, technology: Technology, which: int
) -> list[tuple[Real, Real, Ints, bool]]:
    plan, pitch = mesh_plan(mesh, technology), cells(technology).pitch_um
    y = np.asarray(-pitch * mesh.port, np.float64)
    left = edges[:-1][mesh.column] if len(mesh) else np.zeros(0)
    theta_x = left + plan.theta_start_um[mesh.column]
    out_x = np.full(mesh.ports, edges[-1])
    out_y = -pitch * np.arange(mesh.ports, dtype=np.float64)
    # A phase on a single guide has no other arm.
    single = np.abs(mesh.out_rad)
    return [
        _heated(left, y, pitch, mesh.phi_rad, mesh.phi_state, mesh.drive, which, 1),
        _heated(theta_x, y, pitch, mesh.theta_rad, mesh.theta_state, mesh.drive, which, 0),
        _heated(out_x, out_y, pitch, single, mesh.out_state, Drive.UPPER_ARM, which, 2),
    ]


def _heated(
    x: Real,
    y: Real,
    apart_um: float,
    phase_rad: Real,
    state: Flags,
    drive: Drive,
    which: int,
    kind: int,
) -> tuple[Real, Real, Ints, bool]:
    """x, y, source of the heaters of these shifters, and whether their signals are left."""
    arm = arms(phase_rad, state, drive)
    active = state == ShifterState.ACTIVE
    found = []
    for lower, other in ((0, Arm.LOWER), (1, Arm.UPPER)):
        k = np.flatnonzero(active & (arm != other))
        source = np.stack([np.full(len(k), v) for v in (which, kind)] + [k, np.full(len(k), lower)])
        found.append((x[k], y[k] - lower * apart_um, source.T))
    joined = [np.concatenate([a, b]) for a, b in zip(*found, strict=True)]
    return joined[0], joined[1], joined[2].astype(np.int64), kind != 0


# ---- wires --------------------------------------------------------------------------------


def tile_wiring(
    tile: MeshTile, places: Mapping[str, BlockPlacement], technology: Technology
) -> Wiring:
    """All wires and pads of a placed tile."""
    heaters = heaters_of(tile, places, technology)
    left_um, right_um = extent_um(tile, places, technology)
    return wire(heaters, technology, rows=tile_rows(tile), left_um=left_um, right_um=right_um)


def extent_um(
    tile: MeshTile, places: Mapping[str, BlockPlacement], technology: Technology
) -> tuple[float, float]:
    """x where the guides of the tile's strip begin, and where its last shifters end."""
    lead = cells(technology).lead_um
    left = float(places["v"].column_x_um[0]) - lead - mesh_plan(tile.v, technology).lead_um
    end = float(places["u"].column_x_um[-1]) + mesh_plan(tile.u, technology).out_um
    return left, end + lead


def wire(
    heaters: Heaters, technology: Technology, *, rows: int, left_um: float, right_um: float
) -> Wiring:
    """Wire `heaters` of a tile of `rows` rows between two bounds, widened where pads ask for it."""
    tracks = _tracks(heaters, technology, rows)
    if technology.pads.style is PadStyle.BUMP:
        return _bumped(heaters, tracks, technology, rows)
    fields = [field_um(technology, tracks.wide[side]) for side in (tracks.north, tracks.south)]
    more = max(0.0, max(fields) - (right_um - left_um)) / 2
    return _escaped(heaters, tracks, technology, rows, left_um - more, right_um + more)


def pad_field_um(heaters: Heaters, technology: Technology, rows: int) -> float:
    """The least width that the pads of a tile take."""
    if technology.pads.style is PadStyle.BUMP:
        return 0.0
    tracks = _tracks(heaters, technology, rows)
    return max(field_um(technology, tracks.wide[side]) for side in (tracks.north, tracks.south))


@dataclass(frozen=True, slots=True, eq=False)
class _Tracks:
    """Vertical wires: H signals in the heaters' order, then one bus a gap that has one.

    `north` and `south` index the wires that leave there, by ascending x; `bus` (H,) is the bus
    of each heater, a wire.
    """

    x_um: Real
    wide: Bools
    width_um: Real
    from_um: Real
    to_um: Real
    bus: Ints
    north: Ints
    south: Ints


def _tracks(heaters: Heaters, technology: Technology, rows: int) -> _Tracks:
    routing, space = technology.routing, technology.rules.metal_space_um
    step, section = routing.track_um + space, heated_um(technology)
    bank, y, count = heaters.bank, heaters.y_um, len(heaters.bank_x_um)
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
    # The outermost gaps are as wide as a bus needs, and its rounding to the grid.
    grid = 2 * technology.grid_um
    least = 2 * (space + grid) + routing.bus_um
    ends = heaters.bank_x_um + section
    high = np.append(heaters.bank_x_um, ends[-1:] + least) - from_right[: count + 1]
    low = np.append(heaters.bank_x_um[:1] - least, ends) + from_left[: count + 1]
    middle = (low + high) / 2 if count else np.zeros(1)
    middle = np.round(np.round(middle / grid) * grid, 6)
    gap = np.arange(count) + heaters.signal_left
    gaps, which = np.unique(gap, return_inverse=True)
    bus = len(bank) + which.ravel()[bank]
    highest = np.full(len(gaps), -np.inf)
    lowest = np.full(len(gaps), np.inf)
    np.maximum.at(highest, bus - len(bank), y)
    np.minimum.at(lowest, bus - len(bank), y)
    pitch = cells(technology).pitch_um
    top, bottom = pitch / 2, pitch / 2 - rows * pitch
    half_track = routing.track_um / 2
    # Buses leave in turns, so that neither side gets all their pads.
    bus_up = np.arange(len(gaps)) % 2 == 0
    ups = np.concatenate([up, bus_up])
    inner = np.concatenate(
        [
            np.where(up, y - half_track, y + half_track),
            np.where(bus_up, lowest - half_track, highest + half_track),
        ]
    )
    x = np.concatenate([x, middle[gaps]])
    wide = np.arange(len(x)) >= len(bank)
    order = np.argsort(x, kind="stable")
    return _Tracks(
        x_um=np.round(x, 6),
        wide=wide,
        width_um=np.where(wide, routing.bus_um, routing.track_um),
        from_um=inner,
        to_um=np.where(ups, top, bottom),
        bus=bus,
        north=order[ups[order]],
        south=order[~ups[order]],
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


def _escaped(
    heaters: Heaters,
    tracks: _Tracks,
    technology: Technology,
    rows: int,
    left_um: float,
    right_um: float,
) -> Wiring:
    pitch = cells(technology).pitch_um
    top, bottom = pitch / 2, pitch / 2 - rows * pitch
    boxes = [_stubs(heaters, tracks, technology)]
    boxes.append(_upright(tracks.x_um, tracks.width_um, tracks.from_um, tracks.to_um))
    pads: list[Real] = []
    heights: list[float] = []
    pad_of = np.full(len(tracks.x_um), NO_PAD)
    wide = []
    for side, base, sign in ((tracks.north, top, 1), (tracks.south, bottom, -1)):
        x, width = tracks.x_um[side], tracks.width_um[side]
        made = escape(technology, x, width, tracks.wide[side], left_um=left_um, right_um=right_um)
        heights.append(made.height_um)
        boxes += _escape_boxes(made, x, width, base, sign, technology)
        half = technology.pads.size_um / 2
        y = base + sign * made.pad_y_um
        pad_of[side] = np.arange(len(side)) + (len(pads[0]) if pads else 0)
        pads.append(np.stack([made.pad_x_um - half, y - half, made.pad_x_um + half, y + half], 1))
        wide.append(tracks.wide[side])
    return Wiring(
        heaters=heaters,
        boxes_um=np.asarray(np.round(np.concatenate(boxes), 6), np.float64),
        pads_um=np.asarray(np.round(np.concatenate(pads), 6), np.float64),
        ground=np.concatenate(wide),
        signal=pad_of[: len(heaters.bank)],
        return_=pad_of[tracks.bus],
        above_um=heights[0],
        below_um=heights[1],
    )


def _escape_boxes(
    made: Escape, x: Real, width: Real, base: float, sign: int, technology: Technology
) -> list[Real]:
    """From the mesh to the jogs, the jogs, from there to the pads' height, and into them."""
    half = width / 2
    jog, pad_y = base + sign * made.jog_y_um, base + sign * made.pad_y_um
    zero = np.full(len(x), base)
    jogs = np.stack(
        [
            np.minimum(x, made.pass_x_um) - half,
            jog - half,
            np.maximum(x, made.pass_x_um) + half,
            jog + half,
        ],
        1,
    )
    into = np.stack([made.pad_x_um, pad_y - half, made.pass_x_um + half, pad_y + half], 1)
    moved = made.pass_x_um != x
    beside = made.pass_x_um != made.pad_x_um
    return [
        _upright(x, width, zero, jog),
        jogs[moved],
        _upright(made.pass_x_um, width, jog, pad_y),
        into[beside],
    ]


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


def _bumped(heaters: Heaters, tracks: _Tracks, technology: Technology, rows: int) -> Wiring:
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
    buses = _upright(bus_x, tracks.width_um[count:], tracks.from_um[count:], bus_y)
    x, y = np.concatenate([x, bus_x]), np.concatenate([heaters.y_um, bus_y])
    half = np.concatenate([half, bus_half])
    boxes = np.concatenate([_stubs(heaters, signals, technology), buses])
    beyond = technology.pads.size_um + 2 * space if rows and len(bus_x) else 0.0
    return Wiring(
        heaters=heaters,
        boxes_um=np.asarray(np.round(boxes, 6), np.float64),
        pads_um=np.asarray(np.round(np.stack([x - half, y - half, x + half, y + half], 1), 6)),
        ground=np.arange(len(x)) >= count,
        signal=np.arange(count),
        return_=tracks.bus,
        above_um=beyond,
        below_um=beyond,
    )

"""The vertical wires of a tile: a signal for every heater, and the ground buses.

Heaters that lie above each other form a bank. Between two banks lie, left to right, the signal
wires of the left bank, a ground bus, and the signal wires of the right bank, as far as each is
there: phi heaters have their signals on the left and ground on the right, theta heaters the
other way round, so a column's two banks share a bus. The upper half of a bank's signals leaves
northwards, the rest southwards; the outermost heater takes the nearest track. With two metals
the nearest tracks run over the bank itself, from its signals' contacts inwards, and only what
has no room there runs beside it (see tech.over). A bus is as wide as its heaters need (see
tech.buses), as far as there is room.
"""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.physics.arrays import Real
from onnx2mzi.pipeline.heaters import OUT, Bools, Heaters, Ints, Slots
from onnx2mzi.tech import PadStyle, Technology
from onnx2mzi.tech.buses import ATTENUATOR_POWER, bus_needs
from onnx2mzi.tech.geometry import bus_room_um, cells, heated_um
from onnx2mzi.tech.over import tracks_over


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Vertical wires: H signals in the heaters' order, then the buses, or their two parts.

    `north` and `south` index the wires that leave there, by ascending x; `up` marks the former;
    `bus` (H,) is the bus of each heater, a wire, and `current_ma` what it is made for. `over` (H,)
    marks signals above the heaters of their bank.
    """

    x_um: Real
    wide: Bools
    width_um: Real
    current_ma: Real
    up: Bools
    to_um: Real
    bus: Ints
    over: Bools
    north: Ints
    south: Ints


def tracks_of(heaters: Heaters, slots: Slots, technology: Technology, rows: int) -> Tracks:
    """The vertical wires of a tile that has `rows`."""
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
    within = tracks_over(technology, section)
    over = rank < within
    # Outwards from the signals' end of the bank; above the heaters it is inwards.
    reach = space + routing.track_um / 2 + (rank - within) * step
    reach = np.where(over, -routing.track_um / 2 - rank * step, reach)
    x = heaters.bank_x_um[bank] + np.where(left, -reach, section + reach)

    # Gap g lies left of bank g; a bank's bus is in the gap where its signals are not.
    used = np.maximum((size + 1) // 2 - within, 0) * step
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
    return Tracks(
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
        over=over,
        north=order[ups[order]],
        south=order[~ups[order]],
    )


def _bus_power(slots: Slots, technology: Technology) -> Real:
    """Power of every heater for which its bus is made, as a share of that for pi, shape (H,)."""
    usual = technology.routing.bus_power
    power = np.where(slots.source[:, 0] == 1, max(usual, ATTENUATOR_POWER), usual)
    return np.asarray(power / np.where(slots.pair, 2.0, 1.0))


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

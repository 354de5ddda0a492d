"""How wide a ground bus must be, and where it is cut in two: current and voltage drop.

A bus collects the currents of the heaters beside it and leaves the mesh at the top, at the
bottom, or cut in two at both. Its width keeps the metal's largest current and lets the ground of
no heater rise by more than the technology allows: heater k at a distance d_k from the exit adds
R_sheet / width * I_k * d_k to the rise at the innermost heater, which is the largest one.
The rule N R_ground / R_heater for N equal heaters says the same. Every heater counts with the
power that the technology makes buses for, whatever its phase is.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.electric import heater_current_ma, heater_voltage_mv
from onnx2mzi.tech.technology import Technology

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Buses are made for this share of the allowed drop: phases differ from what they are made for.
MARGIN = 0.25
# What is kept back for the wire from the mesh to the pad, which is not routed yet.
ESCAPE_UM = 300.0
# Attenuators turn most light away: their power for which buses are made is at least this share.
ATTENUATOR_POWER = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class BusNeeds:
    """G buses: the widths (G,) that their northern and southern parts need, 0 for no part, the
    currents that these are for, and which of the H heaters return northwards, shape (H,)."""

    north_um: Real
    south_um: Real
    north_ma: Real
    south_ma: Real
    up: Bools


def allowed_drop_mv(technology: Technology) -> float:
    """The rise of a heater's ground that is allowed, in mV: a share of the voltage for pi."""
    full = heater_voltage_mv(technology.p_pi_mw, ohm=technology.heater.ohm)
    return float(full) * technology.routing.max_ir_drop_percent / 100


def needed_um(technology: Technology, current_ma: Real, moment_ma_um: Real) -> Real:
    """Width of a bus, shape (...): `moment_ma_um` is the sum of current times distance."""
    routing = technology.routing
    # mA times milliohm is a microvolt.
    moment = moment_ma_um + current_ma * ESCAPE_UM
    by_drop = routing.sheet_milliohm * moment / 1e3 / (MARGIN * allowed_drop_mv(technology))
    return np.asarray(np.maximum(current_ma / routing.max_ma_per_um, by_drop))


def bus_needs(
    technology: Technology,
    *,
    group: Ints,
    groups: int,
    high_um: Real,
    low_um: Real,
    power: Real,
    top_um: float,
    bottom_um: float,
    free_um: float,
) -> BusNeeds:
    """The buses of H heaters; `group` (H,) is the bus of each, below `groups`.

    Heaters lie between `low_um` and `high_um` (their arms); `power` (H,) is theirs as a share of
    that for pi. One exit, sides in turns, where a bus of `free_um` is enough; else the cut that
    needs the least width. Heaters that could be at one height stay on one part.
    """
    if len(group) == 0:
        none = np.zeros(groups)
        return BusNeeds(none, none, none, none, np.zeros(0, bool))
    order = np.lexsort((-low_um, -high_um, group))
    g, high, low = group[order], high_um[order], low_um[order]
    current = heater_current_ma(technology.p_pi_mw * power[order], ohm=technology.heater.ohm)
    first = np.concatenate([[True], g[1:] != g[:-1]])
    starts = first.nonzero()[0]
    last = np.append(first[1:], True)
    # Current, and its moments from either end: sums from the top down to this heater, and below.
    parts = np.stack([current, current * (top_um - low), current * (high - bottom_um)])
    sums = np.cumsum(parts, axis=1)
    before = np.concatenate([np.zeros((3, 1)), sums], axis=1)[:, starts]
    present = g[starts]
    size = np.diff(np.append(starts, len(g)))
    above = sums - np.repeat(before, size, axis=1)
    whole = above[:, last]
    below = np.maximum(np.repeat(whole, size, axis=1) - above, 0.0)
    north = needed_um(technology, above[0], above[1])
    south = needed_um(technology, below[0], below[2])
    closest = technology.routing.track_um + technology.rules.metal_space_um
    lowest = _lowest_so_far(low, g)
    apart = np.append(lowest[:-1] - high[1:] >= closest - 1e-6, False)
    cost = np.where(apart & ~last, np.maximum(north, south), np.inf)
    # The best cut of every group, behind a heater.
    best = np.lexsort((cost, g))[starts]
    all_north = needed_um(technology, whole[0], whole[1])
    all_south = needed_um(technology, whole[0], whole[2])
    either = (all_north <= free_um) & (all_south <= free_um)
    northwards = np.where(either, np.arange(len(present)) % 2 == 0, all_north <= all_south)
    single = np.where(northwards, all_north, all_south)
    cut = (single > free_um) & (cost[best] < single)
    up = np.zeros(len(g), bool)
    ups = np.where(cut, best - starts + 1, np.where(northwards, size, 0))
    up[order] = np.arange(len(g)) - np.repeat(starts, size) < np.repeat(ups, size)
    north_um, south_um = np.zeros(groups), np.zeros(groups)
    north_um[present] = np.where(cut, north[best], np.where(northwards, all_north, 0.0))
    south_um[present] = np.where(cut, south[best], np.where(northwards, 0.0, all_south))
    north_ma, south_ma = np.zeros(groups), np.zeros(groups)
    north_ma[present] = np.where(cut, above[0, best], np.where(northwards, whole[0], 0.0))
    south_ma[present] = np.where(cut, below[0, best], np.where(northwards, 0.0, whole[0]))
    return BusNeeds(north_um, south_um, north_ma, south_ma, up)


def _lowest_so_far(low_um: Real, group: Ints) -> Real:
    """Running minimum within sorted groups, shape (H,)."""
    # Groups are lifted so far apart, downwards, that a minimum never reaches back.
    span = float(np.ptp(low_um)) + 1.0
    lifted = low_um - group * span
    return np.asarray(np.minimum.accumulate(lifted) + group * span)

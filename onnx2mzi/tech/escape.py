"""Wires of one side of a mesh to rows of pads: in one metal nothing crosses.

Wires leave the mesh straight (north is +y; a southern side is mirrored by the caller), sorted by
x. In a channel they move sideways (see `tech.river`), then each enters a pad. Pads form
clusters, up to `rows` pads one behind the other; the leftmost wire of a cluster enters its
nearest pad, the others pass that pad on its right, in order::

        [pad 2] <-+
        [pad 1] <-|-+          the wires of a cluster never cross,
        [pad 0]   | |          and clusters keep the order of the wires
           |      | |

Clusters lie a pitch apart, or further where more wires pass than fit between pads. With two
metals some wires go on in the first one, and are in the way of their own metal's alone (`Under`).
A ground wire is wide, so it always enters a nearest pad, straight where there is room: it carries
the currents of many heaters. One that is wider than a pad takes several places, joined to one pad.
Lengths in um, arrays over W wires.
"""

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech.buses import allowed_drop_mv
from onnx2mzi.tech.over import lift_um, over_cells
from onnx2mzi.tech.river import Jogs, channel_um, no_jogs, river, together
from onnx2mzi.tech.technology import Technology

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# A cluster lies where its ground wants to be, whatever its signals want, or where most wires do:
# weight of a ground, and power of its width that it is multiplied by. Of clusters in each other's
# way all move alike (True), or those most that weigh least.
PULLS = ((1e6, 0, True), (1.0, 0, True), (1e6, 0, False), (1e6, 4, False), (1.0, 0, False))
# Beyond the mesh a ground may rise by this share of what is allowed in all, and wires carry this
# share of what they may: phases differ from what buses are made for. As much again counts like so
# many pitches of pads in height.
RISE, RISEN = 0.5, 4.0
LOAD, LOADED = 0.95, 20.0
SAME_UM = 1e-6


class Under(Enum):
    """Which wires beyond the mesh are of the first of two metals."""

    NONE = 0
    ODD = 1
    """Those in odd rows of pads, each beside the pads at one place with the next row's."""
    SIGNALS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Escape:
    """The wires of one side, all heights from where they leave the mesh.

    `width_um` is how wide each wire is, `under` whether it is of the first of two metals, `jogs`
    how it moves sideways, `pass_x_um` where it runs behind them, shape (W,); `pad_x_um`,
    `pad_y_um` the pads' centres and `pad_um` their widths; `length_um` (W,) is that of the wires
    up to the pads' edges, `height_um` the height of all of it, with a metal space behind the last
    pad.
    """

    width_um: Real
    under: Bools
    jogs: Jogs
    pass_x_um: Real
    pad_x_um: Real
    pad_y_um: Real
    pad_um: Real
    length_um: Real
    height_um: float


def clusters(wide: Bools, rows: int) -> tuple[Ints, Ints]:
    """(cluster, row in it) of every wire, shapes (W,): a wide wire begins a cluster."""
    count = len(wide)
    if count == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = wide.copy()
    starts[0] = True
    begin = np.maximum.accumulate(np.where(starts, np.arange(count), 0))
    row = (np.arange(count) - begin) % rows
    return np.cumsum(row == 0) - 1, row


def places(technology: Technology, width_um: Real) -> Ints:
    """How many places for pads wires of these widths take side by side, shape (W,).

    A wire is rather made narrower than given a place of which it needs less than half.
    """
    pads = technology.pads
    more = np.rint(np.maximum(width_um - pads.size_um, 0.0) / pads.pitch_um)
    return np.asarray(1 + more, np.int64)


def field_um(technology: Technology, wide: Bools) -> float:
    """The least width of the pads of a side, none of them joined."""
    none = np.zeros(len(wide))
    return min(
        _field_um(technology, none, wide, rows, under)
        for under in _choices(technology)
        for rows in range(1, technology.pads.max_rows + 1)
    )


def _choices(technology: Technology) -> tuple[Under, ...]:
    return tuple(Under) if over_cells(technology) else (Under.NONE,)


def _field_um(
    technology: Technology, width_um: Real, wide: Bools, rows: int, under: Under
) -> float:
    if len(wide) == 0:
        return 0.0
    return float(_cluster_um(technology, width_um, wide, rows, under).sum()) + (
        technology.rules.metal_space_um
    )


def _cluster_um(
    technology: Technology, width_um: Real, wide: Bools, rows: int, under: Under
) -> Real:
    """From the left edge of every cluster to that of the next."""
    pads, space = technology.pads, technology.rules.metal_space_um
    cluster, row = clusters(wide, rows)
    passing = np.bincount(cluster) - 1
    if under is Under.ODD:
        passing = (passing + 1) // 2
    beside = passing * (technology.routing.track_um + space)
    joined = (places(technology, width_um)[row == 0] - 1) * pads.pitch_um
    wide_um = joined + np.maximum(pads.pitch_um, pads.size_um + space + beside)
    grid = 2 * technology.grid_um
    return np.asarray(np.round(np.ceil(wide_um / grid - 1e-6) * grid, 6))


def escape(
    technology: Technology,
    x_um: Real,
    width_um: Real,
    current_ma: Real,
    wide: Bools,
    *,
    left_um: float,
    right_um: float,
) -> Escape:
    """Route W wires of `width_um` that leave at `x_um` (ascending) to pads within the bounds.

    `current_ma` (W,) is that of grounds. As many rows of pads, and pads joined for as many wide
    wires, as make the side lowest, where the grounds neither rise nor carry too much. The bounds
    must be `field_um` apart.
    """
    pads, space = technology.pads, technology.rules.metal_space_um
    bounds = left_um, right_um
    limit_mv = RISE * allowed_drop_mv(technology)

    def cost(made: Escape) -> float:
        ma_per_um = current_ma / made.width_um
        # mA times milliohm is a microvolt.
        rise_uv = technology.routing.sheet_milliohm * ma_per_um * made.length_um
        risen = float(rise_uv.max(initial=0.0)) / 1e3 / limit_mv - 1
        loaded = float(ma_per_um.max(initial=0.0)) / (LOAD * technology.routing.max_ma_per_um) - 1
        beyond = RISEN * max(0.0, risen) + LOADED * max(0.0, loaded)
        return made.height_um + beyond * pads.pitch_um

    narrow = np.minimum(width_um, pads.size_um)
    # All that are wide get joined pads, or those alone that are much wider than the others.
    usual = 1.5 * float(np.median(width_um[wide])) if wide.any() else 0.0
    few = np.where(width_um > usual, width_um, narrow)
    two = np.minimum(few, pads.size_um + pads.pitch_um)
    options = {widths.tobytes(): widths for widths in (narrow, width_um, few, two)}
    best = min(
        (
            _routed(technology, x_um, widths, wide, rows, bounds, pull, under)
            for widths in options.values()
            for under in _choices(technology)
            for pull in PULLS
            for rows in range(1, pads.max_rows + 1)
            if _field_um(technology, widths, wide, rows, under) <= right_um - left_um + SAME_UM
        ),
        key=cost,
    )
    made = [
        (here, river(x_um[here], best.pass_x_um[here], best.width_um[here], space))
        for here in _metals(best.under)
    ]
    return replace(best, jogs=together(made, len(x_um), _lift_um(technology, best.under)))


def _routed(
    technology: Technology,
    x_um: Real,
    width_um: Real,
    wide: Bools,
    rows: int,
    bounds_um: tuple[float, float],
    pull: tuple[float, int, bool],
    under: Under,
) -> Escape:
    """All of it but the jogs."""
    pads, space = technology.pads, technology.rules.metal_space_um
    if len(x_um) == 0:
        none = np.zeros(0)
        return Escape(none, none > 0, no_jogs(0), none, none, none, none, none, 0.0)
    cluster, row = clusters(wide, rows)
    step = technology.routing.track_um + space
    beside = pads.size_um / 2 + space + technology.routing.track_um / 2
    taken = places(technology, width_um)[row == 0]
    pad_um = pads.size_um + np.where(row == 0, taken[cluster] - 1, 0) * pads.pitch_um
    # Positions in a cluster count from its first place; a signal's pads lie at the last one.
    further = (taken - 1)[cluster] * pads.pitch_um
    centre_of = np.where(row == 0, further / 2, further)
    track = (row - 1) // 2 if under is Under.ODD else row - 1
    offset = centre_of + np.where(row == 0, 0.0, beside + track * step)
    ground, power, alike = pull
    weight = np.where(wide, ground * (width_um / pads.size_um) ** power, 1.0)
    heavy = np.bincount(cluster, weights=weight).astype(np.float64)
    wanted = np.bincount(cluster, weights=weight * (x_um - offset)) / heavy
    # The first pad and the wires beside the last one lie inside the bounds.
    run = _cluster_um(technology, width_um, wide, rows, under)
    low = bounds_um[0] + space + pads.size_um / 2
    high = bounds_um[1] + pads.size_um / 2 - float(run.sum())
    slack = np.cumsum(run) - run
    grid = 2 * technology.grid_um
    free = _ascending(wanted - slack, None if alike else heavy).clip(low, max(low, high))
    # Rounded before they are moved apart: what is at one place stays there.
    first_x = np.round(np.round(free / grid) * grid + slack, 6)[cluster]
    pad_x, pass_x = np.round(first_x + centre_of, 6), np.round(first_x + offset, 6)
    width = np.minimum(width_um, pad_um)
    below = {Under.NONE: row < 0, Under.ODD: row % 2 == 1, Under.SIGNALS: ~wide}[under]
    channel = _lift_um(technology, below) + max(
        channel_um(x_um[here], pass_x[here], width[here], space) for here in _metals(below)
    )
    channel = float(np.round(np.ceil(channel / grid) * grid, 6))
    pad_y = np.round(channel + space + pads.size_um / 2 + row * pads.pitch_um, 6)
    height = float(pad_y.max()) + pads.size_um / 2 + space
    sideways = np.abs(pass_x - x_um) + pass_x - pad_x
    length = pad_y + sideways - pads.size_um / 2
    return Escape(
        width, below, no_jogs(len(width)), pass_x, pad_x, pad_y, pad_um, length, round(height, 6)
    )


def _lift_um(technology: Technology, under: Bools) -> float:
    return lift_um(technology) if under.any() else 0.0


def _metals(under: Bools) -> tuple[Ints, Ints]:
    """The wires of either metal."""
    return np.flatnonzero(~under), np.flatnonzero(under)


def _ascending(wanted_um: Real, weight: Real | None) -> Real:
    """Positions in ascending order near those that are wanted: the farthest of all is as near as
    can be, or, with weights, the weighted sum of squares is least (pool adjacent violators)."""
    if weight is None:
        pushed = np.maximum.accumulate(wanted_um)
        pulled = np.minimum.accumulate(wanted_um[::-1])[::-1]
        return np.asarray((pushed + pulled) / 2)
    pools: list[tuple[float, float, int]] = []
    for place, heavy in zip(wanted_um.tolist(), weight.tolist(), strict=True):
        mean, total, count = place, heavy, 1
        while pools and pools[-1][0] > mean:
            before, more, other = pools.pop()
            mean = (mean * total + before * more) / (total + more)
            total, count = total + more, count + other
        pools.append((mean, total, count))
    means, _, counts = zip(*pools, strict=True)
    return np.repeat(np.array(means), counts)

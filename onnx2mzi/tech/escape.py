"""Wires of one side of a mesh to rows of pads, in one metal: order-preserving river routing.

Wires leave the mesh straight (north is +y; a southern side is mirrored by the caller), sorted by
x. Each first jogs sideways in a channel, then enters a pad. Pads form clusters, up to `rows`
pads one behind the other; the leftmost wire of a cluster enters its nearest pad, the others
pass that pad on its right, in order::

        [pad 2] <-+
        [pad 1] <-|-+          the wires of a cluster never cross,
        [pad 0]   | |          and clusters keep the order of the wires
           |      | |

A ground wire is wide, so it always enters a nearest pad, straight where there is room: it carries
the currents of many heaters. One that is wider than a pad takes several places, joined to one pad.
Lengths in um, arrays over W wires.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech.technology import Technology

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# A cluster lies where its ground wants to be, whatever its signals want.
GROUND_WEIGHT = 1e6
# By how many pitches of pads joined pads may make a side higher: many of them, or a few.
CROWDED = 1.0
MUCH_CROWDED = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Escape:
    """The wires of one side, all heights from where they leave the mesh.

    `width_um` is how wide each wire is, `jog_y_um` the height of its jog, `pass_x_um` where it
    runs behind it, shape (W,); `pad_x_um`, `pad_y_um` the pads' centres and `pad_um` their
    widths; `height_um` the height of all of it, with a metal space behind the last pad.
    """

    width_um: Real
    jog_y_um: Real
    pass_x_um: Real
    pad_x_um: Real
    pad_y_um: Real
    pad_um: Real
    height_um: float


def most_rows(technology: Technology) -> int:
    """Pads one behind the other: as many as wires fit between two clusters, and `max_rows`."""
    routing, pads, space = technology.routing, technology.pads, technology.rules.metal_space_um
    room = pads.pitch_um - pads.size_um - space
    between = int(np.floor(room / (routing.track_um + space) + 1e-9))
    return max(1, min(pads.max_rows, between + 1))


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
    if len(wide) == 0:
        return 0.0
    return _field_um(technology, np.zeros(len(wide)), wide, most_rows(technology))


def _field_um(technology: Technology, width_um: Real, wide: Bools, rows: int) -> float:
    _, row = clusters(wide, rows)
    taken = int(places(technology, width_um)[row == 0].sum())
    return taken * technology.pads.pitch_um + technology.rules.metal_space_um


def escape(
    technology: Technology,
    x_um: Real,
    width_um: Real,
    wide: Bools,
    *,
    left_um: float,
    right_um: float,
) -> Escape:
    """Route W wires of `width_um` that leave at `x_um` (ascending) to pads within the bounds.

    As many rows of pads as make the side lowest. The bounds must be `field_um` apart. Wide wires
    become no wider than a pad where joined pads would crowd the side and make it much higher.
    """

    def lowest(widths: Real) -> Escape:
        options = []
        for rows in range(1, most_rows(technology) + 1):
            cluster, row = clusters(wide, rows)
            needed = _field_um(technology, widths, wide, rows)
            if rows < most_rows(technology) and needed > right_um - left_um:
                continue
            options.append(
                _routed(
                    technology, x_um, widths, wide, cluster, row, left_um=left_um, right_um=right_um
                )
            )
        return min(options, key=lambda made: made.height_um)

    size = technology.pads.size_um
    narrow = np.minimum(width_um, size)
    single = lowest(narrow)
    # All that are wide, or those alone that are much wider than the others.
    usual = 1.5 * float(np.median(width_um[wide])) if wide.any() else 0.0
    few = np.where(width_um > usual, width_um, narrow)
    two = np.minimum(few, size + technology.pads.pitch_um)
    for widths, more in ((width_um, CROWDED), (few, MUCH_CROWDED), (two, MUCH_CROWDED)):
        if places(technology, widths).max(initial=1) == 1:
            continue
        if _field_um(technology, widths, wide, most_rows(technology)) > right_um - left_um:
            continue
        wider = lowest(widths)
        if wider.height_um <= single.height_um + more * technology.pads.pitch_um:
            return wider
    return single


def _routed(
    technology: Technology,
    x_um: Real,
    width_um: Real,
    wide: Bools,
    cluster: Ints,
    row: Ints,
    *,
    left_um: float,
    right_um: float,
) -> Escape:
    if len(x_um) == 0:
        none = np.zeros(0)
        return Escape(none, none, none, none, none, none, 0.0)
    pads, space = technology.pads, technology.rules.metal_space_um
    step = technology.routing.track_um + space
    beside = pads.size_um / 2 + space + technology.routing.track_um / 2
    taken = places(technology, width_um)[row == 0]
    pad_um = pads.size_um + np.where(row == 0, taken[cluster] - 1, 0) * pads.pitch_um
    # Positions in a cluster count from its first place; a signal's pads lie at the last one.
    further = (taken - 1)[cluster] * pads.pitch_um
    centre_of = np.where(row == 0, further / 2, further)
    offset = centre_of + np.where(row == 0, 0.0, beside + (row - 1) * step)
    weight = np.where(wide, GROUND_WEIGHT, 1.0)
    pull = np.bincount(cluster, weights=weight)
    wanted = np.bincount(cluster, weights=weight * (x_um - offset)) / pull
    # The first pad and the wires beside the last one lie inside the bounds.
    low = left_um + space + pads.size_um / 2
    high = right_um + pads.size_um / 2 - int(taken.sum()) * pads.pitch_um
    slack = (np.cumsum(taken) - taken) * pads.pitch_um
    first = _spread(wanted, slack, low, high)
    grid = 2 * technology.grid_um
    first_x = np.round(np.round(first / grid) * grid, 6)[cluster]
    pad_x, pass_x = np.round(first_x + centre_of, 6), np.round(first_x + offset, 6)
    width = np.minimum(width_um, pad_um)
    jog = jogs_um(x_um, pass_x, width, space)
    channel = float((jog + width / 2).max())
    channel = float(np.round(np.ceil(channel / grid) * grid, 6))
    pad_y = np.round(channel + space + pads.size_um / 2 + row * pads.pitch_um, 6)
    height = float(pad_y.max()) + pads.size_um / 2 + space
    return Escape(width, jog, pass_x, pad_x, pad_y, pad_um, round(height, 6))


def _spread(wanted_um: Real, slack_um: Real, low: float, high: float) -> Real:
    """Positions in order, near where they are wanted, `slack_um` apart: its differences.

    The first is at `low` or more, the last its slack above `high` or less.
    """
    # In these coordinates "apart" is "ascending".
    slack = slack_um
    free = (wanted_um - slack).clip(low, max(low, high))
    pushed = np.maximum.accumulate(free)
    pulled = np.minimum.accumulate(free[::-1])[::-1]
    return np.asarray((pushed + pulled) / 2 + slack)


def jogs_um(from_um: Real, to_um: Real, width_um: Real, space_um: float) -> Real:
    """Heights of the jogs that bring ordered wires from `from_um` to `to_um`, shape (W,).

    Of two neighbours that move to the right and would meet, the left one jogs above; to the
    left it is the mirror image. The lowest jogs keep a space from the mesh.
    """
    if len(from_um) == 0:
        return np.zeros(0)
    apart = (width_um[:-1] + width_um[1:]) / 2 + space_um
    moves_right, moves_left = to_um > from_um, to_um < from_um
    meets_right = moves_right[:-1] & moves_right[1:] & (to_um[:-1] + apart > from_um[1:] - 1e-9)
    meets_left = moves_left[:-1] & moves_left[1:] & (to_um[1:] - apart < from_um[:-1] + 1e-9)
    # A chain's lowest wire starts at `base`; every wire that follows lies `apart` above.
    above_right = _chained(apart[::-1], meets_right[::-1])[::-1]
    above_left = _chained(apart, meets_left)
    base = float(width_um.max()) / 2 + space_um
    return np.asarray(np.round(base + np.where(moves_right, above_right, above_left), 6))


def _chained(apart_um: Real, joined: Bools) -> Real:
    """Running sums of `apart_um` that restart where two neighbours are not joined."""
    total = np.concatenate([[0.0], np.cumsum(np.where(joined, apart_um, 0.0))])
    restart = np.concatenate([[True], ~joined])
    return total - np.maximum.accumulate(np.where(restart, total, 0.0))

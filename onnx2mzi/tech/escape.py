"""Wires of one side of a mesh to rows of pads, in one metal: order-preserving river routing.

Wires leave the mesh straight (north is +y; a southern side is mirrored by the caller), sorted by
x. Each first jogs sideways in a channel, then enters a pad. Pads form clusters, up to `rows`
pads one behind the other; the leftmost wire of a cluster enters its nearest pad, the others
pass that pad on its right, in order::

        [pad 2] <-+
        [pad 1] <-|-+          the wires of a cluster never cross,
        [pad 0]   | |          and clusters keep the order of the wires
           |      | |

A ground wire is wide, so it always enters a nearest pad. Lengths in um, arrays over W wires.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech.technology import Technology

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Escape:
    """The wires of one side, all heights from where they leave the mesh.

    `jog_y_um` is the height of each wire's jog, `pass_x_um` where it runs behind it, shape (W,);
    `pad_x_um`, `pad_y_um` the pads' centres; `height_um` the height of all of it, with a
    metal space behind the last pad.
    """

    jog_y_um: Real
    pass_x_um: Real
    pad_x_um: Real
    pad_y_um: Real
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


def field_um(technology: Technology, wide: Bools) -> float:
    """The least width of the pads of a side."""
    cluster, _ = clusters(wide, most_rows(technology))
    if len(wide) == 0:
        return 0.0
    return (int(cluster[-1]) + 1) * technology.pads.pitch_um + technology.rules.metal_space_um


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

    As many rows of pads as make the side lowest. The bounds must be `field_um` apart.
    """
    options = []
    for rows in range(1, most_rows(technology) + 1):
        cluster, row = clusters(wide, rows)
        count = int(cluster[-1]) + 1 if len(cluster) else 0
        needed = count * technology.pads.pitch_um + technology.rules.metal_space_um
        if rows < most_rows(technology) and needed > right_um - left_um:
            continue
        options.append(
            _routed(technology, x_um, width_um, cluster, row, left_um=left_um, right_um=right_um)
        )
    return min(options, key=lambda made: made.height_um)


def _routed(
    technology: Technology,
    x_um: Real,
    width_um: Real,
    cluster: Ints,
    row: Ints,
    *,
    left_um: float,
    right_um: float,
) -> Escape:
    if len(x_um) == 0:
        none = np.zeros(0)
        return Escape(none, none, none, none, 0.0)
    pads, space = technology.pads, technology.rules.metal_space_um
    step = technology.routing.track_um + space
    beside = pads.size_um / 2 + space + technology.routing.track_um / 2
    offset = np.where(row == 0, 0.0, beside + (row - 1) * step)
    members = np.bincount(cluster)
    wanted = np.bincount(cluster, weights=x_um - offset) / members
    # The first pad and the wires beside the last one lie inside the bounds.
    low = left_um + space + pads.size_um / 2
    high = right_um + pads.size_um / 2 - len(members) * pads.pitch_um
    centre = _spread(wanted, pads.pitch_um, low, high)
    grid = 2 * technology.grid_um
    pad_x = np.round(np.round(centre / grid) * grid, 6)[cluster]
    pass_x = np.round(pad_x + offset, 6)
    jog = jogs_um(x_um, pass_x, width_um, space)
    channel = float((jog + width_um / 2).max())
    channel = float(np.round(np.ceil(channel / grid) * grid, 6))
    pad_y = np.round(channel + space + pads.size_um / 2 + row * pads.pitch_um, 6)
    height = float(pad_y.max()) + pads.size_um / 2 + space
    return Escape(jog, pass_x, pad_x, pad_y, round(height, 6))


def _spread(wanted_um: Real, pitch_um: float, low: float, high: float) -> Real:
    """Centres a pitch apart, in order, near where they are wanted.

    The first is at `low` or more, the last `pitch_um` * (count - 1) above `high` or less.
    """
    count = len(wanted_um)
    # In these coordinates "a pitch apart" is "ascending".
    slack = np.arange(count) * pitch_um
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

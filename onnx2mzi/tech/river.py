"""Ordered wires from where they are to where they must be, in one metal: river routing.

Wires run upwards and step sideways on their way. One step each is enough where few wires are in
each other's way, but a row of wires that all move by more than their distance would climb
without end. With doglegs a wire follows the one that it meets, and climbs past those wires alone
that start before it has arrived: the least height there is (Leiserson and Pinter, SIAM J.
Comput. 12(3), 1983). Lengths in um, arrays over W wires by ascending x.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Real

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# Positions lie on a grid that is far coarser.
SAME_UM = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Jogs:
    """J steps sideways, wire by wire and each wire's from below.

    `wire` (J,) steps at the height `y_um` from `from_um` to `to_um`; `top_um` (W,) is the upper
    edge of each wire's last step.
    """

    wire: Ints
    y_um: Real
    from_um: Real
    to_um: Real
    top_um: Real


def no_jogs(count: int) -> Jogs:
    """Those of wires that run straight."""
    none = np.zeros(0)
    return Jogs(np.zeros(0, np.int64), none, none, none, np.zeros(count))


def channel_um(from_um: Real, to_um: Real, width_um: Real, space_um: float) -> float:
    """The upper edge of the highest step that `river` makes; 0 without steps."""
    if len(from_um) == 0:
        return 0.0
    return round(max(map(_highest, _ways(from_um, to_um, width_um / 2, space_um))), 6)


def river(from_um: Real, to_um: Real, width_um: Real, space_um: float) -> Jogs:
    """The steps that bring wires of `width_um` (W,) from `from_um` to `to_um`.

    They keep `space_um` between them where both ends do, and from y = 0. Wires that come past
    each other below the highest one with a step each take one; the others have doglegs.
    """
    if len(from_um) == 0:
        return no_jogs(0)
    half = width_um / 2
    right, left = _ways(from_um, to_um, half, space_um)
    highest = max(_highest(right), _highest(left))
    ways = [_steps(right, highest), _steps(left, highest)]
    # What moves to the left was mirrored.
    wire, y, start, end = ways[1]
    ways[1] = len(from_um) - 1 - wire, y, -start, -end
    wire, y, start, end = (np.concatenate(parts) for parts in zip(*ways, strict=True))
    order = np.lexsort((y, wire))
    wire, y = wire[order], np.round(y[order], 6)
    top = np.zeros(len(from_um))
    np.maximum.at(top, wire, y + half[wire])
    return Jogs(wire, y, np.round(start[order], 6), np.round(end[order], 6), np.round(top, 6))


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """Wires that move to the right, where `moves`; others keep out of their way.

    `past_um`: the least distance of every wire from the first one; `base_um`: of its step from
    y = 0. A wire climbs over those up to `last`: to the height `least_um` with doglegs, and to
    `single_um` with a step. A `chain` of wires that meet takes the one or the other.
    """

    from_um: Real
    to_um: Real
    half_um: Real
    moves: Bools
    past_um: Real
    base_um: Real
    last: Ints
    least_um: Real
    single_um: Real
    chain: Ints


def _rightwards(from_um: Real, to_um: Real, half_um: Real, space_um: float) -> _Way:
    past = np.concatenate([[0.0], np.cumsum(half_um[:-1] + half_um[1:] + space_um)])
    base = half_um + space_um
    own = np.arange(len(from_um))
    # Moved along to this wire, the first rise of wire k lies before this one's end.
    last = np.searchsorted(from_um - past, to_um - past - SAME_UM, side="left") - 1
    moves = to_um > from_um + SAME_UM
    last = np.where(moves, np.maximum(last, own), own)
    meets = moves[:-1] & (last[:-1] > own[:-1])
    chain = np.concatenate([[0], np.cumsum(~meets)])
    ends = np.searchsorted(chain, chain, side="right") - 1
    least, single = (base[k] + past[k] - past for k in (last, ends))
    return _Way(from_um, to_um, half_um, moves, past, base, last, least, single, chain)


def _ways(from_um: Real, to_um: Real, half_um: Real, space_um: float) -> tuple[_Way, _Way]:
    """Those to the right, and those to the left mirrored."""
    return (
        _rightwards(from_um, to_um, half_um, space_um),
        _rightwards(-from_um[::-1], -to_um[::-1], half_um[::-1], space_um),
    )


def _highest(way: _Way) -> float:
    """The upper edge of the highest step."""
    return float((way.least_um + way.half_um)[way.moves].max(initial=0.0))


def _steps(way: _Way, highest_um: float) -> tuple[Ints, Real, Real, Real]:
    """(wire, height, from, to) of every step."""
    tall = np.zeros(int(way.chain[-1]) + 1)
    np.maximum.at(tall, way.chain, way.single_um + way.half_um)
    one = tall[way.chain] <= highest_um + SAME_UM
    straight = np.flatnonzero(way.moves & one)
    bent = np.flatnonzero(way.moves & ~one)
    count = way.last[bent] + 1 - bent
    wire = np.repeat(bent, count)
    met = wire + np.arange(len(wire)) - np.repeat(np.cumsum(count) - count, count)
    rise = np.append(way.from_um - way.past_um, np.inf)
    start = rise[met] + way.past_um[wire]
    end = np.minimum(rise[met + 1] + way.past_um[wire], way.to_um[wire])
    there = end - start > SAME_UM
    height = (way.base_um[met] + way.past_um[met] - way.past_um[wire])[there]
    return (
        np.concatenate([straight, wire[there]]),
        np.concatenate([way.single_um[straight], height]),
        np.concatenate([way.from_um[straight], start[there]]),
        np.concatenate([way.to_um[straight], end[there]]),
    )


def together(parts: list[tuple[Ints, Jogs]], count: int, lift_um: float) -> Jogs:
    """The steps of groups of wires as those of all `count` wires, `lift_um` further up; a group is
    (its wires' numbers, its steps)."""
    wire = np.concatenate([wires[made.wire] for wires, made in parts])
    order = np.argsort(wire, kind="stable")
    y, start, end = (
        np.concatenate([getattr(made, name) for _, made in parts])[order]
        for name in ("y_um", "from_um", "to_um")
    )
    top = np.zeros(count)
    for wires, made in parts:
        top[wires] = np.where(made.top_um > 0, made.top_um + lift_um, 0.0)
    return Jogs(wire[order], np.round(y + lift_um, 6), start, end, np.round(top, 6))

"""Guides of one length that spread from the rows of a tile to the pitch of a fibre array.

Every guide climbs by an S-bend beside the ports, all S-bends begin at the same x, so that guides
in order never meet. Those that climb less turn up and down again near the edge, where rows are
as far apart as the fibres, until all of a tile are equally long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech.bends import SBend, bump_angle_rad, s_bend


@dataclass(frozen=True, slots=True)
class Detour:
    """`count` times away from the row and back to it, a flank being `bend`."""

    count: int
    bend: SBend

    @property
    def run_um(self) -> float:
        """Length along x."""
        return 2 * self.count * self.bend.run_um

    @property
    def path_um(self) -> float:
        """Length along the guide."""
        return 2 * self.count * self.bend.path_um


@dataclass(frozen=True, slots=True)
class FanGuide:
    """A guide whose port lies `climb_um` above its end at the die's edge."""

    climb_um: float
    bend: SBend
    detour: Detour

    @property
    def extra_um(self) -> float:
        """How much longer its path is than its run."""
        bent = self.bend.path_um - self.bend.run_um
        return bent + self.detour.path_um - self.detour.run_um

    @property
    def turns(self) -> float:
        """Sum of all angles, in units of 90 degrees."""
        arcs = 2 * self.bend.angle_rad + 4 * self.detour.count * self.detour.bend.angle_rad
        return float(arcs / (np.pi / 2))


def detour(extra_um: float, radius_um: float, most_um: float) -> Detour:
    """The detour of fewest bends that is `extra_um` >= 0 longer than its run and leaves its row
    by no more than `most_um`, which is at least two radii."""
    if extra_um <= 1e-9:
        return Detour(0, s_bend(0.0, radius_um))
    # Two flanks of 90 degrees are so much longer than their run; straights add their lengths.
    upright = 4 * radius_um * (np.pi / 2 - 1)
    longest = max(most_um - 2 * radius_um, 0.0)
    count = max(1, int(np.ceil(extra_um / (upright + 2 * longest) - 1e-9)))
    each = extra_um / count
    if each < upright:
        angle = float(bump_angle_rad(each, radius_um))
        return Detour(count, SBend(2 * radius_um * (1 - np.cos(angle)), radius_um, angle, 0.0))
    straight = (each - upright) / 2
    return Detour(count, SBend(2 * radius_um + straight, radius_um, np.pi / 2, straight))


def fan(climbs_um: Sequence[float], radius_um: float, most_um: float) -> list[FanGuide]:
    """Guides of equal length for ports that lie so much above their ends."""
    bends = [s_bend(abs(climb), radius_um) for climb in climbs_um]
    extra = [bend.path_um - bend.run_um for bend in bends]
    longest = max(extra, default=0.0)
    return [
        FanGuide(climb, bend, detour(longest - own, radius_um, most_um))
        for climb, bend, own in zip(climbs_um, bends, extra, strict=True)
    ]


def array_heights_um(
    middles_um: Sequence[float], counts: Sequence[int], pitch_um: float, grid_um: float
) -> list[Real]:
    """Heights of the fibres of every tile, from the top down: each tile's around its middle, as
    far as neighbours leave room, and all of one array's pitch apart at least.

    Tiles come from the top down.
    """
    tops: list[float] = []
    for middle, count in zip(middles_um, counts, strict=True):
        top = middle + pitch_um * (count - 1) / 2
        if tops:
            top = min(top, tops[-1] - counts[len(tops) - 1] * pitch_um)
        tops.append(top)
    # What was pushed down is shared by all.
    pushed = [
        middle + pitch_um * (count - 1) / 2 - top
        for middle, count, top in zip(middles_um, counts, tops, strict=True)
    ]
    shift = (max(pushed, default=0.0) + min(pushed, default=0.0)) / 2
    return [
        np.round(np.round((top + shift) / grid_um) * grid_um - pitch_um * np.arange(count), 6)
        for top, count in zip(tops, counts, strict=True)
    ]

"""Lengths of bent guides: S-bends that change the row, S-bumps that only make a path longer.

All bends are circular arcs of one radius, so every length here is exact.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from onnx2mzi.errors import FitError
from onnx2mzi.physics.arrays import Real

# Steeper S-bends would be shorter, but crossings meet at 45 degrees and bends should be alike.
S_BEND_ANGLE_RAD = np.pi / 4
GENTLE_BUMP_RAD = np.pi / 3
STEEPEST_BUMP_RAD = np.pi / 2


@dataclass(frozen=True, slots=True)
class SBend:
    """Two opposite arcs of `angle_rad` with a straight between them; it rises by `rise_um`."""

    rise_um: float
    radius_um: float
    angle_rad: float
    straight_um: float

    @property
    def run_um(self) -> float:
        """Length along x."""
        return float(
            2 * self.radius_um * np.sin(self.angle_rad) + self.straight_um * np.cos(self.angle_rad)
        )

    @property
    def path_um(self) -> float:
        """Length along the guide."""
        return 2 * self.radius_um * self.angle_rad + self.straight_um


def s_bend(rise_um: float, radius_um: float) -> SBend:
    """The shortest S-bend of at most 45 degrees that rises by `rise_um` >= 0."""
    arcs_um = 2 * radius_um * (1 - np.cos(S_BEND_ANGLE_RAD))
    if rise_um <= arcs_um:
        angle = float(np.arccos(1 - rise_um / (2 * radius_um)))
        return SBend(rise_um, radius_um, angle, 0.0)
    straight = float((rise_um - arcs_um) / np.sin(S_BEND_ANGLE_RAD))
    return SBend(rise_um, radius_um, S_BEND_ANGLE_RAD, straight)


def s_bend_of_extra(extra_um: float, radius_um: float) -> SBend:
    """The S-bend whose path is longer than its run by `extra_um` >= 0."""
    if extra_um <= 0:
        return s_bend(0.0, radius_um)
    arcs_um = 2 * radius_um * (S_BEND_ANGLE_RAD - np.sin(S_BEND_ANGLE_RAD))
    if extra_um <= arcs_um:
        angle = float(_angle_of(np.float64(extra_um / (2 * radius_um))))
        return SBend(2 * radius_um * float(1 - np.cos(angle)), radius_um, angle, 0.0)
    straight = float((extra_um - arcs_um) / (1 - np.cos(S_BEND_ANGLE_RAD)))
    rise = 2 * radius_um * (1 - np.cos(S_BEND_ANGLE_RAD)) + straight * np.sin(S_BEND_ANGLE_RAD)
    return SBend(float(rise), radius_um, S_BEND_ANGLE_RAD, straight)


@dataclass(frozen=True, slots=True)
class Bumps:
    """`count` equal bumps, four arcs of `angle_rad` each: away from the row and back to it."""

    count: int
    angle_rad: float
    radius_um: float

    @property
    def run_um(self) -> float:
        """Length along x."""
        return float(4 * self.count * self.radius_um * np.sin(self.angle_rad))

    @property
    def path_um(self) -> float:
        """Length along the guide."""
        return 4 * self.count * self.radius_um * self.angle_rad

    @property
    def rise_um(self) -> float:
        """How far they leave the row."""
        return float(2 * self.radius_um * (1 - np.cos(self.angle_rad)))


def bumps(extra_um: float, radius_um: float, room_um: float) -> Bumps:
    """Bumps that make a path `extra_um` longer within `room_um`: gentle ones where they fit.

    Raises FitError when even bends of 90 degrees do not fit.
    """
    if extra_um <= 0:
        return Bumps(0, 0.0, radius_um)

    def of(count: int) -> Bumps:
        return Bumps(count, float(bump_angle_rad(extra_um / count, radius_um)), radius_um)

    gentle_um = 4 * radius_um * (GENTLE_BUMP_RAD - np.sin(GENTLE_BUMP_RAD))
    count = max(1, int(np.ceil(extra_um / gentle_um - 1e-9)))
    while count > 1 and of(count).run_um > room_um:
        count -= 1
    found = of(count)
    if found.run_um > room_um or found.angle_rad > STEEPEST_BUMP_RAD:
        raise FitError(
            f"{extra_um:.2f} um of extra path do not fit {room_um:.1f} um of guide",
            hint="a smaller bend radius or a longer coupler in the technology makes room",
        )
    return found


def bump_angle_rad(extra_um: npt.ArrayLike, radius_um: float) -> Real:
    """The angle of one bump's arcs for `extra_um` >= 0 of path, shape (...).

    Solves 4 R (a - sin a) = extra by Newton's method.
    """
    if isinstance(extra_um, float):
        return np.asarray(_one_angle(float(extra_um), radius_um))
    return _angle_of(np.asarray(extra_um, float) / (4 * radius_um))


@lru_cache(maxsize=4096)
def _one_angle(extra_um: float, radius_um: float) -> float:
    """The sizes of cells are asked for again and again."""
    return float(_angle_of(extra_um / (4 * radius_um)))


def _angle_of(ratio: npt.ArrayLike) -> Real:
    """a with a - sin a = ratio, for ratio in [0, pi]."""
    ratio = np.asarray(ratio, float)
    # From above, so that Newton's method for this convex function cannot overshoot.
    angle = np.cbrt(6 * ratio) * (1 + ratio / 10)
    for _ in range(8):
        # Below 1e-3 the start is exact to 1e-7 of itself, and the slope vanishes.
        slope = np.where(angle > 1e-3, 1 - np.cos(angle), np.inf)
        angle = angle - (angle - np.sin(angle) - ratio) / slope
    return np.asarray(np.maximum(angle, 0.0))

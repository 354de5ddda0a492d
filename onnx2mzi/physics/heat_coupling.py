"""How much every heater warms every piece of guide, pair by pair: the exact matrix.

`physics.heat_operator` is for chips too big for it; this module is what that one is held to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PPoly

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.heat import phase_rad_per_k_um
from onnx2mzi.physics.heat_bars import (
    Bars,
    RadialProfile,
    across_width,
    check_heaters,
    graded,
    overlap,
    second_antiderivative,
)
from onnx2mzi.physics.heat_model import HeatModel
from onnx2mzi.physics.stack import Die

# Rows of guides closer than this are one row.
_SAME_ROW_UM = 1e-6
# Images of the die are summed as far as the substrate carries heat: e^-16 is left out.
_DECAYS = 16.0

Row = tuple[npt.NDArray[np.int64], Bars]


def coupling_matrix(
    *, model: HeatModel, heaters: Bars, segments: Bars, die: Die | None = None
) -> Real:
    """Integral of the temperature along every segment per mW in every heater, K um / mW.

    Shape (segments, heaters); times `phase_rad_per_k_um` it is rad / mW. Every heater warms
    every segment, at any distance. With `die`, within which everything is expected to lie, the
    adiabatic sides are images in both directions, images of images included.
    Some 0.3 us a pair where bars share rows, as those of meshes do, else a table a pair of rows.
    Raises ValueError for heaters without length.
    """
    check_heaters(heaters)
    tables = _Tables(model.profile, model.stack.heater_width_um, die, _extent_um(heaters, segments))
    result = np.zeros((len(segments), len(heaters)))
    segment_rows = list(_rows(segments))
    for index, row in _rows(heaters):
        for at, victims in segment_rows:
            b0_um, b1_um = victims.x0_um[:, None], victims.x1_um[:, None]
            dy_um = float(victims.y_um[0] - row.y_um[0])
            block = np.zeros((len(at), len(index)))
            for image, image_dy_um in _images(row, float(victims.y_um[0]), die):
                block += overlap(
                    tables.lookup(image_dy_um),
                    a0_um=image.x0_um,
                    a1_um=image.x1_um,
                    b0_um=b0_um,
                    b1_um=b1_um,
                )
            if model.air is not None and abs(dy_um) < model.air.reach_um:
                block += model.air.coupling(
                    a0_um=row.x0_um,
                    a1_um=row.x1_um,
                    b0_um=b0_um,
                    b1_um=b1_um,
                    dy_um=np.asarray(dy_um),
                )
            result[np.ix_(at, index)] = block
    return result


def own_phase_rad_per_mw(*, model: HeatModel, length_um: float) -> float:
    """Phase that a heater makes in the guide below it, along its own length, per mW."""
    one = Bars(np.zeros(1), np.full(1, length_um), np.zeros(1))
    coupled = coupling_matrix(model=model, heaters=one, segments=one)
    return float(coupled[0, 0]) * phase_rad_per_k_um(stack=model.stack)


def _rows(bars: Bars) -> Iterator[Row]:
    """Indices and bars of every height."""
    if not len(bars):
        return
    height = np.round(bars.y_um / _SAME_ROW_UM)
    order = np.argsort(height, kind="stable")
    for index in np.split(order, np.flatnonzero(np.diff(height[order])) + 1):
        yield index, bars.take(index)


def _images(row: Bars, y_um: float, die: Die | None) -> Iterator[tuple[Bars, float]]:
    """The heaters of a row and, on a die, their mirror images; with the distance to y."""
    own_y_um = float(row.y_um[0])
    yield row, y_um - own_y_um
    if die is None:
        return
    left = Bars(2 * die.x0_um - row.x1_um, 2 * die.x0_um - row.x0_um, row.y_um)
    yield left, y_um - own_y_um
    yield row, y_um + own_y_um - 2 * die.y0_um
    yield left, y_um + own_y_um - 2 * die.y0_um


def _extent_um(heaters: Bars, segments: Bars) -> float:
    both = [heaters, segments]
    low = min((float(b.x0_um.min()) for b in both if len(b)), default=0.0)
    high = max((float(b.x1_um.max()) for b in both if len(b)), default=1.0)
    return max(high - low, 1.0)


@dataclass(frozen=True, slots=True)
class _Tables:
    """F(x) for every lateral distance, made when first asked for."""

    profile: RadialProfile
    width_um: float
    die: Die | None
    extent_um: float
    made: dict[float, PPoly] = field(default_factory=dict)

    def lookup(self, dy_um: float) -> PPoly:
        key = round(abs(dy_um) / _SAME_ROW_UM)
        if key not in self.made:
            self.made[key] = self._table(abs(dy_um))
        return self.made[key]

    def _table(self, dy_um: float) -> PPoly:
        if self.die is None:
            knots = graded(reach=self.extent_um, scale=_scale_um(dy_um))
            values = across_width(self.profile, width_um=self.width_um, x_um=knots, y_um=dy_um)
            return second_antiderivative(knots_um=knots, values=values)
        wide, high = self.die.x1_um - self.die.x0_um, self.die.y1_um - self.die.y0_um
        # Fine at x = 0, and at the period 2 * wide, where the next image lies.
        half = graded(reach=wide, scale=_scale_um(min(dy_um, abs(2 * high - dy_um))))
        knots = np.concatenate([half, 2 * wide - half[-2::-1]])
        reach = _DECAYS * self.profile.decay_um
        values = np.zeros(len(knots))
        for m in range(-int(reach // (2 * wide)) - 2, int(reach // (2 * wide)) + 2):
            for n in range(-int(reach // (2 * high)) - 2, int(reach // (2 * high)) + 2):
                x, y = knots + 2 * wide * m, dy_um + 2 * high * n
                if np.hypot(np.abs(x).min(), y) > reach:
                    continue
                if abs(y) < 100 * self.width_um:
                    values += across_width(self.profile, width_um=self.width_um, x_um=x, y_um=y)
                else:
                    values += self.profile(np.hypot(x, y))
        return second_antiderivative(knots_um=knots, values=values)


def _scale_um(dy_um: float) -> float:
    return float(np.hypot(dy_um, 1.0))

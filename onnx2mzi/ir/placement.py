"""Where every block of a placed program lies on the die."""

from dataclasses import dataclass, field

import numpy as np

from onnx2mzi.physics.arrays import Real, frozen


@dataclass(frozen=True, slots=True, eq=False)
class BlockPlacement:
    """One mesh (`u`, `v`) or row of attenuators (`s`) of one tile.

    `column_x_um`, shape (columns + 1,), are the left edges of the columns and the right edge of
    the last; guide p runs at `y_um - p * row_pitch_um` (y points up, port 0 is uppermost).

    `drive_rad` is what the heaters are driven with where they make up for each other's heat (see
    `compensate`): theta then phi of every MZI, then the outputs, shape (2 K + ports,); of
    attenuators (r,). >= 0, and 0 without a heater. Empty: drives follow from the phases.
    `length_rad`, of the same shape, are phases that passive shifters are drawn with beside their
    own, for heat makes the rest; 0 elsewhere. Empty: none.
    """

    layer: str
    grid: int
    tile: int
    block: str
    column_x_um: Real
    y_um: float
    row_pitch_um: float
    drive_rad: Real = field(default_factory=lambda: np.zeros(0))
    length_rad: Real = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        object.__setattr__(self, "column_x_um", frozen(self.column_x_um, np.float64))
        object.__setattr__(self, "drive_rad", frozen(self.drive_rad, np.float64))
        object.__setattr__(self, "length_rad", frozen(self.length_rad, np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """All blocks, the technology they were placed for, and the extent of what is drawn."""

    technology: str
    width_um: float
    height_um: float
    blocks: tuple[BlockPlacement, ...]

    def __repr__(self) -> str:
        size = f"{self.width_um / 1e3:.2f} x {self.height_um / 1e3:.2f} mm"
        return f"Placement({self.technology}, {size}, blocks: {len(self.blocks)})"

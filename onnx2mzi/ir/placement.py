"""Where every block of a placed program lies on the die."""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.physics.arrays import Real, frozen


@dataclass(frozen=True, slots=True, eq=False)
class BlockPlacement:
    """One mesh (`u`, `v`) or row of attenuators (`s`) of one tile.

    `column_x_um`, shape (columns + 1,), are the left edges of the columns and the right edge of
    the last; guide p runs at `y_um - p * row_pitch_um` (y points up, port 0 is uppermost).
    """

    layer: str
    grid: int
    tile: int
    block: str
    column_x_um: Real
    y_um: float
    row_pitch_um: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "column_x_um", frozen(self.column_x_um, np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """All blocks, the technology they were placed for, and the extent of what is drawn."""

    technology: str
    width_um: float
    height_um: float
    blocks: tuple[BlockPlacement, ...]

"""The codes of a driver: which phases a heater can really be set to.

A b-bit driver has codes 0 .. 2^b - 1. With law `phase` the phase is proportional to the code;
with law `voltage` the driver's voltage is, and the phase goes with the power, V^2 (Gu et al.,
ROQ, DATE 2020, eq. 1). Full scale is pi where the arm gives the sign, 2 pi (exclusive under law
`phase`, as it equals 0) on upper arms.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Flags, Real
from onnx2mzi.physics.shifter import Drive, ShifterState, drive_rad


class CodeLaw(StrEnum):
    """What is uniform in the code."""

    PHASE = "phase"
    VOLTAGE = "voltage"


@dataclass(frozen=True, slots=True)
class DriveCode:
    """How a chip's heaters are driven: `bits` a heater and the law from code to phase."""

    bits: int
    law: CodeLaw

    def levels_rad(self, drive: Drive) -> Real:
        """The phase of every code, ascending, shape (2 ** bits,)."""
        codes = np.arange(2**self.bits, dtype=float)
        if drive is not Drive.UPPER_ARM:
            fraction, full_rad = codes / (2**self.bits - 1), np.pi
        elif self.law is CodeLaw.PHASE:
            fraction, full_rad = codes / 2**self.bits, 2 * np.pi
        else:
            fraction, full_rad = codes / (2**self.bits - 1), 2 * np.pi
        return np.asarray((fraction if self.law is CodeLaw.PHASE else fraction**2) * full_rad)

    def code(self, phase_rad: npt.ArrayLike, drive: Drive) -> npt.NDArray[np.int64]:
        """The code whose level is nearest to what a heater must make for `phase_rad`."""
        levels = self.levels_rad(drive)
        active = np.full(np.shape(phase_rad), ShifterState.ACTIVE)
        made = drive_rad(phase_rad, active, drive)
        code = np.searchsorted((levels[1:] + levels[:-1]) / 2, made)
        if drive is Drive.UPPER_ARM:
            # 2 pi is 0 again.
            code = np.where(2 * np.pi - made < made - levels[code], 0, code)
        return np.asarray(code, dtype=np.int64)

    def nearest_rad(self, phase_rad: npt.ArrayLike, drive: Drive) -> Real:
        """`phase_rad` moved to the nearest level, the sign of the arm kept. Shape (...)."""
        level = self.levels_rad(drive)[self.code(phase_rad, drive)]
        if drive is Drive.UPPER_ARM:
            return np.where(level > np.pi, level - 2 * np.pi, level)
        return np.where(np.asarray(phase_rad) < 0, -level, level)

    def worst_error_rad(self, drive: Drive) -> float:
        """Half of the widest gap between neighbouring levels."""
        levels = self.levels_rad(drive)
        if drive is Drive.UPPER_ARM:
            levels = np.append(levels, 2 * np.pi)
        return float(np.diff(levels).max() / 2)


def codes_of(code: DriveCode, phase_rad: Real, state: Flags, drive: Drive) -> npt.NDArray[np.int64]:
    """The code of every active heater, -1 elsewhere. Shape (...)."""
    return np.where(state == ShifterState.ACTIVE, code.code(phase_rad, drive), -1)

"""What drives a phase: which arm carries it, what common phase that brings, what it costs.

A phase x is the difference that the upper arm gains over the lower one. It can be made by

    upper   diag(e^{ix}, 1)              heater on the upper arm, x taken modulo 2 pi
    lower   diag(1, e^{i|x|})            heater on the lower arm, for x < 0
    pair    diag(e^{ix/2}, e^{-ix/2})    push-pull heaters, or a fixed difference of length

All three equal e^{i common} diag(e^{ix}, 1); `common_phase_rad` gives that common phase.
A phase on a single guide (`out`) has no lower arm: it is e^{ix}, made as `upper`.
What a technology's drive allows is decided here and nowhere else.
"""

from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Flags, Real


class Drive(StrEnum):
    """Where the heaters of an MZI sit (`drive` of a technology)."""

    UPPER_ARM = "upper-arm"
    ARM_CHOICE = "arm-choice"
    PUSH_PULL = "push-pull"


class ShifterState(IntEnum):
    """What became of a phase shifter."""

    REMOVED = 0
    PASSIVE = 1
    ACTIVE = 2


class Arm(IntEnum):
    """Where a phase is made."""

    UPPER = 0
    LOWER = 1
    PAIR = 2


class Passive(StrEnum):
    """Which phases may be fixed as waveguide length (`--passive`)."""

    NONE = "none"
    COMMON = "common"
    QUARTER = "quarter"
    ALL = "all"


def pass_phase_rad(drive: Drive) -> float:
    """Phase of a guide that passes a column without an MZI.

    A push-pull cell is i M(theta, phi); passing guides are drawn a quarter wave longer, so
    that a real matrix needs no phi at all. Otherwise the guide is the reference, 0.
    """
    return np.pi / 2 if drive is Drive.PUSH_PULL else 0.0


def arms(phase_rad: npt.ArrayLike, state: npt.ArrayLike, drive: Drive) -> Flags:
    """The `Arm` of every shifter, shape (...): passive ones are pairs, heaters follow the drive."""
    phase, state = np.asarray(phase_rad, float), np.asarray(state)
    if drive is Drive.PUSH_PULL:
        heater = np.full(phase.shape, Arm.PAIR, np.uint8)
    elif drive is Drive.ARM_CHOICE:
        heater = np.where(phase < 0, np.uint8(Arm.LOWER), np.uint8(Arm.UPPER))
    else:
        heater = np.full(phase.shape, Arm.UPPER, np.uint8)
    fixed = state == ShifterState.PASSIVE
    return np.where(fixed, np.uint8(Arm.PAIR), heater).astype(np.uint8)


def common_phase_rad(phase_rad: npt.ArrayLike, state: npt.ArrayLike, drive: Drive) -> Real:
    """The phase c with: arms' transfer = e^{ic} diag(e^{ix}, 1). Shape (...)."""
    phase = np.asarray(phase_rad, float)
    if drive is Drive.PUSH_PULL:
        return -phase / 2
    lower = np.where(phase < 0, -phase, 0.0) if drive is Drive.ARM_CHOICE else 0.0
    return np.where(np.asarray(state) == ShifterState.PASSIVE, -phase / 2, lower)


def settled_state(
    phase_rad: npt.ArrayLike, *, compensates: npt.ArrayLike, passive: Passive
) -> Flags:
    """The state of shifters that must make `phase_rad`: removed at 0, else passive or active.

    `compensates` marks phases that only undo common phases of the arms. Shapes (...).
    """
    phase = np.asarray(phase_rad, float)
    if passive is Passive.ALL:
        fixed = np.ones(phase.shape, bool)
    elif passive is Passive.NONE:
        fixed = np.zeros(phase.shape, bool)
    else:
        fixed = np.broadcast_to(np.asarray(compensates, bool), phase.shape).copy()
    if passive is Passive.QUARTER:
        quarters = phase / (np.pi / 2)
        fixed |= np.abs(quarters - np.round(quarters)) < 1e-9
    state = np.where(fixed, np.uint8(ShifterState.PASSIVE), np.uint8(ShifterState.ACTIVE))
    return np.where(phase == 0.0, np.uint8(ShifterState.REMOVED), state).astype(np.uint8)


def drive_rad(phase_rad: npt.ArrayLike, state: npt.ArrayLike, drive: Drive) -> Real:
    """The phase that heaters really make, >= 0; 0 for passive and removed. Shape (...)."""
    phase = np.asarray(phase_rad, float)
    made = np.mod(phase, 2 * np.pi) if drive is Drive.UPPER_ARM else np.abs(phase)
    return np.where(np.asarray(state) == ShifterState.ACTIVE, made, 0.0)


def power_mw(heat_rad: npt.ArrayLike, *, p_pi_mw: float) -> Real:
    """Static power of heaters that make `heat_rad`, in mW: linear, P_pi for pi."""
    return np.asarray(np.asarray(heat_rad, float) / np.pi * p_pi_mw)

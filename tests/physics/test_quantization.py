"""Codes of drivers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.physics.quantization import CodeLaw, DriveCode, codes_of
from onnx2mzi.physics.shifter import Drive, ShifterState

phases = st.floats(-np.pi, np.pi)


@given(phases, st.integers(1, 12), st.sampled_from(CodeLaw), st.sampled_from(Drive))
def test_nearest_level_is_nearest(phase: float, bits: int, law: CodeLaw, drive: Drive) -> None:
    code = DriveCode(bits, law)
    moved = float(code.nearest_rad(phase, drive))
    levels = code.levels_rad(drive)
    if drive is Drive.UPPER_ARM:
        gap = np.abs(np.exp(1j * levels) - np.exp(1j * phase)).min()
        assert np.abs(np.exp(1j * moved) - np.exp(1j * phase)) == pytest.approx(gap, abs=1e-12)
    else:
        assert abs(moved - phase) == pytest.approx(np.abs(levels - abs(phase)).min(), abs=1e-12)
        assert moved * phase >= 0
    error_rad = abs(np.angle(np.exp(1j * (moved - phase))))
    assert error_rad <= code.worst_error_rad(drive) + 1e-9


@given(phases, st.integers(1, 12), st.sampled_from(CodeLaw), st.sampled_from(Drive))
def test_quantizing_twice_changes_nothing(
    phase: float, bits: int, law: CodeLaw, drive: Drive
) -> None:
    code = DriveCode(bits, law)
    once = code.nearest_rad(phase, drive)
    np.testing.assert_allclose(code.nearest_rad(once, drive), once, atol=1e-12)


def test_levels_of_three_bits() -> None:
    step = DriveCode(3, CodeLaw.PHASE).levels_rad(Drive.ARM_CHOICE)
    np.testing.assert_allclose(step, np.arange(8) * np.pi / 7)
    step = DriveCode(3, CodeLaw.PHASE).levels_rad(Drive.UPPER_ARM)
    np.testing.assert_allclose(step, np.arange(8) * np.pi / 4)
    volts = DriveCode(3, CodeLaw.VOLTAGE).levels_rad(Drive.ARM_CHOICE)
    np.testing.assert_allclose(volts, (np.arange(8) / 7) ** 2 * np.pi)


def test_only_active_heaters_have_codes() -> None:
    code = DriveCode(4, CodeLaw.PHASE)
    states = np.array(list(ShifterState), np.uint8)
    phase = np.array([0.0, 1.0, 1.0])
    np.testing.assert_array_equal(codes_of(code, phase, states, Drive.ARM_CHOICE), [-1, -1, 5])

"""The conventions of design section 3, each pinned by numbers that another convention breaks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.physics.arrays import wrapped
from onnx2mzi.physics.mzi import (
    attenuation,
    attenuator_theta_rad,
    balanced_mzi,
    coupler,
    mzi,
    phase_shift,
)
from onnx2mzi.physics.shifter import (
    Arm,
    Drive,
    Passive,
    ShifterState,
    arms,
    common_phase_rad,
    drive_rad,
    pass_phase_rad,
    power_mw,
    settled_state,
)

angles = st.floats(-7, 7)
active = ShifterState.ACTIVE


def test_coupler_is_symmetric_with_i_on_the_cross() -> None:
    np.testing.assert_allclose(coupler(), np.array([[1, 1j], [1j, 1]]) / np.sqrt(2))


def test_phase_is_on_the_upper_arm() -> None:
    np.testing.assert_allclose(phase_shift(phase_rad=0.3), np.diag([np.exp(0.3j), 1]))


@given(theta=angles, phi=angles)
def test_mzi_is_phi_first_then_theta_between_two_couplers(theta: float, phi: float) -> None:
    walked = coupler() @ phase_shift(phase_rad=theta) @ coupler() @ phase_shift(phase_rad=phi)
    np.testing.assert_allclose(mzi(theta_rad=theta, phi_rad=phi), walked, atol=1e-14)


def test_mzi_of_unequal_phases_in_numbers() -> None:
    # A non-symmetric case: transposing, swapping the arms or the order changes it.
    expected = [
        [-0.37554693 + 0.29801569j, -0.42073549 + 0.77015115j],
        [-0.68743404 + 0.54551407j, 0.22984885 - 0.42073549j],
    ]
    np.testing.assert_allclose(mzi(theta_rad=1.0, phi_rad=0.4), expected, atol=1e-8)


def test_theta_0_is_cross_and_pi_is_bar() -> None:
    cross = mzi(theta_rad=0.0, phi_rad=0.0)
    np.testing.assert_allclose(cross, 1j * np.array([[0, 1], [1, 0]]), atol=1e-15)
    bar = np.abs(mzi(theta_rad=np.pi, phi_rad=0.0))
    np.testing.assert_allclose(bar, np.eye(2), atol=1e-15)


@given(theta=angles, phi=angles)
def test_balanced_mzi_lacks_only_the_common_phase(theta: float, phi: float) -> None:
    np.testing.assert_allclose(
        mzi(theta_rad=theta, phi_rad=phi),
        1j * np.exp(0.5j * theta) * balanced_mzi(theta_rad=theta, phi_rad=phi),
        atol=1e-14,
    )


@given(st.floats(0, 1))
def test_attenuator_passes_all_light_for_no_power(amplitude: float) -> None:
    theta = attenuator_theta_rad(amplitude=amplitude)
    assert attenuation(theta_rad=theta) == pytest.approx(amplitude, abs=1e-12)
    assert attenuator_theta_rad(amplitude=1.0) == 0.0


@pytest.mark.parametrize("amplitude", [-0.1, 1.1])
def test_attenuator_refuses_gain(amplitude: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        attenuator_theta_rad(amplitude=amplitude)


@pytest.mark.parametrize(
    ("drive", "phase", "arm", "common", "heat"),
    [
        (Drive.UPPER_ARM, 0.5, Arm.UPPER, 0.0, 0.5),
        (Drive.UPPER_ARM, -0.5, Arm.UPPER, 0.0, 2 * np.pi - 0.5),
        (Drive.ARM_CHOICE, 0.5, Arm.UPPER, 0.0, 0.5),
        (Drive.ARM_CHOICE, -0.5, Arm.LOWER, 0.5, 0.5),
        (Drive.PUSH_PULL, 0.5, Arm.PAIR, -0.25, 0.5),
        (Drive.PUSH_PULL, -0.5, Arm.PAIR, 0.25, 0.5),
    ],
)
def test_drives(drive: Drive, phase: float, arm: Arm, common: float, heat: float) -> None:
    assert arms(phase, active, drive) == arm
    assert common_phase_rad(phase, active, drive) == pytest.approx(common)
    assert drive_rad(phase, active, drive) == pytest.approx(heat)
    drawn = {
        Arm.UPPER: [np.exp(1j * heat), 1],
        Arm.LOWER: [1, np.exp(1j * heat)],
        Arm.PAIR: [np.exp(0.5j * phase), np.exp(-0.5j * phase)],
    }[arm]
    np.testing.assert_allclose(
        np.diag(drawn), np.exp(1j * common) * phase_shift(phase_rad=phase), atol=1e-15
    )


def test_passive_phases_are_pairs_without_power() -> None:
    for drive in Drive:
        assert arms(0.3, ShifterState.PASSIVE, drive) == Arm.PAIR
        assert drive_rad(0.3, ShifterState.PASSIVE, drive) == 0.0


def test_only_push_pull_lengthens_the_passing_guides() -> None:
    assert [pass_phase_rad(d) for d in Drive] == [0.0, 0.0, np.pi / 2]


def test_power_is_linear() -> None:
    assert power_mw(np.pi / 2, p_pi_mw=30.0) == pytest.approx(15.0)


@pytest.mark.parametrize(
    ("passive", "states"),
    [
        # phases: 0, a compensating one, pi / 2, and any other
        (Passive.NONE, [0, 2, 2, 2]),
        (Passive.COMMON, [0, 1, 2, 2]),
        (Passive.QUARTER, [0, 1, 1, 2]),
        (Passive.ALL, [0, 1, 1, 1]),
    ],
)
def test_which_phases_may_be_passive(passive: Passive, states: list[int]) -> None:
    phase = np.array([0.0, 0.3, np.pi / 2, 0.4])
    compensates = np.array([False, True, False, False])
    got = settled_state(phase, compensates=compensates, passive=passive)
    assert got.tolist() == states


@given(angles)
def test_wrapped_phases_are_equal_and_in_range(phase: float) -> None:
    x = float(wrapped(phase))
    assert -np.pi < x <= np.pi
    assert np.exp(1j * x) == pytest.approx(np.exp(1j * phase), abs=1e-12)

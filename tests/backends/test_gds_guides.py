"""Drawn centrelines, measured: all cells of a column are optically equal to 20 nm."""

import numpy as np
import pytest

from onnx2mzi.backends.gds.curves import (
    FINE_STEP_RAD,
    bumped,
    length_um,
    ribbon,
    rising,
    straight,
)
from onnx2mzi.backends.gds.guides import (
    attenuator,
    crossing,
    drawn,
    passing,
    removed_attenuator,
    stage_arm,
)
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import Technology, load_technology, technology_names
from onnx2mzi.tech.bends import bumps, s_bend
from onnx2mzi.tech.geometry import attenuators_um, section_um

EVERY = [load_technology(name) for name in technology_names()]
techs = pytest.mark.parametrize("technology", EVERY, ids=lambda t: t.name)


@techs
@pytest.mark.parametrize("theta_um", [0.0, 224.0])
def test_mzi_crossing_and_passing_guide_measured(technology: Technology, theta_um: float) -> None:
    chip = drawn(technology)
    quarter = technology.guide_wavelength_um / 4
    coupler = technology.coupler
    for direction in (-1, 1):
        before, behind = stage_arm(chip, direction)
        assert behind[-1] == pytest.approx((chip.sizes.stage_um, 0.0), abs=1e-9)
        arm = 2 * (length_um(before) + length_um(behind) + coupler.path_um) + theta_um
        guide = passing(chip, crosses=False, theta_um=theta_um, drive=Drive.ARM_CHOICE)
        assert length_um(guide) == pytest.approx(arm, abs=0.02)
        cross, _ = crossing(chip, crosses=False, theta_um=theta_um)
        assert length_um(cross) - quarter == pytest.approx(arm, abs=0.02)
        width = 2 * chip.sizes.stage_um + theta_um
        assert guide[-1] == pytest.approx((width, 0.0), abs=1e-9)
        assert cross[-1] == pytest.approx((width, -chip.sizes.pitch_um), abs=1e-9)


@techs
def test_columns_of_crossings_alone_measured(technology: Technology) -> None:
    quarter = technology.guide_wavelength_um / 4
    for drive, turn in ((Drive.ARM_CHOICE, 0.0), (Drive.PUSH_PULL, quarter)):
        chip = drawn(technology)
        cross, meeting = crossing(chip, crosses=True, theta_um=0.0)
        guide = passing(chip, crosses=True, theta_um=0.0, drive=drive)
        difference = (length_um(cross) - quarter) - (length_um(guide) - turn)
        assert difference == pytest.approx(0, abs=0.02)
        assert cross[-1, 0] == pytest.approx(guide[-1, 0], abs=1e-9)
        # The guides meet half way down.
        height = np.interp(meeting, cross[:, 0], cross[:, 1])
        assert height == pytest.approx(-chip.sizes.pitch_um / 2, abs=1e-6)


@techs
@pytest.mark.parametrize("state", [ShifterState.ACTIVE, ShifterState.PASSIVE])
def test_attenuators_and_the_guide_instead_measured(
    technology: Technology, state: ShifterState
) -> None:
    chip = drawn(technology)
    states = np.array([state, ShifterState.REMOVED], np.uint8)
    length, section = attenuators_um(technology, states), section_um(technology, states)
    parts = attenuator(chip, length, section)
    coupler = technology.coupler
    first, second = parts.coupler_x
    assert parts.entering[-1] == pytest.approx((first, -coupler.port_gap_um / 2), abs=1e-9)
    assert parts.behind[0][-1] == pytest.approx((second, coupler.port_gap_um / 2), abs=1e-9)
    assert parts.leaving[-1] == pytest.approx((length, 0.0), abs=1e-9)
    ends = length_um(parts.entering) + length_um(parts.leaving)
    arms = [
        ends + 2 * coupler.path_um + length_um(a) + section + length_um(b)
        for a, b in zip(parts.before, parts.behind, strict=True)
    ]
    assert arms[0] == pytest.approx(arms[1], abs=1e-9)
    guide = length_um(removed_attenuator(chip, length))
    assert guide - technology.guide_wavelength_um / 4 == pytest.approx(arms[0], abs=0.02)


def test_a_ribbon_keeps_its_width_and_closes_flush() -> None:
    line = rising(s_bend(30.0, 10.0), 1)
    polygon = ribbon(line, 0.5)
    half = len(line)
    upper, lower = polygon[:half], polygon[half:][::-1]
    assert (upper + lower) / 2 == pytest.approx(line)
    assert np.hypot(*(upper - lower).T) == pytest.approx(0.5, rel=1e-3)
    assert upper[0] == pytest.approx((0.0, 0.25))
    assert lower[-1] == pytest.approx((line[-1, 0], line[-1, 1] - 0.25))
    assert ribbon(straight(3.0), 0.5) == pytest.approx(
        np.array([(0, 0.25), (3, 0.25), (3, -0.25), (0, -0.25)])
    )


def test_bumps_drawn_finely_are_longer_by_their_extra() -> None:
    for extra in (1e-6, 0.1, 0.65):
        line = bumped(bumps(extra, 10.0, 20.0), 1, FINE_STEP_RAD)
        assert length_um(line) - line[-1, 0] == pytest.approx(extra, abs=1e-3)
        assert line[-1, 1] == pytest.approx(0.0, abs=1e-9)

"""Cell sizes: bends have the lengths they claim, all cells of a column are optically equal."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.errors import FitError
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import CrossKind, PadStyle, Technology, load_technology, technology_names
from onnx2mzi.tech.bends import bump_angle_rad, bumps, s_bend, s_bend_of_extra
from onnx2mzi.tech.geometry import ColumnPlan, cells, heater_xy, plan_columns
from onnx2mzi.tech.paths import (
    column_losses_db,
    column_paths_um,
    crossing_paths,
    phase_length_um,
    stage_paths,
)

REMOVED, PASSIVE, ACTIVE = ShifterState

EVERY = [load_technology(name) for name in technology_names()]
techs = pytest.mark.parametrize("technology", EVERY, ids=lambda t: t.name)


def plan(
    technology: Technology,
    theta: list[int],
    phi: list[int],
    *,
    column: list[int] | None = None,
    ports: int = 2,
    out: int = REMOVED,
    drive: Drive = Drive.ARM_CHOICE,
) -> ColumnPlan:
    return plan_columns(
        technology,
        ports=ports,
        column=np.array(range(len(theta)) if column is None else column, np.int32),
        theta_state=np.array(theta, np.uint8),
        phi_state=np.array(phi, np.uint8),
        out_state=np.full(ports, out, np.uint8),
        drive=drive,
    )


@given(rise=st.floats(0, 100), radius=st.floats(5, 50))
def test_an_s_bend_rises_as_asked_and_its_extra_gives_it_back(rise: float, radius: float) -> None:
    bend = s_bend(rise, radius)
    arcs = 2 * radius * (1 - np.cos(bend.angle_rad))
    assert arcs + bend.straight_um * np.sin(bend.angle_rad) == pytest.approx(rise, abs=1e-9)
    assert bend.angle_rad <= np.pi / 4 + 1e-12
    again = s_bend_of_extra(bend.path_um - bend.run_um, radius)
    assert again.path_um - again.run_um == pytest.approx(bend.path_um - bend.run_um, abs=1e-9)


@given(extra=st.floats(0, 20), radius=st.floats(5, 50))
def test_bumps_add_exactly_the_extra_path(extra: float, radius: float) -> None:
    made = bumps(extra, radius, 1e5)
    assert made.path_um - made.run_um == pytest.approx(extra, abs=1e-9)
    angle = float(bump_angle_rad(extra, radius))
    assert 4 * radius * (angle - np.sin(angle)) == pytest.approx(extra, abs=1e-9)


def test_bumps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(FitError, match="do not fit"):
        bumps(20.0, 10.0, 12.0)


@techs
@pytest.mark.parametrize("drive", Drive)
def test_mzi_crossing_and_passing_guide_are_equal_to_20_nm(
    technology: Technology, drive: Drive
) -> None:
    sizes = cells(technology)
    quarter = technology.guide_wavelength_um / 4
    diagonal = sizes.diagonal.path_um - sizes.diagonal.run_um
    among = stage_paths(technology, sizes)
    crossing = among.run_um + diagonal + among.crossing.path_um - among.crossing.run_um
    assert crossing - quarter == pytest.approx(among.path_um, abs=0.02)
    assert among.pass_bend is not None
    passing = among.run_um + 4 * (among.pass_bend.path_um - among.pass_bend.run_um)
    assert passing == pytest.approx(among.path_um, abs=0.02)
    mere = crossing_paths(technology, sizes, drive)
    crossing = mere.run_um + diagonal + mere.crossing.path_um - mere.crossing.run_um
    passing = mere.run_um + mere.passing.path_um - mere.passing.run_um
    turn = quarter if drive is Drive.PUSH_PULL else 0.0
    assert crossing - quarter == pytest.approx(mere.path_um, abs=0.02)
    assert passing - turn == pytest.approx(mere.path_um, abs=0.02)


@techs
def test_the_pitch_holds_contacts_heaters_and_the_crossing(technology: Technology) -> None:
    sizes, heater, rules = cells(technology), technology.heater, technology.rules
    assert sizes.pitch_um >= heater.min_pitch_um
    space = max(rules.metal_space_um, rules.heater_space_um)
    assert sizes.pitch_um / 2 - heater.contact_width_um >= space - 1e-9
    assert sizes.diagonal.straight_um >= technology.crossing.length_um
    grid = technology.grid_um
    assert (sizes.pitch_um / 4 / grid) == pytest.approx(round(sizes.pitch_um / 4 / grid), abs=1e-6)


@techs
def test_columns_shrink_as_they_lose_heaters(technology: Technology) -> None:
    both = plan(technology, [ACTIVE], [ACTIVE]).width_um[0]
    theta = plan(technology, [ACTIVE], [REMOVED]).width_um[0]
    fixed = plan(technology, [ACTIVE], [PASSIVE]).width_um[0]
    crossing = plan(technology, [REMOVED], [REMOVED]).width_um[0]
    assert both == pytest.approx(theta + technology.heater.section_um)
    assert fixed == pytest.approx(theta + cells(technology).trim_um)
    assert crossing < theta / 2
    couplers = replace(technology, crossing=replace(technology.crossing, kind=CrossKind.COUPLERS))
    assert plan(couplers, [REMOVED], [REMOVED]).width_um[0] == 2 * cells(technology).stage_um


def test_one_heater_makes_the_column_long_for_all_rows_and_an_empty_column_is_none() -> None:
    technology = EVERY[0]
    mixed = plan(technology, [REMOVED, ACTIVE], [REMOVED, REMOVED], column=[0, 0], ports=4)
    alone = plan(technology, [ACTIVE], [REMOVED], ports=4)
    assert mixed.width_um[0] == alone.width_um[0]
    gap = plan(technology, [ACTIVE, ACTIVE], [ACTIVE, ACTIVE], column=[0, 2])
    assert gap.width_um[1] == 0.0
    assert gap.edges_um(5.0)[0] == 5.0
    assert gap.edges_um(5.0)[1] == gap.edges_um(5.0)[2]


def test_corridors_widen_with_heaters_and_bumps_need_none() -> None:
    technology = EVERY[0]
    count = 40
    many = plan(technology, [ACTIVE] * count, [ACTIVE] * count, column=[0] * count, ports=80)
    few = plan(technology, [ACTIVE] * 4, [ACTIVE] * 4, column=[0] * 4, ports=80)
    assert many.corridor_um[0] > 0
    assert few.corridor_um[0] == 0
    assert many.lead_um > few.lead_um > 0
    step = technology.routing.track_um + technology.rules.metal_space_um
    assert many.lead_um == pytest.approx(count / 2 * step + technology.rules.metal_space_um)
    bump = replace(technology, pads=replace(technology.pads, style=PadStyle.BUMP))
    bumped = plan(bump, [ACTIVE] * count, [ACTIVE] * count, column=[0] * count, ports=80)
    assert bumped.corridor_um[0] == 0
    assert bumped.lead_um == bump.pads.size_um + 2 * bump.rules.metal_space_um


def test_heaters_lie_on_their_arm() -> None:
    technology = EVERY[0]
    sizes = cells(technology)
    made = plan(technology, [ACTIVE, ACTIVE, PASSIVE], [ACTIVE, REMOVED, ACTIVE])
    edges = made.edges_um(100.0)
    x, y = heater_xy(
        technology,
        plan=made,
        column_x_um=edges,
        y_um=1000.0,
        column=np.array([0, 1, 2], np.int32),
        port=np.array([0, 2, 4], np.int32),
        phase_rad=np.array([1.0, -1.0, 0.5]),
        state=np.array([ACTIVE, ACTIVE, PASSIVE], np.uint8),
        drive=Drive.ARM_CHOICE,
        kind="theta",
    )
    pitch = sizes.pitch_um
    assert y.tolist() == [1000.0, 1000.0 - 3 * pitch, 1000.0 - 4.5 * pitch]
    section = technology.heater.section_um
    assert x[0] == pytest.approx(100.0 + section + sizes.stage_um + section / 2)
    assert x[1] == pytest.approx(edges[1] + sizes.stage_um + section / 2)


def test_phase_lengths_are_positive_and_less_than_a_wavelength() -> None:
    technology = EVERY[0]
    wave = technology.guide_wavelength_um
    phases = np.array([0.0, np.pi, -np.pi / 2, -1e-17, 2 * np.pi])
    assert phase_length_um(technology, phases) == pytest.approx([0, wave / 2, 0.75 * wave, 0, 0])


@techs
def test_a_column_loses_its_path_and_bends(technology: Technology) -> None:
    made = plan(technology, [ACTIVE, REMOVED], [ACTIVE, REMOVED])
    sizes = cells(technology)
    paths = column_paths_um(technology, sizes, made)
    assert paths[0] == pytest.approx(
        2 * technology.heater.section_um + 2 * sizes.stage_path_um + made.corridor_um[0]
    )
    losses = column_losses_db(technology, sizes, made, drive=Drive.ARM_CHOICE)
    straight = paths * technology.guide.loss_db_per_cm * 1e-4
    assert (losses > straight).all()
    assert losses[0] - straight[0] == pytest.approx(4 * technology.guide.bend_loss_db, rel=0.05)

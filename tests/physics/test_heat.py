"""Thermal model against three-dimensional finite volumes, published numbers, and itself."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from onnx2mzi.physics.heat import (
    heat_spectrum,
    line_response,
    phase_rad_per_k_um,
    point_response,
    slab_p_pi_mw,
)
from onnx2mzi.physics.heat_bars import Bars, radial_profile
from onnx2mzi.physics.heat_coupling import coupling_matrix, own_phase_rad_per_mw
from onnx2mzi.physics.heat_law import compact_law
from onnx2mzi.physics.heat_model import HeatModel, heat_model
from onnx2mzi.physics.heat_operator import coupling_operator
from onnx2mzi.physics.heat_section import p_pi_mw
from onnx2mzi.physics.stack import Die, ThermalStack, Trench, Undercut

BULK = ThermalStack()
UNDERCUT = ThermalStack(undercut=Undercut(10, 20))
TRENCH = ThermalStack(trench=Trench(5, 10, 3))
BOTH = ThermalStack(trench=Trench(5, 10, 3), undercut=Undercut(10, 20))


def bars(x0: npt.ArrayLike, x1: npt.ArrayLike, y: npt.ArrayLike) -> Bars:
    return Bars(np.array(x0, float), np.array(x1, float), np.array(y, float))


def load_solver() -> ModuleType:
    path = Path(__file__).with_name("slab_solver.py")
    spec = importlib.util.spec_from_file_location("slab_solver", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["slab_solver"] = module
    spec.loader.exec_module(module)
    return module


solver = load_solver()


@pytest.fixture(scope="module")
def bulk() -> HeatModel:
    return heat_model(stack=BULK)


@pytest.fixture(scope="module")
def isolated() -> HeatModel:
    return heat_model(stack=BOTH)


# (x0, x1, y) of victims around a heater from -50 to 50 um; none lies on the wall of a trench.
VICTIMS = np.array(
    [
        (-50, 50, 0),
        (-50, 50, 4),
        (-50, 50, 15),
        (-50, 50, 25),
        (-50, 50, 50),
        (-50, 50, 100),
        (-50, 50, 200),
        (-50, 50, 450),
        (50, 170, 0),
        (60, 180, 0),
        (100, 220, 0),
        (60, 180, 50),
        (200, 320, 100),
        (400, 500, 30),
    ],
    float,
)


@pytest.mark.parametrize(
    ("stack", "half_die_um"),
    [(BULK, 9000.0), (BULK, 600.0), (UNDERCUT, 2000.0), (TRENCH, 2000.0), (BOTH, 2000.0)],
    ids=["bulk", "edges", "undercut", "trench", "both"],
)
def test_couplings_agree_with_finite_volumes(stack: ThermalStack, half_die_um: float) -> None:
    walls = {stack.heater_width_um / 2}
    if stack.trench is not None:
        walls |= {stack.trench.inner_um, stack.trench.outer_um}
    if stack.undercut is not None:
        walls |= {stack.undercut.half_width_um}
    slow = stack.isolated
    x = solver.edges([50.0], fine=1.5, ratio=1.4 if slow else 1.15, end=half_die_um)
    y = solver.edges(
        sorted(walls), fine=0.5 if slow else 0.2, ratio=1.2 if slow else 1.15, end=half_die_um
    )
    field = solver.solve(stack, length=100.0, x=x, y=y)
    exact = np.array([field.along(*victim) for victim in VICTIMS])
    coupled = coupling_matrix(
        model=heat_model(stack=stack),
        heaters=bars([-50.0], [50.0], [0.0]),
        segments=bars(*VICTIMS.T),
        die=Die(-half_die_um, half_die_um, -half_die_um, half_die_um),
    )[:, 0]
    matters = exact > 1e-3 * exact[0]
    assert matters.sum() >= 6
    np.testing.assert_allclose(coupled[matters], exact[matters], rtol=0.05)
    # 1.6 % on the heater itself, and with it on P_pi.
    assert coupled[0] == pytest.approx(exact[0], rel=0.016)


def test_a_slab_of_one_material_is_the_textbook_image_sum() -> None:
    """Uniform, insulated above, held cold below: images of 1 / (4 pi k r) with signs."""
    stack = ThermalStack(
        passivation_um=1e-6,
        clad_um=2.0,
        box_um=3.0,
        substrate_um=15.0,
        oxide_w_mk=1.0,
        substrate_w_mk=1.0,
        sink_w_m2k=1e12,
    )
    r = np.array([0.0, 1.0, 3.0, 10.0, 30.0])
    # Heater at the surface, guide 2 um below it, cold plane 20 um below it.
    total = np.zeros_like(r)
    for n in range(-400, 400):
        z = 40.0 * n
        total += (-1) ** n * 2 / np.sqrt(r**2 + (z - 2) ** 2)
    expected = total / (4 * np.pi * 1e-3)
    np.testing.assert_allclose(point_response(stack=stack, radius_um=r), expected, rtol=3e-4)


def test_a_line_is_the_integral_of_points(bulk: HeatModel) -> None:
    x = np.linspace(-60000.0, 60000.0, 1_200_001)
    y = 40.0
    total = np.trapezoid(bulk.profile(np.hypot(x, y)), x)
    assert line_response(stack=BULK, offset_um=y) == pytest.approx(total, rel=2e-3)


def test_long_waves_see_only_the_sink() -> None:
    g = heat_spectrum(stack=BULK, wavenumber_per_um=1e-9)
    films = 3.0 / 1.38e-3 + 700.0 / 130e-3
    assert g.real == pytest.approx(1 / (2e4 * 1e-9) + films, rel=1e-6)


def test_all_heat_leaves_through_the_sink() -> None:
    """1 mW in an adiabatic box: the mean temperature of the sink is 1 mW / (h A)."""
    model = heat_model(stack=replace(BULK, sink_w_m2k=2e5, substrate_um=300.0))
    die = Die(0.0, 1000.0, 0.0, 800.0)
    offset = np.sinh(np.linspace(0.0, np.arcsinh(300.0), 40))
    offset *= 300.0 / offset[-1]
    y = 300.0 + np.concatenate([-offset[:0:-1], offset, np.arange(320.0, 501.0, 20.0)])
    segments = bars(np.zeros_like(y), np.full_like(y, 1000.0), y)
    column = coupling_matrix(
        model=model, heaters=bars([120.0], [220.0], [300.0]), segments=segments, die=die
    )
    mean = np.trapezoid(column[:, 0], y) / 8e5
    # The guides are warmer than the sink by the resistance of the films and the substrate.
    films = 3.0 / (1.38e-3 * 8e5) + 300.0 / (130e-3 * 8e5)
    assert mean == pytest.approx(1 / (2e-4 * 8e5) + films, rel=3e-3)


def test_the_profile_is_the_response(bulk: HeatModel) -> None:
    r = np.concatenate([[0.0], np.geomspace(0.01, 20000.0, 500)])
    np.testing.assert_allclose(bulk.profile(r), point_response(stack=BULK, radius_um=r), rtol=1e-6)


def test_the_profile_has_no_end(bulk: HeatModel) -> None:
    end = bulk.profile.reach_um
    r = np.array([end * 0.999, end * 1.001, 1.5 * end, 1.6 * end])
    g = bulk.profile(r)
    assert (np.diff(g) < 0).all() and g[-1] > 0
    np.testing.assert_allclose(g, point_response(stack=BULK, radius_um=r), rtol=1e-3)


def test_published_numbers(bulk: HeatModel) -> None:
    assert slab_p_pi_mw(stack=BULK) == pytest.approx(17.5, rel=0.02)
    assert p_pi_mw(stack=TRENCH) == pytest.approx(14.3, rel=0.02)
    assert p_pi_mw(stack=UNDERCUT) == pytest.approx(5.7, rel=0.02)
    assert p_pi_mw(stack=BOTH) == pytest.approx(0.45, rel=0.02)
    d = np.array([0.0, 5, 10, 20, 50, 100, 200])
    column = coupling_matrix(
        model=bulk, heaters=bars([0.0], [100.0], [0.0]), segments=bars(0 * d, 0 * d + 100, d)
    )
    percent = 100 * column[1:, 0] / column[0, 0]
    np.testing.assert_allclose(percent, [43, 13.6, 2.7, 1.04, 0.60, 0.335], rtol=0.01)


def test_a_heaters_own_phase_gives_p_pi(bulk: HeatModel) -> None:
    per_mw = [own_phase_rad_per_mw(model=bulk, length_um=length) for length in (100.0, 3000.0)]
    p_pi = np.pi / np.array(per_mw)
    # Ends lose heat; a long heater does not notice.
    assert p_pi[0] == pytest.approx(19.4, rel=0.02)
    assert p_pi[1] == pytest.approx(slab_p_pi_mw(stack=BULK), rel=0.05)
    assert p_pi[0] > p_pi[1] > slab_p_pi_mw(stack=BULK)


def test_four_look_ups_are_the_double_integral(bulk: HeatModel) -> None:
    heater = bars([10.0], [110.0], [0.0])
    segments = bars([50.0, -400.0, 3000.0], [170.0, -300.0, 3300.0], [3.0, 40.0, -70.0])
    coupled = coupling_matrix(model=bulk, heaters=heater, segments=segments)[:, 0]
    node, weight = np.polynomial.legendre.leggauss(200)
    for k in range(3):
        half = segments.length_um[k] / 2
        x = (segments.x0_um[k] + half) + node[:, None] * half - (60 + 50 * node)
        across, share = np.polynomial.legendre.leggauss(8)
        total = 0.0
        for shift, part in zip(across, share, strict=True):
            r = np.hypot(x, segments.y_um[k] + 1.5 * shift)
            total += part / 2 * float(weight @ bulk.profile(r) @ weight) * half / 2
        assert coupled[k] == pytest.approx(total, rel=1e-6)


def random_bars(seed: int) -> tuple[Bars, Bars]:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 3000, 60), rng.integers(0, 6, 60) * 200.0
    other = rng.uniform(0, 3000, 200)
    other_y = rng.integers(0, 6, 200) * 200.0 + rng.choice([0, 4.0, 25.0], 200)
    other[:60], other_y[:60] = x - 10, y
    return bars(x, x + rng.uniform(60, 200, 60), y), bars(other, other + 120, other_y)


@pytest.mark.parametrize("die", [None, Die(-150.0, 3250.0, -40.0, 1240.0)], ids=["free", "die"])
@pytest.mark.parametrize("name", ["bulk", "isolated"])
def test_the_operator_is_the_matrix(
    name: str, die: Die | None, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    heaters, segments = random_bars(0)
    exact = coupling_matrix(model=model, heaters=heaters, segments=segments, die=die)
    operator = coupling_operator(model=model, heaters=heaters, segments=segments, die=die)
    entries = np.array([operator.warmth(unit) for unit in np.eye(60)]).T
    np.testing.assert_allclose(entries, exact, rtol=1e-3)
    adjoint = np.array([operator.adjoint(unit) for unit in np.eye(200)])
    np.testing.assert_allclose(adjoint, entries, rtol=1e-9)
    assert (operator.linear_operator().T @ np.ones(200)).shape == (60,)


def test_images_make_a_small_die_hotter(bulk: HeatModel) -> None:
    heaters, segments = random_bars(1)
    free = coupling_matrix(model=bulk, heaters=heaters, segments=segments)
    die = Die(-150.0, 3250.0, -40.0, 1240.0)
    small = coupling_matrix(model=bulk, heaters=heaters, segments=segments, die=die)
    wide = Die(-1e5, 1e5, -1e5, 1e5)
    large = coupling_matrix(model=bulk, heaters=heaters, segments=segments, die=wide)
    assert (small > free).all()
    np.testing.assert_allclose(large, free, rtol=2e-5)


def test_far_from_it_an_isolated_heater_is_as_any(bulk: HeatModel, isolated: HeatModel) -> None:
    heater = bars([0.0], [100.0], [0.0])
    d = np.array([80.0, 200.0, 500.0])
    segments = bars(0 * d, 0 * d + 100, d)
    far = coupling_matrix(model=isolated, heaters=heater, segments=segments)
    np.testing.assert_allclose(
        far, coupling_matrix(model=bulk, heaters=heater, segments=segments), rtol=0.011
    )


def test_the_compact_law_states_its_error(bulk: HeatModel) -> None:
    law = compact_law(model=bulk, length_um=100.0)
    assert law.max_relative_error < 0.035
    d = np.random.default_rng(0).uniform(5.0, 1000.0, 50)
    column = coupling_matrix(
        model=bulk,
        heaters=bars([0.0], [100.0], [0.0]),
        segments=bars(np.zeros(51), np.full(51, 100.0), np.append(0.0, d)),
    )[:, 0]
    error = np.abs(law(d) / (column[1:] / column[0]) - 1)
    assert error.max() <= law.max_relative_error * 1.02
    assert error.max() > law.max_relative_error / 10
    with pytest.raises(ValueError, match="holds from"):
        law(2000.0)


def test_the_drive_of_a_phase(bulk: HeatModel) -> None:
    assert phase_rad_per_k_um(stack=BULK) == pytest.approx(2 * np.pi / 1.55 * 1.94e-4)
    worse = replace(BULK, sink_w_m2k=2e3)
    assert radial_profile(stack=worse)(np.array([500.0])) > bulk.profile(np.array([500.0]))


def test_refusals(bulk: HeatModel) -> None:
    with pytest.raises(ValueError, match="clad_um"):
        ThermalStack(clad_um=0.0)
    with pytest.raises(ValueError, match="inner < outer"):
        Trench(5, 5, 3)
    with pytest.raises(ValueError, match="deeper"):
        ThermalStack(undercut=Undercut(10, 700))
    with pytest.raises(ValueError, match="width"):
        Undercut(0, 1)
    with pytest.raises(ValueError, match="width and a height"):
        Die(0, 0, 1, 2)
    with pytest.raises(ValueError, match="ends before"):
        bars([1.0], [0.0], [0.0])
    with pytest.raises(ValueError, match="same length"):
        bars([1.0], [2.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="no finite"):
        bars([1.0], [np.nan], [0.0])
    point = bars([1.0], [1.0], [0.0])
    with pytest.raises(ValueError, match="no length"):
        coupling_matrix(model=bulk, heaters=point, segments=point)
    with pytest.raises(ValueError, match="narrower"):
        coupling_operator(
            model=bulk,
            heaters=bars([0.0], [9.0], [0.0]),
            segments=point,
            die=Die(-50, 50, -50, 50),
        )

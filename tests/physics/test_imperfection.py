"""Sizes, laws, random numbers and the imperfect cell."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from onnx2mzi.physics.arrays import Complex
from onnx2mzi.physics.imperfection import (
    TYPICAL,
    Imperfections,
    scatter_coupling,
    static_sigma_rad,
)
from onnx2mzi.physics.imperfection_cell import (
    ERRORS,
    CellErrors,
    imperfect_crossing,
    imperfect_mzi,
    mzi_derivatives,
)
from onnx2mzi.physics.imperfection_random import (
    block_keys,
    normal,
    normal_row,
    normals,
    uniform,
)
from onnx2mzi.physics.mzi import balanced_mzi, coupler

ANGLES = st.floats(-np.pi, np.pi)


def cell(theta: float, phi: float, **errors: float) -> Complex:
    made = {name: np.array([value]) for name, value in errors.items()}
    cells = imperfect_mzi(
        theta_rad=np.array([theta]), phi_rad=np.array([phi]), errors=CellErrors(**made)
    )
    return np.asarray(cells[0])


@given(ANGLES, ANGLES)
def test_without_errors_the_cell_is_ideal(theta: float, phi: float) -> None:
    assert np.allclose(cell(theta, phi), balanced_mzi(theta_rad=theta, phi_rad=phi), atol=1e-15)


def test_the_cell_is_the_product_of_its_parts() -> None:
    rng = np.random.default_rng(0)
    theta, phi = rng.uniform(-3, 3, 2)
    e = dict(zip(ERRORS, rng.normal(0, 0.3, len(ERRORS)), strict=True))
    e["loss_db"] = 1.5
    made = cell(theta, phi, **e)
    into = np.diag(np.exp(1j * np.array([phi + e["in_upper"], e["in_lower"]])))
    arms = np.diag(np.exp(1j * np.array([theta + e["arm_upper"], e["arm_lower"]])))
    first = coupler(angle_rad=np.pi / 4 + e["first"])
    second = coupler(angle_rad=np.pi / 4 + e["second"])
    want = 10 ** (-1.5 / 20) * second @ arms @ first @ into / (1j * np.exp(0.5j * theta))
    assert np.allclose(made, want, atol=1e-14)


def test_derivatives_are_differences() -> None:
    theta, phi, step = 0.7, -1.9, 1e-6
    found = dict(mzi_derivatives(theta_rad=np.array([theta]), phi_rad=np.array([phi])))
    assert set(found) == set(ERRORS)
    for name, derivative in found.items():
        difference = cell(theta, phi, **{name: step}) - cell(theta, phi, **{name: -step})
        assert np.allclose(derivative[0], difference / (2 * step), atol=1e-9), name


@given(st.floats(0, 1))
def test_a_crossing_only_mixes(leak: float) -> None:
    made = imperfect_crossing(phi_rad=np.zeros(1), errors=CellErrors(), leak=leak)[0]
    assert np.allclose(made.conj().T @ made, np.eye(2), atol=1e-12)
    assert abs(abs(made[0, 0]) - leak) < 1e-15


def test_numbers_belong_to_copy_and_device() -> None:
    keys = block_keys(seed=3, copies=[0, 1, 5, 9], block="fc1/u")
    device = np.array([4, 17, 2_000_000])
    first, second = normals(keys=keys, device=device, stream=2)
    alone = normals(keys=block_keys(seed=3, copies=[5], block="fc1/u"), device=[17], stream=2)
    assert first[2, 1] == alone[0][0, 0] and second[2, 1] == alone[1][0, 0]
    assert normal(keys=keys, device=device, stream=2, which=1)[2, 1] == second[2, 1]
    for other in (
        block_keys(seed=4, copies=[5], block="fc1/u"),
        block_keys(seed=3, copies=[6], block="fc1/u"),
        block_keys(seed=3, copies=[5], block="fc1/v"),
    ):
        assert normal(keys=other, device=[17], stream=2)[0, 0] != first[2, 1]
    assert normal(keys=keys, device=device, stream=3)[2, 1] != first[2, 1]


def test_numbers_have_the_stated_moments() -> None:
    keys = block_keys(seed=0, copies=range(50), block="b")
    device = np.arange(4000)
    first, second = normals(keys=keys, device=device, stream=0)
    both = np.concatenate([first.ravel(), second.ravel()])
    n = both.size
    assert abs(both.mean()) < 5 / np.sqrt(n)
    assert abs(both.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((both**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(n / 2)
    # Neighbouring devices and copies are strangers.
    assert abs((first[:, 1:] * first[:, :-1]).mean()) < 5 / np.sqrt(n / 2)
    assert abs((first[1:] * first[:-1]).mean()) < 5 / np.sqrt(n / 2)
    flat = uniform(keys=keys, device=device, stream=6).ravel()
    assert flat.min() > 0 and flat.max() < 1
    assert abs(flat.mean() - 0.5) < 5 / np.sqrt(12 * flat.size)


def test_numbers_are_normal() -> None:
    """Kolmogorov and Smirnov, Anderson's tails, and copies that know nothing of each other."""
    keys = block_keys(seed=1, copies=range(40), block="b")
    first, second = normals(keys=keys, device=np.arange(2500), stream=3)
    for drawn in (first, second, (first + second) / np.sqrt(2)):
        assert kstest(drawn.ravel(), "norm").pvalue > 1e-4
    both = np.concatenate([first.ravel(), second.ravel()])
    for limit in (2.0, 3.0, 4.0):
        wanted = both.size * 2 * norm.sf(limit)
        assert abs(np.count_nonzero(np.abs(both) > limit) - wanted) < 5 * np.sqrt(wanted)
    correlation = np.corrcoef(np.concatenate([first, second]))
    others = correlation[~np.eye(80, dtype=bool)]
    assert np.abs(others).max() < 5.5 / np.sqrt(2500)


def test_a_row_is_the_numbers_of_its_devices() -> None:
    row = normal_row(key=7, first=5, count=5)
    a, b = normals(keys=np.array([7], np.uint64), device=[5, 6, 7], stream=0)
    assert row.tolist() == [a[0, 0], b[0, 0], a[0, 1], b[0, 1], a[0, 2]]


def test_no_such_stream() -> None:
    with pytest.raises(ValueError, match="stream 16"):
        uniform(keys=block_keys(seed=0, copies=[0], block=""), device=[0], stream=16)


def test_scatter_coupling_is_as_published() -> None:
    found = scatter_coupling(distance_um=[5.0, 9.0, 20.0, 30.0])
    assert np.allclose(found, [0.358, 0.131, 0.014, 0.005], atol=1e-3)


def test_static_error_grows_with_the_root_of_the_length() -> None:
    sigma = static_sigma_rad(length_um=[330.0, 1320.0], coherence_mm=4.17)
    assert np.allclose(sigma, [0.2813, 0.5626], atol=1e-4)


def test_sizes_scale_and_separate() -> None:
    assert TYPICAL.times(2).phase_rad == 2 * TYPICAL.phase_rad
    alone = TYPICAL.only("gamma")
    assert alone == Imperfections(gamma=TYPICAL.gamma) and alone.heaters and not alone.static
    most = Imperfections(dead=0.3, stuck=0.1).times(4)
    assert (most.dead, most.stuck) == pytest.approx((0.75, 0.25))
    assert Imperfections(gradient_rad_mm2=1.0).static


@pytest.mark.parametrize(
    "wrong", [{"phase_rad": -1.0}, {"gamma": np.nan}, {"dead": 0.7, "stuck": 0.4}]
)
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        replace(Imperfections(), **wrong)  # type: ignore[arg-type]

"""What is drawn must be what was asked for, for every drive and every choice of passive phases."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.kernels import BalancedMesh, build, clements_layout, columns_layout, decompose
from onnx2mzi.kernels.gauge import (
    Realised,
    balanced,
    realised,
    textbook,
    with_signs_absorbed,
)
from onnx2mzi.kernels.signs import without_half_turns
from onnx2mzi.physics.mzi import mzi
from onnx2mzi.physics.shifter import (
    Arm,
    Drive,
    Passive,
    ShifterState,
    arms,
    pass_phase_rad,
)


def haar(ports: int, seed: int, *, real: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    gaussian = rng.standard_normal((ports, ports))
    if not real:
        gaussian = gaussian + 1j * rng.standard_normal((ports, ports))
    q, r = np.linalg.qr(gaussian)
    return np.asarray(q * np.sign(np.diag(r).real))


def arm_matrix(phase: float, arm: int) -> np.ndarray:
    """The rules of the phase table, written down once more and independently."""
    if arm == Arm.PAIR:
        return np.diag([np.exp(0.5j * phase), np.exp(-0.5j * phase)])
    if arm == Arm.LOWER:
        return np.diag([1, np.exp(1j * abs(phase))])
    return np.diag([np.exp(1j * phase), 1])


def walk(mesh: BalancedMesh, drawn: Realised, drive: Drive) -> np.ndarray:
    """The drawn mesh, MZI by MZI, from couplers and arms."""
    half = np.array([[1, 1j], [1j, 1]]) / np.sqrt(2)
    total = np.eye(mesh.ports, dtype=complex)
    theta_arm = arms(drawn.theta_rad, drawn.theta_state, drive)
    phi_arm = arms(drawn.phi_rad, drawn.phi_state, drive)
    for column in range(mesh.columns):
        step = np.eye(mesh.ports, dtype=complex) * np.exp(1j * pass_phase_rad(drive))
        for k in np.flatnonzero(mesh.column == column):
            p = mesh.port[k]
            step[p : p + 2, p : p + 2] = (
                half
                @ arm_matrix(drawn.theta_rad[k], theta_arm[k])
                @ half
                @ arm_matrix(drawn.phi_rad[k], phi_arm[k])
            )
        total = step @ total
    return total


@given(
    ports=st.integers(1, 7),
    seed=st.integers(0, 99),
    real=st.booleans(),
    drive=st.sampled_from(Drive),
    passive=st.sampled_from(Passive),
)
def test_drawn_mesh_is_the_balanced_one_up_to_known_phases(
    ports: int, seed: int, real: bool, drive: Drive, passive: Passive
) -> None:
    unitary = haar(ports, seed, real=real)
    mesh = decompose(unitary)
    entering = np.random.default_rng(seed).uniform(-3, 3, ports)
    drawn = realised(
        mesh, drive=drive, passive=passive, entering_rad=entering, lit=np.ones(ports, bool)
    )

    walked = walk(mesh, drawn, drive)

    expected = np.exp(1j * drawn.left_rad)[:, None] * unitary * np.exp(-1j * entering)
    np.testing.assert_allclose(walked, expected, atol=1e-12)
    assert np.all(np.abs(drawn.phi_rad) <= np.pi)
    core, left = balanced(
        ports=ports,
        column=mesh.column,
        port=mesh.port,
        theta_rad=drawn.theta_rad,
        phi_rad=drawn.phi_rad,
        theta_state=drawn.theta_state,
        phi_state=drawn.phi_state,
        drive=drive,
    )
    np.testing.assert_allclose(np.exp(1j * left)[:, None] * build(core), walked, atol=1e-12)


@given(
    ports=st.integers(2, 7),
    seed=st.integers(0, 99),
    drive=st.sampled_from(Drive),
    passive=st.sampled_from(Passive),
)
def test_trims_are_heaters_and_change_nothing(
    ports: int, seed: int, drive: Drive, passive: Passive
) -> None:
    unitary = haar(ports, seed, real=True)
    mesh = decompose(unitary)
    rng = np.random.default_rng(seed)
    trims, entering = rng.random(mesh.count) < 0.5, rng.choice([0.0, np.pi / 2, 1.3], ports)
    drawn = realised(
        mesh,
        drive=drive,
        passive=passive,
        entering_rad=entering,
        lit=np.ones(ports, bool),
        trims=trims,
    )
    assert np.all(drawn.phi_state[trims] == ShifterState.ACTIVE)
    expected = np.exp(1j * drawn.left_rad)[:, None] * unitary * np.exp(-1j * entering)
    np.testing.assert_allclose(walk(mesh, drawn, drive), expected, atol=1e-12)


@given(ports=st.integers(2, 7), seed=st.integers(0, 99), drive=st.sampled_from(Drive))
def test_dark_inputs_need_no_phi(ports: int, seed: int, drive: Drive) -> None:
    unitary = haar(ports, seed, real=False)
    channels = max(1, ports // 2)
    lit = np.arange(ports) < channels
    mesh = decompose(unitary)
    drawn = realised(mesh, drive=drive, passive=Passive.NONE, entering_rad=np.zeros(ports), lit=lit)

    walked = walk(mesh, drawn, drive)[:, :channels]

    expected = np.exp(1j * drawn.left_rad)[:, None] * unitary[:, :channels]
    np.testing.assert_allclose(walked, expected, atol=1e-12)


def test_real_matrix_with_push_pull_has_no_phi_at_all() -> None:
    mesh = decompose(haar(9, 1, real=True))
    drawn = realised(
        mesh,
        drive=Drive.PUSH_PULL,
        passive=Passive.NONE,
        entering_rad=np.zeros(9),
        lit=np.ones(9, bool),
    )
    assert not drawn.phi_rad.any()
    assert np.all(drawn.phi_state == ShifterState.REMOVED)


def test_real_matrix_with_arm_choice_needs_only_passive_phi() -> None:
    mesh = decompose(haar(9, 1, real=True))
    drawn = realised(
        mesh,
        drive=Drive.ARM_CHOICE,
        passive=Passive.COMMON,
        entering_rad=np.zeros(9),
        lit=np.ones(9, bool),
    )
    assert not np.any(drawn.phi_state == ShifterState.ACTIVE)
    assert np.count_nonzero(drawn.phi_state == ShifterState.PASSIVE) > 20


@given(
    ports=st.integers(1, 9),
    seed=st.integers(0, 999),
    real=st.booleans(),
    drive=st.sampled_from(Drive),
    passive=st.sampled_from(Passive),
)
def test_compiled_and_numpy_draw_the_same(
    ports: int, seed: int, real: bool, drive: Drive, passive: Passive
) -> None:
    rng = np.random.default_rng(seed)
    full = decompose(haar(ports, seed, real=real))
    keep = rng.random(full.count) < 0.8
    theta = np.where(rng.random(full.count) < 0.2, 0.0, full.theta)
    mesh = BalancedMesh(
        ports, full.column[keep], full.port[keep], theta[keep], full.phi[keep], full.out
    )
    entering, lit = rng.uniform(-9, 9, ports), rng.random(ports) < 0.8
    results = []
    for kernels in ("numpy", ""):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ONNX2MZI_KERNELS", kernels)
            drawn = realised(mesh, drive=drive, passive=passive, entering_rad=entering, lit=lit)
            back, left = balanced(
                ports=ports,
                column=mesh.column,
                port=mesh.port,
                theta_rad=drawn.theta_rad,
                phi_rad=drawn.phi_rad,
                theta_state=drawn.theta_state,
                phi_state=drawn.phi_state,
                drive=drive,
                entering_rad=entering,
                lit=lit,
            )
            results.append((drawn, back, left))
    (numpy, numpy_back, numpy_left), (compiled, compiled_back, compiled_left) = results
    np.testing.assert_array_equal(compiled.theta_state, numpy.theta_state)
    np.testing.assert_array_equal(compiled.phi_state, numpy.phi_state)
    for one, other in (
        (compiled.theta_rad, numpy.theta_rad),
        (compiled.phi_rad, numpy.phi_rad),
        (compiled.left_rad, numpy.left_rad),
        (compiled_back.phi, numpy_back.phi),
        (compiled_left, numpy_left),
    ):
        np.testing.assert_allclose(np.exp(1j * one), np.exp(1j * other), atol=1e-13)


def test_textbook_is_the_clements_mesh_of_textbook_mzis() -> None:
    unitary = haar(6, 3, real=False)
    mesh = decompose(unitary)
    drawn = textbook(mesh, entering_rad=np.zeros(6))
    total = np.eye(6, dtype=complex)
    for k in range(len(mesh.column)):
        p = mesh.port[k]
        cell = mzi(theta_rad=drawn.theta_rad[k], phi_rad=drawn.phi_rad[k])
        total[p : p + 2] = cell @ total[p : p + 2]
    np.testing.assert_allclose(total, np.exp(1j * drawn.left_rad)[:, None] * unitary, atol=1e-12)
    assert np.all(drawn.theta_state == ShifterState.ACTIVE)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_isometry_of_one_channel_needs_no_phi(channels: int) -> None:
    column, port = columns_layout(6, channels)
    rng = np.random.default_rng(0)
    mesh = BalancedMesh(
        6,
        column,
        port,
        rng.uniform(0.1, 3, len(column)),
        rng.uniform(-3, 3, len(column)),
        np.zeros(6),
    )
    drawn = realised(
        mesh,
        drive=Drive.ARM_CHOICE,
        passive=Passive.NONE,
        entering_rad=np.zeros(6),
        lit=np.arange(6) < channels,
    )
    active = np.count_nonzero(drawn.phi_state == ShifterState.ACTIVE)
    # 2 m r - r^2 degrees of freedom, less the thetas and the m phases that readout takes.
    assert active == 2 * 6 * channels - channels**2 - len(column) - 6


def test_clements_layout_is_where_the_gauge_expects_it() -> None:
    column, port = clements_layout(4)
    assert list(zip(column.tolist(), port.tolist(), strict=True)) == [
        (0, 0), (0, 2), (1, 1), (2, 0), (2, 2), (3, 1),
    ]  # fmt: skip


@given(ports=st.integers(1, 7), seed=st.integers(0, 99), real=st.booleans())
def test_absorbed_signs(ports: int, seed: int, real: bool) -> None:
    mesh = decompose(haar(ports, seed, real=real))
    negative = np.random.default_rng(seed).random(ports) < 0.5

    absorbed = with_signs_absorbed(mesh, negative)

    np.testing.assert_allclose(build(absorbed), build(mesh) * np.where(negative, -1, 1), atol=1e-13)
    np.testing.assert_array_equal(np.abs(absorbed.theta), np.abs(mesh.theta))
    assert absorbed.is_real == mesh.is_real


@given(ports=st.integers(1, 7), seed=st.integers(0, 99))
def test_half_turns_are_signs(ports: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mesh = decompose(haar(ports, seed, real=True))
    turned = dataclasses.replace(
        mesh, phi=np.asarray(np.pi * rng.integers(-1, 2, mesh.count), float)
    )
    plain = without_half_turns(turned)
    assert not plain.phi.any()
    np.testing.assert_allclose(build(plain), build(turned), atol=1e-12)
    odd = dataclasses.replace(mesh, phi=np.full(mesh.count, 0.1))
    assert without_half_turns(odd) is odd

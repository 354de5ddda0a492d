"""Phases on all guides, pushed right, against couplers, arms and guides multiplied one by one."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.emulate.heat import (
    balanced_tile,
    mesh_segments,
    push_matrix,
    push_phases,
    tile_push_matrix,
    tile_segments,
)
from onnx2mzi.emulate.transfer import tile_transfer
from onnx2mzi.ir import Mesh, MeshTile
from onnx2mzi.kernels import BalancedMesh, build
from onnx2mzi.kernels.gauge import balanced
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.mzi import coupler
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms, pass_phase_rad

MakeMesh = Callable[..., Mesh]
MakeTile = Callable[..., MeshTile]


def arm_phases(phase: float, state: int, drive: Drive) -> tuple[float, float]:
    arm = int(arms(phase, state, drive))
    if arm == Arm.PAIR:
        return phase / 2, -phase / 2
    return (0.0, -phase) if arm == Arm.LOWER else (phase, 0.0)


def walk(mesh: Mesh, heat: Real) -> Complex:
    """Every guide of every column with its own phase; crossings without couplers."""
    columns, ports = mesh.columns, mesh.ports
    parts = heat[: 2 * columns * ports].reshape(2, columns, ports)
    total = np.eye(ports, dtype=complex)
    for column in range(columns):
        before = np.array(parts[0, column])
        between = np.array(parts[1, column])
        first = np.eye(ports, dtype=complex)
        second = np.eye(ports, dtype=complex) * np.exp(1j * pass_phase_rad(mesh.drive))
        for node in mesh:
            if node.column != column:
                continue
            pair = slice(node.port, node.port + 2)
            before[pair] += arm_phases(node.phi_rad, node.phi_state, mesh.drive)
            if node.is_crossing:
                # i for the two couplers that a crossing stands for.
                first[pair, pair] = 1j * np.array([[0, 1], [1, 0]])
                second[pair, pair] = np.eye(2)
            else:
                between[pair] += arm_phases(node.theta_rad, node.theta_state, mesh.drive)
                first[pair, pair] = second[pair, pair] = coupler()
        total = np.exp(1j * before)[:, None] * total
        total = second @ (np.exp(1j * between)[:, None] * (first @ total))
    tail = mesh.out_rad + heat[2 * columns * ports :]
    return np.asarray(np.exp(1j * tail)[:, None] * total)


def heat_of(rng: np.random.Generator, count: int) -> Real:
    return rng.uniform(-4.0, 4.0, count)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 7), st.sampled_from(list(Drive)))
def test_pushed_phases_are_the_circuit(
    make_mesh: MakeMesh, seed: int, ports: int, drive: Drive
) -> None:
    rng = np.random.default_rng(seed)
    mesh = make_mesh(rng, ports, drive)
    segments = mesh_segments(mesh)
    heat = heat_of(rng, len(segments))
    theta, phi, left = push_phases(segments, heat)
    core, after = balanced(
        ports=mesh.ports,
        column=mesh.column,
        port=mesh.port,
        theta_rad=mesh.theta_rad,
        phi_rad=mesh.phi_rad,
        theta_state=mesh.theta_state,
        phi_state=mesh.phi_state,
        drive=drive,
    )
    out = after + mesh.out_rad + left
    moved = BalancedMesh(ports, core.column, core.port, core.theta + theta, core.phi + phi, out)
    np.testing.assert_allclose(build(moved), walk(mesh, heat), atol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 7), st.sampled_from(list(Drive)))
def test_the_matrix_is_the_sweep(make_mesh: MakeMesh, seed: int, ports: int, drive: Drive) -> None:
    rng = np.random.default_rng(seed)
    segments = mesh_segments(make_mesh(rng, ports, drive))
    heat = rng.normal(size=(len(segments), 3))
    swept = np.concatenate(push_phases(segments, heat))
    np.testing.assert_allclose(push_matrix(segments) @ heat, swept, atol=1e-12)


def walk_tile(tile: MeshTile, heat: Real) -> Complex:
    """V, attenuators as interferometers, U."""
    segments = tile_segments(tile)
    r = len(tile.sigma)
    v = walk(tile.v, heat[: segments.sigma_start])
    u = walk(tile.u, heat[segments.u_start :])
    lead, upper, lower = heat[segments.sigma_start : segments.u_start].reshape(3, r)
    channels = np.zeros(r, complex)
    for k in range(r):
        up, low = arm_phases(tile.sigma.theta_rad[k], tile.sigma.state[k], tile.sigma.drive)
        if tile.sigma.state[k] == ShifterState.REMOVED:
            channels[k] = 1j * np.exp(1j * (lead[k] + (upper[k] + lower[k]) / 2))
        else:
            arm = np.diag(np.exp(1j * np.array([up + upper[k], low + lower[k]])))
            channels[k] = np.exp(1j * lead[k]) * (coupler() @ arm @ coupler())[0, 1]
    return np.asarray(u[:, :r] @ (channels[:, None] * v[:r]))


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6), st.sampled_from(list(Drive)))
def test_a_warm_tile_is_the_warm_circuit(
    make_tile: MakeTile, seed: int, rows: int, columns: int, drive: Drive
) -> None:
    rng = np.random.default_rng(seed)
    tile = make_tile(rng, rows, columns, drive)
    cold = balanced_tile(tile)
    turned = tile.gain * np.exp(1j * tile.readout_rad)[:, None]
    np.testing.assert_allclose(turned * cold.transfer(), tile_transfer(tile), atol=1e-12)
    segments = tile_segments(tile)
    push = tile_push_matrix(segments)
    assert push.shape == (segments.phases, len(segments)) == (len(cold.phase_rad), len(segments))
    heat = heat_of(rng, len(segments))
    warm = cold.moved(push @ heat)
    np.testing.assert_allclose(warm.transfer(), walk_tile(tile, heat), atol=1e-12)


def test_even_warmth_is_no_error(make_tile: MakeTile) -> None:
    """The same phase on all guides of a column only turns the whole field."""
    rng = np.random.default_rng(0)
    tile = make_tile(rng, 5, 5, Drive.ARM_CHOICE)
    segments = tile_segments(tile)
    push = tile_push_matrix(segments)
    delta = push @ np.ones(len(segments))
    np.testing.assert_allclose(delta[: -tile.u.ports], 0.0, atol=1e-12)
    assert np.ptp(delta[-tile.u.ports :]) == pytest.approx(0.0, abs=1e-12)

"""A tile's matrix against a circuit walked MZI by MZI, attenuators as real interferometers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.emulate.transfer import (
    attenuator_transfer,
    grid_matrix,
    layer_matrix,
    mesh_transfer,
    program_matrices,
    tile_matrix,
)
from onnx2mzi.ir import (
    Attenuators,
    DenseTile,
    FactoredTile,
    LinearLayer,
    Loc,
    Mesh,
    MeshTile,
    Operand,
    Program,
    Stage,
    TileGrid,
)
from onnx2mzi.kernels import clements_layout
from onnx2mzi.physics.arrays import Complex, Flags, Index, Real
from onnx2mzi.physics.mzi import coupler
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms, pass_phase_rad


def ints(*values: int) -> Index:
    return np.array(values, np.int32)


def flags(*values: int) -> Flags:
    return np.array(values, np.uint8)


def reals(*values: float) -> Real:
    return np.array(values, np.float64)


def shifter(phase: float, state: int, drive: Drive) -> Complex:
    arm = int(arms(phase, state, drive))
    if arm == Arm.PAIR:
        return np.diag([np.exp(0.5j * phase), np.exp(-0.5j * phase)])
    if arm == Arm.LOWER:
        return np.diag([1.0, np.exp(1j * abs(phase))])
    return np.diag([np.exp(1j * phase), 1.0])


def walk(mesh: Mesh) -> Complex:
    total = np.eye(mesh.ports, dtype=complex)
    for column in range(mesh.columns):
        step = np.eye(mesh.ports, dtype=complex) * np.exp(1j * pass_phase_rad(mesh.drive))
        for node in mesh:
            if node.column == column:
                p = node.port
                step[p : p + 2, p : p + 2] = (
                    coupler()
                    @ shifter(node.theta_rad, node.theta_state, mesh.drive)
                    @ coupler()
                    @ shifter(node.phi_rad, node.phi_state, mesh.drive)
                )
        total = step @ total
    return np.asarray(np.exp(1j * mesh.out_rad)[:, None] * total)


def random_mesh(ports: int, drive: Drive, rng: np.random.Generator) -> Mesh:
    column, port = clements_layout(ports)
    keep = rng.random(len(column)) < 0.8
    column, port = column[keep], port[keep]
    count = len(column)
    theta_state, phi_state = rng.integers(0, 3, (2, count)).astype(np.uint8)
    theta, phi = rng.uniform(-np.pi, np.pi, (2, count))
    return Mesh(
        ports,
        column,
        port,
        np.where(theta_state == 0, 0.0, theta),
        np.where(phi_state == 0, 0.0, phi),
        theta_state,
        phi_state,
        rng.uniform(-np.pi, np.pi, ports),
        np.full(ports, ShifterState.ACTIVE, np.uint8),
        drive,
    )


def random_tile(m: int, n: int, channels: int, drive: Drive, seed: int) -> MeshTile:
    rng = np.random.default_rng(seed)
    state = rng.integers(0, 3, channels).astype(np.uint8)
    theta = np.where(state == 0, 0.0, rng.uniform(0, np.pi, channels))
    return MeshTile(
        outputs=np.arange(m, dtype=np.int32),
        inputs=np.arange(n, dtype=np.int32),
        u=random_mesh(m, drive, rng),
        sigma=Attenuators(theta, state, drive),
        v=random_mesh(n, drive, rng),
        gain=2.5,
        readout_rad=rng.uniform(-np.pi, np.pi, m),
    )


@settings(deadline=None)
@given(
    m=st.integers(1, 6),
    n=st.integers(1, 6),
    drive=st.sampled_from(Drive),
    seed=st.integers(0, 999),
)
def test_tile_is_the_circuit_that_is_drawn(m: int, n: int, drive: Drive, seed: int) -> None:
    channels = min(m, n)
    tile = random_tile(m, n, channels, drive, seed)
    between = np.zeros((m, n), complex)
    for k in range(channels):
        theta, state = float(tile.sigma.theta_rad[k]), int(tile.sigma.state[k])
        mzi = coupler() @ shifter(theta, state, drive) @ coupler()
        # From the lower input to the upper output.
        between[k, k] = mzi[0, 1]
    circuit = walk(tile.u) @ between @ walk(tile.v)

    expected = 2.5 * np.exp(1j * tile.readout_rad)[:, None] * circuit

    np.testing.assert_allclose(tile_matrix(tile), expected, atol=1e-12)


def test_mesh_without_mzis_is_its_output_phases() -> None:
    mesh = Mesh(
        ports=2,
        column=ints(),
        port=ints(),
        theta_rad=reals(),
        phi_rad=reals(),
        theta_state=flags(),
        phi_state=flags(),
        out_rad=reals(0.5, 0.0),
        out_state=flags(2, 0),
        drive=Drive.ARM_CHOICE,
    )
    np.testing.assert_allclose(mesh_transfer(mesh), np.diag([np.exp(0.5j), 1.0]), atol=1e-15)


@pytest.mark.parametrize("drive", list(Drive))
def test_a_removed_attenuator_passes_everything(drive: Drive) -> None:
    sigma = Attenuators(reals(0.0), flags(ShifterState.REMOVED), drive)
    np.testing.assert_allclose(attenuator_transfer(sigma), [1j], atol=1e-15)


def test_tiles_of_a_grid_add_where_they_point() -> None:
    left = DenseTile(ints(0, 2), ints(1), np.array([[1.0], [2.0]]))
    right = FactoredTile(ints(2), ints(1, 0), np.eye(1), reals(3.0), np.array([[0.6, 0.8]]))
    got = grid_matrix(TileGrid(3, 2, (left, right)), real=True)
    np.testing.assert_allclose(got, np.array([[0, 1], [0, 0], [2.4, 2 + 1.8]]))


def test_grids_apply_in_order() -> None:
    first, second = np.arange(6.0).reshape(2, 3), np.arange(4.0).reshape(2, 2) + 1
    layer = LinearLayer(
        "fc",
        np.zeros((2, 3)),
        Operand("x", -1, "w", transposed=False, dtype="float32"),
        Loc(),
        (
            TileGrid(2, 3, (DenseTile(ints(0, 1), ints(0, 1, 2), first),)),
            TileGrid(2, 2, (DenseTile(ints(0, 1), ints(0, 1), second),)),
        ),
    )
    np.testing.assert_allclose(layer_matrix(layer), second @ first)
    program = Program("m", Stage.LINEAR, 64, (layer,))
    assert list(program_matrices(program)) == ["fc"]

"""Phases through crossings: the same matrices, fewer heaters, shorter meshes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.emulate.transfer import grid_matrix, tile_matrix
from onnx2mzi.ir import (
    Attenuators,
    LinearLayer,
    Loc,
    Mesh,
    MeshTile,
    Operand,
    Program,
    Stage,
    TileGrid,
)
from onnx2mzi.passes.columns import Sections, schedules
from onnx2mzi.passes.drawing import DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.passes.guides import Settling, guides_of, heaters
from onnx2mzi.passes.retime import Retime, Saving, retimed_tile
from onnx2mzi.physics.arrays import Complex
from onnx2mzi.physics.shifter import Drive, Passive, ShifterState
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.census import tile_census
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, Detection, Technology, load_technology

TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)
SECTIONS = Sections(crossing_um=1.0, theta_um=5.0, phi_um=2.0, phi_alone_um=6.0)

Device = tuple[int, int, float, float]
"""Column, port, theta, phi."""


def mesh(ports: int, devices: list[Device], drive: Drive = Drive.ARM_CHOICE) -> Mesh:
    values = np.array(sorted(devices), float).reshape(-1, 4)
    theta, phi = values[:, 2], values[:, 3]

    def state(phase: np.ndarray) -> np.ndarray:
        return np.where(phase != 0, ShifterState.ACTIVE, ShifterState.REMOVED).astype(np.uint8)

    return Mesh(
        ports,
        values[:, 0].astype(np.int32),
        values[:, 1].astype(np.int32),
        theta,
        phi,
        state(theta),
        state(phi),
        np.zeros(ports),
        np.zeros(ports, np.uint8),
        drive,
    )


def tile(v: Mesh, u: Mesh, channels: int) -> MeshTile:
    theta = np.linspace(0.0, 1.0, channels)
    state = np.where(theta > 0, ShifterState.ACTIVE, ShifterState.REMOVED).astype(np.uint8)
    outputs, inputs = np.arange(u.ports, dtype=np.int32), np.arange(v.ports, dtype=np.int32)
    sigma = Attenuators(theta, state, v.drive)
    return MeshTile(outputs, inputs, u, sigma, v, 1.0, np.zeros(u.ports))


@st.composite
def devices(draw: st.DrawFn, ports: int) -> list[Device]:
    angles = st.sampled_from([0.0, 0.0, 0.0, 0.4, -1.3, 2.5, np.pi])
    found: list[Device] = []
    for column in range(draw(st.integers(0, 7))):
        port = 0
        while port < ports - 1:
            if draw(st.integers(0, 3)):
                found.append((column, port, draw(angles), draw(angles)))
                port += 1
            port += 1
    # Columns without a device would be no columns.
    kept = sorted({column for column, *_ in found})
    return [(kept.index(column), *rest) for column, *rest in found]  # type: ignore[misc]


@st.composite
def tiles(draw: st.DrawFn) -> MeshTile:
    n, m = draw(st.integers(2, 6)), draw(st.integers(2, 6))
    v, u = mesh(n, draw(devices(n))), mesh(m, draw(devices(m)))
    return tile(v, u, min(n, m, draw(st.integers(1, 6))))


def whole(made: MeshTile, like: MeshTile) -> Complex:
    found = np.zeros((len(like.outputs), len(like.inputs)), complex)
    found[np.ix_(made.outputs, made.inputs)] = tile_matrix(made)
    return found


def active(made: MeshTile) -> int:
    return tile_census(made, 1.0).phases_active


def length_um(made: MeshTile, technology: Technology) -> float:
    plans = (mesh_plan(mesh, technology) for mesh in (made.v, made.u))
    return sum(float(plan.width_um.sum()) for plan in plans)


@settings(max_examples=40, deadline=None)
@given(before=tiles(), saving=st.sampled_from(Saving), detection=st.sampled_from(Detection))
def test_the_same_matrix_with_no_more_heaters(
    before: MeshTile, saving: Saving, detection: Detection
) -> None:
    technology = replace(TECHNOLOGY, detection=detection)
    made = retimed_tile(before, technology, saving=saving, effort=0.02)
    np.testing.assert_allclose(whole(made, before), whole(before, before), atol=1e-11)
    assert active(made) <= active(before)
    if active(made) == active(before) and saving is Saving.AREA:
        assert length_um(made, technology) <= length_um(before, technology) + 1e-6


def random_tile(seed: int, ports: int = 10, kept: float = 0.25) -> MeshTile:
    rng = np.random.default_rng(seed)

    def one() -> Mesh:
        found = [
            (c, p, *(rng.uniform(-2, 2, 2) * (rng.random(2) < kept)))
            for c in range(ports)
            for p in range(c % 2, ports - 1, 2)
        ]
        return mesh(ports, [(c, p, float(a), float(b)) for c, p, a, b in found])

    return tile(one(), one(), ports)


@pytest.mark.parametrize("seed", range(3))
def test_sparse_meshes_lose_heaters_and_length(seed: int) -> None:
    before = random_tile(seed)
    made = retimed_tile(before, TECHNOLOGY, effort=0.1)
    np.testing.assert_allclose(whole(made, before), whole(before, before), atol=1e-11)
    assert active(made) < 0.9 * active(before)
    assert length_um(made, TECHNOLOGY) < 0.9 * length_um(before, TECHNOLOGY)


def test_heaters_of_a_stretch_become_one() -> None:
    # The guide that enters on top crosses down twice, a heater before each.
    v = mesh(3, [(0, 0, 0.0, 0.5), (1, 1, 0.0, 0.25), (2, 1, 1.0, 0.0)])
    before = tile(v, mesh(3, [(0, 1, 1.1, 0.0)]), 3)
    made = retimed_tile(before, TECHNOLOGY, effort=0.0)
    phis = made.v.phi_rad[made.v.phi_state == ShifterState.ACTIVE]
    np.testing.assert_allclose(np.abs(phis), [0.75], atol=1e-12)
    np.testing.assert_allclose(whole(made, before), whole(before, before), atol=1e-12)


def test_what_is_read_electronically_needs_no_heater() -> None:
    u = mesh(2, [(0, 0, 1.0, 0.0), (1, 0, 0.0, 0.7)])
    before = tile(mesh(2, []), u, 2)
    quiet = retimed_tile(before, TECHNOLOGY, effort=0.0)
    assert not (quiet.u.phi_state == ShifterState.ACTIVE).any()
    np.testing.assert_allclose(whole(quiet, before), whole(before, before), atol=1e-12)
    heard = replace(TECHNOLOGY, detection=Detection.INPHASE)
    assert (retimed_tile(before, heard, effort=0.0).u.phi_state == ShifterState.ACTIVE).any()


def test_phases_pass_from_v_through_attenuators() -> None:
    v, u = mesh(2, [(0, 0, 0.0, 0.7)]), mesh(2, [(0, 0, 1.0, -0.5)])
    made = retimed_tile(tile(v, u, 2), TECHNOLOGY, effort=0.0)
    assert active(made) == active(tile(v, u, 2)) - 1


def test_real_meshes_with_fixed_phases() -> None:
    rng = np.random.default_rng(0)
    before = random_tile(1)
    real = balanced_tile(before)
    flat = replace(
        real,
        v=replace(real.v, phi=np.zeros(real.v.count), out=np.zeros(10)),
        u=replace(real.u, phi=np.zeros(real.u.count), out=np.zeros(10)),
    )
    rules = DrawingRules(Drive.ARM_CHOICE, Passive.COMMON, Detection.IQ)
    trims = rng.random(flat.v.count) < 0.3, rng.random(flat.u.count) < 0.3
    drawn = drawn_tile(flat, rules, trims=trims)
    assert (drawn.v.phi_state == ShifterState.PASSIVE).any()
    made = retimed_tile(drawn, TECHNOLOGY, effort=0.0)
    np.testing.assert_allclose(whole(made, drawn), whole(drawn, drawn), atol=1e-11)


def test_other_drives_are_left_alone() -> None:
    v = mesh(3, [(0, 0, 0.0, 0.5), (1, 0, 0.0, 0.5)], Drive.UPPER_ARM)
    before = tile(v, mesh(3, [], Drive.UPPER_ARM), 3)
    assert retimed_tile(before, TECHNOLOGY) is before


@settings(max_examples=30, deadline=None)
@given(before=tiles())
def test_moves_at_mzis_only_save(before: MeshTile) -> None:
    guides = guides_of(before, Detection.IQ)
    search = Settling(guides, heater_rad=100.0)

    def cost() -> float:
        kept = [x for x, free in zip(search.rad, guides.free, strict=True) if not free]
        return sum(100 * heaters(x) + x for x in kept)

    # A stretch without room for what is asked may cost more than it did.
    last = cost()
    room = all(
        heaters(x) <= len(slots) or free
        for x, slots, free in zip(guides.phase_rad, guides.slots, guides.free, strict=True)
    )
    while search.sweep():
        assert not room or cost() < last
        last = cost()


def test_columns_keep_the_order_on_every_guide() -> None:
    before = random_tile(4).v
    for column in schedules(
        before.port.astype(np.int64), before.crossings, before.ports, SECTIONS, width=8
    ):
        free = np.zeros(before.ports, int)
        for port, at in zip(before.port, column, strict=True):
            assert at >= max(free[port], free[port + 1])
            free[port] = free[port + 1] = at + 1


def test_columns_of_crossings_are_kept_apart() -> None:
    # A crossing before one of two MZIs: both MZIs can share a column behind it.
    port, cross = np.array([0, 2, 0]), np.array([True, False, False])
    (best, *_) = schedules(port, cross, 4, SECTIONS, width=8)
    assert best.tolist() == [0, 1, 1]


def program(one: MeshTile) -> Program:
    grid = TileGrid(len(one.outputs), len(one.inputs), (one,))
    operand = Operand("", -1, "w", False, "complex128")
    weight = grid_matrix(grid, real=False)
    layer = LinearLayer("a", weight, operand, Loc("a"), (grid,))
    return Program("p", Stage.MESH, 16, (layer,))


def test_the_pass() -> None:
    before = program(random_tile(0))
    context = Context(technology=TECHNOLOGY)
    made = Retime(objective=Saving.HEAT).run(before, context)
    (one,) = made.layers[0].grids[0].tiles
    assert isinstance(one, MeshTile)
    np.testing.assert_allclose(
        grid_matrix(made.layers[0].grids[0], real=False), before.layers[0].weight, atol=1e-11
    )
    none = Retime().run(before, replace(context, passive=Passive.NONE))
    (bare,) = none.layers[0].grids[0].tiles
    assert isinstance(bare, MeshTile)
    assert not any((m.phi_state == ShifterState.PASSIVE).any() for m in (bare.u, bare.v))

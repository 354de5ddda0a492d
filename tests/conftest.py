"""What tests of several rooms share: random programs, and the option that rewrites goldens."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from onnx2mzi.ir import (
    Attenuators,
    BlockPlacement,
    DenseTile,
    Electronic,
    FactoredTile,
    Host,
    LinearLayer,
    Loc,
    Mesh,
    MeshTile,
    Operand,
    Placement,
    Program,
    Stage,
    TensorSpec,
    Tile,
    TileGrid,
    View,
    Window,
)
from onnx2mzi.physics.arrays import Flags, Matrix, Real
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive, ShifterState

# A busy machine is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

MakeMesh = Callable[..., Mesh]
MakeTile = Callable[..., MeshTile]
MakeProgram = Callable[..., Program]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the expectations in tests/goldens from what the compiler does now",
    )


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether goldens are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def tiny_onnx() -> bytes:
    """A network 6 -> 5 -> 3 with a ReLU and a Softmax: input `x`, output `y`, batch open."""
    return tiny_network()


@pytest.fixture(scope="session")
def make_mesh() -> MakeMesh:
    """`make_mesh(rng, ports, drive, columns=5)`: a random valid mesh."""
    return random_mesh


@pytest.fixture(scope="session")
def make_tile() -> MakeTile:
    """`make_tile(rng, rows, columns, drive)`: a random valid tile on the chip."""
    return random_tile


@pytest.fixture(scope="session")
def make_program() -> MakeProgram:
    """`make_program(seed, stage=Stage.MESH)`: a random valid program."""
    return random_program


def tiny_network() -> bytes:
    """The serialised model; the same bytes on every call."""
    rng = np.random.default_rng(7)
    sizes = {"w1": (5, 6), "b1": (5,), "w2": (3, 5), "b2": (3,)}
    weights = [
        numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name)
        for name, size in sizes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h1"], "fc1", transB=1),
        helper.make_node("Relu", ["h1"], ["h2"], "act"),
        helper.make_node("Gemm", ["h2", "w2", "b2"], ["h3"], "fc2", transB=1),
        helper.make_node("Softmax", ["h3"], ["y"], "prob", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def random_phases(rng: np.random.Generator, size: int, low: float = -np.pi) -> tuple[Real, Flags]:
    """Phases of all states, the ends of the range among them."""
    state = rng.choice(3, size, p=[0.3, 0.3, 0.4]).astype(np.uint8)
    rad = rng.uniform(low, np.pi, size)
    special = rng.random(size) < 0.2
    rad = np.where(special, rng.choice([low, 0.0, np.pi / 2, np.pi], size), rad)
    return np.where(state == ShifterState.REMOVED, 0.0, rad), state


def random_mesh(rng: np.random.Generator, ports: int, drive: Drive, columns: int = 5) -> Mesh:
    places: list[tuple[int, int]] = []
    for column in range(columns):
        port = int(rng.integers(0, 2))
        while port < ports - 1:
            if rng.random() < 0.7:
                places.append((column, port))
                port += 1
            port += 1
    column_of, port_of = np.array(places, np.int32).reshape(-1, 2).T
    theta, theta_state = random_phases(rng, len(places))
    phi, phi_state = random_phases(rng, len(places))
    out, out_state = random_phases(rng, ports)
    return Mesh(
        ports, column_of, port_of, theta, phi, theta_state, phi_state, out, out_state, drive
    )


def random_tile(rng: np.random.Generator, rows: int, columns: int, drive: Drive) -> MeshTile:
    channels = int(rng.integers(0, min(rows, columns) + 1))
    theta, state = random_phases(rng, channels, low=0.0)
    return MeshTile(
        outputs=np.arange(rows, dtype=np.int32),
        inputs=np.sort(rng.permutation(columns + 3)[:columns]).astype(np.int32),
        u=random_mesh(rng, rows, drive),
        sigma=Attenuators(theta, state, drive),
        v=random_mesh(rng, columns, drive),
        gain=float(rng.uniform(0.5, 2.0)),
        readout_rad=rng.choice([0.0, np.pi], rows),
    )


def _tile(rng: np.random.Generator, rows: int, columns: int, stage: Stage, drive: Drive) -> Tile:
    if stage is not Stage.LINEAR:
        return random_tile(rng, rows, columns, drive)
    outputs = np.arange(rows, dtype=np.int32)
    inputs = np.arange(columns, dtype=np.int32)
    if rng.random() < 0.5:
        weight = rng.normal(size=(rows, columns))
        if rng.random() < 0.5:
            return DenseTile(outputs, inputs, weight + 1j * weight)
        return DenseTile(outputs, inputs, weight)
    rank = int(rng.integers(1, min(rows, columns) + 1))
    u, s, vh = np.linalg.svd(rng.normal(size=(rows, columns)), full_matrices=False)
    return FactoredTile(outputs, inputs, u[:, :rank], s[:rank], vh[:rank])


def _layer(rng: np.random.Generator, k: int, stage: Stage, drive: Drive) -> LinearLayer:
    sizes = [int(size) for size in rng.integers(1, 7, 2 + rng.integers(0, 2))]
    grids = tuple(
        TileGrid(m, n + 3, tuple(_tile(rng, m, n, stage, drive) for _ in range(rng.integers(1, 3))))
        for n, m in pairwise(sizes)
    )
    # Every grid takes three guides more than its tiles use; the one before it must make them.
    grids = tuple(
        TileGrid(after.columns if after else grid.rows, grid.columns, grid.tiles)
        for grid, after in zip(grids, (*grids[1:], None), strict=True)
    )
    weight: Matrix = rng.normal(size=(grids[-1].rows, grids[0].columns))
    if rng.random() < 0.3:
        weight = np.asarray(weight + 1j * weight, np.complex128)
    return LinearLayer(
        name=f"fc{k}",
        weight=weight,
        operand=Operand(
            f"h{k}",
            int(rng.choice([-1, -2])),
            f"w{k}",
            k % 2 == 0,
            "float32",
            view=_view(rng, weight.shape[1]) if rng.random() < 0.5 else View(),
            parts=["stacked", "interleaved"][k % 2] if np.iscomplexobj(weight) else "",
        ),
        loc=Loc("net.onnx", f"/net/{k}/Gemm", "Gemm", f"net.{k}.weight"),
        grids=grids,
        uses=int(rng.integers(1, 1000)) if rng.random() < 0.5 else None,
        folds=("/net/norm", "two words") if k % 2 else (),
    )


def _view(rng: np.random.Generator, columns: int) -> View:
    window = Window((columns, 1), (1, 2), (3, 1), (0, 1, 2, 0), str(rng.choice(["", "lower"])))
    return View(
        more_axes=(3, -3) if rng.random() < 0.5 else (),
        at=((-4, 2), (5, 0)) if rng.random() < 0.5 else (),
        part=(1, 3) if rng.random() < 0.5 else (0, 1),
        window=window if rng.random() < 0.5 else None,
    )


def random_program(seed: int, stage: Stage = Stage.MESH, drive: Drive | None = None) -> Program:
    rng = np.random.default_rng(seed)
    drive = drive or list(Drive)[int(rng.integers(3))]
    layers = tuple(_layer(rng, k, stage, drive) for k in range(int(rng.integers(1, 4))))
    host = Host(
        rng.bytes(40),
        (TensorSpec("x", "float32", ("N", None, 4)),),
        (TensorSpec("y", "float32", ("N", 10)),),
        (
            Electronic(Loc(node="conv"), "the kernel is no constant"),
            Electronic(Loc(node="abs"), "a modulus", linear=False),
        ),
    )
    made = Program(
        name="net",
        stage=stage,
        ports=8,
        layers=layers,
        host=host if rng.random() < 0.7 else None,
        placement=_placement(layers) if stage is Stage.PLACED else None,
        history=("tile{ports=8}", "svd"),
        drive_code=DriveCode(6, CodeLaw.VOLTAGE) if rng.random() < 0.3 else None,
    )
    return made if made.drive_code is None else on_codes(made, made.drive_code)


def on_codes(program: Program, code: DriveCode) -> Program:
    """The program with its heaters at the nearest codes."""

    def rounded(rad: Real, state: Flags, drive: Drive, low: float = -np.pi) -> Real:
        at = code.nearest_rad(rad, drive)
        # An attenuator has no negative theta.
        at = np.where(at < low, code.levels_rad(drive)[0], at)
        return np.where(state == ShifterState.ACTIVE, at, rad)

    def mesh(m: Mesh) -> Mesh:
        return replace(
            m,
            theta_rad=rounded(m.theta_rad, m.theta_state, m.drive),
            phi_rad=rounded(m.phi_rad, m.phi_state, m.drive),
            out_rad=rounded(m.out_rad, m.out_state, Drive.UPPER_ARM),
        )

    def tile(t: Tile) -> Tile:
        if not isinstance(t, MeshTile):
            return t
        s = t.sigma
        theta = rounded(s.theta_rad, s.state, s.drive, low=0.0)
        return replace(t, u=mesh(t.u), v=mesh(t.v), sigma=Attenuators(theta, s.state, s.drive))

    layers = []
    for layer in program.layers:
        grids = (replace(grid, tiles=tuple(map(tile, grid.tiles))) for grid in layer.grids)
        layers.append(replace(layer, grids=tuple(grids)))
    return replace(program, layers=tuple(layers), drive_code=code)


def _placement(layers: tuple[LinearLayer, ...]) -> Placement:
    blocks = []
    x = 0.0
    for layer in layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                present = bool((tile.sigma.state != ShifterState.REMOVED).any())
                widths = {"v": tile.v.columns, "s": int(present), "u": tile.u.columns}
                for block, columns in widths.items():
                    edges = x + 300.5 * np.arange(columns + 1, dtype=np.float64)
                    x = float(edges[-1])
                    blocks.append(BlockPlacement(layer.name, g, t, block, edges, 800.0, 40.0))
    return Placement("generic", x, 900.0, tuple(blocks))

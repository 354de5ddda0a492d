"""The verifier: random valid programs pass, and every rule catches what it is there for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.ir import (
    Attenuators,
    BlockPlacement,
    DenseTile,
    FactoredTile,
    LinearLayer,
    Loc,
    Mesh,
    MeshTile,
    Operand,
    Placement,
    Program,
    Stage,
    Tile,
    TileGrid,
    View,
    Window,
)
from onnx2mzi.ir.verify import verify
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive


@given(seed=st.integers(0, 2**32 - 1), stage=st.sampled_from(Stage))
def test_valid_programs_have_no_problems(make_program: Any, seed: int, stage: Stage) -> None:
    assert verify(make_program(seed, stage)) == []


# ---- one small program, and what can be wrong with it ---------------------------------------

GUIDES = np.arange(4, dtype=np.int32)
MESH = Mesh(
    ports=4,
    column=np.array([0, 0, 1]),
    port=np.array([0, 2, 1]),
    theta_rad=np.array([0.5, -0.5, 0.0]),
    phi_rad=np.array([np.pi, 0.0, 0.1]),
    theta_state=np.array([2, 2, 0]),
    phi_state=np.array([2, 0, 1]),
    out_rad=np.zeros(4),
    out_state=np.zeros(4, np.uint8),
    drive=Drive.ARM_CHOICE,
)
SIGMA = Attenuators(np.array([0.0, 1.0]), np.array([0, 2]), Drive.ARM_CHOICE)
TILE = MeshTile(GUIDES, GUIDES, MESH, SIGMA, MESH, 1.0, np.zeros(4))
DENSE = DenseTile(GUIDES, GUIDES, np.eye(4))
FACTORED = FactoredTile(GUIDES, GUIDES, np.eye(4)[:, :1], np.ones(1), np.eye(4)[:1])
LAYER = LinearLayer("fc", np.eye(4), Operand("x", -1, "w", False, "float32"), Loc("m.onnx"))


def program(tile: Tile, stage: Stage = Stage.MESH) -> Program:
    layer = replace(LAYER, grids=(TileGrid(4, 4, (tile,)),))
    return Program("p", stage, 4, (layer,))


def mesh(**changes: Any) -> Program:
    return program(replace(TILE, v=replace(MESH, **changes)))


def sigma(theta: list[float], state: list[int]) -> Program:
    return program(replace(TILE, sigma=Attenuators(theta, state, Drive.ARM_CHOICE)))  # type: ignore[arg-type]


def placed(change: Callable[[list[BlockPlacement]], list[BlockPlacement]]) -> Program:
    edges = {"v": [0.0, 1.0, 2.0], "s": [2.0, 3.0], "u": [3.0, 4.0, 5.0]}
    blocks = [BlockPlacement("fc", 0, 0, b, np.array(x), 0.0, 40.0) for b, x in edges.items()]
    placement = Placement("generic", 5.0, 5.0, tuple(change(blocks)))
    return replace(program(TILE, Stage.PLACED), placement=placement)


def test_the_small_programs_are_valid() -> None:
    assert verify(program(TILE)) == []
    assert verify(program(DENSE, Stage.LINEAR)) == []
    assert verify(program(FACTORED, Stage.LINEAR)) == []
    assert verify(placed(lambda blocks: blocks)) == []


# Codes of 2 bits up to pi are multiples of pi / 3.
CODES = DriveCode(2, CodeLaw.PHASE)
ROUNDED = replace(
    TILE,
    u=replace(MESH, theta_rad=np.array([np.pi / 3, -np.pi / 3, 0.0])),
    v=replace(MESH, theta_rad=np.array([np.pi, -2 * np.pi / 3, 0.0])),
    sigma=Attenuators(np.array([0.0, np.pi / 3]), np.array([0, 2]), Drive.ARM_CHOICE),
)


def test_heaters_of_a_quantized_program_are_on_codes() -> None:
    assert verify(replace(program(ROUNDED), drive_code=CODES)) == []
    # Passive phases are on none.
    v = replace(ROUNDED.v, phi_rad=np.array([np.pi, 0.0, 0.2]))
    assert verify(replace(program(replace(ROUNDED, v=v)), drive_code=CODES)) == []


@pytest.mark.parametrize(
    ("tile", "place"),
    [
        (replace(ROUNDED, u=MESH), "fc.g0.t0.u.c0.p0.theta"),
        (replace(ROUNDED, v=replace(ROUNDED.v, phi_rad=np.array([1.0, 0, 0]))), "v.c0.p0.phi"),
        (
            replace(
                ROUNDED,
                v=replace(
                    ROUNDED.v,
                    out_rad=np.array([0, 0, 1.0, 0]),
                    out_state=np.array([0, 0, 2, 0], np.uint8),
                ),
            ),
            "v.c2.p2.out",
        ),
        (replace(ROUNDED, sigma=SIGMA), "fc.g0.t0.s.c0.p1.sigma"),
    ],
)
def test_a_heater_off_its_codes_is_found(tile: MeshTile, place: str) -> None:
    assert verify(program(tile)) == []
    (problem, *_) = verify(replace(program(tile), drive_code=CODES))
    assert place in str(problem)
    assert "the phase is none of the driver's 4 codes" in str(problem)
    # A layer may have a driver of its own.
    whole = program(tile)
    own = replace(whole, layers=(replace(whole.layers[0], drive_code=CODES),))
    assert verify(own) != []


WRONG_MESHES = [
    (mesh(column=[0, 0, -1]), "fc.g0.t0.v.c-1.p1: the column is negative"),
    (mesh(port=[0, 2, 3]), "v.c1.p3: the MZI lies outside the 4 ports"),
    (mesh(port=[-1, 2, 1]), "v.c0.p-1: the MZI lies outside"),
    (mesh(column=[0, 1, 0]), "v.c0.p1: not sorted by (column, port)"),
    (mesh(port=[2, 0, 1]), "v.c0.p0: not sorted by (column, port)"),
    (mesh(port=[2, 2, 1]), "v.c0.p2: two MZIs have this place"),
    (mesh(port=[1, 2, 1]), "v.c0.p2: the MZI overlaps the one above it"),
    (mesh(theta_rad=[0.5, np.nan, 0.0]), "v.c0.p2.theta: the phase is NaN or infinite"),
    (mesh(phi_rad=[np.pi + 1e-9, 0, 0]), "v.c0.p0.phi: the phase is outside [-pi, pi]"),
    (mesh(theta_rad=[4, 5, 0]), "v.c0.p0.theta: the phase is outside [-pi, pi] (and 1 more)"),
    (mesh(phi_rad=[0.0, 0.1, 0.0]), "v.c0.p2.phi: a removed shifter has a phase"),
    (mesh(phi_state=[2, 0, 3]), "v.c1.p1.phi: the state is unknown"),
    (mesh(out_rad=[0, 0, 0, 0.5]), "v.c2.p3.out: a removed shifter has a phase"),
    (mesh(theta_rad=[0.5, 0.5]), "v: theta_rad has shape (2,), not (3,)"),
    (mesh(out_state=[0, 0, 0]), "v: out_state has shape (3,), not (4,)"),
    (mesh(drive="sideways"), "v: the drive 'sideways' is not a physics.shifter.Drive"),
    (mesh(ports=5, out_rad=[0] * 5, out_state=[0] * 5), "v: 5 ports for 4 inputs"),
    (mesh(ports=5, out_rad=[0] * 5, out_state=[0] * 5), "v: 5 ports on a chip of 4"),
    (sigma([-0.1, 0.0], [2, 0]), "fc.g0.t0.s.c0.p0.sigma: the phase is outside [0, pi]"),
    (sigma([0.1, 0.0], [0, 0]), "s.c0.p0.sigma: a removed shifter has a phase"),
    (sigma([0.1], [2, 2]), "s: state has shape (2,), not (1,)"),
    (sigma([0.1] * 5, [2] * 5), "v: 4 ports for 5 channels"),
]
WRONG_TILES = [
    (program(DENSE), "fc.g0.t0: a DenseTile in a program of stage mesh"),
    (program(TILE, Stage.LINEAR), "fc.g0.t0: a mesh in a program of stage linear"),
    (program(replace(TILE, outputs=[0, 1, 2, 4])), "outputs outside 0..3"),  # type: ignore[arg-type]
    (program(replace(TILE, inputs=[0, 1, 2, 2])), "inputs name a guide twice"),  # type: ignore[arg-type]
    (program(replace(TILE, gain=float("inf"))), "fc.g0.t0: the gain is inf"),
    (program(replace(TILE, readout_rad=np.zeros(3))), "readout_rad has shape (3,), not (4,)"),
    (
        program(replace(DENSE, weight=np.zeros((4, 3))), Stage.LINEAR),
        "the weight has shape (4, 3), not (4, 4)",
    ),
    (
        program(replace(DENSE, weight=np.full((4, 4), np.nan)), Stage.LINEAR),
        "fc.g0.t0: the weight has entries that are NaN",
    ),
    (
        program(replace(FACTORED, s=np.array([-1.0])), Stage.LINEAR),
        "a singular value is negative",
    ),
    (
        program(replace(FACTORED, vh=np.ones((2, 4))), Stage.LINEAR),
        "vh has shape (2, 4), not (1, 4)",
    ),
]


def layers(*changed: LinearLayer) -> Program:
    return Program("p", Stage.LINEAR, 4, changed)


def viewed(**changes: Any) -> LinearLayer:
    return replace(LAYER, operand=replace(LAYER.operand, view=View(**changes)))


def in_slot(k: int, count: int) -> LinearLayer:
    return replace(LAYER, operand=replace(LAYER.operand, slot=(k, count)))


def seen_through(**changes: Any) -> LinearLayer:
    return viewed(window=replace(Window((2,), (1,), (1,), (0, 0)), **changes))


GRID = TileGrid(4, 4, ())
WRONG_LAYERS = [
    (layers(LAYER, LAYER), "fc: 2 layers have this name"),
    (layers(LAYER, replace(LAYER, name="b")), "w: 2 layers feed this host input"),
    (layers(replace(LAYER, name="")), '"": a layer without a name (m.onnx)'),
    (layers(replace(LAYER, weight=np.full((4, 4), np.inf))), "fc: the weight has entries"),
    (layers(replace(LAYER, weight=np.zeros(4))), "fc: the weight has shape (4,)"),
    (
        layers(replace(LAYER, operand=replace(LAYER.operand, parts="turned"))),
        "fc: the operand's parts are 'turned'",
    ),
    (
        layers(replace(LAYER, operand=replace(LAYER.operand, parts="stacked"))),
        "fc: a real weight for vectors of stacked parts",
    ),
    (
        layers(replace(LAYER, operand=replace(LAYER.operand, axis=64))),
        "fc: the operand's axes are [64], not in -64..63",
    ),
    (
        layers(viewed(more_axes=(2,), at=((2, 0),))),
        "fc: the operand's axes [-1, 2, 2] are not all different",
    ),
    (layers(viewed(at=((1, -1),))), "fc: the operand's places [(1, -1)] are negative"),
    (layers(viewed(part=(2, 2))), "fc: the operand's part is 2 of 2"),
    (layers(in_slot(0, 2)), "w: not each of the 2 slots of this host input is fed once"),
    (
        layers(in_slot(0, 2), replace(in_slot(0, 2), name="b")),
        "w: not each of the 2 slots of this host input is fed once",
    ),
    (
        layers(in_slot(0, 2), replace(in_slot(1, 2), name="b", weight=np.eye(5))),
        "w: layers feed this host input with matrices that are not alike",
    ),
    (layers(seen_through(strides=())), "fc: the window has 1 axes and (0, 1, 2) strides"),
    (layers(seen_through(dilations=(0,))), "fc: the window Window("),
    (layers(seen_through(kernel=(3,))), "fc: a window of [3] in vectors of 4"),
    (layers(seen_through(same="left")), "fc: the window is padded 'left', not 'upper' or 'lower'"),
    (layers(replace(LAYER, uses=0)), "fc: used 0 times"),
    (
        layers(replace(LAYER, operand=replace(LAYER.operand, dtype="float33"))),
        "fc: the operand's dtype 'float33' is unknown",
    ),
    (layers(replace(LAYER, grids=(TileGrid(4, 3, ()),))), "fc.g0: takes 3 inputs, but 4 come in"),
    (
        layers(replace(LAYER, grids=(GRID, TileGrid(3, 4, ())))),
        "fc: the last grid has 3 outputs, the layer 4",
    ),
    (replace(layers(LAYER), stage=Stage.MESH), "fc: no grid of tiles in a program of stage mesh"),
    (replace(layers(LAYER), ports=0), "p: a chip of 0 ports"),
]
WRONG_PLACES = [
    (placed(lambda b: b[:2]), "fc.g0.t0.u: the block has no place"),
    (placed(lambda b: [*b, b[0]]), "fc.g0.t0.v: 2 blocks at this place"),
    (placed(lambda b: [*b, replace(b[0], tile=7)]), "fc.g0.t7.v: a place for a block that"),
    (
        placed(lambda b: [replace(b[0], column_x_um=np.zeros(2)), *b[1:]]),
        "fc.g0.t0.v: column_x_um has shape (2,) for 2 columns",
    ),
    (
        placed(lambda b: [replace(b[0], column_x_um=np.array([0, 2, 1.0])), *b[1:]]),
        "fc.g0.t0.v: column_x_um is not ascending",
    ),
    (placed(lambda b: [replace(b[0], row_pitch_um=0.0), *b[1:]]), "the row pitch is 0.0 um"),
    (placed(lambda b: [replace(b[0], y_um=float("nan")), *b[1:]]), "y_um is nan"),
    (replace(program(TILE), stage=Stage.PLACED), "placement: missing"),
    (replace(placed(lambda b: b), stage=Stage.MESH), "placement: there is one"),
]


@pytest.mark.parametrize(
    ("wrong", "message"), [*WRONG_MESHES, *WRONG_TILES, *WRONG_LAYERS, *WRONG_PLACES]
)
def test_every_rule_catches(wrong: Program, message: str) -> None:
    found = [str(problem) for problem in verify(wrong)]
    assert any(message in problem for problem in found), found


def test_all_problems_are_reported_at_once() -> None:
    column = np.array([0, 0, -1])
    bad = replace(TILE, v=replace(MESH, column=column), gain=float("nan"))
    found = [problem.where for problem in verify(replace(program(bad), ports=0))]
    assert {"p", "fc.g0.t0.v.c-1.p1", "fc.g0.t0"} <= set(found)

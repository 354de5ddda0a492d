"""Broken heaters: the others make up for them, and what cannot be is refused."""

import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.driver.options import Options, pipeline_of
from onnx2mzi.emulate.transfer import layer_matrix
from onnx2mzi.errors import FitError, UsageError
from onnx2mzi.ir import MeshTile, Program
from onnx2mzi.passes.broken import Broken, parsed
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.base import Context
from onnx2mzi.tech import load_technology

TECHNOLOGY = load_technology("cornerstone_si220")
CANONICAL = "tile,svd,decompose,canonicalize"


@pytest.fixture(scope="module")
def program(tiny_onnx: bytes) -> Program:
    """Two layers of dense real tiles, canonical."""
    return onnx2mzi.compile(tiny_onnx, onnx2mzi.Pipeline.parse(CANONICAL), ports=8).program


def first_tile(program: Program) -> MeshTile:
    tile = program.layers[0].grids[0].tiles[0]
    assert isinstance(tile, MeshTile)
    return tile


def theta_id(program: Program, k: int, block: str = "u") -> str:
    mesh = getattr(first_tile(program), block)
    name = program.layers[0].name
    return f"{name}.g0.t0.{block}.c{mesh.column[k]}.p{mesh.port[k]}.theta"


def off(program: Program, made: Program) -> float:
    asked, found = (layer_matrix(one.layers[0]) for one in (program, made))
    return float(np.linalg.norm(found - asked) / np.linalg.norm(asked))


@pytest.mark.parametrize("block", ["u", "v"])
def test_the_others_make_up_for_a_theta(program: Program, block: str) -> None:
    said: list[str] = []
    heater = theta_id(program, 2, block)
    made = Broken(ids=(heater,)).run(program, Context(TECHNOLOGY, log=said.append))
    was, now = getattr(first_tile(program), block), getattr(first_tile(made), block)
    at = (now.column == was.column[2]) & (now.port == was.port[2])
    assert now.theta_state[at].tolist() == [ShifterState.REMOVED]
    error = off(program, made)
    assert f"relative error of the matrix {error:.2e}" in said[0]
    alone = float(said[0].split("(")[1].split(" ")[0])
    assert error < 0.3 * alone


def test_a_broken_attenuator_is_that_of_the_largest_singular_value(program: Program) -> None:
    sigma = first_tile(program).sigma
    k = int(np.flatnonzero(sigma.state == ShifterState.ACTIVE)[0])
    heater = f"{program.layers[0].name}.g0.t0.s.c0.p{k}.sigma"
    made = Broken(ids=(heater,)).run(program, Context(TECHNOLOGY))
    assert first_tile(made).sigma.state[k] == ShifterState.REMOVED
    assert off(program, made) < 1e-9


def test_what_cannot_be_made_up_for_is_refused(program: Program) -> None:
    mesh = first_tile(program).u
    every = tuple(theta_id(program, k) for k in range(len(mesh)))
    with pytest.raises(FitError, match=r"is off by .* \(at most 1%"):
        Broken(ids=every, most_error=0.01).run(program, Context(TECHNOLOGY))
    name = program.layers[0].name
    with pytest.raises(FitError, match="cannot be made elsewhere"):
        Broken(ids=(f"{name}.g0.t0.u.c0.p0.phi",)).run(program, Context(TECHNOLOGY))


@pytest.mark.parametrize(
    ("heater", "says"),
    [
        ("fc1", "is no id of a heater"),
        ("fc9.g0.t0.u.c0.p0.theta", "no layer 'fc9'"),
        ("LAYER.g0.t9.u.c0.p0.theta", "is no place of the chip"),
        ("LAYER.g0.t0.u.c99.p0.theta", "is no place of the chip"),
    ],
)
def test_a_wrong_id_is_refused(program: Program, heater: str, says: str) -> None:
    text = heater.replace("LAYER", program.layers[0].name)
    with pytest.raises(UsageError, match=says):
        Broken(ids=(text,)).run(program, Context(TECHNOLOGY))


def test_ids_are_read_as_the_table_writes_them() -> None:
    found = parsed("a.b.g1.t2.v.c3.p4.theta")
    assert (found.layer, found.grid, found.tile, found.block) == ("a.b", 1, 2, "v")
    assert (found.column, found.port, found.kind) == (3, 4, "theta")


def test_the_option_puts_the_pass_before_rounding() -> None:
    options = Options(optimize="prune,quantize{bits=6}", broken=("fc1.g0.t0.u.c0.p0.theta",))
    names = [step.name for step in pipeline_of(options).passes]
    assert names[-5:] == ["prune", "compact", "broken", "quantize", "place"]
    assert Broken(ids=tuple(options.broken)) in pipeline_of(options).passes
    with pytest.raises(UsageError, match="--broken: the pipeline says itself"):
        pipeline_of(Options(optimize="broken{ids=x}", broken=("y",)))

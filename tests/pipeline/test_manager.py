"""The manager holds every pass to its promise; instruments see every step."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from onnx2mzi.emulate.data import Dataset
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.network import Network
from onnx2mzi.errors import UsageError, VerificationError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import DenseTile, LinearLayer, Program, Stage, TileGrid, identical
from onnx2mzi.ir.files import read_mzi
from onnx2mzi.passes.canonicalize import Canonicalize
from onnx2mzi.passes.decompose import Decompose
from onnx2mzi.passes.place import Place
from onnx2mzi.passes.svd import Svd
from onnx2mzi.passes.tile import Tile
from onnx2mzi.pipeline.backend import PassRecord
from onnx2mzi.pipeline.base import (
    Bounded,
    BoundedDrop,
    Budgeted,
    Context,
    Effect,
    Exact,
    Pass,
    option,
)
from onnx2mzi.pipeline.census import layer_census
from onnx2mzi.pipeline.contracts import bounded_move, exact_move, settled
from onnx2mzi.pipeline.instruments import DumpIr, Narrator, PrintAfter, Timing, Watcher
from onnx2mzi.pipeline.manager import Pipeline, Step
from onnx2mzi.tech import load_technology

LOWERING: tuple[Pass, ...] = (Tile(), Svd(), Decompose(), Canonicalize(), Place())


@dataclass(frozen=True, slots=True)
class Scale(Pass):
    """Multiplies one layer's tiles by `factor`, and promises what it is told to promise."""

    name: ClassVar[str] = "scale"
    stage_in: ClassVar[Stage] = Stage.LINEAR
    stage_out: ClassVar[Stage] = Stage.LINEAR

    factor: float = option(1.0, "of the matrix")
    layer: int = option(1, "which")
    promise: Effect = field(default=Exact(), metadata={})

    def effect(self, program: Program) -> Effect:
        return self.promise

    def run(self, program: Program, context: Context) -> Program:
        layers = list(program.layers)
        layers[self.layer] = self.scaled(layers[self.layer])
        return replace(program, layers=tuple(layers))

    def scaled(self, layer: LinearLayer) -> LinearLayer:
        m, n = layer.weight.shape
        outputs, inputs = np.arange(m, dtype=np.int32), np.arange(n, dtype=np.int32)
        tile = DenseTile(outputs, inputs, layer.weight * self.factor)
        return replace(layer, grids=(TileGrid(m, n, (tile,)),))


@dataclass(frozen=True, slots=True)
class Odd(Pass):
    """Does to the program whatever `does` says."""

    name: ClassVar[str] = "odd"
    stage_in: ClassVar[Stage] = Stage.LINEAR
    stage_out: ClassVar[Stage] = Stage.LINEAR

    does: Any = field(default=None, metadata={})

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        made: Program = self.does(program)
        return made


@pytest.fixture
def program(tiny_onnx: bytes) -> Program:
    return import_model(tiny_onnx, ports=4)


def context(network: Network | None = None) -> Context:
    return Context(load_technology("cornerstone_si220"), network=network)


def network_of(program: Program, labels: bool = False) -> Network:
    assert program.host is not None
    rng = np.random.default_rng(1)
    sets = [
        Dataset({"x": rng.normal(size=(40, 6)).astype(np.float32)}, rng.integers(0, 3, 40))
        for _ in range(2)
    ]
    if not labels:
        sets = [replace(data, labels=None) for data in sets]
    return Network(HostRunner(program.host), program.layers, *sets)


def run(step: Pass, program: Program, network: Network | None = None) -> Program:
    return Pipeline((step,)).run(program, context(network)).program


def test_a_whole_pipeline_is_counted_and_recorded(program: Program) -> None:
    result = Pipeline(LOWERING).run(program, context())
    assert result.lossless
    assert result.program.stage is Stage.PLACED
    assert result.program.history == ("tile", "svd", "decompose", "canonicalize", "place")
    assert [record.text for record in result.passes] == list(result.program.history)
    assert result.passes[1].censuses == {}
    assert set(result.reference) == set(result.exact) == {x.name for x in program.layers}
    assert result.reference == result.passes[2].censuses
    p_pi_mw = load_technology("cornerstone_si220").p_pi_mw
    for layer in result.program.layers:
        assert result.exact[layer.name] == layer_census(layer, p_pi_mw)
        assert np.allclose(result.matrices[layer.name], layer.weight, atol=1e-12)


def test_the_program_that_goes_in_is_not_changed(program: Program, tiny_onnx: bytes) -> None:
    Pipeline(LOWERING).run(program, context())
    assert identical(program, import_model(tiny_onnx, ports=4))


EXACTLY = 1 + 2e-9


def test_exact_is_held_to_a_billionth(program: Program) -> None:
    run(Scale(factor=1 + 0.5e-9), program)
    with pytest.raises(VerificationError) as caught:
        run(Scale(factor=EXACTLY), program)
    name = program.layers[1].name
    assert caught.value.message == f"moved layer '{name}' by 2e-09, it promised at most 1e-09"
    assert caught.value.where == f"pass scale{{factor={EXACTLY!r}}}"


def test_a_bound_without_data_is_of_the_matrix(program: Program) -> None:
    kept = Pipeline((Scale(factor=0.9, promise=Bounded(0.11)),)).run(program, context())
    assert not kept.lossless
    with pytest.raises(VerificationError, match=r"by 0.1, it promised at most 0.09"):
        run(Scale(factor=0.9, promise=Bounded(0.09)), program)


def test_a_bound_on_data_is_of_what_the_layer_puts_out(program: Program) -> None:
    network = network_of(program)
    run(Scale(factor=0.9, promise=Bounded(0.11, on_data=True)), program, network)
    with pytest.raises(VerificationError, match=r"by 0.1, it promised at most 0.09"):
        run(Scale(factor=0.9, promise=Bounded(0.09, on_data=True)), program, network)


def test_a_bound_on_data_is_refused_without_data(program: Program) -> None:
    for promise in (Bounded(0.1, on_data=True), BoundedDrop(0.1)):
        with pytest.raises(UsageError) as caught:
            run(Scale(promise=promise), program)
        assert caught.value.message == "promises a bound on data, but there are none"
        assert caught.value.hint == "give --data FILE.npz"


def test_a_drop_is_measured_on_the_network(program: Program) -> None:
    network = network_of(program)
    flipped = Scale(factor=-1.0, promise=BoundedDrop(0.2))
    with pytest.raises(VerificationError, match="made the network worse by"):
        run(flipped, program, network)
    run(replace(flipped, promise=BoundedDrop(1.0)), program, network)


def test_a_budget_is_a_drop_with_data_and_a_bound_without(program: Program) -> None:
    promise = Budgeted(error=0.2, drop=0.01)
    assert settled(promise, None) == Bounded(0.2)
    assert settled(promise, network_of(program)) == BoundedDrop(0.01)
    with pytest.raises(VerificationError, match=r"by 0.3, it promised at most 0.2"):
        run(Scale(factor=0.7, promise=promise), program)


def test_nan_is_within_no_bound() -> None:
    assert not exact_move(np.ones((1, 1)), np.full((1, 1), np.nan)) <= 1.0


def test_moves_are_relative() -> None:
    w = np.array([[3.0, 4.0]])
    assert exact_move(w, w + np.array([[0, 1]])) == 0.25
    assert exact_move(np.zeros((1, 2)), w) == np.inf
    assert bounded_move(w, w + np.array([[0, 1]])) == 0.2
    assert bounded_move(w, w + np.array([[0, 1]]), np.array([[1.0], [0.0]])) == 0.0


ODD: list[tuple[Callable[[Program], Program], str]] = [
    (lambda p: replace(p, stage=Stage.MESH), "left a program of stage mesh, it promised linear"),
    (lambda p: replace(p, layers=p.layers[:1]), "made 1 layers of 2"),
    (
        lambda p: replace(p, layers=(replace(p.layers[0], name="new"), p.layers[1])),
        "turned layer '{first}' into 'new'",
    ),
    (
        lambda p: replace(
            p, layers=(replace(p.layers[0], weight=p.layers[0].weight * 2), p.layers[1])
        ),
        "changed what the model asks of layer '{first}'",
    ),
    (
        lambda p: replace(p, ports=0),
        "left an invalid program: {model}: a chip of 0 ports",
    ),
]


@pytest.mark.parametrize(("does", "message"), ODD)
def test_what_a_pass_may_not_do(
    does: Callable[[Program], Program], message: str, program: Program
) -> None:
    with pytest.raises(VerificationError) as caught:
        run(Odd(does=does), program)
    assert caught.value.message == message.format(first=program.layers[0].name, model=program.name)
    assert caught.value.where.startswith("pass odd")


def test_a_wrong_order_is_refused_before_anything_runs(program: Program) -> None:
    ran = []
    step = Odd(does=lambda p: ran.append(p) or p)  # type: ignore[func-returns-value]
    with pytest.raises(UsageError, match="place takes a program of stage mesh"):
        Pipeline((step, Place())).run(program, context())
    assert not ran


@dataclass(slots=True)
class Recorder(Watcher):
    seen: list[str] = field(default_factory=list)

    def before(self, step: Step, program: Program) -> None:
        self.seen.append(f"before {step.text} {step.index}/{step.count} {program.stage}")

    def after(self, step: Step, program: Program, record: PassRecord) -> None:
        self.seen.append(f"after {record.text} {program.stage}")


def test_instruments_see_every_step(program: Program, tmp_path: Path) -> None:
    recorder, timing, stream, said = Recorder(), Timing(), io.StringIO(), list[str]()
    watch = (
        recorder,
        timing,
        PrintAfter(stream, frozenset({"svd"})),
        DumpIr(tmp_path / "dump"),
        Narrator(said.append),
    )
    result = Pipeline(LOWERING[:3]).run(program, context(), watch)
    assert recorder.seen == [
        "before tile 0/3 linear",
        "after tile linear",
        "before svd 1/3 linear",
        "after svd linear",
        "before decompose 2/3 linear",
        "after decompose mesh",
    ]
    printed = stream.getvalue()
    assert printed.startswith("// after 2/3: svd\n")
    assert printed.count("// after") == 1
    assert "factored" in printed
    files = sorted(path.name for path in (tmp_path / "dump").glob("*.mzi"))
    assert files == ["00-import.mzi", "01-tile.mzi", "02-svd.mzi", "03-decompose.mzi"]
    assert identical(read_mzi(tmp_path / "dump" / "03-decompose.mzi"), result.program)
    assert [line.split()[-1] for line in timing.table().splitlines()] == [
        "tile",
        "svd",
        "decompose",
        "passes",
    ]
    assert said[0].startswith("1/3 tile (")
    total = sum(census.mzis for census in result.reference.values())
    assert f"3/3 decompose: {total:,} MZIs" in said[2]

"""`unroll`: a chip for every position; everything is counted as often, nothing computes else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

import onnx2mzi
from onnx2mzi.driver.compile import Compiled
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.errors import FitError, UsageError
from onnx2mzi.ir import Program, identical
from onnx2mzi.ir.parser import parse_program
from onnx2mzi.ir.printer import print_program
from onnx2mzi.ir.verify import verify
from onnx2mzi.passes import unroll

POSITIONS = 6
X = np.random.default_rng(1).normal(size=(5, 2, 4, 3)).astype(np.float32)


def network(batch: str | int = "N", rows: str | int = 4) -> bytes:
    """A convolution that is used six times, in two groups, and a dense layer."""
    rng = np.random.default_rng(0)
    weights = {"k": (4, 1, 2, 2), "w": (4 * POSITIONS, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["h"], "conv", group=2),
        helper.make_node("Flatten", ["h"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"], "fc"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", 1, [batch, 2, rows, 3])],
        [helper.make_tensor_value_info("y", 1, [batch, 3])],
        [
            numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def plain() -> Compiled:
    return onnx2mzi.compile(network(), ports=4)


@pytest.fixture(scope="module")
def chip() -> Compiled:
    return onnx2mzi.compile(network(), ports=4, unroll=["conv"])


def rows(chip: Compiled, key: str) -> dict[str, Any]:
    return {row["name"]: row[key] for row in chip.report["layers"]}


def test_every_position_has_its_layer(plain: Compiled, chip: Compiled) -> None:
    assert rows(plain, "uses") == {"conv__0": 6, "conv__1": 6, "fc": 1}
    uses = rows(chip, "uses")
    assert len(uses) == 2 * POSITIONS + 1
    assert set(uses.values()) == {1}
    assert list(uses)[:3] == ["conv__0", "conv__0__copy1", "conv__0__copy2"]
    assert rows(chip, "copy_of")["conv__1__copy5"] == "conv__1"
    assert not verify(chip.program)


@pytest.mark.parametrize(
    "key",
    [
        "mzis_reference", "mzis_exact", "mzis", "phases_reference", "phases_exact",
        "phases_active", "phases_passive", "power_reference_mw", "power_exact_mw", "power_mw",
        "pads", "drivers",
    ],
)  # fmt: skip
def test_counts_are_multiplied(plain: Compiled, chip: Compiled, key: str) -> None:
    once = rows(plain, key)
    assert rows(chip, key)["conv__1__copy3"] == once["conv__1"]
    total = POSITIONS * (once["conv__0"] + once["conv__1"]) + once["fc"]
    assert chip.report[key] == pytest.approx(total, rel=1e-12)
    assert plain.report[key] == pytest.approx(sum(once.values()), rel=1e-12)


def test_the_network_computes_the_same(plain: Compiled, chip: Compiled) -> None:
    assert np.array_equal(chip.run(X)["y"], plain.run(X)["y"])
    assert chip.report["max_rel_error"] == plain.report["max_rel_error"]


def test_each_copy_takes_the_vectors_of_its_position(plain: Compiled, chip: Compiled) -> None:
    whole = HostRunner(host(plain.program)).layer_inputs({}, plain.program.layers, {"x": X})
    parts = HostRunner(host(chip.program)).layer_inputs({}, chip.program.layers, {"x": X})
    names = ["conv__1", *(f"conv__1__copy{k}" for k in range(1, POSITIONS))]
    for k, name in enumerate(names):
        assert np.array_equal(parts[name], whole["conv__1"][:, k::POSITIONS])
        assert parts[name].shape[1] == len(X)


def host(program: Program) -> Any:
    assert program.host is not None
    return program.host


def test_files_have_every_copy(chip: Compiled, tmp_path: Any) -> None:
    files = chip.save(tmp_path / "out", emit="ir,phases,onnx,report")
    lines = files["phases.csv"].read_text().splitlines()
    alike = {
        name: [line.split(",")[7:9] for line in lines if line.split(",")[1] == name]
        for name in ("conv__0", "conv__0__copy4")
    }
    assert alike["conv__0"]
    assert len(alike["conv__0"]) == len(alike["conv__0__copy4"])
    again = onnx2mzi.load(tmp_path / "out")
    assert identical(again.program, chip.program)
    assert np.array_equal(again.run(X)["y"], chip.run(X)["y"])
    text, arrays = print_program(chip.program)
    assert identical(parse_program(text, arrays), chip.program)


def test_all_and_by_layer(plain: Compiled) -> None:
    one = onnx2mzi.compile(network(), ports=4, unroll=["conv__1"])
    assert len(one.program.layers) == 3 + POSITIONS - 1
    every = onnx2mzi.compile(network(), ports=4, unroll="all")
    assert len(every.program.layers) == 2 * POSITIONS + 1
    # Nothing is used more than once.
    dense = onnx2mzi.compile(network(), ports=4, unroll=["fc"])
    assert len(dense.program.layers) == len(plain.program.layers)


def test_what_cannot_be_unrolled(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no layer is called 'cone'") as caught:
        onnx2mzi.compile(network(), unroll=["cone"])
    assert "conv" in caught.value.hint
    open_shape = network(rows="H")
    shapes = {"x": (1, 2, 4, 3)}
    with pytest.raises(UsageError, match="the pipeline says itself"):
        onnx2mzi.compile(network(), "tile,unroll", unroll=["conv"])
    chip = onnx2mzi.compile(open_shape, unroll=["conv"], input_shapes=shapes)
    assert len(chip.program.layers) == 2 * POSITIONS + 1
    monkeypatch.setattr(unroll, "MOST_COPIES", POSITIONS - 1)
    with pytest.raises(FitError, match="used 6 times, more than 5 copies"):
        onnx2mzi.compile(network(), unroll=["conv"])
    monkeypatch.setattr(unroll, "MOST_COPIES", POSITIONS)
    monkeypatch.setattr(unroll, "MOST_MZIS", 50)
    with pytest.raises(FitError, match="more than 50"):
        onnx2mzi.compile(network(), unroll=["conv"])


@pytest.mark.parametrize("step", ["prune", "quantize{bits=8}", "canonicalize", "unroll"])
def test_nothing_changes_copies(step: str) -> None:
    pipeline = onnx2mzi.Pipeline.parse(f"tile,svd,decompose,unroll,{step},place")
    with pytest.raises(UsageError, match="made copies of them"):
        onnx2mzi.compile(network(), pipeline, ports=4)


def test_broken_copies_are_told(chip: Compiled) -> None:
    program = chip.program
    first, second, *_ = program.layers

    def told(*layers: Any) -> str:
        return "; ".join(map(str, verify(replace(program, layers=layers, placement=None))))

    assert "a copy of 'gone', which is not there" in told(first, replace(second, copy_of="gone"))
    assert "turn 1 of 6 and a copy of ''" in told(first, replace(second, copy_of=""))
    other = replace(second, weight=2 * second.weight)
    assert "is unlike the layer 'conv__0'" in told(first, other)
    moved = replace(second, operand=replace(second.operand, binding="else"))
    assert "with another operand" in told(first, moved)


def test_in_a_list_of_passes_it_comes_behind_what_changes_meshes() -> None:
    chip = onnx2mzi.compile(network(), "prune,unroll", ports=4)
    names = [step.partition("{")[0] for step in chip.program.history]
    assert names[-2:] == ["unroll", "place"]
    assert len(chip.program.layers) == 2 * POSITIONS + 1

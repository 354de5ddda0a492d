"""Whole compiles of models, data and chips that are unusual but right, and what must hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx2mzi
from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.ir import MeshTile
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import Detection, load_technology
from onnx2mzi.train.biases import with_constants

F32 = TensorProto.FLOAT


def matmul(w: np.ndarray, batch: int | str = "N") -> bytes:
    n, m = w.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "fc")],
        "matmul",
        [helper.make_tensor_value_info("x", F32, [batch, n])],
        [helper.make_tensor_value_info("y", F32, [batch, m])],
        [numpy_helper.from_array(w.astype(np.float32), "w")],
    )
    versions = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=versions, ir_version=9).SerializeToString())


def test_a_fixed_batch_may_have_labels() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 6)).astype(np.float32)
    data: dict[str, Any] = {"x": x, "y": rng.integers(0, 4, 32)}
    chip = onnx2mzi.compile(matmul(rng.standard_normal((6, 4)), 8), "prune", data=data, test=data)
    assert 0.0 <= chip.report["accuracy"] <= 1.0


def test_a_single_number_is_no_data() -> None:
    model = matmul(np.eye(3))
    with pytest.raises(InputError, match="is a single number"):
        onnx2mzi.compile(model, data={"x": np.array(3, np.float32)})


def test_a_made_chip_has_the_program_s_biases(tiny_onnx: bytes, tmp_path: Path) -> None:
    """Not the model's, where training has moved them."""
    x = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    chip = onnx2mzi.compile(tiny_onnx, data={"x": x})
    host = chip.program.host
    assert host is not None
    biases = onnx.ModelProto.FromString(host.model).graph.initializer
    name = next(value.name for value in biases if list(value.dims) == [3])
    moved = with_constants(host, {name: np.array([9, 0, 0], np.float32)})
    program = replace(chip.program, host=moved)
    replace(chip, emission=replace(chip.emission, program=program)).save(tmp_path / "a", emit="ir")
    table = tmp_path / "errors.csv"
    table.write_text("id,phase_error_rad\n", encoding="utf-8")
    found = onnx2mzi.compile(
        str(tmp_path / "a" / "program.mzi"), data={"x": x}, measured=table
    ).report
    assert found["max_rel_error"] > 0.1
    assert found["max_rel_error_made"] == pytest.approx(found["max_rel_error"])
    assert found["max_rel_error_recalibrated"] == pytest.approx(found["max_rel_error"])


def test_a_broken_heater_is_not_used_behind_cool(tiny_onnx: bytes) -> None:
    """`cool` moves channels: what is broken is a place of the chip that is made."""
    plain = onnx2mzi.compile(tiny_onnx, "cool")
    (tile, *_) = plain.program.layers[0].grids[0].tiles
    assert isinstance(tile, MeshTile)
    for port in np.flatnonzero(tile.sigma.state == ShifterState.ACTIVE):
        broken = (f"fc1.g0.t0.s.c0.p{port}.sigma",)
        made = onnx2mzi.compile(tiny_onnx, "cool", broken=broken)
        (now, *_) = made.program.layers[0].grids[0].tiles
        assert isinstance(now, MeshTile)
        assert now.sigma.state[port] != ShifterState.ACTIVE


def test_codes_of_mixed_bits_may_be_rounded_again(tiny_onnx: bytes) -> None:
    steps = "tile,svd,decompose,canonicalize,quantize{bits=5 mixed=true},quantize{bits=3}"
    program = onnx2mzi.compile(tiny_onnx, onnx2mzi.Pipeline.parse(steps)).program
    assert program.drive_code is not None and program.drive_code.bits == 3
    assert all(layer.drive_code is None for layer in program.layers)


def test_push_pull_chips_have_no_arms_to_choose(tiny_onnx: bytes) -> None:
    said: list[str] = []
    technology = replace(load_technology("cornerstone_si220"), drive=Drive.PUSH_PULL)
    onnx2mzi.compile(tiny_onnx, "cancel", tech=technology, log=said.append)
    assert any("arms stay as they are" in line for line in said)


def test_a_chip_without_heaters_needs_no_trims() -> None:
    chip = onnx2mzi.compile(matmul(np.zeros((5, 4))), "trim{against=heat}")
    assert chip.report["phases_active"] == 0


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"drive": Drive.UPPER_ARM}, "drive = arm-choice, and the technology has upper-arm"),
        ({"drive": Drive.PUSH_PULL}, "drive = arm-choice, and the technology has push-pull"),
        ({"detection": Detection.INPHASE}, "detection = iq, and the technology has inphase"),
    ],
)
def test_a_program_is_not_taken_up_for_heaters_or_receivers_that_it_has_not(
    tiny_onnx: bytes, tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    onnx2mzi.compile(tiny_onnx).save(tmp_path / "a", emit="ir")
    technology = replace(load_technology("cornerstone_si220"), **other)
    with pytest.raises(UsageError, match=said):
        onnx2mzi.compile(tmp_path / "a" / "program.mzi", tech=technology)


def test_a_textbook_chip_is_taken_up_for_any_technology(tiny_onnx: bytes, tmp_path: Path) -> None:
    onnx2mzi.compile(tiny_onnx, 0).save(tmp_path / "a", emit="ir")
    technology = replace(load_technology("cornerstone_si220"), drive=Drive.UPPER_ARM)
    assert onnx2mzi.compile(tmp_path / "a" / "program.mzi", tech=technology).report["mzis"]


def test_heaters_on_codes_are_not_trimmed(tiny_onnx: bytes) -> None:
    with pytest.raises(UsageError, match="on a driver's codes already"):
        onnx2mzi.compile(tiny_onnx, "quantize{bits=5},trim")


def test_copies_of_a_program_that_is_taken_up_stay_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], "c", strides=[2, 2]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", F32, ["N", 1, 4, 4])],
        [helper.make_tensor_value_info("y", F32, ["N", 12])],
        [numpy_helper.from_array(rng.standard_normal((3, 1, 2, 2)).astype(np.float32), "k")],
    )
    versions = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=9).SerializeToString()
    onnx2mzi.compile(model, "unroll").save(tmp_path / "a", emit="ir")
    again = tmp_path / "a" / "program.mzi"
    assert len(onnx2mzi.compile(again).program.layers) == 4
    with pytest.raises(UsageError, match="made copies"):
        onnx2mzi.compile(again, onnx2mzi.Pipeline.parse("trim{share=0.5},place"))

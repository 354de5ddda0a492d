"""Phases set by training: on codes, against noise, what stays as it was, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx2mzi
from onnx2mzi.cli import main
from onnx2mzi.driver.compile import compile_model
from onnx2mzi.driver.options import Ears, Options
from onnx2mzi.emulate.imperfect import imperfect_program, mesh_tiles
from onnx2mzi.errors import UsageError, VerificationError
from onnx2mzi.ir import MeshTile, Program
from onnx2mzi.passes.finetune import STEPS, Tuning
from onnx2mzi.physics.mzi import attenuation
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.pipeline.kept import Kept
from onnx2mzi.tech import load_technology


def _samples(tiny_onnx: bytes) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    answers = onnx2mzi.compile(tiny_onnx).run_original(x)["y"].argmax(axis=1)
    return {"x": x, "y": answers}


def test_trained_codes_are_codes_and_beat_the_nearest(tiny_onnx: bytes) -> None:
    pytest.importorskip("torch")
    data = _samples(tiny_onnx)
    nearest, trained = (
        onnx2mzi.compile(
            tiny_onnx,
            optimize=f"canonicalize,quantize{{bits=3 rounding={rounding} max_drop=1 lr=0.01}}",
            data=data,
        )
        for rounding in ("nearest", "trained")
    )
    assert trained.report["changed_answers"] < nearest.report["changed_answers"]
    assert trained.report["phases_active"] <= nearest.report["phases_active"]
    code = DriveCode(3, CodeLaw.PHASE)
    for _, tile in mesh_tiles(imperfect_program(trained.program, trained.emission.technology)):
        for heaters in (tile.v.theta, tile.u.theta, tile.sigma.theta):
            made = heaters.phase_rad[heaters.active > 0]
            np.testing.assert_allclose(code.nearest_rad(made, heaters.drive), made, atol=1e-9)


def test_training_against_noise_keeps_the_heaters(tiny_onnx: bytes) -> None:
    pytest.importorskip("torch")
    data = _samples(tiny_onnx)
    text = "finetune{phase_noise=0.05 split_noise=0.05 epochs=20 max_drop=1}"
    before = onnx2mzi.compile(tiny_onnx, optimize="canonicalize", data=data)
    after = onnx2mzi.compile(tiny_onnx, optimize=f"canonicalize,{text}", data=data)
    assert after.report["phases_active"] == before.report["phases_active"]
    assert 0 < after.report["max_rel_error"] < 0.5
    again = onnx2mzi.compile(tiny_onnx, optimize=f"canonicalize,{text}", data=data)
    assert again.report["max_rel_error"] == after.report["max_rel_error"]


@pytest.mark.parametrize("text", ["finetune", "quantize{rounding=trained}"])
def test_without_data_there_is_nothing_to_train_on(tiny_onnx: bytes, text: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match=r"needs samples|data"):
        onnx2mzi.compile(tiny_onnx, optimize=f"canonicalize,{text}")


def _tiles(program: Program) -> Iterator[MeshTile]:
    for layer in program.layers:
        for grid in layer.grids:
            yield from (tile for tile in grid.tiles if isinstance(tile, MeshTile))


def _complex_onnx(n: int = 4) -> bytes:
    """A complex matrix n x n on the real and imaginary parts of a vector."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, n, n)) / np.sqrt(n)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "m1")],
        "net",
        [value("x", TensorProto.FLOAT, ["N", 2 * n])],
        [value("y", TensorProto.FLOAT, ["N", 2 * n])],
        [numpy_helper.from_array(np.block([[a, b], [-b, a]]).astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every step that is taken."""
    pytest.importorskip("torch")
    from onnx2mzi.train.loop import Trainer

    taken: list[int] = []
    step = Trainer._step

    def counted(self: Trainer, *given: Any) -> float:
        taken.append(len(taken))
        return step(self, *given)

    monkeypatch.setattr(Trainer, "_step", counted)
    return taken


@pytest.mark.parametrize("passive", ["common", "none"])
@pytest.mark.parametrize("start", ["trim{share=1.0}", "trim{share=0.4}"])
@pytest.mark.parametrize(
    "text", ["finetune{epochs=1 max_drop=1}", "quantize{rounding=trained epochs=1 max_drop=1}"]
)
def test_trim_heaters_stay(tiny_onnx: bytes, start: str, text: str, passive: str) -> None:
    pytest.importorskip("torch")
    data = _samples(tiny_onnx)
    before, after = (
        onnx2mzi.compile(tiny_onnx, optimize=f"canonicalize,{pass_}", data=data, passive=passive)
        for pass_ in (start, f"{start},{text}")
    )
    assert after.report["phases_active"] == before.report["phases_active"]
    for old, new in zip(_tiles(before.program), _tiles(after.program), strict=True):
        for was, now in ((old.v, new.v), (old.u, new.u)):
            assert np.array_equal(was.phi_state, now.phi_state)


@pytest.mark.parametrize(
    ("text", "drive"),
    [
        *(("finetune{epochs=5 lr=0.05 max_drop=1}", drive) for drive in Drive),
        ("finetune{epochs=5 lr=0.05 max_drop=1 phase_noise=0.02}", Drive.ARM_CHOICE),
        ("quantize{bits=10 rounding=trained epochs=5 lr=0.05 max_drop=1}", Drive.ARM_CHOICE),
    ],
)
def test_heaters_of_one_driver_keep_it(tiny_onnx: bytes, text: str, drive: Drive) -> None:
    pytest.importorskip("torch")
    data = _samples(tiny_onnx)
    tech = replace(load_technology("cornerstone_si220"), drive=drive)
    shared = "tile,svd,decompose,canonicalize,prune{method=cluster target=0.5 levels=2 epochs=3}"
    before, after = (
        compile_model(tiny_onnx, Options(passes=f"{passes},place", data=data, tech=tech))
        for passes in (shared, f"{shared},{text}")
    )
    assert 2 * before.report["drivers"] < before.report["phases_active"]
    assert after.report["phases_active"] == before.report["phases_active"]
    assert after.report["drivers"] <= before.report["drivers"]
    moved = [
        np.abs(new.v.theta_rad - old.v.theta_rad).max(initial=0.0)
        for old, new in zip(_tiles(before.program), _tiles(after.program), strict=True)
    ]
    assert max(moved) > 0.01


def test_couplers_of_powers_of_two_stay_such(tiny_onnx: bytes) -> None:
    pytest.importorskip("torch")
    chip = onnx2mzi.compile(
        tiny_onnx,
        optimize="canonicalize,quantize{rounding=trained sigma=power-of-two epochs=20 lr=0.02 "
        "max_drop=1}",
        data=_samples(tiny_onnx),
    )
    passive = 0
    for tile in _tiles(chip.program):
        assert not np.any(tile.sigma.state == ShifterState.ACTIVE)
        passive += int(np.count_nonzero(tile.sigma.state == ShifterState.PASSIVE))
        octaves = np.log2(attenuation(theta_rad=tile.sigma.theta_rad))
        np.testing.assert_allclose(octaves, np.round(octaves), atol=1e-9)
    assert passive > 2


def test_codes_of_complex_layers_are_not_trained(steps: list[int]) -> None:
    x = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    with pytest.raises(UsageError, match="'m1', which is complex") as error:
        onnx2mzi.compile(
            _complex_onnx(), optimize="quantize{rounding=trained max_drop=1}", data={"x": x}
        )
    assert "rounding=sequential" in error.value.hint
    assert not steps


def test_a_complex_layer_that_loses_shared_drivers_says_so() -> None:
    pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    said: list[str] = []
    text = "prune{method=cluster levels=3 target=0.2 epochs=1},finetune{epochs=1 max_drop=1}"
    compile_model(_complex_onnx(), Options(optimize=text, data={"x": x}), Ears(log=said.append))
    assert any("'m1'" in line and "drivers, now" in line for line in said)


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        ("quantize{bits=1 rounding=trained epochs=1}", "rounding=trained", "more bits"),
        ("finetune{phase_noise=1.5 lr=0.05 epochs=20 max_drop=0}", "finetune", "less noise"),
    ],
)
def test_what_training_loses_is_no_bug(
    tiny_onnx: bytes, text: str, place: str, remedy: str
) -> None:
    pytest.importorskip("torch")
    with pytest.raises(VerificationError, match=r"worse by 0\.\d+, it may by 0") as error:
        onnx2mzi.compile(tiny_onnx, optimize=f"canonicalize,{text}", data=_samples(tiny_onnx))
    assert place in error.value.where
    assert remedy in error.value.hint and "larger max_drop" in error.value.hint


def test_without_noise_a_training_that_loses_too_much_is_dropped(tiny_onnx: bytes) -> None:
    pytest.importorskip("torch")
    said: list[str] = []
    data = _samples(tiny_onnx)
    text = "canonicalize,finetune{lr=9 epochs=1 max_drop=0}"
    chip = compile_model(tiny_onnx, Options(optimize=text, data=data), Ears(log=said.append))
    assert any("the phases stay" in line for line in said)
    assert chip.report["max_rel_error"] < 1e-9


@pytest.mark.parametrize("count", [4, 8, 20, 50, 63, 200, 1000, 100_000])
def test_few_samples_make_no_more_steps(count: int) -> None:
    batch, epochs = Tuning(where="").steps_of(count)
    assert batch <= count
    made = round(epochs * (count // batch))
    assert made == STEPS if count <= 10_000 else made > STEPS


def test_steps_are_counted_on_the_samples_that_there_are(
    tiny_onnx: bytes, steps: list[int]
) -> None:
    data = {name: array[:8] for name, array in _samples(tiny_onnx).items()}
    onnx2mzi.compile(tiny_onnx, optimize="canonicalize,finetune{max_drop=1}", data=data)
    assert len(steps) == STEPS


@pytest.mark.parametrize("text", ["finetune", "quantize{rounding=trained}"])
def test_the_time_limit_of_the_command_line_ends_training(
    tiny_onnx: bytes,
    text: str,
    steps: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.onnx").write_bytes(tiny_onnx)
    data = _samples(tiny_onnx)
    np.savez("data.npz", x=data["x"], y=data["y"])
    words = ["tiny.onnx", "-O", f"canonicalize,{text}", "--data", "data.npz", "--max-drop", "99%"]
    assert main([*words, "--time-limit", "0", "--emit", "report"]) == 0
    assert not steps
    assert "the time is up" in capsys.readouterr().err


def test_an_interrupted_training_is_taken_up(
    tiny_onnx: bytes, steps: list[int], tmp_path: Path
) -> None:
    def chip(folder: Path) -> onnx2mzi.Compiled:
        options = Options(
            optimize="canonicalize,finetune{max_drop=1 epochs=3}",
            data=_samples(tiny_onnx),
        )
        return compile_model(tiny_onnx, options, Ears(kept=Kept(lambda: folder)))

    first = chip(tmp_path)
    taken = len(steps)
    assert taken > 0 and list(tmp_path.glob("tune-*.done.pt"))
    again = chip(tmp_path)
    assert len(steps) == taken
    assert again.report["max_rel_error"] == first.report["max_rel_error"] > 0

"""Compiles that are killed: no output or a whole one, and --resume goes on to the same bytes."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2mzi.driver.locks import locked
from onnx2mzi.driver.output import read_manifest, staged
from onnx2mzi.driver.resume import keeping, resume_folder
from onnx2mzi.errors import InputError
from onnx2mzi.ir import Program, identical
from onnx2mzi.pipeline.kept import Kept, run_kept

WIDTHS = (64, 96, 96, 64)
OPTIONS = ("--ports", "16", "--emit", "ir,phases,onnx", "--workers", "1")
KILLS = 20
KILL_SECONDS = 15.0


def model(path: Path) -> Path:
    """A perceptron that takes a few seconds."""
    rng = np.random.default_rng(1)
    nodes, weights, last = [], [], "x"
    for k, (n, m) in enumerate(pairwise(WIDTHS)):
        weights.append(numpy_helper.from_array(rng.normal(size=(n, m)).astype(np.float32), f"w{k}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{k}"], [f"h{k}"], f"fc{k}"))
        last = f"h{k}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTHS[0]])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", WIDTHS[-1]])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, path)
    return path


def command(folder: Path, output: str, *more: str) -> list[str]:
    words = [str(folder / "net.onnx"), "-o", str(folder / output), *OPTIONS, *more]
    return [sys.executable, "-m", "onnx2mzi", *words]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_kills_leave_nothing_or_all_and_resume_completes(tmp_path: Path) -> None:
    model(tmp_path / "net.onnx")
    start = time.monotonic()
    subprocess.run(command(tmp_path, "whole"), check=True, capture_output=True)
    seconds = time.monotonic() - start
    expected = contents(tmp_path / "whole")
    target = tmp_path / "killed"
    rng = random.Random(0)
    deadline = time.monotonic() + KILL_SECONDS
    killed = 0
    for _ in range(KILLS):
        if time.monotonic() > deadline and killed > 2:
            break
        process = subprocess.Popen(
            command(tmp_path, "killed", "--resume"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.1, 1.0) * min(seconds, 4.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += process.returncode == -signal.SIGKILL
        if target.exists():
            assert contents(target) == expected
    assert killed > 0
    ended = subprocess.run(command(tmp_path, "killed", "--resume"), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert contents(target) == expected
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"net.onnx", "whole", "killed"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_finished_layers_are_not_done_again(tmp_path: Path) -> None:
    model(tmp_path / "net.onnx")
    subprocess.run(command(tmp_path, "whole"), check=True, capture_output=True)
    process = subprocess.Popen(
        command(tmp_path, "out", "--resume"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    kept = resume_folder(tmp_path / "out")
    while process.poll() is None and len(list(kept.glob("[!.]*.mzi"))) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    ended = subprocess.run(command(tmp_path, "out", "--resume"), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "finished layers or passes were taken up again" in ended.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not kept.exists()


def folder_of(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def test_programs_come_back_bit_by_bit(make_program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    program: Program = make_program(3)
    kept = Kept(lambda: folder_of(tmp_path / "kept"))
    layer = program.layers[0]
    assert kept.layer("step", program, layer) is None
    kept.keep_layer("step", program, layer, layer)
    found = kept.layer("step", program, layer)
    assert found is not None
    assert identical(found, layer)
    assert kept.layer("other", program, layer) is None
    single = replace(program, layers=(layer,))
    assert kept.layer("step", single, layer) is not None
    assert kept.program("step", single) is None
    kept.keep_program("step", program, program)
    again = kept.program("step", program)
    assert again is not None
    assert identical(again, program)
    assert run_kept(lambda given: pytest.fail("run again"), "step", program, kept) is not program
    for path in (tmp_path / "kept").glob("*.mzi"):
        path.write_text("mzi")
    assert kept.layer("step", program, layer) is None
    assert kept.program("step", program) is None


def test_quick_work_is_not_kept(make_program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    program: Program = make_program(3)
    patient = Kept(lambda: folder_of(tmp_path / "kept"), patience_s=1000.0)
    patient.keep_program("step", program, program)
    kept = Kept(lambda: folder_of(tmp_path / "kept"))
    assert run_kept(lambda given: given, "step", program, kept) is program
    assert not any((tmp_path / "kept").iterdir())


def test_work_of_another_compile_goes(tmp_path: Path) -> None:
    target = tmp_path / "chip"
    with pytest.raises(KeyboardInterrupt), keeping(target, "a", resume=True) as kept:
        assert kept is not None
        assert kept.folder() == resume_folder(target)
        (resume_folder(target) / "work").write_text("x")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), keeping(target, "a", resume=True):
        assert (resume_folder(target) / "work").exists()
        with keeping(target, "a", resume=True) as second:
            assert second is None
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), keeping(target, "b", resume=True):
        assert not (resume_folder(target) / "work").exists()
        raise KeyboardInterrupt
    with pytest.raises(InputError), keeping(target, "b", resume=True):
        raise InputError("no")
    assert not resume_folder(target).exists()
    with keeping(target, "a", resume=False):
        pass
    assert not any(tmp_path.iterdir())


def test_half_made_folders_of_the_dead_are_swept(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".chip.dead.part", tmp_path / ".chip.alive.part"
    unborn = tmp_path / ".chip.unborn.part"
    unborn.mkdir()
    for path in (dead, alive):
        path.mkdir()
        (path / "phases.csv").write_text("id")
    with locked(alive) as mine:
        assert mine
        with staged(tmp_path / "chip") as stage:
            (stage / "manifest.json").write_text('{"tool": "onnx2mzi"}')
        assert not dead.exists()
        assert not unborn.exists()
        assert alive.exists()
    assert read_manifest(tmp_path / "chip") is not None
    with locked(tmp_path / "nowhere") as mine:
        assert not mine
    assert os.listdir(tmp_path / "chip") == ["manifest.json"]


def test_a_folder_swept_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    @contextlib.contextmanager
    def first_is_lost(folder: Path) -> Iterator[bool]:
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()
        with locked(folder) as held:
            yield held

    monkeypatch.setattr("onnx2mzi.driver.output.locked", first_is_lost)
    with staged(tmp_path / "chip") as stage:
        (stage / "manifest.json").write_text('{"tool": "onnx2mzi"}')
    assert len(made) == 2
    assert os.listdir(tmp_path) == ["chip"]

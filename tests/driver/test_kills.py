"""Larger compiles killed at random moments, and while they write: nothing or all, then the same."""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2mzi.driver.resume import resume_folder

KILLS = 10
WIDTHS = (128, 192, 192, 128)

pytestmark = [
    pytest.mark.whole,
    pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL"),
]


def model(path: Path, widths: tuple[int, ...]) -> None:
    """A perceptron of random weights."""
    rng = np.random.default_rng(1)
    nodes, weights, last = [], [], "x"
    for k, (n, m) in enumerate(pairwise(widths)):
        weights.append(numpy_helper.from_array(rng.normal(size=(n, m)).astype(np.float32), f"w{k}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{k}"], [f"h{k}"], f"fc{k}"))
        last = f"h{k}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", widths[0]])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", widths[-1]])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, path)


def command(folder: Path, output: str, *more: str) -> list[str]:
    words = [str(folder / "net.onnx"), "-o", str(folder / output), "--ports", "16", *more]
    return [sys.executable, "-m", "onnx2mzi", *words]


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def started(folder: Path, *more: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command(folder, "killed", *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def killed(process: "subprocess.Popen[bytes]") -> bool:
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def survives(folder: Path, widths: tuple[int, ...], kills: int, *more: str) -> Counter[str]:
    """Kill a compile at random moments; what was seen. Every other one begins anew."""
    model(folder / "net.onnx", widths)
    start = time.monotonic()
    subprocess.run(command(folder, "whole", *more), check=True, capture_output=True)
    seconds = time.monotonic() - start
    expected, target = contents(folder / "whole"), folder / "killed"
    rng, seen = random.Random(0), Counter[str]()
    for k in range(kills):
        process = started(folder, *more, *["--resume"][: k % 2])
        time.sleep(rng.uniform(0.05, 1.0) * seconds)
        seen["killed" if killed(process) else "was done"] += 1
        seen["kept work"] += resume_folder(target).is_dir()
        if target.exists():
            seen["whole output"] += 1
            assert contents(target) == expected
            shutil.rmtree(target)
        else:
            seen["no output"] += 1
    subprocess.run(command(folder, "killed", *more, "--resume"), check=True, capture_output=True)
    assert contents(target) == expected
    assert {path.name for path in folder.iterdir()} == {"net.onnx", "whole", "killed"}
    return seen


@pytest.mark.parametrize("workers", [1, 2])
def test_kills_at_random_moments(tmp_path: Path, workers: int) -> None:
    seen = survives(tmp_path, WIDTHS, KILLS, "--workers", str(workers))
    print(f"{KILLS} compiles, {workers} workers: {dict(seen)}")
    assert seen["killed"] > KILLS // 2
    assert seen["no output"] > 0


@pytest.mark.parametrize("file", ["design.gds", "phases.csv", "report.html", "manifest.json"])
def test_a_kill_while_files_are_written(tmp_path: Path, file: str) -> None:
    model(tmp_path / "net.onnx", WIDTHS[:2])
    subprocess.run(command(tmp_path, "whole"), check=True, capture_output=True)
    process = started(tmp_path, "--resume")
    while process.poll() is None and not list(tmp_path.glob(f".killed.*.part/{file}")):
        time.sleep(0.001)
    died = killed(process)
    assert (tmp_path / "killed").exists() != died or file == "manifest.json"
    ended = subprocess.run(command(tmp_path, "killed", "--resume"), check=True, capture_output=True)
    assert ended.returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "whole", "killed"}


def test_finished_layers_are_not_done_again(tmp_path: Path) -> None:
    more = ("--emit", "ir,phases,onnx", "--workers", "1")
    model(tmp_path / "net.onnx", WIDTHS)
    subprocess.run(command(tmp_path, "whole", *more), check=True, capture_output=True)
    process = started(tmp_path, *more, "--resume")
    kept = resume_folder(tmp_path / "killed")
    while process.poll() is None and len(list(kept.glob("[!.]*.mzi"))) < 3:
        time.sleep(0.01)
    assert killed(process)
    assert not (tmp_path / "killed").exists()
    words = command(tmp_path, "killed", *more, "--resume")
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "finished layers or passes were taken up again" in ended.stderr
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not kept.exists()

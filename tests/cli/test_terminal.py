"""Colour and progress on terminals only; processes that are interrupted leave nothing."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onnx2mzi.cli import render, terminal
from onnx2mzi.cli.terminal import Log, colored, paint


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colored(Terminal(), no_color=False)
    assert not colored(Terminal(), no_color=True)
    assert not colored(io.StringIO(), no_color=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colored(Terminal(), no_color=False)
    assert paint("x", "good", color=False) == "x"
    assert paint("x", "good", color=True) == "\x1b[32mx\x1b[0m"


def test_levels_of_the_log() -> None:
    for level, expected in ((0, ""), (1, "onnx2mzi: a\n"), (2, "onnx2mzi: a\nonnx2mzi: b\n")):
        stream = io.StringIO()
        log = Log(level, stream)
        log.say("a")
        log.detail("b")
        assert stream.getvalue() == expected


def test_progress_is_for_long_work_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(terminal, "monotonic", lambda: now[0])
    for stream, level, expected in ((Terminal(), 1, True), (io.StringIO(), 1, False),
                                    (Terminal(), 0, False)):  # fmt: skip
        now[0] = 0.0
        log = Log(level, stream)
        log.progress("tiles", 1, 4)
        assert stream.getvalue() == ""
        now[0] = 2.5
        log.progress("tiles", 2, 4)
        log.say("still there")
        log.progress("tiles", 4, 4)
        log.close()
        assert ("tiles" in stream.getvalue()) is expected


def test_one_bar_follows_a_thing_through_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(terminal, "monotonic", lambda: now[0])
    stream = Terminal()
    log = Log(1, stream)
    for done in range(1, 4):
        now[0] += 1.5
        log.progress(f"decompose, layer {done}/4", done, 4)
    log.close()
    assert "decompose, layer 3/4" in stream.getvalue()
    assert "3/4" in stream.getvalue().replace("layer 3/4", "")


def test_long_names_lose_their_middle() -> None:
    name = "/model/encoder/layers.0/self_attn/q_proj/MatMul"
    short = render.shortened(name)
    assert len(short) == render.NAME_WIDTH
    assert short.startswith("/model/enc")
    assert short.endswith("MatMul")
    assert render.shortened("fc1") == "fc1"


def test_unknown_numbers_are_dashes() -> None:
    assert render.count(None) == render.power(None) == render.number(None) == "-"
    assert render.share(None, 3) == render.share(3, None) == render.share(3, 0) == "-"
    assert render.change(4, None) == "4 -> -"


SLOW = '''
from dataclasses import dataclass
import time
import onnx2mzi
from onnx2mzi.ir import Stage
from onnx2mzi.pipeline.backend import Backend
from onnx2mzi.driver.plugins import BACKENDS

@BACKENDS.register
@dataclass(frozen=True)
class Slow(Backend):
    """Writes half a file and waits."""
    name = "slow"

    def write(self, emission, directory):
        (directory / "half.txt").write_text("half")
        print("writing", flush=True)
        time.sleep(60)
        return ()
'''


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_process_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    (folder / "slow.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, "-m", "onnx2mzi", "tiny.onnx", "--plugin", "slow.py", "--emit", "ir,slow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert any(path.name.startswith(".tiny_mzi.") for path in folder.iterdir())
    time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "onnx2mzi: interrupted; nothing was written"
    assert sorted(path.name for path in folder.iterdir()) == ["slow.py", "tiny.onnx"]


def test_a_pipe_that_closes_early_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m onnx2mzi passes | true"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert done.returncode == 0
    assert done.stderr == ""

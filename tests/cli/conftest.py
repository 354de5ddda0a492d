"""The command line in this process: what it returns and prints."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from onnx2mzi.cli import main


class Said(NamedTuple):
    """Exit code and both streams."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_onnx: bytes) -> Path:
    """The current folder, with tiny.onnx in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx)
    return tmp_path


@pytest.fixture
def cli(folder: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("tiny.onnx", "-O2")`: run a command; 4 ports and quick back ends unless told."""

    def run(*words: str) -> Said:
        code = main(list(words))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run

"""torch is not needed, and not loaded, before training is asked for."""

import subprocess
import sys

import pytest

from onnx2mzi.errors import UsageError
from onnx2mzi.train import extra

CODE = """
import sys
import onnx2mzi.cli, onnx2mzi.driver.compile, onnx2mzi.passes.prune.prune
assert "torch" not in sys.modules
from onnx2mzi.driver.options import Options, pipeline_of
text = str(pipeline_of(Options(optimize="prune{method=imp target=0.5}")))
assert "method=imp" in text and "torch" not in sys.modules
"""


def test_nothing_loads_torch_before_it_trains() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)


def test_a_missing_extra_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    assert not extra.there()
    with pytest.raises(UsageError, match="PyTorch") as error:
        extra.need("prune{method=imp}")
    assert "onnx2mzi[train]" in str(error.value) and "\n" not in str(error.value)

"""Every bad file through the command line: one line, exit code 3, soon, small, nothing written."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from onnx2mzi.frontend import import_model

SECONDS, MEGABYTES = 2.0, 500
# All files in one process: its peak is that of the worst.
CHILD = """
import json, resource, sys, time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from onnx2mzi.cli import main

for line in sys.stdin:
    name, path, target = json.loads(line)
    out, err = StringIO(), StringIO()
    start = time.process_time()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([path, "-o", target, "-O0"])
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([name, code, seconds, peak, out.getvalue(), err.getvalue()]), flush=True)
"""


def loaded(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


BAD = loaded("bad_files")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Any]]]:
    folder = tmp_path_factory.mktemp("bad")
    files = BAD.write(folder, BAD.all_bad())
    lines = [json.dumps([name, str(p), str(folder / "out")]) for name, p in files.items()]
    before = sorted(folder.rglob("*"))
    child = subprocess.run(
        [sys.executable, "-c", CHILD], input="\n".join(lines), capture_output=True, text=True
    )
    assert sorted(folder.rglob("*")) == before, "something was written"
    found = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, f"ended at {lines[len(found)]}: {child.stderr[-500:]}"
    files["over 2 GB"].unlink()
    yield {name: rest for name, *rest in found}


def names() -> list[str]:
    return [*(bad.name for bad in BAD.all_bad()), "over 2 GB"]


def test_what_the_damage_is_done_to_is_good() -> None:
    assert len(import_model(BAD.good()).layers) == 6


@pytest.mark.parametrize("name", names())
def test_it_is_refused_in_one_line(results: dict[str, list[Any]], name: str) -> None:
    says = {bad.name: bad.says for bad in BAD.all_bad()}
    code, seconds, _, out, err = results[name]
    assert (code, out) == (3, ""), err
    assert re.fullmatch(r"onnx2mzi: error: [^\n]+\n", err)
    assert says.get(name, "2 GB") in err
    assert "net.onnx" in err
    assert "Traceback" not in err
    # Not how long it took, which depends on who else is at work, but how much work it was.
    assert seconds < SECONDS


def test_they_are_refused_in_little_memory(results: dict[str, list[Any]]) -> None:
    peaks = {name: rest[2] for name, rest in results.items()}
    first = next((name for name, peak in peaks.items() if peak > MEGABYTES), None)
    assert first is None, f"{first}: {max(peaks.values()):.0f} MB"


def fuzzed(*words: str) -> str:
    """What the fuzzer says of its findings; the number of the model if its process ended."""
    script = Path(__file__).with_name("fuzz.py")
    child = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True)
    last = child.stderr.rpartition("\r")[0].rpartition("\r")[2]
    if child.returncode in (0, 1) and " findings" in child.stdout:
        return "" if child.stdout.endswith(" 0 findings\n") else child.stdout
    return f"ended with {child.returncode} at {last}: {child.stderr[-500:]}"


def test_mutated_models_are_taken_or_refused() -> None:
    assert fuzzed("1", "800") == ""


@pytest.mark.whole
def test_mutated_models_for_a_minute() -> None:
    assert fuzzed("2", "1000000", "60") == ""

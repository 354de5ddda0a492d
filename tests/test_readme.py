"""What the README says is so: its options, levels, files and Python."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onnx2mzi import passes
from onnx2mzi.backends import TABLE as BACKENDS
from onnx2mzi.cli.parser import VERBS, compile_parser
from onnx2mzi.pipeline.presets import DEFAULT_LEVEL, LEVELS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _block_after(marker: str) -> str:
    """The fenced block that follows a marker."""
    behind = README.split(marker)[1]
    return behind.split("```")[1].split("\n", 1)[1]


def test_every_option_that_is_named_exists() -> None:
    text = re.sub(r"<!--.*?-->", "", README.split("## What you get")[1], flags=re.DOTALL)
    text = text.split("## Working on it")[0]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - {"--help"}
    known: set[str] = set()
    for parser in (compile_parser(), *(make() for make in VERBS.values())):
        known.update(name for action in parser._actions for name in action.option_strings)
    assert named - known == set()


def test_every_verb_is_named() -> None:
    assert [verb for verb in VERBS if f"`{verb}" not in README] == []


def test_levels_are_the_presets() -> None:
    assert "`-O0` | `" + LEVELS[0] + ":" in README.replace("`: the", ":")
    added = {
        level: [step for step in LEVELS[level].split(",") if step not in LEVELS[level - 1]]
        for level in (1, 2)
    }
    assert added == {1: ["canonicalize", "compact"], 2: ["prune"]}
    last = "quantize{bits=8 rounding=sequential}"
    assert last in LEVELS[3] and f"`{last}`" in README
    assert f"see below; default {DEFAULT_LEVEL} |" in README


def test_back_ends_and_plug_in_groups_are_named() -> None:
    (row,) = (line for line in README.splitlines() if "`--emit WHAT`" in line)
    assert set(re.findall(r"[a-z]+", row.split("which of")[1])) - {"or"} == set(BACKENDS)
    for name in passes.TABLE:
        assert f"`{name}" in README or name in LEVELS[2], name


@pytest.mark.parametrize("command", ["run", "test"])
def test_set_up_commands_name_files_that_are_there(command: str) -> None:
    line = _block_after(f"<!-- command: {command} -->")
    for path in re.findall(r"samples/\S+", line):
        assert (ROOT / path).is_file()


def _printed(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_examples_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    printed = _printed(_block_after("runs this as it stands -->\n"), tmp_path)
    active_fraction, accuracy = map(float, printed.split())
    assert active_fraction < 0.5
    assert accuracy > 0.9
    files = {path.name for path in (tmp_path / "digits_mzi").iterdir()}
    table = README.split("| file | what it is |")[1].split("\n\n")[0]
    named = {
        name.replace("MODEL", "digits")
        for row in table.splitlines()
        for name in re.findall(r"`([\w.]+\.\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert named - files == set()
    assert files - named == set()

    pytest.importorskip("klayout.db")
    printed = _printed(_block_after("runs this behind the example above -->\n"), tmp_path)
    with (tmp_path / "digits_mzi" / "phases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # Output phases sit on guides; an attenuator that lets all pass is a guide.
    mzis = {
        row["id"].rpartition(".")[0]
        for row in rows
        if row["kind"] != "out" and (row["kind"], row["state"]) != ("sigma", "removed")
    }
    assert f"{len(mzis)} MZIs, labelled" in printed


def test_pass_example_is_the_samples() -> None:
    """Line by line, up to the body of `run`."""
    sample = (ROOT / "samples" / "script_pipeline.py").read_text(encoding="utf-8")
    block = _block_after("(it shortens what `svd` makes):\n")
    for line in block.splitlines()[:-1]:
        assert line in sample, line
    assert block.splitlines()[-1].removesuffix(" ...") in sample

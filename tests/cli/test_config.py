"""Options from and to a file."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_the_command_line_is_stronger_than_the_file(cli: Cli, folder: Path) -> None:
    (folder / "c.toml").write_text(
        'optimize = "prune"\nbudget = 0.02\nmax-drop = "1%"\nmesh = "reck"\nverbose = 2\n'
    )
    said = cli("--config", "c.toml", "--print-pipeline")
    assert said.out == (
        "tile,svd,decompose{mesh=reck},canonicalize,prune{max_drop=0.01 budget=0.02},"
        "compact,place\n"
    )
    said = cli("--config", "c.toml", "--print-pipeline", "--budget", "0.03", "--mesh", "clements")
    assert said.out == (
        "tile,svd,decompose,canonicalize,prune{max_drop=0.01 budget=0.03},compact,place\n"
    )


def test_the_model_may_stand_in_the_file(cli: Cli, folder: Path) -> None:
    (folder / "c.toml").write_text(
        'model = "tiny.onnx"\nports = 4\nexclude = ["fc2"]\nemit = "ir"\nquiet = true\n'
        'input-shape = ["x:2,6"]\n'
    )
    said = cli("--config", "c.toml")
    assert said.code == 0
    assert said.out.splitlines()[-1].startswith("wrote tiny_mzi")
    assert "node 'fc2'" in said.out


def test_what_was_saved_gives_the_same_options(cli: Cli, folder: Path) -> None:
    words = (
        "tiny.onnx", "-O", "prune{budget=0.1}", "--max-drop", "0.7%", "--ports", "4",
        "--input-shape", "x:3,6", "--exclude", "fc2", "--force", "--seed", "4", "-vv",
        "--emit", "ir",
    )  # fmt: skip
    assert cli(*words, "--save-config", "c.toml", "--dry-run").code == 0
    saved = tomllib.loads((folder / "c.toml").read_text())
    assert saved["model"] == "tiny.onnx"
    assert saved["optimize"] == "prune{budget=0.1}"
    assert saved["force"] is True
    first = cli(*words, "--dry-run")
    assert cli("--config", "c.toml", "--dry-run").out == first.out
    assert cli("--config", "c.toml", "--save-config", "d.toml", "--dry-run").code == 0
    assert (folder / "d.toml").read_text() == (folder / "c.toml").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budjet = 1", "there is no option 'budjet' (did you mean 'budget'? options: "),
        ("ports = 'x'", "argument --ports: 'x' is no whole number of 0 or more"),
        ("strict = 'yes'", "'strict' is 'yes', not true or false"),
        ("budget = true", "'budget' is True, not text or a number"),
        ("budget = [1, 2]", "'budget' is [1, 2], not text or a number"),
        ("model = 3", "'model' is 3, not text"),
        ("x = ", "is no TOML: "),
        ("config = 'other'", "there is no option 'config'"),
    ],
)
def test_mistakes_in_a_file(cli: Cli, folder: Path, text: str, message: str) -> None:
    (folder / "c.toml").write_text(text)
    said = cli("--config", "c.toml", "--print-pipeline")
    assert said.code == 2
    assert said.err.startswith(f"onnx2mzi: error: --config c.toml: {message}")


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        ("notes.md", (), "is there, and is no config of onnx2mzi (name another file)"),
        ("tech.toml", (), "is there, and is no config of onnx2mzi (name another file)"),
        ("tiny.onnx", (), "is the file of the model, which it would replace (name another file)"),
        ("c.toml", ("--config", "c.toml"), "is the file of --config, which it would replace"),
        ("no/c.toml", (), "there is no folder no (make it first)"),
        ("", (), "--save-config: is empty (name a file)"),
    ],
)
def test_a_config_replaces_only_a_config(
    cli: Cli, folder: Path, file: str, words: tuple[str, ...], message: str
) -> None:
    (folder / "notes.md").write_text("# mine")
    (folder / "tech.toml").write_text("[tech]\nname = 'x'\n")
    (folder / "c.toml").write_text("# why\nports = 4\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = cli("tiny.onnx", *words, "--save-config", file, "--dry-run")
    assert said.code == 2
    assert message in said.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "c.toml").write_text("seed = 3\n")
    assert cli("tiny.onnx", "--save-config", "c.toml", "--dry-run").code == 0
    assert (folder / "c.toml").read_text() == 'model = "tiny.onnx"\n'


def test_options_that_are_refused_are_not_saved(cli: Cli, folder: Path) -> None:
    for words in (("-O", "prun"), ("--emit", "pdf"), ("-o", "tiny.onnx"), ("--budget", "0.1")):
        assert cli("tiny.onnx", *words, "--save-config", "c.toml").code == 2
    assert not (folder / "c.toml").exists()
    assert cli("-O", "prune", "--print-pipeline", "--save-config", "c.toml").code == 0
    assert (folder / "c.toml").read_text() == 'optimize = "prune"\n'

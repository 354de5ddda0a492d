"""`onnx2mzi MODEL.onnx`: the result, the folder, the messages and the exit codes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mzi.cli.compile import command_text

Cli = Callable[..., Any]
HEAD = "layer op matrix tiles MZIs active phases power mW error"
QUICK = ("--ports", "4", "--emit", "ir,phases,onnx,report")


@pytest.fixture
def data(folder: Path) -> Path:
    """x.npz: 80 labelled samples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6)).astype(np.float32)
    np.savez(folder / "x.npz", x=x, y=rng.integers(0, 3, 80))
    return folder / "x.npz"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_result_is_on_stdout_and_the_log_on_stderr(cli: Cli, folder: Path) -> None:
    said = cli("tiny.onnx", *QUICK)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].split() == HEAD.split()
    assert re.match(r"fc1 +Gemm +5 x 6 +4 +\d+ -> \d+ +\d+ -> \d+ ", lines[1])
    assert re.match(r"fc2 +Gemm +3 x 5 +2 ", lines[2])
    assert lines[3].startswith("total")
    assert re.search(r"^ +reference +exact +this chip +of reference +of exact$", said.out, re.M)
    assert re.search(r"^verified: relative error \S+ .* on 16 random probe inputs$", said.out, re.M)
    assert lines[-1] == "wrote tiny_mzi (8 files)"
    assert all(line.startswith("onnx2mzi: ") for line in said.err.splitlines())
    assert "\x1b" not in said.out + said.err
    assert {"manifest.json", "report.json", "phases.csv", "program.mzi"} <= set(
        names(folder / "tiny_mzi")
    )


def test_json_is_the_report_and_nothing_else(cli: Cli, folder: Path) -> None:
    said = cli("tiny.onnx", *QUICK, "--json", "-o", "out")
    result = json.loads(said.out)
    report = json.loads((folder / "out" / "report.json").read_text())
    assert {key: result[key] for key in report} == report
    assert result["output_dir"] == "out"
    assert result["wall_seconds"] > 0
    assert result["files"] == names(folder / "out")


def test_quiet_and_verbose(cli: Cli) -> None:
    assert cli("tiny.onnx", *QUICK, "-q").err == ""
    err = cli("tiny.onnx", *QUICK, "-v").err
    assert "onnx2mzi: 3/6 decompose: " in err
    assert "pipeline: " not in err
    err = cli("tiny.onnx", *QUICK, "-vv").err
    assert "onnx2mzi: pipeline: tile,svd,decompose,canonicalize,compact,place" in err


def test_the_manifest_says_how_it_was_made(cli: Cli, folder: Path) -> None:
    cli("tiny.onnx", *QUICK, "-o", "a", "--seed", "3", "-v")
    cli("tiny.onnx", "-q", *QUICK, "--output-dir=b", "--seed", "3")
    a = json.loads((folder / "a" / "manifest.json").read_text())
    assert a["command"] == ("onnx2mzi tiny.onnx --ports 4 --emit ir,phases,onnx,report --seed 3")
    assert a["pipeline"] == "tile,svd,decompose,canonicalize,compact,place"
    assert a["seed"] == 3
    assert a["inputs"]["model"]["name"] == "tiny.onnx"
    # Where it goes and how it is told is not part of what it is.
    for name in names(folder / "a"):
        assert (folder / "a" / name).read_bytes() == (folder / "b" / name).read_bytes(), name


def test_command_text() -> None:
    words = ["n.onnx", "-O", "prune{x=1 y=2}", "-ofoo", "--json", "--dump-ir=d", "--dump-ir", "e"]
    words += ["--workers", "3"]
    assert command_text(words) == "onnx2mzi n.onnx -O 'prune{x=1 y=2}'"


def test_accuracy_and_max_drop(cli: Cli, data: Path, folder: Path) -> None:
    said = cli("tiny.onnx", *QUICK, "--data", "x.npz")
    assert re.search(r"^accuracy \d\d.\d\d% -> \d\d.\d\d% \(unchanged\)$", said.out, re.M)
    assert "40 samples kept back from x.npz (every second row)" in said.out
    said = cli(
        "tiny.onnx", *QUICK, "--data", "x.npz", "--passes",
        "tile,svd,decompose,prune{target=0.9},place", "--max-drop", "0%", "-o", "worse",
    )  # fmt: skip
    if said.code:
        assert said.code == 5
        assert "onnx2mzi: error: " in said.err
        assert not (folder / "worse").exists()


def test_print_pipeline_gives_what_passes_takes(cli: Cli) -> None:
    words = ("-O", "prune", "--budget", "0.02", "--max-drop", "1%", "--mesh", "reck")
    said = cli(*words, "--print-pipeline")
    text = said.out.strip()
    assert text == (
        "tile,svd,decompose{mesh=reck},canonicalize,prune{max_drop=0.01 budget=0.02},compact,place"
    )
    again = cli("--passes", text, "--print-pipeline")
    assert again.out == said.out
    assert (said.code, again.code) == (0, 0)


def test_dry_run_writes_nothing(cli: Cli, folder: Path) -> None:
    said = cli("tiny.onnx", *QUICK, "--dry-run", "--exclude", "fc2")
    assert said.code == 0
    assert names(folder) == ["tiny.onnx"]
    assert "input 'x' float32 [N, 6]" in said.out
    assert "pipeline: tile,svd,decompose,canonicalize,compact,place" in said.out
    assert "would write tiny_mzi (dry run: nothing is written)" in said.out
    assert re.search(r"stays electronic \(1\):\n  node 'fc2' \(Gemm\): .+", said.out)
    assert json.loads(cli("tiny.onnx", "--dry-run", "--json").out)["output_dir"] == "tiny_mzi"


def test_looking_inside(cli: Cli, folder: Path) -> None:
    said = cli("tiny.onnx", *QUICK, "--print-after", "svd", "--dump-ir", "dump", "--timing")
    assert said.code == 0
    assert said.err.count("// after ") == 1
    assert "// after 2/6: svd" in said.err
    assert re.search(r"^ +\d+\.\d{3} s  the whole compile$", said.err, re.M)
    assert "00-import.mzi" in names(folder / "dump")
    report = json.loads((folder / "tiny_mzi" / "report.json").read_text())
    assert report["seconds"] > 0
    said = cli("tiny.onnx", *QUICK, "--print-after-all")
    assert said.err.count("// after ") == 6
    report = json.loads((folder / "tiny_mzi" / "report.json").read_text())
    assert report["seconds"] is None


def test_what_stays_electronic_is_said(cli: Cli) -> None:
    said = cli("tiny.onnx", *QUICK, "--only", "fc1")
    assert re.search(r"^stays electronic \(1\):\n  node 'fc2' \(Gemm\): .+$", said.out, re.M)
    said = cli("tiny.onnx", *QUICK, "--only", "fc1", "--strict")
    assert said.code == 4
    assert said.err.startswith("onnx2mzi: error: --strict: 1 linear node would stay electronic: ")
    assert "fc2" in said.err


def test_a_folder_of_others_is_refused(cli: Cli, folder: Path) -> None:
    (folder / "tiny_mzi").mkdir()
    (folder / "tiny_mzi" / "mine.txt").write_text("mine")
    said = cli("tiny.onnx", *QUICK)
    assert said.code == 2
    assert said.err == (
        "onnx2mzi: error: -o tiny_mzi: is not empty, and onnx2mzi did not make it "
        "(name another folder, or write into this one with --force)\n"
    )
    assert cli("tiny.onnx", *QUICK, "--force").code == 0
    assert (folder / "tiny_mzi" / "mine.txt").read_text() == "mine"
    assert cli("tiny.onnx", *QUICK).code == 0


def test_a_compile_does_not_replace_its_own_inputs(cli: Cli, folder: Path) -> None:
    assert cli("tiny.onnx", *QUICK, "-o", "own", "-q").code == 0
    (folder / "foreign").mkdir()
    for name in ("program.mzi", "mine.onnx"):
        (folder / "foreign" / name).write_bytes((folder / "own" / "program.mzi").read_bytes())
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for words, file, what in (
        (("own/program.mzi",), "program.mzi", "the model"),
        (("own/program.mzi", "--emit", "report"), "program.mzi", "the model"),
        (("own/tiny_photonic.onnx", "--emit", "onnx"), "tiny_photonic.onnx", "the model"),
        (("tiny.onnx", "--measured", "own/phases.csv"), "phases.csv", "--measured"),
        (("tiny.onnx", "--test", "own/report.json"), "report.json", "--test"),
    ):
        said = cli(*words, "-o", "own", "--force")
        assert (said.code, said.err) == (
            2,
            f"onnx2mzi: error: -o own: holds {file}, the file of {what}, "
            "which the new chip would replace (name another folder with -o)\n",
        )
    assert cli("foreign/program.mzi", "-o", "foreign", "--force").code == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_inputs_of_others_may_lie_in_the_output_folder(cli: Cli, folder: Path) -> None:
    assert cli("tiny.onnx", *QUICK, "-o", "own", "-q").code == 0
    (folder / "own" / "mine.onnx").write_bytes((folder / "tiny.onnx").read_bytes())
    assert cli("own/mine.onnx", *QUICK, "-o", "own", "-q").code == 0
    assert (folder / "own" / "mine.onnx").is_file()
    # What is of others is not said to be written.
    told = json.loads(cli("own/mine.onnx", *QUICK, "-o", "own", "-q", "--json").out)
    assert "mine.onnx" not in told["files"]
    assert set(told["files"]) == set(names(folder / "own")) - {"mine.onnx"}
    assert cli("own/program.mzi", "-o", "other", "--emit", "ir", "-q").code == 0


REFUSED = [
    ((), 2, "no MODEL.onnx is given (see onnx2mzi --help)"),
    (("nowhere.onnx",), 3, "nowhere.onnx: "),
    (("bad.onnx",), 3, "bad.onnx: "),
    (("bad.mzi",), 3, "bad.mzi: "),
    (("tiny.onnx", "--max-drop", "-1%"), 2, "argument --max-drop: '-1%' is not between 0 and 100%"),
    (("tiny.onnx", "--time-limit", "-5m"), 2, "argument --time-limit: '-5m' is no time; write 90s"),
    (
        ("tiny.onnx", "--exclude", "fc1,fc2"),
        2,
        "tiny.onnx: no linear node is called 'fc1,fc2' (once for each node: --exclude fc1 "
        "--exclude fc2)",
    ),
    (("tiny.onnx", "-O", "9"), 2, "-O: there is no level 9 (levels: 0 textbook, "),
    (
        ("tiny.onnx", "-O", "prun"),
        2,
        "'prun', column 1: there is no pass 'prun' (did you mean 'prune'? there are: ",
    ),
    (
        ("tiny.onnx", "--passes", "prune"),
        2,
        "pipeline: prune takes a program of stage mesh, but at the start it is linear ",
    ),
    (
        ("tiny.onnx", "--emit", "gdsii"),
        2,
        "'gdsii', column 1: there is no back end 'gdsii' (did you mean 'gds'? there are: ",
    ),
    (
        ("tiny.onnx", "--tech", "cornerstone"),
        2,
        "--tech: no technology and no file is called 'cornerstone'",
    ),
    (("tiny.onnx", "--data", "no.npz"), 3, "no.npz: there is no such file"),
    (("tiny.onnx", "--data", "bad.onnx"), 3, "bad.onnx: is no .npz of plain arrays"),
    (
        ("tiny.onnx", "--print-after", "prune"),
        2,
        "--print-after: pass 'prune' does not run (the pipeline is: tile,svd,",
    ),
    (
        ("tiny.onnx", "--budget", "0.1"),
        2,
        "--budget: no pass of this pipeline has the option 'budget' (the pipeline is: ",
    ),
    (("tiny.onnx", "--only", "nothing"), 2, ""),
    (
        ("tiny.onnx", "-O", "2", "--passes", "tile"),
        2,
        "-O: --passes is the whole pipeline already (give one of the two)",
    ),
    (("tiny.onnx", "--emit", " "), 2, "--emit: is empty (name some of ir,phases,onnx,netlist,gds,"),
    (("tiny.onnx", "--broken", ","), 2, "argument --broken: ',' names no heater; ids are those of"),
    (("tiny.onnx", "-o", "bad.onnx"), 2, "-o bad.onnx: is a file, not a folder"),
    (("tiny.onnx", "-o", ""), 2, "-o: is empty (name a folder)"),
    (("tiny.onnx", "--plugin", "no.py"), 2, "--plugin no.py: there is no such file"),
    (("tiny.onnx", "--config", "no.toml"), 2, "--config no.toml: cannot be read: No such file"),
]


@pytest.mark.parametrize(("words", "code", "message"), REFUSED)
def test_refusals_are_one_line_and_leave_nothing(
    cli: Cli, folder: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    (folder / "bad.onnx").write_bytes(b"not a model")
    said = cli(*words)
    first, *rest = said.err.splitlines()
    assert first.startswith(f"onnx2mzi: error: {message}")
    assert said.code == code
    assert said.out == ""
    # A mistake in a pipeline text is pointed at on two more lines.
    assert not rest or (len(rest) == 2 and set(rest[1].strip()) == {"^"})
    assert names(folder) == ["bad.onnx", "tiny.onnx"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--passes", "tile,svd,decompose"), "--emit gds: needs a program of stage placed, and"),
        (("--passes", "tile"), "--emit netlist: needs a program of stage mesh, and the pipeline"),
        (("--emit", "gds=nolayer"), "--emit gds: there is no layer 'nolayer' (layers: fc1, fc2)"),
        (("--measured", "no.csv"), "no.csv: cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_first_pass(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr("onnx2mzi.pipeline.manager.run_pass", None)
    said = cli("tiny.onnx", *words)
    assert said.err.startswith(f"onnx2mzi: error: {message}")
    assert said.code in (2, 3)
    assert names(folder) == ["tiny.onnx"]


def test_a_mistake_is_pointed_at(cli: Cli) -> None:
    said = cli("tiny.onnx", "-O", "prune{budget=0.1 targt=3}")
    assert said.err.splitlines()[1:] == [
        "  prune{budget=0.1 targt=3}",
        "                   ^^^^^",
    ]


def test_tracebacks_only_when_asked_for(cli: Cli) -> None:
    assert "Traceback" not in cli("nowhere.onnx").err
    assert "Traceback" in cli("nowhere.onnx", "--traceback").err


def test_a_bug_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("onnx2mzi.cli.compile.compile_model", broken)
    said = cli("tiny.onnx", *QUICK)
    assert said.code == 1
    assert said.err == (
        "onnx2mzi: internal error: RuntimeError: two lines "
        "(this is a bug; run again with --traceback and report it)\n"
    )
    assert "Traceback" in cli("tiny.onnx", *QUICK, "--traceback").err


def test_a_folder_that_cannot_be_made(cli: Cli, folder: Path) -> None:
    said = cli("tiny.onnx", *QUICK, "--dump-ir", "tiny.onnx")
    assert (said.code, said.err) == (2, "onnx2mzi: error: tiny.onnx: File exists\n")
    assert names(folder) == ["tiny.onnx"]


def test_an_interrupt_leaves_nothing(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("onnx2mzi.driver.compile.write_manifest", interrupted)
    said = cli("tiny.onnx", *QUICK)
    assert said.code == 130
    assert said.err.splitlines()[-1] == "onnx2mzi: interrupted; nothing was written"
    assert names(folder) == ["tiny.onnx"]


SCRIPT = '''
from dataclasses import dataclass
import onnx2mzi
from onnx2mzi.ir import Stage
from onnx2mzi.pipeline.base import Exact, Pass, option

@onnx2mzi.register_pass
@dataclass(frozen=True)
class Nothing(Pass):
    """Does nothing, carefully."""
    name = "nothing-{number}"
    stage_in = Stage.MESH
    stage_out = Stage.MESH
    times: int = option(1, "how often", low=1)

    def effect(self, program):
        return Exact()

    def run(self, program, context):
        context.log("nothing was done")
        return program
'''


def test_a_pass_of_a_script(cli: Cli, folder: Path) -> None:
    (folder / "mine.py").write_text(SCRIPT.replace("{number}", "1"))
    said = cli("tiny.onnx", *QUICK, "--plugin", "mine.py", "-O", "nothing-1{times=2}")
    assert said.code == 0
    assert "onnx2mzi: nothing was done" in said.err
    said = cli("passes", "nothing-1", "--plugin", "mine.py")
    assert "nothing-1 (mesh -> mesh) [onnx2mzi_plugin.Nothing]: Does nothing" in said.out
    assert "times=1  [whole number, >= 1] how often" in said.out


def test_a_script_that_fails(cli: Cli, folder: Path) -> None:
    (folder / "mine.py").write_text("1 / 0")
    said = cli("tiny.onnx", "--plugin", "mine.py")
    assert (said.code, said.err) == (
        2,
        "onnx2mzi: error: --plugin mine.py: fails: ZeroDivisionError: division by zero "
        "(repair the script)\n",
    )


def test_a_chip_that_misses_its_budget_is_not_lost(cli: Cli, folder: Path) -> None:
    x = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
    np.savez(folder / "bare.npz", x=x)
    cli("tiny.onnx", *QUICK, "-o", "out")
    before = (folder / "out" / "program.mzi").read_text()
    said = cli(
        *("tiny.onnx", *QUICK, "-o", "out", "--test", "bare.npz", "--max-drop", "0.1%"),
        *("--passes", "tile,svd,decompose,canonicalize,prune{budget=0.9},place"),
    )
    assert said.code == 5
    assert "more than the 0.10% allowed" in said.err
    assert said.err.endswith("the chip that missed is in out.missed)\n")
    assert (folder / "out" / "program.mzi").read_text() == before
    assert cli("inspect", "out.missed/program.mzi").code == 0
    mine = folder / "out.missed" / "manifest.json"
    mine.write_text("of somebody else")
    said = cli(
        *("tiny.onnx", *QUICK, "-o", "out", "--test", "bare.npz", "--max-drop", "0.1%"),
        *("--passes", "tile,svd,decompose,canonicalize,prune{budget=0.9},place"),
    )
    assert said.code == 5
    assert "could not be written: -o out.missed: is not empty" in said.err
    assert mine.read_text() == "of somebody else"

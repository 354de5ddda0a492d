"""inspect, run, check, diff, tech, passes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdstk
import numpy as np
import pytest

Cli = Callable[..., Any]


@pytest.fixture
def chips(cli: Cli, folder: Path) -> Path:
    """Two output folders, `exact` and `pruned`, and x.npz."""
    quick = ("--ports", "4", "--emit", "ir,phases,onnx,report", "-q")
    assert cli("tiny.onnx", "-o", "exact", *quick).code == 0
    assert cli("tiny.onnx", "-o", "pruned", "-O", "prune", "--budget", "0.3", *quick).code == 0
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    np.savez(folder / "x.npz", x=x, y=np.zeros(20, int))
    return folder


def test_inspect_a_model(cli: Cli) -> None:
    said = cli("inspect", "tiny.onnx", "--ports", "4")
    lines = said.out.splitlines()
    assert said.code == 0
    assert lines[:3] == [
        "tiny: stage linear, meshes of up to 4 ports",
        "  input 'x' float32 [N, 6]",
        "  output 'y' float32 [N, 3]",
    ]
    assert re.match(r"fc1 +Gemm +5 x 6 +4 +\d+ +\d+$", lines[4])
    assert lines[-1] == "MZIs and phases are those of the textbook chip"
    told = json.loads(cli("inspect", "tiny.onnx", "--json").out)
    assert told["layers"][1]["phases_reference"] == 3 * 2 + 5 * 4 + 3


def test_inspect_a_program_and_a_folder(cli: Cli, chips: Path) -> None:
    for file in ("exact/program.mzi", "exact"):
        said = cli("inspect", file)
        assert said.code == 0
        assert "  passes so far: tile,svd,decompose,canonicalize,compact,place" in said.out
        assert re.search(r"^fc1 +Gemm +5 x 6 +4 +\d+ -> \d+ +\d+ -> \d+$", said.out, re.M)


def test_run(cli: Cli, chips: Path) -> None:
    said = cli("run", "pruned", "--data", "x.npz", "-o", "y.npz")
    assert said.code == 0
    assert said.out.startswith("pruned on 20 samples of x.npz\n")
    assert re.search(r"^accuracy \d+.\d\d% -> \d+.\d\d% ", said.out, re.M)
    assert said.out.endswith("\nwrote y.npz\n")
    assert np.load("y.npz")["y"].shape == (20, 3)
    told = json.loads(cli("run", "exact", "--data", "x.npz", "--json").out)
    assert told["max_rel_error"] < 1e-6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "-o: is empty (name a file)"),
        ("exact", "-o exact: is a folder (name a file in it)"),
        ("y.txt", "-o y.txt: has no name of an .npz (-o y.txt.npz)"),
        ("x.npz", "-o x.npz: is the file of --data, which it would replace (name another file)"),
        ("link.npz", "-o link.npz: is the file of --data, which it would replace (name another"),
        ("exact/program.npz", "-o exact/program.npz: is a file of the chip in exact (name another"),
        ("no/y.npz", "-o no/y.npz: there is no folder no (make it first)"),
    ],
)
def test_outputs_of_run_replace_nothing_that_is_needed(
    cli: Cli, chips: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    """Refused before anything is emulated."""
    monkeypatch.setattr("onnx2mzi.driver.compare.run_on_data", None)
    (chips / "link.npz").symlink_to("x.npz")
    (chips / "exact" / "program.npz").touch()
    manifest = json.loads((chips / "exact" / "manifest.json").read_text())
    manifest["files"]["program.npz"] = ""
    (chips / "exact" / "manifest.json").write_text(json.dumps(manifest))
    before = {path: path.read_bytes() for path in chips.rglob("*") if path.is_file()}
    said = cli("run", "exact", "--data", "x.npz", "-o", name)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"onnx2mzi: error: {message}")
    assert {path: path.read_bytes() for path in chips.rglob("*") if path.is_file()} == before


def test_outputs_of_run_may_lie_beside_the_files_of_the_chip(cli: Cli, chips: Path) -> None:
    for _ in range(2):
        assert cli("run", "exact", "--data", "x.npz", "-o", "exact/y.npz", "--json").code == 0
    assert np.load("exact/y.npz")["y"].shape == (20, 3)
    assert not list(chips.rglob("*.part"))


def test_run_on_imperfect_copies(cli: Cli, chips: Path) -> None:
    words = ("run", "exact", "--data", "x.npz", "--copies", "3", "--imperfect")
    said = cli(*words, "phase_rad=0.05 split_rad=0.01")
    assert said.code == 0
    assert (
        "\n3 imperfect copies (phase_rad=0.05 split_rad=0.01; seed 0; setting each):\n" in said.out
    )
    assert re.search(r"^  accuracy +\d+\.\d % +\d+\.\d % +\d+\.\d %$", said.out, re.M)
    told = json.loads(cli(*words, "phase_rad=0.05", "--json").out)["imperfect"]
    again = json.loads(cli(*words, "phase_rad=0.05", "--json").out)["imperfect"]
    other = json.loads(cli(*words, "phase_rad=0.05", "--json", "--seed", "1").out)["imperfect"]
    assert told == again
    assert told["rel_error_mean"] != other["rel_error_mean"]
    assert 0 < told["rel_error_mean"] <= told["rel_error_worst"]
    ideal = json.loads(cli(*words, "", "--json").out)["imperfect"]
    assert ideal["rel_error_worst"] < 1e-6
    assert cli(*words, "typical").code == 0


def test_run_on_copies_set_together(cli: Cli, chips: Path) -> None:
    words = ("run", "exact", "--data", "x.npz", "--copies", "2", "--imperfect", "split_rad=0.1")
    found = {
        how: json.loads(cli(*words, "--setting", how, "--json").out)["imperfect"]
        for how in ("none", "each", "together")
    }
    assert [row["setting"] for row in found.values()] == list(found)
    errors = [row["rel_error_mean"] for row in found.values()]
    assert errors[2] < 0.5 * errors[1] <= 0.5 * errors[0]
    assert "; setting together):\n" in cli(*words, "--setting", "together").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--imperfect", "typical", "--setting", "all"), "--setting: 'all' is none of none, each"),
        (("--imperfect", "phase=1"), "imperfect has no option 'phase' (did you mean 'phase_rad'?"),
        (("--imperfect", "gamma=x"), "imperfect: option 'gamma' is 'x', not a number"),
        (("--imperfect", "gamma=-1"), "--imperfect: gamma must be finite and not negative"),
        (("--imperfect", "typical", "--copies", "0"), "--copies: at least one copy is needed"),
        (("--copies", "3"), "--copies: is of imperfect copies, and none are asked for (give --im"),
        (("--setting", "each"), "--setting: is of imperfect copies, and none are asked for"),
        (("--seed", "0", "--heat"), "--seed: is of imperfect copies, and none are asked for"),
    ],
)
def test_imperfections_that_are_refused(
    cli: Cli, chips: Path, words: tuple[str, ...], message: str
) -> None:
    said = cli("run", "exact", "--data", "x.npz", *words)
    assert said.code == 2
    assert message in said.err


def test_check(cli: Cli, chips: Path) -> None:
    said = cli("check", "exact")
    assert (said.code, said.err) == (0, "")
    assert re.search(r"^ok +phases: phases.csv gives the program's matrices to ", said.out, re.M)
    assert re.search(r"^- +drc: no design.gds$", said.out, re.M)
    (chips / "exact" / "phases.csv").write_text("")
    said = cli("check", "exact", "--json")
    assert said.code == 6
    assert json.loads(said.out)["ok"] is False
    failed = r"onnx2mzi: error: exact: 3 of \d+ checks failed: files, phases, rewrite phases"
    assert re.match(failed, said.err)


def test_diff(cli: Cli, chips: Path) -> None:
    said = cli("diff", "exact", "pruned")
    assert said.code == 0
    assert re.search(r"^phases_active +\d+ +\d+ +-\d+\.\d%$", said.out, re.M)
    lines = said.out.splitlines()
    start = lines.index("pipeline:")
    assert lines[start + 1 : start + 7] == [
        "    tile", "    svd", "    decompose", "    canonicalize", "  + prune{budget=0.3}",
        "    compact",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 100
    assert "identical" in cli("diff", "exact", "exact").out
    assert "pipeline" not in cli("diff", "exact", "exact").out
    assert json.loads(cli("diff", "exact", "pruned", "--json").out)["identical"] is False


@pytest.mark.parametrize("verb", [["check"], ["diff", "exact"], ["run", "--data", "x.npz"]])
def test_a_folder_that_is_none_of_ours(cli: Cli, chips: Path, verb: list[str]) -> None:
    (chips / "other").mkdir()
    assert cli(*verb, "nowhere").err == (
        "onnx2mzi: error: nowhere: there is no such folder (give the output folder of a chip)\n"
    )
    said = cli(*verb, "other")
    assert said.code == 3
    assert said.err == (
        "onnx2mzi: error: other: is no output folder of onnx2mzi: it has no manifest.json of ours "
        "(give the output folder of a chip)\n"
    )


def test_tech(cli: Cli, folder: Path) -> None:
    said = cli("tech", "list")
    assert re.search(r"^cornerstone_si220 \(default\) +CORNERSTONE", said.out, re.M)
    shown = cli("tech", "show", "siepic_ebeam").out
    (folder / "own.toml").write_text(shown)
    assert cli("tech", "show", "own.toml").out == shown
    assert json.loads(cli("tech", "show", "--json").out)["tech"]["name"] == "cornerstone_si220"
    assert cli("tech", "show", "siepic").err == (
        "onnx2mzi: error: --tech: no technology and no file is called 'siepic' "
        "(did you mean 'siepic_ebeam'? built in: cornerstone_si220, generic_two_metal, "
        "siepic_ebeam; or give a TOML file)\n"
    )
    assert cli("tech", "list", "x").code == 2


def test_tech_check_knows_fixed_cells(cli: Cli, folder: Path) -> None:
    assert json.loads(cli("tech", "check", "--json").out)["fixed_cells"] == {}
    cell, library = gdstk.Cell("PAD"), gdstk.Library("fab", 1e-6, 1e-9)
    cell.add(gdstk.rectangle((0, 0), (80, 80), layer=41))
    library.add(cell)
    library.write_gds(folder / "fab.gds")
    keys = 'gds = "fab.gds"\ncell = "PAD"\nports = { p = [40, 40, "north"] }\n'
    text = cli("tech", "show").out.replace("size_um = 80.0\n", keys)
    (folder / "own.toml").write_text(text)
    said = cli("tech", "check", "own.toml")
    assert said.code == 0
    assert (
        "[pads] is cell 'PAD' of fab.gds, its ports are sound; the mask has its layers" in said.out
    )
    found = json.loads(cli("tech", "check", "own.toml", "--json").out)["fixed_cells"]
    assert found == {"pads": {"gds": "fab.gds", "cell": "PAD", "mask": "layers"}}
    (folder / "own.toml").write_text(text.replace("[40, 40", "[40, 41"))
    line = text[: text.index("ports = {")].count("\n") + 1
    said = cli("tech", "check", "own.toml")
    assert said.code == 3
    assert said.err.startswith(f"onnx2mzi: error: own.toml:{line}: port 'p' is not the middle")


def test_passes(cli: Cli) -> None:
    said = cli("passes")
    assert said.code == 0
    assert "  prune (mesh -> mesh): " in said.out
    assert "bits=8 bit  [whole number, 1 .. 16] resolution of each heater's driver" in said.out
    assert "back ends:\n" in said.out
    told = json.loads(cli("passes", "--json").out)
    assert {"tile", "svd", "decompose", "canonicalize", "prune", "quantize", "place"} <= {
        row["name"] for row in told["passes"]
    }
    assert [row["name"] for row in json.loads(cli("passes", "svd", "--json").out)["passes"]] == [
        "svd"
    ]


def test_every_option_of_every_pass_and_back_end_is_explained(cli: Cli) -> None:
    told = json.loads(cli("passes", "--json").out)
    for row in told["passes"] + told["backends"]:
        assert row["about"].endswith((".", ":", ",")) or row["about"]
        for option in row["options"]:
            assert option["help"], (row["name"], option["name"])


def test_an_unknown_pass(cli: Cli) -> None:
    said = cli("passes", "prun")
    assert said.code == 2
    assert "there is no pass 'prun' (did you mean 'prune'?" in said.err

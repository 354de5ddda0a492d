"""`characterize` from a folder to files, and what its numbers must obey."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.backends.characterization import page, points_csv
from onnx2mzi.cli import main
from onnx2mzi.driver.characterize import Asked, characterize
from onnx2mzi.emulate.imperfect import imperfect_program
from onnx2mzi.emulate.setting import FEWEST, MOST_WORK, STEPS, Setting, affordable
from onnx2mzi.errors import UsageError
from onnx2mzi.physics.imperfection import SIZES
from onnx2mzi.tech import load_technology

Data = dict[str, np.ndarray]
STATIC = dict.fromkeys(
    ("phase_rad", "gamma", "loss_scale", "loss_sigma_db", "crosstalk_scale", "thermal"), 0.0
)
QUICK = Asked(copies=10, factors=(0.5, 1.0), bits=(6,), samples=50)


@pytest.fixture(scope="module")
def chip(tiny_onnx: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chips") / "tiny_mzi"
    onnx2mzi.compile(tiny_onnx).save(folder, emit="ir,phases")
    return folder


@pytest.fixture(scope="module")
def data(tiny_onnx: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    x = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
    answers = onnx2mzi.compile(tiny_onnx).run_original(x)["y"].argmax(axis=1)
    path = tmp_path_factory.mktemp("data") / "x.npz"
    np.savez(path, x=x, y=answers)
    return path


def test_numbers_and_files(chip: Path, data: Path, tmp_path: Path) -> None:
    found, report = characterize(chip, data, QUICK, directory=tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"characterization.html", "characterization.json", "copies.jsonl",
                     "devices.csv", "imperfections.csv"}  # fmt: skip
    assert json.loads((tmp_path / "out" / "characterization.json").read_text()) == report
    assert report["measure"] == "accuracy" and report["ideal"] == 1.0
    kinds = {row["kind"] for row in report["points"]}
    assert {"phase_rad", "split_rad", "bits", "settings", "tuned", "all"} <= kinds
    for row in report["points"]:
        assert 0 <= row["mean"] <= 1 and 0 <= row["yield_low"] <= row["yield"] <= row["yield_high"]
    for check in report["first_order"]:
        assert check["measured"] == pytest.approx(check["expected"], rel=0.5)
    with (tmp_path / "out" / "devices.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == report["mzis"]
    worst = max(rows, key=lambda row: float(row["error"]))
    assert float(worst["error"]) == pytest.approx(report["worst"][0]["error"])
    shares = [device.share for device in found.worst]
    assert shares == sorted(shares, reverse=True) and sum(shares) <= 1 + 1e-9
    page = (tmp_path / "out" / "characterization.html").read_text()
    assert (
        page.count("<svg") >= 8 and "<script" not in page and "http" not in page.split("</head>")[1]
    )


def test_noise_and_gradients_are_scanned(chip: Path, data: Path) -> None:
    sizes = dict.fromkeys(SIZES, 0.0) | {
        "input_noise": 0.05,
        "output_noise": 0.05,
        "shot_noise": 0.05,
        "split_gradient_rad_mm": 0.01,
    }
    asked = Asked(sizes=sizes, copies=8, factors=(1.0,), bits=(), samples=50)
    found, report = characterize(chip, data, asked)
    errors = {point.kind: point.samples.errors for point in found.points}
    for kind in ("input_noise", "output_noise", "shot_noise", "split_gradient_rad_mm"):
        assert len(set(errors[kind])) == 8 and errors[kind].min() > 1e-4, kind
    assert errors["all"].mean() > errors["output_noise"].mean()
    assert characterize(chip, data, replace(asked, workers=2))[1] == report


def test_it_goes_on_and_says_the_same(chip: Path, data: Path, tmp_path: Path) -> None:
    _, first = characterize(chip, data, QUICK, directory=tmp_path)
    lines = (tmp_path / "copies.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "copies.jsonl").write_text("".join(lines[: len(lines) // 2]) + lines[-1][:5])
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    _, second = characterize(chip, data, QUICK, directory=tmp_path)
    _, third = characterize(chip, data, Asked(copies=10, factors=(0.5, 1.0), bits=(6,),
                                              samples=50, workers=2))  # fmt: skip
    assert first == second == third
    for name, content in contents.items():
        if name != "copies.jsonl":
            assert (tmp_path / name).read_bytes() == content
    assert len((tmp_path / "copies.jsonl").read_text().splitlines()) == len(lines)


def test_more_error_is_worse(chip: Path, data: Path) -> None:
    asked = Asked(sizes={"phase_rad": 0.2}, copies=60, factors=(0.1, 1.0, 4.0), bits=())
    _, report = characterize(chip, data, asked)
    means = [row["mean"] for row in report["points"] if row["kind"] == "phase_rad"]
    assert means[0] > means[1] > means[2]


def test_chips_set_together(chip: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx2mzi.emulate.setting.STEPS", 15)
    asked = Asked(
        sizes=STATIC | {"split_rad": 0.1}, copies=2, factors=(1.0,), bits=(6,), samples=50
    )
    means = {}
    for setting in Setting:
        found, report = characterize(chip, data, replace(asked, setting=setting))
        assert report["setting"] == setting
        rows = {row["kind"]: row for row in report["points"]}
        static = {name: rows[name] for name in ("split_rad", "fabrication_scale", "all")}
        assert {row["setting"] for row in static.values()} == {setting}
        # Codes are no error that stays: all chips are alike, and there is nothing to set.
        assert rows["bits"]["setting"] == ("none" if setting == "none" else "each")
        means[setting] = rows["all"]["error_mean"]
        assert f",{setting},2," in points_csv(found)
        assert ("by a search a chip" in page(found, report)) == (setting == "together")
    assert means[Setting.TOGETHER] < means[Setting.EACH] < means[Setting.NONE]


def test_fewer_chips_are_set_together_unless_asked_for(
    chip: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = imperfect_program(onnx2mzi.load(chip).program, load_technology("cornerstone_si220"))
    assert affordable(prepared, 10**9) == MOST_WORK // (STEPS * prepared.mzis)
    assert affordable(prepared, 20) == 20
    said: list[str] = []
    sizes = STATIC | {"phase_rad": 0.02}
    asked = replace(QUICK, sizes=sizes, copies=None, factors=(1.0,), setting="together")
    monkeypatch.setattr("onnx2mzi.emulate.setting.STEPS", 5)
    monkeypatch.setattr("onnx2mzi.emulate.setting.MOST_WORK", 0)
    monkeypatch.setattr("onnx2mzi.driver.characterize.COPIES", 10)
    _, report = characterize(chip, data, asked, log=said.append)
    copies = {row["setting"]: row["copies"] for row in report["points"] if row["kind"] == "all"}
    assert copies == {"together": FEWEST}
    assert {row["copies"] for row in report["points"] if row["kind"] == "phase_rad"} == {10}
    assert any("4 chips a point" in line for line in said)


def test_without_labels(chip: Path, data: Path) -> None:
    with np.load(data) as arrays:
        _, report = characterize(chip, {"x": arrays["x"]}, QUICK)
    assert report["measure"] == "unchanged answers" and report["ideal"] == 1.0


def test_refusals(chip: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not of a characterization"):
        characterize(chip, data, QUICK, directory=tmp_path)
    with pytest.raises(UsageError, match="none of none, gain, readout"):
        characterize(chip, data, Asked(calibrate="all"))
    with pytest.raises(UsageError, match="none of none, each, together"):
        characterize(chip, data, Asked(setting="all"))
    for sizes in ({"dead": 2.0}, {"nothing": 1.0}):
        with pytest.raises(UsageError, match="no such imperfections"):
            characterize(chip, data, Asked(sizes=sizes))


def test_the_command(chip: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["characterize", str(chip), "--data", str(data), "--copies", "8", "--sigma-phase",
             "0.05", "-q"]  # fmt: skip
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "ideal chip: accuracy 100.00%" in out and "0.05" in out
    assert (chip / "characterization" / "characterization.html").is_file()
    assert main(["characterize", str(chip), "--data", str(data), "--copies", "0"]) == 2
    assert "must be 1 or more" in capsys.readouterr().err

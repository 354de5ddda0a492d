"""Re-calibration of a made chip: what is read, what is refused, what is set."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.driver.measured import read_errors
from onnx2mzi.errors import InputError, UsageError


@pytest.fixture(scope="module")
def chip(tiny_onnx: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chip") / "out"
    onnx2mzi.compile(tiny_onnx, optimize="canonicalize,trim").save(folder, emit="phases")
    return folder


def _ids(chip: Path, kinds: tuple[str, ...]) -> list[str]:
    with (chip / "phases.csv").open(encoding="utf-8") as file:
        return [row["id"] for row in csv.DictReader(file) if row["kind"] in kinds]


def _table(path: Path, chip: Path, *, size: float) -> Path:
    rng = np.random.default_rng(0)
    lines = ["id,phase_error_rad,split_error_rad,split2_error_rad,loss_db"]
    for name in _ids(chip, ("theta", "phi")):
        phase, first, second = size * rng.normal(size=3)
        split = f"{first:.4f},{second:.4f},{abs(first):.4f}" if name.endswith("theta") else ",,"
        lines.append(f"{name},{phase:.4f},{split}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_heaters_are_set_for_what_was_measured(
    tiny_onnx: bytes, chip: Path, tmp_path: Path
) -> None:
    errors = _table(tmp_path / "errors.csv", chip, size=0.1)
    x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    y = onnx2mzi.compile(tiny_onnx).run_original(x)["y"].argmax(axis=1)
    made = onnx2mzi.compile(
        tiny_onnx, optimize="canonicalize,trim", data={"x": x, "y": y}, measured=errors
    )
    report = made.report
    assert report["max_rel_error_recalibrated"] < 0.3 * report["max_rel_error_made"]
    assert report["accuracy_recalibrated"] >= report["accuracy_made"]
    assert report["max_rel_error"] < 1e-6
    out = tmp_path / "made"
    made.save(out, emit="phases,report")
    with (out / "retuned.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (out / "phases.csv").open(encoding="utf-8") as file:
        design = {row["id"]: row for row in csv.DictReader(file) if row["state"] == "active"}
    assert {row["id"] for row in rows} == set(design)
    for row in rows:
        assert float(row["drive_rad"]) == float(design[row["id"]]["drive_rad"])
        assert row["arm"] == design[row["id"]]["arm"]
        assert 0 <= float(row["retuned_rad"]) < 2 * np.pi
    assert json.loads((out / "manifest.json").read_text())["inputs"]["measured"]
    total = sum(float(row["retuned_mw"]) for row in rows)
    assert report["power_recalibrated_mw"] == pytest.approx(total)


def test_no_errors_change_nothing(tiny_onnx: bytes, tmp_path: Path) -> None:
    errors = tmp_path / "errors.csv"
    errors.write_text("id,phase_error_rad\n", encoding="utf-8")
    made = onnx2mzi.compile(tiny_onnx, measured=errors)
    assert made.report["max_rel_error_made"] < 1e-6
    assert made.retuned is not None
    np.testing.assert_allclose(made.retuned.retuned_rad, made.retuned.design_rad, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,phase_error_rad\n", "no column 'name'"),
        ("id\n", "no table of errors"),
        ("id,phase_error_rad,phase\n", "no column 'phase'"),
        ("id,phase_error_rad\na,1\na,2\n", "line 3: 'a' is there twice"),
        ("id,phase_error_rad\na,much\n", "line 2: phase_error_rad is 'much'"),
        ("id,phase_error_rad\na,nan\n", "not a number"),
        ("id,split_error_rad\na,0.9\n", "further off than pi/4"),
        ("id,loss_db\na,-1\n", "a loss is 0 or more"),
        ("id,loss_db\na,1,2\n", "more or fewer fields"),
        ("id,loss_db\n" + 200_000 * "a" + ",1\n", "is no table of errors: field larger"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "errors.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_errors(path)
    assert said in str(caught.value)


def test_a_table_is_read_before_anything_is_compiled(
    tiny_onnx: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx2mzi.driver.compile.imported", None)
    path = tmp_path / "errors.csv"
    with pytest.raises(InputError, match=r"errors\.csv: cannot be read: No such file or directory"):
        onnx2mzi.compile(tiny_onnx, measured=path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"is not text in UTF-8 \(give a \.csv of errors by id\)"):
        onnx2mzi.compile(tiny_onnx, measured=path)
    with pytest.raises(UsageError, match="--measured: is not on meshes"):
        onnx2mzi.compile(tiny_onnx, onnx2mzi.Pipeline.parse("tile"), measured=path)


def test_shifters_of_another_chip_are_refused(tiny_onnx: bytes, tmp_path: Path) -> None:
    path = tmp_path / "errors.csv"
    path.write_text("id,phase_error_rad\nfc1.g0.t0.v.c99.p0.theta,0.1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"no shifter 'fc1\.g0\.t0\.v\.c99\.p0\.theta'"):
        onnx2mzi.compile(tiny_onnx, measured=path)
    with pytest.raises(InputError, match="cannot be read"):
        onnx2mzi.compile(tiny_onnx, measured=tmp_path / "none.csv")

"""`check` finds every file that is not what the program says; `diff` and `run` tell numbers."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.driver.check import check
from onnx2mzi.driver.compare import difference, run_on_data
from onnx2mzi.driver.output import read_manifest, write_manifest
from onnx2mzi.errors import InputError
from onnx2mzi.ir.files import read_npz, write_npz
from onnx2mzi.physics.shifter import ShifterState

EMIT = "ir,phases,onnx,report"
LAYOUT = ("drc", "lvs", "paths", "loop")


@pytest.fixture(scope="module")
def folders(tiny_onnx: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`exact` and `pruned`: two compiled chips."""
    root = tmp_path_factory.mktemp("chips")
    onnx2mzi.compile(tiny_onnx, ports=4).save(root / "exact", emit=EMIT)
    onnx2mzi.compile(tiny_onnx, "prune{budget=0.3}", ports=4).save(root / "pruned", emit=EMIT)
    return root


@pytest.fixture
def folder(folders: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(folders / "exact", tmp_path / "chip"))


def verdicts(folder: Path) -> dict[str, bool | None]:
    return {finding.name: finding.ok for finding in check(folder)}


def forged(folder: Path, **versions: str) -> None:
    """Make the manifest agree with files that were changed."""
    about = read_manifest(folder)
    assert about is not None
    about["versions"] |= versions
    (folder / "manifest.json").unlink()
    write_manifest(folder, {k: v for k, v in about.items() if k not in ("files", "format")})


def test_a_sound_chip(folder: Path) -> None:
    assert verdicts(folder) == {
        "files": True,
        "program": True,
        "phases": True,
        "onnx": True,
        "rewrite ir": True,
        "rewrite phases": True,
        "rewrite onnx": True,
        "currents": True,
        "drc": None,
        "lvs": None,
        "paths": None,
        "loop": None,
    }


def test_a_changed_and_a_missing_file(folder: Path) -> None:
    (folder / "report.html").write_text("x")
    (folder / "layers.csv").unlink()
    (finding, *_) = check(folder)
    assert finding.ok is False
    assert finding.message == "layers.csv is missing; report.html was changed"


def test_a_phase_that_was_edited(folder: Path) -> None:
    path = folder / "phases.csv"
    lines = path.read_text().splitlines()
    at = next(k for k, line in enumerate(lines) if ",theta,active," in line)
    cells = lines[at].split(",")
    cells[9] = repr(float(cells[9]) / 2)
    lines[at] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    forged(folder, numpy="0.1")
    message = next(finding for finding in check(folder) if finding.name == "rewrite phases").message
    assert message == ("phases.csv is not what the program gives; it was written with numpy 0.1")
    found = verdicts(folder)
    assert found["files"] is True
    assert found["phases"] is False
    assert found["rewrite phases"] is False
    assert found["onnx"] is True


def test_a_table_of_columns(tiny_onnx: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "chip"
    emit = "ir,phases{table=columns}"
    files = onnx2mzi.compile(tiny_onnx, ports=4).save(folder, emit=emit)
    assert set(files) >= {"phases/0_fc1.npz", "phases/1_fc2.npz"}
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest["phases"] == "phases/*.npz"
    assert verdicts(folder) == {
        "files": True,
        "program": True,
        "phases": True,
        "onnx": None,
        "rewrite ir": True,
        "rewrite phases{table=columns}": True,
        "currents": True,
        "drc": None,
        "lvs": None,
        "paths": None,
        "loop": None,
    }
    path = folder / "phases" / "1_fc2.npz"
    arrays = read_npz(path)
    heated = np.flatnonzero(arrays["state"] == ShifterState.ACTIVE)
    changed = arrays["phase_rad"].copy()
    changed[heated[0]] /= 2
    write_npz({**arrays, "phase_rad": changed}, path)
    assert verdicts(folder)["phases"] is False
    cut = {name: a[2:] if a.shape == changed.shape else a for name, a in arrays.items()}
    write_npz(cut, path)
    assert verdicts(folder)["phases"] is False
    path.unlink()
    message = next(finding for finding in check(folder) if finding.name == "phases").message
    assert message == "phases/*.npz has no rows of tile fc2.g0.t0"


def test_weights_that_were_swapped(folder: Path, tiny_onnx: bytes, folders: Path) -> None:
    shutil.copy(folders / "pruned" / "model_photonic.onnx", folder / "model_photonic.onnx")
    forged(folder)
    found = verdicts(folder)
    assert found["onnx"] is False
    assert found["rewrite onnx"] is False
    assert found["phases"] is True


def test_a_program_that_is_no_program(folder: Path) -> None:
    (folder / "program.mzi").write_text("mesh")
    findings = check(folder)
    assert [finding.name for finding in findings] == ["files", "program"]
    assert [finding.ok for finding in findings] == [False, False]


def test_diff_of_two_chips(folders: Path) -> None:
    same = difference(folders / "exact", folders / "exact")
    assert same["identical"]
    assert all(old == new for old, new in same["numbers"].values())
    found = difference(folders / "exact", folders / "pruned")
    assert not found["identical"]
    old, new = found["numbers"]["phases_active"]
    assert new < old
    assert all(layer["matrix_moved"] <= 1 for layer in found["layers"])
    assert any(layer["matrix_moved"] > 1e-3 for layer in found["layers"])


def test_run_on_data(folders: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=np.zeros(20, int))
    found, outputs = run_on_data(folders / "exact", tmp_path / "x.npz")
    assert found["samples"] == 20
    assert found["max_rel_error"] < 1e-6
    assert found["accuracy"] == found["accuracy_reference"]
    assert outputs["y"].shape == (20, 3)
    np.savez(tmp_path / "z.npz", z=x)
    with pytest.raises(InputError, match="has no array for the model's input 'x'"):
        run_on_data(folders / "exact", tmp_path / "z.npz")


def test_the_layout_is_checked(tiny_onnx: bytes, tmp_path: Path) -> None:
    pytest.importorskip("klayout.db", reason="needs klayout (extra check)")
    onnx2mzi.compile(tiny_onnx, ports=4).save(tmp_path / "chip", emit="ir,phases,gds")
    found = {finding.name: finding for finding in check(tmp_path / "chip")}
    assert all(found[name].ok for name in LAYOUT)
    assert "give the chip's outputs to" in found["loop"].message
    assert " nm" in found["paths"].message
    (tmp_path / "chip" / "design.gds").write_bytes(b"nothing")
    after = verdicts(tmp_path / "chip")
    assert [after[name] for name in LAYOUT] == [False] * 4


def test_one_layer_that_is_drawn_is_checked_alone(tiny_onnx: bytes, tmp_path: Path) -> None:
    pytest.importorskip("klayout.db", reason="needs klayout (extra check)")
    emit = "ir,phases,gds{layers=fc2}"
    onnx2mzi.compile(tiny_onnx, ports=4).save(tmp_path / "chip", emit=emit)
    found = verdicts(tmp_path / "chip")
    assert all(found[name] for name in LAYOUT)


def test_pads_that_the_table_confuses_are_found(tiny_onnx: bytes, tmp_path: Path) -> None:
    pytest.importorskip("klayout.db", reason="needs klayout (extra check)")
    folder = tmp_path / "chip"
    onnx2mzi.compile(tiny_onnx, ports=4).save(folder, emit="ir,phases,gds")
    path = folder / "phases.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    pad = lines[0].index("pad")
    a, b = [line for line in lines[1:] if line[pad]][:2]
    a[pad], b[pad] = b[pad], a[pad]
    path.write_text("\n".join(",".join(line) for line in lines) + "\n")
    found = {finding.name: finding for finding in check(folder)}
    # The matrices that follow from the rows alone are right.
    assert found["phases"].ok is found["lvs"].ok is True
    assert found["loop"].ok is False
    assert "drives the heater at" in found["loop"].message


def test_without_klayout_the_layout_is_not_passed(
    tiny_onnx: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx2mzi.driver.layout.find_spec", lambda name: None)
    onnx2mzi.compile(tiny_onnx, ports=4).save(tmp_path / "chip", emit="ir,gds")
    findings = {finding.name: finding for finding in check(tmp_path / "chip")}
    for name in LAYOUT:
        assert findings[name].ok is None
        assert "pip install" in findings[name].message


@pytest.mark.parametrize(
    "text",
    ["{}", '{"layers": null}', '{"layers": [{}]}', '{"layers": [{"name": "a", "mzis": ""}]}'],
)
def test_a_report_that_is_damaged(folder: Path, text: str) -> None:
    (folder / "report.json").write_text(text)
    with pytest.raises(InputError) as caught:
        difference(folder, folder)
    assert str(caught.value) == (
        f"{folder / 'report.json'}: is damaged: 'layers' is no list of layers and their numbers "
        "(compile again)"
    )

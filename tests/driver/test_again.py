"""Programs taken up again: the same meshes for another foundry, and the sample that has them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.cli import main
from onnx2mzi.driver.again import taken_up
from onnx2mzi.driver.inspect import inspect
from onnx2mzi.driver.options import Options
from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.ir import Stage, identical

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
FILE = "program.mzi"


@pytest.fixture(scope="module")
def folder(tiny_onnx: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pruned chip."""
    path = tmp_path_factory.mktemp("again") / "chip"
    chip = onnx2mzi.compile(tiny_onnx, "prune{budget=0.2}", ports=4, tech="siepic_ebeam")
    chip.save(path, emit="ir,phases,gds,report")
    return path


def test_laid_out_again_it_is_the_same_chip(folder: Path, tmp_path: Path) -> None:
    again, first = onnx2mzi.compile(folder / FILE, tech="siepic_ebeam"), onnx2mzi.load(folder)
    assert identical(again.program, first.program)
    assert again.report["phases_exact"] > again.report["phases_active"]
    for key, value in again.report.items():
        # Passes that ran are those of this compile.
        if key not in ("passes", "pipeline", "versions"):
            assert value == first.report[key], key
    files = again.save(tmp_path / "again", emit="phases,gds")
    for name in ("mask.gds", "phases.csv"):
        assert files[name].read_bytes() == (folder / name).read_bytes()
    read = json.loads(files["manifest.json"].read_text())["inputs"]
    assert read["model"]["name"] == FILE
    assert read["arrays"]["name"] == "program.npz"


def test_another_foundry_gets_the_same_meshes(folder: Path) -> None:
    other = onnx2mzi.compile(folder / FILE, tech="cornerstone_si220")
    assert other.program.placement is not None
    assert other.program.placement.technology == "cornerstone_si220"
    first = onnx2mzi.load(folder)
    assert other.report["area_mm2"] != first.report["area_mm2"]
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    assert np.array_equal(other.run(x)["y"], first.run(x)["y"])


def test_passes_go_on_where_the_history_ends(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = taken_up(folder / FILE)
    assert program.stage is Stage.MESH
    out = folder.parent / "rounded"
    words = [str(folder / FILE), "--passes", "quantize{bits=5},place", "-o", str(out), "-q"]
    assert main([*words, "--emit", "ir"]) == 0
    assert onnx2mzi.load(out).program.history == (*program.history, "quantize{bits=5}", "place")
    assert main([*words[:1], "--print-pipeline"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "place"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimize": "prune"}, "-O: takes a model; a program has its meshes"),
        ({"only": ["fc1"]}, "--only: takes a model; a program has its layers"),
        ({"ports": 8}, "--ports: takes a model; a program has its meshes"),
        ({"input_shapes": {"x": (1, 6)}}, "--input-shape: takes a model; a program has its shapes"),
        ({"optimize": onnx2mzi.Pipeline.parse("tile")}, "tile takes a program of stage linear"),
    ],
)
def test_what_makes_meshes_is_refused(folder: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        onnx2mzi.compile(folder / FILE, **options)


def test_a_damaged_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mzi").write_text("mesh")
    with pytest.raises(InputError, match=r"x\.mzi"):
        onnx2mzi.compile(tmp_path / "x.mzi")


def test_the_digits_on_a_die_are_what_the_readme_says() -> None:
    """Training takes a minute; what it led to can be measured."""
    test = SAMPLES / "digits_test.npz"
    chip = onnx2mzi.compile(SAMPLES / "digits_die.mzi", tech="cornerstone_si220", test=test)
    trained = "prune{method=surgeon target=0.9945 epochs=120.0 lr=0.01}"
    recipe = f"prune{{method=ports target=0.9}},{trained}"
    assert recipe in chip.pipeline
    report = chip.report
    assert (report["phases_reference"], report["phases_active"], report["mzis"]) == (12260, 66, 254)
    assert report["accuracy_reference"] == pytest.approx(0.9844, abs=1e-4)
    assert report["accuracy"] == pytest.approx(0.9378, abs=1e-4)
    placement = chip.program.placement
    assert placement is not None
    assert placement.width_um < 8100
    assert placement.height_um < 4500
    # Its matrices are to be those of the model that is shipped.
    model = inspect(SAMPLES / "digits.onnx", Options())
    assert [x["name"] for x in model["layers"]] == [x.name for x in chip.program.layers]
    asked = onnx2mzi.compile(SAMPLES / "digits.onnx", onnx2mzi.Pipeline.parse("tile")).program
    for layer, other in zip(chip.program.layers, asked.layers, strict=True):
        assert np.array_equal(layer.weight, other.weight)

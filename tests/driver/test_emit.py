"""What --emit means, which layers it chooses, and what large chips go without."""

import json
from pathlib import Path

import gdstk
import pytest

import onnx2mzi
from onnx2mzi.backends.gds.backend import Gds
from onnx2mzi.backends.netlist import Netlist
from onnx2mzi.driver.emit import backends_of, check_writers, left_out, written_out
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Stage
from onnx2mzi.pipeline.backend import placed_mzis


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("gds", "gds"),
        ("phases{table=csv},gds", "phases{table=csv},gds"),
        ("gds=fc1", 'gds{layers="fc1"}'),
        ("gds=fc1,/a/b:0,report", 'gds{layers="fc1","/a/b:0"},report'),
        ('ir,gds="report","a,b" , onnx', 'ir,gds{layers="report","a,b"}, onnx'),
        ("netlist=a,gds=b,c,phases{table=csv}",
         'netlist{layers="a"},gds{layers="b","c"},phases{table=csv}'),
    ],
)  # fmt: skip
def test_short_forms(short: str, long: str) -> None:
    assert written_out(short) == long
    backends_of(short)


def test_the_default_is_all() -> None:
    assert [writer.name for writer in backends_of(None)] == [
        "ir", "phases", "onnx", "netlist", "gds", "report",
    ]  # fmt: skip
    assert backends_of('gds=fc1,"x y"') == (Gds(("fc1", "x y")),)


def drawn(path: Path) -> dict[str, tuple[list[str], str]]:
    """Labels and extent of every cell."""
    found = {}
    for cell in gdstk.read_gds(path).cells:
        assert isinstance(cell, gdstk.Cell)
        found[cell.name] = [label.text for label in cell.labels], str(cell.bounding_box())
    return found


def test_layers_are_chosen(tiny_onnx: bytes, tmp_path: Path) -> None:
    chip = onnx2mzi.compile(tiny_onnx, ports=4)
    whole = chip.save(tmp_path / "whole", emit="gds,netlist")
    some = chip.save(tmp_path / "some", emit="gds=fc2,netlist=fc2")
    cells, chosen = (drawn(files["design.gds"]) for files in (whole, some))
    tiles = {name for name in cells if name.startswith("L")}
    expected = {name for name in tiles if name.startswith("L1_")}
    assert tiles > expected
    assert {name for name in chosen if name.startswith("L")} == expected
    for name in expected:
        assert chosen[name] == cells[name]
    text = some["netlist.yml"].read_text()
    assert "# L1 is layer 'fc2'" in text
    assert "L0_" not in text
    assert "\nL1_G0_T0:\n" in text
    with pytest.raises(UsageError, match="there is no layer 'fc9'"):
        chip.save(tmp_path / "none", emit="gds=fc9")
    assert not (tmp_path / "none").exists()


def test_large_chips_go_without(
    tiny_onnx: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = onnx2mzi.compile(tiny_onnx, ports=4)
    assert left_out(chip.program, backends_of(None)) == {}
    for writer in (Gds, Netlist):
        monkeypatch.setattr(writer, "most_mzis", placed_mzis(chip.program) - 1)
    said: list[str] = []
    files = chip.save(tmp_path / "chip", log=said.append)
    assert not {"design.gds", "netlist.yml"} & set(files)
    assert [line.split(":")[0] for line in said] == ["netlist is left out", "gds is left out"]
    manifest = json.loads(files["manifest.json"].read_text())
    assert set(manifest["left_out"]) == {"gds", "netlist"}
    assert "--emit gds=LAYER,..." in manifest["left_out"]["gds"]
    assert "gds" not in manifest["emit"]
    assert "design.gds" in chip.save(tmp_path / "asked", emit="gds", log=said.append)
    assert len(said) == 2


@pytest.mark.parametrize(
    ("stage", "emit", "said"),
    [
        (
            Stage.MESH,
            None,
            "--emit gds: needs a program of stage placed, and the pipeline ends with one of stage "
            "mesh (add place to the passes, or write the others with "
            "--emit ir,phases,onnx,netlist,report)",
        ),
        (
            Stage.LINEAR,
            "netlist",
            "--emit netlist: needs a program of stage mesh, and the pipeline ends with one of "
            "stage linear (add decompose to the passes)",
        ),
        (Stage.MESH, "spice", "--emit spice: needs a program of stage placed"),
    ],
)
def test_what_a_back_end_needs(stage: Stage, emit: str | None, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_writers(backends_of(emit), stage)
    assert str(caught.value).startswith(said)
    check_writers(backends_of(emit), Stage.PLACED)
    check_writers(backends_of(emit), None)


def test_a_chip_without_meshes_is_not_written_as_a_circuit(
    tiny_onnx: bytes, tmp_path: Path
) -> None:
    chip = onnx2mzi.compile(tiny_onnx, onnx2mzi.Pipeline.parse("tile"))
    with pytest.raises(UsageError, match="--emit netlist: needs a program of stage mesh"):
        chip.save(tmp_path / "out")
    assert "program.mzi" in chip.save(tmp_path / "out", emit="ir,phases,onnx,report")


def test_a_picture_without_klayout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx2mzi.backends.gds.backend.find_spec", lambda name: None)
    check_writers(backends_of("gds"), None)
    with pytest.raises(
        UsageError, match=r"^--emit gds{png=true}: a picture needs KLayout's Python"
    ):
        check_writers(backends_of("gds{png=true}"), None)

"""Checks that others wrote: CORNERSTONE's submission rules as gdsfactory has them, SiEPIC's deck.

They need `pip install cspdk siepic_ebeam_pdk` (without their dependencies, which are not used)
and for the deck the `klayout` program.
"""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import onnx2mzi
from onnx2mzi.backends.gds import write_gds
from onnx2mzi.driver.check import check
from onnx2mzi.ir import Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import load_technology

db: Any = pytest.importorskip("klayout.db", reason="needs klayout (extra check)")

MakeProgram = Callable[..., Program]
Installed = Callable[[str, str], Path]
SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory, installed: Installed) -> Path:
    """SiEPIC's design rules as a script that reads `input` and writes `output`."""
    if shutil.which("klayout") is None:
        pytest.skip("needs the klayout program: apt install klayout")
    text = ElementTree.parse(installed("siepic_ebeam_pdk", "drc/SiEPIC_EBeam_DRC.lydrc")).findtext(
        "text"
    )
    assert text is not None
    text, count = re.subn(r'report\("([^"]*)"\)', r'report("\1", $output)', text)
    assert count == 1
    path = tmp_path_factory.mktemp("deck") / "siepic.drc"
    # Without tiles the time that KLayout 0.28 takes for spaces grows as the square of guides.
    tiled = "source($input)\ntiles(250.um)\ntile_borders(10.um)\nthreads(2)\n"
    path.write_text(f"{tiled}{text}", encoding="utf-8")
    return path


def found_by_deck(deck: Path, gds: Path) -> dict[str, int]:
    """How often each of SiEPIC's rules is broken."""
    report = gds.with_suffix(".lyrdb")
    command = ["klayout", "-b", "-r", str(deck), "-rd", f"input={gds}", "-rd", f"output={report}"]
    subprocess.run(command, check=True, capture_output=True, timeout=900)
    found: dict[str, int] = {}
    for item in ElementTree.parse(report).iter("item"):
        rule = str(item.findtext("category"))
        found[rule] = found.get(rule, 0) + 1
    return found


def small_chip(make_program: MakeProgram, name: str, folder: Path) -> Path:
    technology = load_technology(name)
    program = make_program(2, drive=Drive.ARM_CHOICE)
    # The deck takes its time: one tile will do.
    grid = replace(program.layers[0].grids[0], tiles=program.layers[0].grids[0].tiles[:1])
    program = replace(program, layers=(replace(program.layers[0], grids=(grid,)),))
    program = place_program(program, technology)
    write_gds(program, technology, folder)
    return folder


def test_a_chip_that_fits_a_die_can_be_submitted(
    submission: ModuleType, make_program: MakeProgram, tmp_path: Path
) -> None:
    folder = small_chip(make_program, "cornerstone_si220", tmp_path)
    assert submission.check_submission(folder / "mask.gds") == []
    # The design file has markers and labels, which are no foundry layers.
    assert submission.check_submission(folder / "design.gds") != []


def test_siepics_deck_passes_and_finds_what_is_wrong(
    deck: Path, make_program: MakeProgram, tmp_path: Path
) -> None:
    folder = small_chip(make_program, "siepic_ebeam", tmp_path)
    assert found_by_deck(deck, folder / "mask.gds") == {}
    layout = db.Layout()
    layout.read(str(folder / "mask.gds"))
    top = layout.top_cell()
    # Above what is drawn, on the borders of tiles and within them, but for what lies outside.
    inside = top.dbbox()
    faults = {
        "Boundary": ((1, -900, 0, 5, 5),),
        "Si_width": ((1, 100, 20, 0.04, 10),),
        "Si_space": ((1, 249.5, 40, 1, 1), (1, 250.54, 40, 1, 1)),
        "M1_width": ((11, 300, 20, 2, 10),),
        "M2_space": ((12, 400, 20, 10, 10), (12, 413, 20, 10, 10)),
    }
    room = db.DBox(inside.left, inside.top, inside.right, inside.top + 100)
    top.shapes(layout.layer(99, 0)).insert(room)
    for boxes in faults.values():
        for layer, x, y, width, height in boxes:
            corner = db.DPoint(inside.left + x, inside.top + y)
            box = db.DBox(corner, corner + db.DVector(width, height))
            top.shapes(layout.layer(layer, 0)).insert(box)
    layout.write(str(tmp_path / "faults.gds"))
    assert found_by_deck(deck, tmp_path / "faults.gds") == dict.fromkeys(faults, 1)


@pytest.mark.whole
@pytest.mark.parametrize("technology", ["cornerstone_si220", "siepic_ebeam"])
def test_the_digits_on_a_die_pass_every_check(
    technology: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    chip = onnx2mzi.compile(
        SAMPLES / "digits_die.mzi", tech=technology, test=SAMPLES / "digits_test.npz"
    )
    chip.save(tmp_path / "chip")
    findings = check(tmp_path / "chip")
    assert [finding for finding in findings if finding.ok is not True] == []
    assert {"drc", "lvs", "loop"} <= {finding.name for finding in findings}
    mask = tmp_path / "chip" / "mask.gds"
    if technology == "cornerstone_si220":
        submission: Any = request.getfixturevalue("submission")
        assert submission.check_submission(mask) == []
    else:
        assert found_by_deck(request.getfixturevalue("deck"), mask) == {}

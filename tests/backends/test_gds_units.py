"""The hierarchy's proof that a rule is kept is right: what all guides together break, it doubts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.ir import Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import load_technology

db: Any = pytest.importorskip("klayout.db", reason="needs klayout (extra check)")

from onnx2mzi.backends.gds.units import units  # noqa: E402

MakeProgram = Callable[..., Program]
TECHNOLOGY = load_technology("cornerstone_si220")
CORE = TECHNOLOGY.layers.core
WIDTH, SPACE = 348, 198


@pytest.fixture(scope="module")
def design(make_program: MakeProgram, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chip")
    program = place_program(make_program(1, drive=Drive.ARM_CHOICE), TECHNOLOGY)
    write_gds(program, TECHNOLOGY, folder)
    return folder / "design.gds"


def broken(design: Path, change: Callable[[Any], None]) -> tuple[set[str], set[str]]:
    """Which checks all guides together break, and which the units doubt."""
    layout = db.Layout()
    layout.read(str(design))
    change(layout)
    core = db.Region(layout.top_cell().begin_shapes_rec(layout.layer(*CORE))).merged()
    parts = units(layout, CORE, 0.35, db.Region())
    metrics = (False, db.Region.Projection, 80)
    checks: dict[str, Callable[[Any], Any]] = {
        "width": lambda region: region.width_check(WIDTH, *metrics),
        "space": lambda region: region.space_check(SPACE, *metrics),
    }
    flat = {name for name, check in checks.items() if not check(core).is_empty()}
    doubted = {name for name, check in checks.items() if not parts.keep(check)}
    return flat, doubted


def test_a_sound_chip_is_not_doubted(design: Path) -> None:
    assert broken(design, lambda layout: None) == (set(), set())


def cell_named(layout: Any, start: str) -> Any:
    return next(cell for cell in layout.each_cell() if cell.name.startswith(start))


def thin_in_a_cell(layout: Any) -> None:
    stage = cell_named(layout, "STAGE")
    stage.shapes(layout.layer(*CORE)).insert(db.Box(1000, -60000, 1200, -50000))


def close_in_a_cell(layout: Any) -> None:
    heater = cell_named(layout, "HEATER")
    heater.shapes(layout.layer(*CORE)).insert(db.Box(20000, 325, 40000, 5000))


def stray_beside_a_guide(layout: Any) -> None:
    """Loose shapes close to whatever they meet."""
    box = layout.top_cell().dbbox()
    shapes = layout.top_cell().shapes(layout.layer(*CORE))
    for x in np.linspace(box.left, box.right, 40):
        shapes.insert(db.DBox(x, box.bottom, x + 0.5, box.top))


def two_cells_too_close(layout: Any) -> None:
    """A heater beside a guide that is another cell, 0.1 um away."""
    block = next(c for c in layout.each_cell() if c.name.endswith("_V"))
    instance = next(i for i in block.each_inst() if i.cell.name.startswith(("MZI", "PASS")))
    y = instance.trans.disp.y + 2 * 225 + 100
    place = db.Trans(instance.trans.disp.x - 100, y)
    block.insert(db.CellInstArray(cell_named(layout, "HEATER").cell_index(), place))


def moved_sideways(layout: Any) -> None:
    block = next(c for c in layout.each_cell() if c.name.endswith("_V"))
    instance = next(i for i in block.each_inst() if i.cell.name.startswith(("MZI", "PASS")))
    instance.transform(db.Trans(0, 300))


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (thin_in_a_cell, {"width"}),
        (close_in_a_cell, {"space"}),
        (stray_beside_a_guide, set()),
        (two_cells_too_close, {"space"}),
        (moved_sideways, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_broken_is_doubted(
    design: Path, change: Callable[[Any], None], rules: set[str]
) -> None:
    flat, doubted = broken(design, change)
    assert rules <= flat <= doubted

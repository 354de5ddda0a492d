"""Two metals: wires over the cells, vias between the metals, and the faults that can be in them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.ir import (
    Attenuators,
    LinearLayer,
    Loc,
    Mesh,
    MeshTile,
    Operand,
    Program,
    Stage,
    TileGrid,
)
from onnx2mzi.kernels import clements_layout
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.pipeline.wiring import Wiring, numbered_tiles, placed_blocks, tile_wiring
from onnx2mzi.tech import Technology, load_technology
from onnx2mzi.tech.geometry import corridors_um, heated_um
from onnx2mzi.tech.over import tracks_over

db: Any = pytest.importorskip("klayout.db", reason="needs klayout (extra check)")

from onnx2mzi.backends.gds.drc import check_rules  # noqa: E402
from onnx2mzi.backends.gds.lvs import compare_layout  # noqa: E402

TECHNOLOGY = load_technology("generic_two_metal")
LAYERS, RULES = TECHNOLOGY.layers, TECHNOLOGY.rules
ONE = replace(TECHNOLOGY, routing=replace(TECHNOLOGY.routing, metals=1))
DRIVE = Drive.ARM_CHOICE
Fault = Callable[[Any], None]


def clements(ports: int) -> Program:
    """One tile; every phase is a heater."""
    column, port = clements_layout(ports)
    rng, count = np.random.default_rng(1), len(column)
    active, none = np.full(count, ShifterState.ACTIVE, np.uint8), np.zeros(ports, np.uint8)
    theta, phi = rng.uniform(-3, 3, (2, count))
    mesh = Mesh(ports, column, port, theta, phi, active, active, np.zeros(ports), none, DRIVE)
    sigma = Attenuators(rng.uniform(0, 3, ports), none + np.uint8(ShifterState.ACTIVE), DRIVE)
    guides = np.arange(ports, dtype=np.int32)
    tile = MeshTile(guides, guides, mesh, sigma, mesh, 1.0, np.zeros(ports))
    operand = Operand("x", -1, "w", False, "float32")
    grid = TileGrid(ports, ports, (tile,))
    layer = LinearLayer("fc", np.zeros((ports, ports)), operand, Loc(), (grid,))
    return Program("chip", Stage.MESH, ports, (layer,))


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Path]:
    folder = tmp_path_factory.mktemp("two")
    program = place_program(clements(6), TECHNOLOGY)
    write_gds(program, TECHNOLOGY, folder)
    return program, folder / "design.gds"


def wired(program: Program, technology: Technology) -> Wiring:
    (block,) = placed_blocks(program).values()
    ((_, _, _, _, tile),) = numbered_tiles(program)
    return tile_wiring(tile, block, technology)


def test_signals_run_over_heaters_and_one_metal_has_no_vias(chip: tuple[Program, Path]) -> None:
    program, design = chip
    wiring = wired(program, TECHNOLOGY)
    heaters = len(wiring.heaters.bank)
    assert len(wiring.vias_um) >= 2 * heaters > 0
    assert len(wiring.boxes_um) >= 2 * heaters
    start = wiring.heaters.bank_x_um[wiring.heaters.bank]
    within = wiring.vias_um[:heaters, 0] - start
    assert (within > 0).all()
    assert (within < heated_um(TECHNOLOGY)).all()
    assert check_rules(design, TECHNOLOGY).total == 0
    assert compare_layout(design, program, TECHNOLOGY).differences == ()
    alone = wired(place_program(clements(6), ONE), ONE)
    assert len(alone.vias_um) == len(alone.over_um) == 0
    assert sorted(alone.names) == sorted(wiring.names)


def layer_of(layout: Any, name: str) -> int:
    return int(layout.layer(*getattr(LAYERS, name)))


def vias(layout: Any) -> list[Any]:
    """The references to cells of vias."""
    return [
        instance
        for cell in layout.each_cell()
        for instance in cell.each_inst()
        if instance.cell.name.startswith("VIA")
    ]


def no_via(layout: Any) -> None:
    vias(layout)[0].delete()


def bar(layout: Any, metal: str) -> tuple[Any, Any]:
    """A bar over two neighbouring tracks, of either metal: the bar and the cell it is in."""
    cell = next(c for c in layout.each_cell() if c.name.endswith("_W"))
    shapes = cell.shapes(layer_of(layout, "metal2"))
    track = round(TECHNOLOGY.routing.track_um / layout.dbu)
    high = [s.bbox() for s in shapes.each() if s.bbox().width() == track]
    high.sort(key=lambda box: (box.left, box.bottom))
    a, b = next(
        (a, b)
        for a in high
        for b in high
        if 0 < b.left - a.right < 10 * track and min(a.top, b.top) - max(a.bottom, b.bottom) > track
    )
    y = min(a.top, b.top)
    made = db.Box(a.left, y - track, b.right, y)
    cell.shapes(layer_of(layout, metal)).insert(made)
    return made, cell


def short(layout: Any) -> None:
    bar(layout, "metal2")


def below(layout: Any) -> None:
    bar(layout, "metal")


def joined_below(layout: Any) -> None:
    """The bar below, with a via at either end."""
    made, cell = bar(layout, "metal")
    size = round(RULES.via_size_um / layout.dbu)
    for left in (made.left + size, made.right - 2 * size):
        box = db.Box(left, made.bottom + size, left + size, made.bottom + 2 * size)
        cell.shapes(layer_of(layout, "via")).insert(box)


def change_via(change: Callable[[Any, Any], None]) -> Fault:
    def fault(layout: Any) -> None:
        cell = next(c for c in layout.each_cell() if c.name == "VIA")
        change(layout, cell)

    return fault


def smaller(layout: Any, cell: Any) -> None:
    shapes = cell.shapes(layer_of(layout, "via"))
    made = db.Region(shapes).sized(-5)
    shapes.clear()
    shapes.insert(made)


def closer(layout: Any, cell: Any) -> None:
    shapes = cell.shapes(layer_of(layout, "via"))
    box = next(iter(db.Region(shapes).each())).bbox()
    step = round((RULES.via_size_um + RULES.via_space_um) / layout.dbu) - 10  # type: ignore[operator]
    shapes.insert(box.moved(step, 0))


def beyond(layout: Any, cell: Any) -> None:
    cell.shapes(layer_of(layout, "via")).insert(db.Box(0, 0, 700, 700).moved(3000, 3000))


@pytest.mark.parametrize(
    ("fault", "rule", "differs"),
    [
        (no_via, "", True),
        (short, "", True),
        (below, "", False),
        (joined_below, "", True),
        (change_via(smaller), "via.width", False),
        (change_via(closer), "via.space", False),
        (change_via(beyond), "via.metal2.enclosure", False),
    ],
    ids=[
        "no via",
        "short",
        "crossing",
        "crossing with vias",
        "small via",
        "close vias",
        "via beyond",
    ],
)
def test_faults_of_the_second_metal_are_found(
    chip: tuple[Program, Path], tmp_path: Path, fault: Fault, rule: str, differs: bool
) -> None:
    program, design = chip
    layout = db.Layout()
    layout.read(str(design))
    fault(layout)
    layout.write(str(tmp_path / "faulty.gds"))
    if rule:
        assert check_rules(tmp_path / "faulty.gds", TECHNOLOGY).counts[rule] > 0
    found = compare_layout(tmp_path / "faulty.gds", program, TECHNOLOGY).differences
    assert bool(found) == differs


def test_many_rows_are_narrower_with_two_metals_and_vias_lie_on_the_grid(
    chip: tuple[Program, Path],
) -> None:
    heaters, none = np.array([32.0]), np.zeros(1)
    assert corridors_um(ONE, heaters, none)[0] > 0
    assert corridors_um(TECHNOLOGY, heaters, none)[0] == 0
    # More than there is room for above them run beside them.
    over = tracks_over(TECHNOLOGY, heated_um(TECHNOLOGY))
    beside = corridors_um(TECHNOLOGY, np.array([2.0 * over + 2]), none)[0]
    step = TECHNOLOGY.routing.track_um + RULES.metal_space_um
    assert beside == step + RULES.metal_space_um
    steps = wired(chip[0], TECHNOLOGY).vias_um / TECHNOLOGY.grid_um
    assert np.abs(steps - np.round(steps)).max() < 1e-6

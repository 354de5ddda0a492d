"""Design rules and the layout's circuit: sound chips are clean, every planted fault is found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.backends.gds.curves import ribbon
from onnx2mzi.backends.phase_table import PhaseRow, read_phases
from onnx2mzi.backends.phases import write_table
from onnx2mzi.emulate.transfer import tile_transfer
from onnx2mzi.ir import (
    Attenuators,
    DenseTile,
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
from onnx2mzi.tech import PadStyle, Technology, load_technology
from onnx2mzi.tech.geometry import heated_um

db: Any = pytest.importorskip("klayout.db", reason="needs klayout (extra check)")

from onnx2mzi.backends.gds.bodies import Kind  # noqa: E402
from onnx2mzi.backends.gds.drc import check_rules  # noqa: E402
from onnx2mzi.backends.gds.extraction import (  # noqa: E402
    Device,
    Extracted,
    extract,
    net_names,
)
from onnx2mzi.backends.gds.loop import rebuild  # noqa: E402
from onnx2mzi.backends.gds.lvs import compare_layout  # noqa: E402

MakeProgram = Callable[..., Program]
PORTS = 4
TECHNOLOGIES = ("cornerstone_si220", "siepic_ebeam", "generic_two_metal")
TECHNOLOGY = load_technology("cornerstone_si220")


def clements(ports: int, pruned: float, drive: Drive = Drive.ARM_CHOICE) -> Program:
    """One full tile; each phase is removed with the probability `pruned`."""
    rng = np.random.default_rng(5)
    column, port = clements_layout(ports)

    def phases(count: int) -> tuple[Any, Any]:
        kept = rng.random(count) >= pruned
        state = np.where(kept, ShifterState.ACTIVE, ShifterState.REMOVED).astype(np.uint8)
        return np.where(kept, rng.uniform(-np.pi, np.pi, count), 0.0), state

    def mesh() -> Mesh:
        (theta, theta_state), (phi, phi_state) = phases(len(column)), phases(len(column))
        out = np.zeros(ports)
        none = np.zeros(ports, np.uint8)
        return Mesh(ports, column, port, theta, phi, theta_state, phi_state, out, none, drive)

    sigma, state = phases(ports)
    guides = np.arange(ports, dtype=np.int32)
    held = Attenuators(np.abs(sigma), state, drive)
    tile = MeshTile(guides, guides, mesh(), held, mesh(), 1.0, np.zeros(ports))
    operand = Operand("x", -1, "w", False, "float32")
    grid = TileGrid(ports, ports, (tile,))
    layer = LinearLayer("fc", np.zeros((ports, ports)), operand, Loc(), (grid,))
    return Program("chip", Stage.MESH, ports, (layer,))


@pytest.mark.parametrize("drive", Drive)
@pytest.mark.parametrize("pruned", [0.0, 0.6])
@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_sound_chips_are_clean(name: str, pruned: float, drive: Drive, tmp_path: Path) -> None:
    technology = load_technology(name)
    program = place_program(clements(PORTS, pruned, drive), technology)
    write_gds(program, technology, tmp_path)
    found = check_rules(tmp_path / "design.gds", technology, tmp_path / "drc.lyrdb")
    assert found.total == 0
    assert not (tmp_path / "drc.lyrdb").exists()
    circuit = compare_layout(tmp_path / "design.gds", program, technology)
    assert circuit.differences == circuit.paths == ()
    assert circuit.heaters > 0
    assert 0 < circuit.guide_um < 0.005


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_random_chips_are_clean(
    make_program: MakeProgram, name: str, seed: int, tmp_path: Path
) -> None:
    technology = load_technology(name)
    program = place_program(make_program(seed, drive=Drive.ARM_CHOICE), technology)
    write_gds(program, technology, tmp_path)
    assert check_rules(tmp_path / "design.gds", technology).total == 0
    circuit = compare_layout(tmp_path / "design.gds", program, technology)
    assert circuit.differences == circuit.paths == ()
    found = extract(tmp_path / "design.gds", technology)
    again = rebuild(found, table_rows(program, technology, tmp_path), program, technology)
    assert again.problems == ()
    for layer, other, drawn in zip(
        program.layers, again.designed.layers, again.drawn.layers, strict=True
    ):
        for grid, g, h in zip(layer.grids, other.grids, drawn.grids, strict=True):
            for tile, made, dense in zip(grid.tiles, g.tiles, h.tiles, strict=True):
                assert isinstance(tile, MeshTile)
                assert isinstance(made, MeshTile)
                assert isinstance(dense, DenseTile)
                asked = tile_transfer(tile)
                assert made.u.column.tolist() == tile.u.column.tolist()
                assert np.abs(tile_transfer(made) - asked).max(initial=0) < 1e-12 * tile.gain
                # 20 nm of guide are 0.2 rad.
                assert np.abs(dense.weight - asked).max(initial=0) <= 0.05 * tile.gain


@pytest.mark.parametrize("name", ["cornerstone_si220", "siepic_ebeam"])
def test_a_guide_right_through_the_chip_has_two_names(name: str, tmp_path: Path) -> None:
    technology = load_technology(name)
    program = clements(PORTS, 0.0)
    (layer,) = program.layers
    (grid,) = layer.grids
    (tile,) = grid.tiles
    assert isinstance(tile, MeshTile)

    def lower(mesh: Mesh) -> Mesh:
        keep = mesh.port == PORTS - 2
        arrays = ("column", "port", "theta_rad", "phi_rad", "theta_state", "phi_state")
        return replace(mesh, **{a: getattr(mesh, a)[keep] for a in arrays})

    theta, state = tile.sigma.theta_rad.copy(), tile.sigma.state.copy()
    theta[0], state[0] = 0.0, ShifterState.REMOVED
    tile = replace(
        tile, u=lower(tile.u), v=lower(tile.v), sigma=Attenuators(theta, state, tile.u.drive)
    )
    layer = replace(layer, grids=(replace(grid, tiles=(tile,)),))
    program = place_program(replace(program, layers=(layer,)), technology)
    write_gds(program, technology, tmp_path)
    found = extract(tmp_path / "design.gds", technology)
    assert "fc.g0.t0.in0,fc.g0.t0.out0" in found.labels.values()
    circuit = compare_layout(tmp_path / "design.gds", program, technology)
    assert circuit.differences == circuit.paths == ()
    rows = table_rows(program, technology, tmp_path)
    assert rebuild(found, rows, program, technology).problems == ()


def test_names_joined_by_a_short_name_nothing() -> None:
    device = Device(Kind.COUPLER, 0.0, 0.0, (1, 2, 3, 4))
    found = Extracted((device,), {1: "t.in0,t.out3", 2: "t.in1", 9: "t.in2,t.out2", 8: "a,b,c"})
    assert net_names(found) == {"t.in0,t.out3": 1, "t.in1": 2, "t.in2": 9, "t.out2": 9, "a,b,c": 8}


def table_rows(program: Program, technology: Technology, folder: Path) -> tuple[PhaseRow, ...]:
    with (folder / "phases.csv").open("w", encoding="utf-8", newline="") as file:
        write_table(program, file, technology)
    return read_phases(folder / "phases.csv")


@pytest.mark.parametrize("drive", Drive)
@pytest.mark.parametrize("pruned", [0.0, 0.6])
@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_bumped_chips_are_clean(name: str, pruned: float, drive: Drive, tmp_path: Path) -> None:
    technology = load_technology(name)
    pads = replace(technology.pads, style=PadStyle.BUMP, size_um=50.0)
    technology = replace(technology, pads=pads)
    program = place_program(clements(PORTS, pruned, drive), technology)
    write_gds(program, technology, tmp_path)
    assert check_rules(tmp_path / "design.gds", technology).counts["metal.space"] == 0
    assert check_rules(tmp_path / "design.gds", technology).total == 0
    assert compare_layout(tmp_path / "design.gds", program, technology).differences == ()


# ---- planted faults -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Program, Path]:
    folder = tmp_path_factory.mktemp("chip")
    program = place_program(clements(PORTS, 0.4), TECHNOLOGY)
    write_gds(program, TECHNOLOGY, folder)
    return program, folder / "design.gds"


def cells_named(layout: Any, start: str) -> list[Any]:
    """(parent cell, instance) of all cells whose names begin so."""
    return [
        (cell, instance)
        for cell in layout.each_cell()
        for instance in cell.each_inst()
        if instance.cell.name.startswith(start)
    ]


def wire_cell(layout: Any) -> Any:
    return layout.cell("L0_G0_T0_W")


def tile_cell(layout: Any) -> Any:
    return layout.cell("L0_G0_T0")


def short(layout: Any) -> None:
    """A bar of metal over two neighbouring pads."""
    pads = pad_boxes(layout)[:2]
    both = pads[0] + pads[1]
    middle = both.center()
    bar = db.Box(both.left, middle.y - 5000, both.right, middle.y + 5000)
    wire_cell(layout).shapes(layout.layer(*TECHNOLOGY.layers.metal)).insert(bar)


def pad_boxes(layout: Any) -> list[Any]:
    pads = [
        instance.bbox()
        for instance in wire_cell(layout).each_inst()
        if instance.cell.name.startswith("PAD_")
    ]
    return sorted(pads, key=lambda box: (box.bottom, box.left))


def cut_metal(layout: Any) -> None:
    """The narrowest part of a wire is taken away, 12 um of it."""
    shapes = wire_cell(layout).shapes(layout.layer(*TECHNOLOGY.layers.metal))
    track = round(TECHNOLOGY.routing.track_um / layout.dbu)
    wires = [s.bbox() for s in shapes.each() if s.bbox().width() == track]
    longest = max(wires, key=lambda box: box.height())
    hole = db.Region(
        longest.enlarged(100, 0)
        & db.Box(
            longest.left - 100, longest.center().y, longest.right + 100, longest.center().y + 12000
        )
    )
    left = db.Region(shapes) - hole
    shapes.clear()
    shapes.insert(left)


def cut_guide(layout: Any) -> None:
    """1 um of the first heated guide of a cell is taken away."""
    heater = layout.cell("HEATER")
    shapes = heater.shapes(layout.layer(*TECHNOLOGY.layers.core))
    # Below a heater's mark a cut is inside of the device; its pin at the end is what is left.
    left = db.Region(shapes) - db.Region(db.Box(-500, -5000, 500, 5000))
    shapes.clear()
    shapes.insert(left)


def cut_link(layout: Any) -> None:
    """1 um of the guides at the chip's inputs is taken away."""
    top = layout.top_cell()
    layer = layout.layer(*TECHNOLOGY.layers.core)
    core = db.Region(top.begin_shapes_rec(layer)).merged()
    cut = core - db.Region(db.Box(3000, -(10**8), 4000, 10**8))
    layout.clear_layer(layer)
    top.shapes(layer).insert(cut)


def missing_mzi(layout: Any) -> None:
    _, instance = cells_named(layout, "MZI_")[3]
    cell = instance.cell
    instance.delete()
    if not cell.caller_cells():
        layout.prune_cell(cell.cell_index(), -1)


def swapped_kinds(layout: Any) -> None:
    """Two MZIs of one column length with heaters on other arms change places."""
    found = cells_named(layout, "MZI_")
    one = found[0][1]
    width = one.cell.bbox().width()
    other = next(
        instance
        for _, instance in found
        if instance.cell.name != one.cell.name and instance.cell.bbox().width() == width
    )
    one.cell_index, other.cell_index = other.cell_index, one.cell_index


def swapped_pads(layout: Any) -> None:
    shapes = tile_cell(layout).shapes(layout.layer(*TECHNOLOGY.markers.pin_metal))
    texts = [s for s in shapes.each(db.Shapes.STexts) if "_N" in s.text_string]
    a, b = texts[0].text_string, texts[1].text_string
    texts[0].text_string, texts[1].text_string = b, a


def offset_10_nm(layout: Any) -> None:
    _, instance = cells_named(layout, "COUPLER")[0]
    instance.transform(db.DTrans(db.DVector(0, 0.010)))


def cut_below_mark(layout: Any) -> None:
    """1 um in the middle of every heater's guide is taken away: no pin is near."""
    shapes = layout.cell("HEATER").shapes(layout.layer(*TECHNOLOGY.layers.core))
    middle = db.Region(shapes).bbox().center().x
    left = db.Region(shapes) - db.Region(db.Box(middle - 500, -5000, middle + 500, 5000))
    shapes.clear()
    shapes.insert(left)


def crossing_10_nm(layout: Any) -> None:
    """A crossing beside its guides, which no pin is near."""
    _, instance = cells_named(layout, "CROSSING")[0]
    instance.transform(db.DTrans(db.DVector(0, 0.010)))


def arm_30_nm(layout: Any) -> None:
    """One straight arm takes a detour of 30 nm, so gently that every rule is kept."""
    layer = layout.layer(*TECHNOLOGY.layers.core)
    shapes, guide = next(
        (cell.shapes(layer), shape)
        for cell in layout.each_cell()
        if cell.name.startswith("MZI_")
        for shape in cell.shapes(layer).each(db.Shapes.SBoxes | db.Shapes.SPolygons)
        if shape.bbox().width() == round(heated_um(TECHNOLOGY) / layout.dbu)
    )
    box = guide.dbbox()
    rise = np.sqrt(0.030 * box.width() / 2)
    line = np.array([(box.left, 0), (box.center().x, rise), (box.right, 0)])
    line[:, 1] += box.center().y
    detour = ribbon(line, TECHNOLOGY.guide.width_um)
    guide.delete()
    shapes.insert(db.DPolygon([db.DPoint(x, y) for x, y in detour.tolist()]))


def narrow_wire(layout: Any) -> None:
    """A stray wire below the rule's width."""
    shape = db.Box(-1500, -50000, 0, -20000)
    wire_cell(layout).shapes(layout.layer(*TECHNOLOGY.layers.metal)).insert(shape)


@pytest.mark.parametrize(
    ("plant", "rules", "circuit"),
    [
        (short, "", "is between"),
        (cut_metal, "", "no pad"),
        (cut_guide, "pin.guide", ""),
        (cut_link, "", "do not meet in one"),
        (missing_mzi, "", "do not meet in one"),
        (swapped_kinds, "", "instead of a"),
        (swapped_pads, "", "is between"),
        (offset_10_nm, "pin.guide", ""),
        (narrow_wire, "metal.width", ""),
        (cut_below_mark, "", "is not what the technology draws"),
        (crossing_10_nm, "", "is not what the technology draws"),
        (arm_30_nm, "", "um long, not"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_planted_faults_are_found(
    chip: tuple[Program, Path],
    plant: Callable[[Any], None],
    rules: str,
    circuit: str,
    tmp_path: Path,
) -> None:
    program, sound = chip
    layout = db.Layout()
    layout.read(str(sound))
    plant(layout)
    path = tmp_path / "fault.gds"
    layout.write(str(path))
    report = tmp_path / "fault.lyrdb"
    found = check_rules(path, TECHNOLOGY, report)
    if rules:
        assert found.counts[rules] > 0
        assert rules in found.first
        assert f"<name>{rules}</name>" in report.read_text()
    compared = compare_layout(path, program, TECHNOLOGY)
    differences = compared.differences + compared.paths
    if circuit:
        assert any(circuit in text for text in differences), differences
    assert found.total or differences


def test_a_heater_too_many_in_the_program_is_missed_in_the_layout(
    chip: tuple[Program, Path],
) -> None:
    program, path = chip
    (layer,) = program.layers
    (grid,) = layer.grids
    (tile,) = grid.tiles
    assert isinstance(tile, MeshTile)
    state = tile.sigma.state.copy()
    state[:] = ShifterState.REMOVED
    bare = replace(tile.sigma, state=state, theta_rad=np.zeros(len(state)))
    other = replace(layer, grids=(replace(grid, tiles=(replace(tile, sigma=bare),)),))
    differences = compare_layout(path, replace(program, layers=(other,)), TECHNOLOGY).differences
    assert any("is not in the program" in text for text in differences)

"""Fixed cells of a foundry on a chip: placed by reference, balanced, found again, byte-stable."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gdstk
import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.backends.gds import write_gds
from onnx2mzi.errors import FitError, UsageError
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
from onnx2mzi.tech import Technology, load_technology
from onnx2mzi.tech.geometry import cells, heated_um

db: Any = pytest.importorskip("klayout.db", reason="needs klayout (extra check)")

from onnx2mzi.backends.gds.drc import check_rules  # noqa: E402
from onnx2mzi.backends.gds.lvs import compare_layout  # noqa: E402

Installed = Callable[[str, str], Path]
SHIPPED = Path(onnx2mzi.__file__).parent / "tech"
CORE, SLAB, HEATER, METAL, BLACK = (3, 0), (5, 0), (39, 0), (41, 0), (998, 0)

COUPLER = """
gds = "fab.gds"
cell = "FAB_MMI"
ports = { i0 = [-30, 5.5, "west"], i1 = [-30, 3.5, "west"], \
o0 = [30, 5.5, "east"], o1 = [30, 3.5, "east"] }
path_um = 61.0
excess_bar_db = 0.2
excess_cross_db = 0.2
"""
CROSSING = """
gds = "fab.gds"
cell = "FAB_X"
path_um = 9.5
loss_db = 0.1
crosstalk_db = -40.0
[crossing.ports]
i0 = [0.0, 4.5, "west"]
i1 = [4.5, 0.0, "south"]
o0 = [4.5, 9.0, "north"]
o1 = [9.0, 4.5, "east"]
"""
HEATED = """
gds = "fab.gds"
cell = "FAB_HEATER"
ports = { i = [0, 0, "west"], o = [224, 0, "east"], p = [0, 0, "west"], n = [224, 0, "east"] }
width_um = 0.9
contact_length_um = 12.0
contact_width_um = 10.0
min_pitch_um = 70.0
p_pi_mw = 30.0
ohm = 1000.0
max_ma = 10.0
loss_db = 0.0
"""
PADS = """
style = "edge"
gds = "fab.gds"
cell = "FAB_PAD"
ports = { p = [40, 40, "north"] }
pitch_um = 154.0
max_rows = 5
"""
SECTIONS = {"coupler": COUPLER, "crossing": CROSSING, "heater": HEATED, "pads": PADS}


def box(x0: float, y0: float, x1: float, y1: float, layer: tuple[int, int]) -> gdstk.Polygon:
    return gdstk.rectangle((x0, y0), (x1, y1), layer=layer[0], datatype=layer[1])


def fab_library(folder: Path, *, black: bool = False) -> None:
    """What a foundry gives: cells with shapes, pins and texts, or with boxes alone."""
    library = gdstk.Library("fab", 1e-6, 1e-9)
    inner = gdstk.Cell("FAB_MMI_BODY")
    inner.add(box(-20, 1.5, 20, 7.5, CORE), box(-20, 0.5, 20, 8.5, SLAB))
    coupler = gdstk.Cell("FAB_MMI")
    coupler.add(gdstk.Reference(inner))
    for x0, x1 in ((-30, -20), (20, 30)):
        for y in (3.5, 5.5):
            coupler.add(box(x0, y - 0.225, x1, y + 0.225, CORE))
    # Pins and a name that those of the chip must not be mixed up with.
    coupler.add(box(-30.05, 3.2, -29.95, 3.8, (1, 10)))
    coupler.add(gdstk.Label("fc.g0.t0.in0", (-30, 3.5), layer=1, texttype=10))
    coupler.add(gdstk.Label("FAB 1550", (0, 4.5), layer=10))
    crossing = gdstk.Cell("FAB_X")
    crossing.add(box(0, 4.275, 9, 4.725, CORE), box(4.275, 0, 4.725, 9, CORE))
    crossing.add(box(3, 3.8, 6, 5.2, CORE))
    heater = gdstk.Cell("FAB_HEATER")
    heater.add(box(0, -0.225, 224, 0.225, CORE), box(0, -0.5, 224, 0.5, HEATER))
    for x in (0, 212):
        heater.add(box(x, -5, x + 12, 5, HEATER), box(x, -5, x + 12, 5, METAL))
    pad = gdstk.Cell("FAB_PAD")
    pad.add(box(0, 0, 80, 80, METAL))
    made = [coupler, crossing, heater, pad]
    for cell in made if black else ():
        (x0, y0), (x1, y1) = {
            "FAB_MMI": ((-30, 0.5), (30, 8.5)),
            "FAB_X": ((0, 0), (9, 9)),
            "FAB_HEATER": ((0, -5), (224, 5)),
            "FAB_PAD": ((0, 0), (80, 80)),
        }[cell.name]
        cell.remove(*cell.polygons, *cell.references)
        cell.add(box(x0, y0, x1, y1, BLACK))
    library.add(*made, *(() if black else (inner,)))
    library.write_gds(folder / "fab.gds")


def technology_file(folder: Path, name: str, sections: dict[str, str], more: str = "") -> Path:
    """A technology that comes with the package, some sections of it changed."""
    text = (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")
    for section, body in sections.items():
        keys = body.strip("\n").replace("\n[", f"{more}\n[", 1) if "\n[" in body else body + more
        start = text.index(f"[{section}]")
        end = text.find("\n[", start)
        text = f"{text[:start]}[{section}]\n{keys}\n{text[end:] if end > 0 else ''}"
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def clements(ports: int, pruned: float) -> Program:
    """One full tile; each phase is removed with the probability `pruned`."""
    rng = np.random.default_rng(5)
    column, port = clements_layout(ports)

    def phases(count: int) -> tuple[Any, Any]:
        kept = rng.random(count) >= pruned
        state = np.where(kept, ShifterState.ACTIVE, ShifterState.REMOVED).astype(np.uint8)
        return np.where(kept, rng.uniform(-np.pi, np.pi, count), 0.0), state

    def mesh() -> Mesh:
        (theta, theta_state), (phi, phi_state) = phases(len(column)), phases(len(column))
        out, none = np.zeros(ports), np.zeros(ports, np.uint8)
        drive = Drive.ARM_CHOICE
        return Mesh(ports, column, port, theta, phi, theta_state, phi_state, out, none, drive)

    sigma, state = phases(ports)
    guides = np.arange(ports, dtype=np.int32)
    held = Attenuators(np.abs(sigma), state, Drive.ARM_CHOICE)
    tile = MeshTile(guides, guides, mesh(), held, mesh(), 1.0, np.zeros(ports))
    layer = LinearLayer(
        "fc",
        np.zeros((ports, ports)),
        Operand("x", -1, "w", False, "float32"),
        Loc(),
        (TileGrid(ports, ports, (tile,)),),
    )
    return Program("chip", Stage.MESH, ports, (layer,))


def checked(technology: Technology, folder: Path, *, pruned: float = 0.6, ports: int = 4) -> Path:
    """A chip in this technology, under all rules and equal to its program; its design file."""
    program = place_program(clements(ports, pruned), technology)
    write_gds(program, technology, folder)
    assert {
        k: n for k, n in check_rules(folder / "design.gds", technology).counts.items() if n
    } == {}
    found = compare_layout(folder / "design.gds", program, technology)
    assert found.differences == found.paths == ()
    assert found.row_um < 0.02
    return folder / "design.gds"


def written(technology: Technology, folder: Path) -> None:
    write_gds(place_program(clements(4, 0.6), technology), technology, folder)


def layers_of(path: Path) -> set[tuple[int, int]]:
    return set(gdstk.read_gds(path).layers_and_datatypes())


def names_of(path: Path) -> set[str]:
    return {cell.name for cell in gdstk.read_gds(path).cells}


@pytest.fixture
def fab(tmp_path: Path) -> Iterator[Path]:
    fab_library(tmp_path)
    yield tmp_path


def test_lengths_follow_from_the_ports(fab: Path) -> None:
    technology = load_technology(technology_file(fab, "cornerstone_si220", SECTIONS))
    assert technology.coupler.length_um == 60
    assert technology.coupler.port_gap_um == 2
    # From 0.5 to 8.5 around ports at 4.5.
    assert technology.coupler.body_width_um == 6
    assert technology.crossing.length_um == 9
    assert technology.crossing.extra_um == pytest.approx(0.5)
    assert heated_um(technology) == 224
    assert technology.pads.size_um == 80
    plain = load_technology("cornerstone_si220")
    shorter = cells(plain).stage_um - cells(technology).stage_um
    assert shorter == pytest.approx(plain.coupler.length_um - 60, abs=0.1)


@pytest.mark.parametrize(
    ("sections", "pruned"),
    [(("coupler",), 0.0), (("crossing",), 0.95), (("heater",), 0.5), (tuple(SECTIONS), 0.6)],
)
def test_chips_with_fixed_cells_are_clean(
    fab: Path, sections: tuple[str, ...], pruned: float
) -> None:
    chosen = {name: SECTIONS[name] for name in sections}
    technology = load_technology(technology_file(fab, "cornerstone_si220", chosen))
    checked(technology, fab, pruned=pruned)


def test_the_mask_has_the_foundrys_layers_and_the_same_bytes(fab: Path) -> None:
    file = technology_file(fab, "cornerstone_si220", SECTIONS, "\nlayers = [[5, 0]]")
    technology = load_technology(file)
    files = "design.gds", "mask.gds"
    checked(technology, fab)
    first = [(fab / name).read_bytes() for name in files]
    (fab / "fab.gds").rename(fab / "gone.gds")
    # What was read is kept.
    written(technology, fab)
    assert [(fab / name).read_bytes() for name in files] == first
    assert layers_of(fab / "mask.gds") == {CORE, SLAB, HEATER, METAL, (99, 0)}
    assert {"FAB_MMI", "FAB_MMI_BODY", "FAB_X", "FAB_HEATER", "FAB_PAD"} <= names_of(
        fab / "mask.gds"
    )


def test_without_being_named_a_layer_of_a_cell_is_not_on_the_mask(fab: Path) -> None:
    technology = load_technology(technology_file(fab, "cornerstone_si220", {"coupler": COUPLER}))
    written(technology, fab)
    assert SLAB in layers_of(fab / "design.gds")
    assert SLAB not in layers_of(fab / "mask.gds")


def test_boxes_stay_boxes(tmp_path: Path) -> None:
    fab_library(tmp_path, black=True)
    black = '\nmask = "box"\nbox = [998, 0]'
    technology = load_technology(technology_file(tmp_path, "cornerstone_si220", SECTIONS, black))
    checked(technology, tmp_path)
    cells_of = {cell.name: cell for cell in gdstk.read_gds(tmp_path / "mask.gds").cells}
    for name in ("FAB_MMI", "FAB_X", "FAB_HEATER", "FAB_PAD"):
        cell = cells_of[name]
        assert isinstance(cell, gdstk.Cell)
        assert [(p.layer, p.datatype) for p in cell.polygons] == [BLACK]
        assert not cell.references and not cell.labels


def test_a_cell_with_shapes_may_be_a_box_on_the_mask(fab: Path) -> None:
    black = '\nmask = "box"\nbox = [998, 0]'
    file = technology_file(fab, "cornerstone_si220", {"coupler": COUPLER}, black)
    written(load_technology(file), fab)
    assert "FAB_MMI_BODY" in names_of(fab / "design.gds")
    assert "FAB_MMI_BODY" not in names_of(fab / "mask.gds")
    assert BLACK in layers_of(fab / "mask.gds")


def test_two_cells_may_share_one_below_them(fab: Path) -> None:
    library = gdstk.read_gds(fab / "fab.gds")
    cells_of = {cell.name: cell for cell in library.cells}
    mark = gdstk.Cell("FAB_MARK")
    mark.add(box(-0.1, -0.1, 0.1, 0.1, SLAB))
    library.add(mark)
    for name, x, y in (("FAB_MMI", 0, 4.5), ("FAB_PAD", 40, 40)):
        holder = cells_of[name]
        assert isinstance(holder, gdstk.Cell)
        holder.add(gdstk.Reference(mark, (x, y)))
    library.write_gds(fab / "fab.gds")
    named = "\nlayers = [[5, 0]]"
    black = f'{named}\nmask = "box"\nbox = [998, 0]'
    for pads, coupler in ((PADS, COUPLER + black), (PADS + black, COUPLER + named)):
        sections = {"coupler": coupler, "pads": pads}
        technology = load_technology(technology_file(fab, "cornerstone_si220", sections))
        written(technology, fab)
        made = gdstk.read_gds(fab / "mask.gds")
        assert [cell.name for cell in made.cells].count("FAB_MARK") == 1
        assert len(made.top_level()) == 1
        assert SLAB in layers_of(fab / "mask.gds")
    both = {"coupler": COUPLER + black, "pads": PADS + black}
    written(load_technology(technology_file(fab, "cornerstone_si220", both)), fab)
    assert "FAB_MARK" not in names_of(fab / "mask.gds")


def gone(layout: Any) -> None:
    """One coupler's own cell is not there, but for its marks."""
    wrapper = layout.cell("COUPLER")
    bare = layout.create_cell("BARE")
    bare.copy_shapes(wrapper)
    stage = layout.cell("STAGE")
    next(one for one in stage.each_inst()).cell_index = bare.cell_index()


def moved(layout: Any) -> None:
    inside = next(iter(layout.cell("COUPLER").each_inst()))
    inside.transform(db.DTrans(db.DVector(0, 0.05)))


def other(layout: Any) -> None:
    inside = next(iter(layout.cell("COUPLER").each_inst()))
    instead = layout.create_cell("OTHER")
    instead.shapes(layout.layer(*CORE)).insert(db.DBox(-30, 3, 30, 6))
    layout.cell("COUPLER").insert(db.CellInstArray(instead.cell_index(), inside.trans))
    inside.delete()
    layout.prune_cell(layout.cell("FAB_MMI").cell_index(), -1)


@pytest.mark.parametrize("black", [False, True])
@pytest.mark.parametrize("plant", [gone, moved, other])
def test_a_cell_that_is_not_as_placed_is_found(
    tmp_path: Path, plant: Callable[[Any], None], black: bool
) -> None:
    fab_library(tmp_path, black=black)
    technology = load_technology(technology_file(tmp_path, "cornerstone_si220", SECTIONS))
    program = place_program(clements(4, 0.6), technology)
    write_gds(program, technology, tmp_path)
    layout = db.Layout()
    layout.read(str(tmp_path / "design.gds"))
    plant(layout)
    layout.write(str(tmp_path / "faulty.gds"))
    found = compare_layout(tmp_path / "faulty.gds", program, technology)
    assert any("is not what the technology draws" in text for text in found.differences)


def test_rules_are_not_looked_at_within_a_cell_but_around_it(fab: Path) -> None:
    gds = gdstk.read_gds(fab / "fab.gds")
    body = next(cell for cell in gds.cells if cell.name == "FAB_MMI_BODY")
    assert isinstance(body, gdstk.Cell)
    # A slot narrower than the rules allow.
    hole = gdstk.boolean(body.polygons[0], box(-5, 4, 5, 4.1, CORE), "not", layer=3)
    body.remove(body.polygons[0])
    body.add(*hole)
    gds.write_gds(fab / "fab.gds")
    technology = load_technology(technology_file(fab, "cornerstone_si220", SECTIONS))
    design = checked(technology, fab)
    layout = db.Layout()
    layout.read(str(design))
    layout.cell("COUPLER").shapes(layout.layer(*CORE)).insert(db.DBox(10, 4.6, 20, 4.7))
    layout.write(str(fab / "beside.gds"))
    assert check_rules(fab / "beside.gds", technology).counts["core.width"] > 0


def test_pads_that_leave_no_room_and_names_that_meet_are_refused(fab: Path) -> None:
    bumps = PADS.replace('"edge"', '"bump"')
    small = technology_file(fab, "cornerstone_si220", {"pads": bumps})
    technology = load_technology(small)
    with pytest.raises(FitError, match="'FAB_PAD' is 80 um wide"):
        write_gds(place_program(clements(4, 0.0), technology), technology, fab)
    other = gdstk.read_gds(fab / "fab.gds")
    other.write_gds(fab / "other.gds")
    moved_file = {**SECTIONS, "crossing": CROSSING.replace("fab.gds", "other.gds")}
    renamed = next(cell for cell in other.cells if cell.name == "FAB_MMI_BODY")
    assert isinstance(renamed, gdstk.Cell)
    cross = next(cell for cell in other.cells if cell.name == "FAB_X")
    assert isinstance(cross, gdstk.Cell)
    cross.add(gdstk.Reference(renamed, (4.5, 4.5), magnification=0.001))
    renamed.add(box(-1, 2, 1, 3, SLAB))
    other.write_gds(fab / "other.gds")
    technology = load_technology(technology_file(fab, "cornerstone_si220", moved_file))
    with pytest.raises(UsageError, match="FAB_MMI_BODY"):
        write_gds(place_program(clements(4, 0.6), technology), technology, fab)


def test_cornerstones_own_coupler(
    installed: Installed, submission: ModuleType, tmp_path: Path
) -> None:
    gds = installed("cspdk", "si340/gds/SOI340nm_1550nm_TE_STRIP_2x2_MMI.gds")
    coupler = f"""
gds = "{gds}"
cell = "SOI340nm_1550nm_TE_STRIP_2x2_MMI"
path_um = 106.5
excess_bar_db = 0.36
excess_cross_db = 0.30
[coupler.ports]
i0 = [0.0, 1.015, "west"]
i1 = [0.0, -1.015, "west"]
o0 = [106.5, 1.015, "east"]
o1 = [106.5, -1.015, "east"]
"""
    file = technology_file(tmp_path, "cornerstone_si220", {"coupler": coupler})
    checked(load_technology(file), tmp_path, pruned=0.7)
    assert layers_of(tmp_path / "mask.gds") == {CORE, HEATER, METAL, (99, 0)}
    assert submission.check_submission(tmp_path / "mask.gds") == []


def test_cornerstones_own_crossing(installed: Installed, tmp_path: Path) -> None:
    """Of silicon nitride: wide guides, wide bends."""
    gds = installed("cspdk", "sin300/gds/SiN300nm_1550nm_TE_STRIP_Crossing.gds")
    crossing = f"""
gds = "{gds}"
cell = "SiN300nm_1550nm_TE_STRIP_Crossing"
loss_db = 0.1
crosstalk_db = -40.0
[crossing.ports]
i0 = [0.0, 0.0, "west"]
i1 = [4.5, -4.5, "south"]
o0 = [4.5, 4.5, "north"]
o1 = [9.0, 0.0, "east"]
"""
    file = technology_file(tmp_path, "cornerstone_si220", {"crossing": crossing})
    text = file.read_text(encoding="utf-8")
    for old, new in (
        ("core = [3, 0]", "core = [203, 0]"),
        ("width_um = 0.45", "width_um = 1.2"),
        ("taper_width_um = 1.5", "taper_width_um = 1.8"),
        ("port_gap_um = 2.03", "port_gap_um = 3.0"),
        ("bend_radius_um = 10.0", "bend_radius_um = 25.0"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    file.write_text(text, encoding="utf-8")
    checked(load_technology(file), tmp_path, pruned=0.9)
    assert "SiN300nm_1550nm_TE_STRIP_Crossing" in names_of(tmp_path / "mask.gds")


def test_siepics_own_coupler_crossing_and_pad(installed: Installed, tmp_path: Path) -> None:
    coupler = installed("siepic_ebeam_pdk", "gds/EBeam/ebeam_bdc_te1550.gds")
    crossing = installed("siepic_ebeam_pdk", "gds/EBeam/ebeam_crossing4.gds")
    pad = installed("siepic_ebeam_pdk", "gds/EBeam_SiN/ebeam_BondPad.gds")
    sections = {
        "coupler": f"""
gds = "{coupler}"
cell = "ebeam_bdc_te1550"
path_um = 71.2
excess_bar_db = 0.1
excess_cross_db = 0.1
[coupler.ports]
i0 = [-35.45, 2.35, "west"]
i1 = [-35.45, -2.35, "west"]
o0 = [35.3, 2.35, "east"]
o1 = [35.3, -2.35, "east"]
""",
        "crossing": f"""
gds = "{crossing}"
cell = "ebeam_crossing4"
loss_db = 0.2
crosstalk_db = -40.0
[crossing.ports]
i0 = [-4.8, 0.0, "west"]
i1 = [0.0, -4.8, "south"]
o0 = [0.0, 4.8, "north"]
o1 = [4.8, 0.0, "east"]
""",
        "pads": f"""
style = "edge"
gds = "{pad}"
cell = "ebeam_BondPad"
ports = {{ p = [0.0, 0.0, "north"] }}
pitch_um = 150.0
max_rows = 5
""",
    }
    file = technology_file(tmp_path, "siepic_ebeam", sections)
    checked(load_technology(file), tmp_path, pruned=0.7)
    assert layers_of(tmp_path / "mask.gds") == {(1, 0), (11, 0), (12, 0), (13, 0), (99, 0)}


def test_a_compiled_chip_with_fixed_cells_passes_the_check(fab: Path, tiny_onnx: bytes) -> None:
    from onnx2mzi.driver.check import check

    file = technology_file(fab, "cornerstone_si220", SECTIONS)
    chip = onnx2mzi.compile(tiny_onnx, "prune{budget=0.3}", ports=4, tech=str(file))
    chip.save(fab / "chip", emit="ir,gds,phases")
    (fab / "fab.gds").unlink()
    findings = {finding.name: finding.ok for finding in check(fab / "chip")}
    assert findings["drc"] and findings["lvs"] and findings["paths"] and findings["loop"]
    assert False not in findings.values()

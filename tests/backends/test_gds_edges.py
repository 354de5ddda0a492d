"""Edge couplers and alignment loops: drawn, labelled, under the rules, and faults are found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gdstk
import numpy as np
import pytest

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.ir import LinearLayer, Loc, MeshTile, Operand, Program, Stage
from onnx2mzi.passes.decompose import Decompose
from onnx2mzi.passes.place import Place
from onnx2mzi.passes.svd import Svd
from onnx2mzi.passes.tile import Tile
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.edges import edge_losses_db, edge_plan
from onnx2mzi.tech import Technology, load_technology
from onnx2mzi.tech.edge import Edge, FanOut

db: Any = pytest.importorskip("klayout.db", reason="needs klayout (extra check)")

from onnx2mzi.backends.gds.drc import check_rules  # noqa: E402
from onnx2mzi.backends.gds.edge_check import edge_differences  # noqa: E402
from onnx2mzi.backends.gds.extraction import extract  # noqa: E402
from onnx2mzi.backends.gds.lvs import compare_layout  # noqa: E402

WITH_EDGES = ("cornerstone_si220", "siepic_ebeam")


def placed(technology: Technology) -> Program:
    """A dense layer on meshes of eight ports."""
    weight = np.random.default_rng(5).normal(size=(8, 8))
    operand = Operand("x", -1, "w", False, "float32")
    layer = LinearLayer("fc", weight, operand, Loc("net.onnx", "fc"))
    program = Program("net", Stage.LINEAR, 8, (layer,))
    for step in (Tile(), Svd(), Decompose(), Place()):
        program = step.run(program, Context(technology))
    return program


def ports_of(program: Program) -> set[str]:
    return {
        f"{layer.name}.g{g}.t{t}.{side}{k}"
        for layer in program.layers
        for g, grid in enumerate(layer.grids)
        for t, tile in enumerate(grid.tiles)
        if isinstance(tile, MeshTile)
        for side, mesh in (("in", tile.v), ("out", tile.u))
        for k in range(mesh.ports)
    }


@pytest.mark.parametrize("name", WITH_EDGES)
def test_every_port_reaches_the_dies_edge(name: str, tmp_path: Path) -> None:
    technology = load_technology(name)
    program = placed(technology)
    write_gds(program, technology, tmp_path)
    design = tmp_path / "design.gds"
    assert check_rules(design, technology).total == 0
    found = compare_layout(design, program, technology)
    assert found.differences == found.paths == ()
    edges = extract(design, technology).edges
    loops = {("loop.left0", "loop.left1"), ("loop.right0", "loop.right1")}
    assert {guide.tips for guide in edges} == {(port,) for port in ports_of(program)} | loops
    # Tips lie on the outline, as narrow as the technology says.
    layout = db.Layout()
    layout.read(str(design))
    top = layout.top_cell()
    core, outline = (
        db.Region(top.begin_shapes_rec(layout.layer(*layer))).merged()
        for layer in (technology.layers.core, technology.layers.outline)
    )
    assert core.bbox().left == outline.bbox().left
    assert core.bbox().right == outline.bbox().right
    tips = [edge for edge in (core.edges() & outline.edges()).each()]
    assert len(tips) == len(ports_of(program)) + 4
    assert {round(tip.length() * layout.dbu, 6) for tip in tips} == {technology.edge.tip_width_um}


def test_marks_are_not_on_the_mask(tmp_path: Path) -> None:
    technology = load_technology("siepic_ebeam")
    write_gds(placed(technology), technology, tmp_path)
    layers = [
        set(gdstk.read_gds(tmp_path / f"{name}.gds").layers_and_datatypes())
        for name in ("design", "mask")
    ]
    assert technology.edge.marker in layers[0]
    assert technology.edge.marker not in layers[1]


@pytest.mark.parametrize("name", [*WITH_EDGES, "generic_two_metal"])
def test_without_couplers_guides_end_at_the_ports(name: str, tmp_path: Path) -> None:
    technology = replace(load_technology(name), edge=Edge())
    program = placed(technology)
    assert program.placement is not None
    assert edge_plan(program, technology) is None
    write_gds(program, technology, tmp_path)
    (top,) = gdstk.read_gds(tmp_path / "design.gds").top_level()
    assert isinstance(top, gdstk.Cell)
    guides = top.get_polygons(layer=technology.layers.core[0], datatype=0)
    assert min(np.asarray(polygon.points)[:, 0].min() for polygon in guides) == 0.0
    assert not [label for label in top.labels if label.text.startswith("edge.")]


def fanned(name: str, how: FanOut) -> Technology:
    technology = load_technology(name)
    return replace(technology, edge=replace(technology.edge, fan_out=how))


@pytest.mark.parametrize("name", WITH_EDGES)
def test_a_fan_out_leads_to_the_fibres_pitch_by_equal_lengths(name: str, tmp_path: Path) -> None:
    technology = fanned(name, FanOut.ALWAYS)
    program = placed(technology)
    write_gds(program, technology, tmp_path)
    first = (tmp_path / "design.gds").read_bytes()
    write_gds(program, technology, tmp_path)
    assert (tmp_path / "design.gds").read_bytes() == first
    design = tmp_path / "design.gds"
    assert check_rules(design, technology).total == 0
    found = compare_layout(design, program, technology)
    assert found.differences == found.paths == ()
    plan = edge_plan(program, technology)
    assert plan is not None
    for side in (0, 1):
        tips = [port.tip_um for port in plan.ports if port.side == side]
        assert -np.diff(tips) == pytest.approx(np.full(len(tips) - 1, technology.edge.pitch_um))
    # Half of the outline of a guide is as long as the guide, and constants.
    around = [g.around_um for g in extract(design, technology).edges if len(g.tips) == 1]
    assert len(around) == 16
    assert (max(around) - min(around)) / 2 < 0.02
    losses = edge_losses_db(program, technology)
    lossy = replace(
        technology, edge=replace(technology.edge, loss_db=technology.edge.loss_db + 1.5)
    )
    assert edge_losses_db(program, lossy)["fc"] == pytest.approx(losses["fc"] + 3.0)
    straight = edge_losses_db(program, fanned(name, FanOut.NONE))
    couplers = 2 * technology.edge.loss_db
    assert couplers < straight["fc"] < losses["fc"] < couplers + 2.0


def test_a_fan_out_that_fits_no_die_can_be_left_off() -> None:
    always, fits = (fanned("cornerstone_si220", how) for how in (FanOut.ALWAYS, FanOut.FITS))
    program = placed(fits)
    plans = [edge_plan(program, technology) for technology in (always, fits)]
    assert plans[0] is not None and plans[1] is not None
    # Eight ports are longer than a die as they are.
    assert not plans[0].fits
    assert plans[0].ports[0].guide is not None
    assert plans[1].ports[0].guide is None
    assert plans[1] == edge_plan(program, fanned("cornerstone_si220", FanOut.NONE))
    told: list[str] = []
    Place().run(program, Context(fits, log=told.append))
    assert any("a fan-out would fit no die" in line for line in told)
    Place().run(program, Context(always, log=told.append))
    assert any("with couplers 127 um apart" in line for line in told)
    larger = replace(fits, die=replace(fits.die, sizes_um=((30_000.0, 9_000.0),)))
    plan = edge_plan(placed(larger), larger)
    assert plan is not None and plan.fits
    assert plan.ports[0].guide is not None


def one_off(layout: Any) -> Any:
    """One coupler at the left edge, with a cell of its own."""
    top, cell = layout.top_cell(), layout.cell("EDGE_LEFT")
    here = next(one for one in top.each_inst() if one.cell_index == cell.cell_index())
    copy = layout.create_cell("ONE")
    copy.copy_tree(cell)
    here.cell_index = copy.cell_index()
    return copy


def cut_taper(layout: Any) -> None:
    shapes = one_off(layout).shapes(layout.layer(3, 0))
    gap = db.Region(db.DBox(40, -1, 41, 1).to_itype(layout.dbu))
    left = db.Region(shapes) - gap
    shapes.clear()
    shapes.insert(left)


def cut_loop(layout: Any) -> None:
    shapes = layout.cell("EDGE_LOOP").shapes(layout.layer(3, 0))
    gap = db.Region(db.DBox(100, -70, 130, -60).to_itype(layout.dbu))
    left = db.Region(shapes) - gap
    shapes.clear()
    shapes.insert(left)


def wide_tip(layout: Any) -> None:
    shapes = one_off(layout).shapes(layout.layer(3, 0))
    shapes.insert(db.DBox(0, -0.2, 20, 0.2))


def missing(layout: Any) -> None:
    one_off(layout).clear()


def swapped_names(layout: Any) -> None:
    texts = layout.top_cell().shapes(layout.layer(68, 4))
    first, second = [
        shape for shape in texts.each() if shape.is_text() and ".in" in shape.text_string
    ][:2]
    first.text_string, second.text_string = second.text_string, first.text_string


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (cut_taper, "is cut"),
        (cut_loop, "the edge coupler loop.left0 is cut"),
        (wide_tip, "is not what the technology draws"),
        (missing, "no edge coupler is called"),
        (swapped_names, "leads to"),
    ],
)
def test_planted_faults_are_found(plant: Callable[[Any], None], told: str, tmp_path: Path) -> None:
    technology = load_technology("cornerstone_si220")
    program = placed(technology)
    write_gds(program, technology, tmp_path)
    layout = db.Layout()
    layout.read(str(tmp_path / "design.gds"))
    plant(layout)
    layout.write(str(tmp_path / "faulty.gds"))
    found = compare_layout(tmp_path / "faulty.gds", program, technology)
    assert any(told in difference for difference in found.differences), found.differences


def test_a_guide_of_the_fan_out_that_is_too_long_is_found(tmp_path: Path) -> None:
    technology = fanned("cornerstone_si220", FanOut.ALWAYS)
    program = placed(technology)
    write_gds(program, technology, tmp_path)
    plan, found = edge_plan(program, technology), extract(tmp_path / "design.gds", technology)
    assert not list(edge_differences(found.edges, plan, technology))
    # Both sides are 30 nm longer.
    one = next(k for k, guide in enumerate(found.edges) if guide.tips == ("fc.g0.t0.in3",))
    longer = replace(found.edges[one], around_um=found.edges[one].around_um + 0.06)
    edges = (*found.edges[:one], longer, *found.edges[one + 1 :])
    told = list(edge_differences(edges, plan, technology))
    assert told == ["the edge coupler fc.g0.t0.in3 is +30.0 nm longer than it must be"]
    # A detour that is drawn 20 nm higher.
    layout = db.Layout()
    layout.read(str(tmp_path / "design.gds"))
    shapes = layout.cell("EDGE_LEFT_3").shapes(layout.layer(3, 0))
    (guide,) = [shape.polygon for shape in shapes.each()]
    half = guide.bbox().center().y
    points = [db.Point(p.x, p.y + 20 * (p.y > half)) for p in guide.each_point_hull()]
    shapes.clear()
    shapes.insert(db.Polygon(points))
    layout.write(str(tmp_path / "faulty.gds"))
    faulty = compare_layout(tmp_path / "faulty.gds", program, technology)
    assert any("in3 is not what the technology draws" in text for text in faulty.differences)

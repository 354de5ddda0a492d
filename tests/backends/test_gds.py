"""The layout read back: every MZI, heater, fixed phase and guide where the program says."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gdstk
import numpy as np
import numpy.typing as npt
import pytest

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.backends.gds.files import foundry_layers
from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.errors import UsageError, VerificationError
from onnx2mzi.ir import Attenuators, BlockPlacement, Mesh, MeshTile, Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.arrays import Flags, Real
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms
from onnx2mzi.tech import CouplerKind, Technology, load_technology, technology_names
from onnx2mzi.tech.geometry import attenuator_xy, drawn_as_crossing, heater_xy, out_xy

MakeProgram = Callable[..., Program]
Point = tuple[float, float]

TECHNOLOGY = load_technology("cornerstone_si220")


def blocks_of(program: Program) -> list[tuple[str, Mesh | Attenuators, BlockPlacement]]:
    assert program.placement is not None
    found: list[tuple[str, Mesh | Attenuators, BlockPlacement]] = []
    for block in program.placement.blocks:
        layer = next(layer for layer in program.layers if layer.name == block.layer)
        tile = layer.grids[block.grid].tiles[block.tile]
        assert isinstance(tile, MeshTile)
        parts: dict[str, Mesh | Attenuators] = {"u": tile.u, "s": tile.sigma, "v": tile.v}
        part = parts[block.block]
        found.append((f"{block.layer}.g{block.grid}.t{block.tile}.{block.block}", part, block))
    return found


def points(x: npt.ArrayLike, y: npt.ArrayLike) -> list[Point]:
    pairs = zip(np.atleast_1d(x), np.atleast_1d(y), strict=True)
    return [(float(a), float(b)) for a, b in pairs]


def in_order(found: list[Point]) -> Real:
    """By rows; rows are many um apart, round-off is nm."""
    return np.array(sorted(found, key=lambda p: (np.floor(p[1] + 0.1), p[0]))).reshape(-1, 2)


def written(program: Program, technology: Technology, tmp_path: Path) -> gdstk.Library:
    assert write_gds(program, technology, tmp_path) == ("design.gds", "mask.gds")
    return gdstk.read_gds(tmp_path / "design.gds")


def top_of(library: gdstk.Library) -> gdstk.Cell:
    (top,) = library.top_level()
    assert isinstance(top, gdstk.Cell)
    return top


def block_cell(cells: dict[str, Any], tile: str, kind: str) -> gdstk.Cell:
    """What the cell of a tile has for its block `v`, `s` or `u`; port 0 is at y = 0."""
    (name,) = [
        r.cell_name for r in cells[tile].references if r.cell_name.endswith(f"_{kind.upper()}")
    ]
    cell = cells[name]
    assert isinstance(cell, gdstk.Cell)
    return cell


def expected_labels(program: Program) -> dict[str, Point]:
    places: dict[str, Point] = {}
    for name, part, block in blocks_of(program):
        edges, pitch = block.column_x_um, block.row_pitch_um
        if isinstance(part, Mesh):
            plan = mesh_plan(part, TECHNOLOGY)
            for k in range(len(part)):
                column, port = int(part.column[k]), int(part.port[k])
                x = (edges[column] + edges[column + 1]) / 2
                y = block.y_um - pitch * (port + 0.5)
                places[f"{name}.c{column}.p{port}"] = points(x, y)[0]
            outs = out_xy(
                TECHNOLOGY, plan=plan, column_x_um=edges, y_um=block.y_um, ports=part.ports
            )
            for port in np.flatnonzero(part.out_state).tolist():
                places[f"{name}.out.p{port}"] = points(*outs)[port]
        else:
            for k in np.flatnonzero(part.state).tolist():
                y = block.y_um - pitch * k
                places[f"{name}.c0.p{k}"] = points((edges[0] + edges[-1]) / 2, y)[0]
    return places


@pytest.mark.parametrize("seed", range(5))
def test_every_mzi_is_found_at_its_place(
    make_program: MakeProgram, seed: int, tmp_path: Path
) -> None:
    program = place_program(make_program(seed), TECHNOLOGY)
    top = top_of(written(program, TECHNOLOGY, tmp_path))
    layer, texttype = TECHNOLOGY.markers.text
    labels = top.get_labels(layer=layer, texttype=texttype)
    found = {label.text: points(*label.origin)[0] for label in labels}
    expected = expected_labels(program)
    assert found.keys() == expected.keys()
    assert len(labels) == len(found)
    for name, place in expected.items():
        assert found[name] == pytest.approx(place, abs=2e-3)


@pytest.mark.parametrize("seed", [0, 4])
def test_mzis_and_crossings_are_the_right_kind_of_cell(
    make_program: MakeProgram, seed: int, tmp_path: Path
) -> None:
    program = place_program(make_program(seed), TECHNOLOGY)
    library = written(program, TECHNOLOGY, tmp_path)
    cells = {cell.name: cell for cell in library.cells}
    checked = 0
    for name, part, block in blocks_of(program):
        if not isinstance(part, Mesh):
            continue
        _, grid, tile, kind = name.rsplit(".", 3)
        position = [layer.name for layer in program.layers].index(block.layer)
        cell = block_cell(cells, f"L{position}_G{grid[1:]}_T{tile[1:]}", kind)
        drawn = [
            (r.cell_name.split("_")[0].removesuffix("S"), *r.origin)
            for r in cell.references
            if r.cell_name.startswith(("MZI", "XING"))
        ]
        # Cells of one kind are drawn together.
        drawn.sort(key=lambda made: (round(made[1]), -made[2]))
        bare = drawn_as_crossing(part.theta_state, part.phi_state, TECHNOLOGY)
        at = points(block.column_x_um[part.column], -block.row_pitch_um * part.port)
        kinds = ["XING" if b else "MZI" for b in bare]
        assert [kind for kind, _, _ in drawn] == kinds
        assert [place for _, *place in drawn] == [pytest.approx(p, abs=2e-3) for p in at]
        checked += len(kinds)
    assert checked > 20


def expected_heaters(program: Program) -> list[Point]:
    """Centres of all filaments: a pair has one on each arm."""
    found: list[Point] = []
    for _, part, block in blocks_of(program):
        edges, y_um, pitch = block.column_x_um, block.y_um, block.row_pitch_um

        def filaments(
            x: Real, y: Real, phase: Real, state: Flags, drive: Drive, apart_um: float
        ) -> None:
            arm = arms(phase, state, drive)
            for k in np.flatnonzero(state == ShifterState.ACTIVE):
                away = [apart_um / 2, -apart_um / 2] if arm[k] == Arm.PAIR else [0.0]
                found.extend(points(x[k], y[k] + step)[0] for step in away)

        if isinstance(part, Mesh):
            plan = mesh_plan(part, TECHNOLOGY)
            for kind in ("theta", "phi"):
                phase, state = getattr(part, f"{kind}_rad"), getattr(part, f"{kind}_state")
                x, y = heater_xy(
                    TECHNOLOGY,
                    plan=plan,
                    column_x_um=edges,
                    y_um=y_um,
                    column=part.column,
                    port=part.port,
                    phase_rad=phase,
                    state=state,
                    drive=part.drive,
                    kind=kind,
                )
                filaments(x, y, phase, state, part.drive, pitch)
            x, y = out_xy(TECHNOLOGY, plan=plan, column_x_um=edges, y_um=y_um, ports=part.ports)
            filaments(x, y, part.out_rad, part.out_state, Drive.UPPER_ARM, 0.0)
        elif len(edges) > 1:
            phase, state = part.theta_rad, part.state
            x, y = attenuator_xy(
                TECHNOLOGY,
                column_x_um=edges,
                y_um=y_um,
                phase_rad=phase,
                state=state,
                drive=part.drive,
            )
            filaments(x, y, phase, state, part.drive, pitch / 2)
    return found


@pytest.mark.parametrize("drive", Drive)
@pytest.mark.parametrize("seed", range(3))
def test_heaters_lie_on_active_arms_and_nowhere_else(
    make_program: MakeProgram, seed: int, drive: Drive, tmp_path: Path
) -> None:
    program = place_program(make_program(seed, drive=drive), TECHNOLOGY)
    top = top_of(written(program, TECHNOLOGY, tmp_path))
    layer, datatype = TECHNOLOGY.markers.heater
    boxes = [p.bounding_box() for p in top.get_polygons(layer=layer, datatype=datatype)]
    centres = [points((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)[0] for a, b in boxes]
    assert in_order(centres) == pytest.approx(in_order(expected_heaters(program)), abs=2e-3)
    layer, datatype = TECHNOLOGY.layers.metal
    heater = TECHNOLOGY.layers.heater
    metal = top.get_polygons(layer=layer, datatype=datatype)
    filaments = top.get_polygons(layer=heater[0], datatype=heater[1])
    contacts = gdstk.boolean(metal, filaments, "and", precision=1e-3)
    assert len(contacts) == 2 * len(centres)


def test_fixed_phases_are_drawn_as_length(make_program: MakeProgram, tmp_path: Path) -> None:
    """Guides with a fixed phase have cells of their own, `WG_<section>_<steps>`; their
    centreline is the mean of both sides of the polygon."""
    program = place_program(make_program(4, drive=Drive.ARM_CHOICE), TECHNOLOGY)
    library = written(program, TECHNOLOGY, tmp_path)
    turn_of: dict[str, float] = {}
    for cell in library.cells:
        assert isinstance(cell, gdstk.Cell)
        if cell.name.startswith("WG_") and cell.name.count("_") == 2:
            outline = np.array(cell.polygons[0].points)
            half = len(outline) // 2
            line = (outline[:half] + outline[half:][::-1]) / 2
            extra = np.hypot(*np.diff(line, axis=0).T).sum() - (line[-1, 0] - line[0, 0])
            turn_of[cell.name] = 2 * np.pi * extra / TECHNOLOGY.guide_wavelength_um
    cells = {cell.name: cell for cell in library.cells}
    drawn = [
        reference.cell_name
        for tile in library.cells
        if isinstance(tile, gdstk.Cell) and re.fullmatch(r"L\d+_G\d+_T\d+", tile.name)
        for kind in "vsu"
        for reference in block_cell(cells, tile.name, kind).references
    ]
    turns = [turn_of[name] for name in drawn if name in turn_of]
    expected: list[float] = []
    for _, part, _ in blocks_of(program):
        if isinstance(part, Mesh):
            for kind in ("theta", "phi"):
                fixed = getattr(part, f"{kind}_state") == ShifterState.PASSIVE
                half = getattr(part, f"{kind}_rad")[fixed] / 2
                expected += [*np.mod(half, 2 * np.pi), *np.mod(-half, 2 * np.pi)]
            expected += [*np.mod(part.out_rad[part.out_state == ShifterState.PASSIVE], 2 * np.pi)]
        else:
            half = part.theta_rad[part.state == ShifterState.PASSIVE] / 2
            expected += [*half, *np.mod(-half, 2 * np.pi)]
    # No length is drawn for less than half a step.
    expected = [turn for turn in expected if turn > 1e-3]
    assert len(turns) == len(expected) > 20
    # 1 nm of length is 0.01 rad.
    assert sorted(turns) == pytest.approx(sorted(expected), abs=0.01)


def merged_pieces(program: Program, technology: Technology) -> int:
    """How many pieces of core there are if every guide is whole.

    Crossings and MMIs join guides; directional couplers only bring them near each other, so
    that an attenuator made of them ends one guide and begins another.
    """
    joining = technology.coupler.kind is CouplerKind.MMI
    pieces = 0
    for layer in program.layers:
        for tile in (tile for grid in layer.grids for tile in grid.tiles):
            assert isinstance(tile, MeshTile)
            parent = list(range(tile.v.ports + tile.u.ports))

            def root(k: int, parent: list[int] = parent) -> int:
                while parent[k] != k:
                    k = parent[k]
                return k

            offset = tile.v.ports
            joints = []
            for first, mesh in ((0, tile.v), (offset, tile.u)):
                bare = drawn_as_crossing(mesh.theta_state, mesh.phi_state, technology)
                upper = first + mesh.port[(bare > 0) | joining]
                joints += [(int(p), int(p) + 1) for p in upper]
            whole = (tile.sigma.state == ShifterState.REMOVED) | joining
            joints += [(int(k), offset + int(k)) for k in np.flatnonzero(whole)]
            for a, b in joints:
                parent[root(a)] = root(b)
            pieces += sum(parent[k] == k for k in range(len(parent)))
    # A loop to align fibres with on either side.
    return pieces + 2 * technology.edge.drawn


@pytest.mark.parametrize("name", technology_names())
@pytest.mark.parametrize(
    ("seed", "drive"),
    [(5, Drive.ARM_CHOICE), (12, Drive.UPPER_ARM), (29, Drive.ARM_CHOICE), (5, Drive.PUSH_PULL)],
)
def test_klayout_opens_the_mask_whole_and_within_the_rules(
    make_program: MakeProgram, name: str, seed: int, drive: Drive, tmp_path: Path
) -> None:
    db = pytest.importorskip("klayout.db")
    technology = load_technology(name)
    program = place_program(make_program(seed, drive=drive), technology)
    write_gds(program, technology, tmp_path)
    layout = db.Layout()
    layout.read(str(tmp_path / "mask.gds"))
    assert layout.dbu == pytest.approx(technology.grid_um)
    assert layout.top_cell().name == technology.die.top_cell.format(name=program.name)
    nm = 1 / layout.dbu

    def region(layer: tuple[int, int]) -> Any:
        return db.Region(layout.top_cell().begin_shapes_rec(layout.layer(*layer))).merged()

    rules, layers = technology.rules, technology.layers
    core = region(layers.core)
    assert core.count() == merged_pieces(program, technology)
    # Round-off of slanted guides to the grid is up to 2 nm.
    for shapes, width, space in (
        (core, rules.core_width_um - 0.002, rules.core_space_um - 0.002),
        (region(layers.heater), rules.heater_width_um, rules.heater_space_um),
        (region(layers.metal), rules.metal_width_um, rules.metal_space_um),
    ):
        assert shapes.width_check(round(width * nm)).count() == 0
        assert shapes.space_check(round(space * nm)).count() == 0


def test_the_mask_has_foundry_layers_alone_and_no_text(
    make_program: MakeProgram, tmp_path: Path
) -> None:
    program = place_program(make_program(1), TECHNOLOGY)
    design = written(program, TECHNOLOGY, tmp_path)
    mask = gdstk.read_gds(tmp_path / "mask.gds")
    assert top_of(mask).name == "Cell0_net"
    assert mask.layers_and_datatypes() <= foundry_layers(TECHNOLOGY)
    assert not mask.layers_and_texttypes()
    assert TECHNOLOGY.markers.heater in design.layers_and_datatypes()
    for layer in foundry_layers(TECHNOLOGY):
        shapes = [
            top_of(library).get_polygons(layer=layer[0], datatype=layer[1])
            for library in (design, mask)
        ]
        assert len(shapes[0]) == len(shapes[1]) > 0


def test_a_chip_without_tiles_is_empty(make_program: MakeProgram, tmp_path: Path) -> None:
    program = place_program(replace(make_program(0), layers=()), TECHNOLOGY)
    assert program.placement is not None
    assert (program.placement.width_um, program.placement.height_um) == (0.0, 0.0)
    assert not top_of(written(program, TECHNOLOGY, tmp_path)).polygons


def test_a_program_may_be_called_like_a_cell(make_program: MakeProgram, tmp_path: Path) -> None:
    technology = load_technology("siepic_ebeam")
    program = replace(place_program(make_program(1), technology), name="STAGE")
    assert top_of(written(program, technology, tmp_path)).name == "STAGE_chip"
    assert top_of(gdstk.read_gds(tmp_path / "mask.gds")).name == "STAGE_chip"


def test_the_same_program_gives_the_same_bytes(make_program: MakeProgram, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        program = place_program(make_program(2), TECHNOLOGY)
        write_gds(program, TECHNOLOGY, tmp_path / name)
    for file in ("design.gds", "mask.gds"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_ports_lie_on_the_edges(make_program: MakeProgram, tmp_path: Path) -> None:
    program = place_program(make_program(0), TECHNOLOGY)
    assert program.placement is not None
    top = top_of(written(program, TECHNOLOGY, tmp_path))
    layer, texttype = TECHNOLOGY.markers.pin
    labels = top.get_labels(layer=layer, texttype=texttype)
    ports = {label.text: label.origin[0] for label in labels if "." in label.text}
    inputs = sum(
        part.ports
        for name, part, _ in blocks_of(program)
        if isinstance(part, Mesh) and name.endswith("v")
    )
    assert sum(".in" in name for name in ports) == inputs > 0
    for name, x in ports.items():
        edge = 0.0 if ".in" in name else program.placement.width_um
        assert x == pytest.approx(edge, abs=1e-3)


def test_a_program_without_places_or_with_other_places_is_refused(
    make_program: MakeProgram, tmp_path: Path
) -> None:
    program = make_program(0)
    with pytest.raises(UsageError, match="no places"):
        write_gds(program, TECHNOLOGY, tmp_path)
    placed = place_program(program, TECHNOLOGY)
    with pytest.raises(UsageError, match="placed for cornerstone_si220"):
        write_gds(placed, load_technology("siepic_ebeam"), tmp_path)
    longer = replace(TECHNOLOGY, heater=replace(TECHNOLOGY.heater, length_um=300.0))
    with pytest.raises(VerificationError, match="place again"):
        write_gds(placed, longer, tmp_path)
    assert list(tmp_path.iterdir()) == []

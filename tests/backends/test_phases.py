"""phases.csv: its rows, and that the matrices follow from it by the textbook alone."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.backends.phase_table import by_tile, read_phases, table_problems, tile_matrix
from onnx2mzi.backends.phases import COLUMNS, Phases, write_table
from onnx2mzi.emulate.transfer import program_matrices, tile_transfer
from onnx2mzi.errors import InputError
from onnx2mzi.ir import LinearLayer, MeshTile, Program, Stage, TileGrid
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.backend import Emission
from onnx2mzi.pipeline.census import layer_census
from onnx2mzi.tech import load_technology
from onnx2mzi.tech.geometry import cells

TECHNOLOGY = load_technology("cornerstone_si220")
P_PI_MW = TECHNOLOGY.p_pi_mw


def table(program: Program) -> list[dict[str, str]]:
    file = io.StringIO(newline="")
    rows = write_table(program, file, TECHNOLOGY)
    file.seek(0)
    read = list(csv.DictReader(file))
    assert len(read) == rows
    return read


def program_of(tile: MeshTile, program: Program) -> Program:
    grid = TileGrid(len(tile.outputs), int(tile.inputs.max()) + 1, (tile,))
    weight = np.zeros((grid.rows, grid.columns))
    layer: LinearLayer = replace(program.layers[0], weight=weight, grids=(grid,))
    return replace(program, layers=(layer,))


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    drive=st.sampled_from(Drive),
)
def test_the_matrix_follows_from_the_table(
    make_program: Any,
    make_tile: Any,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    rows: int,
    columns: int,
    drive: Drive,
) -> None:
    tile: MeshTile = make_tile(np.random.default_rng(seed), rows, columns, drive)
    path = tmp_path_factory.mktemp("phases") / "phases.csv"
    with path.open("w", newline="") as file:
        write_table(program_of(tile, make_program(0)), file, TECHNOLOGY)
    groups = by_tile(read_phases(path))
    rebuilt = tile_matrix(
        groups.get(("fc0", "g0.t0"), ()),
        outputs=rows,
        inputs=columns,
        drive=drive,
        gain=tile.gain,
        readout_rad=tile.readout_rad,
    )
    np.testing.assert_allclose(rebuilt, tile_transfer(tile), atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_table_adds_up_to_the_census(make_program: Any, seed: int) -> None:
    program: Program = make_program(seed)
    rows = table(program)
    for layer in program.layers:
        census = layer_census(layer, P_PI_MW)
        mine = [row for row in rows if row["layer"] == layer.name]
        states = [row["state"] for row in mine]
        assert states.count("active") == census.phases_active
        assert states.count("passive") == census.phases_passive
        power = sum(float(row["power_mw"]) for row in mine)
        assert power == pytest.approx(census.power_mw, rel=1e-12)


@given(seed=st.integers(0, 2**32 - 1), stage=st.sampled_from([Stage.MESH, Stage.PLACED]))
def test_rows_are_unique_and_channels_run(make_program: Any, seed: int, stage: Stage) -> None:
    rows = table(make_program(seed, stage))
    assert len({row["id"] for row in rows}) == len(rows)
    heaters = [row for row in rows if row["state"] == "active"]
    assert [row["channel"] for row in heaters] == [str(k) for k in range(len(heaters))]
    for row in rows:
        place = f"c{row['column']}.p{row['port']}"
        expected = f"{row['layer']}.{row['tile']}.{row['block']}.{place}.{row['kind']}"
        assert row["id"] == expected
        wired = row["state"] == "active" and stage is Stage.PLACED
        assert bool(row["pad"]) == wired
        assert bool(row["x_um"]) == bool(row["y_um"]) == (stage is Stage.PLACED)
        if row["state"] != "active":
            assert row["channel"] == ""
            assert float(row["drive_rad"]) == float(row["power_mw"]) == 0.0


def test_floats_are_exact(make_program: Any) -> None:
    program: Program = make_program(4)
    tiles = [tile for layer in program.layers for grid in layer.grids for tile in grid.tiles]
    thetas = [
        theta
        for tile in tiles
        if isinstance(tile, MeshTile)
        for block in (tile.v, tile.u)
        for theta in block.theta_rad.tolist()
    ]
    rows = table(program)
    assert [float(row["phase_rad"]) for row in rows if row["kind"] == "theta"] == thetas


def test_codes_are_those_of_the_driver(make_program: Any) -> None:
    driver = DriveCode(6, CodeLaw.PHASE)
    program = replace(make_program(4, drive=Drive.ARM_CHOICE), drive_code=driver)
    levels = {kind: driver.levels_rad(Drive.ARM_CHOICE) for kind in ("theta", "phi", "sigma")}
    levels["out"] = driver.levels_rad(Drive.UPPER_ARM)
    heaters = [row for row in table(program) if row["state"] == "active"]
    assert heaters
    for row in heaters:
        near = np.abs(levels[row["kind"]] - float(row["drive_rad"]))
        if row["kind"] != "out":
            assert near[int(row["code"])] == pytest.approx(near.min(), abs=1e-12)
    plain = table(replace(program, drive_code=None))
    assert {row["code"] for row in plain} == {""}


def test_names_are_quoted(make_program: Any) -> None:
    program: Program = make_program(4)
    name = 'a "b", c\nd'
    layer = replace(program.layers[0], name=name)
    rows = table(replace(program, layers=(layer,)))
    assert {row["layer"] for row in rows} == {name}
    assert all(row["id"].startswith(name + ".g") for row in rows)


def test_the_back_end_writes_the_table(make_program: Any, tmp_path: Path) -> None:
    program: Program = make_program(7, Stage.PLACED)
    emission = Emission(program, TECHNOLOGY, program_matrices(program))
    assert Phases().write(emission, tmp_path) == ("phases.csv",)
    rows = read_phases(tmp_path / "phases.csv")
    power_mw = sum(row.power_mw for row in rows)
    censuses = [layer_census(layer, P_PI_MW) for layer in program.layers]
    assert power_mw == pytest.approx(sum(census.power_mw for census in censuses))


def test_heaters_lie_where_geometry_puts_them(make_program: Any) -> None:
    program: Program = make_program(7, Stage.PLACED, Drive.ARM_CHOICE)
    assert program.placement is not None
    places = {(b.layer, f"g{b.grid}.t{b.tile}", b.block): b for b in program.placement.blocks}
    pitch_um = cells(TECHNOLOGY).pitch_um
    below = {"upper": 0.0, "lower": 1.0, "pair": 0.5}
    seen = set()
    for row in table(program):
        block = places[row["layer"], row["tile"], row["block"]]
        x, y = float(row["x_um"]), float(row["y_um"])
        depth = (block.y_um - y) / pitch_um - int(row["port"])
        column = int(row["column"])
        if row["kind"] in ("theta", "phi"):
            assert x >= block.column_x_um[column]
            assert depth == pytest.approx(below[row["arm"]])
        elif row["kind"] == "out":
            assert x >= block.column_x_um[-1]
            assert depth == pytest.approx(0.0)
        else:
            assert x == pytest.approx(np.mean([block.column_x_um[0], block.column_x_um[-1]]))
            assert abs(depth) <= 0.25 + 1e-9
        seen.add(row["kind"])
    assert seen == {"theta", "phi", "sigma", "out"}


def test_a_table_is_compared_with_its_program(make_program: Any, tmp_path: Path) -> None:
    program: Program = make_program(4, drive=Drive.ARM_CHOICE)
    path = tmp_path / "phases.csv"
    with path.open("w", newline="") as file:
        write_table(program, file, TECHNOLOGY)
    assert table_problems(path, program) == []
    lines = path.read_text().splitlines(keepends=True)
    heater = next(k for k, line in enumerate(lines) if ".u.c0" in line and ",theta,active," in line)
    fields = lines[heater].split(",")
    fields[9] = repr(float(fields[9]) / 2)
    changed = [*lines[:heater], ",".join(fields), *lines[heater + 1 :]]
    attenuator = next(k for k, line in enumerate(lines) if ",sigma," in line)
    for name, text, message in (
        ("changed", changed, "the matrix that the rows make differs by"),
        ("missing", lines[:attenuator] + lines[attenuator + 1 :], "attenuators instead of"),
        ("cut", [*lines[:heater], *lines[heater + 1 :]], "the rows do not make a mesh"),
        ("more", [*lines, lines[heater].replace("g0.t0", "g7.t7")], "has no such tile"),
    ):
        wrong = tmp_path / f"{name}.csv"
        wrong.write_text("".join(text))
        problems = table_problems(wrong, program)
        assert any(message in problem for problem in problems), (name, problems)


HEADER = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("", ":1", "its columns are others"),
        ("a,b\n", ":1", "its columns are others"),
        (f"{HEADER}\na,b\n", ":2", "2 fields, not 17"),
        (f"{HEADER}\ni,l,t,u,x,0,k,s,a,0,,0,0,,,,\n", ":2", "invalid literal for int()"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, text: str, where: str, message: str) -> None:
    path = tmp_path / "phases.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_phases(path)
    assert caught.value.where == f"{path}{where}"
    assert message in caught.value.message

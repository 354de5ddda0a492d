"""phases/*.npz: the columns of phases.csv as arrays, and the same matrices from them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnx2mzi
from onnx2mzi.backends import phases
from onnx2mzi.backends.pad_columns import PAD_COLUMNS
from onnx2mzi.backends.phase_columns import file_name, iterate_columns, write_columns
from onnx2mzi.backends.phase_table import phase_files, read_phases, tile_tables
from onnx2mzi.backends.phases import Form, Phases, rows_of
from onnx2mzi.emulate.transfer import tile_transfer
from onnx2mzi.errors import InputError
from onnx2mzi.ir import MeshTile, Program, Stage
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.backend import Emission
from onnx2mzi.tech import load_technology

TECHNOLOGY = load_technology("cornerstone_si220")


def emission(program: Program) -> Emission:
    return Emission(program, TECHNOLOGY, {})


@pytest.mark.parametrize("drive", Drive)
def test_arrays_hold_what_the_text_says(
    tiny_onnx: bytes, make_program: Any, tmp_path: Path, drive: Drive
) -> None:
    technology = replace(TECHNOLOGY, drive=drive)
    placed = onnx2mzi.compile(tiny_onnx, "quantize{bits=6}", ports=4, tech=technology).program
    assert placed.drive_code is not None
    for number, program in enumerate((make_program(3, Stage.PLACED), placed)):
        folder = tmp_path / str(number)
        folder.mkdir()
        same_as_the_text(program, folder)


def same_as_the_text(program: Program, tmp_path: Path) -> None:
    assert Phases().write(emission(program), tmp_path) == ("phases.csv",)
    rows = read_phases(tmp_path / "phases.csv")
    names = Phases(Form.COLUMNS).write(emission(program), tmp_path)
    assert len(names) == len(program.layers)
    at = 0
    for name, layer in zip(names, program.layers, strict=True):
        with np.load(tmp_path / name) as arrays:
            assert str(arrays["layer"]) == layer.name
            count = len(arrays["phase_rad"])
            mine = rows[at : at + count]
            at += count
            for kind in ("block", "kind", "state", "arm"):
                words = arrays[f"{kind}s"][arrays[kind]].tolist()
                assert words == [getattr(row, kind) for row in mine]
            for kind in ("column", "port", "phase_rad", "drive_rad", "power_mw", "x_um", "y_um"):
                assert arrays[kind].tolist() == [getattr(row, kind) for row in mine]
            channels = [-1 if row.channel is None else row.channel for row in mine]
            assert arrays["channel"].tolist() == channels
            pairs = zip(arrays["grid"].tolist(), arrays["tile"].tolist(), strict=True)
            assert [f"g{g}.t{t}" for g, t in pairs] == [row.tile for row in mine]
            sides = arrays["pad_sides"]
            pads = [
                f"T{tile}_{sides[side]}{number}"
                + (f"+T{tile}_{sides[side2]}{number2}" if side2 else "")
                if side
                else ""
                for tile, side, number, side2, number2 in zip(
                    *(arrays[name] for name in ("chip_tile", *PAD_COLUMNS)), strict=True
                )
            ]
            assert pads == [row.pad for row in mine]
            assert ("code" in arrays) == (program.drive_code is not None)
    assert at == len(rows) == rows_of(program)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_matrices_follow(
    make_program: Any, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    program: Program = make_program(seed, Stage.MESH)
    folder = tmp_path_factory.mktemp("columns")
    write_columns(program, folder, TECHNOLOGY)
    tiles = {
        (layer.name, f"g{g}.t{t}"): tile
        for layer in program.layers
        for g, grid in enumerate(layer.grids)
        for t, tile in enumerate(grid.tiles)
        if isinstance(tile, MeshTile)
    }
    for path in phase_files(folder):
        for found in tile_tables(path):
            tile = tiles[found.layer, found.tile]
            made = found.matrix(
                outputs=len(tile.outputs),
                inputs=len(tile.inputs),
                drive=tile.u.drive,
                gain=tile.gain,
                readout_rad=tile.readout_rad,
            )
            np.testing.assert_allclose(made, tile_transfer(tile), atol=1e-12)


def test_the_same_bytes_and_nothing_else(make_program: Any, tmp_path: Path) -> None:
    program: Program = make_program(5)
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        names = write_columns(program, tmp_path / name, TECHNOLOGY)
        found = sorted((tmp_path / name).rglob("*.npz"))
        assert [path.relative_to(tmp_path / name).as_posix() for path in found] == sorted(names)
        made.append([path.read_bytes() for path in found])
    assert made[0] == made[1]
    assert len(list((tmp_path / "a" / "phases").iterdir())) == len(program.layers)


def test_large_tables_become_columns(
    make_program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_ = emission(make_program(5))
    rows = rows_of(given_.program)
    monkeypatch.setattr(phases, "CSV_ROWS", rows)
    assert Phases().write(given_, tmp_path) == ("phases.csv",)
    assert Phases().notes(given_) == {}
    monkeypatch.setattr(phases, "CSV_ROWS", rows - 1)
    (tmp_path / "more").mkdir()
    assert Phases().write(given_, tmp_path / "more")[0].startswith("phases/")
    assert Phases().notes(given_) == {"phases": "phases/*.npz", "phases_rows": rows}
    assert Phases(Form.CSV).notes(given_) == {}


def test_names_of_files() -> None:
    assert file_name(7, 54, "/conv1/Conv") == "07_conv1_Conv.npz"
    assert file_name(0, 1, "..") == "0_layer.npz"
    assert file_name(3, 10, "a" * 300 + "end").endswith("aend.npz")
    assert len(file_name(3, 10, "ä/" * 300)) < 80


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(InputError, match="is no table of phases"):
        list(iterate_columns(path))

"""Tables of phases read back, and the matrices that follow from them by the textbook alone.

`table_problems` compares these with the program: the matrices use neither the IR, the kernels
nor their gauge, only couplers and phases on arms.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mzi.backends.phase_columns import columns_matrix, iterate_columns
from onnx2mzi.backends.phases import COLUMNS, FOLDER
from onnx2mzi.emulate.transfer import tile_transfer
from onnx2mzi.errors import InputError
from onnx2mzi.ir import MeshTile, Program
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.mzi import coupler
from onnx2mzi.physics.shifter import Drive, pass_phase_rad


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """One row of phases.csv; None where a field is empty."""

    id: str
    layer: str
    tile: str
    block: str
    column: int
    port: int
    kind: str
    state: str
    arm: str
    phase_rad: float
    code: int | None
    drive_rad: float
    power_mw: float
    x_um: float | None
    y_um: float | None
    pad: str
    channel: int | None


def _real(text: str) -> float | None:
    return float(text) if text else None


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _row(field: list[str]) -> PhaseRow:
    return PhaseRow(
        id=field[0],
        layer=field[1],
        tile=field[2],
        block=field[3],
        column=int(field[4]),
        port=int(field[5]),
        kind=field[6],
        state=field[7],
        arm=field[8],
        phase_rad=float(field[9]),
        code=_whole(field[10]),
        drive_rad=float(field[11]),
        power_mw=float(field[12]),
        x_um=_real(field[13]),
        y_um=_real(field[14]),
        pad=field[15],
        channel=_whole(field[16]),
    )


def iterate_phases(path: Path) -> Iterator[PhaseRow]:
    """The rows of a phases.csv, one at a time. Raises InputError with file:line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if tuple(next(reader, ())) != COLUMNS:
                raise InputError("is no phases.csv: its columns are others", where=f"{path}:1")
            for field in reader:
                if len(field) != len(COLUMNS):
                    message = f"{len(field)} fields, not {len(COLUMNS)}"
                    raise InputError(message, where=f"{path}:{reader.line_num}")
                try:
                    row = _row(field)
                except ValueError as error:
                    raise InputError(str(error), where=f"{path}:{reader.line_num}") from None
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None


def read_phases(path: Path) -> tuple[PhaseRow, ...]:
    """All rows of a phases.csv. Raises InputError with file:line."""
    return tuple(iterate_phases(path))


def by_tile(rows: tuple[PhaseRow, ...]) -> dict[tuple[str, str], tuple[PhaseRow, ...]]:
    """The rows of every tile, by (layer, tile)."""
    groups = groupby(rows, key=lambda row: (row.layer, row.tile))
    return {key: tuple(group) for key, group in groups}


# ---- optics -------------------------------------------------------------------------------


def arm_phases_rad(row: PhaseRow) -> tuple[float, float]:
    """Phases of the upper and the lower arm: what a heater adds to its arm, or a fixed pair."""
    if row.arm == "pair":
        return row.phase_rad / 2, -row.phase_rad / 2
    if row.arm == "lower":
        return 0.0, -row.phase_rad
    return row.phase_rad, 0.0


def arms_transfer(row: PhaseRow) -> Complex:
    """diag(e^{i upper}, e^{i lower}), shape (2, 2)."""
    return np.diag(np.exp(1j * np.array(arm_phases_rad(row))))


def mesh_matrix(rows: list[PhaseRow], ports: int, drive: Drive) -> Complex:
    """The transfer of one mesh, shape (ports, ports), column by column as light runs.

    An MZI is coupler, theta, coupler, phi (light meets phi first); a guide that passes a
    column without an MZI gains the drive's `pass_phase_rad`. Raises KeyError for half an MZI.
    """
    matrix = np.eye(ports, dtype=np.complex128)
    half = coupler()
    cells: dict[int, dict[int, dict[str, PhaseRow]]] = {}
    for row in rows:
        cells.setdefault(row.column, {}).setdefault(row.port, {})[row.kind] = row
    depth = max((row.column for row in rows if row.kind != "out"), default=-1) + 1
    for column in range(depth):
        step = np.exp(1j * pass_phase_rad(drive)) * np.eye(ports, dtype=np.complex128)
        for port, cell in cells.get(column, {}).items():
            if cell.keys() != {"out"}:
                mzi = half @ arms_transfer(cell["theta"]) @ half @ arms_transfer(cell["phi"])
                step[port : port + 2, port : port + 2] = mzi
        matrix = step @ matrix
    for row in rows:
        if row.kind == "out":
            matrix[row.port] *= np.exp(1j * row.phase_rad)
    return matrix


def attenuator_amplitudes(rows: list[PhaseRow]) -> Complex:
    """What each channel's attenuator passes from its lower input to its upper output."""
    half = coupler()
    return np.array([(half @ arms_transfer(row) @ half)[0, 1] for row in rows], np.complex128)


def tile_matrix(
    rows: tuple[PhaseRow, ...],
    *,
    outputs: int,
    inputs: int,
    drive: Drive,
    gain: float,
    readout_rad: Real,
) -> Complex:
    """gain * diag(e^{i readout}) U diag(sigma) V of one tile, shape (outputs, inputs)."""
    blocks = {block: [row for row in rows if row.block == block] for block in "vsu"}
    sigma = attenuator_amplitudes(blocks["s"])
    channels = len(sigma)
    u = mesh_matrix(blocks["u"], outputs, drive)[:, :channels]
    v = mesh_matrix(blocks["v"], inputs, drive)[:channels]
    light = u @ (sigma[:, None] * v)
    return np.asarray(gain * np.exp(1j * readout_rad)[:, None] * light)


@dataclass(frozen=True, slots=True)
class TileTable:
    """What a table says of one tile; `matrix` takes the keywords of `tile_matrix`."""

    layer: str
    tile: str
    matrix: Callable[..., Complex]


def phase_files(directory: Path) -> list[Path]:
    """The table of an output folder: phases.csv, or one file a layer; [] if there is none."""
    path = directory / "phases.csv"
    return [path] if path.is_file() else sorted((directory / FOLDER).glob("*.npz"))


def tile_tables(path: Path) -> Iterator[TileTable]:
    """The tiles of a phases.csv, or of a file of columns, one at a time.

    Raises InputError if the file cannot be read; `matrix` for rows that make no mesh.
    """
    if path.suffix == ".npz":
        for tile in iterate_columns(path):
            made = _refusing(partial(columns_matrix, tile), f"{path}: {tile.layer}.{tile.tile}")
            yield TileTable(tile.layer, tile.tile, made)
        return
    for (layer, name), group in groupby(iterate_phases(path), key=lambda r: (r.layer, r.tile)):
        made = _refusing(partial(tile_matrix, tuple(group)), f"{path}: {layer}.{name}")
        yield TileTable(layer, name, made)


def _refusing(made: Callable[..., Complex], where: str) -> Callable[..., Complex]:
    """`made`, its errors told as those of the file."""

    def matrix(**given: Any) -> Complex:
        try:
            return made(**given)
        except (IndexError, KeyError, ValueError):
            raise InputError("the rows do not make a mesh", where=where) from None

    return matrix


def table_problems(path: Path, program: Program, *, tolerance: float = 1e-9) -> list[str]:
    """What in a phases.csv is not the program: a matrix that differs, a tile too many or missing.

    Every tile's matrix is rebuilt from the file and compared with the program's, relative to
    the tile's gain. Raises InputError if the file cannot be read.
    """
    groups = by_tile(read_phases(path))
    problems: list[str] = []
    for layer in program.layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                if isinstance(tile, MeshTile):
                    rows = groups.pop((layer.name, f"g{g}.t{t}"), ())
                    problem = _tile_problem(rows, tile, tolerance)
                    if problem:
                        problems.append(f"{layer.name}.g{g}.t{t}: {problem}")
    problems += [f"{layer}.{tile}: the program has no such tile" for layer, tile in groups]
    return problems


def _tile_problem(rows: tuple[PhaseRow, ...], tile: MeshTile, tolerance: float) -> str:
    attenuators = sum(row.block == "s" for row in rows)
    if attenuators != len(tile.sigma):
        return f"{attenuators} attenuators instead of {len(tile.sigma)}"
    try:
        matrix = tile_matrix(
            rows,
            outputs=tile.u.ports,
            inputs=tile.v.ports,
            drive=tile.u.drive,
            gain=tile.gain,
            readout_rad=tile.readout_rad,
        )
    except (IndexError, KeyError, ValueError):
        return "the rows do not make a mesh"
    error = float(np.abs(matrix - tile_transfer(tile)).max(initial=0.0))
    if not error <= tolerance * max(abs(tile.gain), 1.0):
        return f"the matrix that the rows make differs by {error:.3g}"
    return ""

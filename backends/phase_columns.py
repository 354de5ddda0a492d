"""phases/NUMBER_LAYER.npz: the columns of phases.csv as arrays, one file a layer.

For chips whose table would be too long a text. Every file holds, in the order of the table,
arrays of one length: `grid` and `tile` (numbers), `block`, `kind`, `state`, `arm` (indices into
the arrays of words `blocks`, `kinds`, `states`, `arms`), `column`, `port`, `phase_rad`,
`drive_rad`, `power_mw`, `channel` (-1 where there is no heater), and if they are known `code`
(-1: none), `x_um` and `y_um`; and `layer`, the layer's name. A placed program's have pads as
well: `T{chip_tile}_{pad_sides[pad_side]}{pad_number}`, `pad_side` 0 where there is none, and
`pad2_side`, `pad2_number` of a pair's other heater.
Rows, units and meanings are those of `phases`; numpy.load reads the files.
"""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from onnx2mzi.backends.pad_columns import PAD_COLUMNS, SIDES, BlockPads, block_pad_numbers
from onnx2mzi.backends.phases import (
    ARMS,
    FOLDER,
    KINDS,
    OUT,
    STATES,
    PlacedShifters,
    placed_shifters,
)
from onnx2mzi.errors import InputError
from onnx2mzi.ir import LinearLayer, MeshTile, Program
from onnx2mzi.ir.files import read_npz, zip_member
from onnx2mzi.physics.arrays import Complex, Flags, Real
from onnx2mzi.physics.mzi import coupler
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, pass_phase_rad, power_mw
from onnx2mzi.tech import Technology

BLOCKS = ("v", "s", "u")
_SHOWN = 60
_CHUNK = 1 << 20

Array = npt.NDArray[Any]


def file_name(number: int, count: int, layer: str) -> str:
    """`07_conv1.npz`: the layer's number of `count`, and of its name what any file may be."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", layer).strip("._")[-_SHOWN:]
    return f"{number:0{len(str(max(count - 1, 0)))}d}_{safe or 'layer'}.npz"


def write_columns(program: Program, directory: Path, technology: Technology) -> tuple[str, ...]:
    """Write the files of all layers into `directory`/phases; their names, in order.

    Holds the shifters of one block in memory, whatever the size of the chip.
    """
    folder = directory / FOLDER
    folder.mkdir()
    names, channel = [], 0
    blocks_made = zip(
        placed_shifters(program, technology), block_pad_numbers(program, technology), strict=True
    )
    for number, layer in enumerate(program.layers):
        name = file_name(number, len(program.layers), layer.name)
        blocks = sum(3 for grid in layer.grids for t in grid.tiles if isinstance(t, MeshTile))
        with _Columns(_types(layer, program), folder) as columns:
            for block, pads in islice(blocks_made, blocks):
                columns.add(_columns(block, pads, technology, channel))
                channel += int(np.count_nonzero(block.shifters.state == ShifterState.ACTIVE))
            columns.write(folder / name, layer.name)
        names.append(f"{FOLDER}/{name}")
    return tuple(names)


def _types(layer: LinearLayer, program: Program) -> dict[str, np.dtype[Any]]:
    """Every column and its dtype: the least unsigned one that holds the layer's numbers."""
    meshes = [
        mesh
        for grid in layer.grids
        for tile in grid.tiles
        if isinstance(tile, MeshTile)
        for mesh in (tile.v, tile.u)
    ]
    most = {
        "grid": len(layer.grids),
        "tile": max((len(grid.tiles) for grid in layer.grids), default=0),
        "column": max((mesh.columns for mesh in meshes), default=0),
        "port": max((mesh.ports for mesh in meshes), default=0),
    }
    types: dict[str, Any] = {name: np.min_scalar_type(size) for name, size in most.items()}
    types |= dict.fromkeys(("block", "kind", "state", "arm"), np.uint8)
    types |= dict.fromkeys(("phase_rad", "drive_rad", "power_mw"), np.float64)
    types["channel"] = np.int64
    if program.drive_code is not None:
        types["code"] = np.int64
    if program.placement is not None:
        types |= {"x_um": np.float64, "y_um": np.float64, "chip_tile": np.int32}
        types |= dict(zip(PAD_COLUMNS, (np.uint8, np.int32) * 2, strict=True))
    return {name: np.dtype(kind).newbyteorder("<") for name, kind in types.items()}


def _columns(
    block: PlacedShifters, pads: BlockPads, technology: Technology, channel: int
) -> dict[str, Array]:
    made = block.shifters
    count = len(made.state)
    active = made.state == ShifterState.ACTIVE
    found: dict[str, Array] = {
        "grid": np.full(count, block.grid),
        "tile": np.full(count, block.tile),
        "block": np.full(count, BLOCKS.index(block.block)),
        "channel": np.where(active, channel + np.cumsum(active) - 1, -1),
        "power_mw": np.asarray(power_mw(made.drive_rad, p_pi_mw=technology.p_pi_mw)),
    }
    names = ("column", "port", "kind", "state", "arm", "phase_rad", "drive_rad", "code")
    found |= {name: getattr(made, name) for name in names}
    if block.places_um is not None:
        found["x_um"], found["y_um"] = block.places_um
        numbers = (pads.side, pads.number, pads.second_side, pads.second_number)
        found |= dict(zip(PAD_COLUMNS, numbers, strict=True))
        found["chip_tile"] = np.full(count, pads.chip_tile)
    return found


class _Columns:
    """Arrays that grow on disk until their length is known, then go into an .npz."""

    def __init__(self, types: dict[str, np.dtype[Any]], folder: Path) -> None:
        self._types, self._folder, self._rows = types, folder, 0
        self._open = ExitStack()
        self._files: dict[str, IO[bytes]] = {}

    def __enter__(self) -> "_Columns":
        for name in self._types:
            spool = tempfile.TemporaryFile(dir=self._folder)
            self._files[name] = self._open.enter_context(spool)
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.close()

    def add(self, block: dict[str, Array]) -> None:
        for name, dtype in self._types.items():
            self._files[name].write(np.ascontiguousarray(block[name], dtype).data)
        self._rows += len(block["state"])

    def write(self, path: Path, layer: str) -> None:
        words = {"blocks": BLOCKS, "kinds": KINDS, "states": STATES, "arms": ARMS}
        words["pad_sides"] = SIDES
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            with zip_member(archive, "layer") as member:
                np.lib.format.write_array(member, np.array(layer), allow_pickle=False)
            for name, values in words.items():
                with zip_member(archive, name) as member:
                    np.lib.format.write_array(member, np.array(values), allow_pickle=False)
            for name, file in self._files.items():
                head = {
                    "descr": np.lib.format.dtype_to_descr(self._types[name]),
                    "fortran_order": False,
                    "shape": (self._rows,),
                }
                file.seek(0)
                with zip_member(archive, name) as member:
                    np.lib.format.write_array_header_1_0(member, head)
                    shutil.copyfileobj(file, member, _CHUNK)


# ---- reading --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TileColumns:
    """The shifters of one tile, arrays of shape (R,); `block`, `kind` and `arm` are numbers."""

    layer: str
    tile: str
    block: Flags
    column: Array
    port: Array
    kind: Flags
    arm: Flags
    phase_rad: Real


_READ = ("block", "column", "port", "kind", "arm", "phase_rad")


def iterate_columns(path: Path) -> Iterator[TileColumns]:
    """The tiles of one file, in order. Raises InputError if it is none of ours."""
    arrays = read_npz(path)
    try:
        layer = str(arrays["layer"][()])
        known = [tuple(arrays[name].tolist()) for name in ("blocks", "kinds", "states", "arms")]
        grid, tile = arrays["grid"].astype(np.int64), arrays["tile"].astype(np.int64)
        columns: list[Array] = [arrays[name] for name in _READ]
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"is no table of phases: {error}", where=str(path)) from None
    if known != [BLOCKS, KINDS, STATES, ARMS] or {a.shape for a in columns} != {grid.shape}:
        raise InputError("is no table of phases of this version", where=str(path))
    edges = np.flatnonzero((np.diff(grid) != 0) | (np.diff(tile) != 0)) + 1
    for start, stop in pairwise([0, *edges.tolist(), len(grid)] if len(grid) else []):
        rows: list[Array] = [column[start:stop] for column in columns]
        yield TileColumns(layer, f"g{grid[start]}.t{tile[start]}", *rows)


def columns_matrix(
    tile: TileColumns, *, outputs: int, inputs: int, drive: Drive, gain: float, readout_rad: Real
) -> Complex:
    """As `phase_table.tile_matrix`, column by column: gain diag(e^{i readout}) U diag(s) V.

    Raises ValueError or IndexError for rows that make no mesh.
    """
    block = {name: tile.block == number for number, name in enumerate(BLOCKS)}
    half = coupler()
    upper, lower = arm_turns(tile.phase_rad[block["s"]], tile.arm[block["s"]])
    sigma = half[0, 0] * upper * half[0, 1] + half[0, 1] * lower * half[1, 1]
    u = _mesh_matrix(tile, block["u"], outputs, drive)[:, : len(sigma)]
    v = _mesh_matrix(tile, block["v"], inputs, drive)[: len(sigma)]
    return np.asarray(gain * np.exp(1j * readout_rad)[:, None] * (u @ (sigma[:, None] * v)))


def arm_turns(phase_rad: Real, arm: Flags) -> tuple[Complex, Complex]:
    """e^{i phase} of the upper and the lower arm, shape (R,)."""
    upper = np.where(arm == Arm.UPPER, phase_rad, np.where(arm == Arm.PAIR, phase_rad / 2, 0.0))
    return np.exp(1j * upper), np.exp(1j * (upper - phase_rad))


def _mesh_matrix(
    tile: TileColumns, rows: npt.NDArray[np.bool_], ports: int, drive: Drive
) -> Complex:
    kind, column, port = tile.kind[rows], tile.column[rows], tile.port[rows]
    upper, lower = arm_turns(tile.phase_rad[rows], tile.arm[rows])
    theta, phi = (np.flatnonzero(kind == KINDS.index(name)) for name in ("theta", "phi"))
    same = (column[theta] == column[phi]).all() and (port[theta] == port[phi]).all()
    if len(theta) != len(phi) or not same:
        raise ValueError("half an MZI")
    half = coupler()
    arms = np.stack([upper, lower], axis=-1)
    # coupler, theta, coupler, phi; light meets phi first.
    mzis = half @ (arms[theta][:, :, None] * half) * arms[phi][:, None, :]
    matrix = np.eye(ports, dtype=np.complex128)
    where = column[theta].astype(np.int64)
    top = port[theta].astype(np.int64)
    for step in range(int(where.max(initial=-1)) + 1):
        here = np.flatnonzero(where == step)
        above, below = matrix[top[here]], matrix[top[here] + 1]
        matrix *= np.exp(1j * pass_phase_rad(drive))
        m = mzis[here]
        matrix[top[here]] = m[:, 0, :1] * above + m[:, 0, 1:] * below
        matrix[top[here] + 1] = m[:, 1, :1] * above + m[:, 1, 1:] * below
    out = np.flatnonzero(kind == OUT)
    matrix[port[out]] *= upper[out][:, None]
    return matrix

"""`phases`: phases.csv, the table that drives the chip, a row for every phase shifter.

Of more than `CSV_ROWS` rows it becomes arrays, a file a layer, unless asked: see `phase_columns`.

Columns: `id` (`LAYER.g0.t3.u.c3.p2.theta`), `layer`, `tile` (`g0.t3`: grid 0, tile 3), `block`
(`v`, `s` or `u`, as light meets them), `column`, `port`, `kind` (`theta`, `phi`, `sigma`, `out`),
`state` (`active`, `passive`, `removed`), `arm` (`upper`, `lower`, `pair`; see physics.shifter),
`phase_rad` (signed), `code` (if the driver is known), `drive_rad` (what the heaters make; behind
`compensate`, what they are driven with), `power_mw`, `x_um`, `y_um` (centre of the heater, or of
a pair, if the program is placed), `pad` (that drives it, `T0_N12`; of a pair `T0_N1+T0_N2`),
`channel` (number of the heater in this file).

An MZI of the program has its rows even when both shifters are removed, for it is drawn as a
crossing. An output phase that is removed is nothing and has none. The program, gains, readout
angles and shapes are in program.mzi; the optics are here entirely.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np
import numpy.typing as npt

from onnx2mzi.backends.pads import block_pads
from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.ir import Attenuators, BlockPlacement, Mesh, MeshTile, Program
from onnx2mzi.physics.arrays import Flags, Index, Real
from onnx2mzi.physics.quantization import DriveCode, codes_of
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms, drive_rad, power_mw
from onnx2mzi.pipeline.backend import Backend, Emission
from onnx2mzi.pipeline.base import option
from onnx2mzi.pipeline.chip import Alike
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import attenuator_xy, heater_xy, out_xy

COLUMNS = (
    "id",
    "layer",
    "tile",
    "block",
    "column",
    "port",
    "kind",
    "state",
    "arm",
    "phase_rad",
    "code",
    "drive_rad",
    "power_mw",
    "x_um",
    "y_um",
    "pad",
    "channel",
)
TABLE_FILE = "phases.csv"
# What becomes of it where it is too long a text.
FOLDER = "phases"
# As many rows are about 260 MB of text and 10 s of work.
CSV_ROWS = 2_000_000
KINDS = ("theta", "phi", "sigma", "out")
THETA, PHI, SIGMA, OUT = range(4)
STATES = tuple(state.name.lower() for state in ShifterState)
ARMS = tuple(arm.name.lower() for arm in Arm)


# Ends of ids, and the fields of column, port and kind.
Which = tuple[list[str], list[str]]


@dataclass(frozen=True, slots=True)
class Shifters:
    """The shifters of one block in the order of the file; arrays of shape (R,).

    `kind` indexes KINDS; `code` is -1 where there is none.
    """

    column: Index
    port: Index
    kind: Flags
    state: Flags
    arm: Flags
    phase_rad: Real
    drive_rad: Real
    code: npt.NDArray[np.int64]


def mesh_shifters(mesh: Mesh, driver: DriveCode | None = None) -> Shifters:
    """Theta and phi of every MZI, then the output phases that are not removed."""
    out = np.flatnonzero(mesh.out_state != ShifterState.REMOVED).astype(np.int32)
    pairs = _shifters(
        column=np.repeat(mesh.column, 2),
        port=np.repeat(mesh.port, 2),
        kind=np.tile(np.array([THETA, PHI], np.uint8), len(mesh)),
        phase_rad=np.stack([mesh.theta_rad, mesh.phi_rad], axis=1).reshape(-1),
        state=np.stack([mesh.theta_state, mesh.phi_state], axis=1).reshape(-1),
        drive=mesh.drive,
        driver=driver,
    )
    single = _shifters(
        column=np.full(len(out), mesh.columns, np.int32),
        port=out,
        kind=np.full(len(out), OUT, np.uint8),
        phase_rad=mesh.out_rad[out],
        state=mesh.out_state[out],
        drive=Drive.UPPER_ARM,
        driver=driver,
    )
    # A phase on a single guide has no other arm.
    single = replace(single, arm=np.full(len(out), Arm.UPPER, np.uint8))
    joined = {
        field.name: np.concatenate([getattr(pairs, field.name), getattr(single, field.name)])
        for field in fields(Shifters)
    }
    return Shifters(**joined)


def attenuator_shifters(sigma: Attenuators, driver: DriveCode | None = None) -> Shifters:
    """Every attenuator of a row, removed ones (plain guides) included."""
    count = len(sigma)
    return _shifters(
        column=np.zeros(count, np.int32),
        port=np.arange(count, dtype=np.int32),
        kind=np.full(count, SIGMA, np.uint8),
        phase_rad=sigma.theta_rad,
        state=sigma.state,
        drive=sigma.drive,
        driver=driver,
    )


def _shifters(
    *,
    column: Index,
    port: Index,
    kind: Flags,
    phase_rad: Real,
    state: Flags,
    drive: Drive,
    driver: DriveCode | None,
) -> Shifters:
    code = np.full(len(phase_rad), -1)
    if driver is not None:
        code = codes_of(driver, phase_rad, state, drive)
    return Shifters(
        column,
        port,
        kind,
        state,
        arms(phase_rad, state, drive),
        phase_rad,
        drive_rad(phase_rad, state, drive),
        code,
    )


def mesh_places_um(mesh: Mesh, block: BlockPlacement, technology: Technology) -> tuple[Real, Real]:
    """x and y of every shifter of `mesh_shifters`, in its order."""
    plan = mesh_plan(mesh, technology)
    pairs = [
        heater_xy(
            technology,
            plan=plan,
            column_x_um=block.column_x_um,
            y_um=block.y_um,
            column=mesh.column,
            port=mesh.port,
            phase_rad=phase_rad,
            state=state,
            drive=mesh.drive,
            kind=kind,
        )
        for kind, phase_rad, state in (
            ("theta", mesh.theta_rad, mesh.theta_state),
            ("phi", mesh.phi_rad, mesh.phi_state),
        )
    ]
    present = mesh.out_state != ShifterState.REMOVED
    out = out_xy(
        technology,
        plan=plan,
        column_x_um=block.column_x_um,
        y_um=block.y_um,
        ports=mesh.ports,
    )
    x, y = (
        np.concatenate([np.stack([theta, phi], axis=1).reshape(-1), end[present]])
        for theta, phi, end in zip(*pairs, out, strict=True)
    )
    return x, y


def attenuator_places_um(
    sigma: Attenuators, block: BlockPlacement, technology: Technology
) -> tuple[Real, Real]:
    """x and y of every shifter of `attenuator_shifters`, in its order."""
    return attenuator_xy(
        technology,
        column_x_um=block.column_x_um,
        y_um=block.y_um,
        phase_rad=sigma.theta_rad,
        state=sigma.state,
        drive=sigma.drive,
    )


def block_lines(
    shifters: Shifters,
    *,
    layer: str,
    grid: int,
    tile: int,
    block: str,
    p_pi_mw: float,
    places_um: tuple[Real, Real] | None,
    pads: list[str],
    channel: int,
    known: Alike[Which],
) -> Iterator[str]:
    """The lines of one block, newline included; its heaters count from `channel`.

    `pads` has a text for every shifter, empty where it has no wire; `known` is what blocks of one
    structure share.
    """
    name = f"{layer}.g{grid}.t{tile}.{block}"
    # Python lists are an order of magnitude faster to walk than arrays.
    key = b"".join([a.tobytes() for a in (shifters.column, shifters.port, shifters.kind)])
    ends, heads = known.of(key, partial(_which, shifters))
    active = shifters.state == ShifterState.ACTIVE
    running = channel + np.cumsum(active) - 1
    x, y = [""] * len(ends), [""] * len(ends)
    if places_um is not None:
        x, y = map(_texts, places_um)
    quote = '"' if any(mark in layer for mark in ',"\r\n') else ""
    start = quote + name.replace('"', '""')
    fixed = f"{quote},{_quoted(layer)},g{grid}.t{tile},{block},"
    states = [f"{state},{arm}," for state in STATES for arm in ARMS]
    both = (shifters.state.astype(np.intp) * len(ARMS) + shifters.arm).tolist()
    for end, head, s, rad, code, made, power, x_um, y_um, pad, heated, number in zip(
        ends,
        heads,
        both,
        shifters.phase_rad.tolist(),
        shifters.code.tolist(),
        shifters.drive_rad.tolist(),
        power_mw(shifters.drive_rad, p_pi_mw=p_pi_mw).tolist(),
        x,
        y,
        pads,
        active.tolist(),
        running.tolist(),
        strict=True,
    ):
        yield (
            f"{start}{end}{fixed}{head}{states[s]}{rad!r},"
            f"{code if code >= 0 else ''},{made!r},{power!r},{x_um},{y_um},{pad},"
            f"{number if heated else ''}\n"
        )


def _which(shifters: Shifters) -> Which:
    kinds = [KINDS[k] for k in shifters.kind.tolist()]
    rows = list(zip(shifters.column.tolist(), shifters.port.tolist(), kinds, strict=True))
    return [f".c{c}.p{p}.{k}" for c, p, k in rows], [f"{c},{p},{k}," for c, p, k in rows]


def _texts(values: Real) -> list[str]:
    """Shortest round trip of every value; few differ, so each is printed once."""
    distinct, which = np.unique(values, return_inverse=True)
    texts = list(map(repr, distinct.tolist()))
    return [texts[k] for k in which.tolist()]


def _quoted(text: str) -> str:
    """`text` as one CSV field."""
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def blocks(program: Program) -> Iterator[tuple[str, int, int, str, Mesh | Attenuators]]:
    """(layer, grid, tile, block name, block) of the whole chip, in the order of the file."""
    for layer in program.layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                if isinstance(tile, MeshTile):
                    yield layer.name, g, t, "v", tile.v
                    yield layer.name, g, t, "s", tile.sigma
                    yield layer.name, g, t, "u", tile.u


@dataclass(frozen=True, slots=True)
class PlacedShifters:
    """The shifters of one block of the chip, and where they are if the program is placed."""

    layer: str
    grid: int
    tile: int
    block: str
    shifters: Shifters
    places_um: tuple[Real, Real] | None


def _driven(shifters: Shifters, block: Mesh | Attenuators, drive_rad: Real) -> Shifters:
    """With the drives that `compensate` has set, if it has (see `ir.BlockPlacement`)."""
    if not drive_rad.size:
        return shifters
    if isinstance(block, Mesh):
        k = len(block)
        pairs = np.stack([drive_rad[:k], drive_rad[k : 2 * k]], axis=1).reshape(-1)
        out = drive_rad[2 * k :][block.out_state != ShifterState.REMOVED]
        drive_rad = np.concatenate([pairs, out])
    # A code stands for the phase alone.
    return replace(shifters, drive_rad=drive_rad, code=np.full(len(drive_rad), -1))


def placed_shifters(program: Program, technology: Technology) -> Iterator[PlacedShifters]:
    """All shifters of the chip, block by block in the order of the file."""
    placed = program.placement.blocks if program.placement is not None else ()
    found = {(b.layer, b.grid, b.tile, b.block): b for b in placed}
    drivers = {layer.name: layer.drive_code or program.drive_code for layer in program.layers}
    for layer, grid, tile, name, block in blocks(program):
        placement = found.get((layer, grid, tile, name))
        places_um = None
        if isinstance(block, Mesh):
            shifters = mesh_shifters(block, drivers[layer])
            if placement is not None:
                places_um = mesh_places_um(block, placement, technology)
        else:
            shifters = attenuator_shifters(block, drivers[layer])
            if placement is not None:
                places_um = attenuator_places_um(block, placement, technology)
        if placement is not None:
            shifters = _driven(shifters, block, placement.drive_rad)
        yield PlacedShifters(layer, grid, tile, name, shifters, places_um)


def rows_of(program: Program) -> int:
    """How many rows the table of the program has."""
    return sum(
        2 * len(block) + int(np.count_nonzero(block.out_state != ShifterState.REMOVED))
        if isinstance(block, Mesh)
        else len(block)
        for *_, block in blocks(program)
    )


def write_table(program: Program, file: TextIO, technology: Technology) -> int:
    """Write the whole table, block by block; return the number of rows."""
    file.write(",".join(COLUMNS) + "\n")
    rows = channel = 0
    wired, known = block_pads(program, technology), Alike[Which]()
    for block, pads in zip(placed_shifters(program, technology), wired, strict=True):
        file.writelines(
            block_lines(
                block.shifters,
                layer=block.layer,
                grid=block.grid,
                tile=block.tile,
                block=block.block,
                p_pi_mw=technology.p_pi_mw,
                places_um=block.places_um,
                pads=pads,
                channel=channel,
                known=known,
            )
        )
        rows += len(block.shifters.state)
        channel += int(np.count_nonzero(block.shifters.state == ShifterState.ACTIVE))
    return rows


class Form(StrEnum):
    """How the table is written."""

    AUTO = "auto"
    CSV = "csv"
    COLUMNS = "columns"


@dataclass(frozen=True, slots=True)
class Phases(Backend):
    """Every phase shifter with its setting, power and place: phases.csv, or columns of arrays."""

    name: ClassVar[str] = "phases"

    table: Form = option(
        Form.AUTO,
        f"csv: phases.csv; columns: phases/LAYER.npz; auto: columns above {CSV_ROWS:,} rows",
    )

    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        if self._columns(emission.program):
            # What comes with large chips only is imported with them only.
            from onnx2mzi.backends.phase_columns import write_columns

            return write_columns(emission.program, directory, emission.technology)
        path = directory / TABLE_FILE
        with path.open("w", encoding="utf-8", newline="") as file:
            write_table(emission.program, file, emission.technology)
        return (path.name,)

    def told(self, emission: Emission) -> str:
        return f"{FOLDER}/*.npz" if self._columns(emission.program) else TABLE_FILE

    def notes(self, emission: Emission) -> dict[str, Any]:
        if not self._columns(emission.program):
            return {}
        return {"phases": self.told(emission), "phases_rows": rows_of(emission.program)}

    def _columns(self, program: Program) -> bool:
        above = self.table is Form.AUTO and rows_of(program) > CSV_ROWS
        return above or self.table is Form.COLUMNS

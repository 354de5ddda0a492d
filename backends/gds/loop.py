"""The loop closed: a program made again from the devices of a layout and the table of phases.

Which MZI is where, what is a crossing, which heater sits on which arm and which pads it is
between come from the layout; what each pad is driven with, and what fixed phases must be, from
phases.csv; gains, readout and the host from the program, for they are electronic.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from onnx2mzi.backends.gds.circuit import circuit_transfer
from onnx2mzi.backends.gds.extraction import Device, Extracted
from onnx2mzi.backends.gds.structure import FoundMzi, FoundTile, structure
from onnx2mzi.backends.phase_table import PhaseRow
from onnx2mzi.emulate.transfer import tile_transfer
from onnx2mzi.ir import Attenuators, DenseTile, Mesh, MeshTile, Program, TileGrid
from onnx2mzi.physics.arrays import Complex
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.tech import Technology

# Between the pads of a pair in phases.csv; the upper heater's comes first.
PAIR = "+"
# The table's places against the layout's.
PLACE_UM = 0.01


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Two programs from the layout: fixed phases as the table says, and every guide as long as
    it is drawn (tiles are matrices there). Without `problems` both are complete."""

    designed: Program
    drawn: Program
    problems: tuple[str, ...]
    mzis: int
    heaters: int


@dataclass(frozen=True, slots=True)
class Driven:
    """A heater of the layout and the row of the table that drives its pad.

    `lower`: of a pair, whether the pad is meant for the lower arm.
    """

    device: Device
    row: PhaseRow
    lower: bool

    @property
    def heat_rad(self) -> float:
        """What it adds to its guide; the lower one of a pair as much less."""
        if self.row.arm != "pair":
            return self.row.drive_rad
        return -self.row.phase_rad / 2 if self.lower else self.row.phase_rad / 2


def rebuild(
    found: Extracted,
    rows: Iterable[PhaseRow],
    program: Program,
    technology: Technology,
    layers: Container[str] | None = None,
) -> Rebuilt:
    """`program` with every mesh made from `found` and `rows`; of `layers` only, if they are
    given: others stay as they are."""
    tables: dict[str, list[PhaseRow]] = {}
    pads: dict[str, tuple[PhaseRow, bool]] = {}
    for row in rows:
        tables.setdefault(f"{row.layer}.{row.tile}", []).append(row)
        for lower, pad in enumerate(row.pad.split(PAIR) if row.pad else ()):
            pads[pad] = row, bool(lower)
    made = structure(found)
    problems = list(made.problems)
    driven = _driven(found, pads, problems)
    heated = {k: heater.heat_rad for k, heater in driven.items()}
    designed, drawn, mzis = [], [], 0
    for layer in program.layers:
        if layers is not None and layer.name not in layers:
            designed.append(layer)
            drawn.append(layer)
            continue
        exact: list[TileGrid] = []
        measured: list[TileGrid] = []
        for g, grid in enumerate(layer.grids):
            meshed: list[MeshTile] = []
            dense: list[DenseTile] = []
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                name = f"{layer.name}.g{g}.t{t}"
                there = made.tiles.get(name, FoundTile())
                mzis += len(there.mzis)
                again = _Maker(name, there, tables.get(name, []), driven, problems).tile(tile)
                meshed.append(again)
                inputs = [there.inputs.get(k, 0) for k in range(len(tile.inputs))]
                outputs = [there.outputs.get(k, 0) for k in range(len(tile.outputs))]
                if 0 in inputs or 0 in outputs:
                    problems.append(f"{name}: the layout has not all of its inputs and outputs")
                    continue
                light = circuit_transfer(found, technology, heated, inputs, outputs)
                dense.append(_dense(again, light))
            exact.append(replace(grid, tiles=tuple(meshed)))
            measured.append(replace(grid, tiles=tuple(dense)))
        designed.append(replace(layer, grids=tuple(exact)))
        drawn.append(replace(layer, grids=tuple(measured)))
    return Rebuilt(
        replace(program, layers=tuple(designed)),
        replace(program, layers=tuple(drawn)),
        tuple(dict.fromkeys(problems)),
        mzis,
        len(driven),
    )


def _dense(tile: MeshTile, light: Complex) -> DenseTile:
    """The tile as a matrix from its drawn circuit; what turns all light alike is left out."""
    readout = tile.gain * np.exp(1j * tile.readout_rad)[:, None]
    common = np.vdot(tile_transfer(tile), readout * light)
    turn = np.conj(common) / abs(common) if abs(common) > 0 else 1.0
    return DenseTile(tile.outputs, tile.inputs, readout * light * turn)


def _driven(
    found: Extracted, pads: Mapping[str, tuple[PhaseRow, bool]], problems: list[str]
) -> dict[int, Driven]:
    """What drives each heater, by its place in `found.devices`: one of its two pads must."""
    made: dict[int, Driven] = {}
    for k, device in enumerate(found.devices):
        ends = {name for net in device.nets[2:] for name in found.labels.get(net, "").split(",")}
        known = sorted(ends & pads.keys())
        if device.kind != "heater":
            continue
        if len(known) != 1:
            pad = " and ".join(known) or "no pad of the table"
            problems.append(f"the {device} is driven by {pad}")
            continue
        row, lower = pads[known[0]]
        made[k] = Driven(device, row, lower)
        off_um = abs(device.x_um - row.x_um) if row.x_um is not None else 0.0
        if row.y_um is not None and row.arm != "pair":
            off_um = max(off_um, abs(device.y_um - row.y_um))
        if off_um > PLACE_UM:
            where = f"({row.x_um}, {row.y_um})"
            problems.append(f"{row.id}: drives the {device}, but should be at {where}")
    return made


Shifter = tuple[float, ShifterState]
Found = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes one tile again."""

    name: str
    there: FoundTile
    table: list[PhaseRow]
    driven: Mapping[int, Driven]
    problems: list[str]
    rows: dict[tuple[str, int, int, str], PhaseRow] = field(default_factory=dict)

    def tile(self, tile: MeshTile) -> MeshTile:
        """The tile with its meshes and attenuators from the layout; itself where it cannot be."""
        for row in self.table:
            self.rows[row.block, row.column, row.port, row.kind] = row
        matched = self._matched()
        if matched is None:
            return tile
        blocks = {}
        for block, mesh in (("v", tile.v), ("u", tile.u)):
            here = [(key[1], key[2], mzi) for key, mzi in matched if key[0] == block]
            blocks[block] = self._mesh(block, mesh, sorted(here, key=lambda one: one[:2]))
        sigma = self._attenuators(tile.sigma)
        return replace(tile, v=blocks["v"], u=blocks["u"], sigma=sigma)

    def _matched(self) -> list[tuple[tuple[str, int, int], FoundMzi]] | None:
        """The (block, column, port) of every MZI: on each port they come in the table's order."""
        listed: dict[int, list[tuple[str, int, int]]] = {}
        for block in "vu":
            keys = {key[:3] for key in self.rows if key[0] == block and key[3] == "theta"}
            for key in sorted(keys):
                listed.setdefault(key[2], []).append(key)
        found: dict[int, list[FoundMzi]] = {}
        for mzi in self.there.mzis:
            found.setdefault(mzi.port, []).append(mzi)
        matched: list[tuple[tuple[str, int, int], FoundMzi]] = []
        for port in sorted(listed.keys() | found.keys()):
            wanted, have = listed.get(port, []), found.get(port, [])
            if len(wanted) != len(have):
                self.problems.append(
                    f"{self.name}: {len(have)} MZIs on port {port}, phases.csv has {len(wanted)}"
                )
                return None
            matched += zip(wanted, have, strict=True)
        behind = -np.inf
        columns: dict[tuple[bool, int], list[float]] = {}
        for key, mzi in matched:
            columns.setdefault((key[0] == "u", key[1]), []).append(mzi.x_um)
        for (late, column), x_um in sorted(columns.items()):
            if min(x_um) <= behind:
                block = "u" if late else "v"
                self.problems.append(f"{self.name}.{block}: column {column} is not one column")
            behind = max(x_um)
        return matched

    def _mesh(self, block: str, mesh: Mesh, cells: list[tuple[int, int, FoundMzi]]) -> Mesh:
        theta: list[Shifter] = []
        phi: list[Shifter] = []
        for column, port, mzi in cells:
            row = self.rows[block, column, port, "theta"]
            if mzi.crossing and row.state != "removed":
                self.problems.append(f"{row.id}: is {row.state}, but drawn as a crossing")
            theta.append(self._shifter(row, mzi.theta))
            before = [(arm, k) for arm, k in mzi.phi if not self._is_out(k)]
            phi.append(self._shifter(self.rows[block, column, port, "phi"], before))
        out = [(0.0, ShifterState.REMOVED)] * mesh.ports
        for port, heaters in self._outs(block).items():
            row = self.rows[block, mesh.columns, port, "out"]
            out[port] = self._shifter(row, heaters)
        return Mesh(
            mesh.ports,
            np.array([cell[0] for cell in cells], np.int32),
            np.array([cell[1] for cell in cells], np.int32),
            np.array([one[0] for one in theta]),
            np.array([one[0] for one in phi]),
            np.array([one[1] for one in theta], np.uint8),
            np.array([one[1] for one in phi], np.uint8),
            np.array([one[0] for one in out]),
            np.array([one[1] for one in out], np.uint8),
            mesh.drive,
        )

    def _is_out(self, k: int) -> bool:
        return k in self.driven and self.driven[k].row.kind == "out"

    def _outs(self, block: str) -> dict[int, Found]:
        """Rows of the block's single phases, and the heaters that lie there."""
        rows = {key[2] for key in self.rows if key[0] == block and key[3] == "out"}
        found: dict[int, Found] = {row: [] for row in rows}
        lying = [(mzi.port + arm, k) for mzi in self.there.mzis for arm, k in mzi.phi]
        lying += [(row, k) for row, heaters in self.there.single.items() for k in heaters]
        for row, k in lying:
            if self._is_out(k) and self.driven[k].row.block == block and row in found:
                found[row].append((0, k))
        return found

    def _attenuators(self, sigma: Attenuators) -> Attenuators:
        made = []
        for k in range(len(sigma)):
            row = self.rows["s", 0, k, "sigma"]
            there = k in self.there.attenuators
            if there != (row.state != "removed"):
                self.problems.append(
                    f"{row.id}: is {row.state}, but {'' if there else 'not '}drawn"
                )
            made.append(self._shifter(row, self.there.attenuators.get(k, [])))
        return replace(
            sigma,
            theta_rad=np.array([one[0] for one in made]),
            state=np.array([one[1] for one in made], np.uint8),
        )

    def _shifter(self, row: PhaseRow, heaters: Found) -> Shifter:
        """The phase that the heaters of the layout make with what drives their pads; a fixed one
        is the table's."""
        driven = [(arm, self.driven[k]) for arm, k in heaters if k in self.driven]
        for _, heater in driven:
            if heater.row is not row:
                self.problems.append(f"{row.id}: its heater is driven as {heater.row.id}")
        wanted = 0 if row.state != "active" else 2 if row.arm == "pair" else 1
        if len(driven) != wanted:
            self.problems.append(f"{row.id}: {len(driven)} heaters instead of {wanted}")
        if row.state != "active" or len(driven) != wanted:
            return row.phase_rad, ShifterState[row.state.upper()]
        if row.arm == "pair":
            right = {arm for arm, heater in driven if heater.lower == bool(arm)}
            phase = row.phase_rad if right == {0, 1} else -row.phase_rad
        else:
            ((arm, heater),) = driven
            phase = heater.heat_rad * (-1 if arm else 1)
        return float(phase - 2 * np.pi if phase > np.pi else phase), ShifterState.ACTIVE

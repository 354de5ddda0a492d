"""The heaters of a placed tile: which bank each one is in, and on which arm.

Heaters that lie above each other form a bank. Where the banks are, and in which order their
heaters lie, follows from the structure of the tile alone: its MZIs, their states, its places
(`Slots`). Its phases say only on which arm a heater is (`on_arms`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.ir import BlockPlacement, Mesh, MeshTile
from onnx2mzi.physics.arrays import Flags, Real
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import ColumnPlan, cells, heated_um

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# The columns of V and of U.
TilePlans = tuple[ColumnPlan, ColumnPlan]
# The sign of the phase decides on the arm.
CHOSEN = -1
# A kind of `Heaters.source`.
OUT = 2


@dataclass(frozen=True, slots=True, eq=False)
class Heaters:
    """H heaters of a tile, bank by bank from the left; heights from the tile's port 0.

    `bank` numbers the banks that have heaters; `source` is (block, kind, shifter, arm) with
    block 0, 1, 2 for v, s, u, kind 0 theta (or sigma), 1 phi, 2 out, and arm 0 or 1. Banks:
    left ends `bank_x_um` of the heaters, and whether the signals are on the left.
    """

    bank: Ints
    y_um: Real
    source: Ints
    bank_x_um: Real
    signal_left: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Where H heaters can be, in the order of `Heaters`; its fields but for these.

    `upper_y_um` is the height of the upper arm, `apart_um` how far below it the lower one is,
    `phase` the index into `tile_phases_rad`; the arm in `source` may be `CHOSEN`, and a `pair`
    has a heater on both.
    """

    bank: Ints
    upper_y_um: Real
    apart_um: Real
    phase: Ints
    pair: Bools
    source: Ints
    bank_x_um: Real
    signal_left: Bools


def tile_plans(tile: MeshTile, technology: Technology) -> TilePlans:
    """The lengths of the columns of V and of U."""
    return mesh_plan(tile.v, technology), mesh_plan(tile.u, technology)


def heaters_of(
    tile: MeshTile, places: Mapping[str, BlockPlacement], technology: Technology
) -> Heaters:
    """The heaters of a tile; `places` maps "v", "s", "u" to the blocks' places."""
    plans = tile_plans(tile, technology)
    return on_arms(slots_of(tile, places, technology, plans), tile)


def tile_phases_rad(tile: MeshTile) -> Real:
    """All phases of a tile, block by block: theta, phi, out of V and U, sigma between them."""
    v, u = tile.v, tile.u
    phases = (v.theta_rad, v.phi_rad, v.out_rad, tile.sigma.theta_rad)
    return np.concatenate([*phases, u.theta_rad, u.phi_rad, u.out_rad])


def on_arms(slots: Slots, tile: MeshTile) -> Heaters:
    """The heaters, each on the arm that makes its phase (see `physics.shifter`)."""
    chosen = slots.source[:, 3] == CHOSEN
    lower = np.where(chosen, tile_phases_rad(tile)[slots.phase] < 0, slots.source[:, 3])
    source = slots.source.copy()
    source[:, 3] = lower
    y_um = slots.upper_y_um - lower * slots.apart_um
    return Heaters(slots.bank, y_um, source, slots.bank_x_um, slots.signal_left)


def slots_of(
    tile: MeshTile,
    places: Mapping[str, BlockPlacement],
    technology: Technology,
    plans: TilePlans,
) -> Slots:
    """The places of a tile's heaters, whatever the signs of its phases."""
    sizes, sigma = cells(technology), tile.sigma
    edges = places["s"].column_x_um
    count = len(sigma)
    row = _Row(
        x=np.full(count, (edges[0] + edges[-1] - heated_um(technology)) / 2),
        y=sizes.arm_um - sizes.pitch_um * np.arange(count, dtype=np.float64),
        apart=2 * sizes.arm_um,
        state=sigma.state,
        drive=sigma.drive,
        block=1,
        kind=0,
    )
    v = _mesh_rows(tile.v, places["v"].column_x_um, plans[0], sizes.pitch_um, 0)
    u = _mesh_rows(tile.u, places["u"].column_x_um, plans[1], sizes.pitch_um, 2)
    found, before = [], 0
    for part in (*v, row, *u):
        found.append(_slots(part, before))
        before += len(part.state)
    x, y, apart, phase, pair, source = (np.concatenate(parts) for parts in zip(*found, strict=True))
    source = source.reshape(-1, 4)
    left = source[:, 1] != 0
    bank_x, first, bank = np.unique(np.round(x, 4), return_index=True, return_inverse=True)
    bank = bank.ravel()
    height = y - np.where(source[:, 3] == 1, apart, 0.0)
    # MZIs of a column share no row: their order is the same on either arm.
    order = np.lexsort((-height, bank))
    return Slots(
        bank=bank[order],
        upper_y_um=y[order],
        apart_um=apart[order],
        phase=phase[order],
        pair=pair[order],
        source=source[order],
        bank_x_um=bank_x,
        signal_left=left[first],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """Shifters of one kind, shape (K,): left ends, heights of upper arms, states."""

    x: Real
    y: Real
    apart: float
    state: Flags
    drive: Drive
    block: int
    kind: int


def _mesh_rows(mesh: Mesh, edges: Real, plan: ColumnPlan, pitch: float, block: int) -> list[_Row]:
    """Theta, phi and the shifters behind the last column."""
    y = np.asarray(-pitch * mesh.port, np.float64)
    left = edges[:-1][mesh.column] if len(mesh) else np.zeros(0)
    theta_x = left + plan.theta_start_um[mesh.column]
    out_x = np.full(mesh.ports, edges[-1])
    out_y = -pitch * np.arange(mesh.ports, dtype=np.float64)
    # A phase on a single guide has no other arm.
    return [
        _Row(theta_x, y, pitch, mesh.theta_state, mesh.drive, block, 0),
        _Row(left, y, pitch, mesh.phi_state, mesh.drive, block, 1),
        _Row(out_x, out_y, pitch, mesh.out_state, Drive.UPPER_ARM, block, 2),
    ]


def _slots(row: _Row, before: int) -> tuple[Real, Real, Real, Ints, Bools, Ints]:
    """x, upper y, distance of the arms, phase, pair and source of these shifters' heaters."""
    heated = np.flatnonzero(row.state == ShifterState.ACTIVE)
    if row.drive is Drive.PUSH_PULL:
        k, arm = np.repeat(heated, 2), np.tile([0, 1], len(heated))
    else:
        which = CHOSEN if row.drive is Drive.ARM_CHOICE else 0
        k, arm = heated, np.full(len(heated), which)
    count = len(k)
    source = np.stack([np.full(count, row.block), np.full(count, row.kind), k, arm], axis=1)
    pair = np.full(count, row.drive is Drive.PUSH_PULL)
    return row.x[k], row.y[k], np.full(count, row.apart), k + before, pair, source

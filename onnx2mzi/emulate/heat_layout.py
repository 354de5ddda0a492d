"""Where the guides and heaters of a placed program lie, for heat: bars, segments, heaters.

Guides are followed as they are drawn (tech.geometry), S-bends as steps: a guide is on its row up
to the middle of the bend, then at the height of the coupler's port. Slanted crossings are two
halves on their rows. All guides count, those without heaters too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from onnx2mzi.emulate.heat import MeshSegments, TileSegments, mesh_segments, tile_push_matrix
from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.ir import BlockPlacement, Mesh, MeshTile, Placement, Program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.heat_bars import Bars
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms, drive_rad
from onnx2mzi.physics.stack import Die
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import Cells, ColumnPlan, cells, drawn_as_crossing

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Heaters:
    """n heaters: where they lie, whose phase they make, and how much of it the drawing asks for.

    `own` is the segment below, `other` the opposite arm (-1: none), `phase` the number of the
    balanced phase that the heater is for (-1: none, for outputs of V, which U's phases take
    up), `drive_rad` >= 0. `block` is 3 * tile + 0, 1, 2 for v, s, u, and `slot` the heater's
    place among the drives of that block (`ir.BlockPlacement.drive_rad`).
    """

    bars: Bars
    own: Numbers
    other: Numbers
    phase: Numbers
    drive_rad: Real
    block: Numbers
    slot: Numbers

    def __len__(self) -> int:
        return len(self.own)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedTile:
    """A tile of the layout: its address, and where its segments and phases start."""

    layer: str
    grid: int
    tile: int
    segments: TileSegments
    segment_start: int
    phase_start: int


@dataclass(frozen=True, slots=True, eq=False)
class HeatLayout:
    """All guides and heaters of a chip.

    Guide bar j belongs to segment `bar_segment[j]`; several bars make a segment. `push`, shape
    (phases, segments), takes phases of all segments to balanced phases of all tiles.
    """

    guides: Bars
    bar_segment: Numbers
    heaters: Heaters
    push: sp.csr_array
    tiles: tuple[PlacedTile, ...]

    def gather(self) -> sp.csr_array:
        """Sums bars into segments, shape (segments, bars)."""
        count = len(self.bar_segment)
        place = (self.bar_segment, np.arange(count))
        return sp.csr_array((np.ones(count), place), shape=(self.push.shape[1], count))

    def asked_rad(self) -> Real:
        """Phases on all segments that the drawn drives ask for, shape (segments,)."""
        asked = np.zeros(self.push.shape[1])
        np.add.at(asked, self.heaters.own, self.heaters.drive_rad)
        return asked


def set_drives_rad(program: Program, layout: HeatLayout) -> Real:
    """What the heaters are driven with, (heaters,): as `compensate` set them, else as drawn."""
    drives = layout.heaters.drive_rad.copy()
    for number, block in _numbered(program):
        if block.drive_rad.size:
            mine = layout.heaters.block == number
            drives[mine] = block.drive_rad[layout.heaters.slot[mine]]
    return drives


def with_drives(program: Program, layout: HeatLayout, drive_rad: Real) -> Program:
    """The placed program whose heaters are driven with `drive_rad`, (heaters,)."""
    assert program.placement is not None
    sizes = {
        3 * tile + which: size
        for tile, placed in enumerate(layout.tiles)
        for which, size in enumerate(_slots(placed.segments))
    }
    made: dict[int, BlockPlacement] = {}
    for number, block in _numbered(program):
        drives = np.zeros(sizes[number])
        mine = layout.heaters.block == number
        drives[layout.heaters.slot[mine]] = drive_rad[mine]
        made[id(block)] = replace(block, drive_rad=drives)
    blocks = tuple(made[id(block)] for block in program.placement.blocks)
    return replace(program, placement=replace(program.placement, blocks=blocks))


def _slots(segments: TileSegments) -> tuple[int, int, int]:
    """Shifters of V, of the attenuators, of U."""
    v, u = (2 * len(mesh.column) + mesh.ports for mesh in (segments.v, segments.u))
    return v, len(segments.plain), u


def _numbered(program: Program) -> Iterator[tuple[int, BlockPlacement]]:
    """Blocks by their number, as in `Heaters.block`."""
    assert program.placement is not None
    blocks = {(b.layer, b.grid, b.tile, b.block): b for b in program.placement.blocks}
    number = 0
    for layer in program.layers:
        for g, grid in enumerate(layer.grids):
            for t in range(len(grid.tiles)):
                for name in "vsu":
                    yield number, blocks[layer.name, g, t, name]
                    number += 1


def smallest_die(placement: Placement, technology: Technology) -> Die:
    """The foundry's smallest die around the placement, which lies in its middle.

    If it fits none, the placement and the margin.
    """
    margin = 2 * technology.die.margin_um
    wide, high = placement.width_um + margin, placement.height_um + margin
    fitting = [(w, h) for w, h in technology.die.sizes_um if w >= wide and h >= high]
    w, h = min(fitting, key=lambda size: size[0] * size[1], default=(wide, high))
    x, y = placement.width_um / 2, placement.height_um / 2
    return Die(x - w / 2, x + w / 2, y - h / 2, y + h / 2)


def heat_layout(program: Program, technology: Technology) -> HeatLayout:
    """The layout of a placed program.

    Raises ValueError for a program without placement and for push-pull drives, which are no
    heaters: their phases have both signs.
    """
    if program.placement is None:
        raise ValueError("heat needs a placed program")
    blocks = {(b.layer, b.grid, b.tile, b.block): b for b in program.placement.blocks}
    sizes = cells(technology)
    parts: list[_Part] = []
    pushes: list[sp.csr_array] = []
    tiles: list[PlacedTile] = []
    segment_start = phase_start = 0
    for layer in program.layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                segments = _segments(tile, technology)
                v, s, u = (blocks[layer.name, g, t, name] for name in ("v", "s", "u"))
                for part in _tile_parts(tile, segments, technology, sizes, v, s, u):
                    parts.append(part.moved(segment_start, phase_start, 3 * len(tiles)))
                pushes.append(tile_push_matrix(segments))
                tiles.append(PlacedTile(layer.name, g, t, segments, segment_start, phase_start))
                segment_start += len(segments)
                phase_start += segments.phases
    push = sp.block_diag(pushes, format="csr") if pushes else sp.csr_array((0, 0))
    guides = [part for part in parts if part.drive_rad is None]
    heated = [part for part in parts if part.drive_rad is not None]
    heaters = Heaters(
        _bars(heated),
        _joined([part.segment for part in heated]),
        _joined([part.other for part in heated]),
        _joined([part.phase for part in heated]),
        np.concatenate([np.zeros(0), *(p.drive_rad for p in heated if p.drive_rad is not None)]),
        _joined([part.block for part in heated]),
        _joined([part.slot for part in heated]),
    )
    return HeatLayout(
        _bars(guides), _joined([p.segment for p in guides]), heaters, push, tuple(tiles)
    )


def _segments(tile: MeshTile, technology: Technology) -> TileSegments:
    for drive in (tile.u.drive, tile.v.drive, tile.sigma.drive):
        if drive is Drive.PUSH_PULL:
            raise ValueError(
                "a push-pull pair is two heaters about a bias that the program does not hold: "
                "heat is followed for drive arm-choice or upper-arm only"
            )
    v, u = (
        mesh_segments(mesh, drawn_as_crossing(mesh.theta_state, mesh.phi_state, technology))
        for mesh in (tile.v, tile.u)
    )
    plain = np.asarray(tile.sigma.state == ShifterState.REMOVED, np.uint8)
    return TileSegments(v, plain, u)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Bars of one kind: guides, or heaters if `drive_rad` is given."""

    x0_um: Real
    x1_um: Real
    y_um: Real
    segment: Numbers
    other: Numbers
    phase: Numbers
    drive_rad: Real | None
    block: Numbers
    slot: Numbers

    def moved(self, segments: int, phases: int, blocks: int) -> "_Part":
        return replace(
            self,
            segment=self.segment + segments,
            other=np.where(self.other < 0, -1, self.other + segments),
            phase=np.where(self.phase < 0, -1, self.phase + phases),
            block=self.block + blocks,
        )


def _joined(parts: list[Numbers]) -> Numbers:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _bars(parts: list[_Part]) -> Bars:
    arrays = (np.concatenate([np.zeros(0), *(getattr(p, n) for p in parts)]) for n in _BAR)
    return Bars(*arrays)


_BAR = ("x0_um", "x1_um", "y_um")


def _guide(x0: npt.ArrayLike, x1: npt.ArrayLike, y: npt.ArrayLike, segment: Numbers) -> _Part:
    """Guides from x0 to x1; those without length are left out."""
    a, b, c = (np.broadcast_to(np.asarray(v, float), segment.shape) for v in (x0, x1, y))
    real = b - a > 1e-9
    none = np.full(int(real.sum()), -1)
    return _Part(a[real], b[real], c[real], segment[real], none, none, None, none, none)


def _heater(
    technology: Technology,
    x_um: npt.ArrayLike,
    y_um: npt.ArrayLike,
    own: Numbers,
    other: Numbers,
    phase: Numbers,
    drive: Real,
    state: npt.NDArray[np.uint8],
    block: int,
    slot: int,
) -> _Part:
    """Heaters around the centres x, of the shifters that are active; `slot` is the first's."""
    on = np.asarray(state) == ShifterState.ACTIVE
    half = technology.heater.length_um / 2
    x = np.broadcast_to(np.asarray(x_um, float), on.shape)[on]
    other = np.broadcast_to(other, on.shape)[on]
    y = np.asarray(y_um, float)[on]
    slots = slot + np.flatnonzero(on)
    blocks = np.full(len(slots), block)
    return _Part(x - half, x + half, y, own[on], other, phase[on], drive[on], blocks, slots)


def _tile_parts(
    tile: MeshTile,
    segments: TileSegments,
    technology: Technology,
    sizes: Cells,
    v: BlockPlacement,
    s: BlockPlacement,
    u: BlockPlacement,
) -> Iterator[_Part]:
    kv, r, ku = len(tile.v), len(tile.sigma), len(tile.u)
    v_plan, u_plan = mesh_plan(tile.v, technology), mesh_plan(tile.u, technology)
    # V's output phases have no rows of their own: what they make arrives at the attenuators.
    v_out = np.full(tile.v.ports, -1)
    yield from _mesh_parts(tile.v, segments.v, technology, sizes, v, v_plan, 0, 0, v_out)
    u_out = 2 * kv + r + 2 * ku + np.arange(tile.u.ports)
    phase = 2 * kv + r
    yield from _mesh_parts(
        tile.u, segments.u, technology, sizes, u, u_plan, segments.u_start, phase, u_out
    )
    behind_v = float(v.column_x_um[-1]) + v_plan.out_um
    before_u = float(u.column_x_um[0]) - u_plan.lead_um
    channel = np.arange(r)
    row = s.y_um - s.row_pitch_um * channel
    lead = segments.sigma_start + channel
    first = segments.u_start + channel
    start, end = float(s.column_x_um[0]), float(s.column_x_um[-1])
    plain = segments.plain.astype(bool)
    coupler = sizes.attenuator_lead.run_um + technology.coupler.length_um / 2
    open_, close = start + coupler, end - coupler
    yield _guide(behind_v, np.where(plain, end, open_), row, lead)
    for side, number in ((1.0, lead + r), (-1.0, lead + 2 * r)):
        yield _guide(open_, np.where(plain, open_, close), row + side * sizes.arm_um, number)
    yield _guide(np.where(plain, end, close), float(u.column_x_um[0]), row, first)
    dark = np.arange(r, tile.u.ports)
    at = u.y_um - u.row_pitch_um * dark
    yield _guide(before_u, float(u.column_x_um[0]), at, segments.u_start + dark)
    state = tile.sigma.state
    yield _heater(
        technology,
        np.full(r, (start + end) / 2),
        row + sizes.arm_um,
        lead + r,
        lead + 2 * r,
        2 * kv + channel,
        drive_rad(tile.sigma.theta_rad, state, tile.sigma.drive),
        state,
        1,
        0,
    )


def _mesh_parts(
    mesh: Mesh,
    segments: MeshSegments,
    technology: Technology,
    sizes: Cells,
    block: BlockPlacement,
    plan: ColumnPlan,
    segment_start: int,
    phase_start: int,
    out_phase: Numbers,
) -> Iterator[_Part]:
    edges = np.asarray(block.column_x_um)
    rows = block.y_um - block.row_pitch_um * np.arange(mesh.ports)
    which = "vsu".index(block.block)

    def number(part: int, column: npt.ArrayLike, port: npt.ArrayLike) -> Numbers:
        return segment_start + segments.number(part, column, port)

    passing = np.ones((segments.columns, mesh.ports), bool)
    passing[mesh.column, mesh.port] = passing[mesh.column, mesh.port + 1] = False
    column, port = np.nonzero(passing)
    yield _guide(edges[column], edges[column + 1], rows[port], number(0, column, port))
    real = segments.crossing == 0
    for below in (0, 1):
        c, p = mesh.column[~real], mesh.port[~real] + below
        middle = (edges[c] + edges[c + 1]) / 2
        yield _guide(edges[c], middle, rows[p], number(0, c, p))
        yield _guide(middle, edges[c + 1], rows[p], number(1, c, p))
        c, p = mesh.column[real], mesh.port[real] + below
        away = (sizes.pitch_um - technology.coupler.port_gap_um) / 2 * (1 if below else -1)
        bend, half = sizes.bend.run_um / 2, plan.body_um[c] / 2
        x0, phi_end = edges[c], edges[c] + plan.phi_um[c]
        theta = edges[c] + plan.theta_start_um[c]
        theta_end = theta + plan.theta_um[c]
        yield _guide(x0, phi_end + bend, rows[p], number(0, c, p))
        yield _guide(phi_end + bend, phi_end + half, rows[p] + away, number(0, c, p))
        yield _guide(phi_end + half, theta - bend, rows[p] + away, number(1, c, p))
        yield _guide(theta - bend, theta_end + bend, rows[p], number(1, c, p))
        yield _guide(theta_end + bend, theta_end + half, rows[p] + away, number(1, c, p))
        # Behind the second coupler begins what the next column has before its first.
        last = c + 1 == segments.columns
        behind = np.where(last, number(2, 0, p), number(0, np.minimum(c + 1, c.max(initial=0)), p))
        stage_end = theta_end + 2 * half
        yield _guide(theta_end + half, stage_end - bend, rows[p] + away, behind)
        yield _guide(stage_end - bend, edges[c + 1], rows[p], behind)
    every = np.arange(mesh.ports)
    right = float(edges[-1])
    yield _guide(right, right + plan.out_um, rows, number(2, 0, every))
    k = np.arange(len(mesh))
    kinds = (
        (1, mesh.theta_rad, mesh.theta_state, plan.theta_centre_um, k),
        (0, mesh.phi_rad, mesh.phi_state, plan.phi_centre_um, len(mesh) + k),
    )
    for part, phase, state, centre, row in kinds:
        lower = (arms(phase, state, mesh.drive) == Arm.LOWER).astype(np.int64)
        yield _heater(
            technology,
            (edges[:-1] + centre)[mesh.column] if len(mesh) else np.zeros(0),
            rows[mesh.port + lower],
            number(part, mesh.column, mesh.port + lower),
            number(part, mesh.column, mesh.port + 1 - lower),
            phase_start + row,
            drive_rad(phase, state, mesh.drive),
            state,
            which,
            0 if part else len(mesh),
        )
    yield _heater(
        technology,
        np.full(mesh.ports, right + plan.out_um / 2),
        rows,
        number(2, 0, every),
        np.full(mesh.ports, -1),
        out_phase,
        drive_rad(mesh.out_rad, mesh.out_state, Drive.UPPER_ARM),
        mesh.out_state,
        which,
        2 * len(mesh),
    )

"""Blocks of a tile: every MZI, passing guide and attenuator at its place, port 0 at y = 0.

Labels are drawn apart, so that blocks that differ in their names alone are one cell.
"""

import gdstk
import numpy as np
import numpy.typing as npt

from onnx2mzi.backends.gds.cells import CellBook, Fill, MziKey, place
from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.errors import VerificationError
from onnx2mzi.ir import Attenuators, BlockPlacement, Mesh
from onnx2mzi.physics.arrays import Flags, Index, Real
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms
from onnx2mzi.tech.geometry import (
    ColumnPlan,
    attenuators_um,
    drawn_as_crossing,
    section_um,
)

# Fill of (upper, lower) arm; an index into it is what `_fills` returns.
_PAIRS = (
    (Fill.STRAIGHT, Fill.STRAIGHT),
    (Fill.HEATER, Fill.STRAIGHT),
    (Fill.STRAIGHT, Fill.HEATER),
    (Fill.HEATER, Fill.HEATER),
    (Fill.OPEN, Fill.OPEN),
)
_ON_ARM = {Arm.UPPER: 1, Arm.LOWER: 2, Arm.PAIR: 3}


def drawn_of(part: Mesh | Attenuators, block: BlockPlacement) -> bytes:
    """Everything that the drawing of a block depends on but the technology.

    Of a heater's phase the sign, for it decides on the arm; of a fixed one all of it.
    """
    if isinstance(part, Mesh):
        head = f"mesh {part.ports} {len(part)} {part.drive} "
        arrays: list[Index] = [part.column, part.port]
        shifters = [
            (part.theta_rad, part.theta_state),
            (part.phi_rad, part.phi_state),
            (part.out_rad, part.out_state),
        ]
    else:
        head, arrays = f"attenuators {len(part)} {part.drive} ", []
        shifters = [(part.theta_rad, part.state)]
    drawn = [np.where(state == ShifterState.PASSIVE, rad, rad < 0) for rad, state in shifters]
    states = [state for _, state in shifters]
    places = [block.column_x_um, np.array([block.row_pitch_um])]
    parts: list[np.ndarray] = [*arrays, *states, *drawn, *places]
    return b"".join([head.encode(), *(part.tobytes() for part in parts)])


def draw_mesh(
    book: CellBook, cell: gdstk.Cell, mesh: Mesh, block: BlockPlacement, name: str
) -> None:
    """Draw a mesh in its columns; `name` is the block's id in errors.

    Raises VerificationError when the placement is not that of this mesh and technology.
    """
    plan = mesh_plan(mesh, book.chip.technology)
    edges, pitch = block.column_x_um, block.row_pitch_um
    if not np.allclose(np.diff(edges), plan.width_um, atol=1e-3):
        raise VerificationError(
            "the placed columns are not as wide as the mesh needs",
            where=name,
            hint="place again, with the same technology",
        )
    if len(mesh):
        _draw_mzis(book, cell, mesh, plan, block)
    _draw_passing(book, cell, mesh, plan, block)
    for c in np.flatnonzero(plan.corridor_um > 0):
        corridor = book.guide_rows(float(plan.corridor_um[c]))
        start = float(edges[c + 1] - plan.corridor_um[c])
        _rows(cell, corridor, start, mesh.ports, pitch)
    _draw_out(book, cell, mesh, plan, block)


def _rows(cell: gdstk.Cell, what: gdstk.Cell, x: float, rows: int, pitch: float) -> None:
    if rows == 1:
        cell.add(gdstk.Reference(what, (x, 0.0)))
    else:
        cell.add(gdstk.Reference(what, (x, 0.0), rows=rows, spacing=(pitch, -pitch)))


def _fills(phase_rad: Real, state: Flags, drive: Drive) -> Flags:
    """Index into `_PAIRS` of every shifter, shape (K,)."""
    arm = arms(phase_rad, state, drive)
    heated = np.array([_ON_ARM[Arm(k)] for k in range(len(Arm))], np.uint8)[arm]
    fills = np.where(state == ShifterState.ACTIVE, heated, 0)
    return np.asarray(np.where(state == ShifterState.PASSIVE, 4, fills), np.uint8)


def _draw_mzis(
    book: CellBook,
    cell: gdstk.Cell,
    mesh: Mesh,
    plan: ColumnPlan,
    block: BlockPlacement,
) -> None:
    technology, pitch = book.chip.technology, block.row_pitch_um
    column, port = mesh.column, mesh.port
    phi = _fills(mesh.phi_rad, mesh.phi_state, mesh.drive)
    theta = _fills(mesh.theta_rad, mesh.theta_state, mesh.drive)
    bare = drawn_as_crossing(mesh.theta_state, mesh.phi_state, technology)
    crosses = plan.crosses[column]
    lengths = (plan.phi_um[column], plan.theta_um[column])
    kinds, which = np.unique(
        np.stack([phi, theta, bare, crosses, *lengths], -1), axis=0, return_inverse=True
    )
    x, y = block.column_x_um[column], np.asarray(-pitch * port, np.float64)
    for k, kind in enumerate(kinds.tolist()):
        here = which.ravel() == k
        place(cell, book.mzi(_key(kind)), x[here], y[here])
    phi_x = block.column_x_um[:-1]
    for state, phase, start, section in (
        (mesh.phi_state, mesh.phi_rad, phi_x, plan.phi_um),
        (mesh.theta_state, mesh.theta_rad, phi_x + plan.theta_start_um, plan.theta_um),
    ):
        _draw_fixed(book, cell, mesh, state, phase, start, section, block)


def _key(kind: list[float]) -> MziKey:
    phi, theta = _PAIRS[int(kind[0])], _PAIRS[int(kind[1])]
    bare, crosses, phi_um, theta_um = kind[2:]
    upper, lower = (phi[0], theta[0]), (phi[1], theta[1])
    return MziKey(not bare, bool(crosses), phi_um, theta_um, upper, lower)


def _draw_fixed(
    book: CellBook,
    cell: gdstk.Cell,
    mesh: Mesh,
    state: Flags,
    phase_rad: Real,
    start_um: Real,
    section: Real,
    block: BlockPlacement,
) -> None:
    """Both guides of every passive shifter, half of the phase on each."""
    fixed = np.flatnonzero(state == ShifterState.PASSIVE)
    for length in np.unique(section[mesh.column[fixed]]):
        here = fixed[section[mesh.column[fixed]] == length]
        x = start_um[mesh.column[here]]
        y = np.asarray(-block.row_pitch_um * mesh.port[here], np.float64)
        for row, sign in ((0, 1), (1, -1)):
            guide_y = np.asarray(y - row * block.row_pitch_um)
            book.fixed(cell, x, guide_y, sign * phase_rad[here] / 2, float(length))


def _draw_passing(
    book: CellBook, cell: gdstk.Cell, mesh: Mesh, plan: ColumnPlan, block: BlockPlacement
) -> None:
    columns = len(plan.body_um)
    free = np.ones((columns, mesh.ports), bool)
    free[mesh.column, mesh.port] = False
    free[mesh.column, mesh.port + 1] = False
    free[plan.body_um == 0] = False
    for c in np.flatnonzero(free.any(1)):
        guide = book.passing(
            crosses=bool(plan.crosses[c]),
            phi_um=float(plan.phi_um[c]),
            theta_um=float(plan.theta_um[c]),
            drive=mesh.drive,
        )
        heights = np.asarray(-block.row_pitch_um * np.flatnonzero(free[c]), np.float64)
        place(cell, guide, np.full(len(heights), block.column_x_um[c]), heights)


def _draw_out(
    book: CellBook,
    cell: gdstk.Cell,
    mesh: Mesh,
    plan: ColumnPlan,
    block: BlockPlacement,
) -> None:
    """Shifters on single guides behind the last column."""
    if plan.out_um == 0:
        return
    x = float(block.column_x_um[-1])
    y = -block.row_pitch_um * np.arange(mesh.ports, dtype=np.float64)
    straight = book.guide_rows(plan.out_um)
    for port, state in enumerate(mesh.out_state.tolist()):
        if state == ShifterState.PASSIVE:
            continue
        section = book.heater() if state == ShifterState.ACTIVE else straight
        cell.add(gdstk.Reference(section, (x, float(y[port]))))
    fixed = np.flatnonzero(mesh.out_state == ShifterState.PASSIVE)
    book.fixed(cell, np.full(len(fixed), x), y[fixed], mesh.out_rad[fixed], plan.out_um)


def draw_attenuators(
    book: CellBook, cell: gdstk.Cell, sigma: Attenuators, block: BlockPlacement, name: str
) -> None:
    """Draw the attenuators in their column; nothing where none is left.

    Raises VerificationError when the placement is not that of these attenuators.
    """
    technology = book.chip.technology
    length = attenuators_um(technology, sigma.state)
    placed = float(block.column_x_um[-1] - block.column_x_um[0])
    if abs(placed - length) > 1e-3:
        raise VerificationError(
            "the row of attenuators is not as long as placed",
            where=name,
            hint="place again, with the same technology",
        )
    if length == 0:
        return
    section = section_um(technology, sigma.state)
    fills = _fills(sigma.theta_rad, sigma.state, sigma.drive)
    x = float(block.column_x_um[0])
    y = -block.row_pitch_um * np.arange(len(sigma), dtype=np.float64)
    for k, state in enumerate(sigma.state.tolist()):
        if state == ShifterState.REMOVED:
            made = book.removed_attenuator(length)
        else:
            made = book.attenuator(*_PAIRS[fills[k]], length, section)
        cell.add(gdstk.Reference(made, (x, float(y[k]))))
    fixed = np.flatnonzero(sigma.state == ShifterState.PASSIVE)
    theta_x = x + (length - section) / 2
    for sign in (1, -1):
        row = y[fixed] + sign * book.chip.sizes.arm_um
        half_rad = sign * sigma.theta_rad[fixed] / 2
        book.fixed(cell, np.full(len(fixed), theta_x), row, half_rad, section)


# ---- labels -------------------------------------------------------------------------------


def label_mesh(
    book: CellBook, cell: gdstk.Cell, mesh: Mesh, block: BlockPlacement, name: str
) -> None:
    """Labels in the middle of every MZI, `<name>.c<col>.p<port>`, and `<name>.out.p<port>`."""
    plan, pitch = mesh_plan(mesh, book.chip.technology), block.row_pitch_um
    column, port = mesh.column, mesh.port
    x = block.column_x_um[column] + plan.width_um[column] / 2
    texts = zip(column.tolist(), port.tolist(), strict=True)
    _label(book, cell, [f"{name}.c{c}.p{p}" for c, p in texts], x, -pitch * (port + 0.5))
    out = np.flatnonzero(mesh.out_state != ShifterState.REMOVED)
    behind = np.full(len(out), block.column_x_um[-1] + plan.out_um / 2)
    _label(book, cell, [f"{name}.out.p{p}" for p in out.tolist()], behind, -pitch * out)


def label_attenuators(
    book: CellBook, cell: gdstk.Cell, sigma: Attenuators, block: BlockPlacement, name: str
) -> None:
    """Labels in the middle of every attenuator that is there, `<name>.c0.p<channel>`."""
    there = np.flatnonzero(sigma.state != ShifterState.REMOVED)
    edges = block.column_x_um
    x = np.full(len(there), (edges[0] + edges[-1]) / 2)
    texts = [f"{name}.c0.p{k}" for k in there.tolist()]
    _label(book, cell, texts, x, -block.row_pitch_um * there)


def _label(
    book: CellBook, cell: gdstk.Cell, texts: list[str], x: Real, y: npt.NDArray[np.floating]
) -> None:
    layer, texttype = book.chip.technology.markers.text
    cell.add(
        *[
            gdstk.Label(text, (left, top), layer=layer, texttype=texttype)
            for text, left, top in zip(texts, x.tolist(), y.tolist(), strict=True)
        ]
    )

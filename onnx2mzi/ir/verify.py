"""What a valid program is, stage by stage. All problems are reported, none is raised.

Every rule is a function from a thing to the problems it finds; the tables at the end say
which rules a stage has.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from onnx2mzi.ir.layer import DenseTile, FactoredTile, LinearLayer, MeshTile, Tile, TileGrid
from onnx2mzi.ir.mesh import Attenuators, Mesh
from onnx2mzi.ir.placement import BlockPlacement
from onnx2mzi.ir.problem import Problem, Problems, first
from onnx2mzi.ir.program import Program, Stage
from onnx2mzi.ir.verify_codes import code_problems
from onnx2mzi.ir.verify_operand import binding_problems, copy_problems, operand_problems
from onnx2mzi.physics.shifter import Drive, ShifterState

# Phases may exceed pi by this much: round-off of sums of phases.
PHASE_SLACK_RAD = 1e-12


Array = npt.NDArray[np.generic]


def verify(program: Program) -> list[Problem]:
    """Every problem of the program, in its order; an empty list if it is valid."""
    found = [problem for rule in PROGRAM_RULES[program.stage] for problem in rule(program)]
    # Codes can be compared where all else is in order.
    return found or list(code_problems(program))


def _shape(where: str, what: str, array: Array, expected: tuple[int, ...]) -> Problems:
    if array.shape != expected:
        yield Problem(where, f"{what} has shape {array.shape}, not {expected}")


def _finite(where: str, what: str, array: Array) -> Problems:
    if not np.isfinite(array).all():
        yield Problem(where, f"{what} has entries that are NaN or infinite")


# ---- phases -------------------------------------------------------------------------------


def phase_problems(
    phase_rad: npt.NDArray[np.float64],
    state: npt.NDArray[np.uint8],
    kind: str,
    name: Callable[[int], str],
    low_rad: float = -np.pi,
) -> Problems:
    """Problems of one row of shifters; both arrays have the same shape (K,)."""

    def names(k: int) -> str:
        return f"{name(k)}.{kind}"

    finite = np.isfinite(phase_rad)
    yield from first(~finite, "the phase is NaN or infinite", names)
    outside = (phase_rad < low_rad - PHASE_SLACK_RAD) | (phase_rad > np.pi + PHASE_SLACK_RAD)
    bounds = "[-pi, pi]" if low_rad < 0 else "[0, pi]"
    yield from first(finite & outside, f"the phase is outside {bounds}", names)
    removed = state == ShifterState.REMOVED
    yield from first(removed & (phase_rad != 0), "a removed shifter has a phase", names)
    yield from first(state > max(ShifterState), "the state is unknown", names)


# ---- meshes -------------------------------------------------------------------------------


def mesh_problems(mesh: Mesh, where: str) -> Problems:
    """Shapes, order, overlap and phases of one mesh."""
    shapes = list(_mesh_shapes(mesh, where))
    yield from shapes
    if shapes:
        return
    column, port = mesh.column.astype(np.int64), mesh.port.astype(np.int64)

    def name(k: int) -> str:
        return f"{where}.c{column[k]}.p{port[k]}"

    yield from first(column < 0, "the column is negative", name)
    outside = (port < 0) | (port > mesh.ports - 2)
    yield from first(outside, f"the MZI lies outside the {mesh.ports} ports", name)
    step, gap = np.diff(column), np.diff(port)

    def later(k: int) -> str:
        return name(k + 1)

    same = step == 0
    yield from first((step < 0) | (same & (gap < 0)), "not sorted by (column, port)", later)
    yield from first(same & (gap == 0), "two MZIs have this place", later)
    yield from first(same & (gap == 1), "the MZI overlaps the one above it", later)
    yield from phase_problems(mesh.theta_rad, mesh.theta_state, "theta", name)
    yield from phase_problems(mesh.phi_rad, mesh.phi_state, "phi", name)
    end = f"{where}.c{mesh.columns}"
    yield from phase_problems(mesh.out_rad, mesh.out_state, "out", lambda k: f"{end}.p{k}")
    yield from _drive(mesh.drive, where)


def _mesh_shapes(mesh: Mesh, where: str) -> Problems:
    if mesh.ports < 1:
        yield Problem(where, f"a mesh has at least one port, not {mesh.ports}")
    for array in ("column", "port", "theta_rad", "phi_rad", "theta_state", "phi_state"):
        yield from _shape(where, array, getattr(mesh, array), (mesh.column.size,))
    for array in ("out_rad", "out_state"):
        yield from _shape(where, array, getattr(mesh, array), (mesh.ports,))


def _drive(drive: Drive, where: str) -> Problems:
    if not isinstance(drive, Drive):
        yield Problem(where, f"the drive {drive!r} is not a physics.shifter.Drive")


def attenuator_problems(sigma: Attenuators, where: str) -> Problems:
    """Shapes and phases of a row of attenuators; theta in [0, pi]."""
    shapes = [
        *_shape(where, "theta_rad", sigma.theta_rad, (sigma.theta_rad.size,)),
        *_shape(where, "state", sigma.state, (sigma.theta_rad.size,)),
    ]
    yield from shapes
    if not shapes:
        yield from phase_problems(
            sigma.theta_rad, sigma.state, "sigma", lambda k: f"{where}.c0.p{k}", low_rad=0.0
        )
    yield from _drive(sigma.drive, where)


# ---- tiles --------------------------------------------------------------------------------


def guide_problems(guides: npt.NDArray[np.int32], limit: int, what: str, where: str) -> Problems:
    """A tile's `inputs` or `outputs`: one-dimensional, in range, no guide twice."""
    if guides.ndim != 1:
        yield Problem(where, f"{what} have shape {guides.shape}, not one dimension")
        return
    wrong = (guides < 0) | (guides >= limit)
    yield from first(wrong, f"{what} outside 0..{limit - 1}", lambda k: where)
    if len(np.unique(guides)) != len(guides):
        yield Problem(where, f"{what} name a guide twice")


def _common_tile(tile: Tile, grid: TileGrid, where: str) -> Problems:
    yield from guide_problems(tile.outputs, grid.rows, "outputs", where)
    yield from guide_problems(tile.inputs, grid.columns, "inputs", where)


def dense_problems(tile: DenseTile, where: str) -> Problems:
    """A dense tile: shape and finite entries."""
    shape = (tile.outputs.size, tile.inputs.size)
    yield from _shape(where, "the weight", tile.weight, shape)
    yield from _finite(where, "the weight", tile.weight)


def factored_problems(tile: FactoredTile, where: str) -> Problems:
    """A factored tile: shapes, finite entries, no negative singular values."""
    rank = tile.s.size
    yield from _shape(where, "s", tile.s, (rank,))
    yield from _shape(where, "u", tile.u, (tile.outputs.size, rank))
    yield from _shape(where, "vh", tile.vh, (rank, tile.inputs.size))
    for what, array in (("u", tile.u), ("s", tile.s), ("vh", tile.vh)):
        yield from _finite(where, what, array)
    if (tile.s < 0).any():
        yield Problem(where, "a singular value is negative")


def mesh_tile_problems(tile: MeshTile, ports: int, where: str) -> Problems:
    """A tile on the chip: its parts fit each other and the chip."""
    outputs, inputs, channels = tile.outputs.size, tile.inputs.size, tile.sigma.theta_rad.size
    for block, mesh, guides, side in (
        ("v", tile.v, inputs, "inputs"),
        ("u", tile.u, outputs, "outputs"),
    ):
        place = f"{where}.{block}"
        if mesh.ports != guides:
            yield Problem(place, f"{mesh.ports} ports for {guides} {side}")
        if mesh.ports > ports:
            yield Problem(place, f"{mesh.ports} ports on a chip of {ports}")
        if mesh.ports < channels:
            yield Problem(place, f"{mesh.ports} ports for {channels} channels")
        yield from mesh_problems(mesh, place)
    yield from attenuator_problems(tile.sigma, f"{where}.s")
    yield from _shape(where, "readout_rad", tile.readout_rad, (outputs,))
    yield from _finite(where, "readout_rad", tile.readout_rad)
    if not np.isfinite(tile.gain):
        yield Problem(where, f"the gain is {tile.gain}")


def _tiles(program: Program) -> Iterator[tuple[Tile, TileGrid, str]]:
    for layer in program.layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                yield tile, grid, f"{layer.name}.g{g}.t{t}"


def _linear_tiles(program: Program) -> Problems:
    for tile, grid, where in _tiles(program):
        yield from _common_tile(tile, grid, where)
        match tile:
            case DenseTile():
                yield from dense_problems(tile, where)
            case FactoredTile():
                yield from factored_problems(tile, where)
            case _:
                yield Problem(where, "a mesh in a program of stage linear")


def _mesh_tiles(program: Program) -> Problems:
    for tile, grid, where in _tiles(program):
        yield from _common_tile(tile, grid, where)
        if isinstance(tile, MeshTile):
            yield from mesh_tile_problems(tile, program.ports, where)
        else:
            kind = type(tile).__name__
            yield Problem(where, f"a {kind} in a program of stage {program.stage}")


# ---- layers -------------------------------------------------------------------------------


def _header(program: Program) -> Problems:
    if program.ports < 1:
        yield Problem(program.name or "program", f"a chip of {program.ports} ports")
    yield from _twice((layer.name for layer in program.layers), "layers have this name")
    yield from binding_problems(program.layers)
    yield from copy_problems(program.layers)


def _twice(names: Iterable[str], what: str) -> Problems:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(name or '""', f"{count} {what}")


def _layers(program: Program) -> Problems:
    for layer in program.layers:
        yield from layer_problems(layer)


def layer_problems(layer: LinearLayer) -> Problems:
    """The layer's own rules, and that its grids form a chain from its inputs to its outputs."""
    where = layer.name
    if not layer.name:
        yield Problem('""', f"a layer without a name ({layer.loc})")
    if layer.weight.ndim != 2:
        yield Problem(where, f"the weight has shape {layer.weight.shape}, not two dimensions")
        return
    yield from _finite(where, "the weight", layer.weight)
    rows, columns = layer.weight.shape
    yield from operand_problems(layer.operand, columns, where)
    if layer.operand.parts and not np.iscomplexobj(layer.weight):
        yield Problem(where, f"a real weight for vectors of {layer.operand.parts} parts")
    if layer.uses is not None and layer.uses < 1:
        yield Problem(where, f"used {layer.uses} times")
    width = columns
    for g, grid in enumerate(layer.grids):
        if grid.columns != width:
            yield Problem(f"{where}.g{g}", f"takes {grid.columns} inputs, but {width} come in")
        width = grid.rows
    if layer.grids and width != rows:
        yield Problem(where, f"the last grid has {width} outputs, the layer {rows}")


def _compiled(program: Program) -> Problems:
    for layer in program.layers:
        if not layer.grids:
            yield Problem(layer.name, f"no grid of tiles in a program of stage {program.stage}")


# ---- placement ----------------------------------------------------------------------------


def _unplaced(program: Program) -> Problems:
    if program.placement is not None:
        yield Problem("placement", f"there is one in a program of stage {program.stage}")


def _placed(program: Program) -> Problems:
    placement = program.placement
    if placement is None:
        yield Problem("placement", "missing in a program of stage placed")
        return
    for what, extent in (("width", placement.width_um), ("height", placement.height_um)):
        if not (np.isfinite(extent) and extent >= 0):
            yield Problem("placement", f"the {what} is {extent} um")
    expected = _blocks(program)
    driven = any(b.drive_rad.size or b.length_rad.size for b in placement.blocks)
    states = _states(program) if driven else {}
    yield from _twice((block_name(block) for block in placement.blocks), "blocks at this place")
    found = {block_name(block): block for block in placement.blocks}
    for name in (name for name in expected if name not in found):
        yield Problem(name, "the block has no place")
    for name, block in found.items():
        if name in expected:
            yield from block_problems(block, expected[name])
            if block.drive_rad.size:
                yield from drive_problems(block, states[name])
            if block.length_rad.size:
                yield from length_problems(block, states[name])
        else:
            yield Problem(name, "a place for a block that the program does not have")


def block_name(block: BlockPlacement) -> str:
    """The id of the block: `fc1.g0.t3.u`."""
    return f"{block.layer}.g{block.grid}.t{block.tile}.{block.block}"


def _blocks(program: Program) -> dict[str, int]:
    """Columns of every block that must have a place."""
    columns: dict[str, int] = {}
    for tile, _, where in _tiles(program):
        if isinstance(tile, MeshTile):
            columns[f"{where}.v"] = tile.v.columns
            columns[f"{where}.s"] = int((tile.sigma.state != ShifterState.REMOVED).any())
            columns[f"{where}.u"] = tile.u.columns
    return columns


def _states(program: Program) -> dict[str, npt.NDArray[np.uint8]]:
    """The states of every block's shifters, in the order of its drives."""
    states: dict[str, npt.NDArray[np.uint8]] = {}
    for tile, _, where in _tiles(program):
        if isinstance(tile, MeshTile):
            states[f"{where}.s"] = tile.sigma.state
            for name, mesh in (("v", tile.v), ("u", tile.u)):
                parts = (mesh.theta_state, mesh.phi_state, mesh.out_state)
                states[f"{where}.{name}"] = np.concatenate(parts)
    return states


def drive_problems(block: BlockPlacement, state: npt.NDArray[np.uint8]) -> Problems:
    """Drives of heaters: one a shifter, finite, >= 0, none without a heater."""
    where, drive = block_name(block), block.drive_rad
    if drive.shape != state.shape:
        yield Problem(where, f"drive_rad has shape {drive.shape} for {state.size} shifters")
    elif not np.isfinite(drive).all() or (drive < 0).any():
        yield Problem(where, "a drive is negative or no number")
    elif (drive[state != ShifterState.ACTIVE] != 0).any():
        yield Problem(where, "a shifter without a heater is driven")


def length_problems(block: BlockPlacement, state: npt.NDArray[np.uint8]) -> Problems:
    """Lengths beside the phases: one a shifter, finite, none but of passive shifters."""
    where, length = block_name(block), block.length_rad
    if length.shape != state.shape:
        yield Problem(where, f"length_rad has shape {length.shape} for {state.size} shifters")
    elif not np.isfinite(length).all():
        yield Problem(where, "a length is no number")
    elif (length[state != ShifterState.PASSIVE] != 0).any():
        yield Problem(where, "a shifter that is not passive has a length")


def block_problems(block: BlockPlacement, columns: int) -> Problems:
    """A block's place: one left edge a column and the right edge of the last, ascending."""
    where = block_name(block)
    edges = block.column_x_um
    # A row of attenuators without any may keep its empty column.
    allowed = {columns + 1, 2} if block.block == "s" and columns == 0 else {columns + 1}
    if edges.ndim != 1 or len(edges) not in allowed:
        yield Problem(where, f"column_x_um has shape {edges.shape} for {columns} columns")
    elif not np.isfinite(edges).all() or (np.diff(edges) < 0).any():
        yield Problem(where, "column_x_um is not ascending and finite")
    if not np.isfinite(block.y_um):
        yield Problem(where, f"y_um is {block.y_um}")
    if not (np.isfinite(block.row_pitch_um) and block.row_pitch_um > 0):
        yield Problem(where, f"the row pitch is {block.row_pitch_um} um")


Rule = Callable[[Program], Problems]
PROGRAM_RULES: dict[Stage, tuple[Rule, ...]] = {
    Stage.LINEAR: (_header, _layers, _unplaced, _linear_tiles),
    Stage.MESH: (_header, _layers, _compiled, _unplaced, _mesh_tiles),
    Stage.PLACED: (_header, _layers, _compiled, _placed, _mesh_tiles),
}

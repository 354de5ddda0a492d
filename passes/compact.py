"""`compact`: the same meshes in fewer devices and shorter columns.

All exact, in the balanced gauge (M(theta) is [[s, c], [c, -s]] for phi = 0; see kernels.mesh):
- Two MZIs in a row on the same two guides become one: M(b) M(a) = diag(1, -1) M(pi - (b - a)), or
  M(0) M(a - b), one heater and a crossing, if that is less heat. Equal ones, two crossings among
  them, cancel. Signs travel on and turn the signs of thetas.
- MZIs that no light reaches, or whose light nobody looks at, go.
- MZIs move to other columns, past those that they do not touch: as early or as late as can be, or
  crossings in columns of their own, which are short. The layout's lengths say what is best.
- Truncated triangles become as short as square meshes (see `shallow`).
- Where most MZIs are crossings the mesh is laid out anew (see `untangle`); where no attenuator is
  between, U's MZIs go to V for it.
Where heaters share drivers, and that would part them, phases stay.
Columns without theta, or without phi, are short by themselves (tech.geometry.plan_columns).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.ir import LinearLayer, Mesh, MeshTile, Program, Stage, Tile, TileGrid
from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.kernels.gauge import column_slices
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.passes.laying import Lengths
from onnx2mzi.passes.shallow import nulled_anew
from onnx2mzi.passes.trim import with_trims_again
from onnx2mzi.passes.untangle import untangled
from onnx2mzi.physics.arrays import wrapped
from onnx2mzi.physics.shifter import Passive, ShifterState
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass
from onnx2mzi.pipeline.census import layer_census, layer_drivers, tile_census
from onnx2mzi.pipeline.spec import show
from onnx2mzi.pipeline.tilework import with_tiles
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import cells, heated_um

# Of more tiles each is searched for less.
MANY_TILES = 50
# With less effort triangles stay as they are.
WORTH_NULLING = 0.25

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


# ---- neighbours on the same guides -----------------------------------------------------------


def twins(mesh: BalancedMesh) -> tuple[Ints, Ints]:
    """(first, second): MZIs that follow each other on the same two guides with phi = 0 between.

    No MZI is in two pairs.
    """
    last = np.full(mesh.ports, -1)
    taken = np.zeros(len(mesh.port), bool)
    first: list[Ints] = []
    second: list[Ints] = []
    index = np.arange(len(mesh.port))
    for run in column_slices(mesh.column):
        k, upper = index[run], mesh.port[run]
        before = last[upper]
        same = (before >= 0) & (before == last[upper + 1]) & (mesh.phi[run] == 0.0)
        same &= ~taken[before]
        taken[k[same]] = True
        first.append(before[same])
        second.append(k[same])
        last[upper] = last[upper + 1] = k
    if not first:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(first), np.concatenate(second)


def without_twins(mesh: BalancedMesh) -> BalancedMesh:
    """The same transfer with every pair of twins as one MZI, or none, until there is none left.

    Of twins that stay two, the second is a crossing.
    """
    while True:
        first, second = twins(mesh)
        theta, gone = mesh.theta.copy(), np.zeros(len(mesh.theta), bool)
        minus_upper, minus_lower = gone.copy(), gone.copy()
        a, b = theta[first], theta[second]
        both = (a != 0) & (b != 0)
        cancel = (a == b) & (mesh.phi[first] == 0.0)
        near = np.pi - (b - a)
        turned = near > np.pi
        near = np.where(turned, near - 2 * np.pi, near)
        # A heater less, or as many and not more heat.
        one = ~cancel & (a != b) & (np.abs(near) <= np.abs(a - b))
        moved = ~cancel & ~one & both & (np.abs(a - b) <= np.pi) & (a != b)
        if not (cancel | one | moved).any():
            return mesh
        gone[first[cancel]] = gone[second[cancel | one]] = True
        theta[first[one]] = near[one]
        minus_upper[second[one]] = turned[one]
        minus_lower[second[one]] = ~turned[one]
        theta[first[moved]] = (a - b)[moved]
        theta[second[moved]] = 0.0
        mesh = _with_signs(mesh, theta, gone, minus_upper, minus_lower)


def _with_signs(
    mesh: BalancedMesh, theta: npt.NDArray[np.float64], gone: Bools, upper: Bools, lower: Bools
) -> BalancedMesh:
    """The mesh with these thetas and without those MZIs, in whose places signs are on guides.

    M(theta) diag(-1, 1) = diag(1, -1) M(-theta): signs travel to the outputs.
    """
    minus = np.zeros(mesh.ports, bool)
    for run in column_slices(mesh.column):
        top = mesh.port[run]
        a, b = minus[top], minus[top + 1]
        out = gone[run]
        theta[run] = np.where((a != b) & ~out, -theta[run], theta[run])
        minus[top] = np.where(out, a ^ upper[run], b)
        minus[top + 1] = np.where(out, b ^ lower[run], a)
    keep = ~gone
    return BalancedMesh(
        ports=mesh.ports,
        column=mesh.column[keep],
        port=mesh.port[keep],
        theta=theta[keep],
        phi=mesh.phi[keep],
        out=wrapped(mesh.out + np.pi * minus),
    )


# ---- light -----------------------------------------------------------------------------------


def kept(mesh: BalancedMesh, which: Bools) -> BalancedMesh:
    """The mesh with these MZIs alone."""
    return BalancedMesh(
        ports=mesh.ports,
        column=mesh.column[which],
        port=mesh.port[which],
        theta=mesh.theta[which],
        phi=mesh.phi[which],
        out=mesh.out,
    )


def touched(mesh: BalancedMesh, ends: Bools, *, backwards: bool) -> Bools:
    """MZIs that light from the guides `ends` reaches, shape (K,); backwards: that reach them."""
    lit, found = ends.copy(), np.zeros(len(mesh.port), bool)
    runs = column_slices(mesh.column)
    for run in reversed(runs) if backwards else runs:
        top = mesh.port[run]
        a, b = lit[top], lit[top + 1]
        found[run] = a | b
        cross = mesh.theta[run] == 0.0
        lit[top] = np.where(cross, b, a | b)
        lit[top + 1] = np.where(cross, a, a | b)
    return found


# ---- columns ---------------------------------------------------------------------------------

Schedule = Callable[[BalancedMesh], Ints]


def earliest(mesh: BalancedMesh) -> Ints:
    """The first column that every MZI can be in, shape (K,)."""
    free = np.zeros(mesh.ports, np.int64)
    column = np.zeros(len(mesh.port), np.int64)
    for run in column_slices(mesh.column):
        top = mesh.port[run]
        column[run] = np.maximum(free[top], free[top + 1])
        free[top] = free[top + 1] = column[run] + 1
    return column


def latest(mesh: BalancedMesh) -> Ints:
    """The last column that every MZI can be in, of as few as there must be."""
    free = np.zeros(mesh.ports, np.int64)
    column = np.zeros(len(mesh.port), np.int64)
    for run in reversed(column_slices(mesh.column)):
        top = mesh.port[run]
        column[run] = np.maximum(free[top], free[top + 1])
        free[top] = free[top + 1] = column[run] + 1
    return np.asarray(column.max(initial=0) - column)


def sorted_out(mesh: BalancedMesh) -> Ints:
    """Crossings as soon as can be, in columns of their own; then all MZIs that can be next."""
    count = len(mesh.port)
    column = np.full(count, -1)
    cross = mesh.theta == 0.0
    # What stands next on each guide, and behind each MZI on either of its guides.
    ahead = np.full(mesh.ports, count)
    behind = np.full((2, count + 1), count)
    for run in reversed(column_slices(mesh.column)):
        top = mesh.port[run]
        k = np.arange(run.start, run.stop)
        behind[0, k], behind[1, k] = ahead[top], ahead[top + 1]
        ahead[top] = ahead[top + 1] = k
    at, port = 0, np.append(mesh.port, -1)
    while True:
        upper = ahead[:-1]
        ready = upper[
            (upper < count) & (upper == ahead[1:]) & (port[upper] == np.arange(len(upper)))
        ]
        if not len(ready):
            return column
        crossings = ready[cross[ready]]
        chosen = crossings if len(crossings) else ready
        column[chosen] = at
        ahead[mesh.port[chosen]] = behind[0, chosen]
        ahead[mesh.port[chosen] + 1] = behind[1, chosen]
        at += 1


def as_it_is(mesh: BalancedMesh) -> Ints:
    """The columns that the MZIs have, none of them empty."""
    return np.unique(mesh.column, return_inverse=True)[1].astype(np.int64)


SCHEDULES: tuple[Schedule, ...] = (earliest, latest, sorted_out, as_it_is)


def scheduled(mesh: BalancedMesh, column: Ints) -> BalancedMesh:
    """The mesh with its MZIs in these columns."""
    order = np.lexsort((mesh.port, column))
    return BalancedMesh(
        ports=mesh.ports,
        column=column[order].astype(np.int32),
        port=mesh.port[order],
        theta=mesh.theta[order],
        phi=mesh.phi[order],
        out=mesh.out,
    )


# ---- tiles -----------------------------------------------------------------------------------


def compact_tile(
    tile: MeshTile,
    rules: DrawingRules,
    technology: Technology,
    *,
    effort: float = 1.0,
    merge: bool = True,
) -> MeshTile:
    """The tile in fewer devices and shorter columns; itself where nothing gets better.

    Without `merge` heaters keep their phases. A tile of which single phases were fixed stays as it
    is: merged, they would be others.
    """
    if _is_square(tile.v, len(tile.sigma)) and _is_square(tile.u, len(tile.sigma)):
        return tile
    whole = balanced_tile(tile)
    if rules.passive in (Passive.NONE, Passive.ALL):
        # What is fixed follows from the rules alone.
        whole = replace(whole, fixed_u=None, fixed_v=None)
    if whole.fixed_u is not None or whole.fixed_v is not None:
        return tile
    channels = len(whole.amplitude)
    v, u = whole.v, whole.u
    if merge:
        v, u = without_twins(v), without_twins(u)
    v = kept(v, touched(v, np.arange(v.ports) < channels, backwards=True))
    u = kept(u, touched(u, np.arange(u.ports) < channels, backwards=False))
    same = len(v.port) == len(whole.v.port) and len(u.port) == len(whole.u.port)
    heaters = np.count_nonzero(v.theta) + np.count_nonzero(u.theta)
    same &= heaters == np.count_nonzero(whole.v.theta) + np.count_nonzero(whole.u.theta)
    whole = replace(whole, v=v, u=u)
    if merge and effort >= WORTH_NULLING:
        whole = nulled_anew(whole)
    if same and _dense(v) and _dense(u):
        if whole.v is v and whole.u is u:
            return tile
        return min(tile, _shortest(whole, rules, technology), key=lambda o: _cost(o, technology))
    anew = untangled(whole, lengths=lengths_of(technology), effort=effort, merge=merge)
    made = [_shortest(one, rules, technology) for one in (whole, anew) if one is not None]
    return min((tile, *made), key=lambda one: _cost(one, technology))


def _is_square(mesh: Mesh, channels: int) -> bool:
    """Whether this is Clements' rectangle, of which light takes all and every MZI turns it:
    nothing of it cancels, and no mesh of as many MZIs is shorter."""
    parity = (mesh.port + mesh.column) % 2
    return (
        len(mesh) == mesh.ports * (mesh.ports - 1) // 2
        and mesh.columns <= mesh.ports
        and channels >= mesh.ports - 1
        and bool((parity == parity[:1]).all())
        and bool(mesh.theta_rad.all())
    )


def lengths_of(technology: Technology) -> Lengths:
    """What columns take in which phis are fixed lengths, without wires."""
    sizes = cells(technology)
    return Lengths(
        crossing_um=sizes.crossing_um + sizes.trim_um,
        theta_um=2 * sizes.stage_um + heated_um(technology) + sizes.trim_um,
    )


def _dense(mesh: BalancedMesh) -> bool:
    """Whether no column can go, and there is no crossing to sort."""
    columns = int(mesh.column[-1]) + 1 if len(mesh.column) else 0
    return bool((mesh.theta != 0.0).all()) and int(earliest(mesh).max(initial=-1)) + 1 == columns


def _shortest(tile: BalancedTile, rules: DrawingRules, technology: Technology) -> MeshTile:
    """The tile in the columns that make it shortest."""
    candidates = list(_scheduled(tile, rules))
    best_v = min(candidates, key=lambda made: _length_um(made[1].v, technology))
    best_u = min(candidates, key=lambda made: _length_um(made[1].u, technology))
    return drawn_tile(replace(best_v[0], u=best_u[0].u), rules)


def _scheduled(tile: BalancedTile, rules: DrawingRules) -> Iterator[tuple[BalancedTile, MeshTile]]:
    for schedule in SCHEDULES:
        made = replace(
            tile,
            v=scheduled(tile.v, schedule(tile.v)),
            u=scheduled(tile.u, schedule(tile.u)),
        )
        yield made, drawn_tile(made, rules)


def _length_um(mesh: Mesh, technology: Technology) -> tuple[float, int]:
    return round(float(mesh_plan(mesh, technology).width_um.sum()), 3), mesh.columns


def _cost(tile: MeshTile, technology: Technology) -> tuple[float, ...]:
    census = tile_census(tile, 1.0)
    length = _length_um(tile.v, technology)[0] + _length_um(tile.u, technology)[0]
    return census.phases_active, round(length, 3), census.mzis + census.crossings


@dataclass(frozen=True, slots=True)
class Compact(Pass):
    """Lossless: what cancels, merges or is dead goes; few MZIs are laid out with few crossings."""

    name: ClassVar[str] = "compact"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH
    moves_phases: ClassVar[bool] = True

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        rules = drawing_rules(context)
        tiles = sum(len(grid.tiles) for layer in program.layers for grid in layer.grids)
        effort = min(1.0, MANY_TILES / max(tiles, 1))

        way = partial(_worked, rules=rules, technology=context.technology, effort=effort)

        def work(layer: LinearLayer, grid: TileGrid) -> Callable[[Tile], Tile]:
            return way

        made = with_tiles(program, context, self.name, work, keep=show(self))
        pairs = zip(program.layers, made.layers, strict=True)
        layers = tuple(_sharing(old, new, partial(way, merge=False)) for old, new in pairs)
        return with_trims_again(program, replace(made, layers=layers), context)


def _worked(
    tile: Tile, rules: DrawingRules, technology: Technology, effort: float, merge: bool = True
) -> Tile:
    if not isinstance(tile, MeshTile) or _fixed(tile):
        return tile
    return compact_tile(tile, rules, technology, effort=effort, merge=merge)


def _sharing(old: LinearLayer, new: LinearLayer, way: Callable[[Tile], Tile]) -> LinearLayer:
    """`new`, unless it parts heaters that share a driver in `old`: then what `way` makes of it."""
    if new is old:
        return new
    drivers = layer_drivers(old)
    if layer_census(old, 1.0).phases_active == drivers or layer_drivers(new) <= drivers:
        return new
    grids = (replace(grid, tiles=tuple(map(way, grid.tiles))) for grid in old.grids)
    alike = replace(old, grids=tuple(grids))
    return alike if layer_drivers(alike) <= drivers else old


def _fixed(tile: MeshTile) -> bool:
    """Whether the tile is drawn as textbooks do: every MZI is wanted, even at 0."""
    meshes = (tile.u, tile.v)
    return any(
        bool(((mesh.theta_rad == 0) & (mesh.theta_state == ShifterState.ACTIVE)).any())
        for mesh in meshes
    )

"""`cancel`: heaters on the arms on which what they do to other phases cancels.

The matrices stay what they are, and so do heaters and places; only arms change, and phases with
them. What heat does to an uncompensated chip is linear in what its heaters are driven with (see
`emulate.heat`), with one sign on the upper arm and the other on the lower: a search for signs
makes the sum small, weighed by what the network's answers feel of it. It costs some heat.
The pass places the chip for itself as `place{objective=...}` does, to know who is near whom.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from onnx2mzi.emulate.heat_aim import Metric, aim_of
from onnx2mzi.emulate.heat_layout import HeatLayout, heat_layout, smallest_die
from onnx2mzi.emulate.heat_task import Task, task_of
from onnx2mzi.emulate.heated import balanced_tiles, heat_response
from onnx2mzi.ir import Mesh, MeshTile, Program, Stage
from onnx2mzi.passes.arm_moves import moved
from onnx2mzi.passes.cancelling import Pushes, cancelling_tile
from onnx2mzi.passes.floorplan import Objective
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.heat_model import heat_model
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.physics.stack import Die
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.tech import Detection, Technology

# The response of segments to heaters is held as a dense matrix: 8 bytes an entry.
MOST_PAIRS = 100_000_000
# Directions of a tile's phases in which errors are followed, those that cost most.
DIRECTIONS = 120
# Tiles with more phases are left alone: their metric is a matrix of these on both sides.
MOST_PHASES = 3000


@dataclass(frozen=True, slots=True, eq=False)
class _Heat:
    """Errors of all phases per rad of every heater, (phases, heaters), were all heaters on the
    upper arms, and on the lower; heaters as in `layout`."""

    layout: HeatLayout
    per_rad: tuple[Real, Real]

    def of_block(self, number: int, mesh: Mesh, upto: slice, root: Real) -> Pushes:
        """The heaters of a block, seen through `root` (k, phases of the tile)."""
        mine = self.layout.heaters.block == number
        slot = self.layout.heaters.slot[mine]
        count = len(mesh)
        kinds = []
        for low in (0, count):
            here = (slot >= low) & (slot < low + count)
            push = np.zeros((2, count, len(root)))
            for arm, per_rad in enumerate(self.per_rad):
                push[arm, slot[here] - low] = (root @ per_rad[upto][:, mine][:, here]).T
            kinds.append(push)
        return Pushes(*kinds)

    def errors(self, tiles: list[MeshTile]) -> Real:
        """What all heaters as drawn add to the phases, (phases,)."""
        heaters = self.layout.heaters
        lower = np.zeros(len(heaters), bool)
        drive = heaters.drive_rad.copy()
        for t, tile in enumerate(tiles):
            for block, mesh in ((3 * t, tile.v), (3 * t + 2, tile.u)):
                mine = heaters.block == block
                rad = np.concatenate([mesh.theta_rad, mesh.phi_rad, mesh.out_rad])
                drive[mine] = np.abs(rad[heaters.slot[mine]])
                lower[mine] = rad[heaters.slot[mine]] < 0
        upper = self.per_rad[0] @ np.where(lower, 0.0, drive)
        return np.asarray(upper + self.per_rad[1] @ np.where(lower, drive, 0.0))


def cancelled(
    program: Program,
    context: Context,
    task: Task | None,
    *,
    objective: Objective = Objective.HEAT,
    heat: float = 1.0,
    rounds: int = 3,
    width: int = 100,
    moves: int = 0,
) -> Program:
    """The program with other arms where that is better, by the loss of the uncompensated chip.

    `task` is the network whose answers count, None for every layer's outputs.
    """
    technology = context.technology
    placed = place_program(program, technology, objective)
    assert placed.placement is not None
    tiles = _tiles(placed)
    may = [_open(tile) for tile in tiles]
    if not any(may):
        context.log("cancel: arms stay as they are: no tile is complex and dense")
        return program
    layout = heat_layout(placed, technology)
    pairs = len(layout.heaters) * layout.push.shape[1]
    if pairs > MOST_PAIRS:
        context.log(
            f"cancel: arms stay as they are: {pairs:,} pairs of heaters and pieces of guide are "
            "too many"
        )
        return program
    die = smallest_die(placed.placement, technology)
    warm = _Heat(layout, _per_rad(placed, may, technology, die))
    iq = technology.detection is Detection.IQ
    aim = aim_of(placed, layout, task, recalibrated=iq, seed=context.seed)
    error = warm.errors(tiles)
    before, drawn = aim.loss(error), _heat_rad(tiles)
    metric = aim.metric(np.zeros(len(error)))
    roots = [_root(metric, layout, t) if open_ else None for t, open_ in enumerate(may)]
    parts = [slice(p.phase_start, p.phase_start + p.segments.phases) for p in layout.tiles]
    seen = sum(
        float(((root @ error[part]) ** 2).sum())
        for root, part in zip(roots, parts, strict=True)
        if root is not None
    )
    price = heat * seen / max(drawn, 1e-9)
    made = list(tiles)
    for number in range(rounds):
        for t, root in enumerate(roots):
            if root is None:
                continue
            tile, part = made[t], parts[t]
            pushes = (
                warm.of_block(3 * t, tile.v, part, root),
                warm.of_block(3 * t + 2, tile.u, part, root),
            )
            total = root @ warm.errors(made)[part]
            rest = total - pushes[0].total(tile.v) - pushes[1].total(tile.u)
            found = cancelling_tile(tile, pushes, rest, heat_price=price, width=width)
            if found is None:
                continue
            now = rest + pushes[0].total(found.v) + pushes[1].total(found.u)
            more = _heat_rad([found]) - _heat_rad([tile])
            if (now**2).sum() + price * more < (total**2).sum():
                made[t] = found
        context.progress("cancel", number + 1, rounds)

    def loss(tiles: list[MeshTile]) -> float:
        program = _with_tiles(placed, tiles)
        anew = replace(aim, program=program, cold=balanced_tiles(program))
        return anew.loss(warm.errors(tiles))

    after = loss(made)
    if after >= before:
        made, after = list(tiles), before
    if moves:
        price = heat * after / max(_heat_rad(made), 1e-9)
        made = moved(
            made,
            may,
            lambda tiles: loss(tiles) + price * _heat_rad(tiles),
            moves=moves,
            seed=context.seed,
            progress=partial(context.progress, "cancel: moves"),
        )
        after = loss(made)
    if after >= before:
        context.log("cancel: arms stay as they are: no others are better")
        return program
    context.log(
        f"cancel: loss by heat of the chip as drawn {before:.3g} -> {after:.3g}, heat "
        f"{drawn / np.pi:.1f} -> {_heat_rad(made) / np.pi:.1f} P_pi"
    )
    return _with_tiles(program, made)


def _open(tile: MeshTile) -> bool:
    """Whether signs are free: a complex mesh without crossings and fixed phases."""
    for mesh in (tile.v, tile.u):
        if mesh.drive is not Drive.ARM_CHOICE or not len(mesh):
            return False
        if (mesh.theta_state != ShifterState.ACTIVE).any() or (mesh.theta_rad == 0).any():
            return False
        if (mesh.phi_state == ShifterState.PASSIVE).any() or mesh.out_rad.any():
            return False
    return 4 * (len(tile.v) + len(tile.u)) <= MOST_PHASES


def _root(metric: Metric, layout: HeatLayout, number: int) -> Real:
    """R (k, phases of the tile) with R^T R about half its metric without heat.

    Thetas are left out: heat hardly moves them, and their errors turn with their signs.
    """
    placed = layout.tiles[number]
    start, count = placed.phase_start, placed.segments.phases
    total = np.zeros((count, count))
    for columns, root in metric.roots:
        here = (columns >= start) & (columns < start + count)
        at = columns[here] - start
        total[np.ix_(at, at)] += root[:, here].T @ root[:, here] / 2
    kv, ku = len(placed.segments.v.column), len(placed.segments.u.column)
    r = len(placed.segments.plain)
    theta = np.concatenate([np.arange(kv), 2 * kv + r + np.arange(ku)])
    total[theta] = 0.0
    total[:, theta] = 0.0
    values, vectors = np.linalg.eigh(total)
    keep = slice(max(0, count - DIRECTIONS), count)
    return np.asarray((vectors[:, keep] * np.sqrt(np.maximum(values[keep], 0.0))).T)


def _per_rad(
    placed: Program, may: list[bool], technology: Technology, die: Die
) -> tuple[Real, Real]:
    model = heat_model(stack=technology.thermal_stack)
    found = []
    for sign in (1.0, -1.0):
        signed = [
            replace(tile, v=_signed(tile.v, sign), u=_signed(tile.u, sign)) if open_ else tile
            for tile, open_ in zip(_tiles(placed), may, strict=True)
        ]
        layout = heat_layout(_with_tiles(placed, signed), technology)
        response = heat_response(layout=layout, model=model, die=die)
        each = np.arange(len(layout.heaters))
        warmth = response.segment.copy()
        # The phase that a heater is for is no error.
        warmth[layout.heaters.own, each] -= 1.0
        found.append(np.asarray(layout.push @ warmth))
    return found[0], found[1]


def _signed(mesh: Mesh, sign: float) -> Mesh:
    return replace(
        mesh, theta_rad=sign * np.abs(mesh.theta_rad), phi_rad=sign * np.abs(mesh.phi_rad)
    )


def _tiles(program: Program) -> list[MeshTile]:
    return [
        tile
        for layer in program.layers
        for grid in layer.grids
        for tile in grid.tiles
        if isinstance(tile, MeshTile)
    ]


def _with_tiles(program: Program, tiles: list[MeshTile]) -> Program:
    left = iter(tiles)
    layers = []
    for layer in program.layers:
        grids = [replace(grid, tiles=tuple(next(left) for _ in grid.tiles)) for grid in layer.grids]
        layers.append(replace(layer, grids=tuple(grids)))
    return replace(program, layers=tuple(layers))


def _heat_rad(tiles: list[MeshTile]) -> float:
    total = 0.0
    for tile in tiles:
        for mesh in (tile.v, tile.u):
            for rad, state in (
                (mesh.theta_rad, mesh.theta_state),
                (mesh.phi_rad, mesh.phi_state),
            ):
                total += float(np.abs(rad[state == ShifterState.ACTIVE]).sum())
    return total


@dataclass(frozen=True, slots=True)
class Cancel(Pass):
    """Lossless: arms on which heaters' effects on other phases cancel; for chips that are used
    without compensation, and for what compensation does not know."""

    name: ClassVar[str] = "cancel"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH
    moves_phases: ClassVar[bool] = True

    heat: float = option(
        1.0, "what heat counts beside errors: 1, all of one as all of the other", low=0.0
    )
    rounds: int = option(3, "times that every tile is searched", low=1, high=100)
    beam: int = option(100, "ways that the search follows at once", low=1, high=10_000)
    moves: int = option(
        0, "changes of single arms to try behind that, by the warm chip's loss itself", low=0
    )
    samples: int = option(400, "of the data for fitting", low=1)
    objective: Objective = option(Objective.HEAT, "that of the `place` that follows")

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        if context.technology.detection is not Detection.IQ:
            context.log("cancel: arms stay as they are: outputs are not read in both quadratures")
            return program
        return cancelled(
            program,
            context,
            task_of(context.network, samples=self.samples),
            objective=self.objective,
            heat=self.heat,
            rounds=self.rounds,
            width=self.beam,
            moves=self.moves,
        )

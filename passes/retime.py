"""`retime`: heaters for phi where on their guides they cost least.

In a pruned mesh most MZIs only cross their guides, and a heater makes the same phase in front of
such a crossing and behind it (see `guides`). All exact: phases on the same stretch of guide
become one heater or none, MZIs take the columns that make the mesh short, and phi heaters share
columns, so that others have no section for phi, and crossings without heaters become short.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import product
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.ir import LinearLayer, Mesh, MeshTile, Program, Stage, Tile, TileGrid
from onnx2mzi.passes.columns import Columns, Ints, schedules, sections_of
from onnx2mzi.passes.guides import (
    NOTHING_RAD,
    Guides,
    Mixer,
    Settling,
    Slot,
    guides_of,
)
from onnx2mzi.passes.laying import Lengths
from onnx2mzi.passes.relaid import relaid
from onnx2mzi.passes.slots import covering
from onnx2mzi.physics.arrays import Real, wrapped
from onnx2mzi.physics.shifter import Drive, Passive, ShifterState, common_phase_rad
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.pipeline.census import tile_census
from onnx2mzi.pipeline.spec import show
from onnx2mzi.pipeline.tilework import with_tiles
from onnx2mzi.tech import Detection, Technology

# A heater more is worth this much heat: all others together never turn as far.
HEATER_RAD = 100.0
# Moves at single MZIs end far earlier.
SWEEPS = 50
# Ways that the search for columns follows, and how many it ends with are tried with all phis.
WIDTH = 48
TRIED = 2
# Of more tiles each is searched for less.
MANY_TILES = 50


class Saving(StrEnum):
    """What counts behind the number of heaters."""

    AREA = "area"
    """Short meshes, then little heat."""

    HEAT = "heat"
    """Little heat, then short meshes."""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """What is to be made on every stretch, (n,), and which thetas change arms."""

    rad: Real
    turned: npt.NDArray[np.bool_]


def settled(guides: Guides) -> Settled:
    """The fewest heaters that moves at single MZIs lead to, then the least heat."""
    search = Settling(guides, heater_rad=HEATER_RAD)
    for _ in range(SWEEPS):
        if not search.sweep():
            break
    return Settled(np.array(search.rad), np.array(search.turned, bool))


def retimed_tile(
    tile: MeshTile,
    technology: Technology,
    *,
    saving: Saving = Saving.AREA,
    effort: float = 1.0,
    seed: int = 0,
) -> MeshTile:
    """The tile with as few phi heaters as are found, in as short meshes; itself if none is better.

    For arm-choice drives and meshes with crossings: in others every phi has but one place.
    """
    meshes = tile.v, tile.u
    if any(mesh.drive is not Drive.ARM_CHOICE for mesh in meshes):
        return tile
    if not any(mesh.crossings.any() for mesh in meshes):
        return tile
    detection = technology.detection
    guides = guides_of(tile, detection)
    search = settled(guides)
    rng = np.random.default_rng(seed)
    starts = [(_turned(tile, guides, search), guides, search.rad)]
    if effort > 0 and detection is Detection.IQ:
        sections = sections_of(technology)
        anew = relaid(
            starts[0][0],
            guides,
            search.rad,
            detection,
            lengths=Lengths(sections.crossing_um, sections.theta_um + sections.phi_um / 2),
            effort=effort,
        )
        if anew is not None:
            again = settled(anew[1])
            starts.append((_turned(anew[0], anew[1], again), anew[1], again.rad))
    # What the moves ask for may find no slots; what was there does.
    starts.append((tile, guides, guides.phase_rad))
    best, least = tile, _cost(tile, technology, saving)
    for number, (start, stretches, rad) in enumerate(starts):
        if best is not tile and number + 1 == len(starts):
            break
        for columns in _columns(start, technology):
            slots = covering(start, stretches, rad, columns, technology, rng)
            if slots is None:
                continue
            made = _drawn(start, stretches, rad, slots, columns, detection)
            cost = _cost(made, technology, saving)
            if cost < least:
                best, least = made, cost
    return best


def _cost(tile: MeshTile, technology: Technology, saving: Saving) -> tuple[float, ...]:
    census = tile_census(tile, 1.0)
    long = sum(float(mesh_plan(mesh, technology).width_um.sum()) for mesh in (tile.v, tile.u))
    length, heat = round(long, 3), round(census.heat_rad, 6)
    rest = (length, heat) if saving is Saving.AREA else (heat, length)
    return census.phases_active, *rest, census.mzis + census.crossings


def _columns(tile: MeshTile, technology: Technology) -> Iterator[Columns]:
    """Columns of V's and U's MZIs to try: those that they have, and short ones."""
    sections = sections_of(technology)
    ways = [
        [
            np.asarray(mesh.column, np.int64),
            *schedules(
                np.asarray(mesh.port, np.int64), mesh.crossings, mesh.ports, sections, width=WIDTH
            )[:TRIED],
        ]
        for mesh in (tile.v, tile.u)
    ]
    yield from product(*ways)


# ---- drawing ---------------------------------------------------------------------------------


def _turned(tile: MeshTile, guides: Guides, phases: Settled) -> MeshTile:
    """The tile with thetas on the arms that the phases ask for."""
    theta = [np.array(mesh.theta_rad) for mesh in (tile.v, tile.u)]
    for mixer, turned in zip(guides.mixers, phases.turned.tolist(), strict=True):
        if turned:
            theta[mixer.mesh][mixer.index] *= -1
    v, u = (replace(m, theta_rad=t) for m, t in zip((tile.v, tile.u), theta, strict=True))
    return replace(tile, v=v, u=u)


def _drawn(
    tile: MeshTile,
    guides: Guides,
    rad: Real,
    slots: dict[Slot, float],
    columns: Columns,
    detection: Detection,
) -> MeshTile:
    """The tile with these heaters, its MZIs in these columns; fixed lengths where guides ask for
    them, as far as no heater of the same MZI does it as well."""
    owed = (np.where(guides.free, 0.0, rad) + guides.fixed_rad).tolist()
    own = {(slot.mesh, slot.index): (slot, x) for slot, x in slots.items()}
    mixers = {(mixer.mesh, mixer.index): mixer for mixer in guides.mixers}
    on = {slot: k for k, seen in enumerate(guides.slots) for slot in seen if slot in slots}
    meshes = []
    for number, mesh in enumerate((tile.v, tile.u)):
        phi, state = np.array(mesh.phi_rad), np.array(mesh.phi_state)
        active = state == ShifterState.ACTIVE
        phi[active], state[active] = 0.0, ShifterState.REMOVED
        for k in range(len(mesh)):
            made = 0.0
            if (number, k) in own:
                slot, x = own[number, k]
                made, state[k] = -x if slot.lower else x, ShifterState.ACTIVE
                if (number, k) not in mixers:
                    owed[on[slot]] -= x
            if (number, k) in mixers:
                made, state[k] = _mixed(guides, mixers[number, k], owed, made, int(state[k]))
            if state[k] != mesh.phi_state[k] or state[k] == ShifterState.ACTIVE:
                phi[k] = made
        meshes.append(_in_columns(replace(mesh, phi_rad=phi, phi_state=state), columns[number]))
    readout = np.array(tile.readout_rad)
    for k, output in enumerate(guides.output):
        if output >= 0 and guides.free[k]:
            readout[output] += rad[k] + owed[k]
    return replace(tile, v=meshes[0], u=meshes[1], readout_rad=wrapped(readout))


def _mixed(
    guides: Guides, mixer: Mixer, owed: list[float], made: float, state: int
) -> tuple[float, int]:
    """The phi of an MZI and its state; what is still owed to both its guides goes on behind it.

    `made` is what its heater was to make, 0 without one.
    """
    upper, lower = mixer.enter
    if not (guides.dark[upper] or guides.dark[lower]):
        need = float(wrapped(np.array(owed[upper] - owed[lower])))
        if abs(float(wrapped(np.array(need - made)))) > NOTHING_RAD:
            made = need
            state = max(state, ShifterState.PASSIVE)
    common = float(common_phase_rad(made, state, Drive.ARM_CHOICE))
    left = owed[upper] - common - made if guides.dark[lower] else owed[lower] - common
    for k in mixer.leave:
        owed[k] += left
    return made, state


def _in_columns(mesh: Mesh, column: Ints) -> Mesh:
    order = np.lexsort((mesh.port, column))
    arrays = ("port", "theta_rad", "phi_rad", "theta_state", "phi_state")
    moved = {name: getattr(mesh, name)[order] for name in arrays}
    return replace(mesh, column=column[order].astype(np.int32), **moved)


# ---- the pass --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Retime(Pass):
    """Lossless: phi heaters through crossings, merged where they meet and in shared columns."""

    name: ClassVar[str] = "retime"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH
    moves_phases: ClassVar[bool] = True

    objective: Saving = option(
        Saving.AREA, "what counts behind the number of heaters: area or heat, the other next"
    )

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        tiles = sum(len(grid.tiles) for layer in program.layers for grid in layer.grids)
        effort = min(1.0, MANY_TILES / max(tiles, 1))
        if context.passive is Passive.NONE:
            # Laid out anew, guides differ by quarter waves.
            effort = 0.0

        def work(layer: LinearLayer, grid: TileGrid) -> Callable[[Tile], Tile | None]:
            return partial(
                _worked,
                technology=context.technology,
                saving=self.objective,
                effort=effort,
                seed=context.seed,
            )

        return with_tiles(program, context, self.name, work, keep=show(self))


def _worked(
    tile: Tile, technology: Technology, saving: Saving, effort: float, seed: int
) -> Tile | None:
    if not isinstance(tile, MeshTile):
        return tile
    return retimed_tile(tile, technology, saving=saving, effort=effort, seed=seed)

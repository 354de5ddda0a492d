"""Trim heaters for the heat of neighbours: where no other phase can undo it, fewest first.

The chip is placed and compensated on trial; what its heaters cannot undo decides which phi get
one (`emulate.heat_trims`). Places and drives of the trimmed chip are those of the passes behind.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.compensate_chip import compensate_chip
from onnx2mzi.emulate.heat_lengths import passive_lengths
from onnx2mzi.emulate.heat_study import warm_chip
from onnx2mzi.emulate.heat_task import task_of
from onnx2mzi.emulate.heat_trims import Candidates, Chosen, candidates, fewest_trims
from onnx2mzi.errors import FitError, UsageError
from onnx2mzi.ir import Mesh, MeshTile, Program, Tile
from onnx2mzi.passes.floorplan import Objective
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.census import layer_census

STEPS = 4
SAMPLES = 400
# Trims make nothing on a cold chip; the sign of this says on which arm they lie.
LOWER_RAD = -1e-12
# Heaters times pieces of guide that are followed, 8 bytes each.
MOST_PAIRS = 250_000_000


def heat_trimmed(program: Program, context: Context, *, share: float, loss: float) -> Program:
    """The program with trims until heat leaves no more than `loss`, at most `share` of the
    possible ones."""
    technology = context.technology
    if not any(layer_census(layer, 1.0).phases_active for layer in program.layers):
        context.log("trim: no heaters for heat: there are none that make any")
        return program
    placed = place_program(program, technology, Objective.HEAT)
    task = task_of(context.network, samples=SAMPLES)
    try:
        warm = warm_chip(placed, technology, task, most_pairs=MOST_PAIRS)
    except OverflowError as error:
        raise FitError(str(error), where="trim", hint="prune more, or fewer --ports") from None
    except ValueError as error:
        raise UsageError(str(error), where="trim") from None
    made = compensate_chip(
        aim=warm.aim,
        layout=warm.layout,
        response=warm.response,
        lengths=passive_lengths(placed, warm.layout),
        steps=STEPS,
    )
    found = candidates(placed, warm.layout)
    if made.loss <= loss or not len(found):
        context.log(
            f"trim: no heaters for heat: it leaves a loss of {made.loss:.2g}, "
            f"{len(found)} could have one"
        )
        return program
    chosen = fewest_trims(
        found,
        metric=warm.aim.metric(made.error_rad),
        canonical=np.asarray(warm.layout.push @ warm.response.segment),
        drive_rad=made.drive_rad,
        loss=made.loss,
        enough=loss,
        most=round(share * len(found)),
    )
    needed = chosen.needed(loss)
    context.log(
        f"trim: heat leaves a loss of {made.loss:.2g}; {len(chosen.which)} heaters of "
        f"{len(found)} that could be bring it to about {chosen.loss[-1]:.2g}"
        + ("" if needed is not None else f", not to {loss:.2g}")
    )
    return _with(program, found, chosen)


def _with(program: Program, found: Candidates, chosen: Chosen) -> Program:
    layers, number = [], 0
    for layer in program.layers:
        grids = []
        for grid in layer.grids:
            tiles: list[Tile] = []
            for tile in grid.tiles:
                if isinstance(tile, MeshTile):
                    mine = found.tile[chosen.which] == number
                    picked, lower = chosen.which[mine], chosen.lower[mine]
                    v, u = (found.mesh[picked] == m for m in (0, 1))
                    tile = replace(
                        tile,
                        v=_heated(tile.v, found.mzi[picked[v]], lower[v]),
                        u=_heated(tile.u, found.mzi[picked[u]], lower[u]),
                    )
                    number += 1
                tiles.append(tile)
            grids.append(replace(grid, tiles=tuple(tiles)))
        layers.append(replace(layer, grids=tuple(grids)))
    return replace(program, layers=tuple(layers))


def _heated(mesh: Mesh, mzi: npt.NDArray[np.int64], lower: npt.NDArray[np.bool_]) -> Mesh:
    """With heaters for the phi of these MZIs, which make nothing as yet."""
    phi, state = np.array(mesh.phi_rad), np.array(mesh.phi_state)
    state[mzi] = ShifterState.ACTIVE
    if mesh.drive is Drive.ARM_CHOICE:
        phi[mzi[lower]] = LOWER_RAD
    return replace(mesh, phi_rad=phi, phi_state=state)

"""`trim`: heaters that only undo the static errors of a made chip, where they pay most.

A pruned chip has guides on which light gathers static phases (sqrt(length / coherence length)
each) and no heater that could undo them. A phi that becomes a heater can. Which pay is judged to
first order: the squared error of the layer's output by a static phase before the MZI, times the
variance of that phase. All heaters together are then set on the made chip (`emulate.retune`).
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.imperfect import imperfect_program, mesh_tiles
from onnx2mzi.emulate.imperfect_devices import MeshDevices
from onnx2mzi.emulate.sensitivity import sensitivities
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import MeshTile, Program, Stage
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.drawing import DrawingRules, balanced_tile, drawn_tile, trims_of
from onnx2mzi.physics.arrays import Matrix, Real
from onnx2mzi.physics.imperfection import static_sigma_rad
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.tech import Technology

Chosen = npt.NDArray[np.bool_]


def with_trims(
    program: Program,
    technology: Technology,
    rules: DrawingRules,
    *,
    share: float,
    layer_inputs: dict[str, Matrix] | None = None,
) -> Program:
    """The program with that share of its possible trim heaters, the ones that pay most.

    Possible is the phi of every MZI that mixes light (theta not 0) and has no heater there.
    `layer_inputs` (n, B) weigh errors; without them all inputs count alike.
    """
    chip = imperfect_program(program, technology)
    inputs = dict(layer_inputs or {})
    for layer in program.layers:
        inputs.setdefault(layer.name, np.eye(layer.weight.shape[1]))
    gains: dict[tuple[str, str], Real] = {}
    devices = {tile.name: tile for _, tile in mesh_tiles(chip)}
    for found in sensitivities(chip, inputs):
        if found.block != "s":
            mesh: MeshDevices = getattr(devices[found.tile], found.block)
            gains[found.tile, found.block] = _gain(mesh, found.static, technology)
    everything = np.concatenate(list(gains.values())) if gains else np.zeros(0)
    possible = np.sort(everything[everything > 0])[::-1]
    count = min(round(share * len(possible)), len(possible))
    if not count:
        return program
    least = possible[count - 1]
    layers = []
    for layer in program.layers:
        grids = []
        for g, grid in enumerate(layer.grids):
            tiles = [
                _trimmed(
                    tile,
                    rules,
                    [gains[f"{layer.name}/g{g}.t{t}", block] >= least for block in "vu"],
                )
                if isinstance(tile, MeshTile)
                else tile
                for t, tile in enumerate(grid.tiles)
            ]
            grids.append(replace(grid, tiles=tuple(tiles)))
        layers.append(replace(layer, grids=tuple(grids)))
    return replace(program, layers=tuple(layers))


def _gain(mesh: MeshDevices, static: Real, technology: Technology) -> Real:
    """Expected squared error by the static phases before every MZI; 0 where no trim can be."""
    length = mesh.upper_um + mesh.lower_um
    sigma = static_sigma_rad(length_um=length, coherence_mm=technology.guide.coherence_mm)
    open_to = (mesh.core.theta != 0.0) & (mesh.phi.active == 0)
    return np.where(open_to, static * sigma**2, 0.0)


def _trimmed(tile: MeshTile, rules: DrawingRules, trims: list[Chosen]) -> MeshTile:
    if not any(chosen.any() for chosen in trims):
        return tile
    v, u = (
        more | (mesh.phi_state == ShifterState.ACTIVE)
        for mesh, more in zip((tile.v, tile.u), trims, strict=True)
    )
    return drawn_tile(balanced_tile(tile), rules, trims=(v, u))


def trimmed(program: Program, context: Context, *, share: float) -> Program:
    """`with_trims` for what a pass knows."""
    if share <= 0:
        return program
    inputs = None if context.network is None else dict(context.network.layer_inputs())
    rules = drawing_rules(context)
    return with_trims(program, context.technology, rules, share=share, layer_inputs=inputs)


def with_trims_again(before: Program, after: Program, context: Context) -> Program:
    """`after` with the share of trims that `before` had: for passes that draw meshes anew."""
    there = possible = 0
    for layer in before.layers:
        for grid in layer.grids:
            for tile in grid.tiles:
                if isinstance(tile, MeshTile) and _any_active_phi(tile):
                    balanced = balanced_tile(tile)
                    meshes = balanced.v, balanced.u
                    for mesh, trims in zip(meshes, trims_of(tile, balanced), strict=True):
                        there += int(np.count_nonzero(trims & (mesh.theta != 0.0)))
                if isinstance(tile, MeshTile):
                    possible += int(np.count_nonzero(tile.v.theta_rad))
                    possible += int(np.count_nonzero(tile.u.theta_rad))
    return trimmed(after, context, share=there / possible) if there else after


def _any_active_phi(tile: MeshTile) -> bool:
    return any(bool(np.any(m.phi_state == ShifterState.ACTIVE)) for m in (tile.v, tile.u))


class Against(StrEnum):
    """What trim heaters are for."""

    FABRICATION = "fabrication"
    HEAT = "heat"


@dataclass(frozen=True, slots=True)
class Trim(Pass):
    """Heaters added where static errors of a made chip, or heat, hurt most, to undo them."""

    name: ClassVar[str] = "trim"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH

    share: float = option(
        1.0,
        "share of the MZIs that mix light to give a trim heater, the ones that pay most first",
        low=0.0,
        high=1.0,
    )

    against: Against = option(
        Against.FABRICATION,
        "fabrication: static errors of a made chip; heat: that of neighbours, fewest heaters",
    )
    loss: float = option(
        1e-4, "against heat: loss of the answers (nats) that heat may leave", low=0.0
    )

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        if self.against is Against.FABRICATION:
            if program.drive_code is not None:
                raise UsageError(
                    "draws heaters anew, but they are on a driver's codes already",
                    where="trim",
                    hint="put quantize behind trim",
                )
            return trimmed(program, context, share=self.share)
        # Cool and compact trim anew behind themselves, and know this file.
        from onnx2mzi.passes.heat_trim import heat_trimmed

        return heat_trimmed(program, context, share=self.share, loss=self.loss)

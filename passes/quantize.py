"""`quantize`: every heater is set to a code that its driver has.

Heaters are rounded to the nearest code. Passive phases that compensate common phases are drawn
for the rounded thetas, so they add no error.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from onnx2mzi.emulate.transfer import grid_matrix, layer_matrix
from onnx2mzi.ir import Attenuators, LinearLayer, Mesh, MeshTile, Program, Stage, TileGrid
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.physics.arrays import Flags, Real, within_pi, wrapped
from onnx2mzi.physics.mzi import attenuation
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.pipeline.base import Bounded, Context, Effect, Pass, option


def _rounded(phase_rad: Real, state: Flags, code: DriveCode, drive: Drive) -> Real:
    # The way round matters: M(theta + 2 pi) = -M(theta), so theta may leave [-pi, pi] here.
    step_rad = wrapped(code.nearest_rad(phase_rad, drive) - phase_rad)
    return np.where(state == ShifterState.ACTIVE, phase_rad + step_rad, phase_rad)


def rounded_tile(tile: MeshTile, code: DriveCode, rules: DrawingRules) -> MeshTile:
    """The tile with every active phase on a code: thetas and attenuators, then phi as drawn."""
    drive = tile.u.drive
    balanced = balanced_tile(tile)
    sigma = tile.sigma
    sigma_theta = _rounded_attenuators(sigma, code)
    thetas = {
        block: _rounded(mesh.theta_rad, mesh.theta_state, code, drive)
        for block, mesh in (("u", tile.u), ("v", tile.v))
    }
    drawn = drawn_tile(
        BalancedTile(
            outputs=tile.outputs,
            inputs=tile.inputs,
            # Drawing may have turned thetas since; their signs are those of the balanced mesh.
            u=replace(balanced.u, theta=thetas["u"]),
            amplitude=attenuation(theta_rad=sigma_theta),
            v=replace(balanced.v, theta=thetas["v"]),
            gain=tile.gain,
        ),
        rules,
    )
    return replace(
        drawn,
        u=_rounded_phi(drawn.u, code),
        sigma=Attenuators(sigma_theta, drawn.sigma.state, drive),
        v=_rounded_phi(drawn.v, code),
    )


def _rounded_attenuators(sigma: Attenuators, code: DriveCode) -> Real:
    """Nearest codes up to pi: an attenuator beyond pi would let light through again."""
    levels = code.levels_rad(sigma.drive)
    levels = levels[levels <= np.pi]
    nearest = levels[np.abs(sigma.theta_rad[:, None] - levels).argmin(axis=1)]
    return np.where(sigma.state == ShifterState.ACTIVE, nearest, sigma.theta_rad)


def _rounded_phi(mesh: Mesh, code: DriveCode) -> Mesh:
    phi = within_pi(_rounded(mesh.phi_rad, mesh.phi_state, code, mesh.drive))
    out = within_pi(_rounded(mesh.out_rad, mesh.out_state, code, Drive.UPPER_ARM))
    return replace(
        mesh,
        phi_rad=phi,
        phi_state=_off(phi, mesh.phi_state),
        out_rad=out,
        out_state=_off(out, mesh.out_state),
    )


def _off(phase_rad: Real, state: Flags) -> Flags:
    return np.where(phase_rad == 0.0, np.uint8(ShifterState.REMOVED), state)


def worst_layer_error(layer: LinearLayer, code: DriveCode) -> float:
    """Bound of |dW|_F / |W|_F if every active phase errs by half a code.

    A cell moves by at most half of theta's error plus phi's in the spectral norm, a column by
    its worst cell, a mesh by the sum of its columns; tiles lie on different entries, so their
    squares add. For grids A, B in sequence |d(BA)| <= |dB||A| + |B||dA| + |dB||dA|.
    """
    error, norm = 0.0, 1.0
    for grid in layer.grids:
        grid_error = _grid_error(grid, code)
        real = not np.iscomplexobj(layer.weight)
        grid_norm = float(np.linalg.norm(grid_matrix(grid, real=real)))
        error = grid_error * norm + grid_norm * error + grid_error * error
        norm *= grid_norm
    whole = float(np.linalg.norm(layer_matrix(layer)))
    return error / whole if whole > 0 else 0.0


def _grid_error(grid: TileGrid, code: DriveCode) -> float:
    square = 0.0
    for tile in grid.tiles:
        if isinstance(tile, MeshTile):
            error_rad = code.worst_error_rad(tile.u.drive)
            amplitude = attenuation(theta_rad=tile.sigma.theta_rad)
            norm = tile.gain * float(np.linalg.norm(amplitude))
            active = np.count_nonzero(tile.sigma.state == ShifterState.ACTIVE)
            # Up to a whole gap where pi lies between two codes.
            sigma = tile.gain * error_rad * np.sqrt(active)
            meshes = (1 + _mesh_error(tile.u, error_rad)) * (1 + _mesh_error(tile.v, error_rad))
            square += (meshes * (norm + sigma) - norm) ** 2
    return float(np.sqrt(square))


def _mesh_error(mesh: Mesh, error_rad: float) -> float:
    theta = mesh.theta_state == ShifterState.ACTIVE
    phi = mesh.phi_state == ShifterState.ACTIVE
    cell = error_rad * (theta / 2 + phi)
    worst = np.zeros(mesh.columns)
    np.maximum.at(worst, mesh.column, cell)
    out = error_rad if np.any(mesh.out_state == ShifterState.ACTIVE) else 0.0
    return float(worst.sum() + out)


@dataclass(frozen=True, slots=True)
class Quantize(Pass):
    """Set every active phase to a code of a b-bit driver."""

    name: ClassVar[str] = "quantize"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH

    bits: int = option(8, "resolution of each heater's driver", unit="bit", low=1, high=16)
    law: CodeLaw = option(
        CodeLaw.PHASE,
        "what is uniform in the code: the phase, or the voltage (phase goes with its square)",
    )

    @property
    def code(self) -> DriveCode:
        """The driver that the options describe."""
        return DriveCode(self.bits, self.law)

    def effect(self, program: Program) -> Effect:
        return Bounded(max(worst_layer_error(x, self.code) for x in program.layers))

    def run(self, program: Program, context: Context) -> Program:
        rules = drawing_rules(context)
        layers = []
        for layer in program.layers:
            grids = tuple(
                replace(
                    grid,
                    tiles=tuple(
                        rounded_tile(tile, self.code, rules) if isinstance(tile, MeshTile) else tile
                        for tile in grid.tiles
                    ),
                )
                for grid in layer.grids
            )
            layers.append(replace(layer, grids=grids))
        return replace(program, layers=tuple(layers), drive_code=self.code)

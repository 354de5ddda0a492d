"""Phases of a quantized program: every heater is on a code of its driver."""

import numpy as np
import numpy.typing as npt

from onnx2mzi.ir.layer import MeshTile
from onnx2mzi.ir.mesh import Mesh
from onnx2mzi.ir.problem import Problems, first
from onnx2mzi.ir.program import Program
from onnx2mzi.physics.arrays import Flags, Real, wrapped
from onnx2mzi.physics.quantization import DriveCode
from onnx2mzi.physics.shifter import Drive, ShifterState

# Round-off of sums of phases.
CODE_SLACK_RAD = 1e-9


def code_problems(program: Program) -> Problems:
    """The first heater of each row of shifters that is on no code."""
    for layer in program.layers:
        code = layer.drive_code or program.drive_code
        if code is None:
            continue
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                if isinstance(tile, MeshTile):
                    yield from _tile_problems(tile, code, f"{layer.name}.g{g}.t{t}")


def _tile_problems(tile: MeshTile, code: DriveCode, where: str) -> Problems:
    for block, mesh in (("v", tile.v), ("u", tile.u)):
        yield from _mesh_problems(mesh, code, f"{where}.{block}")
    sigma = tile.sigma
    off = off_code(sigma.theta_rad, sigma.state, code, sigma.drive)
    yield from first(off, _told(code), lambda k: f"{where}.s.c0.p{k}.sigma")


def _mesh_problems(mesh: Mesh, code: DriveCode, where: str) -> Problems:
    def name(k: int) -> str:
        return f"{where}.c{mesh.column[k]}.p{mesh.port[k]}"

    told = _told(code)
    theta = off_code(mesh.theta_rad, mesh.theta_state, code, mesh.drive)
    phi = off_code(mesh.phi_rad, mesh.phi_state, code, mesh.drive)
    # A phase on a single guide has no other arm.
    out = off_code(mesh.out_rad, mesh.out_state, code, Drive.UPPER_ARM)
    yield from first(theta, told, lambda k: f"{name(k)}.theta")
    yield from first(phi, told, lambda k: f"{name(k)}.phi")
    yield from first(out, told, lambda k: f"{where}.c{mesh.columns}.p{k}.out")


def _told(code: DriveCode) -> str:
    return f"the phase is none of the driver's {2**code.bits} codes"


def off_code(phase_rad: Real, state: Flags, code: DriveCode, drive: Drive) -> npt.NDArray[np.bool_]:
    """Which shifters are heaters at a phase that no code gives. Shape as `phase_rad`."""
    away = np.abs(wrapped(code.nearest_rad(phase_rad, drive) - phase_rad))
    return np.asarray((state == ShifterState.ACTIVE) & (away > CODE_SLACK_RAD))

"""The loop closed: the circuit that the layout shows, walked, is the emulator's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gdstk
import numpy as np
import pytest

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.backends.gds.cells import LENGTH_STEP_UM
from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.emulate.transfer import mesh_transfer
from onnx2mzi.ir import BlockPlacement, Mesh, MeshTile, Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.arrays import Complex, Real
from onnx2mzi.physics.mzi import coupler
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import load_technology
from onnx2mzi.tech.geometry import ColumnPlan

MakeProgram = Callable[..., Program]

TECHNOLOGY = load_technology("cornerstone_si220")
NEAR_UM = 0.01


def made_by_heaters(mesh: Mesh, kind: str) -> dict[tuple[int, int], float]:
    """What a heater of the MZI at (column, port) makes, >= 0 but for push-pull's half phases."""
    phase = getattr(mesh, f"{kind}_rad")
    if mesh.drive is Drive.UPPER_ARM:
        phase = np.mod(phase, 2 * np.pi)
    elif mesh.drive is Drive.ARM_CHOICE:
        phase = np.abs(phase)
    places = zip(mesh.column.tolist(), mesh.port.tolist(), strict=True)
    return dict(zip(places, phase.tolist(), strict=True))


def arms_in_layout(
    cell: gdstk.Cell, mesh: Mesh, plan: ColumnPlan, block: BlockPlacement, kind: str
) -> Real:
    """Phases (columns, ports) that the guides have in the `kind` sections: lengths and heaters
    as they lie in the layout, heaters driven as the program says."""
    edges = block.column_x_um[:-1]
    starts = edges + (plan.theta_start_um if kind == "theta" else 0.0)
    lengths = plan.theta_um if kind == "theta" else plan.phi_um
    phases = np.zeros((mesh.columns, mesh.ports))

    def row(y: float) -> int:
        exact = (block.y_um - y) / block.row_pitch_um
        assert exact == pytest.approx(round(exact), abs=1e-3)
        return round(exact)

    for reference in cell.references:
        name = reference.cell_name.split("_")
        if name[0] == "WG" and len(name) == 3:
            here = np.abs(starts - reference.origin[0]) < NEAR_UM
            for c in np.flatnonzero(here & (lengths > 0)).tolist():
                extra_um = int(name[2]) * LENGTH_STEP_UM
                turn = 2 * np.pi * extra_um / TECHNOLOGY.guide_wavelength_um
                phases[c, row(reference.origin[1])] += turn
    made = made_by_heaters(mesh, kind)
    layer, datatype = TECHNOLOGY.markers.heater
    for polygon in cell.get_polygons(layer=layer, datatype=datatype):
        (left, low), (_, high) = polygon.bounding_box()
        for c in np.flatnonzero((np.abs(starts - left) < NEAR_UM) & (lengths > 0)).tolist():
            guide = row((low + high) / 2)
            port = guide if (c, guide) in made else guide - 1
            if mesh.drive is Drive.PUSH_PULL:
                phases[c, guide] += made[c, port] / 2 * (1 if guide == port else -1)
            else:
                phases[c, guide] += made[c, port]
    return phases


def walked(cell: gdstk.Cell, mesh: Mesh, plan: ColumnPlan, block: BlockPlacement) -> Complex:
    """The transfer of the block: every guide from cell to cell, column by column."""
    theta = np.exp(1j * arms_in_layout(cell, mesh, plan, block, "theta"))
    phi = np.exp(1j * arms_in_layout(cell, mesh, plan, block, "phi"))
    total = np.eye(mesh.ports, dtype=complex)
    b = coupler()
    for c in range(mesh.columns):
        column = np.diag(phi[c])
        if plan.body_um[c] == 0:
            # Nothing is drawn: the turn of all guides together is the local oscillator's.
            total *= 1j if mesh.drive is Drive.PUSH_PULL else 1
            continue
        drawn = np.zeros(mesh.ports, int)
        for reference in cell.references:
            kind = reference.cell_name.split("_")[0]
            x, y = reference.origin
            if kind not in ("MZI", "XING", "XINGS", "PASS", "PASSX"):
                continue
            if abs(x - block.column_x_um[c]) > NEAR_UM:
                continue
            port = round((block.y_um - y) / block.row_pitch_um)
            rows = [port] if kind.startswith("PASS") else [port, port + 1]
            drawn[rows] += 1
            if kind == "MZI":
                column[rows] = b @ np.diag(theta[c, rows]) @ b @ column[rows]
            elif kind.startswith("XING"):
                column[rows] = 1j * column[rows[::-1]]
            else:
                column[rows] *= np.exp(1j * np.deg2rad(float(reference.cell_name.split("_")[1])))
        assert (drawn == 1).all()
        total = column @ total
    return total


@pytest.mark.parametrize("drive", Drive)
@pytest.mark.parametrize("seed", range(4))
def test_the_layout_walked_is_the_emulators_transfer(
    make_program: MakeProgram, seed: int, drive: Drive, tmp_path: Path
) -> None:
    program = place_program(make_program(seed, drive=drive), TECHNOLOGY)
    write_gds(program, TECHNOLOGY, tmp_path)
    cells = {cell.name: cell for cell in gdstk.read_gds(tmp_path / "design.gds").cells}
    assert program.placement is not None
    compared = 0
    for block in program.placement.blocks:
        if block.block == "s":
            continue
        names = [layer.name for layer in program.layers]
        position = names.index(block.layer)
        tile = program.layers[position].grids[block.grid].tiles[block.tile]
        assert isinstance(tile, MeshTile)
        mesh = {"u": tile.u, "v": tile.v}[block.block]
        tile_cell = cells[f"L{position}_G{block.grid}_T{block.tile}"]
        assert isinstance(tile_cell, gdstk.Cell)
        (name,) = [
            reference.cell_name
            for reference in tile_cell.references
            if reference.cell_name.endswith(f"_{block.block.upper()}")
        ]
        cell = cells[name]
        assert isinstance(cell, gdstk.Cell)
        plan = mesh_plan(mesh, TECHNOLOGY)
        found = walked(cell, mesh, plan, replace(block, y_um=0.0))
        expected = np.exp(-1j * mesh.out_rad)[:, None] * mesh_transfer(mesh)
        # Lengths come in steps of 2 mrad.
        assert np.abs(found - expected).max() < 0.01
        compared += int((mesh.theta_state != ShifterState.REMOVED).sum())
    assert compared > 5

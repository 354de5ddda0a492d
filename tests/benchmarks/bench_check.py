"""All checks of the layout of N x N tiles:

    python bench_check.py [N ...] [0.5 ...] [technology ...] [bump] [one-metal]

Every phase is removed with the given probabilities (0, 50, 70 and 95 % if none is given), in both
real technologies if none is named. `bump` wires with bumps, `one-metal` with the first metal.
"""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time

import numpy as np

# The benchmarks are scripts: their folder is on the path.
from bench_layout import program  # type: ignore[import-not-found]  # beside this one

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.backends.gds.drc import check_rules
from onnx2mzi.backends.gds.extraction import extract
from onnx2mzi.backends.gds.loop import rebuild
from onnx2mzi.backends.gds.lvs import compare_circuit
from onnx2mzi.backends.phase_table import iterate_phases
from onnx2mzi.backends.phases import write_table
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import Mesh, MeshTile, Program
from onnx2mzi.passes.place import die_share, place_program
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.chip import program_pads
from onnx2mzi.tech import PadStyle, Technology, load_technology, technology_names

BUMP_UM = 50.0
REAL = ["cornerstone_si220", "siepic_ebeam"]


def pruned(ports: int, share: float) -> Program:
    """One tile; both phases of every MZI are heaters or removed."""
    rng = np.random.default_rng(0)
    made: Program = program(ports)
    (layer,) = made.layers
    (grid,) = layer.grids
    (tile,) = grid.tiles
    assert isinstance(tile, MeshTile)

    def thinned(mesh: Mesh) -> Mesh:
        kept = rng.random((2, len(mesh))) >= share
        state = np.where(kept, ShifterState.ACTIVE, ShifterState.REMOVED).astype(np.uint8)
        theta, phi = np.where(kept, np.stack([mesh.theta_rad, mesh.phi_rad]), 0.0)
        return replace(mesh, theta_rad=theta, phi_rad=phi, theta_state=state[0], phi_state=state[1])

    tile = replace(tile, u=thinned(tile.u), v=thinned(tile.v))
    return replace(made, layers=(replace(layer, grids=(replace(grid, tiles=(tile,)),)),))


@dataclass(frozen=True, slots=True)
class Result:
    """What one chip took, in CPU seconds, and what was found."""

    pads: int
    width_mm: float
    height_mm: float
    share: float
    seconds: tuple[float, ...]
    problems: int
    guide_nm: float
    row_nm: float
    loop: float
    drawn: float


def measured(program: Program, technology: Technology) -> Result:
    """Place, write, and all checks of one chip."""
    times = [process_time()]
    placed = place_program(program, technology)
    assert placed.placement is not None
    with tempfile.TemporaryDirectory() as folder:
        design, table = Path(folder) / "design.gds", Path(folder) / "phases.csv"
        times.append(process_time())
        write_gds(placed, technology, Path(folder))
        times.append(process_time())
        with table.open("w", encoding="utf-8", newline="") as file:
            write_table(placed, file, technology)
        spent = process_time() - times[-1]
        violations = check_rules(design, technology).total
        times.append(process_time() - spent)
        found = extract(design, technology)
        compared = compare_circuit(found, placed, technology)
        times.append(process_time() - spent)
        again = rebuild(found, iterate_phases(table), placed, technology)
        own, exact, drawn = (program_matrices(one) for one in (placed, again.designed, again.drawn))
        times.append(process_time() - spent)
    largest = max(float(np.abs(matrix).max()) for matrix in own.values())
    return Result(
        program_pads(placed).total,
        placed.placement.width_um / 1e3,
        placed.placement.height_um / 1e3,
        die_share(placed.placement.width_um, placed.placement.height_um, technology),
        tuple(np.diff(times).tolist()),
        violations + len(compared.differences) + len(compared.paths) + len(again.problems),
        compared.guide_um * 1e3,
        compared.row_um * 1e3,
        max(float(np.abs(exact[name] - own[name]).max()) for name in own) / largest,
        max(float(np.abs(drawn[name] - own[name]).max()) for name in own) / largest,
    )


def main() -> None:
    """Print the table."""
    words = sys.argv[1:]
    sizes = [int(word) for word in words if word.isdigit()] or [8, 16, 32]
    shares = [float(word) for word in words if "." in word] or [0.0, 0.5, 0.7, 0.95]
    print("CPU seconds; guide and row: worst length against the design; loop: outputs of the")
    print("program made again from the layout, and with guides as long as they are drawn")
    print(
        f"{'tech':17} {'N':>3} {'pruned':>6} {'pads':>5} {'mm x mm':>14} {'die':>5}"
        f" {'place':>6} {'gds':>6} {'drc':>6} {'lvs':>6} {'loop':>6}"
        f" {'guide nm':>8} {'row nm':>7} {'loop':>8} {'drawn':>8}  result"
    )
    names = [word for word in words if word in technology_names()] or REAL
    for name in names:
        technology = load_technology(name)
        if "one-metal" in words:
            technology = replace(technology, routing=replace(technology.routing, metals=1))
        if "bump" in words:
            pads = replace(technology.pads, style=PadStyle.BUMP, size_um=BUMP_UM)
            technology = replace(technology, pads=pads)
        for ports in sizes:
            for share in shares:
                found = measured(pruned(ports, share), technology)
                spent = " ".join(f"{took:6.2f}" for took in found.seconds)
                print(
                    f"{name:17} {ports:3} {share:6.0%} {found.pads:5}"
                    f" {found.width_mm:6.1f} x {found.height_mm:5.2f} {found.share:5.0%} {spent}"
                    f" {found.guide_nm:8.2f} {found.row_nm:7.2f} {found.loop:8.1e}"
                    f" {found.drawn:8.1e}  "
                    + ("clean" if found.problems == 0 else f"{found.problems} problems"),
                    flush=True,
                )


if __name__ == "__main__":
    main()

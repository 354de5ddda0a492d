"""Pads, size, design rules and circuit of N x N tiles: python bench_check.py [N ...]

Every phase is removed with the given probability. `bump` as an argument wires with bumps.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

# The benchmarks are scripts: their folder is on the path.
from bench_layout import program  # type: ignore[import-not-found]  # beside this one

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.backends.gds.drc import check_rules
from onnx2mzi.backends.gds.lvs import compare_layout
from onnx2mzi.ir import Mesh, MeshTile, Program
from onnx2mzi.passes.place import die_share, place_program
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.chip import program_pads
from onnx2mzi.tech import PadStyle, load_technology

BUMP_UM = 50.0


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


def main() -> None:
    """Print the table."""
    words = sys.argv[1:]
    sizes = [int(word) for word in words if word.isdigit()] or [8, 16, 32]
    print("tech               N  pruned  pads    mm x mm         die   gds s  drc s  lvs s  result")
    for name in ("cornerstone_si220", "siepic_ebeam"):
        technology = load_technology(name)
        if "bump" in words:
            pads = replace(technology.pads, style=PadStyle.BUMP, size_um=BUMP_UM)
            technology = replace(technology, pads=pads)
        for ports in sizes:
            for share in (0.0, 0.5, 0.7, 0.95):
                placed = place_program(pruned(ports, share), technology)
                assert placed.placement is not None
                width, height = placed.placement.width_um, placed.placement.height_um
                with tempfile.TemporaryDirectory() as folder:
                    design = Path(folder) / "design.gds"
                    times = [perf_counter()]
                    write_gds(placed, technology, Path(folder))
                    times.append(perf_counter())
                    violations = check_rules(design, technology).total
                    times.append(perf_counter())
                    differences = len(compare_layout(design, placed, technology).differences)
                    times.append(perf_counter())
                spent = "  ".join(f"{took:5.2f}" for took in np.diff(times))
                print(
                    f"{name:17} {ports:2}  {share:6.0%}  {program_pads(placed).total:4}  "
                    f"{width / 1000:6.1f} x {height / 1000:5.2f}  "
                    f"{die_share(width, height, technology):6.0%}  {spent}  "
                    + (
                        "clean"
                        if violations + differences == 0
                        else f"{violations} violations, {differences} differences"
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()

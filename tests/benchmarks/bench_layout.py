"""Place, GDS and netlist of one N x N tile, in CPU seconds: python tests/benchmarks/bench_layout.py

The target is a GDS of N = 64 in under 2 s. Half of the phases are heaters, half fixed lengths,
each of its own: the costliest layout that there is.
"""

import tempfile
from pathlib import Path
from time import process_time

import numpy as np

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.backends.netlist import write_netlist
from onnx2mzi.ir import (
    Attenuators,
    LinearLayer,
    Loc,
    Mesh,
    MeshTile,
    Operand,
    Program,
    Stage,
    TileGrid,
)
from onnx2mzi.kernels import clements_layout
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import load_technology


def program(ports: int) -> Program:
    """One tile with random phases, every theta a heater and every phi a length."""
    rng = np.random.default_rng(0)
    column, port = clements_layout(ports)
    count = len(column)
    drive = Drive.ARM_CHOICE

    def mesh() -> Mesh:
        return Mesh(
            ports,
            column,
            port,
            rng.uniform(-np.pi, np.pi, count),
            rng.uniform(-np.pi, np.pi, count),
            np.full(count, ShifterState.ACTIVE, np.uint8),
            np.full(count, ShifterState.PASSIVE, np.uint8),
            np.zeros(ports),
            np.zeros(ports, np.uint8),
            drive,
        )

    active = np.full(ports, ShifterState.ACTIVE, np.uint8)
    sigma = Attenuators(rng.uniform(0, np.pi, ports), active, drive)
    guides = np.arange(ports, dtype=np.int32)
    tile = MeshTile(guides, guides, mesh(), sigma, mesh(), 1.0, np.zeros(ports))
    operand = Operand("x", -1, "w", False, "float32")
    grid = TileGrid(ports, ports, (tile,))
    layer = LinearLayer("fc", np.zeros((ports, ports)), operand, Loc(), (grid,))
    return Program("bench", Stage.MESH, ports, (layer,))


def main() -> None:
    """Print the table."""
    technology = load_technology("cornerstone_si220")
    print(f"{'N':>4} {'MZIs':>6} {'place':>8} {'gds':>8} {'netlist':>8} {'MB':>6}  target gds")
    for ports in (8, 16, 32, 64, 128):
        meshed = program(ports)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            start = process_time()
            placed = place_program(meshed, technology)
            place_s = process_time() - start
            start = process_time()
            write_gds(placed, technology, folder)
            gds_s = process_time() - start
            start = process_time()
            write_netlist(placed, folder)
            netlist_s = process_time() - start
            megabytes = (folder / "design.gds").stat().st_size / 1e6
        target = "< 2 s" if ports == 64 else ""
        mzis = ports * (ports - 1)
        print(
            f"{ports:4d} {mzis:6d} {place_s:8.4f} {gds_s:8.3f} {netlist_s:8.3f} {megabytes:6.2f}"
            f"  {target}"
        )


if __name__ == "__main__":
    main()

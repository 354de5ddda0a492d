"""One mesh drawn by us and, from unit cells, by gdsfactory: python bench_gdsfactory.py [N ...]

The same geometry on both sides: MZIs of couplers, bends and heaters, and guides past them. Each
kind of unit cell is made once; gdsfactory connects every cell to the ports of the one before.
CPU seconds of the fastest run. Needs gdsfactory.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np

# The benchmarks are scripts: their folder is on the path.
from bench_check import pruned  # type: ignore[import-not-found]  # beside this one

from onnx2mzi.backends.gds.blocks import draw_mesh
from onnx2mzi.backends.gds.cells import CellBook
from onnx2mzi.backends.gds.guides import Drawn, drawn, passing, stage_arm
from onnx2mzi.ir import BlockPlacement, Mesh, MeshTile, Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import Technology, load_technology
from onnx2mzi.tech.geometry import heated_um


def timed(make: Callable[[], object], times: int) -> float:
    """CPU seconds of the fastest of some runs."""
    spent = []
    for _ in range(times):
        start = process_time()
        make()
        spent.append(process_time() - start)
    return min(spent)


def first_mesh(program: Program) -> tuple[Mesh, BlockPlacement]:
    """V of the first tile and its place."""
    tile = program.layers[0].grids[0].tiles[0]
    assert isinstance(tile, MeshTile) and program.placement is not None
    (place,) = [block for block in program.placement.blocks if block.block == "v"]
    return tile.v, place


@dataclass(frozen=True, slots=True)
class Units:
    """gdsfactory's unit cells with the geometry of ours: guides extruded along our centrelines,
    couplers and heaters as polygons."""

    gf: Any
    technology: Technology
    chip: Drawn
    pitch_um: float

    def mzi(self, phi: tuple[bool, bool], theta: tuple[bool, bool]) -> Any:
        """An MZI whose upper and lower arms have heaters in these sections, or straights."""
        made, section = self.gf.Component(), heated_um(self.technology)
        stage, heater = self.stage(), self.polygons("heater")
        straight = self.guide(np.array([(0.0, 0.0), (section, 0.0)]))
        x = 0.0
        for heated in (phi, theta):
            for row, hot in enumerate(heated):
                part = made << (heater if hot else straight)
                part.dmove((x, -row * self.pitch_um))
            (made << stage).dmove((x + section, 0.0))
            x += section + self.chip.sizes.stage_um
        for row in (0, 1):
            self.port(made, f"i{row}", 0.0, -row * self.pitch_um, 180)
            self.port(made, f"o{row}", x, -row * self.pitch_um, 0)
        return made

    def stage(self) -> Any:
        """Four bends and a coupler."""
        made = self.gf.Component()
        for row, direction in ((0.0, -1), (-self.pitch_um, 1)):
            for line in stage_arm(self.chip, direction):
                (made << self.guide(line)).dmove((0.0, row))
        middle = self.chip.sizes.bend.run_um, -self.pitch_um / 2
        (made << self.polygons("coupler")).dmove(middle)
        return made

    def passing(self) -> Any:
        """A guide past an MZI."""
        section = heated_um(self.technology)
        line = passing(self.chip, crosses=False, theta_um=section, drive=Drive.ARM_CHOICE)
        made = self.gf.Component()
        made << self.guide(np.array([(0.0, 0.0), (section, 0.0)]))
        (made << self.guide(line)).dmove((section, 0.0))
        self.port(made, "i0", 0.0, 0.0, 180)
        self.port(made, "o0", section + float(line[-1, 0]), 0.0, 0)
        return made

    def guide(self, line: Any) -> Any:
        """A guide along a centreline."""
        guide, layer = self.technology.guide, self.technology.layers.core
        return self.gf.Path(line).extrude(width=guide.width_um, layer=layer)

    def polygons(self, which: str) -> Any:
        """A device as we draw it."""
        book, made = CellBook(self.chip), self.gf.Component()
        for polygon in (book.heater() if which == "heater" else book.coupler()).get_polygons():
            made.add_polygon(polygon.points, layer=(polygon.layer, polygon.datatype))
        return made

    def port(self, made: Any, name: str, x: float, y: float, turn: int) -> None:
        """A port of a component."""
        width, layer = self.technology.guide.width_um, self.technology.layers.core
        made.add_port(name=name, center=(x, y), width=width, orientation=turn, layer=layer)

    def mesh(self, mesh: Mesh, place: BlockPlacement) -> Any:
        """All unit cells, each connected to the ones before; corridors are left out."""
        made, known = self.gf.Component(), {}
        arms = [
            np.where(state == ShifterState.ACTIVE, rad, np.nan)
            for rad, state in ((mesh.phi_rad, mesh.phi_state), (mesh.theta_rad, mesh.theta_state))
        ]
        ends: dict[int, Any] = {}
        by_place = {
            (int(c), int(p)): k for k, (c, p) in enumerate(zip(mesh.column, mesh.port, strict=True))
        }
        for column in range(mesh.columns):
            port = 0
            while port < mesh.ports:
                k = by_place.get((column, port))
                if k is None:
                    kind: Any = "pass"
                else:
                    kind = tuple((bool(a[k] >= 0), bool(a[k] < 0)) for a in arms)
                if kind not in known:
                    known[kind] = self.passing() if kind == "pass" else self.mzi(*kind)
                reference = made << known[kind]
                if port in ends:
                    reference.connect("i0", ends[port])
                else:
                    reference.dmove((0.0, -port * self.pitch_um))
                for row in range(1 if k is None else 2):
                    ends[port + row] = reference.ports[f"o{row}"]
                port += 1 if k is None else 2
        return made


def main() -> None:
    """Print the times."""
    try:
        import gdsfactory as gf
    except ImportError:
        print("not compared: gdsfactory is not installed")
        return
    gf.gpdk.PDK.activate()
    technology = load_technology("cornerstone_si220")
    sizes = [int(word) for word in sys.argv[1:]] or [16, 64]
    print(f"{'N':>3} {'MZIs':>5} {'ours s':>8} {'gdsfactory s':>13} {'times':>9}  target 50x")
    for ports in sizes:
        program = place_program(pruned(ports, 0.0), technology)
        mesh, place = first_mesh(program)

        def ours(mesh: Mesh = mesh, place: BlockPlacement = place) -> None:
            import gdstk

            draw_mesh(CellBook(drawn(technology)), gdstk.Cell("mesh"), mesh, place, "v")

        units = Units(gf, technology, drawn(technology), place.row_pitch_um)

        def theirs(units: Units = units, mesh: Mesh = mesh, place: BlockPlacement = place) -> None:
            units.mesh(mesh, place)

        mine, other = timed(ours, 5), timed(theirs, 3)
        print(f"{ports:3} {len(mesh):5} {mine:8.4f} {other:13.3f} {other / mine:8.0f}x")


if __name__ == "__main__":
    main()

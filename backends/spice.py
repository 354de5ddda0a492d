"""`spice`: heaters, buses and pads as a network of resistors, `heaters.sp`, with its drive.

Nodes are pads (`T0_N12`, as in phases.csv) and places on wires. A heater is `RH_<pad>` between
`<pad>_s` and `<pad>_g`, its signal wire `RW_<pad>`, its way to the bus `RS_<pad>`; a bus is a
chain `RB_<pad>_<k>` from its last heater to its pad, `RB_<pad>_0` being the wire behind the mesh.
Grounds are tied to node 0 by `VG_<pad>`, heaters driven with the currents of their phases by
`ID_<pad>`; `.op` gives the rise of every ground. Wires are sheets: no corners.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.physics.arrays import Real
from onnx2mzi.pipeline.backend import Backend, Emission, chosen_layers
from onnx2mzi.pipeline.base import option
from onnx2mzi.pipeline.electrical import (
    escape_lengths_um,
    escape_widths_um,
    heater_currents_ma,
)
from onnx2mzi.pipeline.heaters import Heaters, on_arms
from onnx2mzi.pipeline.wiring import PadPlan, Wirer, numbered_tiles, pad_name, placed_blocks
from onnx2mzi.tech import PadStyle, Technology
from onnx2mzi.tech.geometry import heated_um

SPICE_FILE = "heaters.sp"
# Two heaters of a bus at one height are at one node.
SAME_PLACE_UM = 1e-6


def spice_lines(
    program: Program, technology: Technology, layers: Container[str] | None = None
) -> Iterator[str]:
    """The netlist of a placed program, of `layers` only if given; raises UsageError without places.

    Resistances in ohm, currents in A.
    """
    if program.placement is None:
        raise UsageError("the program has no places", where=program.name, hint="run place first")
    yield f"* {program.name}: heaters, buses and pads in {technology.name}\n"
    wirer, placed = Wirer(technology), placed_blocks(program)
    for number, layer, grid, index, tile in numbered_tiles(program):
        if layers is not None and layer not in layers:
            continue
        places = placed[layer, grid, index]
        plan = wirer.plan(tile, places)
        current = heater_currents_ma(plan.slots, tile, technology, places)
        names = [pad_name(number, name) for name in plan.names]
        yield f"* T{number} is tile g{grid}.t{index} of layer {layer!r}\n"
        yield from _tile_lines(on_arms(plan.slots, tile), current, plan, technology, names)
    yield ".op\n.end\n"


def _tile_lines(
    heaters: Heaters, current_ma: Real, plan: PadPlan, technology: Technology, names: list[str]
) -> Iterator[str]:
    tracks, count = plan.tracks, len(current_ma)
    if count == 0:
        return
    sheet_ohm = technology.routing.sheet_milliohm / 1e3
    beyond = sheet_ohm * escape_lengths_um(plan, technology) / escape_widths_um(plan)
    signal_ohm, ground_ohm = stubs_ohm(heaters, plan, technology)
    inside = np.abs(tracks.to_um[:count] - heaters.y_um) / tracks.width_um[:count]
    if technology.pads.style is PadStyle.BUMP:
        inside = np.zeros(count)
    wire_ohm = signal_ohm + sheet_ohm * inside + beyond[:count]
    node = [""] * count
    buses: list[str] = []
    way = np.abs(tracks.to_um[tracks.bus] - heaters.y_um)
    by_bus = np.lexsort((way, tracks.bus))
    for mine in np.split(by_bus, np.flatnonzero(np.diff(tracks.bus[by_bus])) + 1):
        bus = int(tracks.bus[mine[0]])
        pad = names[int(plan.return_[mine[0]])]
        buses.append(f"VG_{pad} {pad} 0 0\n")
        at, last, ohm, k = 0.0, pad, float(beyond[bus]), 0
        for heater in mine.tolist():
            ohm += sheet_ohm * (float(way[heater]) - at) / float(tracks.width_um[bus])
            at = float(way[heater])
            if k == 0 or ohm * tracks.width_um[bus] > sheet_ohm * SAME_PLACE_UM:
                here = f"{pad}_b{k}"
                buses.append(f"RB_{pad}_{k} {here} {last} {ohm:.9g}\n")
                last, ohm, k = here, 0.0, k + 1
            node[heater] = last
    for k in range(count):
        pad = names[int(plan.signal[k])]
        yield f"ID_{pad} 0 {pad} {current_ma[k] / 1e3:.9g}\n"
        yield f"RW_{pad} {pad} {pad}_s {wire_ohm[k]:.9g}\n"
        yield f"RH_{pad} {pad}_s {pad}_g {technology.heater.ohm:.9g}\n"
        yield f"RS_{pad} {pad}_g {node[k]} {ground_ohm[k]:.9g}\n"
    yield from buses


def stubs_ohm(heaters: Heaters, plan: PadPlan, technology: Technology) -> tuple[Real, Real]:
    """From every heater's contacts to its signal wire and to its bus, shapes (H,)."""
    tracks, contact = plan.tracks, technology.heater.contact_length_um
    section, width = heated_um(technology), technology.routing.track_um
    count = len(heaters.bank)
    start, left = heaters.bank_x_um[heaters.bank], heaters.signal_left[heaters.bank]
    near, far = start + contact, start + section - contact
    sheet_ohm = technology.routing.sheet_milliohm / 1e3
    signal = np.abs(tracks.x_um[:count] - np.where(left, near, far))
    ground = np.abs(tracks.x_um[tracks.bus] - np.where(left, far, near))
    ground = np.maximum(ground - tracks.width_um[tracks.bus] / 2, 0.0)
    return np.asarray(sheet_ohm * signal / width), np.asarray(sheet_ohm * ground / width)


@dataclass(frozen=True, slots=True)
class Spice(Backend):
    """heaters.sp: heaters, wires, buses and pads as resistors, with the currents of the phases."""

    name: ClassVar[str] = "spice"
    most_mzis: ClassVar[int | None] = 1_000_000
    stage_in: ClassVar[Stage] = Stage.PLACED

    layers: tuple[str, ...] = option((), "layers to write; all if none is named")

    def chosen(self) -> tuple[str, ...]:
        return self.layers

    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        chosen = chosen_layers(emission.program, self.layers, self.name)
        with (directory / SPICE_FILE).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(spice_lines(emission.program, emission.technology, chosen))
        return (SPICE_FILE,)

"""What the wires of a placed chip carry with its phases: currents, and how far grounds rise.

A heater draws sqrt(P / R). The currents of a bus add up on the way to its pad, and their voltage
drop lifts the ground of its heaters: the rise counts as a share of the voltage that a heater has
for pi. Wires are sheets: resistance = sheet resistance * length / width, without corners.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from onnx2mzi.ir import Attenuators, BlockPlacement, Mesh, MeshTile, Program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.electric import heater_current_ma, heater_voltage_mv
from onnx2mzi.physics.shifter import Drive, drive_rad, power_mw
from onnx2mzi.pipeline.heaters import Heaters, Slots, on_arms
from onnx2mzi.pipeline.wiring import (
    PadPlan,
    Wirer,
    numbered_tiles,
    pad_name,
    placed_blocks,
)
from onnx2mzi.tech import PadStyle, Technology


@dataclass(frozen=True, slots=True)
class Electrics:
    """Pads and worst cases of a tile, a layer or a chip, and the pads of the worst buses.

    `wire_percent` is the largest current of a wire, of what its width carries; `heater_percent`
    of what the technology allows a heater; `ir_drop_percent` the largest rise of a ground.
    """

    signals: int = 0
    grounds: int = 0
    bus_ma: float = 0.0
    wire_percent: float = 0.0
    wire_pad: str = ""
    heater_percent: float = 0.0
    ir_drop_percent: float = 0.0
    ir_drop_pad: str = ""

    @property
    def pads(self) -> int:
        """All pads."""
        return self.signals + self.grounds

    def __add__(self, other: "Electrics") -> "Electrics":
        """Both together: pads add up, of the rest the worse."""
        wire = max(self, other, key=lambda e: e.wire_percent)
        drop = max(self, other, key=lambda e: e.ir_drop_percent)
        return Electrics(
            signals=self.signals + other.signals,
            grounds=self.grounds + other.grounds,
            bus_ma=max(self.bus_ma, other.bus_ma),
            wire_percent=wire.wire_percent,
            wire_pad=wire.wire_pad,
            heater_percent=max(self.heater_percent, other.heater_percent),
            ir_drop_percent=drop.ir_drop_percent,
            ir_drop_pad=drop.ir_drop_pad,
        )


def layer_electrics(program: Program, technology: Technology) -> dict[str, Electrics]:
    """The wires of every layer of a placed program, by name; nothing without places."""
    if program.placement is None:
        return {}
    found = {layer.name: Electrics() for layer in program.layers}
    for name, electrics in tile_electrics(program, technology):
        found[name] += electrics
    return found


def tile_electrics(program: Program, technology: Technology) -> Iterator[tuple[str, Electrics]]:
    """(layer, wires) of every tile of a placed program."""
    wirer, placed = Wirer(technology), placed_blocks(program)
    for number, layer, grid, index, tile in numbered_tiles(program):
        places = placed[layer, grid, index]
        plan = wirer.plan(tile, places)
        current = heater_currents_ma(plan.slots, tile, technology, places)
        yield layer, electrics_of(tile, plan, technology, number, current)


def electrics_of(
    tile: MeshTile, plan: PadPlan, technology: Technology, number: int, current: Real
) -> Electrics:
    """The wires of tile `number` of the chip; `current` (H,) in mA."""
    heaters = on_arms(plan.slots, tile)
    count = len(current)
    if count == 0:
        return Electrics()
    routing = technology.routing
    carried, rise_mv = bus_loads(heaters, current, plan, technology)
    narrow = np.minimum(plan.tracks.width_um, escape_widths_um(plan))
    share = 100 * np.concatenate([current, carried]) / (narrow * routing.max_ma_per_um)
    full = float(heater_voltage_mv(technology.p_pi_mw, ohm=technology.heater.ohm))
    names = plan.names
    worst, lifted = int(share.argmax()), int(rise_mv.argmax())
    pad_of = np.concatenate([plan.signal, np.zeros(len(carried), np.int64)])
    pad_of[plan.tracks.bus] = plan.return_
    return Electrics(
        signals=count,
        grounds=len(carried),
        bus_ma=float(carried.max()),
        wire_percent=float(share[worst]),
        wire_pad=pad_name(number, names[int(pad_of[worst])]),
        heater_percent=100 * float(current.max()) / technology.heater.max_ma,
        ir_drop_percent=100 * float(rise_mv[lifted]) / full,
        ir_drop_pad=pad_name(number, names[int(pad_of[count + lifted])]),
    )


def heater_currents_ma(
    slots: Slots,
    tile: MeshTile,
    technology: Technology,
    places: Mapping[str, BlockPlacement] | None = None,
) -> Real:
    """Current of every heater of a tile, shape (H,): with its phases, or as `places` drive it."""
    heat = []
    for name, block in (("v", tile.v), ("s", tile.sigma), ("u", tile.u)):
        driven = places[name].drive_rad if places is not None else np.zeros(0)
        heat.append(driven if driven.size else _heat_rad(block))
    # In the order of `tile_phases_rad`; each heater of a pair makes half of the phase.
    each = np.concatenate(heat)[slots.phase] / np.where(slots.pair, 2.0, 1.0)
    power = power_mw(each, p_pi_mw=technology.p_pi_mw)
    return heater_current_ma(power, ohm=technology.heater.ohm)


def _heat_rad(block: Mesh | Attenuators) -> Real:
    if isinstance(block, Attenuators):
        return drive_rad(block.theta_rad, block.state, block.drive)
    parts = [
        drive_rad(block.theta_rad, block.theta_state, block.drive),
        drive_rad(block.phi_rad, block.phi_state, block.drive),
        drive_rad(block.out_rad, block.out_state, Drive.UPPER_ARM),
    ]
    return np.concatenate(parts)


def bus_loads(
    heaters: Heaters, current_ma: Real, plan: PadPlan, technology: Technology
) -> tuple[Real, Real]:
    """(B,) currents of the buses, and by how many mV the ground of their last heater rises.

    With the rise at the innermost heater, the largest: sum of R(way that both share) * I.
    """
    tracks, count = plan.tracks, len(current_ma)
    bus, parts = tracks.bus - count, len(tracks.x_um) - count
    carried = np.bincount(bus, weights=current_ma, minlength=parts)
    distance = np.abs(tracks.to_um[tracks.bus] - heaters.y_um)
    moment = np.bincount(bus, weights=current_ma * distance, minlength=parts)
    width = tracks.width_um[count:]
    beyond = escape_lengths_um(plan, technology)[count:] / escape_widths_um(plan)[count:]
    # mA times milliohm is a microvolt.
    rise = technology.routing.sheet_milliohm * (moment / width + carried * beyond) / 1e3
    return np.asarray(carried, np.float64), np.asarray(rise)


def escape_lengths_um(plan: PadPlan, technology: Technology) -> Real:
    """Length of every wire between the mesh and the edge of its pad, shape (W,)."""
    tracks = plan.tracks
    lengths = np.zeros(len(tracks.x_um))
    if technology.pads.style is PadStyle.BUMP:
        lengths[len(plan.slots.bank) :] = technology.rules.metal_space_um
        return lengths
    for made, side in zip(plan.escapes, (tracks.north, tracks.south), strict=True):
        lengths[side] = made.length_um
    return lengths


def escape_widths_um(plan: PadPlan) -> Real:
    """Width of every wire between the mesh and its pad, shape (W,)."""
    widths = plan.tracks.width_um.copy()
    for made, side in zip(plan.escapes, (plan.tracks.north, plan.tracks.south), strict=False):
        widths[side] = made.width_um
    return widths


def violations(found: Electrics, technology: Technology) -> list[str]:
    """What the wires cannot carry, each with a remedy; nothing for a good chip."""
    routing = technology.routing
    wrong = []
    if found.wire_percent > 100:
        bus = "_G" in found.wire_pad
        raised = "bus_room_um and bus_power, or [pads] size_um" if bus else "track_um"
        wrong.append(
            f"the wire of pad {found.wire_pad} carries {found.wire_percent:.0f} % of what its "
            f"width allows ({routing.max_ma_per_um:g} mA/um): raise [routing] {raised}"
        )
    if found.heater_percent > 100:
        wrong.append(
            f"a heater carries {found.heater_percent:.0f} % of [heater] max_ma = "
            f"{technology.heater.max_ma:g} mA"
        )
    if found.ir_drop_percent > routing.max_ir_drop_percent:
        wrong.append(
            f"ground {found.ir_drop_pad} rises by {found.ir_drop_percent:.3g} % of a heater's "
            f"voltage for pi, {routing.max_ir_drop_percent:g} % are allowed: raise [routing] "
            "bus_power and bus_room_um, prune more, or use fewer --ports"
        )
    return wrong


def told(found: Electrics, technology: Technology) -> str:
    """The currents and the rise in one line."""
    allowed = technology.routing.max_ir_drop_percent
    return (
        f"buses carry up to {found.bus_ma:.3g} mA, wires {found.wire_percent:.0f} % of what they "
        f"may, grounds rise by up to {found.ir_drop_percent:.2g} % (allowed {allowed:g} %)"
    )

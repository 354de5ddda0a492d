"""Settings with which a chip's buses carry what its heaters draw: looked for by placing it again.

A bus lies over the couplers between two heaters; where many heaters of a column draw much it needs
more room than those leave, and pads that are as wide.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil

from onnx2mzi.ir import Program
from onnx2mzi.pipeline.electrical import Electrics, layer_electrics, violations
from onnx2mzi.tech import PadStyle, Technology
from onnx2mzi.tech.geometry import bus_room_um

# Buses get the room that their worst excess asks for, or so many times as much.
MORE = (1.1, 1.5)
# They are to carry this share of what they may, and are made for this power of each heater.
LOAD, POWER = 0.95, 0.5
STEP_UM = 5.0
# Chips of more heaters take too long to be placed again and again.
MOST_HEATERS = 5_000


def wider(technology: Technology, found: Electrics) -> Iterator[Technology]:
    """The technology with more and more room for buses whose worst cases are `found`."""
    routing, pads = technology.routing, technology.pads
    excess = max(
        found.wire_percent / (100 * LOAD), found.ir_drop_percent / routing.max_ir_drop_percent
    )
    size = pads.size_um
    if pads.fixed is None:
        most = pads.pitch_um - technology.rules.metal_space_um
        size = max(size, min(most, _up(found.bus_ma / (LOAD * routing.max_ma_per_um))))
    for more in MORE:
        room = _up(bus_room_um(technology) * excess * more)
        power = max(routing.bus_power, POWER)
        yield replace(
            technology,
            routing=replace(routing, bus_room_um=room, bus_power=power),
            pads=replace(pads, size_um=size),
        )


def cure(
    program: Program,
    technology: Technology,
    found: Electrics,
    placed: Callable[[Program, Technology], Program],
) -> str:
    """In words, the first of `wider` settings with which the chip `placed` so violates nothing.

    Empty where none does, or where it is not the buses that are too narrow.
    """
    thick = found.heater_percent <= 100 and found.signals <= MOST_HEATERS
    if not thick or technology.pads.style is PadStyle.BUMP:
        return ""
    for changed in wider(technology, found):
        again = placed(program, changed)
        wires = sum(layer_electrics(again, changed).values(), Electrics())
        if not violations(wires, changed):
            assert again.placement is not None
            width, height = again.placement.width_um / 1000, again.placement.height_um / 1000
            return (
                f"{_settings(technology, changed)} cures it, on {width:,.2f} x {height:,.2f} mm "
                "(see onnx2mzi tech show)"
            )
    return ""


def _settings(before: Technology, after: Technology) -> str:
    routing, pads = after.routing, after.pads
    told = [f"[routing] bus_room_um = {routing.bus_room_um:g}"]
    if routing.bus_power != before.routing.bus_power:
        told.append(f"bus_power = {routing.bus_power:g}")
    if pads.size_um != before.pads.size_um:
        told.append(f"[pads] size_um = {pads.size_um:g}")
    return ", ".join(told)


def _up(length_um: float) -> float:
    return ceil(length_um / STEP_UM) * STEP_UM

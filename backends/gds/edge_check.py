"""Edge couplers and alignment loops of an extracted layout against those of the program."""

from collections.abc import Iterator
from math import hypot

from onnx2mzi.backends.gds.extraction import EdgeGuide
from onnx2mzi.pipeline.edges import EdgePlan, loop_name
from onnx2mzi.tech import Technology

# A tip 20 nm too wide makes a taper of 100 um larger by 1 um2.
AREA_UM2 = 0.05
SIZE_UM = 0.005
# Sides of slanted guides are rounded to the grid; rows are balanced to this.
LENGTH_UM = 0.02


def edge_differences(
    found: tuple[EdgeGuide, ...], plan: EdgePlan | None, technology: Technology
) -> Iterator[str]:
    """Every difference, in words: couplers and loops that are cut, missing, of another shape, at
    another port or too many."""
    wanted = _wanted(plan, technology) if plan is not None else {}
    for guide in found:
        name = " and ".join(guide.tips) or "without a name"
        if guide.tips not in wanted:
            yield f"the edge coupler {name} is cut, or not in the program"
            continue
        port, area_um2, slanted_um, around_um, size_um = wanted.pop(guide.tips)
        # A guide that meets no device has the names of both of its ends.
        met = [label.split(",") for label in guide.nets]
        if len(met) != len(port) or any(
            one not in names for one, names in zip(port, met, strict=True)
        ):
            to = " and ".join(guide.nets) or "no port"
            yield f"the edge coupler {name} leads to {to}"
        off_um = max(abs(a - b) for a, b in zip(guide.size_um, size_um, strict=True))
        # Both sides of what is not along x move by up to a step.
        allowed_um2 = AREA_UM2 + 2 * technology.grid_um * slanted_um
        if off_um > SIZE_UM or abs(guide.area_um2 - area_um2) > allowed_um2:
            yield f"the edge coupler {name} is not what the technology draws"
        elif around_um and abs(guide.around_um - around_um) > 2 * LENGTH_UM:
            off_um = (guide.around_um - around_um) / 2
            yield f"the edge coupler {name} is {off_um * 1e3:+.1f} nm longer than it must be"
    for tips in wanted:
        yield f"no edge coupler is called {' and '.join(tips)}"


Tips = tuple[str, ...]


def _wanted(
    plan: EdgePlan, technology: Technology
) -> dict[Tips, tuple[Tips, float, float, float, tuple[float, float]]]:
    """By the names of the tips: the port, the area in um2, the length of what is slanted and
    that around the guide in um (0 for a loop), and the size of its box in um."""
    width_um, edge = technology.guide.width_um, technology.edge
    wanted: dict[Tips, tuple[Tips, float, float, float, tuple[float, float]]] = {}
    slant = hypot(edge.taper_length_um, (width_um - edge.tip_width_um) / 2) - edge.taper_length_um
    for port in plan.ports:
        high, slanted = width_um, 0.0
        if port.guide is not None:
            bend, detour = port.guide.bend, port.guide.detour
            slanted = bend.path_um + detour.path_um
            away = detour.bend.rise_um if detour.count else 0.0
            # Detours go up on the left, and down on the right.
            climb = port.guide.climb_um * (-1 if port.side else 1)
            high += max(0.0, climb, away) - min(0.0, climb)
        around_um = 2 * (plan.length_um(port) + slant) + width_um + edge.tip_width_um
        size_um = plan.run_um[port.side], high
        area_um2 = plan.coupler_um2(port, technology)
        wanted[port.name,] = (port.name,), area_um2, slanted, around_um, size_um
    upper, lower = plan.loop_y_um
    # The box of a loop begins and ends at the sides of its guide.
    size_um = plan.reach_um + width_um / 2, upper - lower + width_um
    for side in (0, 1):
        ends = loop_name(side, 0), loop_name(side, 1)
        wanted[ends] = (), plan.loop_um2(technology), 0.0, 0.0, size_um
    return wanted

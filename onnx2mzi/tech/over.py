"""Wires over the cells: with two metals, a column's signals run above its heaters.

The first metal contacts the heaters and runs along the rows, the second one crosses the mesh
above all else; a via joins them. Beside every filament a lead of first metal runs from the
signal's contact to its track::

      |   |   |           tracks of second metal, the first above the contact
    --+---x   |           leads, each to a via
    [c]======|=====[c]    a heater between its contacts

Lengths in um.
"""

from math import floor

from onnx2mzi.tech.technology import PadStyle, Technology


def over_cells(technology: Technology) -> bool:
    """Whether signals run above the heaters. Bumps lie beside them and need no second metal."""
    return technology.routing.metals == 2 and technology.pads.style is PadStyle.EDGE


def lead_y_um(technology: Technology) -> float:
    """Height of a lead's middle above that of its heater: it meets the contact's upper edge by
    the least width of metal."""
    half = technology.heater.contact_width_um / 2
    lead = half - technology.rules.metal_width_um + technology.routing.track_um / 2
    return round(lead, 6)


def tracks_over(technology: Technology, section_um: float) -> int:
    """Tracks above a section of heaters: leads keep the space from the ground's contacts.

    None above a foundry's heaters: where a lead could run is not known.
    """
    if not over_cells(technology) or technology.heater.fixed is not None:
        return 0
    track, space = technology.routing.track_um, technology.rules.metal_space_um
    room = section_um - technology.heater.contact_length_um
    return max(0, floor(room / (track + space) + 1e-9))


def lift_um(technology: Technology) -> float:
    """Height beyond the mesh in which wires change from the second metal to the first: a space
    from the highest lead to a via."""
    if not over_cells(technology):
        return 0.0
    return technology.routing.track_um + technology.rules.metal_space_um


def vias_in_row(technology: Technology) -> int:
    """Vias side by side within the width of a track."""
    rules, track = technology.rules, technology.routing.track_um
    if rules.via_size_um is None:
        return 0
    inside = track - 2 * rules.via_enclosure_um
    return max(0, floor((inside + rules.via_space_um) / (rules.via_size_um + rules.via_space_um)))

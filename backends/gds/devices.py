"""What a device is made of: drawn as the technology says, or the foundry's own cell.

Pins are drawn by `cells.CellBook`, around either.
"""

import gdstk
import numpy as np

from onnx2mzi.backends.gds.curves import ribbon, straight
from onnx2mzi.backends.gds.fixed import pad_fits, placed
from onnx2mzi.backends.gds.shapes import box, label, polygon
from onnx2mzi.tech import CouplerKind, Technology
from onnx2mzi.tech.fixed import CellMask
from onnx2mzi.tech.geometry import heated_um

# Openings and vias keep this part of a pad's side as rim.
PAD_RIM = 0.05

Foreign = dict[str, gdstk.Cell]


def draw_coupler(cell: gdstk.Cell, technology: Technology, foreign: Foreign) -> None:
    """A coupler from x = 0 to its length, and its mark."""
    coupler, core, half = technology.coupler, technology.layers.core, technology.guide.width_um / 2
    length, taper, gap = coupler.length_um, coupler.taper_length_um, coupler.port_gap_um / 2
    reach = coupler.body_width_um / 2
    if coupler.fixed is not None:
        cell.add(placed(foreign, coupler.fixed, length / 2))
    elif coupler.kind is CouplerKind.DIRECTIONAL:
        for y in (gap, -gap):
            box(cell, 0, y - half, length, y + half, core)
        reach = gap + half
    else:
        wide = coupler.taper_width_um / 2
        box(cell, taper, -reach, length - taper, reach, core)
        for y in (gap, -gap):
            for thin_x, wide_x in ((0.0, taper), (length, length - taper)):
                points = [(thin_x, y - half), (wide_x, y - wide)]
                points += [(wide_x, y + wide), (thin_x, y + half)]
                cell.add(polygon(np.array(points), core))
    box(cell, 0, -reach, length, reach, technology.markers.coupler)


def draw_pad(
    cell: gdstk.Cell, technology: Technology, foreign: Foreign, width_um: float, height_um: float
) -> None:
    """A pad with its lower left corner at the origin; a fixed one lies in the middle.

    Raises FitError where a fixed one is larger.
    """
    layers, fixed = technology.layers, technology.pads.fixed
    outer = (0.0, 0.0, width_um, height_um)
    if fixed is not None:
        pad_fits(fixed, width_um, height_um)
        cell.add(placed(foreign, fixed, width_um / 2, height_um / 2))
        box(cell, *outer, technology.markers.pin_metal)
        return
    rim = round(PAD_RIM * technology.pads.size_um, 2)
    inner = (rim, rim, width_um - rim, height_um - rim)
    box(cell, *outer, layers.metal)
    box(cell, *outer, technology.markers.pin_metal)
    if layers.metal2 is not None and layers.via is not None:
        box(cell, *outer, layers.metal2)
        box(cell, *inner, layers.via)
    if layers.pad_open is not None:
        box(cell, *inner, layers.pad_open)


def draw_heater(cell: gdstk.Cell, technology: Technology, foreign: Foreign) -> None:
    """A heated guide from x = 0, contacts at both ends, its mark and electrical pins."""
    heater, layers, markers = technology.heater, technology.layers, technology.markers
    length, fixed = heated_um(technology), heater.fixed
    contact, half = heater.contact_length_um, heater.contact_width_um / 2
    # What the foundry puts into a box has a guide.
    if fixed is None or (not fixed.guided and fixed.mask is not CellMask.BOX):
        cell.add(polygon(ribbon(straight(length), technology.guide.width_um), layers.core))
    if fixed is not None:
        cell.add(placed(foreign, fixed, length / 2))
    else:
        thin = heater.width_um / 2
        box(cell, contact, -thin, length - contact, thin, layers.heater)
    rim = min(heater.contact_length_um, heater.contact_width_um) / 5
    for name, start in (("p", 0.0), ("n", length - contact)):
        end = start + contact
        if fixed is None:
            box(cell, start, -half, end, half, layers.heater)
            box(cell, start, -half, end, half, layers.metal)
            if layers.contact is not None:
                box(cell, start + rim, rim - half, end - rim, half - rim, layers.contact)
        box(cell, start, -half, end, half, markers.pin_metal)
        cell.add(label(name, start + contact / 2, 0.0, markers.pin_metal))
    high = max(half, fixed.reach_um) if fixed is not None else half
    box(cell, 0, -high, length, high, markers.heater)


def draw_crossing(cell: gdstk.Cell, technology: Technology, foreign: Foreign) -> None:
    """A crossing with its middle at the origin, its guides at 45 degrees to x."""
    if technology.crossing.fixed is not None:
        cell.add(placed(foreign, technology.crossing.fixed, 0.0, turn_rad=-np.pi / 4))
        return
    half, waist = technology.guide.width_um / 2, technology.crossing.waist_um / 2
    end = technology.crossing.length_um / 2
    along = np.array([-end, -end / 2, 0.0, end / 2, end])
    wide = np.array([half, waist - (waist - half) / 5, waist, waist - (waist - half) / 5, half])
    outline = np.concatenate([np.stack([along, wide], -1), np.stack([along, -wide], -1)[::-1]])
    turn = np.sqrt(0.5)
    for sign in (1, -1):
        rotated = outline @ np.array([[turn, sign * turn], [-sign * turn, turn]])
        cell.add(polygon(rotated, technology.layers.core))

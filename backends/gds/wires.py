"""Wires and pads of a tile: metal from every heater to its pad, and the pads' names."""

import gdstk
import numpy as np

from onnx2mzi.backends.gds.cells import CellBook, place, repeated
from onnx2mzi.physics.arrays import Real
from onnx2mzi.pipeline.wiring import Wiring, pad_name
from onnx2mzi.tech import Layer
from onnx2mzi.tech.over import vias_in_row

# Boxes are of one size if they differ by less; lengths are on a grid far coarser.
_SIZE_STEP_UM = 1e-4
_SIZE_STEPS = 2**31


def draw_wires(book: CellBook, cell: gdstk.Cell, wiring: Wiring) -> None:
    """Draw all wires and pads of a tile, its port 0 at y = 0."""
    layers = book.chip.technology.layers
    _boxes(cell, wiring.boxes_um, layers.metal)
    if len(wiring.vias_um) and layers.metal2 is not None:
        _boxes(cell, wiring.over_um, layers.metal2)
        place(cell, via(book), *wiring.vias_um.T)
    corner_um = wiring.pads_um[:, :2]
    size_um = np.round(wiring.pads_um[:, 2:] - corner_um, 6)
    for width, height in np.unique(size_um, axis=0).tolist():
        here = (size_um == (width, height)).all(1)
        place(cell, book.pad(width, height), *corner_um[here].T)


def via(book: CellBook) -> gdstk.Cell:
    """What joins a stub and a track that cross at the origin: an array of vias, and both metals
    around it."""
    cell, new = book.distinct("VIA", b"via")
    technology = book.chip.technology
    layers, rules = technology.layers, technology.rules
    if new and layers.metal2 is not None and layers.via is not None and rules.via_size_um:
        half = technology.routing.track_um / 2
        for metal in (layers.metal, layers.metal2):
            cell.add(_box(-half, -half, half, half, metal))
        count, size = vias_in_row(technology), rules.via_size_um
        step = size + rules.via_space_um
        first = round((step * (1 - count) - size) / 2 / technology.grid_um) * technology.grid_um
        one = _box(first, first, first + size, first + size, layers.via)
        one.repetition = gdstk.Repetition(count, count, spacing=(step, step))
        cell.add(one)
    return cell


def _box(x0: float, y0: float, x1: float, y1: float, layer: Layer) -> gdstk.Polygon:
    return gdstk.rectangle((x0, y0), (x1, y1), layer=layer[0], datatype=layer[1])


def label_pads(book: CellBook, cell: gdstk.Cell, wiring: Wiring, number: int) -> None:
    """The names of the pads of tile `number`."""
    layer, texttype = book.chip.technology.markers.pin_metal
    pads = wiring.pads_um
    centres = ((pads[:, :2] + pads[:, 2:]) / 2).tolist()
    cell.add(
        *[
            gdstk.Label(pad_name(number, name), (x, y), layer=layer, texttype=texttype)
            for name, (x, y) in zip(wiring.names, centres, strict=True)
        ]
    )


def _boxes(cell: gdstk.Cell, boxes_um: Real, layer: Layer) -> None:
    """Boxes of one size are held as one polygon and written one by one."""
    wide, high = np.rint((boxes_um[:, 2:] - boxes_um[:, :2]) / _SIZE_STEP_UM).astype(np.int64).T
    key = wide * _SIZE_STEPS + high
    order = np.argsort(key, kind="stable")
    ends = np.flatnonzero(np.diff(key[order])) + 1
    for same in np.split(boxes_um[order], ends) if len(boxes_um) else ():
        x0, y0, x1, y1 = same[0].tolist()
        box = _box(x0, y0, x1, y1, layer)
        if len(same) > 1:
            box.repetition = repeated(same[:, :2])
        cell.add(box)

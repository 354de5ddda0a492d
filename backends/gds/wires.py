"""Wires and pads of a tile: metal from every heater to its pad, and the pads' names."""

import gdstk
import numpy as np

from onnx2mzi.backends.gds.cells import CellBook, place, repeated
from onnx2mzi.physics.arrays import Real
from onnx2mzi.pipeline.wiring import Wiring, pad_name
from onnx2mzi.tech import Layer

# Boxes are of one size if they differ by less; lengths are on a grid far coarser.
_SIZE_STEP_UM = 1e-4
_SIZE_STEPS = 2**31


def draw_wires(book: CellBook, cell: gdstk.Cell, wiring: Wiring) -> None:
    """Draw all wires and pads of a tile, its port 0 at y = 0."""
    _boxes(cell, wiring.boxes_um, book.chip.technology.layers.metal)
    corner_um = wiring.pads_um[:, :2]
    size_um = np.round(wiring.pads_um[:, 2:] - corner_um, 6)
    for width, height in np.unique(size_um, axis=0).tolist():
        here = (size_um == (width, height)).all(1)
        place(cell, book.pad(width, height), *corner_um[here].T)


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
        box = gdstk.rectangle((x0, y0), (x1, y1), layer=layer[0], datatype=layer[1])
        if len(same) > 1:
            box.repetition = repeated(same[:, :2])
        cell.add(box)

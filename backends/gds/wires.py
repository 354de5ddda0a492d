"""Wires and pads of a tile: metal from every heater to its pad, and the pads' names."""

import gdstk
import numpy as np

from onnx2mzi.ir import BlockPlacement, MeshTile
from onnx2mzi.physics.arrays import Real
from onnx2mzi.pipeline.wiring import Wirer, pad_name
from onnx2mzi.tech import Layer

# Openings and vias keep this part of a pad's side as rim.
PAD_RIM = 0.05


def draw_wires(
    cell: gdstk.Cell,
    tile: MeshTile,
    places: dict[str, BlockPlacement],
    wirer: Wirer,
    number: int,
) -> None:
    """Draw all wires and pads of tile `number` into `cell`, with a label on every pad."""
    wiring, technology = wirer.wiring(tile, places), wirer.technology
    lift = np.array([0.0, places["v"].y_um, 0.0, places["v"].y_um])
    pads = wiring.pads_um + lift
    layers = technology.layers
    _boxes(cell, wiring.boxes_um + lift, layers.metal)
    _boxes(cell, pads, layers.metal)
    _boxes(cell, pads, technology.markers.pin_metal)
    rim = round(PAD_RIM * technology.pads.size_um, 2)
    inner = pads + np.array([rim, rim, -rim, -rim])
    if layers.metal2 is not None and layers.via is not None:
        _boxes(cell, pads, layers.metal2)
        _boxes(cell, inner, layers.via)
    if layers.pad_open is not None:
        _boxes(cell, inner, layers.pad_open)
    layer, texttype = technology.markers.pin_metal
    centres = ((pads[:, :2] + pads[:, 2:]) / 2).tolist()
    names = [pad_name(number, name) for name in wiring.names]
    cell.add(
        *[
            gdstk.Label(name, (x, y), layer=layer, texttype=texttype)
            for name, (x, y) in zip(names, centres, strict=True)
        ]
    )


def _boxes(cell: gdstk.Cell, boxes_um: Real, layer: Layer) -> None:
    number, datatype = layer
    cell.add(
        *[
            gdstk.rectangle((x0, y0), (x1, y1), layer=number, datatype=datatype)
            for x0, y0, x1, y1 in boxes_um.tolist()
        ]
    )

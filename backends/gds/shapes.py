"""Boxes, polygons and labels on a layer."""

import gdstk

from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech import Layer


def box(cell: gdstk.Cell, x0: float, y0: float, x1: float, y1: float, layer: Layer) -> None:
    """Draw a box."""
    cell.add(gdstk.rectangle((x0, y0), (x1, y1), layer=layer[0], datatype=layer[1]))


def polygon(points: Real, layer: Layer) -> gdstk.Polygon:
    """A polygon of corners, shape (P, 2)."""
    # gdstk takes arrays, whatever its type hints say.
    return gdstk.Polygon(points, layer=layer[0], datatype=layer[1])  # type: ignore[arg-type]


def label(text: str, x: float, y: float, layer: Layer) -> gdstk.Label:
    """A text at a point."""
    return gdstk.Label(text, (x, y), layer=layer[0], texttype=layer[1])

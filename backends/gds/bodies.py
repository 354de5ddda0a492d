"""What the technology draws under the mark of a device, to compare a layout with."""

from dataclasses import dataclass, field
from enum import StrEnum
from math import sqrt
from typing import Any

import gdstk
import numpy as np

from onnx2mzi.backends.gds.cells import CellBook
from onnx2mzi.backends.gds.fixed import without_square
from onnx2mzi.backends.gds.guides import drawn
from onnx2mzi.backends.gds.klayout import klayout_module
from onnx2mzi.tech import Technology

# Rounding to the grid moves an edge by up to half of this many steps.
ROUNDED_STEPS = 2


class Kind(StrEnum):
    """Devices that can be found in a layout."""

    COUPLER = "coupler"
    HEATER = "heater"
    CROSSING = "crossing"


@dataclass(slots=True)
class Bodies:
    """Compares the guides under marks with the technology's; equal ones are compared once."""

    technology: Technology
    dbu: float
    wanted: dict[Kind, Any] = field(default_factory=dict)
    known: dict[tuple[Kind, tuple[int, ...]], bool] = field(default_factory=dict)

    def sound(self, kind: Kind, mark: Any, guides: Any) -> bool:
        """Whether `guides` (a region, in the layout's units) are those that belong under `mark`.

        Edges may be off by what rounding to the grid does.
        """
        corner = mark.bbox().p1
        here = guides.merged().moved(-corner.x, -corner.y)
        key = (kind, tuple(sorted(polygon.hash() for polygon in here.each())))
        if key not in self.known:
            if kind not in self.wanted:
                self.wanted[kind] = self._wanted(kind)
            other = (here ^ self.wanted[kind]).sized(-ROUNDED_STEPS)
            self.known[key] = bool(other.is_empty())
        return self.known[key]

    def _wanted(self, kind: Kind) -> Any:
        """The guides of a device, the lower left corner of its mark at the origin."""
        db = klayout_module("db")
        technology = self.technology
        book = CellBook(drawn(technology))
        fixed = technology.fixed_cells.get(kind)
        if fixed is not None and not fixed.guided:
            x0, y0, x1, y1 = fixed.box_um
            layer, datatype = technology.layers.core
            box = gdstk.rectangle((x0, y0), (x1, y1), layer=layer, datatype=datatype)
            book.foreign[fixed.cell].add(box)
        if kind is Kind.CROSSING:
            cell = gdstk.Cell("body")
            cell.add(gdstk.Reference(book.crossing()))
            reach = round(technology.crossing.length_um / 2, 9)
            # The guides go on from the crossing's ends to the corners of the mark.
            half, end = technology.guide.width_um / 2 * sqrt(0.5), 2 * reach
            layer, datatype = technology.layers.core
            for sign in (1, -1):
                along, across = np.array([(-end, -end), (end, end)]), np.array([-half, half])
                strip = np.concatenate([along + across, (along - across)[::-1]]) * (1, sign)
                pieces = [strip]
                if technology.crossing.fixed is not None:
                    pieces = without_square(strip, (0.0, 0.0), technology.crossing.length_um)
                for piece in pieces:
                    cell.add(gdstk.Polygon(piece.tolist(), layer=layer, datatype=datatype))
            frame = ((-reach, -reach), (reach, reach))
        else:
            cell = book.coupler() if kind is Kind.COUPLER else book.heater()
            layer, datatype = getattr(technology.markers, kind)
            (mark,) = cell.get_polygons(layer=layer, datatype=datatype)
            frame = mark.bounding_box()
        layer, datatype = technology.layers.core
        (left, low), (right, high) = frame
        made = db.Region()
        for polygon in cell.get_polygons(layer=layer, datatype=datatype):
            points = [db.DPoint(x - left, y - low) for x, y in np.asarray(polygon.points).tolist()]
            made.insert(db.DPolygon(points).to_itype(self.dbu))
        return made.merged() & db.Region(db.DBox(0, 0, right - left, high - low).to_itype(self.dbu))

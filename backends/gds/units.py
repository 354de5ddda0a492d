"""A layer as its cells see it: a proof, in a fraction of the time, that a rule is kept.

A mesh is a few cells, each placed thousands of times; all its guides together are one polygon.
A rule that holds within every cell and wherever two placed cells come near each other holds
everywhere: two edges that are too close belong to one cell, or to two whose boxes are as close.
What is found is not told from here: neighbours may heal it, so the whole layer is checked then.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from onnx2mzi.backends.gds.klayout import klayout_module
from onnx2mzi.tech import Layer

# Cells up to this size are units; larger ones are taken apart, if they hold others.
UNIT_UM = 3000.0
# Cut edges lie so far beyond a window.
MARGIN_UM = 2.0

Check = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Units:
    """A layer of a layout as units, and the windows where units come near each other.

    `cells` maps a cell to where it is placed; `loose` are shapes of larger cells; `windows` is a
    region, and `near` what of the layer lies there and around. What lies within a box of the
    layer `fixed` is not looked at.
    """

    layout: Any
    layer: int
    cells: dict[int, list[Any]]
    loose: Any
    windows: Any
    near: Any
    fixed: int | None

    def keep(self, check: Check) -> bool:
        """Whether a check of merged regions, which gives edge pairs, finds nothing anywhere."""
        top = self.layout.top_cell()
        if not outside(top, check(self.loose.merged()), self.fixed).is_empty():
            return False
        for cell in self.cells:
            found = check(self._shapes(cell))
            if not outside(self.layout.cell(cell), found, self.fixed).is_empty():
                return False
        # What was cut at a window's rim is none of the layer's.
        found = outside(top, check(self.near), self.fixed)
        return bool(found.extents(1).interacting(self.windows).is_empty())

    def _shapes(self, cell: int) -> Any:
        db = klayout_module("db")
        shapes = self.layout.cell(cell).begin_shapes_rec(self.layer)
        return db.Region(shapes).merged()


def outside(cell: Any, found: Any, fixed: int | None) -> Any:
    """What of edge pairs or of a region is not within a box that `cell` has on layer `fixed`."""
    if fixed is None or found.is_empty():
        return found
    db = klayout_module("db")
    shapes = found.polygons(1) if isinstance(found, db.EdgePairs) else found
    shapes.merged_semantics = False
    return shapes.not_inside(db.Region(cell.begin_shapes_rec(fixed)).merged())


def units(
    layout: Any, layer: Layer, reach_um: float, others: Any, fixed: int | None = None
) -> Units:
    """The units of a layer, for rules that reach as far as `reach_um`.

    `others` is a region in the neighbourhood of which `near` is complete as well; `fixed` a
    layer of the layout with boxes in which nothing is looked at.
    """
    db = klayout_module("db")
    index, top = layout.layer(*layer), layout.top_cell()
    cells: dict[int, list[Any]] = {}
    loose, boxes = db.Region(), db.Region()
    reach = round(reach_um / layout.dbu) + 1
    for cell, shape, place in _parts(db, layout, top, index, db.ICplxTrans()):
        if shape is not None:
            polygon = shape.polygon.transformed(place)
            loose.insert(polygon)
            boxes.insert(polygon.bbox().enlarged(reach, reach))
            continue
        cells.setdefault(cell.cell_index(), []).append(place)
        boxes.insert(cell.bbox(index).transformed(place).enlarged(reach, reach))
    # Covered at least twice.
    windows = boxes.merged(False, 2)
    wide = (windows + others).sized(round(MARGIN_UM / layout.dbu)).merged()
    raw = db.Region(top.begin_shapes_rec(index))
    raw.merged_semantics = False
    return Units(layout, index, cells, loose, windows, (raw & wide).merged(), fixed)


def uncovered(layout: Any, pins: Layer, core: Layer, shrink: int) -> Any:
    """What of the pins, made `shrink` lower, is not covered by the core of their own unit.

    Pins of larger cells are all in it.
    """
    db = klayout_module("db")
    index, guides = layout.layer(*pins), layout.layer(*core)
    left = db.Region()
    known: dict[int, Any] = {}
    for cell, shape, place in _parts(db, layout, layout.top_cell(), index, db.ICplxTrans()):
        if shape is not None:
            if not shape.is_text():
                one = db.Region(shape.polygon.transformed(place))
                left += one.sized(0, -shrink, 2)
            continue
        if cell.cell_index() not in known:
            own = db.Region(cell.begin_shapes_rec(index)).sized(0, -shrink, 2)
            known[cell.cell_index()] = own - db.Region(cell.begin_shapes_rec(guides))
        left += known[cell.cell_index()].transformed(place)
    return left


def within_chip(layout: Any, core: Layer, uncovered: Any) -> Any:
    """The uncovered parts of pins, without those behind a guide that ends where a tile does.

    Tiles are the top cell's. Where other guides come near, a guide should go on.
    """
    db = klayout_module("db")
    index, top = layout.layer(*core), layout.top_cell()
    margin = round(MARGIN_UM / layout.dbu)
    tiles = [instance.bbox(index) for instance in top.each_inst()]
    left = db.Region()
    for polygon in uncovered.each():
        part = db.Region(polygon)
        beside = [box for box in tiles if not box.empty() and box.touches(polygon.bbox())]
        around = part.sized(margin)
        for box in beside:
            around -= db.Region(box)
        there = db.Region(top.begin_shapes_rec_touching(index, around.bbox()))
        if part.inside(around).is_empty() or not (there & around).is_empty():
            left += part
    return left


def _parts(db: Any, layout: Any, cell: Any, layer: int, place: Any) -> Iterator[tuple[Any, ...]]:
    """(unit cell, None, where) and (cell, loose shape, where), from a cell downwards."""
    for shape in cell.shapes(layer).each(db.Shapes.SPolygons | db.Shapes.SBoxes | db.Shapes.SPaths):
        yield cell, shape, place
    most = round(UNIT_UM / layout.dbu)
    for instance in cell.each_inst():
        inner = instance.cell
        box = inner.bbox(layer)
        if box.empty():
            continue
        unit = inner.is_leaf() or (box.width() <= most and box.height() <= most)
        for moved in _places(db, instance):
            if unit:
                yield inner, None, place * moved
            else:
                yield from _parts(db, layout, inner, layer, place * moved)


def _places(db: Any, instance: Any) -> Iterator[Any]:
    """Where an instance lies, every one of an array."""
    if not instance.is_regular_array():
        yield instance.cplx_trans
        return
    for i in range(instance.na):
        for j in range(instance.nb):
            yield db.ICplxTrans(instance.a * i + instance.b * j) * instance.cplx_trans

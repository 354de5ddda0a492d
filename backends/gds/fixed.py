"""Fixed cells of the foundry in a layout: read once, placed by reference, stripped for the mask.

The foundry's cell keeps its name and is drawn nowhere; a cell of ours around it has the marks
and pins, so that checks see the same device whatever is inside.
"""

from collections.abc import Iterable

import gdstk
import numpy as np

from onnx2mzi.errors import FitError, UsageError
from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech import Layer, Technology
from onnx2mzi.tech.fixed import CellMask, FixedCell
from onnx2mzi.tech.fixed_file import whole


def foreign_cells(technology: Technology) -> dict[str, gdstk.Cell]:
    """All fixed cells and what is below them, by name, without shapes on the layers that only
    marks and pins of ours may have.

    Raises UsageError where two cells that differ have one name.
    """
    found: dict[str, gdstk.Cell] = {}
    marks = technology.markers
    ours = {marks.coupler, marks.heater, marks.crossing, marks.pin, marks.pin_metal}
    if technology.edge.drawn:
        ours.add(technology.edge.marker)
    read: set[str] = set()
    for section, fixed in technology.fixed_cells.items():
        if fixed.data in read:
            continue
        read.add(fixed.data)
        cells = whole(fixed.data)
        for cell in cells.values():
            cell.filter(ours, True, polygons=True, paths=True, labels=True)
        for name in sorted(cells.keys() & found.keys()):
            if _content(cells[name]) == _content(found[name]):
                continue
            raise UsageError(
                f"the fixed cell of [{section}] has a cell '{name}', and so has another",
                where=f"technology {technology.name}",
                hint="rename one of them in its GDS file",
            )
        for cell in cells.values():
            for one in cell.references:
                one.cell = found.get(one.cell_name, one.cell)
        found = cells | found
    return found


def _content(cell: gdstk.Cell) -> list[str]:
    """What is in a cell, in words; cells below it by their names."""
    shapes = [
        f"{polygon.layer} {polygon.datatype} {np.round(polygon.points, 6).tolist()}"
        for polygon in cell.get_polygons(depth=0)
    ]
    texts = [f"{label.text} {label.origin} {label.layer}" for label in cell.labels]
    placed_there = [
        f"{one.cell_name} {one.origin} {one.rotation} {one.magnification} {one.x_reflection} "
        f"{one.repetition.get_offsets().tolist() if one.repetition.size else ''}"
        for one in cell.references
    ]
    return sorted(shapes + texts + placed_there)


def placed(
    foreign: dict[str, gdstk.Cell],
    fixed: FixedCell,
    x_um: float,
    y_um: float = 0.0,
    *,
    turn_rad: float = 0.0,
) -> gdstk.Reference:
    """The cell with the middle of its ports at a point, turned about it."""
    x, y = fixed.middle_um
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    origin = (x_um - (x * cos - y * sin), y_um - (x * sin + y * cos))
    return gdstk.Reference(foreign[fixed.cell], origin, rotation=turn_rad)


def pad_fits(fixed: FixedCell, width_um: float, height_um: float) -> None:
    """Raises FitError for a pad that is smaller than the cell that stands for it."""
    size = round(fixed.box_um[2] - fixed.box_um[0], 6)
    if min(width_um, height_um) < size - 1e-6:
        raise FitError(
            f"the pad cell '{fixed.cell}' is {size:g} um wide, and there are "
            f"{min(width_um, height_um):g} um for it",
            where="[pads]",
            hint="a larger [heater] min_pitch_um, a smaller cell, or edge pads",
        )


def without_square(outline: Real, centre: tuple[float, float], side_um: float) -> list[Real]:
    """What is left of a guide's outline beside a square whose sides are at 45 degrees."""
    reach = side_um * np.sqrt(0.5)
    square = np.array([(reach, 0.0), (0.0, reach), (-reach, 0.0), (0.0, -reach)]) + centre
    left = gdstk.boolean(
        gdstk.Polygon(outline.tolist()), gdstk.Polygon(square.tolist()), "not", precision=1e-7
    )
    pieces = [np.asarray(piece.points) for piece in left]
    return sorted(pieces, key=lambda points: float(points[:, 0].min()))


def strip_fixed(
    cells: Iterable[gdstk.Cell], technology: Technology, kept: set[Layer]
) -> tuple[set[str], set[str]]:
    """Leave of the fixed cells among `cells` what the mask has of them; returns the names of
    these, and of those below them that go."""
    by_name = {cell.name: cell for cell in cells}
    every = kept.union(*(fixed.layers for fixed in technology.fixed_cells.values()))
    done: set[str] = set()
    boxed: set[str] = set()
    for fixed in technology.fixed_cells.values():
        cell = by_name.get(fixed.cell)
        if cell is None or fixed.cell in done:
            continue
        below = [by_name[other.name] for other in cell.dependencies(True)]
        done |= {cell.name, *(other.name for other in below)}
        if fixed.mask is CellMask.BOX:
            assert fixed.box is not None
            boxed |= {other.name for other in below}
            cell.remove(*cell.polygons, *cell.paths, *cell.references, *cell.labels)
            x0, y0, x1, y1 = fixed.box_um
            layer, datatype = fixed.box
            cell.add(gdstk.rectangle((x0, y0), (x1, y1), layer=layer, datatype=datatype))
            continue
        for other in (cell, *below):
            other.filter(every, False, polygons=True, paths=True, labels=False)
            other.remove(*other.labels)
    # What another cell needs as well stays.
    there = [cell for cell in by_name.values() if cell.name not in boxed]
    return done, boxed - {other.name for cell in there for other in cell.dependencies(True)}

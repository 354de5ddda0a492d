"""The GDS side of fixed cells: read one cell with all below it, look at its shapes."""

import base64
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

import gdstk
import numpy as np

from onnx2mzi.tech.fixed import CellError, Layer

_TIME = datetime(2000, 1, 1)
_MAX_POINTS = 4000


def read_cell(path: Path, name: str) -> str:
    """A cell of a GDS file and all cells below it, as text; the same for the same cells.

    Raises CellError for a file that is not there or no GDS, and for a cell that it has not.
    """
    if not path.is_file():
        raise CellError("gds", f"no file '{path}'", "paths are relative to the technology file")
    # gdstk says little about what is no GDS at all: a header of two bytes comes first.
    if path.read_bytes()[:4] != b"\x00\x06\x00\x02":
        raise CellError("gds", f"'{path}' is no GDS file", "GDSII, not compressed")
    try:
        cells = {cell.name: cell for cell in gdstk.read_gds(path, unit=1e-6).cells}
    except (OSError, RuntimeError) as error:
        raise CellError("gds", f"'{path}' cannot be read: {error}", "a whole GDS file") from None
    found = cells.get(name)
    if not isinstance(found, gdstk.Cell):
        near = get_close_matches(name, cells, n=1)
        known = ", ".join(sorted(cells)[:6]) or "none"
        hint = f"did you mean '{near[0]}'?" if near else f"its cells: {known}"
        raise CellError("cell", f"'{path.name}' has no cell '{name}'", hint)
    below = [cell for cell in found.dependencies(True) if isinstance(cell, gdstk.Cell)]
    library = gdstk.Library("cell", 1e-6, 1e-9)
    library.add(found, *sorted(below, key=lambda cell: cell.name))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "cell.gds"
        library.write_gds(copy, max_points=_MAX_POINTS, timestamp=_TIME)
        content = copy.read_bytes()
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")


def whole(data: str) -> dict[str, gdstk.Cell]:
    """The cells that `read_cell` has read, by name. Raises CellError for another text."""
    try:
        content = zlib.decompress(base64.b64decode(data, validate=True))
    except (TypeError, ValueError, zlib.error):
        raise CellError("data", "'data' is not what was written", "leave it out") from None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "cell.gds"
        copy.write_bytes(content)
        cells = gdstk.read_gds(copy, unit=1e-6).cells
    return {cell.name: cell for cell in cells if isinstance(cell, gdstk.Cell)}


@dataclass(frozen=True, slots=True)
class Content:
    """The shapes of a cell and all below it, by layer."""

    polygons: dict[Layer, list[gdstk.Polygon]]

    @classmethod
    def of(cls, data: str, name: str) -> "Content":
        """The content of a cell that was read. Raises CellError where it has none."""
        cells = whole(data)
        if name not in cells:
            raise CellError("data", f"'data' has no cell '{name}'", "leave it out")
        found: dict[Layer, list[gdstk.Polygon]] = {}
        for polygon in cells[name].get_polygons():
            found.setdefault((polygon.layer, polygon.datatype), []).append(polygon)
        if not found:
            raise CellError("cell", f"cell '{name}' is empty", "it needs shapes")
        return cls(found)

    def has(self, layer: Layer) -> bool:
        """Whether there are shapes on a layer."""
        return layer in self.polygons

    def box_um(
        self, layers: Iterable[Layer], box: Layer | None
    ) -> tuple[float, float, float, float]:
        """The extent on the foundry's layers; without any on the box's, or of everything."""
        shapes = [polygon for layer in layers for polygon in self.polygons.get(layer, [])]
        if not shapes and box is not None:
            shapes = self.polygons.get(box, [])
        shapes = shapes or [polygon for some in self.polygons.values() for polygon in some]
        points = np.concatenate([np.asarray(polygon.points) for polygon in shapes])
        x0, y0 = points.min(0).tolist()
        x1, y1 = points.max(0).tolist()
        return round(x0, 6), round(y0, 6), round(x1, 6), round(y1, 6)

    def guide_at(
        self, x_um: float, y_um: float, direction: str, core: Layer, grid_um: float
    ) -> tuple[float, float]:
        """From where to where, across, the core reaches at a port; (0, 0) where there is none."""
        far, step = 1e4, grid_um / 10
        low, high = {
            "west": ((x_um, -far), (x_um + step, far)),
            "east": ((x_um - step, -far), (x_um, far)),
            "south": ((-far, y_um), (far, y_um + step)),
            "north": ((-far, y_um - step), (far, y_um)),
        }[direction]
        axis = 0 if direction in ("south", "north") else 1
        across = (x_um, y_um)[axis]
        shapes = gdstk.boolean(self.polygons[core], [], "or", precision=grid_um / 1000)
        cut = gdstk.boolean(shapes, gdstk.rectangle(low, high), "and", precision=grid_um / 1000)
        for piece in cut:
            reach = np.asarray(piece.points)[:, axis]
            if reach.min() <= across <= reach.max():
                return float(reach.min()), float(reach.max())
        return 0.0, 0.0

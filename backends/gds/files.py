"""The two files: everything for people and tools, and what the foundry makes."""

from collections.abc import Container
from dataclasses import fields
from datetime import datetime
from pathlib import Path

import gdstk

from onnx2mzi.backends.gds.chip import cell_name, draw_chip, free_name
from onnx2mzi.backends.gds.fixed import strip_fixed
from onnx2mzi.ir import Program
from onnx2mzi.tech import Layer, Technology

DESIGN_FILE = "design.gds"
MASK_FILE = "mask.gds"
# GDS stores times; a fixed one makes the same program give the same bytes.
_TIME = datetime(2000, 1, 1)
_MAX_POINTS = 4000


def write_gds(
    program: Program,
    technology: Technology,
    directory: Path,
    layers: Container[str] | None = None,
) -> tuple[str, ...]:
    """Write design.gds and mask.gds into an existing directory; returns their names.

    Of `layers` only, all if None (see `draw_chip`).
    The mask has the foundry's layers alone, no text, and the top cell that the foundry asks
    for. The same program and technology give the same bytes.
    Raises UsageError when the program is not placed for this technology.
    """
    library = draw_chip(program, technology, layers)
    library.write_gds(directory / DESIGN_FILE, max_points=_MAX_POINTS, timestamp=_TIME)
    _strip_to_mask(library, technology, program.name)
    library.write_gds(directory / MASK_FILE, max_points=_MAX_POINTS, timestamp=_TIME)
    return (DESIGN_FILE, MASK_FILE)


def foundry_layers(technology: Technology) -> set[Layer]:
    """The layers that the foundry makes."""
    layers = (getattr(technology.layers, entry.name) for entry in fields(technology.layers))
    return {layer for layer in layers if layer is not None}


def _strip_to_mask(library: gdstk.Library, technology: Technology, name: str) -> None:
    kept = foundry_layers(technology)
    cells = [cell for cell in library.cells if isinstance(cell, gdstk.Cell)]
    fixed, gone = strip_fixed(cells, technology, kept)
    library.remove(*(cell for cell in cells if cell.name in gone))
    for cell in cells:
        if cell.name in fixed:
            continue
        cell.filter(kept, False, polygons=True, paths=True, labels=False)
        cell.remove(*cell.labels)
    wanted = technology.die.top_cell.replace("{name}", cell_name(name))
    (top,) = library.top_level()
    others = {cell.name for cell in library.cells} - {top.name}
    library.rename_cell(top.name, free_name(wanted, others))

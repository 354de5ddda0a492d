"""The chip: tiles with guides between their blocks, ports at the die's edges, an outline.

A tile's cell (`L0_G0_T3`) has its port 0 at y = 0 and holds its labels; what it draws is in
cells of its blocks and wires (`L0_G0_T3_V`, ..., `_W`), those of the first tile that looks so.
"""

import re
from collections.abc import Container

import gdstk
import numpy as np

from onnx2mzi.backends.gds.blocks import (
    draw_attenuators,
    draw_mesh,
    drawn_of,
    label_attenuators,
    label_mesh,
)
from onnx2mzi.backends.gds.cells import CellBook
from onnx2mzi.backends.gds.edges import draw_edges
from onnx2mzi.backends.gds.guides import drawn
from onnx2mzi.backends.gds.wires import draw_wires, label_pads
from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import BlockPlacement, MeshTile, Program
from onnx2mzi.pipeline.edges import edge_plan, outline_um
from onnx2mzi.pipeline.spans import Span, tile_spans_um
from onnx2mzi.pipeline.wiring import Wirer, Wiring
from onnx2mzi.tech import Technology


def cell_name(text: str) -> str:
    """The text as a GDS cell name: letters, digits and _ only, not empty."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text) or "chip"


def free_name(wanted: str, taken: set[str]) -> str:
    """The name, made longer until no other cell has it."""
    while wanted in taken:
        wanted += "_chip"
    return wanted


def draw_chip(
    program: Program, technology: Technology, layers: Container[str] | None = None
) -> gdstk.Library:
    """The chip as a library; its top cell is named after the program.

    Of `layers` only, all if None, every tile at its place on the whole chip and with its names.
    Raises UsageError for a program without places, or places of another technology.
    """
    placement = program.placement
    if placement is None:
        raise UsageError("the program has no places", where=program.name, hint="run place first")
    if placement.technology != technology.name:
        raise UsageError(
            f"placed for {placement.technology}, drawn for {technology.name}",
            where=program.name,
            hint="place again, with the same technology",
        )
    library = gdstk.Library(cell_name(program.name), 1e-6, technology.grid_um * 1e-6)
    top = gdstk.Cell(cell_name(program.name))
    book = CellBook(drawn(technology))
    blocks = {(b.layer, b.grid, b.tile, b.block): b for b in placement.blocks}
    tiles: list[gdstk.Cell] = []
    wirer = Wirer(technology)
    spans = tile_spans_um(program, technology)
    number = 0
    for position, layer in enumerate(program.layers):
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                number += 1
                if layers is not None and layer.name not in layers:
                    continue
                places = {name: blocks[layer.name, g, t, name] for name in "vsu"}
                name = f"L{position}_G{g}_T{t}"
                where = f"{layer.name}.g{g}.t{t}"
                cell = draw_tile(book, tile, places, name, where, spans[layer.name, g, t])
                _wire(book, cell, wirer.wiring(tile, places), number - 1)
                top.add(gdstk.Reference(cell, (0.0, places["v"].y_um)))
                tiles.append(cell)
    outline, datatype = technology.layers.outline
    if placement.blocks:
        edges = edge_plan(program, technology, layers)
        low, high = outline_um(placement.width_um, placement.height_um, technology)
        if edges is not None:
            low, high = edges.low, edges.high
            draw_edges(book, top, edges)
        top.add(gdstk.rectangle(low, high, layer=outline, datatype=datatype))
    used = {cell.name for cell in top.dependencies(True)}
    top.name = free_name(top.name, used)
    library.add(
        top,
        *tiles,
        *book.drawn.values(),
        *[cell for cell in book.made.values() if cell.name in used],
        *[cell for cell in book.foreign.values() if cell.name in used],
    )
    return library


def draw_tile(
    book: CellBook,
    tile: MeshTile,
    places: dict[str, BlockPlacement],
    name: str,
    where: str,
    span_um: Span,
) -> gdstk.Cell:
    """The cell of a tile, without its wires.

    `name` is the cell's name, `where` the tile's id in labels; inputs begin and outputs end at
    `span_um`.
    """
    cell = gdstk.Cell(name)
    for block, mesh in (("v", tile.v), ("u", tile.u)):
        made, new = book.distinct(f"{name}_{block.upper()}", drawn_of(mesh, places[block]))
        if new:
            draw_mesh(book, made, mesh, places[block], f"{where}.{block}")
        cell.add(gdstk.Reference(made))
        label_mesh(book, cell, mesh, places[block], f"{where}.{block}")
    made, new = book.distinct(f"{name}_S", drawn_of(tile.sigma, places["s"]))
    if new:
        draw_attenuators(book, made, tile.sigma, places["s"], f"{where}.s")
    cell.add(gdstk.Reference(made))
    label_attenuators(book, cell, tile.sigma, places["s"], f"{where}.s")
    _draw_links(book, cell, tile, places, where, span_um)
    return cell


def _wire(book: CellBook, cell: gdstk.Cell, wiring: Wiring, number: int) -> None:
    parts = (wiring.boxes_um, wiring.over_um, wiring.vias_um, wiring.pads_um)
    made, new = book.distinct(f"{cell.name}_W", *(part.tobytes() for part in parts))
    if new:
        draw_wires(book, made, wiring)
    cell.add(gdstk.Reference(made))
    label_pads(book, cell, wiring, number)


def _draw_links(
    book: CellBook,
    cell: gdstk.Cell,
    tile: MeshTile,
    places: dict[str, BlockPlacement],
    where: str,
    span_um: Span,
) -> None:
    """Guides from the left of the span to V, between the blocks, and from U to its right."""
    left_um, right_um = span_um
    technology, channels = book.chip.technology, len(tile.sigma)
    v_start = float(places["v"].column_x_um[0])
    v_end = float(places["v"].column_x_um[-1]) + mesh_plan(tile.v, technology).out_um
    s_start, s_end = (float(places["s"].column_x_um[k]) for k in (0, -1))
    u_start = float(places["u"].column_x_um[0])
    u_end = float(places["u"].column_x_um[-1]) + mesh_plan(tile.u, technology).out_um
    for start, end, rows in (
        (left_um, v_start, tile.v.ports),
        (v_end, s_start, channels),
        (s_end, u_start, channels),
        (u_end, right_um, tile.u.ports),
    ):
        if rows and end > start:
            _array(book, cell, places["v"], start, end - start, rows)
    pitch = places["v"].row_pitch_um
    for k in range(channels, tile.v.ports):
        cell.add(gdstk.Reference(book.tip(), (v_end, -k * pitch)))
    for k in range(channels, tile.u.ports):
        cell.add(gdstk.Reference(book.tip(), (u_start, -k * pitch), rotation=np.pi))
    for side, x, ports in (("in", left_um, tile.v.ports), ("out", right_um, tile.u.ports)):
        for k in range(ports):
            book.pin(cell, f"{where}.{side}{k}", x, -k * pitch)


def _array(
    book: CellBook, cell: gdstk.Cell, place: BlockPlacement, x: float, length: float, rows: int
) -> None:
    guide = book.guide_rows(length)
    pitch = place.row_pitch_um
    if rows == 1:
        cell.add(gdstk.Reference(guide, (x, 0.0)))
    else:
        cell.add(gdstk.Reference(guide, (x, 0.0), rows=rows, spacing=(pitch, -pitch)))

"""From where to where a tile's guides run: to the chip's edges, or to its neighbours' on a line."""

from onnx2mzi.emulate.mesh_columns import mesh_plan
from onnx2mzi.ir import Program
from onnx2mzi.pipeline.wiring import numbered_tiles, placed_blocks, tile_rows
from onnx2mzi.tech import Technology

Where = tuple[str, int, int]
Span = tuple[float, float]


def tile_spans_um(program: Program, technology: Technology) -> dict[Where, Span]:
    """The x at which every tile's guides begin and end, by (layer, grid, tile).

    Tiles that share a height lie in line (see passes.floorplan): their guides end about half
    way to the next tile, which they do not touch. Nothing for a program without places.
    """
    if program.placement is None:
        return {}
    placed = placed_blocks(program)
    width_um, apart_um = program.placement.width_um, technology.rules.guide_gap_um
    boxes: list[tuple[float, float, float, float, Where]] = []
    for _, layer, grid, index, tile in numbered_tiles(program):
        places = placed[layer, grid, index]
        top, pitch = places["v"].y_um + places["v"].row_pitch_um / 2, places["v"].row_pitch_um
        left, right = float(places["v"].column_x_um[0]), float(places["u"].column_x_um[-1])
        right += mesh_plan(tile.u, technology).out_um
        boxes.append((top, top - tile_rows(tile) * pitch, left, right, (layer, grid, index)))
    found: dict[Where, Span] = {}
    line: list[tuple[float, float, float, float, Where]] = []
    for box in sorted(boxes, key=lambda box: -box[0]):
        if line and box[0] <= min(other[1] for other in line[-1:]) + 1e-6:
            found |= _of_line(line, width_um, technology.grid_um, apart_um)
            line = []
        # The lowest end of the line so far is its last entry's.
        low = min([box[1], *(other[1] for other in line[-1:])])
        line.append((box[0], low, box[2], box[3], box[4]))
    return found | _of_line(line, width_um, technology.grid_um, apart_um)


def _of_line(
    line: list[tuple[float, float, float, float, Where]],
    width_um: float,
    grid_um: float,
    apart_um: float,
) -> dict[Where, Span]:
    found = {}
    start = 0.0
    ordered = sorted(line, key=lambda box: box[2])
    for k, (_, _, _, right, where) in enumerate(ordered):
        end = after = width_um
        if k + 1 < len(ordered):
            middle = (right + ordered[k + 1][2]) / 2
            end, after = (
                round(round((middle + way) / grid_um) * grid_um, 6) for way in (-apart_um, apart_um)
            )
        found[where] = (start, end)
        start = after
    return found

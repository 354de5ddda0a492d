"""Edge couplers and alignment loops, from the ports to the die's edge, marked and labelled."""

import gdstk
import numpy as np

from onnx2mzi.backends.gds.cells import CellBook
from onnx2mzi.physics.arrays import Real
from onnx2mzi.pipeline.edges import EDGE, SIDES, EdgePlan, loop_name
from onnx2mzi.tech import Technology

# A mark is so much higher than a guide, on either side.
BESIDE_UM = 1.0
_ARC_POINTS = 37


def draw_edges(book: CellBook, top: gdstk.Cell, plan: EdgePlan) -> None:
    """Draw all couplers and both loops into the top cell."""
    technology = book.chip.technology
    text, texttype = technology.edge.marker
    half = technology.guide.width_um / 2 + BESIDE_UM
    edges_x = plan.low[0], plan.high[0]
    upper, lower = plan.loop_y_um
    loop = _marked(
        book, "EDGE_LOOP", _loop(technology, plan), (lower - upper - half, plan.reach_um + half)
    )
    for side in (0, 1):
        run, x = plan.run_um[side], edges_x[side]
        name = f"EDGE_{SIDES[side].upper()}"
        coupler = _marked(book, name, _coupler(technology, run), (-half, run))
        turn = np.pi if side else 0.0
        tips = [(port.name, port.y_um) for port in plan.ports if port.side == side]
        for _, y in tips:
            top.add(gdstk.Reference(coupler, (x, y), rotation=turn))
        # Mirrored as well as turned: the upper end stays the upper one.
        top.add(gdstk.Reference(loop, (x, upper), rotation=turn, x_reflection=side == 1))
        tips += [(loop_name(side, end), y) for end, y in enumerate((upper, lower))]
        for name, y in tips:
            top.add(gdstk.Label(EDGE + name, (x, y), layer=text, texttype=texttype))


def _marked(
    book: CellBook, name: str, outline: Real, low_and_right: tuple[float, float]
) -> gdstk.Cell:
    """A cell of one guide and the mark around it."""
    technology = book.chip.technology
    (layer, datatype), (mark, marktype) = technology.layers.core, technology.edge.marker
    low, right = low_and_right
    cell, new = book.distinct(name, name.encode())
    if new:
        high = technology.guide.width_um / 2 + BESIDE_UM
        cell.add(
            gdstk.Polygon(outline.tolist(), layer=layer, datatype=datatype),
            gdstk.rectangle((0.0, low), (right, high), layer=mark, datatype=marktype),
        )
    return cell


def _coupler(technology: Technology, run_um: float) -> Real:
    """The outline of a coupler: its tip at the origin, its port at `run_um`."""
    taper, half = technology.edge.taper_length_um, technology.guide.width_um / 2
    tip = technology.edge.tip_width_um / 2
    side = np.array([[0.0, tip], [taper, half], [run_um, half]])
    return np.concatenate([side, side[::-1] * (1, -1)])


def _loop(technology: Technology, plan: EdgePlan) -> Real:
    """The outline of a loop: the tip of its upper end at the origin."""
    taper, half = technology.edge.taper_length_um, technology.guide.width_um / 2
    tip, radius = technology.edge.tip_width_um / 2, technology.guide.bend_radius_um
    apart = plan.loop_y_um[0] - plan.loop_y_um[1]
    angle = np.linspace(0.0, np.pi / 2, _ARC_POINTS)

    def along(sign: int) -> Real:
        """The outer (1) or the inner side, from the upper tip to the lower one."""
        # The middle turns about (taper, -radius), down to half way.
        turn = radius + sign * half
        arc = np.stack([taper + turn * np.sin(angle), turn * np.cos(angle) - radius], 1)
        upper = np.concatenate([[[0.0, sign * tip]], arc])
        return np.concatenate([upper, upper[::-1] * (1, -1) - (0.0, apart)])

    return np.concatenate([along(1), along(-1)[::-1]])

"""Edge couplers and alignment loops, from the ports to the die's edge, marked and labelled."""

import gdstk
import numpy as np

from onnx2mzi.backends.gds.cells import CellBook
from onnx2mzi.backends.gds.curves import FINE_STEP_RAD, chain, moved, ribbon, rising, straight
from onnx2mzi.physics.arrays import Real
from onnx2mzi.pipeline.edges import EDGE, SIDES, EdgePlan, loop_name
from onnx2mzi.tech import Technology
from onnx2mzi.tech.fan import FanGuide

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
        turn = np.pi if side else 0.0
        ports = [port for port in plan.ports if port.side == side]
        for k, port in enumerate(ports):
            if port.guide is None:
                coupler = _marked(book, name, _coupler(technology, run), (-half, run))
            else:
                outline = _fanned(technology, port.guide, run, side)
                low, high = outline[:, 1].min() - BESIDE_UM, outline[:, 1].max() + BESIDE_UM
                coupler = _marked(book, f"{name}_{k}", outline, (float(low), run), float(high))
            top.add(gdstk.Reference(coupler, (x, port.tip_um), rotation=turn))
        # Mirrored as well as turned: the upper end stays the upper one.
        top.add(gdstk.Reference(loop, (x, upper), rotation=turn, x_reflection=side == 1))
        tips = [(port.name, port.tip_um) for port in ports]
        tips += [(loop_name(side, end), y) for end, y in enumerate((upper, lower))]
        for name, y in tips:
            top.add(gdstk.Label(EDGE + name, (x, y), layer=text, texttype=texttype))


def _marked(
    book: CellBook,
    name: str,
    outline: Real,
    low_and_right: tuple[float, float],
    high_um: float | None = None,
) -> gdstk.Cell:
    """A cell of one guide and the mark around it, as high as a guide if not told."""
    technology = book.chip.technology
    (layer, datatype), (mark, marktype) = technology.layers.core, technology.edge.marker
    low, right = low_and_right
    cell, new = book.distinct(name, b"edge", outline.tobytes())
    if new:
        high = technology.guide.width_um / 2 + BESIDE_UM if high_um is None else high_um
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


def _fanned(technology: Technology, guide: FanGuide, run_um: float, side: int) -> Real:
    """As `_coupler`, of a guide whose port lies `climb_um` above its tip; a cell on the right is
    turned by half a turn, so that up is down in it."""
    taper, tip = technology.edge.taper_length_um, technology.edge.tip_width_um / 2
    bend, detour = guide.bend, guide.detour
    away = [rising(detour.bend, 1, FINE_STEP_RAD), rising(detour.bend, -1, FINE_STEP_RAD)]
    rest = run_um - taper - detour.run_um - bend.run_um
    up = (1 if guide.climb_um > 0 else -1) * (-1 if side else 1)
    line = chain([*away * detour.count, straight(rest), rising(bend, up, FINE_STEP_RAD)])
    body = ribbon(moved(line, taper, 0.0), technology.guide.width_um)
    return np.concatenate([[[0.0, tip]], body, [[0.0, -tip]]])


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

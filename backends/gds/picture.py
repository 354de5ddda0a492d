"""Pictures of the chip: design.svg from the program alone, design.png through KLayout.

Heaters are coloured by their power, from pale (nearly none) to dark (that of a phase of pi, or
more).
"""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnx2mzi.backends.gds.klayout import klayout_module, read_layout
from onnx2mzi.backends.phases import placed_shifters
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import BlockPlacement, Mesh, Program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import ShifterState, power_mw
from onnx2mzi.pipeline.edges import EdgePlan, edge_plan
from onnx2mzi.pipeline.wiring import Wirer, numbered_tiles, placed_blocks, tile_rows
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import drawn_as_crossing, heated_um

SVG_FILE, PNG_FILE = "design.svg", "design.png"
HEAT = ("#ffe08a", "#fdbb5a", "#f88d3c", "#e85a2a", "#c42d22", "#7d0c1f")
# Pixels of a PNG's longer side.
PNG_PIXELS = 2400
ROOM = 0.01
# Wires of larger chips are left out of the SVG: a browser could not show them.
MOST_BOXES = 150_000


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What a picture shows, boxes (x0, y0, x1, y1) of shape (B, 4) in um.

    `couplers` are lines (P, 2) from the die's edge to ports, `die` the corners of the die; None
    where no couplers are drawn.
    """

    guides: Real
    mzis: Real
    crossings: Real
    wires: Real
    pads: Real
    heaters: Real
    heat: Real
    couplers: tuple[Real, ...] = ()
    die: tuple[float, float, float, float] | None = None

    @property
    def frame(self) -> tuple[float, float, float, float]:
        """Everything, and a little room around it."""
        everything = np.concatenate([self.guides, self.wires, self.pads, self.heaters])
        if not len(everything):
            return 0.0, 0.0, 1.0, 1.0
        if self.die is not None:
            everything = np.concatenate([everything, [self.die]])
        (x0, y0), (x1, y1) = everything[:, :2].min(0), everything[:, 2:].max(0)
        room = ROOM * (x1 - x0)
        return float(x0 - room), float(y0 - room), float(x1 + room), float(y1 + room)


def scene(program: Program, technology: Technology, layers: Container[str] | None = None) -> Scene:
    """What is to be seen of a placed program, or of `layers` of it; `heat` is each heater's
    power over that of pi.

    Raises UsageError for a program without places.
    """
    placement = program.placement
    if placement is None:
        raise UsageError("the program has no places", where=program.name, hint="run place first")
    none = np.zeros((0, 4))
    boxes: dict[str, list[Real]] = {
        name: [none] for name in ("guides", "mzis", "crossings", "wires", "pads")
    }
    placed, wirer = placed_blocks(program), Wirer(technology)
    for _, layer, grid, index, tile in numbered_tiles(program):
        if layers is not None and layer not in layers:
            continue
        places = placed[layer, grid, index]
        base, pitch = places["v"].y_um, places["v"].row_pitch_um
        y = base - pitch * np.arange(tile_rows(tile), dtype=np.float64)
        half = technology.guide.width_um / 2
        boxes["guides"].append(_boxes(0.0, placement.width_um, y - half, y + half))
        for mesh, place in ((tile.v, places["v"]), (tile.u, places["u"])):
            bare = drawn_as_crossing(mesh.theta_state, mesh.phi_state, technology).astype(bool)
            cells = _cells(mesh, place)
            boxes["mzis"].append(cells[~bare])
            boxes["crossings"].append(cells[bare])
        wiring, lift = wirer.wiring(tile, places), np.array([0.0, base, 0.0, base])
        boxes["wires"] += [wiring.boxes_um + lift, wiring.over_um + lift]
        boxes["pads"].append(wiring.pads_um + lift)
    heaters, heat = [none], [np.zeros(0)]
    reach = np.array([heated_um(technology), max(technology.heater.contact_width_um, 8.0)]) / 2
    for block in placed_shifters(program, technology):
        if layers is not None and block.layer not in layers:
            continue
        active = block.shifters.state == ShifterState.ACTIVE
        assert block.places_um is not None
        centre = np.stack(block.places_um, 1)[active]
        heaters.append(np.concatenate([centre - reach, centre + reach], 1))
        power = power_mw(block.shifters.drive_rad[active], p_pi_mw=technology.p_pi_mw)
        heat.append(np.asarray(power) / technology.p_pi_mw)
    plan = edge_plan(program, technology, layers)
    return Scene(
        couplers=_couplers(plan, technology) if plan else (),
        die=(*plan.low, *plan.high) if plan else None,
        **{name: np.concatenate(found) for name, found in boxes.items()},
        heaters=np.concatenate(heaters),
        heat=np.concatenate(heat),
    )


def _couplers(plan: EdgePlan, technology: Technology) -> tuple[Real, ...]:
    """Every coupler and loop as the corners of its middle, the first at the die's edge."""
    found = []
    for port in plan.ports:
        edge, sign = (plan.high[0], -1) if port.side else (plan.low[0], 1)
        end = edge + sign * plan.run_um[port.side]
        x, y = [edge], [port.tip_um]
        if port.guide is not None:
            at = edge + sign * technology.edge.taper_length_um
            detour = port.guide.detour
            for k in range(detour.count):
                # Detours go up on the left, and down on the right.
                high = port.tip_um + sign * detour.bend.rise_um
                first = at + sign * 2 * k * detour.bend.run_um
                flank = sign * detour.bend.run_um
                x += [first + flank / 2, first + flank / 2, *[first + 1.5 * flank] * 2]
                y += [port.tip_um, high, high, port.tip_um]
            x.append(end - sign * port.guide.bend.run_um)
            y.append(port.tip_um)
        found.append(np.stack([[*x, end], [*y, port.y_um]], 1))
    upper, lower = plan.loop_y_um
    for edge, sign in ((plan.low[0], 1), (plan.high[0], -1)):
        turn = edge + sign * plan.reach_um
        corners = [(edge, upper), (turn, upper), (turn, lower), (edge, lower)]
        found.append(np.array(corners))
    return tuple(found)


def _boxes(x0: float, x1: float, y0: Real, y1: Real) -> Real:
    return np.stack([np.full(len(y0), x0), y0, np.full(len(y0), x1), y1], 1)


def _cells(mesh: Mesh, place: BlockPlacement) -> Real:
    """The middle of every MZI's cell, from one row to the next."""
    left, right = place.column_x_um[:-1][mesh.column], place.column_x_um[1:][mesh.column]
    upper = place.y_um - place.row_pitch_um * mesh.port
    inset = 0.1 * (right - left)
    return np.stack([left + inset, upper - place.row_pitch_um, right - inset, upper], 1)


def classes(heat: Real) -> Real:
    """The index into HEAT of every heater."""
    return np.clip((heat * len(HEAT)).astype(np.int64), 0, len(HEAT) - 1)


def chip_svg(seen: Scene) -> str:
    """The picture as SVG, in um; the same bytes for the same scene."""
    x0, y0, x1, y1 = seen.frame
    width, height = x1 - x0, y1 - y0
    many = len(seen.wires) + len(seen.mzis) + len(seen.crossings) > MOST_BOXES
    kind = classes(seen.heat)
    layers = [
        ("#d9e6f2", seen.mzis, "MZI"),
        ("#e6e6e6", seen.crossings, "crossing"),
        ("#c0392b", _thick(seen.guides, width / 4000), "guide"),
        ("#9aa5ab", np.zeros((0, 4)) if many else seen.wires, "wire"),
        ("#c9a227", seen.pads, "pad"),
        *[
            (
                colour,
                seen.heaters[kind == k],
                f"heater, from {k / len(HEAT):.0%} of the power of pi",
            )
            for k, colour in enumerate(HEAT)
        ],
    ]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
    ]
    if seen.die is not None:
        a, b, c, d = seen.die
        lines.append(
            f'<rect x="{a - x0:.0f}" y="{y1 - d:.0f}" width="{c - a:.0f}" height="{d - b:.0f}" '
            f'fill="none" stroke="#2c3e50" stroke-width="{width / 2000:.0f}"><title>die</title>'
            "</rect>"
        )
        path = "".join(
            "M" + "L".join(f"{x - x0:.0f} {y1 - y:.0f}" for x, y in line.tolist())
            for line in seen.couplers
        )
        lines.append(
            f'<path fill="none" stroke="#c0392b" stroke-width="{width / 4000:.0f}" d="{path}">'
            "<title>edge couplers</title></path>"
        )
    for colour, boxes, name in layers:
        if len(boxes):
            path = "".join(
                f"M{a:.0f} {b:.0f}h{c:.0f}v{d:.0f}h-{c:.0f}z"
                for a, b, c, d in np.stack(
                    [
                        boxes[:, 0] - x0,
                        y1 - boxes[:, 3],
                        np.maximum(boxes[:, 2] - boxes[:, 0], 1.0),
                        np.maximum(boxes[:, 3] - boxes[:, 1], 1.0),
                    ],
                    1,
                ).tolist()
            )
            lines.append(f'<path fill="{colour}" d="{path}"><title>{name}</title></path>')
    return "\n".join([*lines, "</svg>", ""])


def _thick(boxes: Real, least_um: float) -> Real:
    """Lines that can be seen."""
    more = np.maximum(0.0, least_um - (boxes[:, 3] - boxes[:, 1])) / 2
    return boxes + np.stack([0 * more, -more, 0 * more, more], 1)


def write_svg(seen: Scene, directory: Path) -> str:
    """Write design.svg; its name."""
    (directory / SVG_FILE).write_text(chip_svg(seen), encoding="utf-8")
    return SVG_FILE


def write_png(design: Path, seen: Scene, target: Path, colours: Path | None = None) -> None:
    """A PNG of a design.gds through KLayout, its heaters coloured; `colours` is a design.lyp.

    Raises UsageError without KLayout's module.
    """
    db, lay = klayout_module("db"), klayout_module("lay")
    layout = read_layout(design)
    x0, y0, x1, y1 = seen.frame
    box = db.DBox(x0, y0, x1, y1)
    view = lay.LayoutView()
    view.set_config("background-color", "#ffffff")
    view.set_config("text-visible", "false")
    view.set_config("grid-visible", "false")
    at = view.create_layout(False)
    shown = view.cellview(at).layout()
    shown.assign(layout)
    top = shown.top_cell()
    kind = classes(seen.heat)
    first = 2000
    for k in range(len(HEAT)):
        shapes = top.shapes(shown.layer(first + k, 0))
        for a, b, c, d in seen.heaters[kind == k].tolist():
            shapes.insert(db.DBox(a, b, c, d))
    view.active_cellview().cell = top
    view.max_hier()
    view.clear_layers()
    if colours is not None:
        view.load_layer_props(str(colours))
        for entry in view.each_layer():
            # Marks would hide the heaters.
            hidden = "marker" in entry.name or entry.name.endswith(" heater")
            entry.visible = entry.visible and not hidden
    for k, colour in enumerate(HEAT):
        made = lay.LayerProperties()
        made.source = f"{first + k}/0@1"
        made.fill_color = made.frame_color = int(colour[1:], 16)
        made.dither_pattern = 0
        view.insert_layer(view.end_layers(), made)
    view.zoom_box(box)
    wide = box.width() >= box.height()
    ratio = box.height() / box.width() if wide else box.width() / box.height()
    other = max(64, round(PNG_PIXELS * ratio))
    size = (PNG_PIXELS, other) if wide else (other, PNG_PIXELS)
    view.save_image(str(target), *size)

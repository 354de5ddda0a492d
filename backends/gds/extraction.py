"""Devices and nets of a layout, found by KLayout in the GDS file alone.

Couplers, heaters and crossings are marked in design.gds. Guides outside of the marks are
optical nets; merged metal, and what vias join it to, is an electrical one. Labels at the die's
edges and on pads name them. Terminals: couplers and crossings have (upper in, lower in, upper out,
lower out), heaters (in, out, left contact, right contact); light runs to the right. What lies
under a mark must be what the technology draws there; a guide's length is half of what its outline
is longer than its ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import nan, sqrt
from pathlib import Path
from typing import Any

from onnx2mzi.backends.gds.bodies import Bodies, Kind
from onnx2mzi.backends.gds.design_paths import crossing_reach_um
from onnx2mzi.backends.gds.klayout import klayout_module, read_layout
from onnx2mzi.backends.gds.metals import second_metal
from onnx2mzi.pipeline.edges import EDGE
from onnx2mzi.tech import Layer, Technology

# How far beside its mark the guides of a crossing are looked for.
REACH_UM = 0.5
# A guide's area must be its length times its width: slanted sides are rounded to the grid.
AREA_SHARE = 0.01
AREA_UM = 0.02
# Database units from a mark to where the guide behind it is looked for.
BESIDE_DBU = 20
METAL2 = ("metal2", "via")
SOUND, X, Y = "sound", "x", "y"


@dataclass(frozen=True, slots=True)
class Device:
    """A device, the centre of its mark in um, and the nets at its terminals (0: open).

    `sound`: the guides under its mark are those that the technology draws for its kind.
    """

    kind: Kind
    x_um: float
    y_um: float
    nets: tuple[int, int, int, int]
    sound: bool = True

    def __str__(self) -> str:
        return f"{self.kind} at ({self.x_um:.1f}, {self.y_um:.1f})"


@dataclass(frozen=True, slots=True)
class EdgeGuide:
    """A guide within a mark of edge couplers: the labels of its tips, those of the nets that it
    ends, its area in um2, the length of its outline and the size of its box in um."""

    tips: tuple[str, ...]
    nets: tuple[str, ...]
    area_um2: float
    around_um: float
    size_um: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Extracted:
    """All devices, and the label of every net that has one; several are joined by commas.

    `lengths_um`: of every optical net the length of its guide from device to device or to the
    die's edge, along its middle; nan if it is no single strip as wide as a guide.
    """

    devices: tuple[Device, ...]
    labels: dict[int, str]
    lengths_um: dict[int, float] = field(default_factory=dict)
    edges: tuple[EdgeGuide, ...] = ()


def net_names(found: Extracted) -> dict[str, int]:
    """The net of every label. A guide that meets no device has two, at its beginning and end;
    joined names of other nets are one name, which nothing is called."""
    met = {net for device in found.devices for net in device.nets}
    return {
        name: net
        for net, label in found.labels.items()
        for name in ([label] if net in met or label.count(",") != 1 else label.split(","))
    }


def extract(path: Path, technology: Technology) -> Extracted:
    """The circuit of a design.gds. Raises UsageError without KLayout, InputError for no GDS."""
    db = klayout_module("db")
    layout = read_layout(path)
    top = layout.top_cell()
    boxes = _boxes_of_fixed(db, layout, technology)
    # One flat cell is faster than a hierarchy whose every wire is at the top.
    top.flatten(True)
    l2n = db.LayoutToNetlist(db.RecursiveShapeIterator(layout, top, []))
    l2n.threads = 1
    l2n.max_vertex_count = 1 << 20
    l2n.max_area_ratio = 1e6

    def polygons(layer: Layer, name: str) -> Any:
        return l2n.make_polygon_layer(layout.layer(*layer), name)

    layers, markers = technology.layers, technology.markers
    core, metal = polygons(layers.core, "core"), polygons(layers.metal, "metal")
    heater, pin = polygons(layers.heater, "filament"), polygons(markers.pin, "pin")
    marks = {kind: polygons(getattr(markers, kind), f"mark_{kind}") for kind in Kind}
    marked = marks[Kind.COUPLER] + marks[Kind.HEATER] + marks[Kind.CROSSING]
    guides, inside = core - marked, core & marked
    if boxes is not None:
        inside = (core + l2n.make_polygon_layer(boxes, "boxes")) & marked
    if technology.edge.drawn:
        guides -= polygons(technology.edge.marker, "mark_edge")
    contacts = heater & metal
    if technology.heater.fixed is not None:
        # A box in a heater's place has neither; the wires reach over its contacts.
        contacts = metal & polygons(markers.pin_metal, "pin_metal") & marks[Kind.HEATER]
    reach = round(REACH_UM / layout.dbu)
    crossing = marks[Kind.CROSSING]
    beside = guides & (crossing.sized(reach) - crossing)
    for region, name in (
        (guides, "guides"),
        (contacts, "contacts"),
        (beside, "beside"),
        (inside, "inside"),
    ):
        l2n.register(region, name)
    bodies = Bodies(technology, layout.dbu)
    edge_names, pad_names = _labels(l2n, layout, top, technology)
    makers = [_maker(db, kind, bodies) for kind in Kind]
    for kind, maker in zip(Kind, makers, strict=True):
        ports = beside if kind is Kind.CROSSING else pin
        layers_of = {"mark": marks[kind], "port": ports, "contact": contacts, "inside": inside}
        l2n.extract_devices(maker, layers_of)
    for a, b in (
        (guides, guides),
        (pin, pin),
        (guides, pin),
        (guides, beside),
        (guides, edge_names),
        (metal, metal),
        (metal, contacts),
        (metal, pad_names),
    ):
        if a is b:
            l2n.connect(a)
        else:
            l2n.connect(a, b)
    if second := second_metal(technology):
        metal2, via = (polygons(layer, name) for layer, name in zip(second, METAL2, strict=True))
        l2n.connect(metal2)
        for other in (metal, metal2):
            l2n.connect(via, other)
    l2n.extract_netlist()
    found = _collected(l2n, top.name, guides, technology, layout.dbu)
    if not technology.edge.drawn:
        return found
    return replace(found, edges=tuple(_edges(l2n, layout, guides, technology)))


def _boxes_of_fixed(db: Any, layout: Any, technology: Technology) -> int | None:
    """A layer with a box in every fixed cell without a guide of its own: they could be missed."""
    index = None
    for kind in Kind:
        fixed = technology.fixed_cells.get(kind)
        if fixed is None or fixed.guided:
            continue
        index = layout.layer(db.LayerInfo(1002, 0)) if index is None else index
        cell = layout.cell(fixed.cell)
        if cell is not None:
            cell.shapes(index).insert(db.DBox(*fixed.box_um))
    return index


def _edges(l2n: Any, layout: Any, guides: Any, technology: Technology) -> Iterator[EdgeGuide]:
    """What the marks of edge couplers hold; nets are looked for right beside its ends."""
    db, top, dbu = klayout_module("db"), layout.top_cell(), layout.dbu
    layers = (technology.layers.core, technology.edge.marker)
    core, marked = (layout.layer(*layer) for layer in layers)
    marks = db.Region(top.begin_shapes_rec(marked)).merged()
    # Guides elsewhere are many.
    near = db.Region()
    for mark in marks.each():
        near += db.Region(top.begin_shapes_rec_touching(core, mark.bbox()))
    texts = top.shapes(layout.layer(*technology.edge.marker)).each(db.Shapes.STexts)
    tips = [text.text for text in texts if text.text_string.startswith(EDGE)]
    for guide in (near & marks).each():
        box = guide.bbox()
        nets = []
        for edge in guide.each_edge():
            x = edge.x1
            if edge.x2 != x or x not in (box.left, box.right):
                continue
            beside = x + (BESIDE_DBU if x == box.right else -BESIDE_DBU)
            net = l2n.probe_net(guides, db.DPoint(beside * dbu, (edge.y1 + edge.y2) / 2 * dbu))
            if net is not None:
                nets.append(str(net.name))
        here = [tip.string[len(EDGE) :] for tip in tips if guide.inside(tip.trans.disp.to_p())]
        size_um = box.width() * dbu, box.height() * dbu
        area_um2, around_um = guide.area() * dbu * dbu, guide.perimeter() * dbu
        yield EdgeGuide(tuple(sorted(here)), tuple(nets), area_um2, around_um, size_um)


def _labels(l2n: Any, layout: Any, top: Any, technology: Technology) -> tuple[Any, Any]:
    """Labels of ports (they have dots) and of pads (`T0_N1`); others are pins of cells."""
    db = klayout_module("db")
    made: list[Any] = []
    for layer, pattern, name in (
        (technology.markers.pin, "*.*", "port names"),
        (technology.markers.pin_metal, "T*_*", "pad names"),
    ):
        scratch = layout.layer(db.LayerInfo(1000 + len(made), 0))
        for shape in top.shapes(layout.layer(*layer)).each(db.Shapes.STexts):
            if fnmatchcase(shape.text_string, pattern):
                top.shapes(scratch).insert(shape.text)
        made.append(l2n.make_text_layer(scratch, name))
    return made[0], made[1]


def _maker(db: Any, kind: Kind, bodies: Bodies) -> Any:
    """A KLayout device extractor for one kind; its class needs the module, so it is made here."""
    terminals = ("i", "o", "l", "r") if kind is Kind.HEATER else ("i0", "i1", "o0", "o1")

    class Maker(db.GenericDeviceExtractor):  # type: ignore[misc]
        """Finds the marks of a kind and the pins around them."""

        def setup(self) -> None:
            for layer in ("mark", "port", "contact", "inside"):
                self.define_layer(layer, layer)
            made = db.DeviceClass()
            self.name = made.name = str(kind)
            for parameter in (SOUND, X, Y):
                made.add_parameter(db.DeviceParameterDefinition(parameter, parameter))
            for name in terminals:
                made.add_terminal(db.DeviceTerminalDefinition(name, name))
            self.register_device_class(made)

        def get_connectivity(self, layout: Any, layers: Any) -> Any:
            together = db.Connectivity()
            for layer in layers:
                together.connect(layers[0], layer)
            return together

        def extract_devices(self, geometry: Any) -> None:
            marks, ports, contacts, inside = geometry
            for mark in marks.each():
                self._one(mark, ports, contacts, inside)

        def _one(self, mark: Any, ports: Any, contacts: Any, inside: Any) -> None:
            box, own = mark.bbox(), db.Region(mark)
            device = self.create_device()
            device.set_parameter(SOUND, float(bodies.sound(kind, mark, inside & own)))
            device.set_parameter(X, (box.left + box.right) / 2 * bodies.dbu)
            device.set_parameter(Y, (box.bottom + box.top) / 2 * bodies.dbu)
            middle = box.center().x

            def side(shape: Any) -> tuple[bool, int]:
                return shape.bbox().center().x > middle, -shape.bbox().center().y

            found = sorted(ports.interacting(own).each(), key=side)
            left = [shape for shape in found if not side(shape)[0]]
            right = [shape for shape in found if side(shape)[0]]
            if kind is Kind.HEATER:
                ends = sorted((contacts & own).each(), key=side)
                slots = [
                    (left, 0, 1, 1),
                    (right, 1, 1, 1),
                    (ends[:1], 2, 1, 2),
                    (ends[1:], 3, 1, 2),
                ]
            else:
                slots = [(left, 0, 2, 1), (right, 2, 2, 1)]
            for shapes, terminal, room, layer in slots:
                for k, shape in enumerate(shapes[:room]):
                    self.define_terminal(device, terminal + k, layer, shape)

    return Maker()


def _collected(l2n: Any, top: str, guides: Any, technology: Technology, dbu: float) -> Extracted:
    netlist = l2n.netlist()
    circuit = netlist.circuit_by_name(top)
    if circuit is None:
        return Extracted((), {})
    devices: list[Device] = []
    slanted: dict[int, Any] = {}
    db, reach_um = klayout_module("db"), crossing_reach_um(technology)
    for device in circuit.each_device():
        nets = [device.net_for_terminal(k) for k in range(4)]
        a, b, c, d = (int(net.cluster_id) if net else 0 for net in nets)
        kind = Kind(device.device_class().name)
        sound = bool(device.parameter(SOUND))
        # Clusters of shapes that look alike are one, moved about.
        moved = device.trans.disp
        x_um, y_um = moved.x + device.parameter(X), moved.y + device.parameter(Y)
        devices.append(Device(kind, x_um, y_um, (a, b, c, d), sound))
        if kind is Kind.CROSSING:
            box = db.DBox(x_um - reach_um, y_um - reach_um, x_um + reach_um, y_um + reach_um)
            for end in (a, b, c, d):
                slanted.setdefault(end, []).append(box.to_itype(dbu))
    labels: dict[int, str] = {}
    lengths_um: dict[int, float] = {}
    for net in circuit.each_net():
        if net.name:
            labels[net.cluster_id] = net.name
        strips = l2n.shapes_of_net(net, guides, True).merged()
        if not strips.is_empty():
            lengths_um[net.cluster_id] = _length_um(
                strips, slanted.get(net.cluster_id, []), technology.guide.width_um, dbu
            )
    return Extracted(tuple(devices), labels, lengths_um)


def _length_um(strips: Any, boxes: list[Any], width_um: float, dbu: float) -> float:
    """Along the middle of a guide, some of whose ends are corners of crossings' marks.

    Both sides of a strip that starts and ends in one direction are together twice as long as
    its middle, however it bends. At a corner the sides reach half a width beyond the end, to a
    notch along the mark, whose edges are a width over the square root of 2 each: they tell how
    wide the slanted guide is after its rounding to the grid.
    """
    slanted, wide_um = len(boxes), 0.0
    if boxes:
        marks = klayout_module("db").Region(boxes).edges()
        wide_um = (strips.edges() & marks).length() * dbu / sqrt(2)
    ends_um = width_um * (2 - slanted) + wide_um * (1 + sqrt(2))
    length = (strips.perimeter() * dbu - ends_um) / 2
    area = width_um * (length + slanted * width_um / 4)
    off_um = abs(strips.area() * dbu * dbu - area) / width_um
    single = strips.count() == 1 and slanted <= 2
    return length if single and off_um <= AREA_SHARE * length + AREA_UM else nan

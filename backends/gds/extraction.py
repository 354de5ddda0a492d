"""Devices and nets of a layout, found by KLayout in the GDS file alone.

Couplers, heaters and crossings are marked in design.gds. Guides outside of the marks are
optical nets, merged metal is an electrical one; labels at the die's edges and on pads name them.
Terminals: couplers and crossings have (upper in, lower in, upper out, lower out), heaters (in,
out, left contact, right contact); light runs to the right.
"""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from onnx2mzi.backends.gds.drc import klayout_module, read_layout
from onnx2mzi.tech import Layer, Technology

# How far beside its mark the guides of a crossing are looked for.
REACH_UM = 0.5


class Kind(StrEnum):
    """What can be found."""

    COUPLER = "coupler"
    HEATER = "heater"
    CROSSING = "crossing"


@dataclass(frozen=True, slots=True)
class Device:
    """A device, the centre of its mark in um, and the nets at its terminals (0: open)."""

    kind: Kind
    x_um: float
    y_um: float
    nets: tuple[int, int, int, int]

    def __str__(self) -> str:
        return f"{self.kind} at ({self.x_um:.1f}, {self.y_um:.1f})"


@dataclass(frozen=True, slots=True)
class Extracted:
    """All devices, and the label of every net that has one; several are joined by commas."""

    devices: tuple[Device, ...]
    labels: dict[int, str]


def extract(path: Path, technology: Technology) -> Extracted:
    """The circuit of a design.gds. Raises UsageError without KLayout, InputError for no GDS."""
    db = klayout_module("db")
    layout = read_layout(path)
    top = layout.top_cell()
    # One flat cell is faster than a hierarchy whose every wire is at the top.
    top.flatten(True)
    l2n = db.LayoutToNetlist(db.RecursiveShapeIterator(layout, top, []))
    l2n.threads = 1

    def polygons(layer: Layer, name: str) -> Any:
        return l2n.make_polygon_layer(layout.layer(*layer), name)

    layers, markers = technology.layers, technology.markers
    core, metal = polygons(layers.core, "core"), polygons(layers.metal, "metal")
    heater, pin = polygons(layers.heater, "filament"), polygons(markers.pin, "pin")
    marks = {kind: polygons(getattr(markers, kind), f"mark_{kind}") for kind in Kind}
    guides = core - (marks[Kind.COUPLER] + marks[Kind.HEATER] + marks[Kind.CROSSING])
    contacts = heater & metal
    reach = round(REACH_UM / layout.dbu)
    crossing = marks[Kind.CROSSING]
    beside = guides & (crossing.sized(reach) - crossing)
    for region, name in ((guides, "guides"), (contacts, "contacts"), (beside, "beside")):
        l2n.register(region, name)
    edge_names, pad_names = _labels(l2n, layout, top, technology)
    makers = [_maker(db, kind) for kind in Kind]
    for kind, maker in zip(Kind, makers, strict=True):
        ports = beside if kind is Kind.CROSSING else pin
        l2n.extract_devices(maker, {"mark": marks[kind], "port": ports, "contact": contacts})
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
    l2n.extract_netlist()
    return _collected(l2n, top.name)


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


def _maker(db: Any, kind: Kind) -> Any:
    """A KLayout device extractor for one kind; its class needs the module, so it is made here."""
    terminals = ("i", "o", "l", "r") if kind is Kind.HEATER else ("i0", "i1", "o0", "o1")

    class Maker(db.GenericDeviceExtractor):  # type: ignore[misc]
        """Finds the marks of a kind and the pins around them."""

        def setup(self) -> None:
            for layer in ("mark", "port", "contact"):
                self.define_layer(layer, layer)
            made = db.DeviceClass()
            self.name = made.name = str(kind)
            for name in terminals:
                made.add_terminal(db.DeviceTerminalDefinition(name, name))
            self.register_device_class(made)

        def get_connectivity(self, layout: Any, layers: Any) -> Any:
            together = db.Connectivity()
            for layer in layers:
                together.connect(layers[0], layer)
            return together

        def extract_devices(self, geometry: Any) -> None:
            marks, ports, contacts = geometry
            for mark in marks.each():
                self._one(mark, ports, contacts)

        def _one(self, mark: Any, ports: Any, contacts: Any) -> None:
            box, own = mark.bbox(), db.Region(mark)
            device = self.create_device()
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


def _collected(l2n: Any, top: str) -> Extracted:
    netlist = l2n.netlist()
    circuit = netlist.circuit_by_name(top)
    if circuit is None:
        return Extracted((), {})
    devices: list[Device] = []
    labels: dict[int, str] = {}
    for device in circuit.each_device():
        nets = [device.net_for_terminal(k) for k in range(4)]
        place = device.trans.disp
        a, b, c, d = (int(net.cluster_id) if net else 0 for net in nets)
        kind = Kind(device.device_class().name)
        devices.append(Device(kind, place.x, place.y, (a, b, c, d)))
    for net in circuit.each_net():
        if net.name:
            labels[net.cluster_id] = net.name
    return Extracted(tuple(devices), labels)

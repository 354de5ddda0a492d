"""design.lyp: names, colours and patterns of the layers, for KLayout (also `klayout -l`)."""

import xml.etree.ElementTree as ElementTree
from dataclasses import fields
from pathlib import Path

from onnx2mzi.tech import Layer, Technology

LAYERS_FILE = "design.lyp"
# Frame and fill, and KLayout's number of a pattern (0 solid, 1 hollow, 2 and more hatched).
COLOURS = {
    "core": ("#c0392b", 0),
    "heater": ("#e67e22", 0),
    "metal": ("#7f8c8d", 5),
    "outline": ("#2c3e50", 1),
    "contact": ("#8e44ad", 3),
    "metal2": ("#2980b9", 9),
    "via": ("#27ae60", 3),
    "pad_open": ("#f1c40f", 1),
}
MARKER = ("#16a085", 1)
# Layers on top of each other are listed, and drawn, from the first to the last.
HIDDEN = ("device", "coupler", "crossing")


def write_layer_colours(technology: Technology, directory: Path) -> str:
    """Write design.lyp, the same bytes for the same technology; its name."""
    root = ElementTree.Element("layer-properties")
    for group, prefix in ((technology.layers, ""), (technology.markers, "marker ")):
        for entry in fields(group):
            layer: Layer | None = getattr(group, entry.name)
            if layer is not None:
                colour, pattern = MARKER if prefix else COLOURS.get(entry.name, MARKER)
                visible = not (prefix and entry.name in HIDDEN)
                _entry(root, f"{prefix}{entry.name}", layer, colour, pattern, visible)
    if technology.edge.drawn:
        _entry(root, "marker edge coupler", technology.edge.marker, *MARKER, visible=True)
    foreign: dict[Layer, str] = {}
    for section, fixed in technology.fixed_cells.items():
        for layer in (*fixed.layers, *((fixed.box,) if fixed.box else ())):
            foreign.setdefault(layer, f"fixed {section}")
    for layer, name in foreign.items():
        _entry(root, name, layer, *MARKER, visible=True)
    ElementTree.SubElement(root, "name").text = technology.name
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="unicode")
    path = directory / LAYERS_FILE
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n', encoding="utf-8")
    return LAYERS_FILE


def _entry(
    root: ElementTree.Element, name: str, layer: Layer, colour: str, pattern: int, visible: bool
) -> None:
    number, datatype = layer
    made = ElementTree.SubElement(root, "properties")
    for key, value in (
        ("frame-color", colour),
        ("fill-color", colour),
        ("frame-brightness", "0"),
        ("fill-brightness", "0"),
        ("dither-pattern", f"I{pattern}"),
        ("valid", "true"),
        ("visible", str(visible).lower()),
        ("transparent", "false"),
        ("width", "1"),
        ("marked", "false"),
        ("animation", "0"),
        ("name", f"{number}/{datatype} {name}"),
        ("source", f"{number}/{datatype}@1"),
    ):
        ElementTree.SubElement(made, key).text = value

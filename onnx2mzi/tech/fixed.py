"""Fixed cells of a foundry: GDS cells with named ports that stand for a device of the chip.

In the section of a coupler, crossing, heater or pad: `gds` (relative to the technology file),
`cell`, `ports`, and what of it the mask has. Sizes that follow from the ports are not given.
The cell's content is kept with the technology, so that a chip can be checked without the file.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Layer = tuple[int, int]


class CellError(ValueError):
    """What is wrong with a fixed cell: the key (`ports.i0` for a port), why, and a remedy."""

    def __init__(self, key: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.key, self.message, self.hint = key, message, hint


class CellMask(StrEnum):
    """What mask.gds has of a fixed cell."""

    LAYERS = "layers"
    """Its shapes on the foundry's layers."""

    BOX = "box"
    """A box on a layer of its own, by whose name the foundry puts the cell in."""


class Direction(StrEnum):
    """Where light or current leaves a cell."""

    WEST = "west"
    EAST = "east"
    NORTH = "north"
    SOUTH = "south"


@dataclass(frozen=True, slots=True)
class CellPort:
    """A port in the cell's own coordinates."""

    name: str
    x_um: float
    y_um: float
    direction: Direction


Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedCell:
    """A cell of a GDS file. `data` is its content, `box_um` (x0, y0, x1, y1) its extent.

    `layers` are the foundry's layers that only this cell has; `guided` says whether it has a
    core of its own.
    """

    gds: str
    cell: str
    ports: tuple[CellPort, ...]
    mask: CellMask
    layers: tuple[Layer, ...]
    box: Layer | None
    data: str
    box_um: Box
    guided: bool

    def port(self, name: str) -> CellPort:
        """The port of that name."""
        return next(port for port in self.ports if port.name == name)

    @property
    def middle_um(self) -> tuple[float, float]:
        """The point between all ports."""
        x, y = ([getattr(port, axis) for port in self.ports] for axis in ("x_um", "y_um"))
        return (min(x) + max(x)) / 2, (min(y) + max(y)) / 2

    @property
    def reach_um(self) -> float:
        """How far it reaches above or below the middle of its ports, whichever is more."""
        middle = self.middle_um[1]
        return round(max(self.box_um[3] - middle, middle - self.box_um[1]), 6)


KEYS = ("gds", "cell", "ports", "mask", "layers", "box", "data")
# Keys of a section that follow from the ports of its cell.
DERIVED = {
    "coupler": (
        "kind",
        "body_length_um",
        "body_width_um",
        "taper_length_um",
        "taper_width_um",
        "port_gap_um",
    ),
    "crossing": ("kind", "length_um", "waist_um"),
    "heater": ("length_um",),
    "pads": ("size_um",),
}


def derived(section: str, made: FixedCell, *, width_um: float, contact_um: float) -> dict[str, Any]:
    """The keys of `DERIVED`; `contact_um` is a heater's contact along the guide."""
    if section == "pads":
        return {"size_um": round(made.box_um[2] - made.box_um[0], 6)}
    first = made.ports[0]
    if section == "heater":
        run = round(made.port("o").x_um - first.x_um, 6)
        return {"length_um": round(run - 2 * contact_um, 6)}
    run = round(made.port("o1").x_um - first.x_um, 6)
    if section == "crossing":
        return {"kind": "crossing", "length_um": run, "waist_um": width_um}
    return {
        "kind": "cell",
        "body_length_um": run,
        "body_width_um": 2 * made.reach_um,
        "taper_length_um": 0.0,
        "taper_width_um": width_um,
        "port_gap_um": round(first.y_um - made.port("i1").y_um, 6),
    }


def given_keys(made: FixedCell, *, data: bool) -> dict[str, Any]:
    """The keys of a technology file that make this cell, with its content or without."""
    ports = {port.name: (port.x_um, port.y_um, str(port.direction)) for port in made.ports}
    keys: dict[str, Any] = {"gds": made.gds, "cell": made.cell, "ports": ports}
    keys["mask"] = str(made.mask)
    if made.layers:
        keys["layers"] = made.layers
    keys |= {"box": made.box} if made.box else {}
    return keys | ({"data": made.data} if data else {})

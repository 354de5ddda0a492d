"""Fixed cells as a technology file gives them: keys and ports checked against the GDS file."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from onnx2mzi.tech.fixed import CellError, CellMask, CellPort, Direction, FixedCell, Layer
from onnx2mzi.tech.fixed_file import Content, read_cell

_OPTICAL = {
    "coupler": {"i0": "west", "i1": "west", "o0": "east", "o1": "east"},
    "crossing": {"i0": "west", "i1": "south", "o0": "north", "o1": "east"},
    "heater": {"i": "west", "o": "east"},
    "pads": {},
}
_ELECTRICAL = {"heater": {"p": "west", "n": "east"}, "pads": {"p": ""}}


def fixed_cell(
    section: str,
    given: Mapping[str, Any],
    *,
    folder: Path,
    grid_um: float,
    width_um: float,
    core: Layer,
    layers: tuple[Layer, ...],
) -> FixedCell:
    """The cell that a section of a technology file names, every port checked.

    `given` has the section's keys of `KEYS`, `layers` are the foundry's. Raises CellError.
    """
    gds, name = _text(given, "gds"), _text(given, "cell")
    mask = _choice(given.get("mask", "layers"), CellMask, "mask")
    more = tuple(_layer(layer, "layers") for layer in _list(given.get("layers", []), "layers"))
    box = _layer(given["box"], "box") if "box" in given else None
    if mask is CellMask.BOX and box is None:
        raise CellError("mask", "a mask with a box in the cell's place needs 'box'", "its layer")
    data = given.get("data") or read_cell(folder / gds, name)
    content = Content.of(data, name)
    ports = _ports(section, given.get("ports"), grid_um)
    box_um = content.box_um((*layers, *more), box)
    made = FixedCell(
        gds=gds,
        cell=name,
        ports=ports,
        mask=mask,
        layers=more,
        box=box,
        data=data,
        box_um=box_um,
        guided=content.has(core),
    )
    _at_edges(section, made, grid_um)
    if made.guided:
        for port in ports[: len(_OPTICAL[section])]:
            _guided(port, content, core, width_um, grid_um)
    return made


# ---- keys ---------------------------------------------------------------------------------


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        hint = "the cell's name in the GDS file" if key == "cell" else "a GDS file"
        raise CellError(key, f"'{key}' must be a text", hint)
    return value


def _choice(given: Any, kind: type[CellMask] | type[Direction], key: str) -> Any:
    if given not in list(kind):
        choices = " or ".join(f'"{choice}"' for choice in kind)
        raise CellError(key, f"'{key}' must be {choices}, not {given!r}", "see `tech show`")
    return kind(given)


def _list(given: Any, key: str) -> list[Any]:
    if not isinstance(given, list):
        raise CellError(key, f"'{key}' must be a list of layers", "such as [[5, 0]]")
    return given


def _layer(given: Any, key: str) -> Layer:
    pair = isinstance(given, list) and len(given) == 2
    if not pair or any(type(part) is not int or part < 0 for part in given):
        raise CellError(key, f"{given!r} is no layer", "layer and datatype, such as [3, 0]")
    return given[0], given[1]


def _ports(section: str, given: Any, grid_um: float) -> tuple[CellPort, ...]:
    """All ports of a section, in its order; each on the grid."""
    wanted = _OPTICAL[section] | _ELECTRICAL.get(section, {})
    names = ", ".join(wanted)
    hint = f'{names}: each [x, y, direction], such as [0.0, 1.0, "west"]'
    if not isinstance(given, dict):
        raise CellError("ports", "'ports' is missing or no table", hint)
    for name in given:
        if name not in wanted:
            raise CellError(f"ports.{name}", f"unknown port '{name}'", f"ports are {names}")
    made = []
    for name, direction in wanted.items():
        key = f"ports.{name}"
        if name not in given:
            raise CellError("ports", f"port '{name}' is missing", hint)
        port = given[name]
        if not isinstance(port, list) or len(port) != 3:
            raise CellError(key, f"port '{name}' must be [x, y, direction], not {port!r}", hint)
        if not all(type(at) in (int, float) and isfinite(at) for at in port[:2]):
            raise CellError(key, f"port '{name}' has no place in um: {port[:2]}", hint)
        x, y = float(port[0]), float(port[1])
        towards = _choice(port[2], Direction, key)
        if direction and towards != direction:
            raise CellError(
                key, f"port '{name}' looks {towards}", f"{section} cells have it {direction}"
            )
        for at in (x, y):
            if not abs(at / grid_um - round(at / grid_um)) < 1e-3:
                raise CellError(key, f"port '{name}' is off the grid of {grid_um} um", f"at {at}")
        made.append(CellPort(name, x, y, towards))
    return tuple(made)


# ---- geometry -----------------------------------------------------------------------------


def _at_edges(section: str, made: FixedCell, grid_um: float) -> None:
    """Every port where a cell of its kind has it."""
    x0, y0, x1, y1 = made.box_um
    edges = {"west": (0, x0), "east": (0, x1), "south": (1, y0), "north": (1, y1)}
    extent = f"the cell reaches from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g})"
    if section == "pads":
        port = made.ports[0]
        if abs(port.x_um - (x0 + x1) / 2) > grid_um or abs(port.y_um - (y0 + y1) / 2) > grid_um:
            raise CellError("ports.p", "port 'p' is not the middle of the pad", extent)
        if abs((x1 - x0) - (y1 - y0)) > grid_um:
            raise CellError("cell", "a pad must be as wide as it is high", extent)
        return
    for port in made.ports:
        axis, edge = edges[port.direction]
        if abs((port.x_um, port.y_um)[axis] - edge) > grid_um / 2:
            message = f"port '{port.name}' is not on the cell's {port.direction} edge"
            raise CellError(f"ports.{port.name}", message, extent)
    check = {"coupler": _coupler, "crossing": _crossing, "heater": _heater}[section]
    check(made, grid_um)


def _same(made: FixedCell, grid_um: float, one: str, other: str, axis: int) -> None:
    a, b = made.port(one), made.port(other)
    apart = ((a.x_um, a.y_um)[axis]) - ((b.x_um, b.y_um)[axis])
    if abs(apart) > grid_um / 2:
        what = "height" if axis else "x"
        raise CellError(
            f"ports.{other}",
            f"ports '{one}' and '{other}' are {abs(apart):g} um apart in {what}",
            f"they must have the same {what}",
        )


def _coupler(made: FixedCell, grid_um: float) -> None:
    _same(made, grid_um, "i0", "o0", 1)
    _same(made, grid_um, "i1", "o1", 1)
    if made.port("i0").y_um <= made.port("i1").y_um:
        raise CellError("ports.i0", "port 'i0' is not above 'i1'", "i0 and o0 are the upper ones")


def _crossing(made: FixedCell, grid_um: float) -> None:
    _same(made, grid_um, "i0", "o1", 1)
    _same(made, grid_um, "i1", "o0", 0)
    west, east, south, north = (made.port(name) for name in ("i0", "o1", "i1", "o0"))
    off = (
        west.x_um + east.x_um - 2 * south.x_um,
        south.y_um + north.y_um - 2 * west.y_um,
        east.x_um - west.x_um - (north.y_um - south.y_um),
    )
    if max(abs(value) for value in off) > grid_um:
        raise CellError("ports", "the guides do not meet in the middle of both", "a symmetric one")


def _heater(made: FixedCell, grid_um: float) -> None:
    _same(made, grid_um, "i", "o", 1)
    for name in ("p", "n"):
        _same(made, grid_um, "i", name, 1)
    steps = (made.port("o").x_um - made.port("i").x_um) / grid_um
    if round(steps) % 2:
        raise CellError("ports.o", "the heater's length is an odd number of grid steps", "even")


def _guided(port: CellPort, content: Content, core: Layer, width_um: float, grid_um: float) -> None:
    """The cell's guide at a port is as wide as all guides, and the port in its middle."""
    low, high = content.guide_at(port.x_um, port.y_um, port.direction, core, grid_um)
    across = port.x_um if port.direction in ("north", "south") else port.y_um
    off = max(abs(low - (across - width_um / 2)), abs(high - (across + width_um / 2)))
    if not off <= grid_um:
        found = f"from {low:g} to {high:g}" if high > low else "not there"
        raise CellError(
            f"ports.{port.name}",
            f"the cell's guide at port '{port.name}' is {found}, not {width_um:g} um around it",
            "the port's place, [guide] width_um, or [layers] core",
        )

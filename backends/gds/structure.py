"""MZIs, crossings and attenuators of an extracted circuit, on the rows of their tiles.

From the layout alone: rows are followed from the tiles' named inputs to the right, and from
their named outputs to the left where no light comes from an input. Two couplers on the same two
rows are an MZI; heaters between them are its theta, heaters before it its phi. A coupler whose
upper input is dark begins an attenuator.
"""

import re
from dataclasses import dataclass, field

from onnx2mzi.backends.gds.bodies import Kind
from onnx2mzi.backends.gds.extraction import Extracted, net_names

_PORT = re.compile(r"(?P<tile>.+)\.(?P<side>in|out)(?P<row>\d+)")
Row = tuple[str, int]


@dataclass(slots=True)
class FoundMzi:
    """An MZI, or a crossing, on `port` and the row below it, its middle at `x_um`.

    Heaters are (arm, place in `Extracted.devices`), arm 0 the upper one.
    """

    crossing: bool
    port: int
    x_um: float
    phi: list[tuple[int, int]] = field(default_factory=list)
    theta: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class FoundTile:
    """A tile: its ports' nets, its MZIs by x, its attenuators by channel and other heaters.

    `single` has the heaters that lie before no MZI, by row.
    """

    inputs: dict[int, int] = field(default_factory=dict)
    outputs: dict[int, int] = field(default_factory=dict)
    mzis: list[FoundMzi] = field(default_factory=list)
    attenuators: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    single: dict[int, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Structure:
    """All tiles by name, and what makes no sense, in words."""

    tiles: dict[str, FoundTile] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def structure(found: Extracted) -> Structure:
    """What an extracted circuit is made of."""
    made = Structure()
    for label, net in net_names(found).items():
        port = _PORT.fullmatch(label)
        if port:
            tile = made.tiles.setdefault(port["tile"], FoundTile())
            nets = tile.inputs if port["side"] == "in" else tile.outputs
            nets[int(port["row"])] = net
    order = sorted(range(len(found.devices)), key=lambda k: found.devices[k].x_um)
    _grouped(found, made, order, _rows(found, made, order))
    for tile in made.tiles.values():
        tile.mzis.sort(key=lambda mzi: mzi.x_um)
    return made


@dataclass(slots=True)
class _Rows:
    """The row of every net; a coupler's place in its attenuator (1 first, 2 second)."""

    of: dict[int, Row] = field(default_factory=dict)
    attenuator: dict[int, tuple[int, Row]] = field(default_factory=dict)


def _rows(found: Extracted, made: Structure, order: list[int]) -> _Rows:
    rows = _Rows()
    sources = {
        net
        for device in found.devices
        for net in (device.nets[1:2] if device.kind is Kind.HEATER else device.nets[2:])
    }
    for name, tile in made.tiles.items():
        rows.of.update({net: (name, row) for row, net in tile.inputs.items()})
        sources |= set(tile.inputs.values())
    # Arms of attenuators that are open: net of an arm -> the attenuator's row.
    arms: dict[int, Row] = {}
    for k in order:
        device = found.devices[k]
        a, b, c, d = device.nets
        if device.kind is Kind.HEATER:
            if a in arms:
                arms[b] = arms[a]
            elif a in rows.of:
                rows.of[b] = rows.of[a]
        elif device.kind is Kind.COUPLER and a in arms and arms.get(b) == arms[a]:
            rows.attenuator[k] = 2, arms[a]
            rows.of[c] = arms[a]
        elif device.kind is Kind.COUPLER and a not in sources and b in rows.of:
            rows.attenuator[k] = 1, rows.of[b]
            arms[c] = arms[d] = rows.of[b]
        elif a in rows.of or b in rows.of:
            name, row = rows.of[a] if a in rows.of else rows.of[b]
            row -= a not in rows.of
            for net, at in ((a, row), (b, row + 1), (c, row), (d, row + 1)):
                if rows.of.setdefault(net, (name, at)) != (name, at):
                    made.problems.append(f"the {device} does not join two neighbouring rows")
    for name, tile in made.tiles.items():
        for row, net in tile.outputs.items():
            if rows.of.setdefault(net, (name, row)) != (name, row):
                made.problems.append(f"{name}.out{row} is the end of another row")
    for k in reversed(order):
        device = found.devices[k]
        a, b, c, d = device.nets
        for before, behind in ((a, b),) if device.kind is Kind.HEATER else ((a, c), (b, d)):
            if k not in rows.attenuator and behind in rows.of:
                rows.of.setdefault(before, rows.of[behind])
    return rows


def _grouped(found: Extracted, made: Structure, order: list[int], rows: _Rows) -> None:
    open_mzis: dict[Row, tuple[FoundMzi, float]] = {}
    waiting: dict[Row, list[int]] = {}
    in_arms: dict[int, tuple[Row, int]] = {}
    for k in order:
        device = found.devices[k]
        a, b, c, d = device.nets
        if k in rows.attenuator:
            which, (name, row) = rows.attenuator[k]
            if which == 1:
                made.tiles[name].attenuators[row] = []
                in_arms[c], in_arms[d] = ((name, row), 0), ((name, row), 1)
            continue
        if device.kind is Kind.HEATER and a in in_arms:
            (name, row), arm = in_arms[b] = in_arms[a]
            made.tiles[name].attenuators[row].append((arm, k))
            continue
        if a not in rows.of:
            made.problems.append(f"the {device} is on no row of a tile")
            continue
        name, row = rows.of[a]
        if device.kind is Kind.HEATER:
            for arm, port in ((0, row), (1, row - 1)):
                if (name, row) in open_mzis and open_mzis[name, row][0].port == port:
                    open_mzis[name, row][0].theta.append((arm, k))
                    break
            else:
                waiting.setdefault((name, row), []).append(k)
            continue
        both = (name, row), (name, row + 1)
        there = [open_mzis.pop(one, None) for one in both]
        first, second = there
        if device.kind is Kind.COUPLER and first is not None and first == second:
            mzi, x_um = first
            mzi.x_um = (x_um + device.x_um) / 2
            continue
        if first is not None or second is not None:
            made.problems.append(f"the {device} is within an MZI that it is no part of")
        mzi = FoundMzi(device.kind is Kind.CROSSING, row, device.x_um)
        for arm, one in enumerate(both):
            mzi.phi += [(arm, heater) for heater in waiting.pop(one, [])]
        made.tiles[name].mzis.append(mzi)
        if device.kind is Kind.COUPLER:
            open_mzis[both[0]] = open_mzis[both[1]] = mzi, device.x_um
    for (name, row), heaters in waiting.items():
        made.tiles[name].single.setdefault(row, []).extend(heaters)
    for (name, row), (mzi, _) in open_mzis.items():
        if mzi.port == row:
            made.problems.append(f"{name}: the MZI at x = {mzi.x_um:.1f} um has one coupler only")

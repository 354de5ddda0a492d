"""Layout versus schematic: the circuit found in a GDS file against the program, device by device.

V is followed from its named inputs forwards, U from its named outputs backwards; they must meet
at the attenuators. Every heater must lie between the signal pad and the ground pad that the
program gives it, by the names of the pads' labels. What is met twice, or never, is wrong too.
On the way every guide's length is compared with the design's, and those of every row are added.
"""

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onnx2mzi.backends.gds.bodies import Kind
from onnx2mzi.backends.gds.design_paths import (
    Links,
    MeshPaths,
    attenuator_paths,
    links_um,
    mesh_paths,
)
from onnx2mzi.backends.gds.edge_check import edge_differences
from onnx2mzi.backends.gds.extraction import Device, Extracted, extract, net_names
from onnx2mzi.ir import Attenuators, BlockPlacement, Mesh, MeshTile, Program
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.edges import edge_plan
from onnx2mzi.pipeline.spans import tile_spans_um
from onnx2mzi.pipeline.wiring import numbered_tiles, pad_name, placed_blocks, tile_wiring
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import drawn_as_crossing

# (block, kind, shifter) -> {arm: (signal pad, ground pad)}; see pipeline.wiring.Heaters.source.
Pads = Mapping[tuple[int, int, int], Mapping[int, frozenset[str]]]
THETA, PHI, OUT = range(3)
# Arms and rows are balanced to this.
BALANCE_UM = 0.02


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and every difference in words.

    `paths` has the guides that are not as long as designed; `guide_um` is the worst guide's
    deviation and `row_um` how far a whole row, from input to output, is from the others.
    """

    devices: int
    heaters: int
    differences: tuple[str, ...]
    paths: tuple[str, ...] = ()
    guides: int = 0
    guide_um: float = 0.0
    row_um: float = 0.0


def compare_layout(path: Path, program: Program, technology: Technology) -> Comparison:
    """Extract the circuit of a design.gds and compare it with a placed program."""
    return compare_circuit(extract(path, technology), program, technology)


def compare_circuit(
    found: Extracted,
    program: Program,
    technology: Technology,
    layers: Container[str] | None = None,
) -> Comparison:
    """Every difference between an extracted circuit and a placed program, or `layers` of it."""
    walk = _Walk(found)
    placed = placed_blocks(program)
    spans = tile_spans_um(program, technology)
    for number, layer, grid, index, tile in numbered_tiles(program):
        if layers is not None and layer not in layers:
            continue
        places = placed[layer, grid, index]
        pads = wired_pads(tile, places, technology, number)
        links = links_um(tile, places, technology, spans[layer, grid, index])
        _compare_tile(walk, tile, pads, f"{layer}.g{grid}.t{index}", technology, links)
    for k, device in enumerate(found.devices):
        if k not in walk.met:
            walk.differ(f"{device} is not in the program")
        if not device.sound:
            walk.differ(f"{device} is not what the technology draws")
    edges = edge_plan(program, technology, layers)
    for difference in edge_differences(found.edges, edges, technology):
        walk.differ(difference)
    heaters = sum(device.kind is Kind.HEATER for device in found.devices)
    return Comparison(
        len(found.devices),
        heaters,
        tuple(walk.differences),
        tuple(walk.paths),
        walk.guides,
        walk.guide_um,
        walk.row_um,
    )


def wired_pads(
    tile: MeshTile, places: Mapping[str, BlockPlacement], technology: Technology, number: int
) -> dict[tuple[int, int, int], dict[int, frozenset[str]]]:
    """The two pads that every heater of a tile is between, by shifter and arm."""
    wiring = tile_wiring(tile, places, technology)
    names = [pad_name(number, name) for name in wiring.names]
    pads: dict[tuple[int, int, int], dict[int, frozenset[str]]] = {}
    for (block, kind, shifter, arm), signal, ground in zip(
        wiring.heaters.source.tolist(),
        wiring.signal.tolist(),
        wiring.return_.tolist(),
        strict=True,
    ):
        pads.setdefault((block, kind, shifter), {})[arm] = frozenset((names[signal], names[ground]))
    return pads


class _Walk:
    """Follows nets from device to device, forwards or backwards, and notes what is wrong."""

    def __init__(self, found: Extracted) -> None:
        self.found = found
        self.met: set[int] = set()
        self.differences: list[str] = []
        self.paths: list[str] = []
        self.guides, self.guide_um, self.row_um = 0, 0.0, 0.0
        self.net_of = net_names(found)
        for name, count in Counter(found.labels.values()).items():
            if count > 1:
                self.differ(f"the label {name} is on {count} nets")
        # (net, backwards) -> (device, its terminal)
        self.at: dict[tuple[int, bool], tuple[int, int]] = {}
        for k, device in enumerate(found.devices):
            ends = (0,) if device.kind is Kind.HEATER else (0, 1)
            for backwards in (False, True):
                for end in ends:
                    terminal = end + backwards * len(ends)
                    self._enter(device.nets[terminal], backwards, k, end, device)

    def _enter(self, net: int, backwards: bool, k: int, end: int, device: Device) -> None:
        if net == 0:
            self.differ(f"a pin of the {device} is on no guide")
        elif (net, backwards) in self.at:
            other = self.found.devices[self.at[net, backwards][0]]
            self.differ(f"the {other} and the {device} are on one guide")
        else:
            self.at[net, backwards] = k, end

    def differ(self, message: str) -> None:
        self.differences.append(message)

    def measured(self, net: int, wanted_um: float, where: str) -> float:
        """How much longer a guide is than it must be; told where that is more than allowed."""
        if net == 0:
            return 0.0
        off = self.found.lengths_um.get(net, 0.0) - wanted_um
        self.guides += 1
        if not abs(off) <= BALANCE_UM:
            long = "no single strip" if off != off else f"{off + wanted_um:.3f} um long"
            self.paths.append(f"{where}: its guide is {long}, not {wanted_um:.3f} um")
            return 0.0
        self.guide_um = max(self.guide_um, abs(off))
        return off

    def rows(self, off_um: dict[int, float], where: str) -> None:
        """Whole rows, from inputs to outputs, are longer than they must be by so much.

        What all rows of a tile have in common turns all light alike.
        """
        common = (max(off_um.values()) + min(off_um.values())) / 2 if off_um else 0.0
        for k, off in off_um.items():
            off -= common
            self.row_um = max(self.row_um, abs(off))
            if abs(off) > BALANCE_UM:
                self.paths.append(f"{where}: row {k} is {off * 1e3:+.1f} nm longer than the others")

    def named(self, name: str) -> int:
        """The net of a port; 0 and a difference if no guide has that name alone."""
        if name not in self.net_of:
            self.differ(f"no guide is called {name}")
        return self.net_of.get(name, 0)

    def single(self, net: int, backwards: bool, pads: frozenset[str] | None, where: str) -> int:
        """Behind the heater that must be on this net; `pads` None: behind nothing."""
        if pads is None or net == 0:
            return net
        k, _ = self.at.get((net, backwards), (-1, 0))
        if k < 0 or self.found.devices[k].kind is not Kind.HEATER:
            what = self.found.devices[k] if k >= 0 else "nothing"
            self.differ(f"{where}: {what} instead of a heater")
            return 0
        self._meet(k, where)
        device = self.found.devices[k]
        names = {self.found.labels.get(net, "no pad") for net in device.nets[2:]}
        if names != pads:
            self.differ(
                f"{where}: the {device} is between {' and '.join(sorted(names))}, "
                f"not {' and '.join(sorted(pads))}"
            )
        return device.nets[0 if backwards else 1]

    def double(
        self, upper: int, lower: int, backwards: bool, kind: Kind, where: str
    ) -> tuple[int, int]:
        """Behind the coupler or crossing that must be on these two nets; 0 is not known."""
        found = {
            self.at.get((net, backwards), (-1, end))
            for end, net in enumerate((upper, lower))
            if net != 0
        }
        if not found:
            return 0, 0
        k = min(found)[0]
        if k < 0 or len({device for device, _ in found}) > 1:
            self.differ(f"{where}: its two guides do not meet in one {kind}")
            return 0, 0
        device = self.found.devices[k]
        ends = {end for end, net in enumerate((upper, lower)) if net != 0}
        if device.kind is not kind or {end for _, end in found} != ends:
            self.differ(f"{where}: the {device} instead of a {kind}")
            return 0, 0
        self._meet(k, where)
        nets = device.nets[:2] if backwards else device.nets[2:]
        return nets[0], nets[1]

    def _meet(self, k: int, where: str) -> None:
        if k in self.met:
            self.differ(f"{where}: the {self.found.devices[k]} is met twice")
        self.met.add(k)


def _compare_tile(
    walk: _Walk, tile: MeshTile, pads: Pads, where: str, technology: Technology, links: Links
) -> None:
    front = _through_mesh(walk, tile.v, False, pads, where, technology, links.to_v)
    back = _through_mesh(walk, tile.u, True, pads, where, technology, links.to_edge)
    channels = len(tile.sigma)
    _through_attenuators(walk, tile.sigma, front, f"{where}.s", technology, links)
    off_um = {}
    for k in range(channels):
        left, right = front.nets[k], back.nets[k]
        if left and right and left != right:
            walk.differ(f"{where}: channel {k} is not one guide from V to U")
        elif left and right:
            wanted = front.open_um[k] + back.open_um[k]
            off = walk.measured(left, wanted, f"{where}: channel {k}")
            off_um[k] = front.off_um[k] + off + back.off_um[k]
    walk.rows(off_um, where)
    for name, mesh, backwards in (("v", front, False), ("u", back, True)):
        for k, net in enumerate(mesh.nets[channels:], channels):
            if net and (net, backwards) in walk.at:
                walk.differ(f"{where}.{name}: guide {k} does not end where it must")


@dataclass(frozen=True, slots=True)
class _Mzis:
    """What is looked for along a mesh; per row the net, the length that the guide must have by
    now, and how much longer than designed the row has been."""

    walk: _Walk
    pads: Pads
    block: int
    backwards: bool
    nets: list[int] = field(default_factory=list)
    open_um: list[float] = field(default_factory=list)
    off_um: list[float] = field(default_factory=list)

    def along(self, port: int, um: float) -> None:
        """A piece of guide on a row."""
        self.open_um[port] += um

    def _end(self, port: int, where: str) -> None:
        off = self.walk.measured(self.nets[port], self.open_um[port], where)
        self.off_um[port] += off
        self.open_um[port] = 0.0

    def phase(
        self, kind: int, shifter: int, rows: tuple[int, ...], lengths_um: list[float], where: str
    ) -> None:
        """The arms of a shifter: a heater, or a guide of that length."""
        arms = self.pads.get((self.block, kind, shifter), {})
        for arm, (port, um) in enumerate(zip(rows, lengths_um, strict=True)):
            pads = arms.get(arm)
            if pads is None:
                self.along(port, um)
                continue
            self._end(port, where)
            self.nets[port] = self.walk.single(self.nets[port], self.backwards, pads, where)

    def pair(self, kind: Kind, port: int, where: str) -> None:
        """A coupler or a crossing."""
        for row in (port, port + 1):
            self._end(row, where)
        self.nets[port : port + 2] = self.walk.double(
            self.nets[port], self.nets[port + 1], self.backwards, kind, where
        )
        if kind is Kind.CROSSING:
            self.off_um[port : port + 2] = self.off_um[port + 1], self.off_um[port]


def _through_mesh(
    walk: _Walk,
    mesh: Mesh,
    backwards: bool,
    pads: Pads,
    where: str,
    technology: Technology,
    link_um: float,
) -> _Mzis:
    """What lies behind a mesh whose outer guides are named, every MZI looked for on the way."""
    side, name = ("out", "u") if backwards else ("in", "v")
    nets = [walk.named(f"{where}.{side}{k}") for k in range(mesh.ports)]
    rows = range(mesh.ports)
    mzis = _Mzis(walk, pads, 2 if backwards else 0, backwards, nets)
    mzis.open_um[:] = [link_um] * mesh.ports
    mzis.off_um[:] = [0.0] * mesh.ports
    bare = drawn_as_crossing(mesh.theta_state, mesh.phi_state, technology)
    paths = mesh_paths(mesh, bare, technology)
    where = f"{where}.{name}"

    def outs() -> None:
        for port, um in enumerate(paths.out_um.tolist()):
            mzis.phase(OUT, port, (port,), [um], f"{where}.out.p{port}")

    if backwards:
        outs()
    starts = np.searchsorted(mesh.column, np.arange(mesh.columns + 1))
    for c in reversed(range(mesh.columns)) if backwards else range(mesh.columns):
        inside = range(starts[c], starts[c + 1])
        met = set()
        for k in inside:
            port = int(mesh.port[k])
            met |= {port, port + 1}
            _through_mzi(mzis, paths, k, port, bool(bare[k]), f"{where}.c{c}.p{port}")
        corridor, passing = float(paths.corridor_um[c]), float(paths.passing_um[c])
        for row in rows:
            if row not in met:
                mzis.along(row, passing)
            elif not backwards:
                mzis.along(row, corridor)
    if not backwards:
        outs()
    return mzis


def _through_mzi(
    mzis: _Mzis, paths: MeshPaths, k: int, port: int, crossing: bool, name: str
) -> None:
    """One MZI or crossing, in the direction of the walk; backwards its corridor comes first."""
    both = (port, port + 1)
    before, behind = float(paths.before_um[k]), float(paths.behind_um[k])
    corridor = float(paths.corridor_um[paths.column[k]])

    def phase(kind: int) -> None:
        lengths, word = (paths.phi_um, "phi") if kind == PHI else (paths.theta_um, "theta")
        mzis.phase(kind, k, both, lengths[k].tolist(), f"{name}.{word}")

    def body(um: float) -> None:
        for row in both:
            mzis.along(row, um)

    def couple(kind: Kind) -> None:
        first, second = (behind, before) if mzis.backwards else (before, behind)
        body(first)
        mzis.pair(kind, port, name)
        body(second)

    if mzis.backwards:
        body(corridor)
    else:
        phase(PHI)
    if crossing:
        couple(Kind.CROSSING)
    else:
        couple(Kind.COUPLER)
        phase(THETA)
        couple(Kind.COUPLER)
    if mzis.backwards:
        phase(PHI)


def _through_attenuators(
    walk: _Walk, sigma: Attenuators, front: _Mzis, where: str, technology: Technology, links: Links
) -> None:
    """From the lower input to the upper output of every attenuator that is there."""
    paths = attenuator_paths(sigma, technology)
    removed = (sigma.state == ShifterState.REMOVED).tolist()
    for k, gone in enumerate(removed):
        front.along(k, links.to_s)
        if gone:
            front.along(k, paths.removed_um + links.to_u)
            continue
        if not front.nets[k]:
            continue
        name = f"{where}.c0.p{k}"
        one = _Mzis(walk, front.pads, 1, False, [0, front.nets[k]])
        one.open_um[:] = [0.0, front.open_um[k] + paths.entering_um]
        one.off_um[:] = [0.0, front.off_um[k]]
        one.pair(Kind.COUPLER, 0, name)
        for row in (0, 1):
            one.along(row, paths.beside_um)
        one.phase(THETA, k, (0, 1), paths.theta_um[k].tolist(), f"{name}.sigma")
        for row in (0, 1):
            one.along(row, paths.beside_um)
        one.pair(Kind.COUPLER, 0, name)
        front.nets[k] = one.nets[0]
        front.open_um[k] = paths.leaving_um + links.to_u
        front.off_um[k] = one.off_um[1]

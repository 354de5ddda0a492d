"""Layout versus schematic: the circuit found in a GDS file against the program, device by device.

V is followed from its named inputs forwards, U from its named outputs backwards; they must meet
at the attenuators. Every heater must lie between the signal pad and the ground pad that the
program gives it, by the names of the pads' labels. What is met twice, or never, is wrong too.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onnx2mzi.backends.gds.extraction import Device, Extracted, Kind, extract
from onnx2mzi.ir import Attenuators, BlockPlacement, Mesh, MeshTile, Program
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.wiring import numbered_tiles, pad_name, placed_blocks, tile_wiring
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import drawn_as_crossing

# (block, kind, shifter) -> {arm: (signal pad, ground pad)}; see pipeline.wiring.Heaters.source.
Pads = Mapping[tuple[int, int, int], Mapping[int, frozenset[str]]]
THETA, PHI, OUT = range(3)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and every difference in words."""

    devices: int
    heaters: int
    differences: tuple[str, ...]


def compare_layout(path: Path, program: Program, technology: Technology) -> Comparison:
    """Extract the circuit of a design.gds and compare it with a placed program."""
    return compare_circuit(extract(path, technology), program, technology)


def compare_circuit(found: Extracted, program: Program, technology: Technology) -> Comparison:
    """Every difference between an extracted circuit and a placed program."""
    walk = _Walk(found)
    placed = placed_blocks(program)
    for number, layer, grid, index, tile in numbered_tiles(program):
        places = placed[layer, grid, index]
        pads = wired_pads(tile, places, technology, number)
        _compare_tile(walk, tile, pads, f"{layer}.g{grid}.t{index}", technology)
    for k, device in enumerate(found.devices):
        if k not in walk.met:
            walk.differ(f"{device} is not in the program")
    heaters = sum(device.kind is Kind.HEATER for device in found.devices)
    return Comparison(len(found.devices), heaters, tuple(walk.differences))


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
        self.net_of = {name: net for net, name in found.labels.items()}
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
    walk: _Walk, tile: MeshTile, pads: Pads, where: str, technology: Technology
) -> None:
    inputs = [walk.named(f"{where}.in{k}") for k in range(tile.v.ports)]
    outputs = [walk.named(f"{where}.out{k}") for k in range(tile.u.ports)]
    front = _through_mesh(walk, tile.v, inputs, False, pads, 0, f"{where}.v", technology)
    back = _through_mesh(walk, tile.u, outputs, True, pads, 2, f"{where}.u", technology)
    channels = len(tile.sigma)
    front[:channels] = _through_attenuators(walk, tile.sigma, front[:channels], pads, f"{where}.s")
    for k, (left, right) in enumerate(zip(front[:channels], back[:channels], strict=True)):
        if left and right and left != right:
            walk.differ(f"{where}: channel {k} is not one guide from V to U")
    for name, nets, backwards in (("v", front, False), ("u", back, True)):
        for k, net in enumerate(nets[channels:], channels):
            if net and (net, backwards) in walk.at:
                walk.differ(f"{where}.{name}: guide {k} does not end where it must")


@dataclass(frozen=True, slots=True)
class _Mzis:
    """What is looked for along a mesh."""

    walk: _Walk
    pads: Pads
    block: int
    backwards: bool
    nets: list[int] = field(default_factory=list)

    def phase(self, kind: int, shifter: int, port: int, where: str) -> None:
        """Both arms of a shifter."""
        arms = self.pads.get((self.block, kind, shifter), {})
        for arm in (0, 1):
            pads = arms.get(arm)
            if pads is not None:
                self.nets[port + arm] = self.walk.single(
                    self.nets[port + arm], self.backwards, pads, where
                )

    def pair(self, kind: Kind, port: int, where: str) -> None:
        """A coupler or a crossing."""
        self.nets[port : port + 2] = self.walk.double(
            self.nets[port], self.nets[port + 1], self.backwards, kind, where
        )


def _through_mesh(
    walk: _Walk,
    mesh: Mesh,
    nets: list[int],
    backwards: bool,
    pads: Pads,
    block: int,
    where: str,
    technology: Technology,
) -> list[int]:
    """The nets behind a mesh whose outer nets are given, every MZI looked for on the way."""
    mzis = _Mzis(walk, pads, block, backwards, list(nets))
    outs = range(mesh.ports)
    if backwards:
        for port in outs:
            mzis.phase(OUT, port, port, f"{where}.out.p{port}")
    bare = drawn_as_crossing(mesh.theta_state, mesh.phi_state, technology)
    column, port_of = mesh.column.tolist(), mesh.port.tolist()
    order = range(len(mesh))
    for k in reversed(order) if backwards else order:
        port, name = port_of[k], f"{where}.c{column[k]}.p{port_of[k]}"
        if bare[k]:
            mzis.pair(Kind.CROSSING, port, name)
            continue
        if not backwards:
            mzis.phase(PHI, k, port, f"{name}.phi")
        mzis.pair(Kind.COUPLER, port, name)
        mzis.phase(THETA, k, port, f"{name}.theta")
        mzis.pair(Kind.COUPLER, port, name)
        if backwards:
            mzis.phase(PHI, k, port, f"{name}.phi")
    if not backwards:
        for port in outs:
            mzis.phase(OUT, port, port, f"{where}.out.p{port}")
    return mzis.nets


def _through_attenuators(
    walk: _Walk, sigma: Attenuators, nets: list[int], pads: Pads, where: str
) -> list[int]:
    """From the lower input to the upper output of every attenuator that is there."""
    behind = list(nets)
    for k in np.flatnonzero(sigma.state != ShifterState.REMOVED).tolist():
        if not nets[k]:
            continue
        one = _Mzis(walk, pads, 1, False, [0, nets[k]])
        name = f"{where}.c0.p{k}"
        one.pair(Kind.COUPLER, 0, name)
        one.phase(THETA, k, 0, f"{name}.sigma")
        one.pair(Kind.COUPLER, 0, name)
        behind[k] = one.nets[0]
    return behind

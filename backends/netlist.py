"""`netlist`: the photonic circuit in the schema of gdsfactory and SAX, `netlist.yml`.

One circuit a block (`L0_G0_T0_v`, `..._s`, `..._u`), one a tile that joins its blocks, and
`top_level` with every tile; components are those of `netlist_models`. Gains and readout angles
are electronic and not part of it. What a shifter makes is split over its arms as it is drawn.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from onnx2mzi.ir import Attenuators, Mesh, MeshTile, Program, Stage
from onnx2mzi.physics.arrays import Flags, Real
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms, pass_phase_rad
from onnx2mzi.pipeline.backend import Backend, Emission, chosen_layers
from onnx2mzi.pipeline.base import option
from onnx2mzi.pipeline.chip import Alike

NETLIST_FILE = "netlist.yml"


@dataclass(frozen=True, slots=True)
class Instance:
    """A component with its settings, all numbers."""

    component: str
    settings: dict[str, float]


@dataclass(frozen=True, slots=True)
class Circuit:
    """Instances by name, connections from port to port, and outer ports: `name,port`."""

    instances: dict[str, Instance]
    connections: dict[str, str]
    ports: dict[str, str]


def arm_phases_rad(phase_rad: Real, state: Flags, drive: Drive) -> tuple[Real, Real]:
    """What the upper and the lower arm make, shapes (K,): their difference is the phase."""
    arm = arms(phase_rad, state, drive)
    pair = np.where(arm == Arm.PAIR, phase_rad / 2, 0.0)
    upper = np.where(arm == Arm.UPPER, phase_rad, pair)
    lower = np.where(arm == Arm.LOWER, -phase_rad, -pair)
    return np.asarray(upper), np.asarray(lower)


class _Wiring:
    """Follows every guide of a block from one component to the next."""

    def __init__(self, guides: int) -> None:
        self.instances: dict[str, Instance] = {}
        self.connections: dict[str, str] = {}
        self.ports: dict[str, str] = {}
        self.ends: list[str | None] = [None] * guides

    def add(self, name: str, instance: Instance, guides: tuple[int, ...]) -> None:
        """Put a component on neighbouring guides."""
        self.instances[name] = instance
        for side, guide in enumerate(guides):
            end = self.ends[guide]
            if end is None:
                self.ports[f"in{guide}"] = f"{name},i{side}"
            else:
                self.connections[end] = f"{name},i{side}"
            self.ends[guide] = f"{name},o{side}"

    def done(self) -> Circuit:
        """The circuit; a guide without any component becomes one."""
        for guide in range(len(self.ends)):
            if self.ends[guide] is None:
                self.add(f"w_p{guide}", Instance("guide", {}), (guide,))
        ports = {f"in{guide}": self.ports[f"in{guide}"] for guide in range(len(self.ends))}
        outs = {f"out{guide}": str(end) for guide, end in enumerate(self.ends)}
        return Circuit(self.instances, self.connections, ports | outs)


def mesh_circuit(mesh: Mesh) -> Circuit:
    """A mesh: instances `c3_p2` for MZIs and crossings, `w_c3_p2` and `w_p2` for guides that
    carry a phase before that MZI or behind the last one, `out_p2` for shifters on guides."""
    wiring = _Wiring(mesh.ports)
    crossing = (mesh.theta_state == ShifterState.REMOVED) & (mesh.phi_state != ShifterState.ACTIVE)
    passing = pass_phase_rad(mesh.drive)
    done = [0] * mesh.ports

    def passed(guide: int, column: int, name: str) -> None:
        """The columns that the guide has passed since its last component, up to `column`."""
        if column > done[guide]:
            turn = (column - done[guide]) * passing
            wiring.add(name, Instance("guide", {"phase_rad": turn}), (guide,))
        done[guide] = column + 1

    rows = zip(
        mesh.column.tolist(),
        mesh.port.tolist(),
        crossing.tolist(),
        *(values.tolist() for values in _mzi_phases(mesh)),
        strict=True,
    )
    for column, port, bare, phi_upper, phi_lower, theta_upper, theta_lower in rows:
        if passing:
            for guide in (port, port + 1):
                passed(guide, column, f"w_c{column}_p{guide}")
        settings = _mzi_settings(phi_upper, phi_lower, theta_upper, theta_lower)
        instance = Instance("crossing" if bare else "mzi", settings)
        wiring.add(f"c{column}_p{port}", instance, (port, port + 1))
    if passing:
        for guide in range(mesh.ports):
            passed(guide, mesh.columns, f"w_p{guide}")
    for guide in np.flatnonzero(mesh.out_state != ShifterState.REMOVED).tolist():
        phase = {"phase_rad": float(mesh.out_rad[guide])}
        wiring.add(f"out_p{guide}", Instance("guide", phase), (guide,))
    return wiring.done()


def _mzi_phases(mesh: Mesh) -> tuple[Real, Real, Real, Real]:
    """What phi and theta make on the upper and the lower arm, shapes (K,)."""
    phi = arm_phases_rad(mesh.phi_rad, mesh.phi_state, mesh.drive)
    return *phi, *arm_phases_rad(mesh.theta_rad, mesh.theta_state, mesh.drive)


def _mzi_settings(
    phi_upper: float, phi_lower: float, theta_upper: float, theta_lower: float
) -> dict[str, float]:
    settings: dict[str, float] = {}
    if phi_upper:
        settings["phi_upper_rad"] = phi_upper
    if phi_lower:
        settings["phi_lower_rad"] = phi_lower
    if theta_upper:
        settings["theta_upper_rad"] = theta_upper
    if theta_lower:
        settings["theta_lower_rad"] = theta_lower
    return settings


def attenuators_circuit(sigma: Attenuators) -> Circuit:
    """A row of attenuators, instances `p2`; a removed one is a guide a quarter wave long."""
    wiring = _Wiring(len(sigma))
    upper, lower = arm_phases_rad(sigma.theta_rad, sigma.state, sigma.drive)
    for k, state in enumerate(sigma.state.tolist()):
        if state == ShifterState.REMOVED:
            instance = Instance("guide", {"phase_rad": float(np.pi / 2)})
        else:
            settings = {"theta_upper_rad": float(upper[k]), "theta_lower_rad": float(lower[k])}
            instance = Instance("attenuator", {k: v for k, v in settings.items() if v != 0.0})
        wiring.add(f"p{k}", instance, (k,))
    return wiring.done()


def tile_circuit(tile: MeshTile, name: str) -> Circuit:
    """A tile: its blocks `v`, `s`, `u` joined channel by channel, other guides left open."""
    channels = len(tile.sigma)
    parts = ("v", "s", "u") if channels else ("v", "u")
    instances = {part: Instance(f"{name}_{part}", {}) for part in parts}
    connections: dict[str, str] = {}
    for k in range(channels):
        connections[f"v,out{k}"] = f"s,in{k}"
        connections[f"s,out{k}"] = f"u,in{k}"
    ports = {f"in{k}": f"v,in{k}" for k in range(tile.v.ports)}
    ports |= {f"out{k}": f"u,out{k}" for k in range(tile.u.ports)}
    return Circuit(instances, connections, ports)


def circuits(
    program: Program, layers: Container[str] | None = None, edge_db: float = 0.0
) -> Iterator[tuple[str, Circuit]]:
    """Every circuit of the program by name, blocks before their tile, `top_level` last.

    Of `layers` only, all if None; names are those of the whole chip. Edge couplers that lose
    `edge_db` are parts of `top_level`; those that lose nothing are left out.
    """
    for name, part in parts(program, layers, edge_db):
        yield name, mesh_circuit(part) if isinstance(part, Mesh) else part


def parts(
    program: Program, layers: Container[str] | None = None, edge_db: float = 0.0
) -> Iterator[tuple[str, Mesh | Circuit]]:
    """As `circuits`, meshes as they are."""
    names: list[tuple[str, MeshTile]] = []
    for position, layer in enumerate(program.layers):
        if layers is not None and layer.name not in layers:
            continue
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                name = f"L{position}_G{g}_T{t}"
                names.append((name, tile))
                yield f"{name}_v", tile.v
                if len(tile.sigma):
                    yield f"{name}_s", attenuators_circuit(tile.sigma)
                yield f"{name}_u", tile.u
                yield name, tile_circuit(tile, name)
    ports: dict[str, str] = {}
    for name, tile in names:
        ports |= {f"{name}_in{k}": f"{name},in{k}" for k in range(tile.v.ports)}
        ports |= {f"{name}_out{k}": f"{name},out{k}" for k in range(tile.u.ports)}
    top = Circuit({name: Instance(name, {}) for name, _ in names}, {}, ports)
    yield "top_level", top if edge_db == 0 else with_couplers(top, edge_db)


def with_couplers(circuit: Circuit, edge_db: float) -> Circuit:
    """The circuit with an edge coupler `edge_<port>` at every outer port."""
    coupler = Instance("edge", {"loss_db": edge_db})
    instances = circuit.instances | {f"edge_{port}": coupler for port in circuit.ports}
    connections = dict(circuit.connections)
    ports: dict[str, str] = {}
    for port, inner in circuit.ports.items():
        # Light enters a coupler of an input from outside, and one of an output from inside.
        entering = inner.split(",")[1].startswith("in")
        connections[inner] = f"edge_{port},{'o0' if entering else 'i0'}"
        ports[port] = f"edge_{port},{'i0' if entering else 'o0'}"
    return Circuit(instances, connections, ports)


def netlist_text(
    program: Program, layers: Container[str] | None = None, edge_db: float = 0.0
) -> Iterator[str]:
    """The text of netlist.yml in pieces, one a circuit."""
    yield "".join(
        f"# L{k} is layer {layer.name!r}\n"
        for k, layer in enumerate(program.layers)
        if layers is None or layer.name in layers
    )
    known = Alike[Frame]()
    for name, part in parts(program, layers, edge_db):
        if isinstance(part, Mesh):
            yield mesh_text(name, part, known)
        else:
            yield circuit_text(name, part)


def circuit_text(name: str, circuit: Circuit) -> str:
    """One circuit as YAML."""
    instances = [
        f"    {key}: {{component: {instance.component}, settings: {_settings(instance.settings)}}}"
        for key, instance in circuit.instances.items()
    ]
    return "\n".join([f"{name}:", *_section("instances", instances), _joints(circuit)]) + "\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """The text of a mesh but for its phases: the start of every instance's line, which MZI or,
    counted from behind them, which guide's shifter it is (None: `rest` says it all), the rest."""

    instances: list[tuple[str, int | None, str]]
    joints: str


def mesh_text(name: str, mesh: Mesh, known: Alike[Frame]) -> str:
    """As `circuit_text` of `mesh_circuit`; what meshes of one structure share is made once."""
    arrays = (mesh.column, mesh.port, mesh.theta_state, mesh.phi_state, mesh.out_state)
    head = f"{mesh.ports} {len(mesh)} {mesh.drive} ".encode()
    frame = known.of(
        b"".join([head, *(array.tobytes() for array in arrays)]), partial(_frame, mesh)
    )
    phases = zip(*(values.tolist() for values in _mzi_phases(mesh)), strict=True)
    settings = [_settings(_mzi_settings(*four)) for four in phases]
    settings += [_settings({"phase_rad": rad}) for rad in mesh.out_rad.tolist()]
    lines = [
        f"{start}{rest if which is None else settings[which]}}}"
        for start, which, rest in frame.instances
    ]
    return "\n".join([f"{name}:", *_section("instances", lines), frame.joints]) + "\n"


def _frame(mesh: Mesh) -> Frame:
    circuit = mesh_circuit(mesh)
    places = zip(mesh.column.tolist(), mesh.port.tolist(), strict=True)
    number = {f"c{column}_p{port}": k for k, (column, port) in enumerate(places)}
    number |= {f"out_p{guide}": len(mesh) + guide for guide in range(mesh.ports)}
    instances = [
        (
            f"    {key}: {{component: {instance.component}, settings: ",
            number.get(key),
            _settings(instance.settings),
        )
        for key, instance in circuit.instances.items()
    ]
    return Frame(instances, _joints(circuit))


def _joints(circuit: Circuit) -> str:
    lines: list[str] = []
    for section, pairs in (("connections", circuit.connections), ("ports", circuit.ports)):
        lines += _section(section, [f"    {key}: {value}" for key, value in pairs.items()])
    return "\n".join(lines)


def _section(name: str, lines: list[str]) -> list[str]:
    return [f"  {name}:", *lines] if lines else [f"  {name}: {{}}"]


def _settings(settings: dict[str, float]) -> str:
    text = ", ".join([f"{key}: {value!r}" for key, value in settings.items()])
    # Readers of YAML 1.1 take 1e-05 for a text, and 1.0e-05 for a number.
    return "{" + (_NO_POINT.sub(r"\1.0e", text) if "e-" in text else text) + "}"


_NO_POINT = re.compile(r"(?<![\d.])(\d+)e")


def write_netlist(
    program: Program,
    directory: Path,
    layers: Container[str] | None = None,
    edge_db: float = 0.0,
) -> tuple[str, ...]:
    """Write netlist.yml into an existing directory; returns its name. Deterministic.

    `edge_db` is what an edge coupler loses.
    """
    with (directory / NETLIST_FILE).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(netlist_text(program, layers, edge_db))
    return (NETLIST_FILE,)


@dataclass(frozen=True, slots=True)
class Netlist(Backend):
    """netlist.yml: the photonic circuit for gdsfactory and SAX, one circuit a tile."""

    name: ClassVar[str] = "netlist"
    most_mzis: ClassVar[int | None] = 1_000_000
    stage_in: ClassVar[Stage] = Stage.MESH

    layers: tuple[str, ...] = option((), "layers to write; all if none is named")

    def chosen(self) -> tuple[str, ...]:
        return self.layers

    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        chosen = chosen_layers(emission.program, self.layers, self.name)
        edge_db = emission.technology.edge.coupler_db
        return write_netlist(emission.program, directory, chosen, edge_db)

"""The netlist is the circuit: its S-matrix, by SAX and by a walk of our own, is the emulator's."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnx2mzi.backends.netlist import (
    Circuit,
    Frame,
    circuit_text,
    circuits,
    mesh_circuit,
    mesh_text,
    netlist_text,
    parts,
    tile_circuit,
    write_netlist,
)
from onnx2mzi.backends.netlist_models import MODELS
from onnx2mzi.emulate.transfer import tile_transfer
from onnx2mzi.ir import Mesh, MeshTile, Program
from onnx2mzi.physics.arrays import Complex
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.chip import Alike

MakeProgram = Callable[..., Program]
MakeTile = Callable[..., MeshTile]


def optical(tile: MeshTile) -> Complex:
    """The emulator's transfer without gain and readout, which are electronic."""
    return tile_transfer(replace(tile, gain=1.0, readout_rad=np.zeros(len(tile.outputs))))


def tiles_of(program: Program) -> dict[str, MeshTile]:
    found = {}
    for position, layer in enumerate(program.layers):
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                found[f"L{position}_G{g}_T{t}"] = tile
    return found


def with_tile(program: Program, tile: MeshTile) -> Program:
    """The program with one layer of one tile."""
    grid = replace(program.layers[0].grids[0], tiles=(tile,))
    return replace(program, layers=(replace(program.layers[0], grids=(grid,)),))


def transfer(name: str, known: dict[str, Circuit]) -> dict[tuple[str, str], complex]:
    """Amplitudes from every input to every output: light followed through a circuit that is in
    the order in which light passes it."""
    circuit = known[name]
    targets = circuit.connections
    outs = {place: port for port, place in circuit.ports.items() if port.startswith("out")}
    result: dict[tuple[str, str], complex] = {}
    for port, start in circuit.ports.items():
        if not port.startswith("in"):
            continue
        light: dict[str, complex] = {start: 1.0}
        for part, instance in circuit.instances.items():
            if instance.component in known:
                scatter = transfer(instance.component, known)
            else:
                scatter = MODELS[instance.component](**instance.settings)
            behind: dict[str, complex] = {}
            for (a, b), value in scatter.items():
                if a.startswith("i") and f"{part},{a}" in light:
                    behind[b] = behind.get(b, 0) + value * light[f"{part},{a}"]
            for b, value in behind.items():
                place = f"{part},{b}"
                light[targets.get(place, place)] = value
        result |= {(port, outs[place]): value for place, value in light.items() if place in outs}
    return result


@pytest.mark.parametrize("drive", Drive)
@pytest.mark.parametrize("seed", range(4))
def test_walking_the_netlist_gives_the_emulators_transfer(
    make_program: MakeProgram, seed: int, drive: Drive
) -> None:
    program = make_program(seed, drive=drive)
    known = dict(circuits(program))
    for name, tile in tiles_of(program).items():
        found = np.zeros((tile.u.ports, tile.v.ports), complex)
        for (a, b), value in transfer(name, known).items():
            found[int(b[3:]), int(a[2:])] = value
        assert found == pytest.approx(optical(tile), abs=1e-12)


@pytest.mark.parametrize("drive", Drive)
def test_sax_gives_the_emulators_transfer(
    make_program: MakeProgram, make_tile: MakeTile, drive: Drive, tmp_path: Path
) -> None:
    sax = pytest.importorskip("sax", reason="simulation needs the extra 'sim' (sax)")
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(2)
    tile = make_tile(rng, 4, 3, drive)
    while len(tile.sigma) < 2:
        tile = make_tile(rng, 4, 3, drive)
    program = with_tile(make_program(0), tile)
    write_netlist(program, tmp_path)
    netlist = sax.load_netlist(tmp_path / "netlist.yml")
    simulate, _ = sax.circuit(netlist, models=MODELS)
    scatter = sax.sdict(simulate())
    found = np.array(
        [
            [complex(scatter[f"L0_G0_T0_in{k}", f"L0_G0_T0_out{j}"]) for k in range(3)]
            for j in range(4)
        ]
    )
    assert np.abs(found - optical(tile)).max() < 1e-9


def test_every_port_has_one_partner_and_names_are_identifiers(make_program: MakeProgram) -> None:
    for seed in range(6):
        for name, circuit in circuits(make_program(seed)):
            assert name.isidentifier()
            assert all(key.isidentifier() for key in (*circuit.instances, *circuit.ports))
            used = [*circuit.connections, *circuit.connections.values(), *circuit.ports.values()]
            assert len(used) == len(set(used))
            for place in used:
                assert place.split(",")[0] in circuit.instances


def test_the_top_level_holds_every_tile_and_the_same_program_gives_the_same_bytes(
    make_program: MakeProgram, tmp_path: Path
) -> None:
    program = make_program(2)
    known = dict(circuits(program))
    assert list(known["top_level"].instances) == list(tiles_of(program))
    assert write_netlist(program, tmp_path) == ("netlist.yml",)
    first = (tmp_path / "netlist.yml").read_bytes()
    write_netlist(make_program(2), tmp_path)
    assert (tmp_path / "netlist.yml").read_bytes() == first
    assert first.decode() == "".join(netlist_text(program))


def test_numbers_are_numbers_for_yaml_1_1(make_tile: MakeTile, make_program: MakeProgram) -> None:
    """PyYAML takes 1e-05 for a text; every number must have a point."""
    program = make_program(0)
    tile = make_tile(np.random.default_rng(0), 4, 4, Drive.UPPER_ARM)
    mesh = replace(
        tile.u,
        theta_rad=np.full(len(tile.u), 1e-5),
        theta_state=np.full(len(tile.u), 2, np.uint8),
    )
    text = "".join(netlist_text(with_tile(program, replace(tile, u=mesh))))
    assert "theta_upper_rad: 1.0e-05" in text
    numbers = re.findall(r"_rad: ([^,}]+)", text)
    assert numbers
    assert all(re.fullmatch(r"-?\d+\.\d+(e[+-]\d+)?", number) for number in numbers)


def test_a_tile_without_channels_has_no_attenuators(make_tile: MakeTile) -> None:
    rng = np.random.default_rng(0)
    tile = make_tile(rng, 3, 3, Drive.ARM_CHOICE)
    while len(tile.sigma):
        tile = make_tile(rng, 3, 3, Drive.ARM_CHOICE)
    circuit = tile_circuit(tile, "L0_G0_T0")
    assert list(circuit.instances) == ["v", "u"]
    assert not circuit.connections


@pytest.mark.parametrize("drive", Drive)
def test_the_text_of_meshes_that_share_a_frame_is_that_of_their_circuits(
    make_program: MakeProgram, drive: Drive
) -> None:
    program = make_program(2, drive=drive)
    known = Alike[Frame]()
    seen = 0
    for name, part in [*parts(program), *parts(program)]:
        if isinstance(part, Mesh):
            turned = replace(part, theta_rad=-part.theta_rad, out_rad=part.out_rad / 2)
            for mesh in (part, turned):
                expected = circuit_text(name, mesh_circuit(mesh))
                assert mesh_text(name, mesh, known) == expected
                seen += 1
    assert seen > 4
    whole = "".join(circuit_text(name, circuit) for name, circuit in circuits(program))
    assert "".join(list(netlist_text(program))[1:]) == whole


def test_edge_couplers_lose_what_the_technology_says(
    make_program: MakeProgram, tmp_path: Path
) -> None:
    program = make_program(5)
    known, plain = (dict(circuits(program, edge_db=db)) for db in (3.0, 0.0))
    top = known["top_level"]
    assert set(top.ports) == set(plain["top_level"].ports)
    couplers = {n: i for n, i in top.instances.items() if i.component == "edge"}
    assert set(couplers) == {f"edge_{port}" for port in top.ports}
    for inner, outer in top.connections.items():
        coupler, port = outer.split(",")
        # Inputs are fed by the coupler's output, outputs feed its input.
        assert port == ("o0" if ",in" in inner else "i0")
        assert top.ports[coupler.removeprefix("edge_")].split(",")[0] == coupler
    assert abs(MODELS["edge"](loss_db=3.0)["i0", "o0"]) ** 2 == pytest.approx(10**-0.3)
    write_netlist(program, tmp_path, edge_db=3.0)
    assert "component: edge, settings: {loss_db: 3.0}" in (tmp_path / "netlist.yml").read_text()

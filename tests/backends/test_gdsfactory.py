"""What gdsfactory makes of the files: the netlist loads, the layout imports with its ports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.backends.netlist import netlist_text
from onnx2mzi.ir import MeshTile, Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import load_technology

gf: Any = pytest.importorskip("gdsfactory", reason="needs gdsfactory and Python 3.12")
yaml: Any = pytest.importorskip("yaml", reason="comes with gdsfactory")

MakeProgram = Callable[..., Program]
TECHNOLOGY = load_technology("cornerstone_si220")
PORTS = {
    "mzi": ("i0", "i1", "o0", "o1"),
    "crossing": ("i0", "i1", "o0", "o1"),
    "attenuator": ("i0", "o0"),
    "guide": ("i0", "o0"),
}


@pytest.fixture
def program(make_program: MakeProgram) -> Program:
    gf.gpdk.PDK.activate()
    return place_program(make_program(2, drive=Drive.ARM_CHOICE), TECHNOLOGY)


def box(name: str) -> Callable[..., Any]:
    """A component of the netlist as a box, inputs on the left."""

    def made(**settings: float) -> Any:
        component = gf.Component()
        component.add_polygon([(0, -20), (10, -20), (10, 5), (0, 5)], layer=(1, 0))
        for port in PORTS[name]:
            left = port.startswith("i")
            component.add_port(
                name=port,
                center=(0.0 if left else 10.0, -10.0 * int(port[1:])),
                width=0.5,
                orientation=180 if left else 0,
                layer=(1, 0),
            )
        return component

    made.__name__ = name
    return gf.cell(made)  # type: ignore[no-any-return]


def test_every_circuit_of_the_netlist_loads(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = gf.get_active_pdk().cells
    for name in PORTS:
        monkeypatch.setitem(cells, name, box(name))
    circuits = yaml.safe_load("".join(netlist_text(program)))
    for name, circuit in circuits.items():
        made = gf.read.from_yaml(yaml.safe_dump({"name": name, **circuit}))
        assert {port.name for port in made.ports} == circuit["ports"].keys()
        assert {instance.name for instance in made.insts} == circuit["instances"].keys()
        monkeypatch.setitem(cells, name, lambda made=made: made)
    tiles = sum(len(grid.tiles) for layer in program.layers for grid in layer.grids)
    assert len(circuits["top_level"]["instances"]) == tiles


def test_the_layout_imports_with_its_ports(program: Program, tmp_path: Path) -> None:
    write_gds(program, TECHNOLOGY, tmp_path)
    component = gf.import_gds(tmp_path / "design.gds")
    # Cells have pins of their own; labels with dots are those of tiles.
    component.flatten()
    pin = TECHNOLOGY.markers.pin
    wanted = set()
    for layer in program.layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                assert isinstance(tile, MeshTile)
                name = f"{layer.name}.g{g}.t{t}"
                wanted |= {f"{name}.in{k}" for k in range(tile.v.ports)}
                wanted |= {f"{name}.out{k}" for k in range(tile.u.ports)}
        gf.add_ports.add_ports_from_labels(
            component,
            port_width=TECHNOLOGY.guide.width_um,
            port_layer=TECHNOLOGY.layers.core,
            layer_label=pin,
            get_name_from_label=True,
            port_filter_prefix=layer.name,
        )
    assert {port.name for port in component.ports} == wanted
    assert {port.orientation for port in component.ports} == {0.0, 180.0}

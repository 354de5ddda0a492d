"""Pictures of the chip and KLayout's colours: complete, the same bytes, and readable by KLayout."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from onnx2mzi.backends.gds import write_gds
from onnx2mzi.backends.gds.layer_colours import write_layer_colours
from onnx2mzi.backends.gds.picture import HEAT, chip_svg, classes, scene, write_png
from onnx2mzi.backends.gds.raster import COLOURS, chip_pixels
from onnx2mzi.ir import Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.census import layer_census
from onnx2mzi.pipeline.edges import edge_plan
from onnx2mzi.tech import Technology, load_technology, technology_names
from onnx2mzi.tech.edge import Edge, FanOut

MakeProgram = Callable[..., Program]
TECHNOLOGY = load_technology("cornerstone_si220")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def program(make_program: MakeProgram) -> Program:
    return place_program(make_program(1, drive=Drive.ARM_CHOICE), TECHNOLOGY)


def test_the_svg_shows_every_heater_in_its_colour(program: Program) -> None:
    seen = scene(program, TECHNOLOGY)
    text = chip_svg(seen)
    assert text == chip_svg(scene(program, TECHNOLOGY))
    paths = ElementTree.fromstring(text).findall(f"{SVG}path")
    shown = {str(path.get("fill")): str(path.get("d")).count("z") for path in paths}
    kinds = np.bincount(classes(seen.heat), minlength=len(HEAT))
    assert {HEAT[k]: n for k, n in enumerate(kinds.tolist()) if n} == {
        colour: shown[colour] for colour in HEAT if colour in shown
    }
    active = sum(layer_census(layer, 1.0).phases_active for layer in program.layers)
    assert len(seen.heaters) == active
    assert len(seen.mzis) + len(seen.crossings) > 0
    assert len(seen.pads) > 0


def test_layers_that_are_not_drawn_are_not_shown(program: Program) -> None:
    name = program.layers[0].name
    some, everything = scene(program, TECHNOLOGY, {name}), scene(program, TECHNOLOGY)
    assert 0 < len(some.heaters) < len(everything.heaters)
    assert len(scene(program, TECHNOLOGY, set()).pads) == 0


def test_powers_choose_the_colour() -> None:
    assert classes(np.array([0.0, 0.17, 0.99, 1.0, 7.0])).tolist() == [0, 1, 5, 5, 5]


@pytest.mark.parametrize("name", technology_names())
def test_every_layer_has_a_colour(name: str, tmp_path: Path) -> None:
    technology = load_technology(name)
    write_layer_colours(technology, tmp_path)
    root = ElementTree.parse(tmp_path / "design.lyp").getroot()
    sources = {entry.findtext("source") for entry in root.findall("properties")}
    wanted = {
        f"{layer[0]}/{layer[1]}@1"
        for group in (technology.layers, technology.markers)
        for layer in (getattr(group, entry.name) for entry in fields(group))
        if layer is not None
    }
    if technology.edge.drawn:
        wanted.add("{}/{}@1".format(*technology.edge.marker))
    assert sources == wanted


def with_fan_out() -> Technology:
    return replace(TECHNOLOGY, edge=replace(TECHNOLOGY.edge, fan_out=FanOut.ALWAYS))


@pytest.mark.parametrize("technology", [TECHNOLOGY, with_fan_out()], ids=["straight", "fan-out"])
def test_couplers_and_the_die_are_shown(program: Program, technology: Technology) -> None:
    seen, plan = scene(program, technology), edge_plan(program, technology)
    assert plan is not None
    assert seen.die == (*plan.low, *plan.high)
    # Two loops beside the ports.
    assert len(seen.couplers) == len(plan.ports) + 2
    for line, port in zip(seen.couplers, plan.ports, strict=False):
        edge = plan.high[0] if port.side else plan.low[0]
        assert line[0].tolist() == [edge, port.tip_um]
        assert line[-1].tolist() == pytest.approx(
            [edge - np.sign(edge) * plan.run_um[port.side], port.y_um]
        )
    root = ElementTree.fromstring(chip_svg(seen))
    (lines,) = root.findall(f"{SVG}path[@fill='none']")
    assert str(lines.get("d")).count("M") == len(seen.couplers)
    assert len(root.findall(f"{SVG}rect")) == 2
    bare = replace(technology, edge=Edge())
    assert scene(program, bare).couplers == ()
    assert "die" not in chip_svg(scene(program, bare))


def test_pixels_show_what_the_scene_has(program: Program) -> None:
    seen = scene(program, TECHNOLOGY)
    pixels = chip_pixels(seen, 600)
    assert max(pixels.shape) == 600
    assert pixels.max() < len(COLOURS)
    x0, _, _, y1 = seen.frame
    scale = 600 / (seen.frame[2] - x0)

    def at(boxes: Real) -> list[str]:
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        rows, columns = ((y1 - y) * scale).astype(int), ((x - x0) * scale).astype(int)
        return [COLOURS[k] for k in pixels[rows, columns].tolist()]

    assert at(seen.heaters) == [HEAT[k] for k in classes(seen.heat).tolist()]
    assert set(at(seen.pads)) <= {"#c9a227", "#e2d099"}
    assert (pixels == COLOURS.index("#2c3e50")).any()


def test_klayout_draws_the_chip(program: Program, tmp_path: Path) -> None:
    pytest.importorskip("klayout.lay", reason="needs klayout (extra check)")
    write_gds(program, TECHNOLOGY, tmp_path)
    colours = tmp_path / write_layer_colours(TECHNOLOGY, tmp_path)
    seen = scene(program, TECHNOLOGY)
    write_png(tmp_path / "design.gds", seen, tmp_path / "design.png", colours)
    assert (tmp_path / "design.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "design.png").stat().st_size > 2000

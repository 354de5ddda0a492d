"""The netlist of resistors, parsed back and solved, against currents and rises as reported."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnx2mzi.backends.spice import spice_lines
from onnx2mzi.driver.emit import backends_of
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.electrical import Electrics, layer_electrics
from onnx2mzi.tech import Technology, load_technology, technology_names

EVERY = [load_technology(name) for name in technology_names()]
techs = pytest.mark.parametrize("technology", EVERY, ids=lambda t: t.name)
MakeProgram = Callable[..., Program]


def solved(lines: list[str]) -> tuple[dict[str, float], dict[str, tuple[str, str, float]]]:
    """Voltages of all nodes by nodal analysis, and the elements."""
    elements: dict[str, tuple[str, str, float]] = {}
    for line in lines:
        if line[0] in "RIV":
            name, a, b, value = line.split()
            assert name not in elements
            elements[name] = a, b, float(value)
    grounded = {part[0] for name, part in elements.items() if name[0] == "V"} | {"0"}
    nodes = {node for part in elements.values() for node in part[:2]} - grounded
    index = {node: k for k, node in enumerate(sorted(nodes))}
    matrix, drive = np.zeros((len(index), len(index))), np.zeros(len(index))
    for name, (start, end, size) in elements.items():
        ends = [(index[n], sign) for n, sign in ((start, 1.0), (end, -1.0)) if n in index]
        for i, s in ends:
            if name[0] == "I":
                drive[i] -= s * size
            for j, t in ends if name[0] == "R" else ():
                matrix[i, j] += s * t / max(size, 1e-12)
    volts = np.linalg.solve(matrix, drive)
    found = {node: float(volts[k]) for node, k in index.items()}
    return found | dict.fromkeys(grounded, 0.0), elements


def text(program: Program, technology: Technology) -> list[str]:
    return "".join(spice_lines(place_program(program, technology), technology)).splitlines()


@techs
@pytest.mark.parametrize("drive", [Drive.ARM_CHOICE, Drive.PUSH_PULL])
def test_the_solved_network_has_the_reported_rise_and_power(
    make_program: MakeProgram, technology: Technology, drive: Drive
) -> None:
    program = make_program(3, drive=drive)
    volts, elements = solved(text(program, technology))
    placed = place_program(program, technology)
    found = sum(layer_electrics(placed, technology).values(), Electrics())
    full = np.sqrt(1e-3 * technology.p_pi_mw * technology.heater.ohm)
    rise = max(v for node, v in volts.items() if "_b" in node)
    assert 100 * rise / full == pytest.approx(found.ir_drop_percent, rel=1e-6)
    heaters = {name: part for name, part in elements.items() if name.startswith("RH_")}
    assert len(heaters) == found.signals
    assert sum(name.startswith("VG_") for name in elements) == found.grounds
    for name, (a, b, ohm) in heaters.items():
        current = elements[name.replace("RH_", "ID_")][2]
        assert (volts[a] - volts[b]) / ohm == pytest.approx(current, rel=1e-6, abs=1e-12)


def test_it_is_written_on_request_and_needs_places(make_program: MakeProgram) -> None:
    assert "spice" not in {writer.name for writer in backends_of(None)}
    assert [writer.name for writer in backends_of("spice")] == ["spice"]
    with pytest.raises(UsageError, match="no places"):
        list(spice_lines(make_program(1), EVERY[0]))


@pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
def test_ngspice_agrees(make_program: MakeProgram, tmp_path: Path) -> None:
    lines = text(make_program(3, drive=Drive.ARM_CHOICE), EVERY[0])
    volts, _ = solved(lines)
    node = max((node for node in volts if "_b" in node), key=lambda n: volts[n])
    control = [".control", "op", f"print v({node})", ".endc"]
    (tmp_path / "heaters.sp").write_text("\n".join([*lines[:-1], *control, lines[-1], ""]))
    done = subprocess.run(
        ["ngspice", "-b", "heaters.sp"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (found,) = (line for line in done.stdout.splitlines() if line.startswith(f"v({node.lower()}"))
    assert float(found.split("=")[1]) == pytest.approx(volts[node], rel=1e-4)

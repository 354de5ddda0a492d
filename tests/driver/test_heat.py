"""P_pi by the layers beside the technology's; the study of a compiled chip."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnx2mzi.driver.api import compile
from onnx2mzi.driver.compare import run_on_data
from onnx2mzi.driver.heat import p_pi_note
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, load_technology

TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)


def test_p_pi_is_compared() -> None:
    note = p_pi_note(TECHNOLOGY)
    assert note["ratio"] == pytest.approx(TECHNOLOGY.p_pi_mw / note["p_pi_mw_derived"])
    honest = replace(TECHNOLOGY.heater, p_pi_mw=note["p_pi_mw_derived"])
    assert p_pi_note(replace(TECHNOLOGY, heater=honest))["note"] == "as the layers make it"
    wrong = replace(TECHNOLOGY.heater, p_pi_mw=3 * note["p_pi_mw_derived"])
    assert "not what" in p_pi_note(replace(TECHNOLOGY, heater=wrong))["note"]


@pytest.mark.whole
def test_a_compensated_chip_says_what_heat_does(tiny_onnx: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data: dict[str, np.ndarray] = {
        "x": rng.normal(size=(60, 6)).astype(np.float32),
        "y": rng.integers(0, 3, 60),
    }
    chip = compile(tiny_onnx, "canonicalize,compensate{steps=2}", data=data)
    heat = chip.report["heat"]
    assert heat["compensated"] is not None
    assert heat["loss_compensated"] < heat["loss_naive"]
    chip.save(tmp_path / "chip", emit="ir,report,phases")
    assert "<h2>Heat</h2>" in (tmp_path / "chip" / "report.html").read_text()
    np.savez(tmp_path / "data.npz", x=data["x"], y=data["y"])
    found, _ = run_on_data(tmp_path / "chip", tmp_path / "data.npz", heat=True)
    assert found["heat"]["heat_p_pi"] == pytest.approx(heat["heat_p_pi"])
    plain = compile(tiny_onnx, data=data)
    assert plain.report["heat"] is None

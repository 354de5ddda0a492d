"""Trim heaters: exact, where they pay, and what they are good for on made chips."""

import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.emulate.imperfect import Calibration, How, imperfect_program, relative_errors
from onnx2mzi.physics.imperfection import Imperfections

FABRICATED = Imperfections(fabrication_scale=1.0)


def errors(chip: onnx2mzi.Compiled, steps: int) -> float:
    drawn = imperfect_program(chip.program, chip.emission.technology)
    how = How(FABRICATED, calibration=Calibration.READOUT, retune=steps)
    found = relative_errors(drawn, drawn.matrices(how, range(4)))
    return float(np.mean(list(found.values())))


@pytest.mark.parametrize("passive", ["common", "none", "quarter"])
def test_with_every_trim_static_errors_are_undone(tiny_onnx: bytes, passive: str) -> None:
    bare = onnx2mzi.compile(tiny_onnx, optimize="canonicalize", passive=passive)
    full = onnx2mzi.compile(tiny_onnx, optimize="canonicalize,trim", passive=passive)
    assert errors(full, 0) < 1e-9
    if passive == "common":
        assert errors(bare, 0) > 0.1


def test_some_trims_undo_some_of_it(tiny_onnx: bytes) -> None:
    chips = [
        onnx2mzi.compile(tiny_onnx, optimize=f"canonicalize,trim{{share={share}}}")
        for share in (0, 0.5, 1)
    ]
    heaters = [chip.report["phases_active"] for chip in chips]
    assert heaters[0] < heaters[1] < heaters[2]
    found = [errors(chip, 60) for chip in chips]
    assert found[0] > found[1] > found[2]


def test_prune_and_quantize_keep_trims(tiny_onnx: bytes) -> None:
    bare = onnx2mzi.compile(tiny_onnx, optimize="prune{budget=0.3},quantize{bits=8}")
    kept = onnx2mzi.compile(tiny_onnx, optimize="prune{budget=0.3 keep_trim=1},quantize{bits=8}")
    assert kept.report["phases_active"] > bare.report["phases_active"]
    assert errors(kept, 0) < 1e-9 < errors(bare, 0)

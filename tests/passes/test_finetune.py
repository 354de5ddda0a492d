"""Phases set by training: on codes, against noise, and what is refused."""

import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.emulate.imperfect import imperfect_program, mesh_tiles
from onnx2mzi.errors import UsageError
from onnx2mzi.physics.quantization import CodeLaw, DriveCode


def _samples(tiny_onnx: bytes) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    answers = onnx2mzi.compile(tiny_onnx).run_original(x)["y"].argmax(axis=1)
    return {"x": x, "y": answers}


def test_trained_codes_are_codes_and_beat_the_nearest(tiny_onnx: bytes) -> None:
    pytest.importorskip("torch")
    data = _samples(tiny_onnx)
    nearest, trained = (
        onnx2mzi.compile(
            tiny_onnx,
            optimize=f"canonicalize,quantize{{bits=3 rounding={rounding} max_drop=1 lr=0.01}}",
            data=data,
        )
        for rounding in ("nearest", "trained")
    )
    assert trained.report["changed_answers"] < nearest.report["changed_answers"]
    assert trained.report["phases_active"] <= nearest.report["phases_active"]
    code = DriveCode(3, CodeLaw.PHASE)
    for _, tile in mesh_tiles(imperfect_program(trained.program, trained.emission.technology)):
        for heaters in (tile.v.theta, tile.u.theta, tile.sigma.theta):
            made = heaters.phase_rad[heaters.active > 0]
            np.testing.assert_allclose(code.nearest_rad(made, heaters.drive), made, atol=1e-9)


def test_training_against_noise_keeps_the_heaters(tiny_onnx: bytes) -> None:
    pytest.importorskip("torch")
    data = _samples(tiny_onnx)
    text = "finetune{phase_noise=0.05 split_noise=0.05 epochs=20 max_drop=1}"
    before = onnx2mzi.compile(tiny_onnx, optimize="canonicalize", data=data)
    after = onnx2mzi.compile(tiny_onnx, optimize=f"canonicalize,{text}", data=data)
    assert after.report["phases_active"] == before.report["phases_active"]
    assert 0 < after.report["max_rel_error"] < 0.5
    again = onnx2mzi.compile(tiny_onnx, optimize=f"canonicalize,{text}", data=data)
    assert again.report["max_rel_error"] == after.report["max_rel_error"]


@pytest.mark.parametrize("text", ["finetune", "quantize{rounding=trained}"])
def test_without_data_there_is_nothing_to_train_on(tiny_onnx: bytes, text: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match=r"needs samples|data"):
        onnx2mzi.compile(tiny_onnx, optimize=f"canonicalize,{text}")

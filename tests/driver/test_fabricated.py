"""What the report says of chips as they are made."""

import numpy as np
import pytest

import onnx2mzi

KEYS = tuple(f"accuracy_fabricated_{what}" for what in ("mean", "std", "yield"))


@pytest.fixture
def data(tiny_onnx: bytes) -> dict[str, np.ndarray]:
    """Samples labelled by the network itself, so that the ideal chip is always right."""
    x = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    answers = onnx2mzi.compile(tiny_onnx).run_original(x)["y"].argmax(axis=1)
    return {"x": x, "y": answers}


def test_heaters_everywhere_make_up_for_fabrication(
    tiny_onnx: bytes, data: dict[str, np.ndarray]
) -> None:
    report = onnx2mzi.compile(tiny_onnx, optimize="0", data=data).report
    assert [report[key] for key in KEYS] == [1.0, 0.0, 1.0]
    assert "24 chips" in report["fabricated_on"] and "4.17 mm" in report["fabricated_on"]


def test_heaters_that_are_gone_do_not(tiny_onnx: bytes, data: dict[str, np.ndarray]) -> None:
    report = onnx2mzi.compile(tiny_onnx, optimize="1", data=data).report
    assert report["accuracy"] == 1.0
    assert report["accuracy_fabricated_mean"] < 0.9
    assert report["accuracy_fabricated_yield"] < 0.5 < report["accuracy_fabricated_std"] + 0.5
    again = onnx2mzi.compile(tiny_onnx, optimize="1", data=data).report
    assert [report[key] for key in KEYS] == [again[key] for key in KEYS]


def test_without_labels_it_is_unknown(tiny_onnx: bytes, data: dict[str, np.ndarray]) -> None:
    for given in ({"x": data["x"]}, None):
        report = onnx2mzi.compile(tiny_onnx, data=given).report
        assert [report[key] for key in KEYS] == [None] * 3

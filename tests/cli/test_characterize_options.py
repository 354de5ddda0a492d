"""Every imperfection has an option and a name on the page."""

from onnx2mzi.backends.characterization.page import NAMES
from onnx2mzi.cli.characterize import SIZES as OPTIONS
from onnx2mzi.physics.imperfection import SIZES


def test_every_size_can_be_asked_for_and_is_named() -> None:
    assert {field for _, field, _ in OPTIONS} == set(SIZES)
    assert set(SIZES) < set(NAMES)
